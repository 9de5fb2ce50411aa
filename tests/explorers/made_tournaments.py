"""Records of a made-up competition: counts that a test can work out, in the form in which the study keeps them."""

import numpy as np

from toolkit.experiments import Record, SeedResult
from toolkit.experiments.environment import Environment

ENVIRONMENT = Environment("1.0", "3.11", "2.0", "2.0", "Linux", "cpu: A processor", 1, None, None)
ATTACKS = {
    "no-op": "the images as they are (baseline)",
    "MI": "momentum on LeNet",
    "TsAIL": "momentum on all public networks (TsAIL)",
    "slow": "stops in the last batch",
}
TARGETED = {"aim": "20 steps on LeNet (baseline)"}
DEFENCES = {"sturdy": "adversarially trained", "steady": "another", "lenet": "plain LeNet, public", "deaf": "a third"}
RIGHT = {
    "sturdy": (19, 18, 6, 12, 17),
    "steady": (16, 14, 13, 15, 15),
    "lenet": (20, 2, 4, 11, 5),
    "deaf": (8, 8, 8, 10, 8),
}
"""Images labelled rightly, of 20, by attack; ``slow`` made 10, and the other 10 count as right."""
HITS = {"sturdy": 1, "steady": 0, "lenet": 12, "deaf": 1}


def made_record(*, seeds=(0,), scale="laptop", date="2026-01-01T00:00:00Z", right=None, study="competition"):
    """Return a record with two batches of ten images a seed, in which ``deaf`` leaves two images without a label."""
    right = RIGHT if right is None else right
    results = tuple(SeedResult(seed, {}, {}, _tables(right)) for seed in seeds)
    config = {"data": "fashion_mnist", "epsilons": (16, 32), "batch_size": 10}
    return Record(study, "", scale, config, results, ENVIRONMENT, date, 1.0, 1.0)


def _tables(right):
    names = [*ATTACKS, *TARGETED]
    made = np.array([[10, 0] if name == "slow" else [10, 10] for name in names])
    games = {"correct": [], "error": [], "hit": [], "labelled": [], "seconds": []}
    for defence in DEFENCES:
        labelled, correct, hit = made.copy(), np.zeros_like(made), np.zeros_like(made)
        for column, name in enumerate(names):
            count = right[defence][column]
            correct[column] = (count - 10, 10) if name == "slow" else (min(count, 10), max(count - 10, 0))
            if name in TARGETED:
                hit[column] = (max(HITS[defence] - 10, 0), min(HITS[defence], 10))
        if defence == "deaf":
            labelled[0, 1] -= 2
        # Right images that nobody made are not labelled; what is neither right nor unlabelled is wrong.
        missing = 10 - made
        games["error"].append((labelled - (correct - missing)).tolist())
        games["correct"].append(correct.tolist())
        games["hit"].append(hit.tolist())
        games["labelled"].append(labelled.tolist())
        games["seconds"].append(np.full(made.shape, 0.5).tolist())
    titles = ATTACKS | TARGETED
    pairs = [(attack, defence) for defence in DEFENCES for attack in names]
    white = {("MI", "lenet"), ("aim", "lenet")}
    return {
        "attacks": {
            "name": names,
            "title": [titles[name] for name in names],
            "targeted": [name in TARGETED for name in names],
            "produced": made.tolist(),
            "seconds": [[0.001, 0.003], [0.2, 0.4], [1.0, 3.0], [9.0, None], [0.5, 0.5]],
        },
        "defences": {"name": list(DEFENCES), "title": list(DEFENCES.values()), **games},
        "batches": {"epsilon": [16, 32], "size": [10, 10]},
        "remarks": {
            "submission": ["slow"],
            "track": ["non-targeted"],
            "attack": [None],
            "batch": [1],
            "verdict": ["time-out"],
            "reason": ["too slow"],
            "n_images": [10],
        },
        "knowledge": {
            "attack": [attack for attack, _ in pairs],
            "defence": [defence for _, defence in pairs],
            "knowledge": ["white-box" if pair in white else "black-box" for pair in pairs],
        },
        "data": {"description": ["made up"], "n_images": [20]},
    }
