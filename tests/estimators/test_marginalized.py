"""RAM, local expectation gradients and one random coordinate against loops written from their definitions."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.estimator import Estimator, Noise, surrogate
from toolkit.estimators.exact import exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.problems import Problem

ALL: list[Estimator] = [
    RAM(),
    RAM("fresh"),
    RAM("antithetic"),
    RAM(coupling="gumbel"),
    RAM("fresh", "gumbel"),
    RAM("antithetic", "gumbel"),
    RAM(chunk=2),
    LocalExpectation(),
    FlipOneCoordinate(),
]


def mixed_chain() -> Layered:
    """Three categorical variables with four values, then two Bernoulli ones."""
    weights, a = waves(1, 3, 4, 2), waves(2, 3, 4)
    return Layered(
        waves(3, 3, 4),
        [lambda y: torch.einsum("...nk,nkm->...m", y, weights)],
        lambda y, z: ((y * a).sum((-1, -2)) + z.sum(-1) * y[..., 0, 1]) ** 2,
        variables=["categorical", "bernoulli"],
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_hot(index: int, like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype)[index]


def forced(problem: Problem, values: list[Tensor], layer: int, variable: int, value: int) -> list[Tensor]:
    """One draw's values with a variable of one layer at another value; nothing else moves."""
    moved = [part.clone() for part in values]
    bernoulli = problem.layers[layer].kind == "bernoulli"
    moved[layer][..., variable if bernoulli else slice(None), *(() if bernoulli else (slice(None),))] = (
        float(value) if bernoulli else moved[layer]
    )
    if not bernoulli:
        moved[layer][..., variable, :] = one_hot(value, moved[layer])
    return moved


def loops(problem: Layered, noise: Noise, estimator: RAM) -> list[Tensor]:
    """RAM's formula for each sample, variable and value by itself; no batch axes."""
    coupling = estimator.coupling
    n_samples = len(noise["values"][0])
    found = [torch.zeros(n_samples, *layer.shape, dtype=torch.float64) for layer in problem.layers]
    for sample in range(n_samples):
        uniform = [part[sample] for part in noise["values"]]
        values: list[Tensor] = []
        logits: list[Tensor] = []
        for number, layer in enumerate(problem.layers):
            logits.append(problem.logits(number, values[-1] if number else None))
            values.append(layer.sample(logits[-1], uniform[number], coupling))
        for number, layer in enumerate(problem.layers):
            for variable in range(layer.size):
                present = int(layer.values_to_index(values[number])[variable])
                costs = torch.zeros(layer.arity, dtype=torch.float64)
                for value in range(layer.arity):
                    moved = forced(problem, values, number, variable, value)
                    for below in range(number + 1, problem.depth):
                        drive = uniform[below]
                        if value != present and estimator.noise == "antithetic":
                            drive = 1 - drive
                        if value != present and estimator.noise == "fresh":
                            # Alternatives are numbered by how far on they are, cyclically.
                            place = variable * (layer.arity - 1) + (value - present) % layer.arity - 1
                            drive = noise[f"layer {number}"][below - number - 1][place, sample]
                        moved[below] = problem.layers[below].sample(
                            problem.logits(below, moved[below - 1]), drive, coupling
                        )
                    costs[value] = problem.f(*moved)
                if layer.kind == "bernoulli":
                    mu = torch.sigmoid(logits[number][variable])
                    found[number][sample, variable] = mu * (1 - mu) * (costs[1] - costs[0])
                else:
                    pi = logits[number][variable].softmax(-1)
                    found[number][sample, variable] = pi * (costs - (pi * costs).sum())
    return found


