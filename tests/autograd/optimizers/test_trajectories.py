"""Fifty steps on every array library end where torch's own optimizers end."""

import numpy as np
import pytest
import torch

from toolkit.autograd import optimizers as O

SHAPES = [(3, 4), (4,), (), (0, 2), (2, 1, 3)]
N_STEPS = 50

PAIRS = {
    "SGD": (O.SGD, torch.optim.SGD, {}),
    "MomentumSGD": (O.MomentumSGD, torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov": (O.Nesterov, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "AdaGrad": (O.AdaGrad, torch.optim.Adagrad, {}),
    "RMSprop": (O.RMSprop, torch.optim.RMSprop, {}),
    "Adam": (O.Adam, torch.optim.Adam, {}),
    "AMSGrad": (lambda **options: O.Adam(amsgrad=True, **options), torch.optim.Adam, {"amsgrad": True}),
    "AdamW": (O.AdamW, torch.optim.AdamW, {}),
    "AdamW AMSGrad": (lambda **options: O.AdamW(amsgrad=True, **options), torch.optim.AdamW, {"amsgrad": True}),
}


def start(dtype="float64"):
    rng = np.random.default_rng(3)
    return [np.asarray(rng.normal(size=shape), dtype=dtype) for shape in SHAPES]


def gradients(dtype="float64"):
    rng = np.random.default_rng(4)
    return [[np.asarray(rng.normal(size=shape), dtype=dtype) for shape in SHAPES] for _ in range(N_STEPS)]


def furthest(link, tensors):
    pairs = zip(link.params(), tensors, strict=True)
    return max(float(np.abs(np.asarray(p.data) - t.detach().numpy()).max(initial=0.0)) for p, t in pairs)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", PAIRS)
def test_follows_torch(name, weight_decay, library, bare):
    """Weight decay, a new rate half-way, gradients that are missing and parameters that are frozen for a while."""
    make, theirs, options = PAIRS[name]
    link = bare([library.array(array) for array in start()])
    optimizer = make(lr=0.1, weight_decay=weight_decay).setup(link)
    tensors = [torch.tensor(array, requires_grad=True) for array in start()]
    reference = theirs(tensors, lr=0.1, weight_decay=weight_decay, **options)
    for step, values in enumerate(gradients()):
        if step == 25:
            optimizer.lr = reference.param_groups[0]["lr"] = 0.03
        for number, (parameter, tensor, value) in enumerate(zip(link.params(), tensors, values, strict=True)):
            missing = number == 0 and 5 <= step < 9
            frozen = number == 1 and 10 <= step < 20
            parameter.update_rule.enabled = not frozen
            parameter.grad = None if missing else library.array(value)
            tensor.grad = None if missing or frozen else torch.tensor(value)
        optimizer.update()
        reference.step()
    assert optimizer.t == N_STEPS
    assert [parameter.update_rule.t for parameter in link.params()] == [46, 40, 50, 50, 50]
    assert furthest(link, tensors) < 1e-10


@pytest.mark.parametrize("name", PAIRS)
def test_parameters_of_their_own_numbers(name, library, bare):
    """A rate and a decay of a parameter's own are torch's parameter groups."""
    make, theirs, options = PAIRS[name]
    link = bare([library.array(array) for array in start()])
    optimizer = make(lr=0.05, weight_decay=0.02).setup(link)
    tensors = [torch.tensor(array, requires_grad=True) for array in start()]
    groups = [{"params": [tensors[0]], "lr": 0.2}, {"params": [tensors[1]], "weight_decay": 0.0}]
    reference = theirs([*groups, {"params": tensors[2:]}], lr=0.05, weight_decay=0.02, **options)
    link.p0.update_rule.lr = 0.2
    link.p1.update_rule.weight_decay = 0
    for values in gradients():
        for parameter, tensor, value in zip(link.params(), tensors, values, strict=True):
            parameter.grad, tensor.grad = library.array(value), torch.tensor(value)
        optimizer.update()
        reference.step()
    assert furthest(link, tensors) < 1e-10


@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [
        (O.MomentumSGD(0.1, 0.5), lambda p: torch.optim.SGD(p, 0.1, momentum=0.5)),
        (O.Nesterov(0.1, 0.0), lambda p: torch.optim.SGD(p, 0.1)),
        (O.AdaGrad(0.1, eps=0.1), lambda p: torch.optim.Adagrad(p, 0.1, eps=0.1)),
        (O.RMSprop(0.1, 0.5, 0.1), lambda p: torch.optim.RMSprop(p, 0.1, alpha=0.5, eps=0.1)),
        (O.Adam(0.1, 0.5, 0.6, 0.1), lambda p: torch.optim.Adam(p, 0.1, betas=(0.5, 0.6), eps=0.1)),
        (O.Adam(0.1, 0.0, 0.0), lambda p: torch.optim.Adam(p, 0.1, betas=(0.0, 0.0))),
    ],
)
def test_other_numbers(optimizer, reference, library, bare):
    """Where eps stands and what each share means shows with numbers far from the defaults."""
    link = bare([library.array(array) for array in start()])
    optimizer.setup(link)
    tensors = [torch.tensor(array, requires_grad=True) for array in start()]
    reference = reference(tensors)
    for values in gradients():
        for parameter, tensor, value in zip(link.params(), tensors, values, strict=True):
            parameter.grad, tensor.grad = library.array(value), torch.tensor(value)
        optimizer.update()
        reference.step()
    assert furthest(link, tensors) < 1e-10


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dtype_stays(name, dtype, library, bare):
    if dtype == "float16" and library.name == "array_api_strict":
        pytest.skip("the standard has no half precision")
    link = bare([library.array(array) for array in start(dtype)])
    before = [np.asarray(parameter.data).copy() for parameter in link.params()]
    optimizer = PAIRS[name][0](lr=0.1).setup(link)
    if dtype == "float16" and "eps" in optimizer.hyperparameters:
        optimizer.eps = 1e-3  # smaller ones are 0 in half precision
    for parameter, value in zip(link.params(), gradients(dtype)[0], strict=True):
        parameter.grad = library.array(value)
    optimizer.update()
    for parameter, old in zip(link.params(), before, strict=True):
        assert isinstance(parameter.data, library.array_type)
        assert np.asarray(parameter.data).dtype == dtype
        assert all(np.asarray(array).dtype == dtype for array in parameter.update_rule.state.values())
        assert old.size == 0 or not np.array_equal(np.asarray(parameter.data), old)


