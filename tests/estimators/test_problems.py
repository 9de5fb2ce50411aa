"""What a problem refuses, what it counts, and the alternatives it evaluates."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.exact import enumerate_values, exact, joint_log_prob
from toolkit.estimators.layers import draw_open_uniform
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.problems import Problem


def total(z: Tensor) -> Tensor:
    return z.sum(-1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(problem: Problem, *leading: int, coupling: Any = "inverse_cdf") -> tuple[Any, Any, Any]:
    noise = problem.draw_noise(leading, generator(), coupling)
    return (noise, *problem.sample(noise, coupling))


@pytest.mark.parametrize(
    ("logits", "variables", "error", "words"),
    [
        (torch.zeros(()), "bernoulli", ValueError, r"\[\*batch, n\]"),
        (torch.zeros(0), "bernoulli", ValueError, "n >= 1"),
        (torch.zeros(3, 0), "bernoulli", ValueError, "n >= 1"),
        (torch.zeros(3), "categorical", ValueError, r"\[\*batch, n, K\]"),
        (torch.zeros(3, 1), "categorical", ValueError, "K >= 2"),
        (torch.zeros(0, 3), "categorical", ValueError, "n >= 1"),
        (torch.zeros(3), "gaussian", ValueError, "variables"),
        (torch.tensor([0.0, float("nan")]), "bernoulli", ValueError, "finite"),
        (torch.tensor([0.0, float("inf")]), "bernoulli", ValueError, "finite"),
        (torch.zeros(3, dtype=torch.long), "bernoulli", TypeError, "logits"),
        (torch.zeros(3, dtype=torch.bool), "bernoulli", TypeError, "logits"),
        ([0.0, 1.0], "bernoulli", TypeError, "logits"),
    ],
)
def test_logits_that_are_none(logits: Any, variables: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Factorized(logits, total, variables=variables)
    with pytest.raises(error, match=words):
        Layered(logits, [], total, variables=variables)


def test_costs_and_transitions_that_are_no_functions() -> None:
    with pytest.raises(TypeError, match="'f'"):
        Factorized(torch.zeros(2), 3.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'f'"):
        Layered(torch.zeros(2), [], None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="transitions"):
        Layered(torch.zeros(2), [torch.zeros(2, 2)], lambda y, z: total(y))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("transition", "error", "words"),
    [
        (lambda y: y.long(), TypeError, r"transitions\[0\]"),
        (lambda y: y.tolist(), TypeError, r"transitions\[0\]"),
        (lambda y: y / 0, ValueError, "NaN"),
        (lambda y: y.sum(0), ValueError, "batch axes"),
        (lambda y: y[..., :0], ValueError, "n >= 1"),
    ],
)
def test_transitions_that_make_no_logits(transition: Callable, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Layered(torch.zeros(4, 2), [transition], lambda y, z: total(y) + total(z))


def test_kinds_are_one_word_a_layer() -> None:
    with pytest.raises(ValueError, match="2 in all"):
        Layered(torch.zeros(2), [lambda y: y], total, variables=["bernoulli"])
    with pytest.raises(ValueError, match="variables"):
        Layered(torch.zeros(2), [lambda y: y], total, variables=["bernoulli", "gaussian"])


def test_a_transition_that_loses_the_samples_is_found_when_it_is_used() -> None:
    problem = Layered(torch.zeros(2), [lambda y: y.reshape(-1, 2)[0]], lambda y, z: total(y) + total(z))
    with pytest.raises(ValueError, match=r"transitions\[0\]"):
        RAM()(problem, 5, generator())


BAD_COSTS: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda z: z.sum(-1) * float("nan"), ValueError, "NaN"),
    (lambda z: z.sum(-1) / 0 + 1 / (z[..., 0] * 0), ValueError, "infinite|NaN"),
    (lambda z: z.sum(-1).long(), TypeError, "int64"),
    (lambda z: z.sum(-1) > 1, TypeError, "bool"),
    (lambda z: z.sum(-1).to(torch.complex128), TypeError, "complex"),
    (lambda z: 1.0, TypeError, "float"),
    (lambda z: z.sum(-1).numpy(), TypeError, "ndarray"),
    (lambda z: None, TypeError, "NoneType"),
    (lambda z: z.sum(), ValueError, "shape"),
    (lambda z: z, ValueError, "shape"),
    (lambda z: z.sum(-1, keepdim=True), ValueError, "shape"),
    (lambda z: z.sum(-1)[None], ValueError, "shape"),
]


@pytest.mark.parametrize("estimator", [RAM(), LocalExpectation(), FlipOneCoordinate(), LikelihoodRatio()], ids=str)
@pytest.mark.parametrize("number", range(len(BAD_COSTS)))
def test_costs_that_misbehave_are_one_clear_error(number: int, estimator: Any) -> None:
    cost, error, words = BAD_COSTS[number]
    problem = Factorized(torch.zeros(3), cost)
    with pytest.raises(error, match=words) as caught:
        estimator(problem, 4, generator())
    assert "Factorized: bad argument 'f'" in str(caught.value)
    with pytest.raises(error, match=words):
        exact(problem)


def test_a_cost_that_is_nan_for_an_alternative_only() -> None:
    """No sample has the value; the estimators that try it out must still say so."""
    problem = Factorized(torch.tensor([-80.0, 0.0]), lambda z: torch.where(z[..., 0] > 0, float("nan"), z[..., 1]))
    assert torch.isfinite(LikelihoodRatio()(problem, 50, generator()).gradients[0]).all()
    for estimator in (RAM(), LocalExpectation()):
        with pytest.raises(ValueError, match="NaN"):
            estimator(problem, 50, generator())


def test_huge_costs_whose_sum_overflows_are_finite() -> None:
    problem = Factorized(torch.zeros(2), lambda z: 3e38 * z[..., 0])
    assert torch.isfinite(LikelihoodRatio()(problem, 100, generator()).cost).all()


def test_costs_of_another_precision_are_taken_over() -> None:
    problem = Factorized(torch.zeros(2, dtype=torch.float64), lambda z: z.sum(-1).float())
    samples = RAM()(problem, 3, generator())
    assert samples.cost.dtype == samples.gradients[0].dtype == torch.float64


def test_evaluations_are_counted_where_they_happen() -> None:
    rows = []

    def cost(z: Tensor) -> Tensor:
        rows.append(z.shape[:-1].numel())
        return z.sum(-1) ** 2

    for batch in ((), (4,), (2, 3)):
        problem = Factorized(torch.zeros(*batch, 5), cost)
        size = torch.Size(batch).numel()
        for estimator in (RAM(), RAM(chunk=2), LocalExpectation(), FlipOneCoordinate(), LikelihoodRatio()):
            rows.clear()
            samples = estimator(problem, 7, generator())
            assert samples.evaluations * 7 * size == sum(rows)
            assert samples.evaluations == estimator.expected_evaluations(problem)
            assert problem.rows == 0


def test_each_use_has_a_counter_of_its_own() -> None:
    problem = six_bits()
    counted = problem.counted()
    _, values, logits = drawn(counted, 3)
    counted.signals(values, logits)
    counted.signals(values, logits, shared_by=4)
    counted.count((2, 5), shared_by=2)
    assert (counted.rows, problem.rows, counted.counted().rows) == (3 + 12 + 20, 0, 0)
    assert type(counted) is Factorized and copy.copy(counted).rows == 35


def signal_with(problem: Problem, values: Any, logits: Any, layer: int, place: tuple[int, int], noise: Any) -> Tensor:
    """A layer's signal with one variable at a value, later layers driven by noise (or kept, if there is none)."""
    variable, value = place
    kind = problem.layers[layer]
    moved = [part.clone() for part in values]
    if kind.kind == "bernoulli":
        moved[layer][..., variable] = value
    else:
        moved[layer][..., variable, :] = torch.eye(kind.arity, dtype=problem.dtype)[value]
    made = [*logits[: layer + 1]]
    for below in range(layer + 1, problem.depth):
        made.append(problem.logits(below, moved[below - 1]))
        if noise is not None:
            moved[below] = problem.layers[below].sample(made[-1], noise[below])
    return problem.counted().signals(moved, made)[layer]