CHAINS: dict[str, Callable[[], Layered]] = {
    "bernoulli": lambda: Layered(
        bernoulli_chain().logits(0, None)[0], bernoulli_chain().transitions, bernoulli_chain().f
    ),
    "categorical": categorical_chain,
    "mixed": mixed_chain,
}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("noise", ["common", "fresh", "antithetic"])
def test_ram_is_its_formula(chain: str, coupling: str, noise: str) -> None:
    problem, estimator = CHAINS[chain](), RAM(noise, coupling)
    drawn = estimator.draw(problem, 25, generator())
    samples = estimator(problem, noise=drawn)
    for ours, theirs in zip(samples.gradients, loops(problem, drawn, estimator), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chain", CHAINS)
def test_local_expectation_is_its_formula(chain: str) -> None:
    problem, constant = CHAINS[chain](), 0.7
    estimator = LocalExpectation(tuple(torch.tensor(constant, dtype=torch.float64) for _ in problem.layers))
    samples = LocalExpectation()(problem, 25, generator())
    shifted = estimator(problem, 25, generator())
    for sample in range(25):
        values = [part[0, sample] for part in samples.parts.values]

        def log_joint(values: list[Tensor]) -> Tensor:
            total = torch.zeros((), dtype=torch.float64)
            for number, layer in enumerate(problem.layers):
                made = problem.logits(number, values[number - 1] if number else None)
                total = total + layer.log_prob(values[number], made).sum()
            return total

        for number, layer in enumerate(problem.layers):
            made = problem.logits(number, values[number - 1] if number else None)
            for variable in range(layer.size):
                every = [forced(problem, values, number, variable, value) for value in range(layer.arity)]
                # Given all the others: the joint probability, normalised over the variable's values.
                weights = torch.stack([log_joint(part) for part in every]).softmax(0)
                for b, found in ((0.0, samples), (constant, shifted)):
                    expected = sum(
                        weight * layer.score(part[number], made)[variable] * (problem.f(*part) - b)
                        for weight, part in zip(weights, every, strict=True)
                    )
                    torch.testing.assert_close(
                        found.gradients[number][sample, variable], expected, rtol=1e-10, atol=1e-12
                    )


@pytest.mark.parametrize("chain", CHAINS)
def test_one_coordinate_is_ram_of_it_times_their_number(chain: str) -> None:
    problem, n_samples = CHAINS[chain](), 300
    estimator = FlipOneCoordinate()
    drawn = estimator.draw(problem, n_samples, generator())
    ours = estimator(problem, noise=drawn).gradients
    theirs = RAM()(problem, noise={"values": drawn["values"]}).gradients
    total = sum(layer.size for layer in problem.layers)
    index = (drawn["index"][0] * total).long()
    place = torch.arange(total)
    start = 0
    for layer, one, whole in zip(problem.layers, ours, theirs, strict=True):
        mask = (place[start : start + layer.size] == index[:, None]).reshape(n_samples, layer.size, *layer.shape[1:-1])
        mask = mask[..., None] if layer.kind == "categorical" else mask
        torch.testing.assert_close(one, torch.where(mask, total * whole, 0), rtol=1e-10, atol=1e-12)
        start += layer.size
    assert sorted(set(index.tolist())) == list(range(total))


@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize("name", PROBLEMS)
def test_unbiased_and_counted(name: str, estimator: Estimator) -> None:
    problem = PROBLEMS[name]
    samples = estimator(problem, 50_000, generator(3))
    assert samples.unbiased
    assert samples.evaluations == estimator.expected_evaluations(problem)
    for mean, variance, truth in zip(samples.mean(), samples.variance(), exact(problem).gradients, strict=True):
        assert ((mean - truth).abs() / ((variance / 50_000).sqrt() + 1e-12)).max() < 4.5


def test_what_they_cost() -> None:
    expected = {
        "one bit": 2,
        "six coupled bits": 7,
        "three-layer chain": 9,
        "categorical chain": 14,
        "one categorical": 4,
    }
    for name, evaluations in expected.items():
        for estimator in ALL[:-1]:
            assert estimator.expected_evaluations(PROBLEMS[name]) == evaluations
    one = FlipOneCoordinate()
    assert one.expected_evaluations(PROBLEMS["three-layer chain"]) == 2
    assert one.expected_evaluations(PROBLEMS["categorical chain"]) == 4
    assert one.expected_evaluations(mixed_chain()) == one(mixed_chain(), 7, generator()).evaluations == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variables", ["bernoulli", "categorical"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_in_one_layer_local_expectation_is_ram_bitwise(
    dtype: torch.dtype, variables: str, batch: tuple[int, ...]
) -> None:
    logits = torch.randn(*batch, 5, *((3,) if variables == "categorical" else ()), generator=generator(), dtype=dtype)
    axes = (-1, -2) if variables == "categorical" else (-1,)
    scale = torch.linspace(-1, 2, logits[(0,) * len(batch)].numel(), dtype=dtype).reshape(logits.shape[len(batch) :])
    problem = Factorized(logits, lambda z: torch.sin((z * scale).sum(axes)) ** 2, variables=variables)
    noise = RAM().draw(problem, 50, generator(1))
    baseline = (torch.full((1,), 3.0, dtype=dtype),)
    ram = RAM()(problem, noise=noise)
    for other in (LocalExpectation(), LocalExpectation(baseline), RAM("fresh"), RAM("antithetic")):
        assert torch.equal(other(problem, noise=noise).gradients[0], ram.gradients[0])


