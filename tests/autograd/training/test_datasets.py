"""Data sets of arrays and of anything else, their splits, and batches made of their items."""

import numpy as np
import pytest
import torch

from toolkit.autograd.training import (
    ConcatenatedDataset,
    DictDataset,
    SubDataset,
    TransformDataset,
    TupleDataset,
    concat_examples,
    cross_validation_datasets,
    split_dataset,
    split_dataset_random,
)


def test_items_slices_and_positions():
    dataset = TupleDataset(np.arange(6.0), torch.arange(6))
    assert len(dataset) == 6
    assert dataset[-1] == (5.0, torch.tensor(5))
    x, t = dataset[1:4]
    assert x.tolist() == [1, 2, 3] and t.tolist() == [1, 2, 3]
    x, t = dataset[[4, 0, -1]]
    assert x.tolist() == [4, 0, 5] and t.tolist() == [4, 0, 5]
    assert dataset[::-2][1].tolist() == [5, 3, 1]
    assert DictDataset(a=[1, 2], b="xy")[1] == {"a": 2, "b": "y"}
    assert TupleDataset([1, 2, 3], "abc")[1:] == [(2, "b"), (3, "c")]
    with pytest.raises(IndexError, match="6 of 6"):
        dataset[6]
    with pytest.raises(IndexError):
        dataset[np.array([0, 6])]
    with pytest.raises(TypeError, match="an integer, a slice"):
        dataset[1.5]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"one length[\s\S]*\[3, 4\]"):
        TupleDataset(np.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="DictDataset"):
        DictDataset(x=[1], t=[1, 2])
    with pytest.raises(TypeError, match="a length"):
        TupleDataset(np.zeros(()), [1])
    with pytest.raises(ValueError, match="at least one"):
        TupleDataset()


def test_splits_cut_arrays_at_once():
    x = np.arange(10) * 10
    train, test = split_dataset(x, 7)
    assert isinstance(train, SubDataset) and train.whole
    assert train[:].tolist() == x[:7].tolist() and test[[0, 2]].tolist() == [70, 90]
    first, second = split_dataset_random(x, 4, generator=torch.Generator().manual_seed(0))
    again, _ = split_dataset_random(x, 4, generator=torch.Generator().manual_seed(0))
    assert first[:].tolist() == again[:].tolist() != x[:4].tolist()
    assert sorted([*first[:], *second[:]]) == x.tolist()
    with pytest.raises(ValueError, match="split_at <= 10"):
        split_dataset(x, 11)


def test_cross_validation_uses_each_item_once_to_validate():
    folds = cross_validation_datasets(list(range(11)), 3, generator=torch.Generator().manual_seed(0))
    assert sorted(item for _, fold in folds for item in fold[:]) == list(range(11))
    assert [len(fold) for _, fold in folds] == [3, 4, 4]
    assert all(sorted([*rest[:], *fold[:]]) == list(range(11)) for rest, fold in folds)


def test_concatenation_and_transform():
    both = ConcatenatedDataset([1, 2], np.array([3, 4, 5]), [])
    assert [both[i] for i in range(len(both))] == [1, 2, 3, 4, 5] and both[-1] == 5
    doubled = TransformDataset(both, lambda item: item * 2)
    assert doubled[1:4] == [4, 6, 8]
    with pytest.raises(TypeError, match="transform"):
        TransformDataset([1], 3)


def test_examples_become_arrays_of_their_library():
    x, t = concat_examples([(np.ones(2, dtype=np.float32), 3), (np.zeros(2, dtype=np.float32), 4)])
    assert x.dtype == np.float32 and x.shape == (2, 2) and t.tolist() == [3, 4] and t.dtype == np.int64
    named = concat_examples([{"x": torch.ones(3), "y": 0.5}, {"x": torch.zeros(3), "y": 1.5}], "cpu")
    assert named["x"].shape == (2, 3) and named["y"].dtype == torch.float32
    assert concat_examples([1, 2], "cpu").tolist() == [1, 2]
    assert isinstance(concat_examples([torch.ones(1)], "numpy"), np.ndarray)


def test_nothing_is_copied_that_is_there():
    x, t = np.ones((2, 3), dtype=np.float32), torch.arange(2)
    same = concat_examples((x, t))
    assert same[0] is x and same[1] is t
    moved = concat_examples((x, t), "cpu")
    assert moved[1] is t and moved[0].data_ptr() == x.ctypes.data


def test_padding_fills_the_ends():
    batch = concat_examples([np.array([1, 2, 3]), np.array([4])], padding=-1)
    assert batch.tolist() == [[1, 2, 3], [4, -1, -1]]
    x, t = concat_examples([(torch.ones(2, 1), 0), (torch.ones(1, 2), 1)], padding=(0, None))
    assert x.tolist() == [[[1, 0], [1, 0]], [[1, 1], [0, 0]]] and t.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"padding=…[\s\S]*\(1,\), \(3,\)"):
        concat_examples([np.zeros(3), np.zeros(1)])


def test_examples_that_are_none():
    with pytest.raises(ValueError, match="at least one example"):
        concat_examples([])
    with pytest.raises(ValueError, match="tuples of 2"):
        concat_examples([(1, 2), (1,)])
    with pytest.raises(ValueError, match="dictionaries"):
        concat_examples([{"a": 1}, {"b": 1}])
    with pytest.raises(TypeError, match="str"):
        concat_examples(["text"])