@pytest.mark.parametrize("name", PROBLEMS)
def test_alternatives_and_neighbours_one_by_one(name: str) -> None:
    problem = PROBLEMS[name]
    noise, values, logits = drawn(problem, 11)
    signals = problem.counted().signals(values, logits)
    for number, layer in enumerate(problem.layers):
        counted = problem.counted()
        moved = counted.alternatives(number, values, logits, signals[number], noise=noise[number + 1 :])
        assert moved.shape == (11, *problem.batch_shape, layer.size, layer.arity)
        assert counted.rows == layer.size * (layer.arity - 1) * 11 * problem.batch_shape.numel()
        counted = problem.counted()
        still, children = counted.neighbours(number, values, logits, signals[number])
        assert counted.rows == layer.size * (layer.arity - 1) * 11 * problem.batch_shape.numel()
        assert (children is None) == (number == problem.depth - 1)
        for place in itertools.product(range(layer.size), range(layer.arity)):
            driven = signal_with(problem, values, logits, number, place, noise)
            torch.testing.assert_close(moved[..., place[0], place[1]], driven, rtol=1e-12, atol=1e-12)
            kept = signal_with(problem, values, logits, number, place, None)
            torch.testing.assert_close(still[..., place[0], place[1]], kept, rtol=1e-12, atol=1e-12)
            if children is not None:
                forced = values[number].clone()
                if layer.kind == "bernoulli":
                    forced[..., place[0]] = place[1]
                else:
                    forced[..., place[0], :] = torch.eye(layer.arity, dtype=problem.dtype)[place[1]]
                below = problem.layers[number + 1]
                likelihood = below.log_prob(values[number + 1], problem.logits(number + 1, forced)).sum(-1)
                torch.testing.assert_close(children[..., place[0], place[1]], likelihood, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_present_value_has_the_present_signal(name: str) -> None:
    problem = PROBLEMS[name]
    noise, values, logits = drawn(problem, 9)
    signals = problem.counted().signals(values, logits)
    for number, layer in enumerate(problem.layers):
        moved = problem.counted().alternatives(number, values, logits, signals[number], noise=noise[number + 1 :])
        present = moved.gather(-1, layer.values_to_index(values[number])[..., None])[..., 0]
        assert torch.equal(present, signals[number][..., None].expand(present.shape))


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("name", PROBLEMS)
def test_chunks_change_no_number(name: str, chunk: int) -> None:
    problem = PROBLEMS[name]
    for noise in ("common", "fresh", "antithetic"):
        whole, parts = RAM(noise), RAM(noise, chunk=chunk)
        drawn = whole.draw(problem, 13, generator(1))
        ours, theirs = parts(problem, noise=drawn), whole(problem, noise=drawn)
        assert ours.evaluations == theirs.evaluations
        for one, other in zip(ours.gradients, theirs.gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)  # some processors sum single rows otherwise
    _, values, logits = ((), *problem.sample(problem.draw_noise((13,), generator(2))))
    signals = problem.counted().signals(values, logits)
    for number in range(problem.depth):
        one = problem.counted().neighbours(number, values, logits, signals[number], chunk=chunk)
        other = problem.counted().neighbours(number, values, logits, signals[number])
        assert torch.equal(one[0], other[0])
        if one[1] is not None and other[1] is not None:
            assert torch.equal(one[1], other[1])


def test_the_users_tensors_are_left_alone() -> None:
    logits = waves(1, 4)
    kept = logits.clone()
    problem = Layered(logits, [lambda y: y * 2 - 1], lambda y, z: total(y) * total(z))
    for estimator in (RAM(), RAM("fresh"), LocalExpectation(), FlipOneCoordinate()):
        estimator(problem, 5, generator())
    assert torch.equal(logits, kept)


@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
def test_noise_drives_the_variables_with_their_probabilities(coupling: Any) -> None:
    problem = categorical_chain()
    noise = problem.draw_noise((60_000,), generator(), coupling)
    assert [part.shape[1:] for part in noise] == ([(2,), (3,)] if coupling == "inverse_cdf" else [(2, 3), (3, 4)])
    values, _ = problem.sample(noise, coupling)
    every = enumerate_values(problem)
    logits = tuple(problem.logits(n, every[n - 1] if n else None) for n in range(2))
    probabilities = joint_log_prob(problem, every, logits).exp()
    for value, cases in zip(values, every, strict=True):
        expected = torch.einsum("c,cnk->nk", probabilities, cases)
        assert (value.mean(0) - expected).abs().max() < 4.5 * 0.5 / 60_000**0.5


def test_noise_is_open_and_the_generator_says_all() -> None:
    noise = draw_open_uniform((200_000,), generator=generator(), device=torch.device("cpu"), dtype=torch.float16)
    assert noise.min() > 0 and noise.max() < 1
    state = torch.get_rng_state()
    first, again = bernoulli_chain().draw_noise((4,), generator(7)), bernoulli_chain().draw_noise((4,), generator(7))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_one_layer_of_a_chain_is_a_factorized_problem() -> None:
    chain = Layered(waves(3, 6), [], six_bits().f)
    for ours, theirs in zip(exact(chain).gradients, exact(six_bits()).gradients, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(RAM()(chain, 5, generator()).gradients[0], RAM()(six_bits(), 5, generator()).gradients[0])
