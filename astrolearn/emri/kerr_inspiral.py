"""
The orbits of the augmented analytic kludge: Kerr geodesics that lose energy, angular momentum and Carter constant.

The augmented kludge (Chua, Moore & Gair 2017, 1705.04259) is the analytic kludge with the three frequencies of Kerr
geodesics. The geodesic changes by the post-Newtonian fluxes of Gair & Glampedakis (2006), gr-qc/0510129, of second
order in 1/p, with their correction that keeps circular orbits circular. The order of these fluxes is what limits the
phase: see the comparison with waveforms of higher order in the documentation.
"""

import numpy as np
from scipy.interpolate import CubicSpline

from astrolearn.emri.inspiral import Trajectory, evolve
from astrolearn.emri.kerr import (
    constants_of_motion,
    cos_inclination,
    fundamental_frequencies,
    radial_roots,
    x_from_cos_inclination,
)

__all__ = ["kerr_start", "kerr_track"]

_MARGIN = 0.05  # the orbit ends when the turning points r2 and r3, which meet at the separatrix, are this close
_SLOWEST = 0.25  # of the Newtonian dp/dt: fluxes that shrink an orbit more slowly than that have failed
_FINENESS = 4  # of the steps of orbits that plunge: their phases are right to 1e-3 rad (see the tests)
_N_CLOSER, _CLOSEST = 400, 1e-7  # knots that draw nearer to a plunge, and how near, in units of the time to it
_CIRCULAR = 1e-4  # eccentricity of what is called circular: the constants of motion are 0 / 0 at zero


def fluxes(a, p, e, x):
    """
    Change of energy, angular momentum and Carter constant per unit time, for a mass ratio of one and in units of M.

    Gair & Glampedakis (2006): equations 44 to 46 with the coefficients 39, and the correction of equation 20.
    """
    _, momentum, carter = constants_of_motion(a, p, e, x)
    cosine = cos_inclination(momentum, carter)
    sine2 = 1 - cosine**2

    def series(e):
        e2 = e * e
        v2, v3, v4 = 1 / p, p**-1.5, 1 / (p * p)
        g = {
            1: 1 + e2 * (73 / 24 + e2 * 37 / 96),
            2: 73 / 12 + e2 * (823 / 24 + e2 * (949 / 32 + e2 * 491 / 192)),
            3: 1247 / 336 + e2 * 9181 / 672,
            4: 4 + e2 * 1375 / 48,
            5: 44711 / 9072 + e2 * 172157 / 2592,
            6: 33 / 16 + e2 * 359 / 32,
            9: 1 + e2 * 7 / 8,
            "10a": 61 / 24 + e2 * (63 / 8 + e2 * 95 / 64),
            "10b": 61 / 8 + e2 * (91 / 4 + e2 * 461 / 64),
            11: 1247 / 336 + e2 * 425 / 336,
            12: 4 + e2 * 97 / 8,
            13: 44711 / 9072 + e2 * 302893 / 6048,
            14: 33 / 16 + e2 * 95 / 16,
        }
        size = -32 / 5 * p**-3.5 * (1 - e2) ** 1.5
        d_energy = size * p**-1.5 * (
            g[1] - a * v3 * g[2] * cosine - v2 * g[3] + np.pi * v3 * g[4] - v4 * g[5]
            + a * a * v4 * (g[6] - 527 / 96 * sine2)
        )
        d_momentum = size * (
            g[9] * cosine + a * v3 * (g["10a"] - cosine**2 * g["10b"]) - v2 * g[11] * cosine
            + np.pi * v3 * g[12] * cosine - v4 * g[13] * cosine + a * a * v4 * cosine * (g[14] - 45 / 8 * sine2)
        )
        d_carter = 2 * size * np.sqrt(carter * sine2) * (
            g[9] - a * v3 * cosine * g["10b"] - v2 * g[11] + np.pi * v3 * g[12] - v4 * g[13]
            + a * a * v4 * (g[14] - 45 / 8 * sine2)
        )
        return d_energy, d_momentum, d_carter

    d_energy, d_momentum, d_carter = series(e)
    circular = series(0 * e)
    # a circular orbit stays circular if its radial potential stays zero where it touches zero
    energy0, momentum0, _ = constants_of_motion(a, p, np.full_like(e, _CIRCULAR), x)
    sum_ = energy0 * (p * p + a * a) - a * momentum0
    difference = momentum0 - a * energy0
    delta = p * p - 2 * p + a * a
    by_energy = sum_ * (p * p + a * a) + delta * a * difference
    by_momentum = -a * sum_ - delta * difference
    kept = (delta / 2 * circular[2] - by_momentum * circular[1]) / by_energy
    return d_energy + (1 - e * e) ** 1.5 * (kept - circular[0]), d_momentum, d_carter


