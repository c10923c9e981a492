"""Gaussian processes on BoTorch's primitives, as its documentation has them.

SingleTaskGP with its default priors, inputs in the unit cube, outcomes standardized and independent (one batch), the
measured variance as known noise.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray
from scipy.stats import qmc

Floats = NDArray[np.float64]
torch.set_num_threads(1)
LEAST_NOISE = 1e-3  # in standard deviations of the sample: what is measured without noise


def tensor(values: Floats) -> torch.Tensor:
    """In double precision."""
    return torch.as_tensor(np.asarray(values, dtype=np.float64), dtype=torch.float64)


def sobol(dimensions: int, count: int, seed: int) -> Floats:
    """Scrambled Sobol points. Shape: (count, dimensions)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # balance would need a power of two
        return np.asarray(qmc.Sobol(dimensions, seed=seed).random(count))


def fitted(u: Floats, y: Floats, se: Floats) -> SingleTaskGP:
    """Independent models of the columns of y (n, k) with standard errors (n, k) at u (n, d), as one batch; with their
    start values where the fit fails."""
    noise = np.maximum(se, LEAST_NOISE * np.maximum(np.std(y, axis=0), 1e-9)) ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of data that are not standardized yet, and of fits that end early
        model = SingleTaskGP(tensor(u), tensor(y), tensor(noise), outcome_transform=Standardize(y.shape[1]))
        try:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        except Exception:  # whatever BoTorch raises when no attempt succeeds
            model.eval()
    return model


def predict(model: SingleTaskGP, u: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the latent functions at u (N, d). Shapes: (N, k), (N, k)."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = model.posterior(tensor(u))
        return posterior.mean.numpy(), posterior.variance.clamp_min(1e-18).sqrt().numpy()


__all__ = ["Floats", "fitted", "predict", "sobol", "tensor"]
