"""What hooks make of gradients, on every array library, and when they are called."""

import math

import numpy as np
import pytest
import torch

from toolkit.autograd import optimizers as O
from toolkit.autograd.configuration import using_config

START = [[1.0, -2.0, 0.0], [[0.5], [4.0]], [], 3.0]
SLOPES = [[3.0, -4.0, 0.0], [[12.0], [0.0]], [], -84.0]


@pytest.fixture(params=["numpy", "torch", "array_api_strict"])
def link(request, libraries, bare):
    """A link with gradients, one parameter of no elements and one without axes among them."""
    library = libraries[request.param]
    made = bare([library.array(np.array(values, dtype="float64")) for values in START])
    for parameter, values in zip(made.params(), SLOPES, strict=True):
        parameter.grad = library.array(np.array(values, dtype="float64"))
    return made


def slopes(link):
    return [np.asarray(parameter.grad).tolist() for parameter in link.params()]


def only(hook, link):
    """Let a hook act without moving a parameter."""
    optimizer = O.SGD(lr=0.0).setup(link)
    optimizer.add_hook(hook)
    optimizer.update()
    return slopes(link)


def test_clipping_scales_all_to_one_length(link):
    clipped = only(O.GradientClipping(8.5), link)  # the norm is 85
    for ours, values in zip(clipped, SLOPES, strict=True):
        np.testing.assert_allclose(ours, np.array(values) * 0.1, rtol=1e-12)


def test_clipping_leaves_short_gradients_alone(link):
    assert only(O.GradientClipping(85.5), link) == SLOPES


