"""
Gravitational waves of extreme-mass-ratio inspirals in the analytic-kludge approximation, many at once.

An orbit emits as a Kepler ellipse would (Peters & Mathews 1963) that turns in its plane, while the plane precesses
around the spin of the large hole, and that shrinks (Barack & Cutler 2004, gr-qc/0310125). Only three angles change
fast: the mean anomaly Phi, the direction of the periapsis gamma and the precession angle alpha. The strain is a sum
over harmonics of Phi whose coefficients change over days. So the trajectory and the coefficients are computed on knots
512 samples apart, in float64, and per sample there remain three sines and cosines and one recurrence over the
harmonics, in float32 if wanted: phases are wrapped at the knots, so that their rounding errors stay below 1e-4 rad.
"""

import astropy.units as u
import numpy as np
import scipy.special
import torch

from astrolearn.core.compute import resolve_device
from astrolearn.emri.geometry import orbit_polarizations
from astrolearn.emri.inspiral import cubic_coefficients, peters_mathews_track
from astrolearn.emri.kerr_inspiral import kerr_track
from astrolearn.emri.parameters import Inspirals, read_interval

__all__ = ["analytic_kludge"]

_BLOCK = 512  # samples between knots
_CHUNK = 2**16  # samples computed at once: the intermediate arrays stay in the cache
_TAPER_PERIODS = 10  # the wave fades over the last ten radial periods before the plunge


