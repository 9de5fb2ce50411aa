"""``import toolkit`` is cheap, and what stands behind it loads on first use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import toolkit

PACKAGE = Path(toolkit.__file__).parent


def in_fresh_process(program: str) -> list:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_import_is_fast_and_brings_no_torch() -> None:
    program = """
import sys, time
start = time.perf_counter()
import toolkit
elapsed = time.perf_counter() - start
import json
heavy = [name for name in ("torch", "numpy", "scipy", "matplotlib", "IPython") if name in sys.modules]
print(json.dumps([elapsed, heavy, sorted(name for name in sys.modules if name.startswith("toolkit"))]))
"""
    runs = [in_fresh_process(program) for _ in range(5)]
    assert min(elapsed for elapsed, _, _ in runs) < 0.1
    for _, heavy, loaded in runs:
        assert heavy == []
        assert loaded == ["toolkit"]


def test_package_loads_on_first_use() -> None:
    program = """
import json, sys, toolkit
before = "toolkit.core" in sys.modules
toolkit.core
print(json.dumps([before, "toolkit.core" in sys.modules, "toolkit.autograd" in sys.modules]))
"""
    assert in_fresh_process(program) == [False, True, False]


def test_public_names_are_the_packages_on_disk() -> None:
    on_disk = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(toolkit.__all__) == on_disk | {"__version__"}
    assert set(toolkit.__all__) <= set(dir(toolkit))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'chainer'"):
        toolkit.chainer  # noqa: B018
    assert not hasattr(toolkit, "autgrad")


def test_what_stands_on_the_engine_loads_on_first_use() -> None:
    program = """
import json, sys, toolkit.autograd as autograd
later = ("links", "training", "models", "onnx_export", "distributed")
before = [name for name in later if f"toolkit.autograd.{name}" in sys.modules]
found = [getattr(autograd, name).__name__ for name in later]
heavy = [name for name in ("IPython", "matplotlib", "onnx", "safetensors") if name in sys.modules]
print(json.dumps([before, found, heavy, set(later) <= set(dir(autograd)), hasattr(autograd, "lnks")]))
"""
    before, found, heavy, listed, misspelt = in_fresh_process(program)
    assert before == [] and heavy == [] and listed and not misspelt
    assert found == [
        f"toolkit.autograd.{name}" for name in ("links", "training", "models", "onnx_export", "distributed")
    ]