def test_clipping_is_torchs(link):
    tensors = [torch.zeros(np.shape(values), dtype=torch.float64, requires_grad=True) for values in SLOPES]
    for tensor, values in zip(tensors, SLOPES, strict=True):
        tensor.grad = torch.tensor(values, dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_(tensors, 3.0)
    for ours, tensor in zip(only(O.GradientClipping(3.0), link), tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-6)


def test_clipping_of_nothing(link):
    for parameter in link.params():
        parameter.grad = parameter.grad * 0.0
    assert np.all([np.all(np.array(values) == 0) for values in only(O.GradientClipping(1.0), link)])


def test_one_array_as_the_gradient_of_two(library, bare):
    made = bare([library.array(np.zeros(1)), library.array(np.zeros(1))])
    made.p0.grad = made.p1.grad = library.array(np.array([1.0]))
    np.testing.assert_allclose(only(O.GradientClipping(0.5**0.5), made), [[0.5], [0.5]])


def test_clipping_passes_nan_on(link):
    link.p0.grad[0] = math.nan
    assert all(np.isnan(values).all() for values in only(O.GradientClipping(1.0), link))


def test_clipping_of_an_infinity(link):
    link.p0.grad[0] = math.inf
    clipped = only(O.GradientClipping(1.0), link)
    assert np.isnan(clipped[0][0]) and clipped[0][1:] == [0.0, 0.0] and clipped[3] == 0.0


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_clipping_of_huge_gradients(name, libraries, bare):
    """Squares of 1e30 overflow in float32; the direction stays all the same."""
    library = libraries[name]
    made = bare([library.array(np.zeros(2, dtype="float32"))])
    made.p0.grad = library.array(np.array([3e30, 4e30], dtype="float32"))
    np.testing.assert_allclose(only(O.GradientClipping(1.0), made), [[0.6, 0.8]], rtol=1e-6)
    assert str(made.p0.grad.dtype).endswith("float32")


def test_clipping_of_tiny_gradients_on_numpy(bare):
    """Squares of 1e-30 vanish in float32."""
    made = bare([np.zeros(2, dtype="float32")])
    made.p0.grad = np.array([3e-30, 4e-30], dtype="float32")
    np.testing.assert_allclose(only(O.GradientClipping(5e-31), made), [[3e-31, 4e-31]], rtol=1e-6)


def test_the_quick_norm_on_numpy_is_as_exact_as_the_wide_one(bare):
    gradient = np.random.default_rng(0).normal(size=(700, 1000)).astype("float32")
    made = bare([np.zeros((1000, 700), dtype="float32")])
    made.p0.grad = gradient.copy().T
    wide = np.linalg.norm(gradient.astype("float64"))
    np.testing.assert_allclose(only(O.GradientClipping(1.0), made)[0], gradient.T / wide, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_clipping_in_half_precision(dtype, bare):
    made = bare([torch.zeros(100_000, dtype=dtype)])
    made.p0.grad = torch.full((100_000,), 2.0, dtype=dtype)
    optimizer = O.SGD().setup(made)
    optimizer.add_hook(O.GradientClipping(1.0))
    optimizer.update()
    assert made.p0.grad.dtype is dtype
    torch.testing.assert_close(made.p0.grad.float().norm(), torch.tensor(1.0), rtol=4e-3, atol=0)


def test_clipping_over_several_libraries_and_dtypes(bare):
    made = bare([torch.zeros(1), torch.zeros(1, dtype=torch.float64), np.zeros(1, dtype="float32")])
    made.p0.grad, made.p1.grad = torch.tensor([2.0]), torch.tensor([3.0], dtype=torch.float64)
    made.p2.grad = np.array([6.0], dtype="float32")
    clipped = only(O.GradientClipping(0.7), made)
    np.testing.assert_allclose(clipped, [[0.2], [0.3], [0.6]], rtol=1e-6)
    assert made.p2.grad.dtype == np.float32


def test_hard_clipping(link):
    assert only(O.GradientHardClipping(-3.5, 3.0), link) == [[3.0, -3.5, 0.0], [[3.0], [0.0]], [], -3.5]


def test_hard_clipping_keeps_nan(link):
    link.p0.grad[0] = math.nan
    assert np.isnan(only(O.GradientHardClipping(-1.0, 1.0), link)[0][0])


def test_weight_decay(link):
    decayed = only(O.WeightDecay(0.5), link)
    for ours, values, start in zip(decayed, SLOPES, START, strict=True):
        np.testing.assert_allclose(ours, np.array(values) + 0.5 * np.array(start))


def test_weight_decay_is_the_optimizers(library, bare):
    rng = np.random.default_rng(0)
    start, steps = rng.normal(size=(3, 4)), rng.normal(size=(20, 3, 4))
    links = [bare([library.array(start)]) for _ in range(2)]
    first, second = O.Adam(0.1, weight_decay=0.3).setup(links[0]), O.Adam(0.1).setup(links[1])
    second.add_hook(O.WeightDecay(0.3))
    for step in steps:
        for made, optimizer in zip(links, (first, second), strict=True):
            made.p0.grad = library.array(step)
            optimizer.update()
    np.testing.assert_allclose(np.asarray(links[0].p0.data), np.asarray(links[1].p0.data), rtol=1e-12)


def test_lasso(link):
    pulled = only(O.Lasso(0.5), link)
    for ours, values, start in zip(pulled, SLOPES, START, strict=True):
        np.testing.assert_allclose(ours, np.array(values) + 0.5 * np.sign(np.array(start)))


def test_noise_has_the_papers_variance(library, bare):
    made = bare([library.array(np.zeros(20_000))])
    optimizer = O.SGD(lr=0.0).setup(made)
    optimizer.add_hook(O.GradientNoise(0.3, generator=torch.Generator().manual_seed(0)))
    for t in range(3):
        made.p0.grad = library.array(np.zeros(20_000))
        optimizer.update()
        noise = np.asarray(made.p0.grad)
        assert abs(noise.var() / (0.3 / (1 + t) ** 0.55) - 1) < 0.05
        assert abs(noise.mean()) < 0.02


def test_noise_is_the_same_on_all_libraries(libraries, bare):
    drawn = []
    for library in libraries.values():
        made = bare([library.array(np.zeros(5))])
        made.p0.grad = library.array(np.zeros(5))
        with using_config(generator=torch.Generator().manual_seed(7)):
            drawn.append(only(O.GradientNoise(1.0), made))
    assert drawn[0] == drawn[1] == drawn[2]


def test_noise_leaves_the_global_generators_alone(bare):
    made = bare([torch.zeros(5)])
    made.p0.grad = torch.zeros(5)
    state, host_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    only(O.GradientNoise(1.0), made)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], host_state)


def test_lars(link):
    scaled = only(O.GradientLARS(threshold=0.01, weight_decay=0.1), link)
    for ours, values, start in zip(scaled, SLOPES, START, strict=True):
        p, g = np.array(start), np.array(values)
        size, slope = np.sqrt((p * p).sum()), np.sqrt((g * g).sum())
        rate = size / (1e-9 + slope + 0.1 * size) if size > 0.01 else 1.0
        np.testing.assert_allclose(ours, (g + 0.1 * p) * rate, rtol=1e-12)


