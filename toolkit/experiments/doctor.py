"""Does this machine run the lessons? Versions, device, data, Jupyter and fonts, and how to mend what is missing."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import toolkit
from toolkit.experiments.tables import Table

DISTRIBUTION = "tokui-toolkit"
_PYTHON = (3, 11)
_OPTIONAL = ("test", "peers", "imagenet", "distributed", "onnx", "safetensors")
_WIDGETS = {"@jupyter-widgets/jupyterlab-manager": "ipywidgets", "anywidget": "anywidget"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        status: ``"ok"``; ``"note"``: works, but something is worth knowing; ``"missing"``: lessons will fail.
        found: what is there.
        remedy: what to do about it; empty if nothing.
    """

    name: str
    status: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found.

    Attributes:
        checks: in the order in which a reader would look.
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Nothing is missing."""
        return all(check.status != "missing" for check in self.checks)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.with_status(s))} {s}" for s in ("ok", "note", "missing"))
        return f"Diagnosis({counts})"

    def with_status(self, status: str) -> tuple[Check, ...]:
        """Return the checks with this status."""
        return tuple(check for check in self.checks if check.status == status)

    def to_dict(self) -> dict:
        """Return plain values."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def to_table(self) -> Table:
        """Return the checks as strings."""
        rows = tuple((check.name, check.status, check.found, check.remedy or "–") for check in self.checks)
        return Table(("what", "status", "found", "remedy"), rows, "What this machine has, and how to mend the rest.")

    def to_text(self) -> str:
        """Return a table for a terminal and one line that sums it up."""
        missing = len(self.with_status("missing"))
        end = "all that the lessons need is here" if self.ok else f"{missing} missing: see the remedies above"
        return f"{self.to_table().to_text(width=48)}\n{end}"

    def to_html(self) -> str:
        """Return an HTML table with caption and scoped headers."""
        return self.to_table().to_html()

    _repr_html_ = to_html


def diagnose() -> Diagnosis:
    """Look at everything the lessons need. Opens no connection and writes nothing.

    Returns:
        The checks; one that breaks down is reported as missing, so that this never raises.
    """
    parts: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("Python", _python),
        ("packages", _packages),
        ("device", _device),
        ("data", _data),
        ("cache", _cache),
        ("kernel", _kernel),
        ("widgets", _widgets),
        ("fonts", _fonts),
        ("commit", _commit),
    )
    checks: list[Check] = []
    for name, look in parts:
        try:
            checks.extend(look())
        except Exception as error:
            line = " ".join(str(error).split())
            checks.append(Check(name, "missing", f"{type(error).__name__}: {line}", "see the packages above"))
    return Diagnosis(tuple(checks))


def _python() -> Iterator[Check]:
    found = f"{platform.python_version()} at {sys.executable}"
    wanted = ".".join(map(str, _PYTHON))
    good = sys.version_info >= _PYTHON
    yield Check("Python", "ok" if good else "missing", found, "" if good else f"install Python {wanted} or later")
    yield Check("toolkit", "ok", f"{toolkit.__version__} at {Path(toolkit.__file__).parent}")


