import math

import numpy as np
import pytest
import torch

from toolkit.lessons import Verdict, check, exercise, expect_array, expect_choice, expect_function, expect_number


def test_a_number_beside_the_papers(capsys):
    check("accuracy", 0.1312, paper=0.13, tolerance=0.01, source="Table 2")
    assert capsys.readouterr().out == "accuracy: 0.13, within 0.01 of the paper's 0.13 (Table 2)\n"


def test_noise_far_below_the_tolerance_does_not_show(capsys):
    for noise in (-1e-6, 0.0, 1e-6):
        check("x", 0.13 + noise, exact=0.1301, tolerance=1e-3)
    lines = capsys.readouterr().out.splitlines()
    assert len(set(lines)) == 1 and lines[0] == "x: 0.130, within 0.001 of the exact 0.1301"


@pytest.mark.parametrize(
    ("ours", "expected", "tolerance", "line"),
    [
        (1234.5, 1230, 10, "x: 1230, within 10 of the exact 1230"),
        (-0.0004, 0, 0.01, "x: 0.00, within 0.01 of the exact 0"),
        (3, 3, 0, "x: 3, within 0 of the exact 3"),
        (True, 1, 0, "x: 1, within 0 of the exact 1"),
        (2.5, 2.4, 0.25, "x: 2.5, within 0.25 of the exact 2.4"),
        (math.inf, math.inf, 0.1, "x: inf, within 0.1 of the exact inf"),
        (1e-9, 0.0, 1e-6, "x: 0.000000, within 1e-06 of the exact 0"),
    ],
)
def test_written_numbers(ours, expected, tolerance, line, capsys):
    check("x", ours, exact=expected, tolerance=tolerance)
    assert capsys.readouterr().out == line + "\n"


def test_relative_and_both(capsys):
    check("time", 105.0, paper=100.0, exact=104.0, tolerance=0.06, relative=True)
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("within 0.06 of its size of the exact 104")
    assert out[1].endswith("within 0.06 of its size of the paper's 100")
    with pytest.raises(AssertionError):
        check("time", 107.0, paper=100.0, tolerance=0.06, relative=True)


@pytest.mark.parametrize("kind", [np.float32(0.5), np.array(0.5), torch.tensor(0.5, requires_grad=True), 0.5])
def test_any_kind_of_number(kind, capsys):
    check("half", kind, exact=0.5, tolerance=1e-6)
    assert "half: 0.500000" in capsys.readouterr().out


def test_a_variable_of_our_own_engine(capsys):
    class Variable:
        def __init__(self, data):
            self.data = data

        def backward(self):
            raise AssertionError

    check("gradient", Variable(torch.tensor([1.0, 2.0])), exact=[1, 2], tolerance=1e-6)
    assert capsys.readouterr().out == "gradient: 2 values, each within 1e-06 of the exact ones\n"


@pytest.mark.parametrize("ours", [0.2, math.nan, math.inf, -math.inf])
def test_a_number_that_is_off_stops_the_cell_and_says_everything(ours):
    with pytest.raises(AssertionError) as failure:
        check("accuracy", ours, paper=0.13, tolerance=0.01, source="Table 2")
    message = str(failure.value)
    assert "accuracy" in message and "0.13" in message and "(Table 2)" in message and repr(ours) in message


def test_arrays_that_are_off():
    with pytest.raises(AssertionError, match=r"largest difference: 0\.5"):
        check("g", torch.tensor([1.0, 2.5]), exact=[1.0, 2.0], tolerance=0.1)
    with pytest.raises(AssertionError):
        check("g", [1.0, math.nan], exact=[1.0, 2.0], tolerance=0.1)
    with pytest.raises(ValueError, match="shape"):
        check("g", [1.0, 2.0], exact=[1.0, 2.0, 3.0], tolerance=0.1)