def test_order_and_timing(bare):
    made = bare([torch.ones(2), torch.ones(2)])
    made.p0.grad = torch.ones(2)
    optimizer = O.SGD(lr=1.0).setup(made)
    calls = []

    def note(what):
        return lambda owner, parameters: calls.append((what, owner, parameters, made.p0.data[0].item()))

    optimizer.add_hook(note("after"), "after", "post")
    optimizer.add_hook(note("first"), "first")
    optimizer.add_hook(note("second"), "second", timing="pre")
    made.p0.update_rule.add_hook(note("rule"), "rule")
    made.p0.update_rule.add_hook(note("rule after"), "rule after", "post")
    made.p1.update_rule.add_hook(note("never"), "never")
    optimizer.update()
    assert [call[0] for call in calls] == ["first", "second", "rule", "rule after", "after"]
    assert [call[1] for call in calls] == [optimizer] * 2 + [made.p0.update_rule] * 2 + [optimizer]
    assert all(len(call[2]) == 1 and call[2][0] is made.p0 for call in calls)
    assert [call[3] for call in calls] == [1.0, 1.0, 1.0, 0.0, 0.0]
    optimizer.remove_hook("second")
    made.p0.update_rule.remove_hook("rule")
    calls.clear()
    optimizer.update()
    assert [call[0] for call in calls] == ["first", "rule after", "after"]


def test_a_rules_hook_acts_on_its_parameter_alone(link):
    optimizer = O.SGD(lr=0.0).setup(link)
    link.p1.update_rule.add_hook(O.WeightDecay(1.0))
    optimizer.update()
    assert slopes(link) == [SLOPES[0], [[12.5], [4.0]], SLOPES[2], SLOPES[3]]


def test_hooks_work_in_order(link):
    optimizer = O.SGD(lr=0.0).setup(link)
    optimizer.add_hook(O.GradientHardClipping(-1.0, 1.0))
    optimizer.add_hook(O.WeightDecay(1.0))
    optimizer.update()
    assert slopes(link)[0] == [2.0, -3.0, 0.0]


def test_a_hook_may_take_a_gradient_away(bare):
    made = bare([torch.ones(1), torch.ones(1)])
    made.p0.grad, made.p1.grad = torch.ones(1), torch.ones(1)
    optimizer = O.SGD(lr=1.0).setup(made)
    optimizer.add_hook(lambda owner, parameters: parameters[0].cleargrad(), "skip")
    optimizer.update()
    assert (made.p0.data.item(), made.p1.data.item()) == (1.0, 0.0)


def test_hooks_without_any_gradient(bare):
    optimizer = O.SGD().setup(bare([torch.ones(1)]))
    for hook in (
        O.GradientClipping(1.0),
        O.GradientHardClipping(0.0, 1.0),
        O.WeightDecay(1.0),
        O.Lasso(1.0),
        O.GradientNoise(1.0),
        O.GradientLARS(),
    ):
        optimizer.add_hook(hook)
    optimizer.update()
    assert optimizer.target.p0.data.item() == 1.0


def test_what_is_no_schedule():
    with pytest.raises(TypeError, match="a function of time"):
        O.Scheduled(3)


def test_names_of_hooks(bare):
    optimizer = O.SGD().setup(bare([torch.ones(1)]))
    optimizer.add_hook(O.WeightDecay(0.1))
    with pytest.raises(ValueError, match="'WeightDecay'"):
        optimizer.add_hook(O.WeightDecay(0.2))
    optimizer.add_hook(O.WeightDecay(0.2), name="more")
    optimizer.remove_hook("WeightDecay")
    with pytest.raises(KeyError, match="WeightDecay"):
        optimizer.remove_hook("WeightDecay")
    with pytest.raises(ValueError, match="slashes"):
        optimizer.add_hook(O.Lasso(0.1), name="a/b")
    with pytest.raises(TypeError, match="call"):
        optimizer.add_hook(3)
    with pytest.raises(ValueError, match="during"):
        optimizer.add_hook(O.Lasso(0.1), timing="during")


@pytest.mark.parametrize(
    "make",
    [
        lambda: O.GradientClipping(0.0),
        lambda: O.GradientClipping(-1.0),
        lambda: O.GradientClipping(math.nan),
        lambda: O.GradientHardClipping(1.0, 0.0),
        lambda: O.WeightDecay(-0.1),
        lambda: O.Lasso(math.nan),
        lambda: O.GradientNoise(-1.0),
    ],
)
def test_numbers_that_are_not_allowed(make):
    with pytest.raises(ValueError, match="bad argument"):
        make()