def geodesic_rates(a):
    """From states (p, e, x), shape (3, n), to their change per unit time for a mass ratio of one, in units of M."""

    def rates(state):
        p, e, x = state
        jacobian = np.empty((len(p), 3, 3))
        for column in range(3):
            # the derivative of an analytic function from one complex step is exact to rounding
            shifted = state.astype(complex)
            shifted[column] += 1e-30j
            for row, value in enumerate(constants_of_motion(a, *shifted)):
                jacobian[:, row, column] = value.imag / 1e-30
        change = np.stack(fluxes(a, p, e, x), axis=-1)
        solvable = np.abs(np.linalg.det(jacobian)) > 0  # elsewhere there is no orbit
        out = np.full(change.shape, np.nan)
        out[solvable] = np.linalg.solve(jacobian[solvable], change[solvable, :, None])[..., 0]
        return out.T

    return rates


def separation(a, state):
    """How far an orbit is from the separatrix: the distance of its radial turning point to the next root, relative."""
    p, e, x = state
    energy, _, carter = constants_of_motion(a, p, e, x)
    r3, _ = radial_roots(a, p, e, energy, carter)
    return 1 - r3 * (1 + e) / p


def _pace(a, fineness=1):
    """Time scale of an orbit that speeds up toward the separatrix, and a fraction of it for finer steps."""
    return lambda state, rate: state[0] * np.minimum(1, 3 * separation(a, state)) / np.abs(rate[0]) / fineness


def _to_go(a, scale):
    """How far an orbit is from its end: the separatrix, or where fluxes of this order no longer make it shrink."""

    def to_go(state, rate):
        p, e, _ = state
        newtonian = scale * 64 / 5 * p**-3 * (1 - e * e) ** 1.5 * (1 + 7 / 8 * e * e)  # Peters (1964)
        return np.minimum(separation(a, state) / _MARGIN - 1, -rate[0] / newtonian / _SLOWEST - 1)

    return to_go


def _last_orbit(a, e, x):
    """Semi-latus rectum at which the orbits end."""
    grid = np.linspace(14, 1, 261)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):  # orbits that are not bound have no constants of motion
        ended = ~(separation(a, np.broadcast_arrays(grid, e, x)) > _MARGIN)
    # below the first grid point without an orbit the formulas have other solutions, which mean nothing
    first = np.argmax(ended, axis=0)
    low, high = grid[first, 0], grid[first - 1, 0]
    for _ in range(40):
        p = (low + high) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            bound = separation(a, (p, e, x)) > _MARGIN
        low, high = np.where(bound, low, p), np.where(bound, p, high)
    rates, to_go = geodesic_rates(a), _to_go(a, 1.0)
    for _ in range(200):
        state = np.stack([high, e, x])
        ended = to_go(state, rates(state)) <= 0
        if not ended.any():
            break
        high = np.where(ended, high + 0.02, high)
    return high


def kerr_track(inspirals, time):
    """
    The augmented kludge's orbits.

    Parameters
    ----------
    inspirals : Inspirals
        Initial parameters: ``p0`` and ``e0`` in Boyer-Lindquist coordinates, ``inclination`` = arccos(L / sqrt(L2 +
        Q)).
    time : `numpy.ndarray`, shape (n_knots,)
        Knots in s, beginning with 0.

    Returns
    -------
    trajectory : Trajectory
        With nu the radial frequency and the rates omega_r, omega_theta - omega_r, omega_phi - omega_theta. It ends
        just before the separatrix.
    """
    a, e0 = inspirals.spin, np.maximum(inspirals.e0, _CIRCULAR)
    cosine = np.cos(inspirals.inclination)
    with np.errstate(invalid="ignore", divide="ignore"):  # of orbits that are not bound, refused below
        x0 = x_from_cos_inclination(a, inspirals.p0, e0, cosine)
    end = _last_orbit(a, e0, x0)
    if (inspirals.p0 <= end).any():
        row = int(np.argmax(inspirals.p0 <= end))
        raise ValueError(f"the orbit in row {row} has no time left: p0 = {inspirals.p0[row]:g} is inside its last "
                         f"stable orbit, {end[row]:.3f}")
    start = np.stack([inspirals.p0, e0, x0])
    orbit, omegas, plunge = _evolve_geodesics(inspirals, start, time)
    plunging = np.flatnonzero(np.isfinite(plunge))
    if len(plunging):  # near the separatrix, where orbits change fast, steps must be finer
        orbit[:, plunging], omegas[:, plunging], plunge[plunging] = _evolve_geodesics(
            inspirals[plunging], start[:, plunging], time, _FINENESS
        )
    rates = _phase_rates(orbit, omegas)
    gained = CubicSpline(time, rates, axis=-1).antiderivative()(time)
    for row in np.flatnonzero(np.isfinite(plunge)):
        gained[:, row] = _gained_until_plunge(inspirals[[row]], start[:, [row]], time, plunge[row])
    phases = np.stack([inspirals.phase0, inspirals.gamma0, inspirals.alpha0])[..., None] + gained
    omega_r, _, omega_phi = omegas
    return Trajectory(time, omega_r / (2 * np.pi), np.abs(omega_phi) / (2 * np.pi), orbit[1], phases, rates, plunge)


