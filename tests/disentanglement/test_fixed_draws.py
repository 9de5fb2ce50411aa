"""One code under many attacks: the same numbers as by themselves, and nothing computed twice."""

import pytest
import torch

from toolkit.disentanglement import GaussianCodes, fixed_draws, informations, profile, synthetic_codes
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.fixed_draws import FixedDraws


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_clean_code_is_scored_as_always():
    codes = synthetic_codes((3, 4, 5))
    expected = informations(codes, n_samples=60, generator=generator())
    found = FixedDraws(codes, n_samples=60, generator=generator()).informations()
    torch.testing.assert_close(found.posteriors, expected.posteriors, rtol=0, atol=0)
    assert found.total_correlation == expected.total_correlation
    assert torch.equal(found.rows, expected.rows)


@pytest.mark.parametrize("attack", [Redundancy(1.0), MaskedCopy(2.0), Synergy(0.5), Mixing(0.3), NoisedCopy(1, 0.2)])
def test_what_is_kept_changes_nothing(attack):
    codes = synthetic_codes((3, 4, 5))
    fresh = FixedDraws(codes, n_samples=50, generator=generator()).informations(attack(codes))
    used = FixedDraws(codes, n_samples=50, generator=generator())
    for other in (None, Redundancy(0.2), Synergy(0.0), Mixing(1), attack):
        used.informations(other(codes) if other else None)
    again = used.informations(attack(codes))
    torch.testing.assert_close(again.posteriors, fresh.posteriors, rtol=0, atol=0)
    assert again.latent_names == fresh.latent_names == attack(codes).latent_names
    # And as far as the attack has no noise of its own, as by itself.
    alone = informations(attack(codes), n_samples=50, generator=generator())
    torch.testing.assert_close(again.joint, alone.joint, rtol=0, atol=0)


def test_scores_move_smoothly():
    codes = synthetic_codes((3, 4, 5))
    draws = FixedDraws(codes, n_samples=40, generator=generator())
    scores = [profile(draws.informations(Redundancy(alpha)(codes))).unibound for alpha in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert scores == sorted(scores, reverse=True)


def test_only_what_an_attack_changes_is_computed(monkeypatch):
    codes = synthetic_codes((3, 4, 5))
    draws = FixedDraws(codes, n_samples=20, generator=generator())
    counts = []
    compute = fixed_draws.posteriors_of

    def counted(codes, draws, sources, *options):
        counts.append(len(sources))
        return compute(codes, draws, sources, *options)

    monkeypatch.setattr(fixed_draws, "posteriors_of", counted)
    for attack in (None, None, Redundancy(1.0), Redundancy(2.0), MaskedCopy(1.0), Redundancy(0)):
        draws.informations(attack(codes) if attack else None)
    # 4 alone, 4 without, 1 joint; 4 new latents and 4 views of old ones, twice; 4 masked and nothing; all is known.
    assert counts == [9, 8, 8, 5]


def test_what_is_refused():
    codes = synthetic_codes((3, 4))
    with pytest.raises(ValueError, match="these codes"):
        FixedDraws(codes, n_samples=5).informations(Redundancy(1.0)(synthetic_codes((3, 4))))
    with pytest.raises(ValueError, match="complete grid"):
        FixedDraws(GaussianCodes(codes.mean[:7], codes.standard_deviation[:7], codes.factors[:7], (3, 4)))
    with pytest.raises(ValueError, match="n"):
        FixedDraws(codes, n_samples=0)
