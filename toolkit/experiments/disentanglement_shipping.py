"""``python -m toolkit.experiments.disentanglement_shipping`` writes the codes that ship, from the cache."""

import sys
from collections.abc import Mapping
from pathlib import Path

from toolkit.experiments.disentanglement_config import DisentanglementConfig
from toolkit.experiments.disentanglement_models import find_model
from toolkit.experiments.disentanglement_trained import shipped_models
from toolkit.experiments.disentanglement_weights import (
    FORMAT,
    KIND,
    Trained,
    find_trained,
    fingerprint,
    shipped_folder,
    write_trained,
)
from toolkit.experiments.environment import describe_environment
from toolkit.experiments.records import now
from toolkit.experiments.shipped_files import write_index

SEED = 0


def ship(models: Mapping[str, Trained], folder: Path) -> int:
    """Write trained models and their index, each whole or not at all, the index last.

    Args:
        models: by name.
        folder: made if it is missing.

    Returns:
        How many bytes were written.

    Raises:
        WriteError: it cannot be written.
    """
    environment = describe_environment("cpu")
    entries = {}
    for name, trained in models.items():
        file = f"{name}-seed{trained.settings['seed']}.npz"
        write_trained(folder / file, trained)
        entries[f"{name}-{fingerprint(trained.settings)}"] = {
            "file": file,
            "title": find_model(name).title,
            "study": "disentanglement",
            "settings": dict(trained.settings),
            "decoder": trained.decoder is not None,
            "toolkit": environment.toolkit,
            "torch": environment.torch,
            "commit": environment.commit,
            "date": now(),
        }
    write_index(folder, FORMAT, KIND, entries)
    return sum((folder / str(entry["file"])).stat().st_size for entry in entries.values())


def main() -> int:
    """Take seed 0 of each of the laptop's models from the cache and write it to where it ships from.

    Returns:
        The exit code: 1 if a model was not trained on this machine.
    """
    config = DisentanglementConfig(scale="laptop")
    found = {name: find_trained(name, config.settings_of(name, SEED)) for name in shipped_models()}
    missing = [name for name, trained in found.items() if trained is None]
    if missing:
        command = f"python -m toolkit run disentanglement --scale laptop --models {' '.join(missing)} --seeds {SEED}"
        print(f"not trained here: {', '.join(missing)}; they come from\n  {command}", file=sys.stderr)
        return 1
    n_bytes = ship({name: trained for name, trained in found.items() if trained is not None}, shipped_folder())
    print(f"{len(found)} models, {n_bytes / 1e6:.2f} MB in {shipped_folder()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
