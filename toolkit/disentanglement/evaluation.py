"""All metrics in one call, of codes from this toolkit or of arrays from any other encoder."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.devices import draw_integers, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.bootstrap import bootstrap
from toolkit.disentanglement.codes import GaussianCodes, PointCodes
from toolkit.disentanglement.evaluation_inputs import Scorable, as_codes, thinned
from toolkit.disentanglement.metrics.registry import METRICS, Job, Metric, PartialInformation

_CLASSIFIERS = {"fast": "histogram", "reference": "reference"}


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Scores of one code.

    Attributes:
        scores: by the names of :data:`METRICS`. Every one is a number; total correlations may be infinite.
        details: what each family of scores was taken from, by the function's name: the metrics' own results.
        intervals: 90 % of the resampled draws give a score between these ends; of the scores from posteriors.
        skipped: scores that these codes have not, and why.
        left_out: factors that have a single value, which no score takes into account.
        codes: what was scored, in words.
        options: the arguments of :func:`evaluate`.
        seconds: how long each family took.
    """

    scores: dict[str, float]
    details: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    skipped: dict[str, str]
    left_out: tuple[str, ...]
    codes: str
    options: dict[str, Any]
    seconds: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.scores[name]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON; what is not a finite number is None."""
        found = {
            "codes": self.codes,
            "scores": self.scores,
            "intervals": self.intervals,
            "skipped": self.skipped,
            "left_out": self.left_out,
            "options": self.options,
            "seconds": self.seconds,
            "details": {name: detail.to_dict() for name, detail in self.details.items()},
        }
        return {name: _plain(value) for name, value in found.items()}

    def to_frame(self):
        """Return a pandas frame, one row a score that was asked for; of skipped ones the score is NaN."""
        import pandas

        rows = []
        for name in METRICS:
            if name in self.scores or name in self.skipped:
                said = METRICS[name].to_dict()
                low, high = self.intervals.get(name, (math.nan, math.nan))
                least, largest = METRICS[name].range
                row = {"name": name, "title": said["title"], "score": self.scores.get(name, math.nan)}
                row |= {"low": low, "high": high, "least": least, "largest": largest}
                row |= {part: said[part] for part in ("higher_is_better", "family", "meaning", "source")}
                rows.append(row | {"skipped": self.skipped.get(name, "")})
        return pandas.DataFrame(rows).set_index("name")

    def __repr__(self) -> str:
        width = max((len(METRICS[name].title) for name in self.scores), default=0)
        lines = [f"Evaluation of {self.codes}"]
        for name, score in self.scores.items():
            note = "" if METRICS[name].higher_is_better else "  (less is better)"
            if name in self.intervals:
                note = "  [{:.3f}, {:.3f}]".format(*self.intervals[name]) + note
            lines.append(f"  {METRICS[name].title:<{width}}  {score:7.3f}{note}")
        if self.left_out:
            lines.append(f"  of one value, and left out: {', '.join(self.left_out)}")
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(METRICS[name].title)
        lines += [f"  not scored: {', '.join(titles)} ({reason})" for reason, titles in reasons.items()]
        return "\n".join(lines)


def evaluate(
    codes: Any,
    factors: Any = None,
    metrics: str | Iterable[str] = "all",
    *,
    factor_names: tuple[str, ...] = (),
    latent_names: tuple[str, ...] = (),
    n_samples: int = 2000,
    n_points: int = 10_000,
    representation: str = "samples",
    variant: str = "authors",
    dci: str = "fast",
    n_resamples: int = 500,
    incomplete: str = "refuse",
    generator: torch.Generator | None = None,
) -> Evaluation:
    """Score a code by every metric that applies to it.

    Args:
        codes: :class:`GaussianCodes`, attacked ones, :class:`PointCodes`, a :class:`Posterior`; or arrays: a matrix of
            points ``[images, latents]``, or the pair (mean, standard deviation) of two such matrices.
        factors: for arrays the indices ``[images, factors]`` of the images' factors, from 0. Labels of another kind
            become indices by :func:`factors_from_labels`. Codes bring their own.
        metrics: "all", or names of :data:`METRICS` or of their families. Of "all", what the codes do not allow is
            skipped and the reason kept; what is asked for by name is computed or an error.
        factor_names: for arrays; default "factor 1", …
        latent_names: for arrays; default "z1", …
        n_samples: draws behind the informations of posteriors.
        n_points: most points for the metrics on points; more are thinned out. Of Gaussian and attacked codes as many
            are drawn, each of another image as long as there are any.
        representation: what the points of Gaussian codes are, "samples" or "means". Of attacked codes they are samples.
        variant: of the BetaVAE and FactorVAE metrics, "authors" or "library"; they draw from all the codes.
        dci: "fast" (histogram gradient boosting) or "reference" (scikit-learn's gradient boosting; minutes).
        n_resamples: of the draws, behind the intervals; 0 for no intervals.
        incomplete: "refuse" or "allow" informations from images that are not a complete grid of the factors.
        generator: of all draws. Each family has draws of its own, the same whatever else is computed.

    Returns:
        The scores.

    Raises:
        ValueError: unknown names or options; no factor that varies; codes or factors that are refused; with
            ``metrics`` by name, one that these codes do not allow.
        TypeError: factors or numbers that are no integers, or metrics that are no names.
    """
    operation = "evaluate"
    for argument, given, choices in (
        ("dci", dci, tuple(_CLASSIFIERS)),
        ("representation", representation, ("samples", "means")),
        ("variant", variant, ("authors", "library")),
        ("incomplete", incomplete, ("refuse", "allow")),
    ):
        require(given in choices, operation, argument, " or ".join(map(repr, choices)), repr(given))
    for argument, number in (("n_points", n_points), ("n_samples", n_samples), ("n_resamples", n_resamples)):
        if isinstance(number, bool) or not isinstance(number, int):
            reject(operation, argument, "an integer", repr(number), kind=TypeError)
        fits = number >= 2 or (number == 0 and argument == "n_resamples")
        require(fits, operation, argument, "0, or 2 or more" if argument == "n_resamples" else "2 or more", number)
    chosen = _chosen(metrics)
    generator = resolve_generator(generator)
    families = list(dict.fromkeys(metric.family for metric in METRICS.values()))
    seeds = draw_integers(0, 2**62, (len(families) + 1,), generator=generator, device="cpu").tolist()
    every = as_codes(codes, factors, factor_names=factor_names, latent_names=latent_names, operation=operation)
    points = _points(every, n_points, representation, resolve_generator(seed=seeds.pop()))
    points, left_out = _without_constant_factors(points)

    options = {"n_samples": n_samples, "n_points": n_points, "representation": representation}
    options |= {"variant": variant, "dci": dci, "n_resamples": n_resamples, "incomplete": incomplete}
    settings = options | {"dci": _CLASSIFIERS[dci]}
    scores: dict[str, float] = {}
    details: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    intervals: dict[str, tuple[float, float]] = {}
    seconds: dict[str, float] = {}
    for family, seed in zip(families, seeds, strict=True):
        asked = [metric for metric in chosen if metric.family == family]
        if not asked:
            continue
        began = time.perf_counter()
        job = Job(every, points, resolve_generator(seed=seed), settings)
        try:
            if asked[0].needs == "posterior" and isinstance(every, PointCodes):
                expected = f"mean and standard deviation of each image of a complete grid, for {asked[0].title}"
                reject(operation, "codes", expected, "points")
            details[family] = asked[0].run(job)
        except (TypeError, ValueError) as error:
            if metrics != "all" or not hasattr(error, "expected"):
                raise
            skipped |= dict.fromkeys([metric.name for metric in asked], _reason(error))
            continue
        if isinstance(details[family], PartialInformation) and n_resamples:
            intervals = _intervals(details[family], n_resamples, job.generator)
        seconds[family] = time.perf_counter() - began
        for metric in asked:
            score = metric.read(details[family])
            if math.isnan(score):
                skipped[metric.name] = "not defined for these codes"
            else:
                scores[metric.name] = score
    return Evaluation(
        {name: scores[name] for name in METRICS if name in scores},
        details,
        {name: ends for name, ends in intervals.items() if name in scores},
        {name: skipped[name] for name in METRICS if name in skipped},
        left_out,
        repr(every),
        options,
        seconds,
    )


def _chosen(metrics: str | Iterable[str]) -> list[Metric]:
    if metrics == "all":
        return list(METRICS.values())
    if not isinstance(metrics, Iterable):
        reject("evaluate", "metrics", "'all', a name or several", repr(metrics), kind=TypeError)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    known = {*METRICS, *(metric.family for metric in METRICS.values())}
    unknown = [name for name in names if name not in known]
    expected = f"'all' or some of {', '.join(METRICS)}"
    require(not unknown and len(names) > 0, "evaluate", "metrics", expected, unknown or "none")
    return [metric for metric in METRICS.values() if metric.name in names or metric.family in names]


def _points(codes: Scorable, n: int, representation: str, generator: torch.Generator) -> PointCodes:
    if isinstance(codes, PointCodes):
        return thinned(codes, n, generator=generator)
    if isinstance(codes, GaussianCodes) and representation == "means":
        return thinned(codes.means(), n, generator=generator)
    return codes.sample(n, generator=generator)


def _intervals(
    found: PartialInformation, n_resamples: int, generator: torch.Generator
) -> dict[str, tuple[float, float]]:
    drawn = bootstrap(found.informations, n_resamples=n_resamples, i_min=False, generator=generator).scores
    ends = {name.replace(" ", "_"): (float(one.lower), float(one.upper)) for name, one in drawn.items()}
    return {name: ends[name] for name in METRICS if name in ends}


def _without_constant_factors(points: PointCodes) -> tuple[PointCodes, tuple[str, ...]]:
    varies = (points.factors.amax(0) > points.factors.amin(0)).tolist()
    left_out = tuple(name for name, kept in zip(points.factor_names, varies, strict=True) if not kept)
    require(any(varies), "evaluate", "factors", "a factor of two values or more", f"one value of {', '.join(left_out)}")
    if not left_out:
        return points, ()
    kept = [index for index, one in enumerate(varies) if one]
    names = tuple(points.factor_names[index] for index in kept)
    sizes = tuple(points.factor_sizes[index] for index in kept)
    remaining = points.factors[:, kept]
    return PointCodes(points.points, remaining, sizes, names, points.groups, points.latent_names), left_out


def _reason(error: Any) -> str:
    return f"{error.argument}: expected {error.expected}, got {error.actual}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
