"""How a lesson shows a number and how an exercise is checked.

``check`` compares with a tolerance and prints a line that is the same on every machine; an exercise never raises, it
says what was expected, what came, and which slip leads there.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import require


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # torch, with or without a graph, on any device
        value = value.detach().cpu()
    elif hasattr(value, "data") and hasattr(value, "backward"):  # our own Variable
        return _array(value.data)
    elif hasattr(value, "get") and hasattr(value, "device") and not isinstance(value, Mapping):  # CuPy
        value = value.get()
    return np.asarray(value, dtype=np.float64)


def _rounded(value: float, tolerance: float) -> str:
    """Write ``value`` to the last decimal that the tolerance leaves meaning; noise, far below it, does not show."""
    if tolerance <= 0:
        return f"{value:g}"
    decimals = -math.floor(math.log10(tolerance) + 1e-9)
    if decimals <= 0:
        value = round(value, decimals)
    text = f"{value:.{max(decimals, 0)}f}"
    return text.lstrip("-") if float(text) == 0 else text


def check(
    name: str,
    ours: Any,
    *,
    paper: Any = None,
    exact: Any = None,
    tolerance: float,
    source: str = "",
    relative: bool = False,
) -> None:
    """Assert that our number is within a tolerance of the paper's or of the exact one, and print so in one line.

    Args:
        name: what the number is, with its unit.
        ours: a number or an array (NumPy, torch, a ``Variable``).
        paper: the paper's number.
        exact: the exact one (number or array); give ``paper``, ``exact`` or both.
        tolerance: the largest difference allowed, in the number's unit; also sets to which decimal ours is printed.
        source: where the paper's number stands, ``"Table 2"``, or how the exact one was found.
        relative: whether the tolerance is a fraction of the expected number.

    Raises:
        AssertionError: ours is further off, or not finite; says name, ours, expected, difference and source.
        ValueError: nothing to compare with, a tolerance that is no positive finite number, or shapes that differ.
    """
    require(paper is not None or exact is not None, "check", "paper, exact", "at least one of the two", None)
    require(
        math.isfinite(tolerance) and tolerance >= 0, "check", "tolerance", "a finite number, not negative", tolerance
    )
    came = _array(ours)
    for kind, expected_value in (("the exact", exact), ("the paper's", paper)):
        if expected_value is not None:
            print(_compare(name, came, _array(expected_value), tolerance, kind, source, relative))


def _compare(
    name: str, came: np.ndarray, expected: np.ndarray, tolerance: float, kind: str, source: str, relative: bool
) -> str:
    if expected.ndim:
        require(came.shape == expected.shape, "check", "ours", f"shape {expected.shape}", came.shape)
    origin = f" ({source})" if source else ""
    with np.errstate(invalid="ignore"):
        difference = np.where(came == expected, 0.0, np.abs(came - expected))  # equal infinities differ by nothing
    allowed = tolerance * np.abs(expected) if relative else np.full(expected.shape, tolerance)
    within = f"{tolerance:.3g} of its size" if relative else f"{tolerance:.3g}"
    if not bool(np.all(difference <= allowed)):
        worst = float(np.max(difference)) if difference.size else math.nan
        shown = f"{came.item()!r}" if came.size == 1 else f"{came.size} values"
        wanted = f"{expected.item()!r}" if expected.size == 1 else f"{expected.size} values"
        raise AssertionError(
            f"{name}: not within {within} of {kind} value{origin}\n  expected: {wanted}\n  ours:     {shown}\n"
            f"  largest difference: {worst:.6g}"
        )
    if came.ndim == 0 and expected.ndim == 0:
        size = tolerance * abs(float(expected)) if relative else tolerance
        return f"{name}: {_rounded(float(came), size)}, within {within} of {kind} {float(expected):.6g}{origin}"
    return f"{name}: {came.size} values, each within {within} of {kind} ones{origin}"


@dataclass(frozen=True)
class Verdict:
    """What a check says about an answer: ``right`` is None while nothing has been answered."""

    right: bool | None
    sentence: str

    def __repr__(self) -> str:
        return {True: "✓ Right. ", False: "✗ Not yet. ", None: "○ "}[self.right] + self.sentence

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


UNSOLVED = Verdict(None, "Not answered yet: put your answer in place of the dots and run the cell again.")


def _is_unsolved(answer: Any) -> bool:
    if answer is None or answer is ...:
        return True
    if isinstance(answer, (list, tuple)):
        return any(_is_unsolved(part) for part in answer)
    return isinstance(answer, Mapping) and any(_is_unsolved(part) for part in answer.values())


def exercise(check_answer: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Make a function that judges an answer safe for a notebook: it always returns a :class:`Verdict`.

    An answer that is ``None`` or ``...`` (or holds one) is "not answered yet"; so is one whose function raises
    ``NotImplementedError``. Any other error becomes a sentence.

    Args:
        check_answer: takes the answer(s) and returns a verdict, most often from :func:`expect_number`,
            :func:`expect_array`, :func:`expect_choice` or :func:`expect_function`.
    """

    @functools.wraps(check_answer)
    def safe(*answers: Any, **named: Any) -> Verdict:
        if (not answers and not named) or any(_is_unsolved(answer) for answer in (*answers, *named.values())):
            return UNSOLVED
        try:
            return check_answer(*answers, **named)
        except NotImplementedError:
            return UNSOLVED
        except Exception as error:
            return Verdict(False, stopped(error))

    return safe


