"""The doctor finds what is missing, says how to mend it, and never breaks down itself."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from types import SimpleNamespace

import pytest

from toolkit.experiments import doctor
from toolkit.experiments.doctor import Check, Diagnosis, diagnose


def _checks(look) -> dict[str, Check]:
    return {check.name: check for check in look()}


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return diagnose()


def test_this_machine(diagnosis):
    found = {check.name: check for check in diagnosis.checks}
    for name in ("Python", "toolkit", "torch", "numpy", "device", "data folder", "data: mnist", "cache folder"):
        assert found[name].status == "ok", found[name]
    assert found["torch"].found == metadata.version("torch")
    assert found["device"].found.startswith(("cpu", "cuda"))
    assert {check.status for check in diagnosis.checks} <= {"ok", "note", "missing"}
    assert all(check.remedy for check in diagnosis.with_status("missing"))


def test_every_form(diagnosis):
    assert json.loads(json.dumps(diagnosis.to_dict()))["ok"] is diagnosis.ok
    assert len(ElementTree.fromstring(diagnosis.to_html()).findall("tbody/tr")) == len(diagnosis.checks)
    assert diagnosis._repr_html_() == diagnosis.to_html()
    assert "torch" in diagnosis.to_text()
    assert repr(diagnosis).startswith("Diagnosis(")


def test_what_is_missing_counts():
    good, bad = Check("a", "ok", "x"), Check("b", "missing", "y", "install it")
    assert Diagnosis((good, Check("c", "note", "z"))).ok
    diagnosis = Diagnosis((good, bad))
    assert not diagnosis.ok
    assert diagnosis.to_text().endswith("1 missing: see the remedies above")
    assert "install it" in diagnosis.to_text()


@pytest.mark.parametrize(
    ("line", "status", "part"),
    [
        ("numpy>=2", "ok", "2."),
        ("numpy>=99", "missing", "wanted >=99"),
        ("no-such-package-here", "missing", "not installed"),
        ('no-such-package-here; python_version < "3"', None, ""),
        ('no-such-package-here; extra == "notebooks"', "missing", "not installed"),
    ],
)
def test_packages_against_the_list(monkeypatch, line, status, part):
    monkeypatch.setattr(doctor, "requirements", lambda: [line])
    found = list(doctor._packages())
    assert [check.status for check in found] == ([status] if status else [])
    assert all(part in check.found for check in found)
    if "notebooks" in line:
        assert found[0].remedy == 'python -m pip install -e ".[notebooks]"'


def test_without_a_checkout_the_remedy_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "requirements", lambda: ["numpy>=99", 'no-such-package-here; extra == "notebooks"'])
    monkeypatch.setattr(doctor.toolkit, "__file__", str(tmp_path / "site-packages" / "toolkit" / "__init__.py"))
    assert [check.remedy for check in doctor._packages()] == [
        'python -m pip install "tokui-toolkit"',
        'python -m pip install "tokui-toolkit[notebooks]"',
    ]


@pytest.mark.parametrize("extra", ["test", "peers", "imagenet", "distributed", "onnx", "safetensors"])
def test_an_optional_extra_is_only_a_note(monkeypatch, extra):
    monkeypatch.setattr(doctor, "requirements", lambda: [f'no-such-package-here; extra == "{extra}"'])
    (check,) = doctor._packages()
    assert (check.name, check.status) == (f"extra [{extra}]", "note")
    assert "no-such-package-here" in check.found


def test_the_list_is_found_without_an_installation(monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    installed = {line.split(";")[0].strip().split("[")[0] for line in doctor.requirements()}
    monkeypatch.setattr(doctor.metadata, "requires", not_installed)
    lines = doctor.requirements()
    assert any(line.startswith("torch") for line in lines)
    assert any('extra == "notebooks"' in line for line in lines)
    assert installed


def test_a_check_that_breaks_down_is_reported(monkeypatch):
    def broken():
        raise ImportError("no module named x\nsecond line")

    monkeypatch.setattr(doctor, "_fonts", broken)
    check = next(check for check in diagnose().checks if check.name == "fonts")
    assert check.status == "missing"
    assert check.found == "ImportError: no module named x second line"


def test_a_damaged_sample_is_missing(monkeypatch, tmp_path):
    import shutil

    from toolkit.core.paths import data_directory

    shutil.copytree(data_directory() / "samples", tmp_path / "samples")
    for path in tmp_path.rglob("mnist5k.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    (tmp_path / "samples" / "coffee_256.png").unlink()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("toolkit.") and hasattr(module, "data_directory"):
            monkeypatch.setattr(module, "data_directory", lambda: tmp_path)
    found = _checks(doctor._data)
    assert found["data: mnist"].status == "missing"
    assert "restore" in found["data: mnist"].remedy
    assert found["data: coffee"].status == "missing"
    assert found["data: digits"].status == "ok"


def test_a_cache_that_cannot_be_written_is_a_note(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path / "file" / "cache"))
    check = _checks(doctor._cache)["cache folder"]
    assert check.status == "note"
    assert "TOOLKIT_DATA_DIR" in check.remedy
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path / "new" / "cache"))
    assert _checks(doctor._cache)["cache folder"].status == "ok"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("command", "status"), [(sys.executable, "ok"), ("python", "ok"), ("/elsewhere/bin/python", "missing")]
)
def test_the_kernel_must_be_of_this_environment(monkeypatch, command, status):
    kernelspec = pytest.importorskip("jupyter_client.kernelspec")
    spec = SimpleNamespace(argv=[command, "-m", "ipykernel_launcher"], resource_dir="/share/kernels/python3")
    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    (check,) = doctor._kernel()
    assert check.status == status
    assert status == "ok" or "ipykernel install" in check.remedy


def test_no_kernel_at_all(monkeypatch):
    kernelspec = pytest.importorskip("jupyter_client.kernelspec")

    def none(self, name):
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", none)
    (check,) = doctor._kernel()
    assert check.status == "missing"


def test_the_widgets_part_of_jupyterlab(monkeypatch, tmp_path):
    paths = pytest.importorskip("jupyter_core.paths")
    monkeypatch.setattr(paths, "jupyter_path", lambda *names: [str(tmp_path)])
    assert {check.status for check in doctor._widgets()} == {"missing"}
    for name in doctor._WIDGETS:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "package.json").write_text("{}")
    assert {check.status for check in doctor._widgets()} == {"ok"}


def test_outside_a_checkout(monkeypatch):
    monkeypatch.setattr("toolkit.experiments.environment.commit_of", lambda package: (None, None))
    (check,) = doctor._commit()
    assert check.status == "note"
