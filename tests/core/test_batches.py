"""Minibatches: every item once an epoch, and a position that can be saved."""

import pytest
import torch

from toolkit.core.batches import Minibatches
from toolkit.core.devices import resolve_generator


def _batches(n_items: int, batch_size: int, **options) -> Minibatches:
    return Minibatches(n_items, batch_size, generator=resolve_generator(seed=0), **options)


@pytest.mark.parametrize(("n_items", "batch_size"), [(10, 3), (10, 5), (10, 10), (10, 99), (1, 1)])
def test_each_epoch_visits_each_item_once(n_items, batch_size):
    batches = _batches(n_items, batch_size)
    for epoch in range(3):
        assert batches.epoch == epoch
        seen = torch.cat([batches.next() for _ in range(batches.per_epoch)])
        assert sorted(seen.tolist()) == list(range(n_items))
    assert batches.epoch == 3


def test_the_order_changes_with_the_epoch():
    batches = _batches(100, 100)
    assert not torch.equal(batches.next(), batches.next())


def test_drop_last():
    batches = _batches(10, 4, drop_last=True)
    assert batches.per_epoch == 2
    assert [len(batches.next()) for _ in range(6)] == [4] * 6


@pytest.mark.parametrize("position", range(8))
def test_a_saved_position_goes_on_with_the_same_batches(position):
    original = _batches(10, 3)
    for _ in range(position):
        original.next()
    generator = resolve_generator(seed=99)
    copy = Minibatches(10, 3, generator=generator)
    copy.load_state_dict(original.state_dict())
    generator.set_state(original._generator.get_state())
    assert copy.epoch == original.epoch
    for _ in range(9):
        assert torch.equal(copy.next(), original.next())


def test_a_state_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="n_items, batch_size"):
        _batches(10, 3).load_state_dict(_batches(10, 4).state_dict())


def test_the_batch_goes_to_the_device():
    assert _batches(4, 2).next("meta").device.type == "meta"


@pytest.mark.parametrize(
    ("n_items", "batch_size", "drop_last"), [(0, 1, False), (1, 0, False), (-1, 1, False), (3, 4, True)]
)
def test_impossible_sizes(n_items, batch_size, drop_last):
    with pytest.raises(ValueError, match="Minibatches: bad argument"):
        _batches(n_items, batch_size, drop_last=drop_last)
