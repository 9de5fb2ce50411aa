"""Every estimator carries its exactness test: whatever claims to be unbiased is held against enumeration here."""

import pytest
import torch

from tests.estimators.problems import PROBLEMS
from toolkit.estimators.chains import Factorized
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import Exact, exact
from toolkit.estimators.multi_sample import VIMCO, exact_bound
from toolkit.estimators.problems import Problem
from toolkit.estimators.registry import UnknownEstimator, entries, find_entry, suitable
from toolkit.estimators.report import report

N_SAMPLES = 100_000
PAIRS = [(problem, entry.name) for problem in PROBLEMS for entry, _ in suitable(PROBLEMS[problem])]


def _truth(problem: Problem, estimator: Estimator) -> Exact:
    return exact_bound(problem, estimator.n) if isinstance(estimator, VIMCO) else exact(problem)


@pytest.mark.parametrize(("name", "entry_name"), PAIRS)
def test_unbiased_estimators_have_the_exact_mean_and_the_price_of_their_formula(name: str, entry_name: str):
    problem = PROBLEMS[name]
    estimator = find_entry(entry_name).make(problem)
    if not estimator.unbiased:
        samples = estimator(problem, 3, torch.Generator().manual_seed(0))
        assert samples.evaluations == estimator.expected_evaluations(problem)
        return
    generator = torch.Generator().manual_seed(7)
    found = report(estimator, problem, N_SAMPLES, generator, exact=_truth(problem, estimator), block=25_000)
    assert found.largest_z < 4.5, found
    assert found.evaluations == estimator.expected_evaluations(problem)


def test_the_test_above_sees_a_bias_of_two_per_cent():
    problem = PROBLEMS["six coupled bits"]
    truth = exact(problem)
    moved = Exact(truth.value, tuple(1.02 * gradient for gradient in truth.gradients), truth.configurations)
    found = report(find_entry("ram").make(problem), problem, N_SAMPLES, torch.Generator().manual_seed(7), exact=moved)
    assert found.largest_z > 4.5


@pytest.mark.parametrize("entry_name", [entry.name for entry in entries() if not entry.unbiased])
def test_what_is_called_biased_is(entry_name: str):
    problem = PROBLEMS["six coupled bits"]
    found = report(
        find_entry(entry_name).make(problem), problem, N_SAMPLES, torch.Generator().manual_seed(7), exact=exact(problem)
    )
    assert found.largest_z > 4.5, found


@pytest.mark.parametrize(("name", "entry_name"), PAIRS)
def test_the_same_noise_gives_the_same_bits_in_double_and_the_same_shapes_in_single_precision(
    name: str, entry_name: str
):
    problem = PROBLEMS[name]
    estimator = find_entry(entry_name).make(problem)
    noise = estimator.draw(problem, 4, torch.Generator().manual_seed(1))
    first, second = (estimator(problem, noise=noise) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.gradients, second.gradients, strict=True))
    for gradient, layer in zip(first.gradients, problem.layers, strict=True):
        assert gradient.shape == (4, *problem.batch_shape, *layer.shape) and gradient.dtype == torch.float64
        assert not gradient.requires_grad


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
@pytest.mark.parametrize("entry_name", [entry.name for entry in entries()])
def test_single_precision_and_any_batch(entry_name: str, kind: str, batch: tuple[int, ...]):
    shape = (*batch, 2) if kind == "bernoulli" else (*batch, 2, 3)
    generator = torch.Generator().manual_seed(2)
    axes = (-1,) if kind == "bernoulli" else (-2, -1)
    problem = Factorized(torch.randn(shape, generator=generator), lambda z: (z.sum(axes) - 0.3) ** 2, variables=kind)
    entry = find_entry(entry_name)
    if not entry.supports(problem):
        with pytest.raises(ValueError, match=r"no form|variables|configurations"):
            entry.make(problem)(problem)
        return
    samples = entry.make(problem)(problem, 5, generator)
    assert samples.gradients[0].shape == (5, *shape) and samples.gradients[0].dtype == torch.float32
    assert samples.cost.shape == (5, *batch)
    assert torch.isfinite(samples.gradients[0]).all()


@pytest.mark.parametrize("entry_name", [entry.name for entry in entries()])
def test_a_cost_that_misbehaves_is_named(entry_name: str):
    entry = find_entry(entry_name)
    kind = min(entry.kind.variables)
    logits = torch.zeros(3, dtype=torch.float64) if kind == "bernoulli" else torch.zeros(2, 3, dtype=torch.float64)
    axes = (-1,) if kind == "bernoulli" else (-2, -1)
    bad = {
        "finite": lambda z: z.sum(axes) * float("nan"),
        "leading axes": lambda z: z.sum(),
        "returns torch.float64": lambda z: z.sum(axes).long(),
        "tensor": lambda z: 3.0,
    }
    for expected, f in bad.items():
        problem = Factorized(logits, f, variables=kind)
        with pytest.raises((ValueError, TypeError), match=expected) as caught:
            entry.make(problem)(problem, 2, torch.Generator().manual_seed(0))
        assert caught.value.argument == "f"


@pytest.mark.parametrize("entry_name", [entry.name for entry in entries() if entry.needs_gradient])
def test_a_cost_without_a_gradient_is_named_where_one_is_needed(entry_name: str):
    entry = find_entry(entry_name)
    problem = Factorized(torch.zeros(3, dtype=torch.float64), lambda z: (z > 0.5).double().sum(-1))
    with pytest.raises(TypeError, match="differentiable") as caught:
        entry.make(problem)(problem, 2, torch.Generator().manual_seed(0))
    assert caught.value.argument == "f"


def test_the_registry_says_for_each_what_it_is_and_where_it_is_from():
    names = [entry.name for entry in entries()]
    assert len(set(names)) == len(names)
    for entry in entries():
        facts = entry.to_dict()
        assert facts["title"] and facts["reference"] and facts["evaluations"] and facts["variables"]
        assert entry.kind.__doc__


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(UnknownEstimator, match="did you mean rloo"):
        find_entry("rlo")
    with pytest.raises(ValueError, match="there are: exact, lr"):
        find_entry("zzzz")
