"""What the neural functions keep: running statistics, random masks, memory."""

import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as torch_functions

from toolkit.autograd import Variable, checkpoint, grad, graph, no_grad, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.backends import NumPyLikeBackend

# ---------------------------------------------------------------------------------------------------------------------
# Running statistics


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (3, 3, 2, 2)])
def test_running_statistics_are_torchs(shape, library):
    rng = np.random.default_rng(0)
    mean, variance = library.array(np.zeros(3)), library.array(np.ones(3))
    expected_mean, expected_variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for _ in range(4):
        x = rng.normal(size=shape) * 3 + 2
        F.batch_normalization(library.leaf(x), None, None, mean, variance, momentum=0.3)
        torch_functions.batch_norm(torch.from_numpy(x), expected_mean, expected_variance, None, None, True, 0.3)
    np.testing.assert_allclose(library.host(mean), expected_mean, rtol=1e-12)
    np.testing.assert_allclose(library.host(variance), expected_variance, rtol=1e-12)


def test_running_statistics_may_be_variables_and_get_no_gradient(library):
    mean, variance = library.constant(np.zeros(2)), library.constant(np.ones(2))
    x = library.leaf([[1.0, 2.0], [3.0, 6.0]])
    F.sum(F.batch_normalization(x, None, None, mean, variance)).backward()
    np.testing.assert_allclose(library.host(mean), [0.2, 0.4])
    np.testing.assert_allclose(library.host(variance), [0.9 + 0.2, 0.9 + 0.8])
    assert mean.grad is None


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_running_statistics_of_other_dtypes(dtype, libraries):
    for name in ("numpy", "torch"):
        library = libraries[name]
        mean, variance = (library.array(np.asarray(v, dtype=dtype)) for v in ([0.0, 0.0], [1.0, 1.0]))
        F.batch_normalization(library.leaf([[1.0, 2.0], [3.0, 6.0]], dtype=dtype), None, None, mean, variance)
        np.testing.assert_allclose(library.host(mean), [0.2, 0.4], rtol=1e-3)
        np.testing.assert_allclose(library.host(variance), [1.1, 1.7], rtol=1e-3)


def test_statistics_are_left_alone_by_evaluation_nothing_and_recomputation(library):
    mean, variance = library.array(np.asarray([1.0, 2.0])), library.array(np.asarray([3.0, 4.0]))
    before = library.host(mean).copy(), library.host(variance).copy()
    with using_config(train=False):
        F.batch_normalization(library.leaf(np.ones((3, 2))), None, None, mean, variance)
    F.batch_normalization(library.leaf(np.ones((0, 2))), None, None, mean, variance)
    with using_config(in_recomputing=True):
        F.batch_normalization(library.leaf(np.ones((3, 2))), None, None, mean, variance)
    np.testing.assert_array_equal(library.host(mean), before[0])
    np.testing.assert_array_equal(library.host(variance), before[1])


def test_a_checkpoint_updates_them_once_and_differentiates_the_same(library):
    rng = np.random.default_rng(1)
    host = rng.normal(size=(4, 2))
    results = []
    for around in (lambda function, x: function(x), checkpoint):
        mean, variance = library.array(np.zeros(2)), library.array(np.ones(2))
        x = library.leaf(host)
        y = around(lambda x: F.batch_normalization(x, None, None, mean, variance), x)  # noqa: B023
        F.sum(y * y * y).backward()
        results.append([library.host(array) for array in (mean, variance, x.grad)])
    for plain, again in zip(*results, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-12, atol=1e-12)


def test_statistics_updated_between_evaluation_and_backward_do_not_matter(library):
    """Adversarial examples are made in evaluation mode while something else may be training."""
    mean, variance = library.array(np.asarray([1.0, 2.0])), library.array(np.asarray([3.0, 4.0]))
    x, gamma = library.leaf(np.ones((3, 2))), library.leaf([2.0, 3.0])
    with using_config(train=False):
        y = F.batch_normalization(x, gamma, None, mean, variance, eps=0.0)
    F.batch_normalization(library.constant(np.random.default_rng(0).normal(size=(4, 2))), None, None, mean, variance)
    F.sum(y).backward()
    np.testing.assert_allclose(library.host(x.grad), np.broadcast_to(np.asarray([2.0, 3.0]) / [3.0**0.5, 2.0], (3, 2)))
    np.testing.assert_allclose(library.host(gamma.grad), [0.0, -1.5])