def test_bfloat16(bare):
    link = bare([torch.ones(4, dtype=torch.bfloat16)])
    link.p0.grad = torch.ones(4, dtype=torch.bfloat16)
    O.Adam(lr=0.5).setup(link).update()
    assert link.p0.data.dtype is torch.bfloat16
    assert link.p0.data.tolist() == [0.5] * 4


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_follows_torch(name, dtype, bare):
    """More elements than a vector register holds: some of torch's fused kernels go wrong only then."""
    make, theirs, options = PAIRS[name]
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(100, generator=generator).to(dtype)
    eps = {"eps": 1e-3} if "eps" in make(lr=0.1).hyperparameters else {}
    link = bare([values.clone()])
    optimizer = make(lr=0.01, weight_decay=0.1, **eps).setup(link)
    tensor = values.float().requires_grad_()
    reference = theirs([tensor], lr=0.01, weight_decay=0.1, **options, **eps)
    for _ in range(20):
        gradient = torch.randn(100, generator=generator).to(dtype)
        link.p0.grad, tensor.grad = gradient, gradient.float()
        optimizer.update()
        reference.step()
    assert (link.p0.data.float() - tensor).abs().max() < (0.01 if dtype is torch.float16 else 0.08)


@pytest.mark.parametrize("name", PAIRS)
def test_memory_order_does_not_matter(name, bare):
    """A fused kernel walks through memory; a transposed parameter or gradient must not be mixed up by it."""
    make, theirs, options = PAIRS[name]
    values = torch.tensor(start()[0])
    link = bare([values.clone().T.contiguous().T, values.clone()])
    link.p0.data = values.T.contiguous().T
    assert not link.p0.data.is_contiguous()
    optimizer = make(lr=0.1).setup(link)
    tensors = [values.clone().requires_grad_(), values.clone().requires_grad_()]
    reference = theirs(tensors, lr=0.1, **options)
    for step in gradients()[:5]:
        gradient = torch.tensor(step[0])
        link.p0.grad, link.p1.grad = gradient.clone(), gradient.T.contiguous().T
        tensors[0].grad, tensors[1].grad = gradient.clone(), gradient.clone()
        optimizer.update()
        reference.step()
    assert furthest(link, tensors) < 1e-12


def test_gradients_are_left_as_they_are(library, bare):
    for make, _, _ in PAIRS.values():
        link = bare([library.array(array) for array in start()])
        optimizer = make(lr=0.1, weight_decay=0.1).setup(link)
        for parameter, value in zip(link.params(), gradients()[0], strict=True):
            parameter.grad = library.array(value)
        optimizer.update()
        for parameter, value in zip(link.params(), gradients()[0], strict=True):
            np.testing.assert_array_equal(np.asarray(parameter.grad), value)
