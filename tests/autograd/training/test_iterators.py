"""Batches: their sizes, order and epochs, and taking them up again anywhere."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from array_api_strict import asarray

from toolkit.autograd import using_config
from toolkit.autograd.training import DictDataset, SerialIterator, TransformDataset, TupleDataset


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_batch_is_filled_up_from_the_next_epoch():
    iterator = SerialIterator(list(range(5)), 3, shuffle=False)
    assert [next(iterator) for _ in range(4)] == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]
    assert (iterator.epoch, iterator.current_position, iterator.is_new_epoch) == (2, 2, True)


def test_a_batch_larger_than_the_data_passes_several_epochs():
    iterator = SerialIterator(["a", "b", "c"], 7, shuffle=False)
    assert next(iterator) == list("abcabca")
    assert (iterator.epoch, iterator.is_new_epoch, iterator.epoch_detail) == (2, True, 7 / 3)


def test_without_repeat_the_last_batch_holds_what_is_left():
    iterator = SerialIterator(np.arange(5), 3, repeat=False, shuffle=False)
    assert [batch.tolist() for batch in iterator] == [[0, 1, 2], [3, 4]]
    assert list(iterator) == []
    assert (iterator.epoch, iterator.epoch_detail, iterator.previous_epoch_detail) == (1, 1.0, 0.6)
    iterator.reset()
    assert len(list(iterator)) == 2


def test_every_epoch_visits_each_item_once_in_an_order_of_its_own():
    iterator = SerialIterator(list(range(12)), 5, generator=seeded())
    items = [item for _ in range(12) for item in next(iterator)]
    epochs = [items[12 * epoch : 12 * epoch + 12] for epoch in range(5)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_the_order_follows_from_the_generator_and_reset_draws_anew():
    first, second, other = (SerialIterator(list(range(50)), 50, generator=seeded(s)) for s in (1, 1, 2))
    batch = next(first)
    assert batch == next(second) != next(other)
    first.reset()
    assert next(first) != batch
    with using_config(generator=seeded(3)):
        one = next(SerialIterator(list(range(50)), 50))
    with using_config(generator=seeded(3)):
        assert next(SerialIterator(list(range(50)), 50)) == one


def test_epochs_are_counted_in_whole_numbers():
    iterator = SerialIterator(range(3), 1, shuffle=False)
    iterator.load_state_dict({**iterator.state_dict(), "items": 3 * 10**15 + 2, "previous": 3 * 10**15 + 1})
    assert not iterator.is_new_epoch
    next(iterator)
    assert (iterator.epoch, iterator.is_new_epoch, iterator.epoch_detail) == (10**15 + 1, True, 1e15 + 1)
    thirds = SerialIterator(range(7), 3, shuffle=False)
    for count in range(1, 200):
        next(thirds)
        assert thirds.epoch_detail == float(Fraction(3 * count, 7))
        assert thirds.is_new_epoch == (3 * count // 7 > 3 * (count - 1) // 7)


def test_arrays_are_cut_with_one_call_each(monkeypatch):
    calls = []
    select, pick = torch.index_select, np.take
    monkeypatch.setattr(torch, "index_select", lambda *a, **k: calls.append("torch") or select(*a, **k))
    monkeypatch.setattr(np, "take", lambda *a, **k: calls.append("numpy") or pick(*a, **k))
    x, t = torch.arange(20.0).reshape(10, 2), np.arange(10)
    iterator = SerialIterator(TupleDataset(x, t), 4, generator=seeded())
    for _ in range(3):
        batch, labels = next(iterator)
        assert torch.equal(batch, x[torch.from_numpy(labels)])
    assert calls == ["torch", "numpy"] * 3
    named = next(SerialIterator(DictDataset(x=x, t=asarray(t)), 4, shuffle=False))
    assert sorted(named) == ["t", "x"] and torch.equal(named["x"], x[:4])


def test_a_batch_is_a_copy():
    x = np.zeros(4)
    next(SerialIterator(x, 2, shuffle=False))[:] = 1
    assert not x.any()


def test_the_state_goes_through_plain_values_and_other_batch_sizes():
    iterator = SerialIterator(list(range(11)), 4, generator=seeded())
    for _ in range(5):
        next(iterator)
    state = iterator.state_dict()
    rest = [item for _ in range(6) for item in next(iterator)]
    state["generator"] = np.array(json.loads(json.dumps(state["generator"].tolist())), dtype=np.uint8)
    resumed = SerialIterator(list(range(11)), 3, generator=seeded(99))
    resumed.load_state_dict(state)
    assert [item for _ in range(8) for item in next(resumed)] == rest


def test_a_state_over_other_data_is_refused_or_keeps_the_epoch():
    iterator = SerialIterator(list(range(10)), 4, generator=seeded())
    for _ in range(7):
        next(iterator)
    other = SerialIterator(list(range(6)), 4, generator=seeded())
    with pytest.raises(ValueError, match="6 items"):
        other.load_state_dict(iterator.state_dict())
    other.load_state_dict(iterator.state_dict(), strict=False)
    assert (other.epoch, other.current_position) == (2, 0)


def test_an_item_that_cannot_be_read_is_tried_again():
    broken = [True]

    def read(item: int) -> int:
        if item == 3 and broken:
            broken.clear()
            raise OSError("the disk went away")
        return item

    iterator = SerialIterator(TransformDataset(list(range(6)), read), 2, shuffle=False)
    assert next(iterator) == [0, 1]
    with pytest.raises(OSError, match="went away"):
        next(iterator)
    assert [next(iterator), next(iterator)] == [[2, 3], [4, 5]]


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, None, "3"])
def test_batch_sizes_that_are_none(batch_size):
    with pytest.raises((ValueError, TypeError), match="batch_size"):
        SerialIterator([1, 2], batch_size)


def test_data_sets_that_are_none():
    with pytest.raises(ValueError, match="at least one item"):
        SerialIterator([], 1)
    with pytest.raises(TypeError, match="a length and items"):
        SerialIterator(iter([1, 2]), 1)
