"""Error rates, means and pairs are those of the record, counted again; the paper's figures stand as printed."""

import itertools

import numpy as np
import pytest

from tests.explorers.made_attacks import PLAIN, SOURCES, TARGETS, N, errors_of, made_models, made_transfer
from toolkit.experiments import read_paper_results
from toolkit.explorers.adversarial_records import short_name
from toolkit.explorers.adversarial_tables import transfer_table
from toolkit.explorers.transfer_matrix import (
    CHOICES,
    GAIN,
    describe,
    draw,
    error_rates,
    explore_transfer_matrix,
    paper_matrix,
)

ONE, SEVERAL = "from one plain network to another", "from all other plain ones, fused"


@pytest.mark.parametrize(("attack", "epsilon"), list(itertools.product(CHOICES[:3], (16, 32))))
def test_every_cell(attack, epsilon):
    found = error_rates(made_transfer(seeds=(0, 2)), attack, epsilon)
    assert found.columns == tuple(map(short_name, TARGETS)) and found.n_sources == len(SOURCES)
    for (row, source), (column, target) in itertools.product(enumerate(SOURCES), enumerate(TARGETS)):
        each = [min(N, errors_of(attack, epsilon, source, target) + seed) for seed in (0, 2)]
        assert found.values[row, column] == pytest.approx(100 * np.mean(each) / N)
    fused, noise, clean = found.values[len(SOURCES) :]
    for column, target in enumerate(TARGETS):
        expected = errors_of(attack, epsilon, "fused", target) + 1 if target in PLAIN else np.nan
        np.testing.assert_allclose(fused[column], 100 * expected / N)
        assert noise[column] == pytest.approx(100 * (errors_of("noise", epsilon, "", target) + 1) / N)
    np.testing.assert_allclose(clean, 100 * 5 / N)
    assert found.known == (0, 1, 2, 3, -1)


def test_means_and_pairs():
    found = error_rates(made_transfer(), "MI-FGSM", 32)
    pairs = [(s, t) for s, t in itertools.product(PLAIN, PLAIN) if s != t]
    means = {
        "on itself": [errors_of("MI-FGSM", 32, s, s) for s in PLAIN],
        ONE: [errors_of("MI-FGSM", 32, s, t) for s, t in pairs],
        SEVERAL: [errors_of("MI-FGSM", 32, "fused", t) for t in PLAIN],
        "random signs": [errors_of("noise", 32, "", t) for t in PLAIN],
    }
    assert found.means == pytest.approx({words: 100 * np.mean(values) / N for words, values in means.items()})
    assert str(found.paired[0]) == "5 better, 0 the same, 1 worse", "lenet → vgg is made worse"
    assert str(found.paired[1]) == "3 better, 0 the same, 0 worse"
    both = error_rates(made_transfer(seeds=(0, 1)), "FGSM", 32)
    assert str(both.paired[0]) == "10 better, 0 the same, 2 worse", "over all casts, whatever attack is shown"


def test_the_gain_is_a_difference():
    record = made_transfer()
    before, after, gain = (error_rates(record, attack, 16) for attack in ("BIM", "MI-FGSM", GAIN))
    n = len(SOURCES) + 1
    np.testing.assert_allclose(gain.values, (after.values - before.values)[:n])
    assert gain.rows == after.rows[:n] and gain.kind == "gain"
    assert gain.means[ONE] == pytest.approx(after.means[ONE] - before.means[ONE]) and "random signs" not in gain.means
    assert "−2.0" in draw(gain).to_string() and "+4.0" in draw(gain).to_string()


@pytest.mark.parametrize(("attack", "epsilon"), [("noise", 16), ("PGD", 16), ("FGSM", 8)])
def test_what_is_not_there_is_an_error(attack, epsilon):
    with pytest.raises(ValueError, match="attack" if epsilon == 16 else "epsilon"):
        error_rates(made_transfer(), attack, epsilon)


