"""Inspirals that several tests use, and where the tests run."""

import astropy.units as u
import pytest
import torch
from astropy.table import QTable


@pytest.fixture(autouse=True, scope="module")
def on_cpu(request):
    """Tests compare numpy arrays; modules for a GPU are marked."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.node.get_closest_marker("cuda") is None:
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture
def inspiral():
    """Two inspirals into a hole of 1e6 solar masses."""
    return QTable({
        "mass_1": [1e6, 5e5] * u.Msun, "mass_2": [10, 20] * u.Msun, "spin": [0.6, 0.3], "p0": [12.0, 14.0],
        "e0": [0.3, 0.1], "inclination": [0.5, 1.2] * u.rad, "gamma0": [0.7, 0.1] * u.rad,
        "phase0": [0.2, 3.0] * u.rad, "theta_S": [1.0, 2.0] * u.rad, "phi_S": [2.0, 4.0] * u.rad,
        "theta_K": [0.8, 1.4] * u.rad, "phi_K": [0.5, 5.0] * u.rad, "alpha0": [0.3, 0.9] * u.rad,
        "distance": [1, 2] * u.Gpc,
    })
