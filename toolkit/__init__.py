"""Interactive teaching and analysis for six papers co-authored by Seiya Tokui.

Each paper has a package of its own, loaded on first use:

===========================  ======================================================================================
``toolkit.autograd``         Chainer: define-by-run differentiation over NumPy, torch and CuPy
``toolkit.estimators``       gradients through discrete variables, with the truth beside each estimate
``toolkit.imsat``            IMSAT: clusters and hash codes without labels, as scikit-learn estimators
``toolkit.adversarial``      attacks on classifiers, defences, and the competition in which they meet
``toolkit.disentanglement``  what latents know about factors alone, twice and only together; metrics, attacks, VAEs
``toolkit.grammars``         sentences of known probability, exact inference, and language models shown metadata
``toolkit.datasets``         the real data and the renderers behind the lessons
``toolkit.experiments``      studies: configuration, run, record, "the paper beside ours"
``toolkit.lessons``          what a notebook needs: views, figures, number and exercise checks
``toolkit.explorers``        one interactive view a topic
===========================  ======================================================================================
"""

import importlib

__version__ = "0.1.0"

_SUBMODULES = frozenset(
    {
        "adversarial",
        "autograd",
        "core",
        "datasets",
        "disentanglement",
        "estimators",
        "experiments",
        "explorers",
        "grammars",
        "imsat",
        "lessons",
    }
)

__all__ = ["__version__", *sorted(_SUBMODULES)]


def __getattr__(name: str):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | _SUBMODULES)
