"""How do you differentiate through a discrete sample, and how noisy is it?

Tokui and Sato (arXiv 1611.01239) sum over one variable at a time and hold the noise of all the others (RAM). That is
the likelihood ratio with the best baseline there can be, and so a measure for every other estimator (ICML 2017).

========================  =========================================================================
``problems``, ``chains``  expected costs: :class:`Factorized`, :class:`Layered`; evaluations are counted there
``estimator``             the one call of all estimators, their samples, :func:`surrogate`
``likelihood_ratio``      with ``baselines``, ``multi_sample`` (leave-one-out, VIMCO) and ``muprop``
``marginalized``          RAM, local expectation gradients, one coordinate
``antithetic``            ARM, DisARM, ARSM
``relaxed``               straight-through and Gumbel-softmax relatives, ReinMax
``control_variates``      REBAR, RELAX; ``tuning``: their settings by descent on the variance
``without_replacement``   sum and sample, unordered sets
``exact``                 the truth by enumeration; ``exact_variance``: and how much an estimator scatters about it
``report``, ``registry``  mean, variance, bias and price of an estimator; all of them by name
``models``                sigmoid belief networks; ``sigmoid_belief``: their bound; ``bounds``: tighter ones
========================  =========================================================================
"""

from toolkit.estimators.antithetic import ARM, ARSM, DisARM
from toolkit.estimators.baselines import Baseline, Constant, MovingAverage
from toolkit.estimators.bounds import (
    BoundEstimate,
    evidence_lower_bound,
    exact_log_likelihood,
    importance_weighted_bound,
)
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.control_network import ControlVariate
from toolkit.estimators.control_variates import REBAR, RELAX
from toolkit.estimators.enumerated import LADDER
from toolkit.estimators.estimator import Estimator, GradientSamples, Parts, surrogate
from toolkit.estimators.exact import Enumeration, Exact, exact
from toolkit.estimators.exact_covariance import exact_covariance, exact_layer_covariance
from toolkit.estimators.exact_variance import ExactVariance, Ladder, baseline_ladder, exact_variance
from toolkit.estimators.input_dependent import InputDependent
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer
from toolkit.estimators.likelihood_ratio import LikelihoodRatio, OptimalConstant, SelfCritical
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.models import Generated, SigmoidBeliefNetwork
from toolkit.estimators.multi_sample import VIMCO, LeaveOneOut, exact_bound
from toolkit.estimators.muprop import MuProp
from toolkit.estimators.problems import Problem
from toolkit.estimators.registry import Entry, UnknownEstimator, entries, find_entry, suitable
from toolkit.estimators.relaxed import GumbelRao, GumbelSoftmax, ReinMax, StraightThrough, StraightThroughGumbel
from toolkit.estimators.report import Report, report
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound
from toolkit.estimators.tuning import tune
from toolkit.estimators.without_replacement import SumAndSample, UnorderedSet

__all__ = [
    "ARM",
    "ARSM",
    "LADDER",
    "RAM",
    "REBAR",
    "RELAX",
    "VIMCO",
    "Baseline",
    "BernoulliLayer",
    "BoundEstimate",
    "CategoricalLayer",
    "Constant",
    "ControlVariate",
    "DisARM",
    "Entry",
    "Enumeration",
    "Estimator",
    "Exact",
    "ExactVariance",
    "Factorized",
    "FlipOneCoordinate",
    "Generated",
    "GradientSamples",
    "GumbelRao",
    "GumbelSoftmax",
    "InputDependent",
    "Ladder",
    "Layered",
    "LeaveOneOut",
    "LikelihoodRatio",
    "LocalExpectation",
    "MovingAverage",
    "MuProp",
    "OptimalConstant",
    "Parts",
    "Problem",
    "ReinMax",
    "Report",
    "SelfCritical",
    "SigmoidBeliefBound",
    "SigmoidBeliefNetwork",
    "StraightThrough",
    "StraightThroughGumbel",
    "SumAndSample",
    "UnknownEstimator",
    "UnorderedSet",
    "baseline_ladder",
    "entries",
    "evidence_lower_bound",
    "exact",
    "exact_bound",
    "exact_covariance",
    "exact_layer_covariance",
    "exact_log_likelihood",
    "exact_variance",
    "find_entry",
    "importance_weighted_bound",
    "report",
    "suitable",
    "surrogate",
    "tune",
]
