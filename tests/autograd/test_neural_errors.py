"""What the neural functions refuse, and that the message names function, argument, expectation and what came."""

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, using_config
from toolkit.autograd import functions as F


def complaint(kind, function, argument):
    """Return what to expect: the tests' run-time type checker may be quicker with a TypeError of its own."""
    if kind is TypeError:
        return pytest.raises(TypeError, match=rf"(?s){function}.*'{argument}'")
    return pytest.raises(kind, match=rf"{function}: bad argument '{argument}'\n  expected: .+\n  actual:   .+")


def images(library, *shape):
    return library.constant(np.ones(shape))


CONVOLUTIONS = [
    ("x", ValueError, (2, 3), (2, 3, 1, 1), {}),
    ("weight", ValueError, (1, 3, 4, 4), (2, 3, 3), {}),
    ("weight", ValueError, (1, 3, 4, 4), (2, 3, 0, 1), {}),
    ("weight", ValueError, (1, 3, 4, 4), (0, 3, 1, 1), {}),
    ("weight", ValueError, (1, 0, 4, 4), (2, 0, 1, 1), {}),
    ("weight", ValueError, (1, 3, 4, 4), (2, 2, 1, 1), {}),
    ("groups", ValueError, (1, 3, 4, 4), (2, 3, 1, 1), {"groups": 2}),
    ("groups", ValueError, (1, 4, 4, 4), (3, 2, 1, 1), {"groups": 2}),
    ("groups", ValueError, (1, 4, 4, 4), (4, 2, 1, 1), {"groups": 0}),
    ("groups", TypeError, (1, 4, 4, 4), (4, 2, 1, 1), {"groups": 2.0}),
    ("x", ValueError, (1, 1, 2, 5), (1, 1, 3, 3), {}),
    ("x", ValueError, (1, 1, 4, 4), (1, 1, 3, 3), {"dilation": 2}),
    ("x", ValueError, (1, 1, 0, 4), (1, 1, 1, 1), {}),
    ("stride", ValueError, (1, 1, 4, 4), (1, 1, 3, 3), {"stride": 0}),
    ("stride", TypeError, (1, 1, 4, 4), (1, 1, 3, 3), {"stride": 1.5}),
    ("stride", ValueError, (1, 1, 4, 4), (1, 1, 3, 3), {"stride": (1, 1, 1)}),
    ("padding", ValueError, (1, 1, 4, 4), (1, 1, 3, 3), {"padding": -1}),
    ("padding", TypeError, (1, 1, 4, 4), (1, 1, 3, 3), {"padding": "same"}),
    ("dilation", ValueError, (1, 1, 4, 4), (1, 1, 3, 3), {"dilation": (1, 0)}),
    ("dilation", TypeError, (1, 1, 4, 4), (1, 1, 3, 3), {"dilation": True}),
]


@pytest.mark.parametrize(("argument", "kind", "x", "weight", "options"), CONVOLUTIONS)
def test_convolution_refuses(argument, kind, x, weight, options, library):
    with complaint(kind, "conv2d", argument):
        F.conv2d(images(library, *x), images(library, *weight), **options)


def test_convolution_refuses_a_bias_that_does_not_fit(library):
    x, weight = images(library, 1, 2, 3, 3), images(library, 4, 2, 1, 1)
    with pytest.raises(ValueError, match=r"'bias'\n  expected: shape \(4,\)"):
        F.conv2d(x, weight, images(library, 2))
    with pytest.raises(TypeError, match=r"'bias'\n  expected: dtype .*float64"):
        F.conv2d(x, weight, library.leaf(np.ones(4), dtype="float32"))


def test_arrays_of_two_libraries_are_refused():
    with pytest.raises(TypeError, match=r"conv2d: bad argument 'weight'\n  expected: an array of torch"):
        F.conv2d(torch.ones(1, 1, 2, 2), np.ones((1, 1, 1, 1), dtype="float32"))


