"""Made-up records of the study of metadata conditioning, small and with numbers that tell where they come from."""

from toolkit.core.history import Series
from toolkit.experiments import Record, SeedResult
from toolkit.experiments.environment import Environment

ENVIRONMENT = Environment("1.0", "3.11", "2.0", "2.0", "Linux", "cpu: A processor", 1, None, None)
CONFIG = {"size": "64-3-4", "n_steps": 100, "batch_size": 8, "p_meta": 0.5, "cooldown": 0.0, "device": None}
GRID = (0, 1, 2, 4, 8, 16)
FAMILY = "made"


def optimum_table(n_levels=3, grid=GRID):
    """Return a table that reveals the metadata in equal steps from the first length to the last but one."""
    n = max(grid) + 2
    far = grid[-2] or 1
    revealed = [min(k / far, 1.0) for k in range(n)]
    table = {"position": list(range(n)), "n": [60] * n, "share reaching": [1 - 0.5 * k / n for k in range(n)]}
    table |= {"revealed": revealed, "short": [k == 0 or one < 0.5 for k, one in enumerate(revealed)]}
    table |= {"long": [k > 0 and one >= 0.95 for k, one in enumerate(revealed)]}
    table |= {"posterior of the truth": [0.5**n_levels + (1 - 0.5**n_levels) * one for one in revealed]}
    table |= {"entropy": [2 * (1 - one) for one in revealed]}
    for known in range(n_levels + 1):
        table[f"loss, {known} known"] = [1.0 - 0.1 * known - 0.001 * k for k in range(n)]
    return table | {f"best accuracy, level {level}": [0.5 + 0.5 * one for one in revealed] for level in range(n_levels)}


def made_result(seed, depth, *, kl=0.1, accuracy=0.6, probe=0.7, n_levels=3, n_layers=3, grid=GRID, n=100, **parts):
    """Return one run; KL is ``kl(k)`` or a number, so is the accuracy of completions; of probes ``probe(level, k)``.

    A seed adds a thousandth to KL and accuracies.
    """
    extra = 0.001 * seed
    at = (lambda k: kl) if not callable(kl) else kl
    right = (lambda k: accuracy) if not callable(accuracy) else accuracy
    read = (lambda level, k: probe) if not callable(probe) else probe
    optimum = optimum_table(n_levels, grid)
    positions = optimum["position"]
    values = [at(k) + extra for k in positions]
    losses = [best + value for best, value in zip(optimum["loss, 0 known"], values, strict=True)]
    shares = [right(k) + extra for k in grid]
    prompts = {"prompt length": list(grid), "n": [n] * len(grid), "acc_any": shares}
    prompts |= {"acc_any_error": [0.01] * len(grid), "acc_true": [share / 2 for share in shares]}
    prompts |= {"attainable by a sampler": [optimum["posterior of the truth"][k] for k in grid]}
    prompts |= {"attainable at best": [min(1.0, optimum["posterior of the truth"][k] + 0.1) for k in grid]}
    prompts |= {"attainable, exact": [True] * len(grid)}
    cells = [(level, layer, k) for level in range(n_levels) for layer in range(n_layers) for k in grid]
    probes = {"level": [c[0] for c in cells], "layer": [c[1] for c in cells], "position": [c[2] for c in cells]}
    probes |= {"accuracy": [read(level, k) + extra + 0.01 * layer for level, layer, k in cells]}
    probes |= {"standard error": [0.001] * len(cells), "n tested": [50] * len(cells)}
    tables = {
        "positions": {"position": positions, "n": [60] * len(positions), "KL": values, "loss": losses},
        "optimum": optimum,
        "prompts": prompts,
        "probes": probes,
        "trained": {"D_M": [depth], "n_steps": [100]},
    }
    metrics = {"loss without metadata": sum(losses) / len(losses), "optimal loss": 0.9}
    metrics |= {"KL": sum(values) / len(values)}
    for part in ("short", "long"):
        chosen = [value for value, flag in zip(values, optimum[part], strict=True) if flag]
        metrics[f"KL, {part} prompts"] = sum(chosen) / len(chosen)
        inside = [share for k, share in zip(grid, shares, strict=True) if optimum[part][k]]
        metrics[f"acc_any, {part} prompts"] = sum(inside) / len(inside)
    if depth:
        which, what = (parts.get(name, _constant(value)) for name, value in _PARTS.items())
        both = {
            "which grammar": [which(k) + extra for k in positions],
            "what next": [what(k) + extra for k in positions],
        }
        both |= {"mixture": [0.5 * (which(k) + what(k)) for k in positions], "direct": values}
        tables["decomposition"] = {"position": positions, "n": [20] * len(positions)} | both
        tables["beliefs"] = {"position": positions, "implied, of the truth": [0.5 + extra] * len(positions)}
        tables["beliefs"] |= {"exact": optimum["posterior of the truth"], "n": [20] * len(positions)}
        metrics |= {"loss with metadata": 0.8 + extra, "optimal loss with metadata": 0.7}
    return SeedResult(seed, metrics, {"KL": Series((0, 100), (1.0, 0.1))}, tables)


def _constant(value):
    return lambda k: value


_PARTS = {"which_grammar": 0.06, "what_next": 0.02}


def made_record(name, results, *, family=FAMILY, scale="laptop", date="2026-01-01T00:00:00Z", **config):
    """Return a record of such runs."""
    settings = CONFIG | {"seeds": [result.seed for result in results], "families": [family]} | config
    return Record(
        "metadata-conditioning", f"{family}/{name}", scale, settings, tuple(results), ENVIRONMENT, date, 1.0, 1.0
    )


def made_run(depths=(3,), seeds=(0, 1, 2), *, short=1.5, long=1.0, kl=0.1, control=True, jitter=0.0, **options):
    """Return records of a run: models with metadata have ``short`` to ``long`` times the baseline's KL.

    ``jitter`` times (seed − 1) is added to that factor, so that seeds differ in it.
    """
    n_levels, grid = options.pop("n_levels", 3), options.pop("grid", GRID)
    layout = {"n_levels": n_levels, "grid": grid, "n_layers": options.pop("n_layers", 3)}
    config = {name: options.pop(name) for name in ("family", "scale", "date", "p_meta", "cooldown") if name in options}
    optimum = optimum_table(n_levels, grid)
    records = [made_record("baseline", [made_result(s, 0, kl=kl, **layout) for s in seeds], **config)]
    if control:
        records.append(made_record("fewer-steps", [made_result(s, 0, kl=2.5 * kl, **layout) for s in seeds], **config))
    for depth in depths:
        results = []
        for seed in seeds:

            def factor(k, seed=seed):
                revealed = optimum["revealed"][k]
                return kl * (short + (long - short) * revealed + jitter * (seed - 1))

            results.append(made_result(seed, depth, kl=factor, **layout, **options))
        records.append(made_record(f"D_M={depth}", results, **config))
    return records
