"""The estimators of the package in one table: what each is, asks and costs."""

from toolkit import estimators
from toolkit.lessons import table
from toolkit.lessons.tables import Table

_KINDS = {"bernoulli": "coins", "categorical": "K values"}


def estimators_at_a_glance() -> Table:
    """Return a table of the registry: name, whether it is unbiased, for what variables, what it needs and costs."""
    rows = [
        [
            entry.title,
            _objective(entry),
            "both" if len(entry.kind.variables) == len(_KINDS) else _KINDS[min(entry.kind.variables)],
            "yes" if entry.needs_gradient else "no",
            entry.evaluations,
        ]
        for entry in estimators.entries()
    ]
    headers = ["estimator", "unbiased", "variables", "∇f needed", "evaluations"]
    return table(headers, rows, caption="Variables: coins, or K values each; N in all, in L layers")


def _objective(entry: estimators.Entry) -> str:
    if not entry.unbiased:
        return "no"
    return "yes" if entry.kind.objective == "expected cost" else f"for the {entry.kind.objective}"
