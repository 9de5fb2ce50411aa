"""The run to show is the best one, its origin is told, and what is missing is said with the command that records it."""

from dataclasses import replace

import pytest

from tests.explorers.made_attacks import made_models, made_transfer
from toolkit.experiments.adversarial_recipe import CLASSIFIERS
from toolkit.experiments.registry import find_study
from toolkit.explorers.adversarial_records import (
    MODELS,
    STUDIES,
    TRANSFER,
    adversarial_run,
    data_title,
    not_recorded,
    short_name,
    where_recorded,
)


def test_the_studies_have_these_names():
    assert [find_study(name).name for name in STUDIES] == list(STUDIES)


def test_clothes_before_digits_then_scale_then_seeds_then_date():
    digits = made_transfer(seeds=(0, 1, 2), date="2026-03-01T00:00:00Z")
    quick = made_transfer(data="fashion_mnist", scale="quick", date="2026-04-01T00:00:00Z")
    old = made_transfer(data="fashion_mnist", seeds=(0, 1))
    new = replace(old, date="2026-02-01T00:00:00Z")
    single = made_transfer(data="fashion_mnist", date="2026-05-01T00:00:00Z")
    for best, others in ((digits, ()), (quick, (digits,)), (single, (quick,)), (old, (single,)), (new, (old, single))):
        records = [best, *others, digits, made_models(data="fashion_mnist")]
        assert adversarial_run(TRANSFER, records) is best
        assert adversarial_run(TRANSFER, records[::-1]) is best


def test_none_and_an_unknown_study():
    assert adversarial_run(MODELS, []) is None
    assert adversarial_run(MODELS, [made_transfer()]) is None
    with pytest.raises(ValueError, match="study"):
        adversarial_run("mnist-mlp", [])
    assert f"run {MODELS} --scale laptop" in not_recorded(MODELS)


def test_where_recorded():
    words = where_recorded(made_models(seeds=(0, 2)))
    for part in ("made-up images", "laptop scale", "seeds 0, 2 ", "2026-01-01", "A processor", "torch 2.0"):
        assert part in words
    assert "seed 1 " in where_recorded(made_models(seeds=(1,)))
    assert data_title(None) == "Fashion-MNIST" and data_title(made_models(data="else")) == "else"


def test_short_names_differ_and_are_short():
    names = [short_name(name) for name in CLASSIFIERS]
    assert len(set(names)) == len(names) and max(map(len, names)) <= 12
    assert short_name("resnet-adv") == "ResNet adv." and short_name("lenet") == "LeNet"
    with pytest.raises(ValueError, match="member"):
        short_name("nobody")
