"""Initializers: distributions, shapes, and one set of numbers everywhere."""

import math

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, using_config
from toolkit.autograd import initializers as I
from toolkit.autograd.links import default_arrays

RANDOM = [
    I.Normal(0.3, 1.0),
    I.Uniform(0.4),
    I.LeCunNormal(),
    I.LeCunUniform(),
    I.GlorotNormal(),
    I.GlorotUniform(),
    I.HeNormal(),
    I.HeUniform(mode="fan_out"),
    I.Orthogonal(),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("initializer", RANDOM, ids=repr)
def test_one_generator_gives_one_set_of_numbers_in_every_library_and_dtype(initializer, library):
    exact = initializer((5, 4), generator=seeded(), like=np.zeros(0))
    other = initializer((5, 4), generator=seeded(), like=library.array(np.zeros(0)))
    single = initializer((5, 4), generator=seeded(), like=library.array(np.zeros(0, dtype="float32")))
    assert type(other) is library.array_type
    np.testing.assert_array_equal(library.host(other), exact)
    np.testing.assert_array_equal(library.host(single), exact.astype("float32"))
    assert not np.array_equal(initializer((5, 4), generator=seeded(1), like=np.zeros(0)), exact)


@pytest.mark.parametrize(
    ("initializer", "torch_name", "factor"),
    [
        (I.GlorotNormal(), "xavier_normal_", 1.0),
        (I.GlorotUniform(), "xavier_uniform_", 1.0),
        (I.HeNormal(), "kaiming_normal_", 1.0),
        (I.HeUniform(), "kaiming_uniform_", 1.0),
        # torch's kaiming has the gain of a linear unit where LeCun's rule is meant.
        (I.LeCunNormal(2.0), "kaiming_normal_", math.sqrt(2.0)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("shape", [(40, 50), (16, 8, 3, 3)])
def test_spread_is_that_of_torch(initializer, torch_name, factor, shape):
    ours = initializer(shape, generator=seeded(), like=np.zeros(0))
    theirs = torch.empty(shape, dtype=torch.float64)
    getattr(torch.nn.init, torch_name)(theirs, generator=seeded())
    expected = theirs.numpy() * factor
    assert ours.std() == pytest.approx(expected.std(), rel=0.1)
    assert abs(ours.mean()) < 4 * expected.std() / math.sqrt(ours.size)
    if "uniform" in torch_name:
        assert np.abs(ours).max() <= math.sqrt(3.0) * expected.std() * 1.05


def test_fans_count_the_window():
    assert I.fans("test", (16, 8, 3, 5)) == (8 * 15, 16 * 15)
    assert I.fans("test", (4, 7)) == (7, 4)
    wide = I.HeNormal(mode="fan_out")((4, 400), generator=seeded(), like=np.zeros(0))
    assert wide.std() == pytest.approx(math.sqrt(2 / 4), rel=0.1)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 4), (4, 2, 3)])
def test_orthogonal(shape):
    matrix = I.Orthogonal(2.0)(shape, generator=seeded(), like=np.zeros(0)).reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4.0 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    corners = [I.Orthogonal()((2, 2), generator=seeded(k), like=np.zeros(0))[0, 0] for k in range(200)]
    assert 60 < sum(corner > 0 for corner in corners) < 140


def test_constants():
    like = np.zeros(0)
    assert I.Zero()((2, 3), like=like).tolist() == [[0.0] * 3] * 2
    assert I.One()(2, like=like).tolist() == [1.0, 1.0]
    assert I.Constant(0.5)((), like=like).shape == ()
    assert I.Identity(3.0)((2, 3), like=like).tolist() == [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    given = np.arange(6).reshape(2, 3)
    made = I.Constant(given)((2, 3), like=like)
    made += 1
    assert given[0, 0] == 0 and made.dtype == np.float64


def test_constants_draw_nothing():
    generator = seeded()
    before = generator.get_state()
    for initializer in (I.Zero(), I.One(), I.Constant(2.0), I.Identity()):
        initializer((2, 2), generator=generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("initializer", [*RANDOM, I.Zero(), I.Identity()], ids=repr)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_elements(initializer, shape):
    assert initializer(shape, generator=seeded()).shape == shape


def test_where_results_go():
    assert I.Zero()(3).dtype is torch.float32
    with default_arrays("numpy", dtype="float64"):
        assert isinstance(I.Zero()(3), np.ndarray) and I.Zero()(3).dtype == np.float64
    assert I.Zero()(3, like=Variable(np.zeros(1, dtype="float16"))).dtype == np.float16
    half = I.Normal(1.0)((4, 4), generator=seeded(), like=torch.zeros(0, dtype=torch.bfloat16))
    assert half.dtype is torch.bfloat16


def test_the_configured_generator_is_drawn_from():
    with using_config(generator=seeded(5)):
        configured = I.Normal()((3,))
    assert torch.equal(configured, I.Normal()((3,), generator=seeded(5)))


def test_no_global_generator_is_touched():
    state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    for initializer in RANDOM:
        initializer((3, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpys)


@pytest.mark.parametrize(
    ("call", "argument", "kind"),
    [
        (lambda: I.LeCunNormal()((3,)), "shape", ValueError),
        (lambda: I.Orthogonal()((3,)), "shape", ValueError),
        (lambda: I.Identity()((3,)), "shape", ValueError),
        (lambda: I.Zero()((-1,)), "shape", ValueError),
        (lambda: I.Zero()((1.5,)), "shape", TypeError),
        (lambda: I.Normal(-1.0), "scale", ValueError),
        (lambda: I.Normal(math.nan), "scale", ValueError),
        (lambda: I.Uniform("1"), "scale", TypeError),
        (lambda: I.HeNormal(mode="fan_avg"), "mode", ValueError),
        (lambda: I.Constant("x"), "value", TypeError),
        (lambda: I.Constant(np.zeros((2, 2)))((3, 2)), "value", ValueError),
        (lambda: I.Normal()((2,), generator=3), "generator", TypeError),
        (lambda: I.get_initializer("he"), "initializer", TypeError),
    ],
)
def test_errors_name_the_argument(call, argument, kind):
    with pytest.raises(kind) as caught:
        call()
    assert getattr(caught.value, "argument", argument) == argument
