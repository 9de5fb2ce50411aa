"""Joint distributions: what is refused, marginals, samples, tables, one latent against the rest, named systems."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.disentanglement.discrete import as_joint, joint_from_samples, joint_from_table, marginals, one_against_rest
from toolkit.disentanglement.exact import interval
from toolkit.disentanglement.systems import SYSTEMS, named_system


def random_joint(*shape: int, seed: int = 0) -> torch.Tensor:
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("joint", "complaint"),
    [
        (torch.full((2, 2, 2), 0.25), "sum of 2"),
        (torch.zeros(2, 2, 2), "sum of 0"),
        (torch.full((2, 2, 2), math.nan), "NaN"),
        (torch.full((2, 2, 2), math.inf), "infinity"),
        (torch.tensor([[[0.5, 0.6], [-0.1, 0.0]]]), "negative number at \\(0, 1, 0\\)"),
        (torch.full((2, 2), 0.25), "shape \\(2, 2\\)"),
        (torch.tensor(1.0), "shape \\(\\)"),
        (torch.zeros(2, 0, 2), "shape \\(2, 0, 2\\)"),
        ([[[0.5, 0.6]]], "sum of 1.1"),
        (torch.stack((torch.full((1, 1, 2), 0.5), torch.full((1, 1, 2), 0.4))), "sum of 0.8"),
    ],
)
def test_what_is_no_distribution_is_refused_with_the_reason(joint: Any, complaint: str) -> None:
    for function in (as_joint, marginals, interval):
        with pytest.raises(ValueError, match=rf"joint[\s\S]*{complaint}"):
            function(joint)


@pytest.mark.parametrize("joint", [[[["a", "b"]]], [[[0.5], [0.2, 0.3]]], torch.full((1, 1, 2), 0.5 + 0j)])
def test_what_is_no_number_is_refused(joint: Any) -> None:
    with pytest.raises(TypeError, match="joint"):
        as_joint(joint)


def test_any_type_of_number_becomes_float64_that_sums_to_one() -> None:
    joint = random_joint(3, 2, 4)
    frozen = joint.numpy().copy()
    frozen.flags.writeable = False
    for other in (joint, frozen, joint.tolist(), frozen[::-1][::-1], joint.permute(2, 1, 0).permute(2, 1, 0)):
        torch.testing.assert_close(as_joint(other), joint, atol=1e-16, rtol=1e-15)
    third = as_joint(torch.full((3, 3, 3), 1 / 27, dtype=torch.float32))
    assert third.dtype == torch.float64 and float(third.sum()) == pytest.approx(1, abs=1e-15)
    certain = as_joint(np.ones((1, 1, 1), dtype=int))
    assert certain.dtype == torch.float64
    assert as_joint(torch.full((1, 1, 2), 0.5, dtype=torch.bfloat16)).dtype == torch.float64


def test_marginals_agree_with_sums() -> None:
    joint = random_joint(5, 3, 2, 4)
    joint = joint / joint.sum((-3, -2, -1), keepdim=True)
    of = marginals(joint)
    expected = {
        "source_1": "nabY->na", "source_2": "nabY->nb", "target": "nabY->nY",
        "source_1_target": "nabY->naY", "source_2_target": "nabY->nbY", "sources": "nabY->nab",
    }  # fmt: skip
    assert set(of.to_dict()) == set(expected)
    for name, sums in expected.items():
        torch.testing.assert_close(getattr(of, name), torch.einsum(sums, joint), atol=1e-14, rtol=0)
    assert repr(of) == "Marginals(3 × 2 source values, 4 target values)"


def test_samples_are_counted() -> None:
    generator = np.random.default_rng(0)
    a, b, y = (generator.integers(0, size, 500) for size in (3, 2, 4))
    counts = np.zeros((3, 2, 4))
    for row in zip(a, b, y, strict=True):
        counts[row] += 1
    np.testing.assert_allclose(joint_from_samples(a, b, y).numpy(), counts / 500, atol=1e-16)
    as_floats = joint_from_samples(torch.tensor(a).float(), b.tolist(), y.astype(np.uint8))
    np.testing.assert_allclose(as_floats.numpy(), counts / 500, atol=1e-16)
    wider = joint_from_samples(a, b, y, sizes=(5, 2, 4))
    assert wider.shape == (5, 2, 4) and not wider[3:].any()
    assert joint_from_samples([0], [0], [0]).tolist() == [[[1.0]]]


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (([0, 1], [0], [0, 1]), "as many"),
        (([], [], []), "at least one sample"),
        (([0, -1], [0, 0], [0, 0]), "source_1"),
        (([0, 1], [0, 0.5], [0, 0]), "source_2"),
        (([0, 1], [0, 1], [0, math.nan]), "target"),
        (([[0], [1]], [0, 1], [0, 1]), "one axis"),
    ],
)
def test_wrong_samples_are_refused(samples: tuple[Any, Any, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        joint_from_samples(*samples)
    with pytest.raises(ValueError, match="below 2"):
        joint_from_samples([0, 2], [0, 0], [0, 0], sizes=(2, 2, 2))


def test_tables_with_any_names_and_weights() -> None:
    joint = joint_from_table({("no", 0, "x"): 1, ("yes", 0, "y"): 2, ("no", 1, "y"): 1})
    assert joint.shape == (2, 2, 2)
    assert joint[0, 0, 0] == 0.25 and joint[1, 0, 1] == 0.5 and joint[0, 1, 1] == 0.25 and joint.sum() == 1
    assert joint_from_table({(0, None, 1): 0.5, (0, "a", 1): 0.5}).shape == (1, 2, 1)
    assert joint_from_table({(0, 0, 0): Fraction(1, 3), (1, 1, 1): Fraction(2, 3)})[1, 1, 1] == pytest.approx(2 / 3)


@pytest.mark.parametrize("table", [{}, {(0, 0): 1.0}, {(0, 0, 0): -1.0}, {(0, 0, 0): math.nan}, {(0, 0, 0): 0.0}])
def test_wrong_tables_are_refused(table: Any) -> None:
    with pytest.raises(ValueError, match="table"):
        joint_from_table(table)


def test_one_latent_against_the_rest() -> None:
    joint = random_joint(2, 3, 4, 5)
    split = one_against_rest(joint, 1)
    assert split.shape == (3, 8, 5)
    for a in range(2):
        for c in range(4):
            torch.testing.assert_close(split[:, a * 4 + c], joint[a, :, c], atol=1e-16, rtol=0)
    torch.testing.assert_close(one_against_rest(joint, -1), one_against_rest(joint, 2), atol=0, rtol=0)
    alone = one_against_rest(random_joint(3, 2), 0)
    assert alone.shape == (3, 1, 2) and float(interval(alone).information_2) < 1e-15
    for index in (3, -4):
        with pytest.raises(ValueError, match="3 latents"):
            one_against_rest(joint, index)
    for wrong in (torch.ones(1), torch.ones(2, 2, 2), torch.ones(0, 2)):
        with pytest.raises(ValueError, match="one_against_rest"):
            one_against_rest(wrong, 0)


def test_the_rest_knows_what_any_of_it_knows() -> None:
    joint = random_joint(2, 3, 2, 3, seed=3)
    for index in range(3):
        against_rest = interval(one_against_rest(joint, index))
        for other in set(range(3)) - {index}:
            third = 3 - index - other
            pair = joint.sum(third).permute(0, 1, 2) if index < other else joint.sum(third).permute(1, 0, 2)
            assert float(against_rest.information_2) >= float(interval(pair).information_2) - 1e-12


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_systems_are_distributions_with_a_sentence(name: str) -> None:
    joint = named_system(name)
    torch.testing.assert_close(as_joint(joint), joint, atol=1e-16, rtol=0)
    torch.testing.assert_close(named_system(name.lower()), joint, atol=0, rtol=0)
    system = SYSTEMS[name]
    assert system.name == name and system.description.endswith(".") and name in repr(system)
    for option in system.options:
        value = 0.2 if option == "correlation" else (0.3, 0.2)
        changed = named_system(name, **{option: value})  # type: ignore[arg-type]
        assert float((changed - joint).abs().max()) > 0.005
        assert float(changed.sum()) == pytest.approx(1, abs=1e-15) and float(changed.min()) >= 0


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("AND", lambda a, b: a and b), ("OR", lambda a, b: a or b), ("XOR", lambda a, b: int(a != b)),
        ("COPY", lambda a, b: 2 * a + b), ("UNQ", lambda a, b: a), ("SUM", lambda a, b: a + b),
    ],
)  # fmt: skip
def test_gates_follow_their_inputs(name: str, function: Any) -> None:
    joint = named_system(name, input_probabilities=(0.3, 0.6), correlation=0.25)
    sources = joint.sum(-1)
    assert sources[1].sum() == pytest.approx(0.3) and sources[:, 1].sum() == pytest.approx(0.6)
    covariance = float(sources[1, 1]) - 0.18
    assert covariance / math.sqrt(0.21 * 0.24) == pytest.approx(0.25)
    for (a, b, y), p in np.ndenumerate(joint.numpy()):
        assert p == (sources[a, b] if y == function(a, b) else 0)


def test_redundant_systems_and_noisy_channels() -> None:
    assert named_system("RDN").nonzero().tolist() == [[0, 0, 0], [1, 1, 1]]
    joint = named_system("RDN-XOR")
    assert joint.shape == (4, 4, 4)
    for a, b, y in joint.nonzero().tolist():
        assert a // 2 == b // 2 == y // 2 and y % 2 == (a % 2) ^ (b % 2)
    assert set(joint.unique().tolist()) == {0.0, 0.125}
    noisy = named_system("NOISY", flip_probabilities=(0.1, 0.3))
    for (a, b, y), p in np.ndenumerate(noisy.numpy()):
        assert p == pytest.approx(0.5 * (0.1 if a != y else 0.9) * (0.3 if b != y else 0.7), abs=1e-15)


def test_wholly_correlated_bits_make_one() -> None:
    joint = named_system("XOR", correlation=1.0)
    assert joint.nonzero().tolist() == [[0, 0, 0], [1, 1, 0]]
    assert named_system("XOR", correlation=-1.0)[:, :, 0].sum() == 0
    assert named_system("AND", input_probabilities=(0.0, 1.0))[0, 1, 0] == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "NAND"}, "AND, OR, XOR"),
        ({"name": "AND", "correlation": 1.1}, "correlation"),
        ({"name": "AND", "correlation": math.nan}, "correlation"),
        ({"name": "AND", "correlation": 0.9, "input_probabilities": (0.1, 0.9)}, "can have"),
        ({"name": "AND", "input_probabilities": (0.5, 1.5)}, "input_probabilities"),
        ({"name": "NOISY", "flip_probabilities": (-0.1, 0.5)}, "flip_probabilities"),
        ({"name": "NOISY", "input_probabilities": (0.1, 0.5)}, "left alone: NOISY has"),
        ({"name": "RDN", "correlation": 0.5}, "no options"),
    ],
)
def test_options_a_system_cannot_have_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        named_system(**options)