# ---------------------------------------------------------------------------------------------------------------------
# Dropout


def test_one_generator_gives_one_mask_on_every_library(libraries):
    hosts = []
    pairs = (("numpy", "float64"), ("numpy", "float16"), ("torch", "float32"), ("array_api_strict", "float32"))
    for name, dtype in pairs:
        x = libraries[name].leaf(np.ones((50, 7)), dtype=dtype)
        hosts.append(libraries[name].host(F.dropout(x, 0.3, generator=torch.Generator().manual_seed(4))))
    for host in hosts[1:]:
        np.testing.assert_array_equal(host != 0, hosts[0] != 0)
    assert 0.2 < np.mean(hosts[0] == 0) < 0.4


def test_dropout_keeps_the_mean_and_scales_what_it_keeps(library):
    y = library.host(F.dropout(library.leaf(np.ones(20_000)), 0.25, generator=torch.Generator().manual_seed(0)))
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert abs(y.mean() - 1) < 0.02


def test_the_gradient_goes_where_the_value_went(library):
    x = library.leaf(np.full((6, 5), 2.0))
    y = F.dropout(x, 0.5, generator=torch.Generator().manual_seed(3))
    F.sum(y * y).backward()
    np.testing.assert_array_equal(library.host(x.grad), np.where(library.host(y) != 0, 16.0, 0.0))


def test_dropout_without_training_or_ratio_is_nothing(library):
    x = library.leaf(np.ones(5))
    assert F.dropout(x, 0.0) is x
    with using_config(train=False):
        assert F.dropout(x, 0.9) is x


def test_generators_advance_and_the_global_ones_never(library):
    x = library.leaf(np.ones(64))
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    generator = torch.Generator().manual_seed(0)
    first, second = (library.host(F.dropout(x, 0.5, generator=generator)) for _ in range(2))
    assert (first != second).any()
    with using_config(generator=torch.Generator().manual_seed(0)):
        np.testing.assert_array_equal(library.host(F.dropout(x, 0.5)), first)
        np.testing.assert_array_equal(library.host(F.dropout(x, 0.5)), second)
    assert (library.host(F.dropout(x, 0.5)) != library.host(F.dropout(x, 0.5))).any()
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_a_checkpoint_drops_the_same_elements_again(library):
    x = library.leaf(np.ones(64))
    with using_config(generator=torch.Generator().manual_seed(1)):
        y = checkpoint(lambda x: F.dropout(x * 1.0, 0.5), x)
        F.sum(y).backward()
    np.testing.assert_array_equal(library.host(x.grad), library.host(y))


# ---------------------------------------------------------------------------------------------------------------------
# Memory


def convnet(f, x, labels, p):
    h = f.max_pool2d(f.relu(f.conv2d(x, p[0], p[1])), 2)
    h = f.max_pool2d(f.relu(f.conv2d(h, p[2], p[3])), 2)
    h = f.relu(f.linear(h.reshape((h.shape[0], -1)), p[4], p[5]))
    return f.cross_entropy(f.linear(h, p[6], p[7]), labels)


def convnet_arrays(samples: int = 8) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    shapes = [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (500, 800), (500,), (10, 500), (10,)]
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(shape, generator=generator) * 0.05 for shape in shapes]
    return torch.randn(samples, 1, 28, 28, generator=generator), torch.arange(samples) % 10, parameters


@pytest.mark.parametrize("samples", [1, 8])
def test_a_convnet_saves_no_more_than_torch_and_the_places_of_the_maxima(samples):
    images, labels, parameters = convnet_arrays(samples)
    tensors = [parameter.clone().requires_grad_() for parameter in parameters]
    kept: dict[int, int] = {}
    others = {tensor.untyped_storage().data_ptr() for tensor in (*tensors, images, labels)}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in others:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        convnet(torch_functions, images, labels, tensors)
    leaves = [Variable(parameter, requires_grad=True) for parameter in parameters]
    loss = convnet(F, Variable(images), labels, leaves)
    theirs = sum(kept.values())
    others = {array.untyped_storage().data_ptr() for array in (*parameters, images, labels)}
    ours = saved_storages(loss.node, others)
    assert 0 < sum(ours.values()) <= theirs
    assert sum(ours.values()) <= graph(loss).saved_bytes


