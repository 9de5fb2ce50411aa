"""What a number depends on besides its configuration: versions, commit and device."""

import platform
import subprocess
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path

import toolkit

_PACKAGE = Path(toolkit.__file__).resolve().parent


@dataclass(frozen=True)
class Environment:
    """Where a study ran.

    Attributes:
        toolkit: version of this package.
        python: version of Python.
        torch: version of torch.
        numpy: version of NumPy.
        platform: operating system and machine.
        device: what the arrays lived on: ``"cpu: MODEL"`` or ``"cuda:0: MODEL"``.
        threads: torch's threads within one operation.
        commit: git commit of the checkout; ``None`` when the package is not in one.
        dirty: whether the checkout had changes that are not in the commit; ``None`` without one.
    """

    toolkit: str
    python: str
    torch: str
    numpy: str
    platform: str
    device: str
    threads: int
    commit: str | None
    dirty: bool | None

    def to_dict(self) -> dict:
        """Return the fields as plain types."""
        return asdict(self)

    def __repr__(self) -> str:
        commit = f"{self.commit[:10]}{' with changes' if self.dirty else ''}" if self.commit else "no commit"
        return f"Environment(toolkit {self.toolkit}, {commit}, torch {self.torch}, {self.device})"


FIELDS = tuple(field.name for field in fields(Environment))


def describe_environment(device: str | None = None) -> Environment:
    """Look at where we are.

    Args:
        device: the device of the study; ``None`` means the best there is.

    Returns:
        The versions, the commit and the device.
    """
    import torch

    from toolkit.core.devices import resolve_device

    resolved = resolve_device(device)
    commit, dirty = commit_of(_PACKAGE)
    return Environment(
        toolkit=toolkit.__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=metadata.version("numpy"),
        platform=f"{platform.system()} {platform.machine()}",
        device=f"{resolved}: {_model(resolved)}",
        threads=torch.get_num_threads(),
        commit=commit,
        dirty=dirty,
    )


def commit_of(package: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that holds the package, and whether the checkout has other changes.

    Args:
        package: folder of the package.

    Returns:
        ``(None, None)`` without git, outside a repository, and in a repository of something else, as when the package
        is installed into an environment that lies within another project.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD").strip()
        # New files count only inside the package: a run that was just recorded does not make the next one dirty.
        dirty = bool(git("status", "--porcelain", "--untracked-files=no").strip())
        dirty = dirty or bool(git("ls-files", "--others", "--exclude-standard", "--", ".").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, dirty


def _model(device) -> str:
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
