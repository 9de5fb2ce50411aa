"""The ladder is exact: known numbers, sampled variances, and an order that no setting of the sliders breaks."""

import itertools

import pytest
import torch

from tests.estimators.problems import PRINTED
from toolkit.estimators.exact import exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM
from toolkit.explorers import explore_baseline_ladder
from toolkit.explorers.baseline_ladder import MOST_BITS, compute, describe, draw, small_network


def test_the_network_has_the_known_bound_and_gradient():
    found = exact(small_network())
    assert float(found.value) == pytest.approx(-7.8046483509, abs=1e-9)
    first = torch.tensor([-0.1058562141, -0.9008133137, 0.1372640991, 0.4706953985], dtype=torch.float64)
    second = torch.tensor([-0.4157655291, 0.4962169850, -0.3280408118, 0.1866868162], dtype=torch.float64)
    torch.testing.assert_close(found.gradients[0], first, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.gradients[1], second, atol=1e-9, rtol=0)


def test_known_variances():
    found = compute()
    assert list(found.totals) == list(found.titles) == list(PRINTED)
    for name, known in PRINTED.items():
        assert found.totals[name] == pytest.approx(known, abs=5.1e-5), name


@pytest.mark.parametrize(
    ("name", "estimator"), [("lr", LikelihoodRatio()), ("ram", RAM()), ("ram_fresh", RAM("fresh"))]
)
def test_samples_vary_as_much(name, estimator):
    samples = estimator(small_network(0.75, 3, 2), 40_000, torch.Generator().manual_seed(0))
    for layer, exactly in enumerate(compute(0.75, 3, 2).totals[name]):
        assert float(samples.variance()[layer].sum()) == pytest.approx(exactly, rel=0.05)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, MOST_BITS), (MOST_BITS, 1), (3, 2)])
@pytest.mark.parametrize("scale", [0.0, 0.25, 4.0])
def test_better_baselines_vary_less_and_ram_least_of_them(scale, first, second):
    totals = compute(scale, first, second).totals
    for layer in (0, 1):
        rungs = [totals[name][layer] for name in ("lr", "lr_constant", "lr_parents", "lr_siblings", "ram")]
        assert all(lower <= upper + 1e-9 for upper, lower in itertools.pairwise(rungs))
        assert totals["ram_fresh"][layer] <= totals["lr_siblings"][layer] + 1e-9
    last = {round(totals[name][1], 9) for name in ("lr_siblings", "ram_fresh", "ram", "leg")}
    assert len(last) == 1


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (5, 4), (4, 5)])
def test_sizes_out_of_range(sizes):
    with pytest.raises(ValueError, match="first" if sizes[0] != 4 else "second"):
        compute(1.5, *sizes)


def test_view():
    view = explore_baseline_ladder()
    assert "RAM 0.386" in view.text and "104 × RAM" in view.drawn.svg.to_string()
    ends = {"scale": (0.0, 4.0), "first": (1, MOST_BITS), "second": (1, MOST_BITS)}
    for values in itertools.product(*ends.values()):
        for name, value in zip(ends, values, strict=True):
            view.controls[name].value = value
        assert view.error is None and f"scale {values[0]:g}" in view.text
    assert "RAM does not vary at all" in draw(compute(0.0, 2, 2)).to_string()
    assert "RAM 0." in describe(compute(0.0, 2, 2))