def saved_storages(node, others: set[int]) -> dict[int, int]:
    found, pending, seen = {}, [node], set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        pending.extend(node.parents)
        for value in node.saved:
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() not in others:
                found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    return found


def test_pooling_lets_its_input_go_and_keeps_small_numbers(library):
    x = library.leaf(np.random.default_rng(0).normal(size=(8, 4, 24, 24)))
    hidden = x * 2.0
    array = weakref.ref(hidden.data)
    y = F.max_pool2d(hidden, 2)
    hidden.node.saved = (None, 2.0)
    del hidden
    assert array() is None
    (numbers,) = y.node.saved
    assert y.backend.bytes(numbers) == 8 * 4 * 12 * 12


def test_the_fused_loss_keeps_log_probabilities_and_not_the_logits(library):
    logits = library.leaf(np.random.default_rng(0).normal(size=(5, 3))) * 2.0
    array = weakref.ref(logits.data)
    loss = F.cross_entropy(logits, [0, 1, 2, 0, 1])
    logits.node.saved = (None, 2.0)
    del logits
    assert array() is None
    assert sum(loss.backend.bytes(value) for value in loss.node.saved) == 5 * 3 * 8 + 5 * 8


def test_frozen_parameters_and_inputs_keep_less(library):
    x, w = np.ones((2, 1, 4, 4)), np.ones((1, 1, 3, 3))
    assert F.conv2d(library.constant(x), library.leaf(w)).node.saved[1] is None
    assert F.conv2d(library.leaf(x), library.constant(w)).node.saved[0] is None
    shift_alone = F.batch_normalization(library.constant(np.ones((3, 2))), None, library.leaf(np.ones(2)))
    assert shift_alone.node.saved == (None,) * 4
    with no_grad():
        assert F.conv2d(library.leaf(x), library.leaf(w)).node is None


def test_the_gradient_of_an_image_nobody_wants_is_not_computed(libraries, monkeypatch):
    library = libraries["numpy"]
    monkeypatch.setattr(NumPyLikeBackend, "conv2d_input_gradient", None)
    w = library.leaf(np.ones((1, 1, 3, 3)))
    F.sum(F.conv2d(library.constant(np.ones((2, 1, 4, 4))), w)).backward()
    assert library.host(w.grad).tolist() == [[[[8.0] * 3] * 3]]


def test_nothing_is_left_for_the_cycle_collector(library):
    def step():
        x, w = library.leaf(np.ones((2, 2, 6, 6))), library.leaf(np.ones((2, 2, 3, 3)))
        h = F.batch_normalization(F.max_pool2d(F.conv2d(x, w, padding=1), 2))
        h = F.dropout(F.layer_normalization(F.average_pool2d(h, 3).reshape((2, 2))), 0.1)
        loss = F.cross_entropy(h, [0, 1]) + F.mse(F.softmax(h), F.log_softmax(h))
        gradient = grad(loss, w, create_graph=True)
        F.sum(gradient * gradient).backward()

    step()
    gc.collect()
    gc.disable()
    try:
        step()
        assert gc.collect() == 0
    finally:
        gc.enable()


# ---------------------------------------------------------------------------------------------------------------------
# A GPU's ways, on NumPy


def test_the_paths_of_cupy_compute_the_same():
    """CuPy has no reduceat, and unfolds more at a time; both paths need nothing that NumPy has not."""
    plain, other = NumPyLikeBackend(np, np.ndarray), NumPyLikeBackend(np, np.ndarray)
    other.name = "cupy"
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 4, 40, 40)), rng.normal(size=(2, 4, 3, 3))
    shared = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    y = plain.conv2d(x, w, **shared)
    np.testing.assert_allclose(other.conv2d(x, w, **shared), y, rtol=1e-12)
    gradients = (("conv2d_input_gradient", (y, w), x.shape), ("conv2d_weight_gradient", (y, x), w.shape))
    for name, arrays, shape in gradients:
        results = [getattr(backend, name)(*arrays, shape=shape, **shared) for backend in (plain, other)]
        np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-10)
    ids, g = rng.integers(9, size=60), rng.normal(size=(60, 3))
    results = [backend.embedding_gradient(g, ids, shape=(9, 3)) for backend in (plain, other)]
    np.testing.assert_allclose(*results, rtol=1e-12)
