"""The wheel works where nothing but its declared dependencies is installed, far from the repository."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import toolkit

ROOT = Path(toolkit.__file__).resolve().parent.parent
DATA_FOLDERS = ("samples", "paper_results", "runs", "weights")
BUNDLED = ("mnist", "fashion_mnist", "digits")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command away from this process's Python settings and return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TOOLKIT_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source: Path, target: str, out: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, cwd=source)
    (built,) = out.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """Return the installed distributions that ``requirements`` ask for, directly or through another one."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    done = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in done:
            continue
        done.add((name, frozenset(requirement.extras)))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # optional for this system, or the installation is broken and the import below says so
        for text in found[name].requires or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                waiting.append(child)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("dist"))


def make_environment(folder: Path, wheel: Path, extra: str) -> Path:
    """Create a virtual environment with the wheel and what it declares, linked from this environment; no network."""
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", wheel),
        cwd=folder,
    )
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (metadata,) = site_packages.glob("tokui_toolkit-*.dist-info")
    declared = [
        requirement
        for requirement in map(Requirement, Distribution.at(metadata).requires or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    ]
    for dependency in closure([str(requirement) for requirement in declared]).values():
        for top in {file.parts[0] for file in dependency.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            link = site_packages / top
            if not link.exists():
                link.symlink_to(dependency.locate_file(top))
    return python


@pytest.fixture(scope="module", params=["", "notebooks"], ids=["library", "notebooks"])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory):
    """Yield the extra that was asked for, and the Python of an environment that has it."""
    return request.param, make_environment(tmp_path_factory.mktemp("environment"), wheel, request.param)


def test_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    sources = {path for path in (ROOT / "toolkit").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {path.relative_to(ROOT).as_posix() for path in sources}
    for folder in DATA_FOLDERS:
        files = (path for path in (ROOT / "data" / folder).rglob("*") if path.is_file())
        expected |= {f"toolkit/{path.relative_to(ROOT).as_posix()}" for path in files}
    assert packed == expected
    assert "toolkit/py.typed" in packed
    assert any(name.startswith("toolkit/data/samples/LICENSES/") for name in packed)


def test_wheel_fits_every_system_and_is_small(wheel: Path) -> None:
    assert wheel.name == f"tokui_toolkit-{toolkit.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 10_000_000


def test_wheel_built_from_the_source_archive_is_the_same(wheel: Path, tmp_path: Path) -> None:
    archive = build(ROOT, "sdist", tmp_path)
    with tarfile.open(archive) as tar:
        # The argument ``filter`` came with Python 3.11.4; older ones have a use for neither.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(tmp_path / "unpacked")
    (source,) = (tmp_path / "unpacked").iterdir()
    again = build(source, "wheel", tmp_path / "again")
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(again) as theirs:
        assert {name: ours.read(name) for name in ours.namelist()} == {
            name: theirs.read(name) for name in theirs.namelist()
        }


def test_installed_package_finds_and_loads_its_own_data(installed: tuple[str, Path], tmp_path: Path) -> None:
    _, python = installed
    program = f"""
import json, toolkit, toolkit.core.paths, toolkit.datasets
loaded = {{name: list(toolkit.datasets.load(name, variant="subset").images.shape) for name in {BUNDLED!r}}}
print(json.dumps([toolkit.__file__, str(toolkit.core.paths.data_directory()), loaded]))
"""
    places = {"TOOLKIT_OFFLINE": "1", "TOOLKIT_DATA_DIR": str(tmp_path / "cache")}
    printed = run(python, "-I", "-c", program, cwd=tmp_path, **places)
    module, data, shapes = json.loads(printed)
    environment = python.parent.parent
    assert Path(module).is_relative_to(environment)
    assert Path(data).is_relative_to(environment)
    assert {shape[0] > 0 for shape in shapes.values()} == {True}
    assert shapes["mnist"][0] == 5000


def test_installed_command_line_answers(installed: tuple[str, Path], tmp_path: Path) -> None:
    _, python = installed
    assert "mnist-mlp" in run(python, "-I", "-m", "toolkit", "list", cwd=tmp_path, TOOLKIT_OFFLINE="1")


def test_installed_packages_import_what_they_declare(installed: tuple[str, Path], tmp_path: Path) -> None:
    extra, python = installed
    needs_notebooks = {"lessons", "explorers"}
    packages = sorted(set(toolkit.__all__) - {"__version__"} - (set() if extra else needs_notebooks))
    imports = ", ".join(f"toolkit.{name}" for name in packages)
    run(python, "-I", "-W", "error::ImportWarning", "-c", f"import {imports}", cwd=tmp_path)