def stopped(error: Exception, hint: str = "") -> str:
    """Say in one sentence that an answer raised: our errors tell in their second line what they expected.

    Args:
        error: what was raised.
        hint: the likely slip, said after it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()][:2]
    message = "; ".join(line if len(line) <= 160 else f"{line[:160]}…" for line in lines).rstrip(".")
    sentence = f"Your answer stopped with {type(error).__name__}{': ' + message if message else ''}."
    return f"{sentence} {hint}" if hint else sentence


def expect_number(
    answer: Any,
    expected: float,
    *,
    tolerance: float = 1e-6,
    right: str = "",
    slips: Mapping[float, str] | None = None,
    slip_share: float | None = None,
    withhold: bool = False,
) -> Verdict:
    """Judge a number.

    Args:
        answer: a number, or an array with one.
        expected: the right one.
        tolerance: the largest difference allowed.
        right: what to say about a right answer.
        slips: wrong numbers that a likely slip leads to, with the slip: ``{0.5: "that is the variance; …"}``.
        slip_share: how near a slip counts as it, as a share of its size; default: ``tolerance``.
        withhold: whether a wrong answer is not told the right one.
    """
    try:
        number = float(_array(answer).reshape(()))
    except (TypeError, ValueError):
        return Verdict(False, f"Expected one number, got {in_short(answer)}.")
    except OverflowError:
        return Verdict(False, "Expected a number of ordinary size, got one beyond 10³⁰⁸.")
    if abs(number - expected) <= tolerance:
        return Verdict(True, right or f"It is {_rounded(expected, tolerance)}.")
    for wrong, slip in (slips or {}).items():
        if abs(number - wrong) <= (tolerance if slip_share is None else slip_share * abs(wrong)):
            return Verdict(False, f"Got {number:.6g}: {slip}")
    if withhold:
        return Verdict(False, f"It is not {number:.6g}.{_factor(number, expected)}".replace("not -", "not −"))
    return Verdict(
        False, f"Expected {expected:.6g} within {tolerance:.3g}, got {number:.6g}.{_factor(number, expected)}"
    )


def _factor(number: float, expected: float) -> str:
    """Name the commonest slips: a sign, a factor, a percentage."""
    if not math.isfinite(number):
        return " An overflow, or a division by zero?"
    if expected and number:
        for ratio, words in ((-1.0, "the sign is turned round"), (2.0, "twice too much"), (0.5, "half of it")):
            if math.isclose(number / expected, ratio, rel_tol=1e-6):
                return f" So {words}."
        if math.isclose(number / expected, 100.0, rel_tol=1e-6):
            return " A percentage where a fraction is meant?"
    return ""


def expect_array(answer: Any, expected: Any, *, tolerance: float = 1e-6, right: str = "") -> Verdict:
    """Judge an array: its shape first, then its values, with the place of the first that is wrong."""
    wanted = _array(expected)
    try:
        came = _array(answer)
    except (TypeError, ValueError):
        return Verdict(False, f"Expected an array of shape {wanted.shape}, got {in_short(answer)}.")
    if came.shape != wanted.shape:
        turned = " Transposed?" if came.shape == wanted.shape[::-1] else ""
        return Verdict(False, f"Expected shape {wanted.shape}, got {came.shape}.{turned}")
    wrong = ~(np.abs(came - wanted) <= tolerance)
    if not wrong.any():
        return Verdict(True, right or f"All {wanted.size} values are within {tolerance:.3g}.")
    place = tuple(int(part) for part in np.argwhere(wrong)[0])
    where = f" at {list(place)}" if place else ""
    found = f"Expected {wanted[place]:.6g}{where}, got {came[place]:.6g}; {int(wrong.sum())} of {wanted.size} are off."
    return Verdict(False, found + (_factor(float(came[place]), float(wanted[place])) if wrong.all() else ""))


def expect_choice(answer: Any, expected: str, *, right: str = "", slips: Mapping[str, str] | None = None) -> Verdict:
    """Judge a word, whatever its case; ``slips`` says what is wrong with the other words."""
    word = str(answer).strip().casefold()
    if word == expected.strip().casefold():
        return Verdict(True, right or f"It is {expected}.")
    for wrong, slip in (slips or {}).items():
        if word == wrong.strip().casefold():
            return Verdict(False, slip)
    choices = sorted({expected.strip(), *(wrong.strip() for wrong in slips or {})}, key=str.casefold)
    if len(choices) == 1:  # naming it would give the answer away
        return Verdict(False, f"It is not {in_short(answer)}.")
    return Verdict(False, f"Got {in_short(answer)}; the choices are {', '.join(map(repr, choices))}.")


def expect_function(
    answer: Any, cases: Sequence[tuple[tuple, Any]], *, tolerance: float = 1e-6, right: str = "", hint: str = ""
) -> Verdict:
    """Judge a function by what it returns.

    Args:
        answer: the reader's function.
        cases: ``((arguments…), expected)`` pairs.
        tolerance: the largest difference allowed in any value.
        right: what to say about a right answer.
        hint: the likely slip, said with the first case that fails or raises.
    """
    if not callable(answer):
        return Verdict(False, f"Expected a function, got {in_short(answer)}.")
    for arguments, expected in cases:
        try:
            came = answer(*arguments)
        except NotImplementedError:
            return UNSOLVED
        except Exception as error:
            return Verdict(False, stopped(error, hint))
        if _is_unsolved(came):
            return UNSOLVED
        verdict = expect_array(came, expected, tolerance=tolerance)
        if not verdict.right:
            called = ", ".join(in_short(argument) for argument in arguments)
            return Verdict(False, f"For ({called}): {verdict.sentence}{' ' + hint if hint else ''}")
    return Verdict(True, right or f"All {len(cases)} cases agree.")


def in_short(value: Any) -> str:
    """Name a value in a sentence: its type, and the value itself if it is short."""
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape):
        return f"an array of shape {tuple(shape)}"
    if isinstance(value, int) and abs(value) >= 10**39:  # Python refuses to write the longest of them
        return "an int of more than 39 digits"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 and ' at 0x' not in text else ''}".strip()
