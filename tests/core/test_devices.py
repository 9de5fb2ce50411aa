"""Devices and generators: where things go, and that the numbers do not depend on it."""

import pytest
import torch

from toolkit.core import devices
from toolkit.core.devices import (
    available_devices,
    draw_integers,
    draw_normal,
    draw_permutation,
    draw_uniform,
    resolve_device,
    resolve_generator,
)


def test_none_means_where_the_inputs_are():
    assert resolve_device(like=torch.zeros(2)) == torch.device("cpu")
    assert resolve_device(like=torch.zeros(2, device="meta")) == torch.device("meta")
    assert resolve_device(like=torch.nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert resolve_device(like=[torch.zeros(1), torch.zeros(0)]) == torch.device("cpu")


def test_a_named_device_wins_over_the_inputs():
    assert resolve_device("cpu", like=torch.zeros(2, device="meta")) == torch.device("cpu")


def test_none_without_inputs_means_the_best_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for like in (None, [], torch.nn.ReLU()):
        assert resolve_device(like=like) == torch.device("cpu")


def test_mps_is_not_chosen_because_it_has_no_float64(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device() == torch.device("cpu")
    assert available_devices() == ["mps", "cpu"]


@pytest.mark.parametrize(
    "name", ["cuda:99", "nonsense", "cpu:x", "", "meta", "xpu" if not torch.xpu.is_available() else "cuda:99"]
)
def test_an_absent_device_is_named_together_with_those_there_are(name):
    with pytest.raises(ValueError, match=r"a device of this machine: .*cpu") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
@pytest.mark.parametrize("device", ["cuda", 0, torch.device("cuda", 0)])
def test_cuda_without_cuda(device):
    with pytest.raises(ValueError, match="resolve_device: bad argument 'device'"):
        resolve_device(device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_carries_its_index():
    assert resolve_device("cuda") == torch.zeros(1, device="cuda").device == resolve_device()


def test_inputs_on_two_devices_are_refused():
    with pytest.raises(ValueError, match="one device"):
        resolve_device(like=[torch.zeros(1), torch.zeros(1, device="meta")])


def test_a_new_generator_repeats_its_seed_and_differs_without_one():
    first, second = (torch.rand(5, generator=resolve_generator(seed=7)) for _ in range(2))
    assert torch.equal(first, second)
    assert resolve_generator().initial_seed() != resolve_generator().initial_seed()


def test_the_callers_generator_comes_back_untouched():
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    assert resolve_generator(generator) is generator
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="0 <= seed"):
        resolve_generator(seed=seed)


def test_a_generator_and_a_seed_contradict_each_other():
    with pytest.raises(ValueError, match="None when a generator is given"):
        resolve_generator(torch.Generator(), seed=3)


def test_the_global_generator_stays_as_it_is():
    before = torch.get_rng_state()
    generator = resolve_generator()
    draw_uniform((3,), generator=generator)
    draw_normal((3,), generator=generator)
    draw_integers(0, 9, (3,), generator=generator)
    draw_permutation(5, generator=generator)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("device", [None, "cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])])
def test_draws_move_to_the_target_and_use_the_generator_alike(device):
    generator = resolve_generator(seed=0)
    for tensor in (
        draw_uniform((2, 3), generator=generator, device=device),
        draw_normal((2, 3), generator=generator, device=device, dtype=torch.float64),
        draw_integers(-1, 4, (2, 3), generator=generator, device=device),
        draw_permutation(6, generator=generator, device=device),
    ):
        assert tensor.device.type == (device or "cpu")
    reference = torch.Generator().manual_seed(0)
    torch.rand((2, 3), generator=reference)
    torch.randn((2, 3), generator=reference, dtype=torch.float64)
    torch.randint(-1, 4, (2, 3), generator=reference)
    torch.randperm(6, generator=reference)
    assert torch.equal(generator.get_state(), reference.get_state())


def test_draws_are_what_they_say():
    generator = resolve_generator(seed=0)
    uniform = draw_uniform((20_000,), generator=generator)
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    normal = draw_normal((20_000,), generator=generator)
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert draw_integers(2, 5, (1000,), generator=generator).unique().tolist() == [2, 3, 4]
    assert sorted(draw_permutation(9, generator=generator).tolist()) == list(range(9))
    assert draw_uniform((0, 3), generator=generator).shape == (0, 3)
    assert draw_permutation(0, generator=generator).shape == (0,)


def test_an_empty_range_of_integers():
    with pytest.raises(ValueError, match="draw_integers: bad argument 'high'"):
        draw_integers(3, 3, (1,), generator=resolve_generator(seed=0))


def test_unknown_types(monkeypatch):
    # Without the checks of the tests' import hook, as users run it.
    for bad in (True, 1.5, object()):
        with pytest.raises(Exception, match=r"device|annotat|violat"):
            devices.resolve_device(bad)
    with pytest.raises(Exception, match=r"like|violat"):
        devices.resolve_device(like=["cpu"])