@pytest.mark.parametrize("pool", [F.max_pool2d, F.average_pool2d])
@pytest.mark.parametrize(
    ("argument", "kind", "shape", "options"),
    [
        ("x", ValueError, (4, 4), {"window": 2}),
        ("x", ValueError, (1, 1, 1, 4), {"window": 2}),
        ("x", ValueError, (1, 0, 4, 4), {"window": 2}),
        ("x", ValueError, (1, 1, 0, 4), {"window": 1}),
        ("window", ValueError, (1, 1, 4, 4), {"window": 0}),
        ("window", TypeError, (1, 1, 4, 4), {"window": 2.0}),
        ("stride", ValueError, (1, 1, 4, 4), {"window": 2, "stride": 0}),
        ("padding", ValueError, (1, 1, 4, 4), {"window": 2, "padding": 2}),
        ("padding", ValueError, (1, 1, 4, 4), {"window": 3, "padding": (1, -1)}),
    ],
)
def test_poolings_refuse(pool, argument, kind, shape, options, library):
    with complaint(kind, pool.__name__, argument):
        pool(images(library, *shape), **options)


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_functions_that_need_floating_point_say_so(dtype, library):
    x = Variable(library.array(np.ones((2, 2, 4, 4), dtype=dtype)))
    for function in (
        F.softmax,
        F.log_softmax,
        F.batch_normalization,
        F.layer_normalization,
        F.dropout,
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.average_pool2d(x, 2),
        lambda x: F.mse(x, x),
        lambda x: F.cross_entropy(x, [0, 1]),
        lambda x: F.conv2d(x, x),
    ):
        with pytest.raises(TypeError, match="expected: a floating-point array"):
            function(x)


@pytest.mark.parametrize(("axis", "kind"), [(2, ValueError), (-3, ValueError), (1.0, TypeError), ((0, 1), TypeError)])
def test_softmax_refuses_axes(axis, kind, library):
    with complaint(kind, "softmax", "axis"):
        F.softmax(library.constant(np.ones((2, 3))), axis)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [-100, 0], [0, 2**40]])
@pytest.mark.parametrize("integer", ["int64", "list"])
def test_labels_out_of_range(labels, integer, library):
    given = labels if integer == "list" else library.array(np.asarray(labels))
    wrong = next(label for label in labels if not 0 <= label < 3)
    with pytest.raises(ValueError, match=rf"'labels'\n  expected: integers from 0 to 2\n  actual:   {wrong}"):
        F.cross_entropy(library.leaf(np.ones((2, 3))), given)


@pytest.mark.parametrize(
    ("logits", "labels", "kind", "argument"),
    [
        ((2, 3), [0.0, 1.0], TypeError, "labels"),
        ((2, 3), [True, False], TypeError, "labels"),
        ((2, 3), "cat", TypeError, "labels"),
        ((2, 3), [0], ValueError, "labels"),
        ((2, 3), [[0], [1]], ValueError, "labels"),
        ((2, 3, 4), [0, 1], ValueError, "labels"),
        ((), 0, ValueError, "logits"),
        ((0,), 0, ValueError, "logits"),
        ((0, 3), [], ValueError, "logits"),
    ],
)
def test_cross_entropy_refuses(logits, labels, kind, argument, library):
    with pytest.raises(kind, match=f"cross_entropy: bad argument '{argument}'"):
        F.cross_entropy(library.constant(np.ones(logits)), labels)


def test_cross_entropy_says_both_kinds_of_labels_to_who_gives_fractions(library):
    logits = library.constant(np.ones((20, 5)))
    for labels in (library.constant(np.ones(20)), np.ones(20, dtype=np.float16)):
        with pytest.raises((TypeError, ValueError), match=r"integer labels of shape \(20,\), or prob.* \(20, 5\)"):
            F.cross_entropy(logits, labels)


def test_cross_entropy_of_nothing_is_a_sum_of_nothing(library):
    logits = library.leaf(np.ones((0, 3)))
    assert F.cross_entropy(logits, [], reduction="sum").item() == 0.0
    assert F.cross_entropy(logits, [], reduction="none").shape == (0,)


