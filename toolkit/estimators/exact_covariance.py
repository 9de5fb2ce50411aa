"""Exact covariances of estimators: of each variable's own parameters, and between the variables of a layer."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.estimators.enumerated import estimator_of, moments_of, title_of
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.moments import Moments
from toolkit.estimators.problems import Problem


@torch.no_grad()
def exact_covariance(problem: Problem, estimator: Estimator | str) -> tuple[Tensor, ...]:
    """Compute, for each variable, the covariance of the gradient with respect to its own parameters.

    A variable's parameters are a bias and a weight for each value of the layer before (the columns that feed it if the
    layer is linear); in the first layer the bias alone. This is what the guarantee of RAM is about: for every variable
    the covariance of a likelihood ratio less that of RAM is positive semi-definite, whatever its baseline, as long as
    that does not depend on the variable's own noise.

    Args:
        problem, estimator: as for :func:`exact_variance`.

    Returns:
        For each layer ``[*batch, n, P, P]``, ``P = (1 + values before) · components``: weights first, then the bias,
        each with the variable's 1 or K components together. Values before: n of Bernoulli variables, n · K of
        categorical ones.

    Raises:
        ValueError, TypeError: as :func:`exact_variance`.
    """
    estimator = estimator_of(problem, estimator, "exact_covariance")
    found = []
    for number, moments in enumerate(moments_of(problem, estimator, "exact_covariance")):
        features = torch.ones(1, 1, dtype=problem.dtype, device=problem.device)
        if number:
            values = problem.layers[number - 1].all_values(problem.dtype, problem.device).flatten(1)
            features = torch.cat((values, features.expand(len(values), 1)), 1)
        second = _second_moments(moments, len(features))
        mean = torch.einsum("re,renc,rp->enpc", moments.weights, moments.means, features[moments.given]).flatten(2)
        raw = torch.einsum("gp,gq,gencd->enpcqd", features, features, second).flatten(4).flatten(2, 3)
        covariance = raw - mean[..., :, None] * mean[..., None, :]
        found.append(covariance.reshape(*problem.batch_shape, *covariance.shape[1:]))
    return tuple(found)


@torch.no_grad()
def exact_layer_covariance(problem: Problem, estimator: Estimator | str, layer: int) -> Float[Tensor, "*batch p p"]:
    """Compute the covariance between all the components of a layer's gradient.

    A parameter that several variables share has the sum of their gradients, and its variance is a quadratic form in
    this matrix. RAM's guarantee says nothing about it: with two variables that share a logit and XOR as their cost, the
    likelihood ratio without baseline has variance 0 where RAM has 1/8.

    Args:
        problem, estimator: as for :func:`exact_variance`.
        layer: the layer's index, from 0.

    Returns:
        ``[*batch, n · c, n · c]``, c = 1 (Bernoulli) or K.

    Raises:
        ValueError: as :func:`exact_variance`; also where configurations leave something random that variables share:
            RAM with layers after this one, one random coordinate, leave-one-out.
        TypeError: as :func:`exact_variance`.
    """
    operation = "exact_layer_covariance"
    if isinstance(layer, bool) or not isinstance(layer, int):
        reject(operation, "layer", "an integer", repr(layer), kind=TypeError)
    require(0 <= layer < problem.depth, operation, "layer", f"0 to {problem.depth - 1}", layer)
    estimator = estimator_of(problem, estimator, operation)
    moments = moments_of(problem, estimator, operation)[layer]
    expected = "an estimator that the layer's configurations determine, since what else it shares is not known here"
    require(moments.within is None, operation, "estimator", expected, title_of(estimator))
    centred = (moments.means - moments.mean).flatten(2)
    covariance = torch.einsum("re,rep,req->epq", moments.weights, centred, centred)
    return covariance.reshape(*problem.batch_shape, *covariance.shape[1:])


def _second_moments(moments: Moments, given: int) -> Tensor:
    """Return the expected outer products of each variable's gradient, with each configuration of the layer before."""
    products = moments.means[..., :, None] * moments.means[..., None, :]
    if moments.within is not None:
        products = products + moments.within
    weighed = moments.weights[..., None, None, None] * products
    total = torch.zeros(given, *weighed.shape[1:], dtype=weighed.dtype, device=weighed.device)
    return total.index_add(0, moments.given, weighed)
