"""Made-up records of the study of disentanglement, small and with numbers that tell where they come from."""

from toolkit.disentanglement.bounds import PARTS
from toolkit.experiments import Record, SeedResult
from toolkit.experiments.environment import Environment

ENVIRONMENT = Environment("1.0", "3.11", "2.0", "2.0", "Linux", "cpu: A processor", 1, None, None)
FACTORS = ("shape", "scale", "orientation", "position_x", "position_y")
SCORES = ("mig", "unibound", "beta_vae", "factor_vae", "dci_disentanglement", "sap", "information")
CONFIG = {"data": "dsprites", "settings": "small", "n_steps": None, "hidden": "256-256", "variant": "authors"}
NAMES = ("VAE", "betaVAE-4", "betaVAE-10", "betaTCVAE-6", "FactorVAE-10", "DIPVAE-II-10", "JointVAE-10")


def profile_table(bars, factors=FACTORS, error=0.01):
    """Return the table of a run whose every factor has such bars: (lower, upper, I_min) by part.

    The k-th factor's bars lie k thousandths above the mean's first one.
    """
    columns = ("factor", "part", "lower", "upper", "lower_low", "lower_high", "upper_low", "upper_high", "i_min")
    table = {name: [] for name in columns}
    for part in PARTS:
        low, high, point = bars[part]
        for k, factor in enumerate((*factors, "mean")):
            lift = 0.001 * k if factor != "mean" else 0.0
            ends = (low + lift, high + lift)
            ranges = [(max(end - error, 0.0), end + error) for end in ends]
            values = (factor, part, *ends, *ranges[0], *ranges[1], point + lift)
            for name, value in zip(columns, values, strict=True):
                table[name].append(value)
    return table


def attack_table(scores, alphas=(0.0, 1.0, 4.0)):
    """Return scores under attack: UniBound is halved by each step, the others lose a tenth."""
    rows = {"attack": [], "alpha": [], "metric": [], "score": []}
    for step, alpha in enumerate(alphas):
        for metric, score in scores.items():
            value = score * (0.5 if metric == "unibound" else 0.9) ** step
            for name, cell in zip(rows, ("redundancy", alpha, metric, value), strict=True):
                rows[name].append(cell)
    return rows


def made_result(seed, bars, error=0.01, **scores):
    """Return one run with such bars; scores that are not given are 0.5 and a thousandth a seed."""
    metrics = {name: 0.5 + 0.001 * seed for name in SCORES} | {"unibound": bars["unique"][0]} | scores
    about = {"images": ["small sprites"], "architecture": ["multilayer"], "n_steps": [4000]}
    tables = {"profile": profile_table(bars, error=error), "trained": about, "attacks": attack_table(metrics)}
    return SeedResult(seed, metrics, {}, tables)


def bars(unique=(0.1, 0.2), redundant=(0.0, 0.1), complementary=(0.2, 0.3)):
    """Return bars by part, I_min in their middle."""
    ends = {"unique": unique, "redundant": redundant, "complementary": complementary}
    return {part: (low, high, (low + high) / 2) for part, (low, high) in ends.items()}


def made_record(model, results, *, scale="laptop", date="2026-01-01T00:00:00Z", study="disentanglement", **config):
    """Return a record of such runs."""
    settings = CONFIG | {"models": list(NAMES), "seeds": [result.seed for result in results]} | config
    return Record(study, model, scale, settings, tuple(results), ENVIRONMENT, date, 1.0, 1.0)


def made_run(names=NAMES, n_seeds=5):
    """Return one record a model: model i and seed s have bars and scores that grow with i and s."""
    records = []
    for i, name in enumerate(names):
        results = []
        for seed in range(n_seeds):
            low = 0.3 * i / len(names) + 0.01 * seed
            wide = 0.1 / (1 + i)
            ends = bars((low, low + wide), (0.01 * seed, 0.01 * seed + wide), (0.4 - low, 0.4 - low + wide))
            results.append(made_result(seed, ends, mig=0.1 + 0.01 * i + 0.02 * seed, sap=0.9 - 0.1 * seed))
        records.append(made_record(name, results))
    return records
