"""Progress bars are silent when asked."""

import pytest

from toolkit.core.progress import progress_bar, quiet


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_quiet(monkeypatch, value, expected):
    monkeypatch.setenv("TOOLKIT_QUIET", value)
    assert quiet() is expected
    with progress_bar(3, "work", initial=1) as bar:
        assert bar.disable is expected
        assert bar.n == (0 if expected else 1) or bar.n == 1
        bar.update(2)


def test_without_the_variable(monkeypatch):
    monkeypatch.delenv("TOOLKIT_QUIET", raising=False)
    assert quiet() is False
