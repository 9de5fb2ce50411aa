"""What each operation keeps, in bytes and in words."""

import pytest

from toolkit.explorers import explore_saved_arrays
from toolkit.explorers.saved_arrays import describe, draw, kept_by_operation


@pytest.mark.parametrize("batch_size", [1, 100])
def test_bytes_and_words(batch_size):
    kept = {one.expression: one for one in kept_by_operation(batch_size)}
    batch = 64 * 8 * batch_size
    assert [one.expression for one in kept.values() if not one.bytes] == ["x + x", "sum(x)", "reshape(x)"]
    assert all(not kept[name].what for name in ("x + x", "sum(x)", "reshape(x)"))
    for name in ("tanh(x)", "exp(x)"):
        assert (kept[name].bytes, kept[name].what) == (batch, ("its output",))
    for name in ("sin(x)", "x * x"):
        assert (kept[name].bytes, kept[name].what) == (batch, ("x",))
    assert (kept["linear(x, w)"].bytes, kept["linear(x, w)"].what) == (batch + 64 * 8 * 10, ("x", "w"))


def test_no_batch_at_all_is_refused():
    with pytest.raises(ValueError, match="batch_size"):
        kept_by_operation(0)


def test_picture_names_every_operation():
    kept = kept_by_operation(10)
    drawn = draw(kept).to_string()
    for one in kept:
        assert one.expression.replace("<", "&lt;") in drawn
    assert "linear(x, w) keeps most, 10.2 kB: x and w" in describe(kept)


def test_view():
    view = explore_saved_arrays()
    assert view.error is None and "56.3 kB" in view.text
    view.controls["batch_size"].value = 200
    assert view.error is None and "107.5 kB" in view.text
