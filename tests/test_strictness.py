"""The nets that every other test relies on are really there: type checks, warnings, markers, one thread."""

import importlib
import types
import warnings
from pathlib import Path

import jaxtyping
import pytest
import torch

import toolkit
from toolkit.core import errors

MODULES = sorted(
    ".".join(path.relative_to(Path(toolkit.__file__).parent.parent).with_suffix("").parts)
    for path in (Path(toolkit.__file__).parent / "core").glob("[!_]*.py")
)


def warn_from(module: str, category: type[Warning]) -> None:
    """Warn as a line of ``module`` would."""
    namespace = vars(types.ModuleType(module)) | {"warnings": warnings, "category": category}
    exec("warnings.warn('something is off', category)", namespace)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_loaded_by_the_checking_hook(name: str) -> None:
    module = importlib.import_module(name)
    assert type(module.__spec__.loader).__module__.startswith("jaxtyping")


def test_a_wrong_type_is_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        errors.require("not a bool", "operation", "argument", "expected", "actual")


@pytest.mark.parametrize("module", ["toolkit", "toolkit.core", "toolkit.core.errors"])
@pytest.mark.parametrize("category", [UserWarning, RuntimeWarning, SyntaxWarning])
def test_a_warning_of_our_own_lines_is_an_error(module: str, category: type[Warning]) -> None:
    with pytest.raises(category, match="something is off"):
        warn_from(module, category)


@pytest.mark.parametrize(
    ("module", "category"),
    [("toolkit.core", DeprecationWarning), ("toolkit.core", FutureWarning), ("toolkits.core", UserWarning)],
)
def test_a_coming_change_and_a_foreign_warning_are_only_shown(module: str, category: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as caught:  # keeps the filters, unlike pytest.warns
        warn_from(module, category)
    assert [warning.category for warning in caught] == [category]


def test_one_thread() -> None:
    assert torch.get_num_threads() == 1