def requirements() -> list[str]:
    """Return the requirements of the installed package, or of the checkout when it is not installed."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        import tomllib

        path = Path(toolkit.__file__).resolve().parent.parent / "pyproject.toml"
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = project["optional-dependencies"].items()
        return [*project["dependencies"], *(f'{line}; extra == "{extra}"' for extra, lines in extras for line in lines)]


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    parsed = [Requirement(line) for line in requirements()]
    for extra in ("", "notebooks"):
        for requirement in parsed:
            if _belongs(requirement, extra):
                yield _package(requirement, extra)
    for extra in _OPTIONAL:
        checks = [_package(requirement, extra) for requirement in parsed if _belongs(requirement, extra)]
        wrong = [check.name for check in checks if check.status != "ok"]
        if wrong:
            yield Check(f"extra [{extra}]", "note", f"optional; not here: {', '.join(wrong)}", _pip(extra))
        elif checks:
            yield Check(f"extra [{extra}]", "ok", "all of it")


def _belongs(requirement, extra: str) -> bool:
    marker = requirement.marker
    if marker is None:
        return not extra
    return marker.evaluate({"extra": extra}) and (not extra or not marker.evaluate({"extra": ""}))


def _package(requirement, extra: str) -> Check:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(requirement.name, "missing", "not installed", _pip(extra))
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(requirement.name, "missing", f"{version}, wanted {requirement.specifier}", _pip(extra))
    return Check(requirement.name, "ok", version)


def _pip(extra: str) -> str:
    extras = f"[{extra}]" if extra else ""
    if (Path(toolkit.__file__).resolve().parent.parent / "pyproject.toml").is_file():
        return f'python -m pip install -e ".{extras}"'
    return f'python -m pip install "{DISTRIBUTION}{extras}"'  # of the installed version: no index is needed for it


def _device() -> Iterator[Check]:
    import torch

    from toolkit.core.devices import available_devices
    from toolkit.experiments.environment import describe_environment

    here = describe_environment()
    others = [name for name in available_devices() if name != here.device.partition(": ")[0]]
    found = f"{here.device}, {torch.get_num_threads()} threads" + (f"; also {', '.join(others)}" if others else "")
    yield Check("device", "ok", found)


def _data() -> Iterator[Check]:
    from toolkit.core.paths import data_directory
    from toolkit.datasets import imagenet_classes, load, overview, photograph

    yield Check("data folder", "ok", str(data_directory()))
    readers = {"chelsea": photograph, "coffee": photograph, "imagenet_classes": lambda name: imagenet_classes()}
    for row in overview():
        if not (row.subset or row.problem.startswith("bundled")):
            continue
        try:
            readers.get(row.name, load)(row.name)  # compares checksums
        except (OSError, ValueError, RuntimeError) as error:
            found = " ".join(str(error).split())
            remedy = "restore data/samples from the repository, or install the package again"
            yield Check(f"data: {row.name}", "missing", found if len(found) < 300 else found[:300] + " …", remedy)
        else:
            yield Check(f"data: {row.name}", "ok", row.subset)


def _cache() -> Iterator[Check]:
    from toolkit.datasets.download import cache_directory, offline

    folder = cache_directory()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    downloads = "no downloads: TOOLKIT_OFFLINE is set" if offline() else "downloads allowed"
    if existing.is_dir() and os.access(existing, os.W_OK):
        yield Check("cache folder", "ok", f"{folder}; {downloads}")
    else:
        remedy = "set TOOLKIT_DATA_DIR to a folder that can be written, if you want to download whole data sets"
        yield Check("cache folder", "note", f"{folder} cannot be written; {downloads}", remedy)


def _kernel() -> Iterator[Check]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    remedy = "python -m ipykernel install --sys-prefix"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Check("Jupyter kernel", "missing", "no kernel named python3", remedy)
        return
    command = spec.argv[0]
    if os.path.basename(command) == command or _same_environment(command):
        yield Check("Jupyter kernel", "ok", f"python3 runs {sys.executable}")
    else:
        found = f"the kernel python3 of {spec.resource_dir} runs {command}, another environment than {sys.executable}"
        yield Check("Jupyter kernel", "missing", found, remedy)


def _same_environment(command: str) -> bool:
    # Not resolved: the interpreter of a virtual environment is a link to one outside it.
    mine, theirs = (os.path.normpath(os.path.dirname(os.path.abspath(path))) for path in (sys.executable, command))
    return os.path.exists(command) and os.path.realpath(mine) == os.path.realpath(theirs)


def _widgets() -> Iterator[Check]:
    from jupyter_core.paths import jupyter_path

    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    for extension, package in _WIDGETS.items():
        if any((folder / extension / "package.json").is_file() for folder in folders):
            yield Check(f"JupyterLab part of {package}", "ok", "found")
        else:
            remedy = f"python -m pip install --force-reinstall {package}, in the environment that runs JupyterLab"
            yield Check(f"JupyterLab part of {package}", "missing", "not found: sliders will not appear", remedy)


def _fonts() -> Iterator[Check]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    path = str(findfont(FontProperties(family="DejaVu Sans"), fallback_to_default=False))
    known = get_font(path).get_charmap()
    lacking = [character for character in "ελμσ±→≤·∂−" if ord(character) not in known]
    if lacking:
        remedy = "python -m pip install --force-reinstall matplotlib, which brings its own fonts"
        yield Check("font DejaVu Sans", "note", f"{path} lacks {' '.join(lacking)}", remedy)
    else:
        yield Check("font DejaVu Sans", "ok", path)


def _commit() -> Iterator[Check]:
    from toolkit.experiments.environment import commit_of

    commit, dirty = commit_of(Path(toolkit.__file__).resolve().parent)
    if commit is None:
        yield Check("commit", "note", "not a git checkout: records will not name a commit")
    else:
        yield Check("commit", "ok", commit[:10] + (" with changes" if dirty else ""))
