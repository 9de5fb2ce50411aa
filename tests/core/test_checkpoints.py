"""Checkpoints: everything comes back, nothing foreign is accepted, nothing is executed."""

import collections
import dataclasses
import http
import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.core import checkpoints
from toolkit.core.checkpoints import load_checkpoint, plain_config, save_checkpoint
from toolkit.core.errors import CheckpointError, WriteError


def _network() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def _train(network, optimizer, generator, n_steps: int = 3) -> None:
    for _ in range(n_steps):
        optimizer.zero_grad()
        network(torch.randn(8, 3, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    "make",
    [
        torch.optim.SGD,
        lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True, lr=0.1),
        torch.optim.Adam,
        lambda p: torch.optim.AdamW(p, amsgrad=True),
        torch.optim.Adagrad,
        torch.optim.RMSprop,
        torch.optim.LBFGS,
    ],
)
def test_modules_and_optimizers_come_back_exactly(tmp_path, make):
    generator = torch.Generator().manual_seed(0)
    network = _network()
    optimizer = make(network.parameters())
    if not isinstance(optimizer, torch.optim.LBFGS):
        _train(network, optimizer, generator)
    save_checkpoint(tmp_path / "c", {"network": network, "optimizer": optimizer, "generator": generator}, step=3)
    other = _network()
    other_optimizer = make(other.parameters())
    other_generator = torch.Generator()
    state = {"network": other, "optimizer": other_optimizer, "generator": other_generator}
    assert load_checkpoint(tmp_path / "c", state).step == 3
    if not isinstance(optimizer, torch.optim.LBFGS):
        _train(network, optimizer, generator)
        _train(other, other_optimizer, other_generator)
    for mine, theirs in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 4, 4]),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 0.9**n),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o, [torch.optim.lr_scheduler.LinearLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)], [3]
        ),
    ],
)
def test_schedules_come_back(tmp_path, make):
    def build():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        return optimizer, make(optimizer)

    def advance(optimizer, schedule):
        optimizer.step()
        schedule.step()
        return optimizer.param_groups[0]["lr"]

    optimizer, schedule = build()
    for _ in range(3):
        advance(optimizer, schedule)
    save_checkpoint(tmp_path / "c", {"optimizer": optimizer, "schedule": schedule})
    other, other_schedule = build()
    load_checkpoint(tmp_path / "c", {"optimizer": other, "schedule": other_schedule})
    for _ in range(5):
        assert advance(optimizer, schedule) == advance(other, other_schedule)


def test_arrays_generators_and_containers_come_back_in_place(tmp_path):
    def build(fill: float):
        return {
            "tensor": torch.full((2, 3), fill, requires_grad=True),
            "half": torch.full((2,), fill, dtype=torch.bfloat16),
            "scalar": torch.tensor(fill),
            "empty": torch.empty(0, 3),
            "view": torch.arange(1_000_000.0)[:2] * 0 + fill,
            "array": np.full((2, 2), fill),
            "fortran": np.asfortranarray(np.full((2, 3), fill)),
            "zero": np.array(int(fill)),
            "numpy": np.random.default_rng(int(fill)),
            "mersenne": np.random.Generator(np.random.MT19937(int(fill))),
            "nested": {"/l1/W": torch.full((1,), fill), "list": [np.full(2, int(fill)), (torch.tensor([fill]),)]},
        }

    saved = build(7.0)
    saved["numpy"].random(3)
    save_checkpoint(tmp_path / "c", saved)
    other = build(1.0)
    same_objects = dict(other)
    load_checkpoint(tmp_path / "c", other)
    assert all(other[name] is same_objects[name] for name in other)
    assert torch.equal(other["tensor"], saved["tensor"])
    assert other["tensor"].requires_grad
    assert other["half"].tolist() == [7.0, 7.0]
    assert other["scalar"] == 7
    assert (other["array"] == 7).all()
    assert (other["fortran"] == 7).all()
    assert other["zero"] == 7
    assert other["nested"]["/l1/W"] == 7
    assert (other["nested"]["list"][0] == 7).all()
    assert other["nested"]["list"][1][0] == 7
    assert other["numpy"].random() == saved["numpy"].random()
    assert other["mersenne"].random() == saved["mersenne"].random()


class _Counter:
    """An object of a user's own with every kind of plain value in its state."""

    def __init__(self):
        self.state = {}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_plain_values_of_a_state_dict_keep_their_types(tmp_path):
    saved, other = _Counter(), _Counter()
    saved.state = {
        "none": None,
        "flag": True,
        "big": 2**130,
        "text": "ε",
        "tuple": (1, (2.5, "x")),
        "list": [float("nan"), float("inf")],
        3: "integer key",
        "counter": collections.Counter("aab"),
        "ordered": collections.OrderedDict(a=1),
        "array": np.arange(3, dtype=np.int16),
        "numpy scalar": np.float64(1.5),
        "dtype": torch.float16,
    }
    save_checkpoint(tmp_path / "c", {"counter": saved})
    load_checkpoint(tmp_path / "c", {"counter": other})
    state = other.state
    assert set(state) == set(saved.state)
    for key in ("none", "flag", "big", "text", "tuple", 3, "counter", "ordered", "dtype"):
        assert state[key] == saved.state[key]
    assert isinstance(state["tuple"], tuple)
    assert isinstance(state["counter"], collections.Counter)
    assert state["array"].dtype == np.int16
    assert state["numpy scalar"] == 1.5
    assert np.isnan(state["list"][0])


