"""Every view of 00_start_here answers every setting of its controls with a picture and a sentence."""

import html

import ipywidgets as widgets
import pytest
from matplotlib import _pylab_helpers

from toolkit import explorers
from toolkit.core.history import Series
from toolkit.experiments import Record, SeedResult, describe_environment

ACCURACIES = ((88.0, 91.0, 95.0), (90.0, 92.0, 96.0))


def record(ours=ACCURACIES, reference=None, *, scale="laptop", date="2026-01-01T00:00:00Z", study="mnist-mlp"):
    results = [
        SeedResult(
            seed,
            {
                "held-out accuracy/autograd": one[-1],
                "held-out accuracy/torch": (reference or [a[-1] for a in ours])[seed],
            },
            {"held-out accuracy/autograd": Series(tuple(range(1, len(one) + 1)), tuple(one))},
        )
        for seed, one in enumerate(ours)
    ]
    return Record(study, "", scale, {}, tuple(results), describe_environment(), date, 1.0, 1.0)


VIEWS = {
    "paper map": lambda: explorers.explore_paper_map(),
    "bundled images": lambda: explorers.explore_bundled_images(),
    "dsprites": lambda: explorers.explore_factor_images("dsprites"),
    "3dshapes": lambda: explorers.explore_factor_images("3dshapes"),
    "first training": lambda: explorers.explore_first_training(),
    "ledger verdict": lambda: explorers.explore_ledger_verdict([record()]),
}


@pytest.fixture(scope="module", params=VIEWS)
def view(request):
    return VIEWS[request.param]()


def settings(control: widgets.Widget) -> list:
    if isinstance(control, widgets.Dropdown):
        return [value for _, value in control.options]
    return [control.min, control.max, control.value]


def test_every_end_of_every_control_is_answered(view):
    for name, control in view.controls.items():
        seen = set()
        for value in settings(control):
            control.value = value
            assert view.error is None, f"{name}={value}: {view.text}"
            assert view.text and html.escape(view.text) in view.status.value
            assert view.drawn.width <= 720
            seen.add(view.drawn.to_html("") + view.text)
        assert len(seen) == len(set(map(str, settings(control)))), f"{name} has settings that look the same"
    view.reset()
    assert _pylab_helpers.Gcf.get_all_fig_managers() == []


def test_what_is_stored_does_not_depend_on_what_was_moved_before(view):
    view.reset()
    before = view._repr_mimebundle_()[0]
    for control in view.controls.values():
        control.value = settings(control)[-1]
    view.reset()
    after = view._repr_mimebundle_()[0]
    assert before["text/plain"] == after["text/plain"]
    assert before["image/png"] == after["image/png"]
    assert "cpu" not in before["text/plain"]


def test_controls_have_names_and_few_steps(view):
    labels = [control.description for control in view.controls.values()]
    assert all(labels) and len(set(labels)) == len(labels)
    for control in view.controls.values():
        if hasattr(control, "step"):
            assert (control.max - control.min) / control.step <= 50
