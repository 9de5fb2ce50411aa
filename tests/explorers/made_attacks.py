"""Made-up records of the two studies of attacks on networks, in the form in which the studies keep them."""

from toolkit.experiments import Record, SeedResult
from toolkit.experiments.environment import Environment

ENVIRONMENT = Environment("1.0", "3.11", "2.0", "2.0", "Linux", "cpu: A processor", 1, None, None)
DIGITS = {"data": "digits", "cast": "quick"}
PLAIN = ("lenet", "vgg", "strided")
TARGETS = (*PLAIN, "resnet-adv", "lenet-masked")
SOURCES = (*PLAIN, "resnet-adv")
N = 50
RIGHT = {
    ("lenet", "FGSM"): {16: 0.4, 32: 0.2},
    ("lenet", "PGD"): {16: 0.3, 32: 0.1},
    ("lenet", "AutoAttack"): {16: 0.25},
    ("lenet-masked", "FGSM"): {16: 0.6, 32: 0.9},
    ("lenet-masked", "PGD"): {16: 0.3, 32: 0.05},
    ("lenet-masked", "AutoAttack"): {16: 0.04},
    ("resnet-adv", "FGSM"): {16: 0.7, 32: 0.5},
    ("resnet-adv", "PGD"): {16: 0.7, 32: 0.5},
    ("denoiser-logits", "FGSM"): {16: 0.5},
}
CLEAN = {"lenet": 0.9, "lenet-masked": 0.7, "resnet-adv": 0.8, "denoiser-logits": 0.85}


def made_models(*, seeds=(0,), scale="laptop", date="2026-01-01T00:00:00Z", right=None, **config):
    """Return a record of ``adversarial-models``; each further seed has 0.02 less everywhere."""
    right = RIGHT if right is None else right
    cells = [(name, attack, e, value) for (name, attack), values in right.items() for e, value in values.items()]
    results = []
    for seed in seeds:
        metrics = {f"{name} clean": CLEAN[name] - 0.02 * seed for name, *_ in cells}
        metrics |= {f"{name} {attack} {e}": value - 0.02 * seed for name, attack, e, value in cells}
        columns = dict(
            zip(("network", "attack", "epsilon"), map(list, list(zip(*cells, strict=True))[:3]), strict=True)
        )
        tables = {"robust": columns | {"right": [0] * len(cells)}}
        tables["data"] = {"description": ["made-up images"], "n_images": [N], "n_attacked": [20]}
        results.append(SeedResult(seed, metrics, {}, tables))
    config = DIGITS | {"epsilons": [16, 32], "honest_epsilons": [16]} | config
    return Record("adversarial-models", "", scale, config, tuple(results), ENVIRONMENT, date, 1.0, 1.0)


def errors_of(attack, epsilon, source, target):
    """Return how many of ``N`` images a target gets wrong: a rule that tests can apply again."""
    if attack == "noise":
        return 5 + TARGETS.index(target)
    if source.startswith("fused"):
        return min(N, 24 + epsilon // 4 + 3 * (attack == "MI-FGSM"))
    itself = 30 * (source == target)
    more = 2 if (source, target) != ("lenet", "vgg") else -1
    return min(N, itself + epsilon // 4 + SOURCES.index(source) + TARGETS.index(target) + more * (attack == "MI-FGSM"))


def made_transfer(*, seeds=(0,), scale="laptop", date="2026-01-01T00:00:00Z", rule=errors_of, **config):
    """Return a record of ``adversarial-transfer`` with three plain networks; each further seed errs once more."""
    results = []
    for seed in seeds:
        rows = []
        for epsilon in (16, 32):
            rows += [("noise", epsilon, "", target) for target in TARGETS]
            for attack in ("FGSM", "BIM", "MI-FGSM"):
                rows += [(attack, epsilon, source, target) for source in SOURCES for target in TARGETS]
                rows += [(attack, epsilon, f"fused {target}", target) for target in PLAIN]
        columns = dict(zip(("attack", "epsilon", "source", "target"), map(list, zip(*rows, strict=True)), strict=True))
        tables = {
            "errors": columns | {"errors": [min(N, rule(*row) + seed) for row in rows]},
            "clean": {"target": list(TARGETS), "errors": [4 + seed] * len(TARGETS)},
            "data": {"description": ["made-up images"], "n_images": [N]},
        }
        results.append(SeedResult(seed, {}, {}, tables))
    config = DIGITS | {"epsilons": [16, 32]} | config
    return Record("adversarial-transfer", "", scale, config, tuple(results), ENVIRONMENT, date, 1.0, 1.0)