@pytest.mark.parametrize("chain", CHAINS)
def test_in_the_last_layer_local_expectation_is_ram_bitwise(chain: str) -> None:
    problem = CHAINS[chain]()
    noise = RAM().draw(problem, 200, generator(2))
    ram, local = RAM()(problem, noise=noise), LocalExpectation()(problem, noise=noise)
    assert torch.equal(ram.gradients[-1], local.gradients[-1])
    assert not torch.allclose(ram.gradients[0], local.gradients[0])


def test_in_the_last_layer_the_best_likelihood_ratio_is_ram() -> None:
    """With b = (1 − μ) f_1 + μ f_0 both values of the variable give the number that RAM gives."""
    problem = CHAINS["bernoulli"]()
    noise = RAM().draw(problem, 500, generator(4))
    ram = RAM()(problem, noise=noise).gradients[-1]
    values, logits = problem.sample(noise["values"])
    mu = torch.sigmoid(logits[-1])
    for variable in range(3):
        at = [problem.f(*forced(problem, list(values), 2, variable, value)) for value in (0, 1)]
        best = (1 - mu[:, variable]) * at[1] + mu[:, variable] * at[0]
        ratio = (problem.f(*values) - best) * (values[-1][:, variable] - mu[:, variable])
        torch.testing.assert_close(ratio, ram[:, variable], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("arity", [2, 3, 4, 7])
def test_ram_of_one_variable_is_exact(arity: int) -> None:
    logits, costs = waves(1, 1, arity, scale=3), waves(2, arity, scale=5)
    problems = [Factorized(logits, lambda z: z[..., 0, :] @ costs, variables="categorical")]
    if arity == 2:
        problems.append(Factorized(logits[0, :1], lambda z: costs[0] + z[..., 0] * costs[1]))
    for problem in problems:
        for estimator in ALL:
            samples = estimator(problem, 1000, generator())
            assert samples.variance()[0].max() < 1e-20
            torch.testing.assert_close(samples.mean()[0], exact(problem).gradients[0], rtol=1e-12, atol=1e-14)


def test_an_additive_cost_leaves_ram_nothing_to_vary() -> None:
    problem = Factorized(waves(1, 8), lambda z: z @ waves(2, 8))
    assert RAM()(problem, 500, generator()).variance()[0].max() < 1e-20
    assert LikelihoodRatio()(problem, 500, generator()).variance()[0].min() > 1e-3


def test_a_variable_that_the_cost_ignores_has_gradient_zero() -> None:
    bits = Factorized(waves(1, 3), lambda z: 1e6 / 3 + z[..., 0])
    assert torch.equal(RAM()(bits, 50, generator()).gradients[0][:, 1:], torch.zeros(50, 2, dtype=torch.float64))
    dice = Factorized(waves(1, 3, 3), lambda z: 1e6 / 3 + z[..., 0, 1], variables="categorical")
    assert torch.equal(RAM()(dice, 50, generator()).gradients[0][:, 1:], torch.zeros(50, 2, 3, dtype=torch.float64))


@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize("chain", CHAINS)
def test_the_same_noise_gives_the_same_numbers(chain: str, estimator: Estimator) -> None:
    problem = CHAINS[chain]()
    noise = estimator.draw(problem, 30, generator(5))
    kept = {name: tuple(part.clone() for part in parts) for name, parts in noise.items()}
    first, second = estimator(problem, noise=noise), estimator(problem, noise=noise)
    drawn = estimator(problem, 30, generator(5))
    for a, b, c in zip(first.gradients, second.gradients, drawn.gradients, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    for name, parts in noise.items():
        assert all(torch.equal(a, b) for a, b in zip(parts, kept[name], strict=True))


@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize("batch", [(), (2,), (3, 2), (0,)])
def test_batches_and_single_precision(estimator: Estimator, batch: tuple[int, ...]) -> None:
    weights, shift = waves(1, 2, 3).float(), torch.randn(batch, generator=generator())
    problem = Layered(
        torch.randn(*batch, 2, generator=generator()),
        [lambda y: y @ weights + shift[..., None]],
        lambda y, z: (y.sum(-1) * z[..., 0] - shift) ** 2,
    )
    samples = estimator(problem, 6, generator())
    assert [tuple(part.shape) for part in samples.gradients] == [(6, *batch, 2), (6, *batch, 3)]
    assert samples.cost.shape == (6, *batch)
    assert all(part.dtype == torch.float32 for part in samples.gradients)
    if batch != (0,):
        assert samples.evaluations == estimator.expected_evaluations(problem)


def test_each_example_of_a_batch_draws_its_coordinate() -> None:
    samples = FlipOneCoordinate()(bernoulli_chain(), 200, generator())
    chosen = torch.cat(samples.gradients, -1) != 0
    assert (chosen.sum(-1) <= 1).all()
    assert (chosen[:, 0] != chosen[:, 1]).any()


def test_saturated_logits() -> None:
    for kind, make in (
        ("bernoulli", lambda s: s * torch.ones(3)),
        ("categorical", lambda s: s * waves(1, 3, 4).float()),
    ):
        for size in (50.0, 800.0, 1e30):
            sums = (-1,) if kind == "bernoulli" else (-1, -2)
            problem = Layered(
                make(size),
                [lambda y, size=size: size * (2 * y - 1)],
                lambda y, z, sums=sums: 1e4 + y.sum(sums) - z.flatten(-len(sums))[..., 0] * y.sum(sums),
                variables=kind,
            )
            for estimator in ALL:
                samples = estimator(problem, 20, generator())
                assert all(torch.isfinite(part).all() for part in samples.gradients)


def test_noise_at_its_smallest_stays_open_when_mirrored() -> None:
    problem = Layered(torch.zeros(1), [lambda y: 0 * y + 800], lambda y, z: z.sum(-1))
    tiny = torch.full((1, 1), torch.finfo(torch.float32).eps / 4)
    # A value of probability 1 is drawn for the alternative too, so nothing changes.
    samples = RAM("antithetic")(problem, noise={"values": (tiny, tiny)})
    assert samples.gradients[0].item() == 0


def test_gradients_reach_parameters_behind_the_logits() -> None:
    weight = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    problem = Factorized(weight * 2, lambda z: (z[..., 0] - 0.2 * z[..., 1]) ** 2)
    samples = RAM()(problem, 4000, generator())
    surrogate(problem, samples).backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, 2 * samples.mean()[0])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="'common'"):
        RAM("none")
    with pytest.raises(ValueError, match="inverse_cdf"):
        RAM(coupling="softmax")
    with pytest.raises(ValueError, match="chunk"):
        RAM(chunk=0)
    with pytest.raises(TypeError, match="chunk"):
        RAM(chunk=2.5)  # type: ignore[arg-type]
    one = torch.zeros(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="baseline"):
        LocalExpectation((one,))(bernoulli_chain())
    with pytest.raises(ValueError, match="baseline"):
        LocalExpectation((torch.zeros(4, dtype=torch.float64),))(six_bits())


def test_twelve_coupled_bits() -> None:
    count = torch.arange(1, 13, dtype=torch.float64)
    a, b = torch.sin(1.3 * count), torch.sin(1.1 * count[:, None] + 0.7 * count)
    problem = Factorized(torch.cos(0.9 * count), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))
    for estimator, printed in ((RAM(), 1.276), (FlipOneCoordinate(), 25.97)):
        gradients = estimator(problem, 100_000, generator()).gradients[0]
        distance = (gradients - exact(problem).gradients[0]).square().sum(-1)
        assert abs(distance.mean().item() - printed) < 4.5 * distance.std().item() / math.sqrt(len(distance))
