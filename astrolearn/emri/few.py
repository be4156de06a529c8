"""The augmented analytic kludge of the package fastemriwaveforms (extra ``few``), in our parameters and our basis."""

import warnings
from functools import lru_cache

import numpy as np
import torch

from astrolearn.emri.geometry import polarization_basis, unit_vector
from astrolearn.emri.parameters import GPC, MSUN

__all__ = ["few_waveform"]

_SMALLEST_ANGLE = 1e-4  # between the spin and the line of sight; at 1e-6 the other polarisation is wrong already


def few_waveform(inspirals, n_samples, sample_interval):
    """
    Waveforms with orbits of fifth post-Newtonian order (Pn5AAKWaveform).

    Parameters
    ----------
    inspirals : Inspirals
        Of n inspirals.
    n_samples : int
        Length of the series.
    sample_interval : float
        In s.

    Returns
    -------
    h_plus, h_cross : `torch.Tensor`, float32 (n, n_samples)
        In the basis (e_theta, e_phi), as those of `analytic_kludge`; zero after the end of the orbit.

    Raises
    ------
    ImportError
        If fastemriwaveforms is not installed.
    """
    generate, year = _generator()
    h = torch.zeros(2, len(inspirals), n_samples)
    for row, one in enumerate(map(inspirals.__getitem__, range(len(inspirals)))):
        theta_K = _beside(one)
        wave = generate(
            one.mass_1 / MSUN, one.mass_2 / MSUN, one.spin, one.p0, one.e0, np.cos(one.inclination), one.distance / GPC,
            one.theta_S, one.phi_S, theta_K, one.phi_K,
            Phi_phi0=one.phase0 + one.gamma0 + one.alpha0, Phi_theta0=one.phase0 + one.gamma0, Phi_r0=one.phase0,
            mich=False, dt=sample_interval, T=(n_samples + 1) * sample_interval / year,
        )[:n_samples]
        # its basis is p = n x S / |n x S| and q = n x p, and its cross polarisation has the other sign
        p = np.cross(unit_vector(one.theta_S, one.phi_S), unit_vector(theta_K, one.phi_K))
        e_theta, e_phi = polarization_basis(one.theta_S, one.phi_S)
        angle = 2 * np.arctan2(p @ e_phi, p @ e_theta)
        wave = wave * np.exp(1j * angle)
        h[0, row, : len(wave)] = torch.from_numpy(np.ascontiguousarray(wave.real))
        h[1, row, : len(wave)] = torch.from_numpy(np.ascontiguousarray(wave.imag))
    return h[0], h[1]


def _beside(one):
    """Polar angle of the spin: it is moved off the line of sight, along which the other basis is not defined."""
    across = np.cross(unit_vector(one.theta_S, one.phi_S), unit_vector(one.theta_K, one.phi_K))
    if np.linalg.norm(across) > _SMALLEST_ANGLE:
        return one.theta_K
    return one.theta_K + (_SMALLEST_ANGLE if one.theta_K < np.pi / 2 else -_SMALLEST_ANGLE)


@lru_cache(maxsize=1)
def _generator():
    """The other package's generator, and the year in s in which it counts durations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies, about their versions
        try:
            from few.utils.constants import YRSID_SI
            from few.waveform import Pn5AAKWaveform
        except ImportError as error:
            raise ImportError("waveform='few-aak' needs fastemriwaveforms: pip install astrolearn[few]") from error
        return Pn5AAKWaveform(force_backend="cpu"), YRSID_SI
