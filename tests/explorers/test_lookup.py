"""Explorers are found by the name of their topic."""

import importlib

import pytest

from toolkit import explorers


def test_a_name_leads_to_its_module():
    found = explorers.explore_shared_gradients
    assert found is importlib.import_module("toolkit.explorers.shared_gradients").explore_shared_gradients


@pytest.mark.parametrize("name", ["explore_nothing", "explore_", "nothing", "explore_naive_tape"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(explorers, name)