def _evolve_geodesics(inspirals, start, time, fineness=1):
    """Orbits (p, e, x) and their angular frequencies in rad/s, both (3, n, n_knots), and their ends (n,)."""
    a, scale = inspirals.spin, inspirals.mass_2 / inspirals.mass_1**2
    rates = geodesic_rates(a)
    orbit, _, plunge = evolve(lambda state: scale * rates(state), start, time, _to_go(a, scale), _pace(a, fineness))
    return orbit, np.array(fundamental_frequencies(a[:, None], *orbit)) / inspirals.mass_1[:, None], plunge


def _phase_rates(orbit, omegas):
    """Rates of the phases Phi, gamma and alpha."""
    omega_r, omega_theta, omega_phi = omegas
    # the azimuth of a retrograde orbit runs against its anomaly: dragging turns every orbital plane forward
    return np.stack([omega_r, omega_theta - omega_r, omega_phi - np.sign(orbit[2]) * omega_theta])


def _gained_until_plunge(inspiral, start, time, plunge):
    """
    What the phases of one orbit gain to each knot, (3, n_knots).

    Its frequencies change ever faster toward the plunge, within less than the distance of the knots, and stop there. So
    they are integrated on knots of their own, which draw nearer to each other; after the plunge the phases run on.
    """
    before = time[time < plunge]
    closer = plunge - plunge * np.geomspace(1, _CLOSEST, _N_CLOSER)
    own = np.unique(np.concatenate([before, closer, [plunge]]))
    orbit, omegas, _ = _evolve_geodesics(inspiral, start, own, _FINENESS)
    rates = _phase_rates(orbit, omegas)[:, 0]
    gained = CubicSpline(own, rates, axis=-1).antiderivative()(np.minimum(time, plunge))
    return gained + rates[:, -1:] * np.maximum(time - plunge, 0)


def kerr_start(inspirals, e_plunge, time_to_plunge):
    """
    The orbit at some time before it reaches the separatrix.

    Parameters
    ----------
    inspirals : Inspirals
        Masses, spins and inclinations (arc cosine of x at the end) of n inspirals.
    e_plunge : `numpy.ndarray`, shape (n,)
        Eccentricity at the end.
    time_to_plunge : `numpy.ndarray`, shape (n,)
        How long before, in s.

    Returns
    -------
    p0, e0, inclination : `numpy.ndarray`, shape (n,)
        Semi-latus rectum in units of ``mass_1``, eccentricity, and inclination in rad. NaN where there is no such
        orbit: the eccentricity would exceed 0.9, or the fluxes fail.
    """
    a, x = inspirals.spin, np.cos(inspirals.inclination)
    e_plunge = np.maximum(e_plunge, _CIRCULAR)
    start = np.stack([_last_orbit(a, e_plunge, x), e_plunge, x])
    rates = geodesic_rates(a)
    scale = inspirals.mass_2 / inspirals.mass_1**2 * time_to_plunge
    shrinks = _to_go(a, -scale)
    with np.errstate(invalid="ignore", divide="ignore"):  # where there is no such orbit
        states, _, ended = evolve(
            lambda state: -scale * rates(state), start, np.array([0.0, 1.0]),
            lambda state, rate: np.minimum(0.9 - state[1], shrinks(state, rate) + 1), _pace(a),
        )
        p, e, x = np.where(np.isfinite(ended), np.nan, states[:, :, -1])
        _, momentum, carter = constants_of_motion(a, p, e, x)
    return p, e, np.arccos(cos_inclination(momentum, carter))