def test_losses_refuse_reductions_and_shapes_that_would_broadcast(library):
    x = library.constant(np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"mse: bad argument 'reduction'"):
        F.mse(x, x, reduction="avg")
    with pytest.raises(ValueError, match=r"cross_entropy: bad argument 'reduction'"):
        F.cross_entropy(x, [0, 0, 0], reduction="batchmean")
    with pytest.raises(ValueError, match=r"mse: bad argument 'y'\n  expected: shape \(3, 1\)\n  actual:   \(3,\)"):
        F.mse(x, library.constant(np.ones(3)))
    with pytest.raises(ValueError, match="mse: bad argument 'x'"):
        F.mse(library.constant(np.ones(0)), library.constant(np.ones(0)))


@pytest.mark.parametrize("ids", [[4], [-1], [0, 10**12], np.asarray([[200]], dtype=np.uint8)])
def test_ids_out_of_range(ids, library):
    with pytest.raises(ValueError, match=r"embedding: bad argument 'ids'\n  expected: integers from 0 to 3"):
        F.embedding(ids, library.leaf(np.ones((4, 2))))


def test_embedding_refuses(library):
    weight = library.leaf(np.ones((4, 2)))
    for ids in ([0.5], [True], None, {0: 1}):
        with pytest.raises(TypeError, match="bad argument 'ids'"):
            F.embedding(ids, weight)
    with pytest.raises(ValueError, match="bad argument 'weight'"):
        F.embedding([0], library.leaf(np.ones(4)))
    with pytest.raises(ValueError, match="integers from 0 to -1"):
        F.embedding([0], library.leaf(np.ones((0, 2))))


def test_batch_normalization_refuses(library):
    x = images(library, 2, 3)
    ones = library.array(np.ones(3))
    for argument, call in {
        "x": lambda: F.batch_normalization(images(library, 3)),
        "gamma": lambda: F.batch_normalization(x, library.array(np.ones(2))),
        "beta": lambda: F.batch_normalization(x, None, library.array(np.ones((3, 1)))),
        "running_mean": lambda: F.batch_normalization(x, None, None, library.array(np.ones(4)), ones),
        "running_mean, running_var": lambda: F.batch_normalization(x, None, None, ones),
        "eps": lambda: F.batch_normalization(x, eps=-1e-5),
        "momentum": lambda: F.batch_normalization(x, momentum=2.0),
    }.items():
        with pytest.raises(ValueError, match=f"batch_normalization: bad argument '{argument}'"):
            call()
    with pytest.raises(ValueError, match="more than one value a channel"):
        F.batch_normalization(images(library, 1, 3))
    with pytest.raises(ValueError, match="more than one value a channel"):
        F.batch_normalization(images(library, 1, 3, 1, 1))
    with using_config(train=False), pytest.raises(ValueError, match="as config"):
        F.batch_normalization(x)


def test_layer_normalization_refuses(library):
    x = images(library, 2, 3)
    for call in (
        lambda: F.layer_normalization(x, images(library, 2)),
        lambda: F.layer_normalization(x, axis=2),
        lambda: F.layer_normalization(x, axis=(1, 1)),
        lambda: F.layer_normalization(x, axis=()),
        lambda: F.layer_normalization(images(library)),
        lambda: F.layer_normalization(x, eps=float("nan")),
    ):
        with pytest.raises(ValueError, match="layer_normalization: bad argument"):
            call()


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5, float("nan"), float("inf")])
def test_dropout_ratio_out_of_range(ratio, library):
    with pytest.raises(ValueError, match=r"dropout: bad argument 'ratio'\n  expected: a number in \[0, 1\)"):
        F.dropout(images(library, 2), ratio)


def test_dropout_refuses_other_types(library):
    for options in ({"ratio": "half"}, {"ratio": True}, {"generator": 0}, {"generator": np.random.default_rng(0)}):
        with complaint(TypeError, "dropout", *options):
            F.dropout(images(library, 2), **options)