def test_the_paper_s_figures_as_printed():
    printed = {result.quantity: result.value for result in read_paper_results()}
    correct, hit = paper_matrix("correct"), paper_matrix("hit")
    assert correct.values.shape == hit.values.shape == (10, 10) and correct.known == tuple(range(10))
    assert correct.values[3, 4] == printed["adversarial/figure-5/resnet-v2-50/resnet-v2-101"] / 10
    assert hit.values[0, 0] == printed["adversarial/figure-4/inception-v3/inception-v3"] / 10
    assert correct.means["on itself"] == pytest.approx(np.diag(correct.values).mean())
    assert correct.means["on another"] == pytest.approx((correct.values.sum() - np.diag(correct.values).sum()) / 90)
    assert len(set(correct.columns)) == 10
    with pytest.raises(ValueError, match="which"):
        paper_matrix("score")


def test_view_over_all_its_states():
    view = explore_transfer_matrix([made_transfer(seeds=(0, 1)), made_models()])
    assert view.error is None and view.values() == {"attack": "MI-FGSM", "epsilon": 32, "show": "ours"}
    assert "through one network" in draw(view.result).to_string() and "2 fused" in draw(view.result).to_string()
    assert "10 better, 0 the same, 2 worse" in view.text and "Attackers know the labels" in view.text
    seen = set()
    for attack, epsilon in itertools.product(CHOICES, (16, 32)):
        view.controls["attack"].value, view.controls["epsilon"].value = attack, epsilon
        assert view.error is None
        seen.add(draw(view.result).to_string())
    assert len(seen) == 8, "each state has its own picture"
    for which, words in (("hit", "hardly through another"), ("correct", "stay right")):
        view.controls["show"].value = which
        assert (
            view.error is None and words in draw(view.result).to_string() and "the paper shows one attack." in view.text
        )
        assert view.controls["attack"].disabled and view.controls["epsilon"].disabled
    view.controls["show"].value = "ours"
    assert not view.controls["attack"].disabled and describe(view.result) == view.text


def test_without_a_record_only_the_paper_is_there():
    view = explore_transfer_matrix([])
    assert view.error is None and "python -m toolkit run adversarial-transfer" in view.text
    assert view.controls["attack"].disabled and view.controls["epsilon"].disabled
    view.controls["show"].value = "correct"
    assert view.error is None and "ImageNet" in view.text
    view.controls["show"].value = "ours"
    assert view.controls["attack"].disabled


# ---------------------------------------------------------------------------------------------------------------------
# The table


def cells(shown):
    return {row[0]: row[1:] for row in shown.rows}


def test_table_of_ours():
    shown = transfer_table(16, [made_transfer(data="fashion_mnist")])
    rows = cells(shown)
    plain = [(s, t) for s, t in itertools.product(PLAIN, PLAIN) if s != t]
    right = [100 * (1 - errors_of("MI-FGSM", 16, s, t) / N) for s, t in plain]
    assert rows["plain → another plain"][2:] == (f"{np.mean(right):.0f} ({min(right):.0f} to {max(right):.0f})", "6")
    onto = [100 * (1 - errors_of("MI-FGSM", 16, s, "resnet-adv") / N) for s in PLAIN]
    assert rows["plain → adversarially trained"][2:] == (
        f"{np.mean(onto):.0f} ({min(onto):.0f} to {max(onto):.0f})",
        "3",
    )
    assert rows["the network itself"][3] == "4", "the masked network attacks nobody"
    assert rows["adversarially trained → another such"][2:] == ("–", "0")
    assert "16/255" in shown.headers[3] and "settings differ" in shown.caption and "Fashion-MNIST" in shown.caption


def test_table_of_the_paper():
    rows = cells(transfer_table(records=[]))
    figure = paper_matrix("correct").values
    others = figure[:6, :6][~np.eye(6, dtype=bool)]
    assert rows["plain → another plain"][:2] == (
        f"{others.mean():.0f} ({others.min():.0f} to {others.max():.0f})",
        "30",
    )
    assert [row[1] for row in rows.values()] == ["10", "30", "24", "24", "12"] and sum((10, 30, 24, 24, 12)) == 100
    assert all(row[2] == "not recorded" for row in rows.values())


def test_table_takes_the_largest_epsilon_and_no_other():
    assert "32/255" in transfer_table(records=[made_transfer()]).headers[3]
    assert "digits" in transfer_table(records=[made_transfer()]).caption
    with pytest.raises(ValueError, match="epsilon"):
        transfer_table(8, [made_transfer()])