def analytic_kludge(
    p, n_samples=262144, sample_interval=30 * u.s, augmented=False, device="auto", dtype=torch.float32
):
    """
    Waveforms of inspirals: the analytic kludge of Barack & Cutler (2004), or the augmented one.

    Parameters
    ----------
    p : `~astropy.table.QTable` of n inspirals, row or dict
        Columns ``mass_1``, ``mass_2`` (solar masses, detector frame), ``spin`` (J c / G M2, 0 to 1; retrograde orbits
        have an inclination above 90 deg), ``p0`` (semi-latus rectum in G ``mass_1`` / c2), ``e0``, ``inclination`` (of
        the orbit to the spin), ``gamma0`` (direction of the periapsis in the orbit, from L x S), ``phase0`` (mean
        anomaly), ``theta_S``, ``phi_S`` (direction to the source, ecliptic colatitude and longitude), ``theta_K``,
        ``phi_K`` (direction of the spin), ``alpha0`` (precession angle) and ``distance``. Numbers without a unit are in
        rad, solar masses and Gpc.
    n_samples : int, optional
        Length of the series. Default: 262144, three months at 30 s.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Time between samples; plain numbers are seconds.
    augmented : bool, optional
        Use the frequencies of geodesics around a Kerr black hole (Chua, Moore & Gair 2017, 1705.04259). Default: no.
    device : str or `torch.device`, optional
        Where the series are computed; ``"auto"`` (default) is CUDA when there is one.
    dtype : `torch.dtype`, optional
        `torch.float32` (default) or `torch.float64`. Trajectories and phases are float64 in either case.

    Returns
    -------
    h_plus, h_cross : `torch.Tensor`, shape (n, n_samples)
        Dimensionless strain at the solar-system barycentre, in the polarisation basis (e_theta, e_phi) of the
        direction to the source: h_plus multiplies e_theta e_theta - e_phi e_phi, h_cross e_theta e_phi + e_phi e_theta.
        The wave fades over the last ten radial periods before the plunge and is zero afterwards; harmonics above half
        the sampling frequency are left out.

    Raises
    ------
    ValueError
        If a parameter is missing or outside its range; the message names it.
    astropy.units.UnitConversionError
        If the unit of a parameter is wrong.

    Notes
    -----
    Orbits: equations 27-31 of Barack & Cutler (2004); their end: equation 33. Amplitudes: equations 7 and 10. Number of
    harmonics: 30 times the eccentricity, at least 4.
    """
    inspirals = Inspirals.from_table(p)
    interval = read_interval(sample_interval)
    if n_samples < 1:
        raise ValueError(f"n_samples={n_samples} must be positive")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype={dtype} is neither torch.float32 nor torch.float64")
    device = resolve_device(device)
    n_blocks = -(-n_samples // _BLOCK)
    time = np.arange(n_blocks + 1) * _BLOCK * interval
    trajectory = (kerr_track if augmented else peters_mathews_track)(inspirals, time)
    return _radiate(inspirals, trajectory, n_samples, interval, device, dtype)


def _radiate(inspirals, trajectory, n_samples, interval, device, dtype):
    """Series (n, n_samples) of both polarisations from trajectories on knots."""
    knots = _Knots(inspirals, trajectory, interval, device, dtype)
    n = len(inspirals)
    n_blocks = len(trajectory.time) - 1
    h = torch.empty((2, n, n_blocks, _BLOCK), dtype=dtype, device=device)
    at_once = max(_CHUNK // (n * _BLOCK), 1) if device.type == "cpu" else max(2**24 // (n * _BLOCK), 1)
    for first in range(0, n_blocks, at_once):
        blocks = slice(first, min(first + at_once, n_blocks))
        h[:, :, blocks] = knots.strain(blocks)
    h = h.view(2, n, -1)[..., :n_samples]
    for i in np.flatnonzero(np.isfinite(trajectory.plunge)):
        _fade(h[:, i], trajectory.plunge[i], _TAPER_PERIODS / trajectory.nu[i, -1], interval)
    return h[0], h[1]


def _fade(h, end, length, interval):
    """Let a series end at a time, in place: half a cosine of the given length, then zeros."""
    last = min(int(np.ceil(end / interval)), h.shape[-1])
    first = max(int((end - length) / interval), 0)
    h[..., last:] = 0
    if first < last:
        time = torch.arange(first, last, device=h.device, dtype=torch.float64) * interval
        taper = 0.5 - 0.5 * torch.cos(torch.pi * ((end - time) / length).clamp(0, 1))
        h[..., first:last] *= taper.to(h.dtype)


class _Knots:
    """What the strain between knots is computed from, as tensors on the device."""

    def __init__(self, inspirals, trajectory, interval, device, dtype):
        def tensor(values):
            return torch.tensor(values, dtype=dtype, device=device)

        step = np.diff(trajectory.time)
        phases, rates = trajectory.phases, trajectory.rates
        # cubic in s = 0 ... 1 from knot to knot; only its value at the first knot is large, and that is wrapped
        wrapped = np.mod(phases[..., :-1], 2 * np.pi)
        changes = cubic_coefficients(np.diff(phases), rates[..., :-1] * step, rates[..., 1:] * step)
        self.phase = tensor(np.stack([wrapped, *changes]))[..., None]
        amplitudes = peters_mathews_amplitudes(inspirals, trajectory, interval)  # (3, n_harmonics, n, n_knots)
        self.start = tensor(amplitudes[..., :-1])[..., None]
        self.slope = tensor(np.diff(amplitudes))[..., None]
        self.orientation = tensor(orbit_polarizations(inspirals))
        self.s = torch.arange(_BLOCK, dtype=dtype, device=device) / _BLOCK

    def strain(self, blocks):
        """Both polarisations (2, n, n_blocks, block) in a slice of blocks."""
        s = self.s
        c0, c1, c2, c3 = self.phase[:, :, :, blocks]
        phase, gamma, alpha = c0 + s * (c1 + s * (c2 + s * c3))
        a, b, c = self._moments(phase, blocks)
        # turn from the periapsis to X and Y
        cos, sin = torch.cos(2 * gamma), torch.sin(2 * gamma)
        moments = torch.stack([c, a * cos - b * sin, a * sin + b * cos], dim=1)  # (n, 3, n_blocks, block)
        cos, sin = torch.cos(alpha), torch.sin(alpha)
        waves = torch.stack([torch.ones_like(cos), cos, sin, 1 - 2 * sin * sin, 2 * sin * cos], dim=1)
        n = len(waves)
        tensors = torch.matmul(self.orientation.reshape(n, 6, 5), waves.view(n, 5, -1))
        tensors = tensors.view(n, 2, 3, *cos.shape[1:])
        return (tensors * moments[:, None]).sum(dim=2).transpose(0, 1)

    def _moments(self, phase, blocks):
        """Sums over harmonics of a_n cos(n Phi), b_n sin(n Phi) and c_n cos(n Phi)."""
        s = self.s
        cos, sin = torch.cos(phase), torch.sin(phase)
        start, slope = self.start[:, :, :, blocks], self.slope[:, :, :, blocks]
        twice = 2 * cos
        before, now = (torch.ones_like(cos), cos), (torch.zeros_like(sin), sin)
        sums = None
        (cos_before, cos_now), (sin_before, sin_now) = before, now
        for n in range(start.shape[1]):
            terms = (cos_now, sin_now, cos_now)
            if sums is None:
                sums = [[start[k, n] * terms[k], slope[k, n] * terms[k]] for k in range(3)]
            else:
                for k in range(3):
                    sums[k][0].addcmul_(start[k, n], terms[k])
                    sums[k][1].addcmul_(slope[k, n], terms[k])
            cos_now, cos_before = torch.addcmul(-cos_before, twice, cos_now), cos_now
            sin_now, sin_before = torch.addcmul(-sin_before, twice, sin_now), sin_now
        return [torch.addcmul(constant, s, change) for constant, change in sums]


def peters_mathews_amplitudes(inspirals, trajectory, interval):
    """
    Amplitudes of the harmonics of the quadrupole moment of a Kepler orbit.

    Parameters
    ----------
    inspirals : Inspirals
        Of n inspirals.
    trajectory : Trajectory
        Their orbits on knots.
    interval : float
        Between samples, in s: harmonics above half the sampling frequency are zero from the knot before on.

    Returns
    -------
    amplitudes : `numpy.ndarray`, shape (3, n_harmonics, n, n_knots)
        The a, b and c of Barack & Cutler (2004), equations 7 and 10: a and c multiply cos(n Phi), b multiplies
        sin(n Phi).
    """
    nu, e = trajectory.nu, np.maximum(trajectory.e, 1e-6)
    n_max = np.maximum((30 * inspirals.e0).astype(int), 4)
    n = np.arange(1, n_max.max() + 1)[:, None, None]
    x = n * e
    j_n, j_after = scipy.special.jv(n, x), scipy.special.jv(n + 1, x)
    # neighbours by the recurrence J_{m-1} + J_{m+1} = (2 m / x) J_m
    j_before = 2 * n / x * j_n - j_after
    j_before2 = 2 * (n - 1) / x * j_before - j_n
    j_after2 = 2 * (n + 1) / x * j_after - j_n
    speed2 = (2 * np.pi * trajectory.nu_speed * inspirals.mass_1[:, None]) ** (2 / 3)
    size = speed2 * (inspirals.mass_2 / inspirals.distance)[:, None]
    a = -n * size * (j_before2 - 2 * e * j_before + 2 / n * j_n + 2 * e * j_after - j_after2)
    b = -n * size * np.sqrt(1 - e * e) * (j_before2 - 2 * j_n + j_after2)
    c = 2 * size * j_n
    # frequency of the highest line of each harmonic: the periapsis and the plane turn with the orbit
    turning = np.abs(trajectory.rates[1]) / np.pi + np.abs(trajectory.rates[2]) / np.pi
    too_high = n * nu + turning >= 0.5 / interval
    too_high[..., :-1] |= too_high[..., 1:]
    too_high |= n > n_max[:, None]
    amplitudes = np.stack([a, b, c])
    amplitudes[:, too_high] = 0
    return amplitudes
