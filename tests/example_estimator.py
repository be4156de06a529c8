"""A small estimator on series with a unit: the smallest complete use of `NetworkEstimator`, for the tests of core."""

from functools import partial

import astropy.units as u
import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.tables import SampleTable


class SlopeRegressor(RegressorMixin, NetworkEstimator):
    """Slope of short light curves: X is (n, 2, n_samples) in Jy, y is (n,) in Jy/s."""

    _parameter_constraints = NetworkEstimator._parameter_constraints | {
        "n_channels": [int],
        "scale": [str, u.Quantity, float],
    }
    _fitted_names = ("n_samples_", "offset_")

    def __init__(self, *, n_channels=4, scale="1 Jy", device="auto", batch_size=8, max_epochs=2, lr=0.01,
                 random_state=None, verbose=0, n_jobs=None):  # fmt: skip
        super().__init__(
            device=device, batch_size=batch_size, max_epochs=max_epochs, lr=lr, random_state=random_state,
            verbose=verbose, n_jobs=n_jobs,
        )  # fmt: skip
        self.n_channels = n_channels
        self.scale = scale

    def _network(self):
        return partial(SlopeNetwork, n_samples=self.n_samples_, n_channels=self.n_channels)

    def _net_options(self):
        return {"criterion": torch.nn.MSELoss}

    def _prepare(self, X, n_samples="n_samples"):
        scale = as_quantity(self.scale, u.Jy, "scale")
        return to_float(X, u.Jy, "X", shape=("n", 2, n_samples)) / np.float32(scale.value)

    def fit(self, X, y):
        self._validate_params()
        inputs = self._prepare(X)
        targets = to_float(y, u.Jy / u.s, "y", shape=(len(inputs),))
        self.n_samples_ = inputs.shape[2]
        self.offset_ = targets.mean() * u.Jy / u.s
        self._fit_net(inputs, targets[:, None] - targets.mean())
        return self

    def predict(self, X):
        self._require_fitted()
        return self._forward(self._prepare(X, self.n_samples_))[:, 0] * u.Jy / u.s + self.offset_

    def summarise(self, X):
        slope = self.predict(X)
        return SampleTable({"slope": slope})

    def score(self, X, y):
        return r2_score(to_float(y, u.Jy / u.s, "y"), self.predict(X).to_value(u.Jy / u.s))


class SlopeNetwork(torch.nn.Module):
    def __init__(self, n_samples, n_channels):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv1d(2, n_channels, 3, padding=1), torch.nn.BatchNorm1d(n_channels), torch.nn.ReLU(),
            torch.nn.Dropout(0.1), torch.nn.Flatten(), torch.nn.Linear(n_channels * n_samples, 1),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def make_light_curves(n=32, n_samples=16, seed=0):
    """Noisy straight light curves in two bands and their slopes."""
    rng = np.random.default_rng(seed)
    slope = rng.normal(size=n)
    time = np.linspace(0, 1, n_samples)
    curves = slope[:, None, None] * time + rng.normal(scale=0.1, size=(n, 2, n_samples))
    return curves * u.Jy, slope * u.Jy / u.s
