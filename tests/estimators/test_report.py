"""What a report says of samples whose moments are known."""

import pytest
import torch

from tests.estimators.problems import PROBLEMS, bernoulli_chain, one_bit, six_bits
from toolkit.estimators.chains import Factorized
from toolkit.estimators.exact import Enumeration, exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.relaxed import StraightThrough
from toolkit.estimators.report import report


def test_moments_are_those_of_all_samples_at_once_however_they_are_blocked():
    problem = bernoulli_chain()
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    blocked = report(LikelihoodRatio(), problem, 400, generators[0], block=50)
    samples = [LikelihoodRatio()(problem, 50, generators[1]) for _ in range(8)]
    for layer in range(3):
        together = torch.cat([part.gradients[layer] for part in samples])
        assert torch.allclose(blocked.mean[layer], together.mean(0), atol=1e-13)
        assert torch.allclose(blocked.variance[layer], together.var(0), atol=1e-12)
        assert torch.allclose(blocked.standard_error[layer], together.std(0) / 20, atol=1e-13)


def test_standard_errors_say_how_far_repeated_reports_scatter():
    problem, generator = six_bits(), torch.Generator().manual_seed(2)
    reports = [report(LikelihoodRatio(), problem, 2_000, generator) for _ in range(200)]
    variances = torch.stack([r.variance[0] for r in reports])
    claimed = torch.stack([r.variance_standard_error[0] for r in reports]).mean(0)
    assert torch.allclose(variances.std(0), claimed, rtol=0.25)
    totals = torch.tensor([r.total_variance for r in reports])
    claimed_total = torch.tensor([r.total_variance_standard_error for r in reports]).mean()
    assert totals.std().item() == pytest.approx(claimed_total.item(), rel=0.25)


def test_variance_of_one_coin_is_the_closed_form():
    problem = one_bit()
    mu = torch.sigmoid(problem.logits(0, None)).item()
    f1, f0 = 0.55**2, 0.45**2
    found = report(LikelihoodRatio(), problem, 200_000, torch.Generator().manual_seed(3), exact=exact(problem))
    expected = mu * (1 - mu) * ((1 - mu) * f1 + mu * f0) ** 2
    assert abs(found.total_variance - expected) < 4.5 * found.total_variance_standard_error
    assert found.largest_z < 4.5


def test_an_exact_estimator_has_no_bias_no_variance_and_no_z():
    problem = one_bit()
    for estimator in (RAM(), Enumeration()):
        found = report(estimator, problem, 100, exact=exact(problem))
        assert found.total_variance < 1e-20 and found.largest_z == 0 and found.bias_norm < 1e-14


def test_single_precision_rounding_is_no_bias():
    from toolkit.estimators.chains import Factorized

    problem = Factorized(torch.tensor([0.8]), lambda z: ((z - 0.45) ** 2).sum(-1))
    truth = exact(one_bit())
    assert report(RAM(), problem, 100, exact=truth).largest_z == 0


def test_a_biased_estimator_is_found_out():
    found = report(StraightThrough(), six_bits(), 100_000, torch.Generator().manual_seed(4), exact=exact(six_bits()))
    assert not found.unbiased and found.largest_z > 20
    assert found.bias_norm == pytest.approx(sum((b**2).sum().item() for b in found.bias) ** 0.5)


def test_without_a_truth_there_is_no_bias():
    found = report(RAM(), six_bits(), 10)
    assert found.bias is None and found.z is None and found.largest_z is None and found.bias_norm is None


@pytest.mark.parametrize("name", PROBLEMS)
def test_price_is_counted_and_variances_are_weighed_with_it(name):
    found = report(RAM(), PROBLEMS[name], 50, torch.Generator().manual_seed(5), block=7)
    assert found.evaluations == RAM().expected_evaluations(PROBLEMS[name])
    assert found.variance_times_evaluations == found.total_variance * found.evaluations
    assert found.variance_times_seconds == found.total_variance * found.seconds > 0 or found.total_variance == 0
    assert set(found.to_dict()) >= {"estimator", "total_variance", "evaluations", "seconds", "bias_norm"}
    assert "evaluations" in repr(found) and repr(RAM()) in repr(found)


def test_batches_report_the_mean_over_their_examples():
    found = report(LikelihoodRatio(), bernoulli_chain(), 1000, torch.Generator().manual_seed(6))
    assert found.total_variance == pytest.approx(sum(v.sum().item() for v in found.variance) / 2)


@pytest.mark.parametrize(
    ("arguments", "kind", "named"),
    [
        ((RAM(), six_bits(), 1), ValueError, "n_samples"),
        ((RAM(), six_bits(), 2.5), TypeError, "n_samples"),
        ((RAM, six_bits(), 10), TypeError, "estimator"),
        ((RAM(), None, 10), TypeError, "problem"),
    ],
)
def test_bad_arguments(arguments, kind, named):
    with pytest.raises(kind, match=named):
        report(*arguments)


def test_an_empty_batch_has_a_report():
    problem = Factorized(torch.zeros(0, 3, dtype=torch.float64), lambda z: z.sum(-1) ** 2)
    found = report(RAM(), problem, 4, exact=exact(problem))
    assert found.largest_z == found.bias_norm == found.total_variance == 0
    assert "largest z 0.0" in repr(found)


def test_bad_truth_and_block():
    for block in (1.5, True, "all"):
        with pytest.raises(TypeError, match="block"):
            report(RAM(), six_bits(), 10, block=block)
    with pytest.raises(TypeError, match="exact"):
        report(RAM(), six_bits(), 10, exact=exact(six_bits()).gradients)
    with pytest.raises(ValueError, match="exact"):
        report(RAM(), six_bits(), 10, exact=exact(one_bit()))
    with pytest.raises(ValueError, match="block"):
        report(RAM(), six_bits(), 10, block=0)