def test_nothing_to_compare_with_or_no_tolerance():
    with pytest.raises(ValueError, match="at least one"):
        check("x", 1.0, tolerance=0.1)
    for bad in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match="tolerance"):
            check("x", 1.0, exact=1.0, tolerance=bad)


@exercise
def half(answer):
    return expect_number(answer, 0.5, slips={0.25: "that is the square of it."})


@pytest.mark.parametrize("answer", [None, ..., [1.0, ...], {"a": None}, (..., 2)])
def test_an_answer_not_given(answer):
    assert half(answer).right is None and repr(half(answer)).startswith("○ Not answered yet")
    assert half().right is None


def test_a_right_and_a_wrong_answer():
    assert repr(half(0.5)) == "✓ Right. It is 0.500000."
    assert repr(half(0.25)) == "✗ Not yet. Got 0.25: that is the square of it."
    assert half(torch.tensor(0.5)).right and half(np.array([0.5])).right
    assert "Expected 0.5 within 1e-06, got 0.3." in half(0.3).sentence
    assert half(0.3).to_dict() == {"right": False, "sentence": half(0.3).sentence}


@pytest.mark.parametrize(
    ("answer", "words"),
    [(-0.5, "sign"), (1.0, "twice"), (50, "percentage"), (math.nan, "overflow"), (math.inf, "overflow")],
)
def test_common_slips_are_named(answer, words):
    assert words in half(answer).sentence and not half(answer).right


@pytest.mark.parametrize("answer", ["half", [1, 2], object(), lambda x: x, {"a": 1}, {1, 2}, np.zeros((2, 2)), 1j])
def test_no_answer_makes_an_exercise_raise(answer):
    verdict = half(answer)
    assert verdict.right is False and " at 0x" not in repr(verdict)


def test_an_error_in_the_check_becomes_a_sentence():
    @exercise
    def broken(answer):
        raise RuntimeError("first line\n  second line\n  third line")

    assert broken(1).sentence == "Your answer stopped with RuntimeError: first line; second line."
    assert broken.__name__ == "broken"


def test_arrays():
    expected = np.arange(6.0).reshape(2, 3)
    assert expect_array(torch.arange(6.0).reshape(2, 3), expected).right
    assert "Transposed?" in expect_array(expected.T, expected).sentence
    wrong = expected.copy()
    wrong[1, 0] = 7
    assert "Expected 3 at [1, 0], got 7; 1 of 6" in expect_array(wrong, expected).sentence
    assert "sign" in expect_array(-expected[:, 1:], expected[:, 1:]).sentence
    assert not expect_array("no", expected).right
    wrong[0, 0] = np.nan
    assert not expect_array(wrong, expected).right
    assert expect_array([], []).right


def test_choices():
    assert expect_choice(" Right ", "right").right
    assert expect_choice("left", "right", slips={"LEFT": "Look again."}).sentence == "Look again."
    assert expect_choice(3, "right").sentence == "It is not int 3."
    named = expect_choice("middle", "right", slips={"left": "Look again."}).sentence
    assert named == "Got str 'middle'; the choices are 'left', 'right'."


def test_functions():
    @exercise
    def square(answer):
        return expect_function(answer, [((2.0,), 4.0), ((-3.0,), 9.0)], hint="Square, do not double.")

    assert square(lambda x: x * x).right
    assert "For (float -3.0): Expected 9, got -6" in square(lambda x: 2 * x).sentence
    assert square(lambda x: 2 * x).sentence.endswith("Square, do not double.")
    assert square(lambda x: None).right is None and square(lambda x: ...).right is None
    assert not square(7).right
    raised = square(lambda x: 1 / 0).sentence
    assert "ZeroDivisionError" in raised and raised.endswith("Square, do not double.")

    def unfinished(x):
        raise NotImplementedError

    assert square(unfinished).right is None


def test_a_verdict_is_its_sentence():
    assert [repr(Verdict(right, "S.")) for right in (True, False, None)] == ["✓ Right. S.", "✗ Not yet. S.", "○ S."]
