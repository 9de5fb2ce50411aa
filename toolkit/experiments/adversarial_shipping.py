"""``python -m toolkit.experiments.adversarial_shipping`` writes the weights that ship, from one cast."""

from pathlib import Path

from toolkit.experiments.adversarial_cast import Cast, cast
from toolkit.experiments.adversarial_recipe import find_member
from toolkit.experiments.adversarial_weights import FORMAT, KIND, shipped_weights, write_weights
from toolkit.experiments.environment import describe_environment
from toolkit.experiments.records import now
from toolkit.experiments.shipped_files import write_index

STUDY = "adversarial-models"


def ship(networks: Cast, folder: Path) -> int:
    """Write the weights of a cast and their index, each whole or not at all, the index last.

    Args:
        networks: all of them, or some.
        folder: made if it is missing.

    Returns:
        How many bytes were written.

    Raises:
        WriteError: it cannot be written.
    """
    environment = describe_environment("cpu")
    entries = {}
    for name, network in networks.networks.items():
        member = find_member(name)
        key = networks.recipe.key(member, networks.seed)
        file = f"{networks.recipe.data}-{name}-seed{networks.seed}.npz"
        write_weights(folder / file, key, network, networks.origins[name].cpu_seconds)
        entries[f"{name}-{key}"] = {
            "file": file,
            "title": member.title,
            "study": STUDY,
            "config": networks.recipe.settings(member, networks.seed),
            "toolkit": environment.toolkit,
            "torch": environment.torch,
            "commit": environment.commit,
            "date": now(),
        }
    write_index(folder, FORMAT, KIND, entries)
    return sum((folder / str(entry["file"])).stat().st_size for entry in entries.values())


def main() -> None:
    """Take the laptop's cast of seed 0, trained here if need be, and write it to where it ships from."""
    networks = cast("fashion_mnist", "laptop", 0, device="cpu")
    n_bytes = ship(networks, shipped_weights())
    print(f"{len(networks.networks)} networks, {n_bytes / 1e6:.2f} MB in {shipped_weights()}")


if __name__ == "__main__":
    main()