@pytest.mark.parametrize("bad", [{1, 2}, object(), lambda: None, 1 + 2j, b"x", http.HTTPStatus.OK])
def test_what_would_need_a_pickle_is_refused_when_saving(tmp_path, bad):
    counter = _Counter()
    counter.state = {"inner": {"deep": bad}}
    with pytest.raises(TypeError, match=r"counter/inner/deep"):
        save_checkpoint(tmp_path / "c", {"counter": counter})
    with pytest.raises(TypeError, match="'thing'"):
        save_checkpoint(tmp_path / "c", {"thing": bad})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.zeros(2, dtype=">f4")])
def test_arrays_that_are_no_numbers(tmp_path, array):
    with pytest.raises(TypeError, match=r"'x' as an array of numbers\n  actual:   dtype"):
        save_checkpoint(tmp_path / "c", {"x": array})


def test_a_pickle_is_never_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "owned", "x"))

    torch.save({"format": "toolkit-checkpoint/1", "state": Evil()}, tmp_path / "c")
    with pytest.raises(CheckpointError, match="another archive"):
        load_checkpoint(tmp_path / "c")
    (tmp_path / "d").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="truncated or foreign"):
        load_checkpoint(tmp_path / "d")
    assert not (tmp_path / "owned").exists()


def test_every_truncation_gives_the_one_error(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": torch.arange(100.0)})
    content = (tmp_path / "c").read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        (tmp_path / "d").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="cannot go on from it"):
            load_checkpoint(tmp_path / "d", {"x": torch.zeros(100)})


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path):
    target = torch.zeros(100)
    save_checkpoint(tmp_path / "c", {"x": torch.arange(100.0)})
    content = bytearray((tmp_path / "c").read_bytes())
    noticed = 0
    for position in range(0, len(content), 41):
        content[position] ^= 4
        (tmp_path / "d").write_bytes(content)
        content[position] ^= 4
        try:
            load_checkpoint(tmp_path / "d", {"x": target})
        except CheckpointError:
            noticed += 1
        else:
            assert torch.equal(target, torch.arange(100.0))
    assert noticed > 10


def test_foreign_files(tmp_path):
    torch.save(_network().state_dict(), tmp_path / "weights.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("a", "b")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    (tmp_path / "page.html").write_text("<html>404</html>")
    (tmp_path / "folder").mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(CheckpointError, match=str(path)):
            load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "absent")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/full"):
        with pytest.raises(CheckpointError, match="device or a pipe"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({}, r"unexpected \['x'\]"),
        ({"y": torch.zeros(3)}, r"missing \['y'\], unexpected \['x'\]"),
        ({"x": torch.zeros(3), "y": torch.zeros(1)}, r"missing \['y'\]"),
        ({"x": torch.zeros(4)}, "'x'.*\n.*shape"),
        ({"x": torch.zeros(3, dtype=torch.float64)}, "'x'.*\n.*float64"),
        ({"x": torch.nn.Linear(3, 1)}, "'x'"),
        ({"x": torch.Generator()}, "'x'"),
        ({"x": [torch.zeros(1)]}, "'x'"),
        ({"x": {"a": torch.zeros(1)}}, "'x'"),
    ],
)
def test_a_state_that_does_not_fit(tmp_path, other, complaint):
    save_checkpoint(tmp_path / "c", {"x": torch.ones(3)})
    with pytest.raises(CheckpointError, match=complaint):
        load_checkpoint(tmp_path / "c", other)


@dataclasses.dataclass(frozen=True)
class _Config:
    rate: float = 0.1
    sizes: tuple[int, ...] = (3, 4)
    folder: Path = Path("x")


def test_configs_are_compared_as_they_come_back(tmp_path):
    save_checkpoint(tmp_path / "c", {}, config=_Config())
    assert load_checkpoint(tmp_path / "c", config=_Config()).config == {"rate": 0.1, "sizes": [3, 4], "folder": "x"}
    load_checkpoint(tmp_path / "c", config={"folder": "x", "sizes": [3, 4], "rate": 0.1})
    load_checkpoint(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"(?s)rate=0\.2.*rate=0\.1") as caught:
        load_checkpoint(tmp_path / "c", config=_Config(rate=0.2))
    assert "sizes" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no rate"):
        load_checkpoint(tmp_path / "c", config={"sizes": [3, 4], "folder": "x"})


def test_a_config_with_nan_equals_itself(tmp_path):
    save_checkpoint(tmp_path / "c", {}, config={"x": float("nan")})
    load_checkpoint(tmp_path / "c", config={"x": float("nan")})


def test_a_config_that_is_not_plain():
    with pytest.raises(TypeError, match="plain values"):
        plain_config({"f": object()})


def test_the_global_generators_only_if_asked(tmp_path):
    save_checkpoint(tmp_path / "without", {})
    with pytest.raises(CheckpointError, match="global generators"):
        load_checkpoint(tmp_path / "without", global_rng=True)
    save_checkpoint(tmp_path / "with", {}, global_rng=True)
    first = torch.rand(1).item(), np.random.rand(), random.random()
    load_checkpoint(tmp_path / "with", global_rng=True)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == first


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "c", {"x": torch.ones(1)}, step=1)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("toolkit.core.files.os.fsync", full)
        with pytest.raises(WriteError, match="the disk is full"):
            save_checkpoint(tmp_path / "c", {"x": torch.ones(1)}, step=2)
    assert load_checkpoint(tmp_path / "c").step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_only_the_named_part_of_a_large_storage_is_written(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": torch.zeros(1_000_000)[:10]})
    assert (tmp_path / "c").stat().st_size < 10_000


def test_repr_is_short(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": torch.zeros(1000)}, step=4, history={"metrics": {"loss": {}}})
    assert repr(load_checkpoint(tmp_path / "c")) == "Checkpoint(step=4, metrics=['loss'])"
    assert checkpoints.Checkpoint(0, {}, None).config is None
