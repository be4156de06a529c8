"""
How an orbit shrinks and precesses: from initial parameters to frequencies and phases on a regular grid of knots.

A waveform of three months has 262144 samples, but the orbit itself changes over days. So the ordinary differential
equations are solved for all inspirals at once in large steps of their own (each a fraction of the time over which its
frequency grows), and the result is interpolated to knots a few hundred samples apart. Everything here is float64: the
phases reach 1e5 rad and are right to 1e-3 at the knots.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Trajectory", "cubic_coefficients", "evolve", "peters_mathews_start", "peters_mathews_track"]

_MIN_STEPS = 128  # per evolution
_STEP = 0.05  # of the time in which the orbit changes: the phase error stays below 1e-3 rad (see the tests)


@dataclass
class Trajectory:
    """
    Frequencies and phases of n inspirals on regular knots.

    Attributes
    ----------
    time : `numpy.ndarray`, shape (n_knots,)
        In seconds.
    nu : `numpy.ndarray`, shape (n, n_knots)
        Radial frequency, Hz.
    nu_speed : `numpy.ndarray`, shape (n, n_knots)
        Frequency that stands for the orbital speed in the amplitude, Hz: the radial one of a Kepler ellipse, the
        azimuthal one of a geodesic.
    e : `numpy.ndarray`, shape (n, n_knots)
        Eccentricity.
    phases, rates : `numpy.ndarray`, shape (3, n, n_knots)
        The phases Phi (mean anomaly), gamma (periapsis) and alpha (precession of the orbital plane) in rad, and their
        derivatives in rad/s.
    plunge : `numpy.ndarray`, shape (n,)
        Time of the plunge in s; infinite if it comes after the last knot.
    """

    time: np.ndarray
    nu: np.ndarray
    nu_speed: np.ndarray
    e: np.ndarray
    phases: np.ndarray
    rates: np.ndarray
    plunge: np.ndarray


def peters_mathews_rates(inspirals):
    """
    The right-hand side of the analytic kludge's equations.

    Parameters
    ----------
    inspirals : Inspirals
        Masses, spins and inclinations of n inspirals.

    Returns
    -------
    rates : callable
        From the states (nu, e, ...), shape (k, n), to the derivatives of nu, e, Phi, gamma and alpha, (5, n).
    """
    mass, ratio, cos_inclination = inspirals.mass_1, inspirals.mass_2, np.cos(inspirals.inclination)
    spin = inspirals.spin
    two_pi_mass = 2 * np.pi * mass
    nu_rate = 96 / (10 * np.pi) * ratio / mass**3
    e_rate = ratio / mass**2
    spin_cos = spin * cos_inclination

    def rates(state):
        nu, e = state[0], np.maximum(state[1], 0.0)
        e2 = e * e
        y = 1 / (1 - e2)
        sqrt_y = np.sqrt(y)
        z = np.cbrt(two_pi_mass * nu)
        z2 = z * z
        z3 = two_pi_mass * nu
        z8 = z3 * z3 * z2
        y2 = y * y
        newton = (1 + e2 * (73 / 24 + e2 * (37 / 96))) * (1 - e2)
        first = 1273 / 336 - e2 * (2561 / 224 + e2 * (3885 / 128 + e2 * (13147 / 5376)))
        spin_orbit = 73 / 12 + e2 * (1211 / 24 + e2 * (3143 / 96 + e2 * (65 / 64)))
        d_nu = nu_rate * z8 * z3 * y2 * y2 * sqrt_y * (newton + z2 * first - z3 * sqrt_y * spin_cos * spin_orbit)
        e_newton = (304 + 121 * e2) * (1 - e2) / 15
        e_first = (70648 - e2 * (231960 + 56101 * e2)) / 840
        e_spin_orbit = (8184 + e2 * (10064 + 789 * e2)) / 30
        d_e = -e * e_rate * z8 * y2 * y * sqrt_y * (e_newton + z2 * e_first - z3 * sqrt_y * spin_cos * e_spin_orbit)
        d_alpha = 4 * np.pi * nu * spin * z3 * y * sqrt_y
        d_gamma = 6 * np.pi * nu * z2 * y * (1 + z2 * y * (26 - 15 * e2) / 4) - 3 * cos_inclination * d_alpha
        return np.stack([d_nu, d_e, 2 * np.pi * nu, d_gamma, d_alpha])

    return rates


def last_stable_frequency(inspirals, e):
    """Radial frequency in Hz of the last stable orbit around a hole without spin (equation 33)."""
    return ((1 - e * e) / (6 + 2 * e)) ** 1.5 / (2 * np.pi * inspirals.mass_1)


def peters_mathews_track(inspirals, time):
    """
    The analytic kludge's orbits: Barack & Cutler (2004), gr-qc/0310125, equations 27 to 31.

    Parameters
    ----------
    inspirals : Inspirals
        Initial parameters.
    time : `numpy.ndarray`, shape (n_knots,)
        Knots in s, beginning with 0.

    Returns
    -------
    trajectory : Trajectory
        It ends where the frequency is that of the last stable orbit of a non-spinning hole (their equation 33).
    """

    def to_go(state, _):
        return 1 - state[0] / last_stable_frequency(inspirals, np.maximum(state[1], 0))

    nu0 = ((1 - inspirals.e0**2) / inspirals.p0) ** 1.5 / (2 * np.pi * inspirals.mass_1)
    start = np.stack([nu0, inspirals.e0, inspirals.phase0, inspirals.gamma0, inspirals.alpha0])
    states, rates, plunge = evolve(peters_mathews_rates(inspirals), start, time, to_go)
    # after the end the phases run on at the last rates, so that no phase stands still between two knots
    late = np.maximum(time - plunge[:, None], 0)
    phases = states[2:] + rates[2:] * late
    return Trajectory(time, states[0], states[0], np.maximum(states[1], 0), phases, rates[2:], plunge)


def peters_mathews_start(inspirals, e_plunge, time_to_plunge):
    """
    The orbit at some time before its plunge.

    Parameters
    ----------
    inspirals : Inspirals
        Masses, spins and inclinations of n inspirals.
    e_plunge : `numpy.ndarray`, shape (n,)
        Eccentricity of the last stable orbit.
    time_to_plunge : `numpy.ndarray`, shape (n,)
        How long before, in s.

    Returns
    -------
    p0, e0 : `numpy.ndarray`, shape (n,)
        Semi-latus rectum in units of ``mass_1``, and eccentricity.
    """
    rates = peters_mathews_rates(inspirals)
    end = np.stack([last_stable_frequency(inspirals, e_plunge), e_plunge])
    with np.errstate(invalid="ignore", divide="ignore"):  # where there is no such orbit
        states, _, _ = evolve(lambda state: -time_to_plunge * rates(state)[:2], end, np.array([0.0, 1.0]))
        nu, e = states[:, :, -1]
        return (1 - e * e) / (2 * np.pi * inspirals.mass_1 * nu) ** (2 / 3), e


def evolve(derivative, start, time, to_go=None, pace=None):
    """
    Solve the equations of many orbits at once, each in steps of its own (Runge-Kutta of order 4).

    Parameters
    ----------
    derivative : callable
        From states (k, n) to their derivatives.
    start : `numpy.ndarray`, shape (k, n)
        Initial states.
    time : `numpy.ndarray`, shape (n_knots,)
        Where the states are wanted, in s, from 0 on.
    to_go : callable, optional
        From states and derivatives to a number (n,) that falls to zero at the end of the orbit. Default: there is no
        end.
    pace : callable, optional
        From states and derivatives to the time (n,) of which a step is 5 %. Default: that in which the first component
        grows by its own size.

    Returns
    -------
    states, rates : `numpy.ndarray`, shape (k, n, n_knots)
        The states, interpolated by cubic Hermite polynomials, and their derivatives; after the end they stay as they
        were there.
    plunge : `numpy.ndarray`, shape (n,)
        Time of the end, infinite if it comes later than the last knot.

    Raises
    ------
    ValueError
        If an orbit begins after its end.
    """
    duration = time[-1]
    to_go = to_go or (lambda state, rate: np.ones(state.shape[1]))
    pace = pace or (lambda state, rate: np.abs(state[0] / rate[0]))
    t, state, rate = np.zeros(start.shape[1]), start, derivative(start)
    margin = to_go(start, rate)
    beyond = np.flatnonzero(~(margin > 0))
    if len(beyond):
        raise ValueError(f"the orbit in row {beyond[0]} has no time left: p0 is inside its last stable orbit")
    plunge = np.full(len(t), np.inf)
    times, states, rates = [t], [state], [rate]
    alive = t < duration
    while alive.any():
        longest = np.minimum(duration / _MIN_STEPS, duration - t)
        step = np.where(alive, np.minimum(_STEP * pace(state, rate), longest), 0.0)
        k2 = derivative(state + 0.5 * step * rate)
        k3 = derivative(state + 0.5 * step * k2)
        k4 = derivative(state + step * k3)
        new = state + step / 6 * (rate + 2 * k2 + 2 * k3 + k4)
        new_rate = derivative(new)
        new_margin = to_go(new, new_rate)
        # A step over the end is cut there.
        over = alive & ~(new_margin > 0)
        if over.any():
            fraction = np.where(over, margin / np.maximum(margin - new_margin, 1e-300), 1.0)
            new = np.where(over, _cubic(state, rate * step, new, new_rate * step, fraction)[0], new)
            new_rate = np.where(over, derivative(new), new_rate)
            step = step * fraction
            plunge = np.where(over, t + step, plunge)
        t = t + step
        state, rate, margin = new, new_rate, new_margin
        alive = alive & ~over & (t < duration * (1 - 1e-12))
        times.append(t)
        states.append(state)
        rates.append(rate)
    return *_resample(np.stack(times), np.stack(states), np.stack(rates), time), plunge


def cubic_coefficients(rise, r0, r1):
    """Of s, s2 and s3 in the cubic that rises so much from s = 0 to 1, with these rates at its ends."""
    return r0, 3 * rise - 2 * r0 - r1, r0 + r1 - 2 * rise


def _cubic(y0, r0, y1, r1, s):
    """Value and slope at s of the cubic through two values with two rates, at s = 0 and 1."""
    c1, c2, c3 = cubic_coefficients(y1 - y0, r0, r1)
    return y0 + s * (c1 + s * (c2 + s * c3)), c1 + s * (2 * c2 + 3 * s * c3)


def _resample(times, states, rates, knots):
    """States and rates on common knots from those at the steps of each orbit."""
    _, n_components, n = states.shape
    out = np.empty((2, n_components, n, len(knots)))
    for i in range(n):
        t = times[:, i]
        keep = np.concatenate([[True], np.diff(t) > 0])
        t, y, r = t[keep], states[keep, :, i], rates[keep, :, i]
        if len(t) == 1:
            out[:, :, i] = np.stack([y[0], np.zeros(n_components)])[..., None]
            continue
        at = np.clip(np.searchsorted(t, knots, side="right") - 1, 0, len(t) - 2)
        step = (t[at + 1] - t[at])[:, None]
        s = np.clip((knots - t[at])[:, None] / step, 0, 1)
        value, slope = _cubic(y[at], r[at] * step, y[at + 1], r[at + 1] * step, s)
        out[0, :, i], out[1, :, i] = value.T, (slope / step).T
    return out
