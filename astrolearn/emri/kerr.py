"""
Bound geodesics of a Kerr black hole: constants of motion and fundamental frequencies, in units of its mass.

An orbit is given by its semi-latus rectum p, its eccentricity e and x = cos(theta_inc), with the turning points
r = p / (1 +- e) and cos(theta) = +- sqrt(1 - x2); x < 0 is retrograde (Schmidt 2002, gr-qc/0202090; Drasco & Hughes
2004, astro-ph/0308479). The frequencies are averages over Mino time. In the angles psi and chi of the radial and polar
motion the integrands are smooth and periodic, so that the mean over equally spaced angles converges exponentially and
no elliptic function is needed.
"""

import numpy as np

__all__ = [
    "constants_of_motion",
    "cos_inclination",
    "fundamental_frequencies",
    "radial_roots",
    "x_from_cos_inclination",
]

_N_ANGLES = 96


def constants_of_motion(a, p, e, x):
    """
    Energy, axial angular momentum and Carter constant per unit mass: Schmidt (2002), appendix B.

    Parameters
    ----------
    a, p, e, x : `numpy.ndarray`
        Spin, semi-latus rectum, eccentricity, cosine of the inclination; of one shape. Complex values are allowed: the
        derivatives come from them.

    Returns
    -------
    energy, momentum, carter : `numpy.ndarray`
    """
    sign = np.where(np.real(x) < 0, -1.0, 1.0)
    z2, cos2 = 1 - x * x, x * x

    def coefficients(r):
        delta = r * r - 2 * r + a * a
        d = (r * r + a * a * z2) * delta
        f = r**4 + a * a * (r * (r + 2) + z2 * delta)
        # g and h stand multiplied by x and x2, so that polar orbits are no exception
        return d, f, 2 * a * r * x, r * (r - 2) * cos2 + z2 * delta

    d1, f1, g1, h1 = coefficients(p / (1 + e))
    d2, f2, g2, h2 = coefficients(p / (1 - e))
    kappa, epsilon = d1 * h2 - d2 * h1, d1 * g2 - d2 * g1
    rho, eta, sigma = f1 * h2 - f2 * h1, f1 * g2 - f2 * g1, g1 * h2 - g2 * h1
    root = np.sqrt(sigma * (sigma * epsilon**2 + rho * epsilon * kappa - eta * kappa**2))
    energy = np.sqrt((kappa * rho + 2 * epsilon * sigma - 2 * sign * root) / (rho * rho + 4 * eta * sigma))
    scaled = (-g1 * energy + np.sqrt(g1 * g1 * energy * energy + (f1 * energy * energy - d1) * h1)) / h1
    momentum = scaled * x  # scaled = L / x
    carter = z2 * (a * a * (1 - energy * energy) + scaled * scaled)
    return energy, momentum, carter


def cos_inclination(momentum, carter):
    """The other inclination in use: L / sqrt(L2 + Q), which the waveforms' ``inclination`` is the arc cosine of."""
    return momentum / np.sqrt(momentum**2 + carter)


def x_from_cos_inclination(a, p, e, cosine):
    """The x of an orbit with a given L / sqrt(L2 + Q), by bisection."""
    low, high = np.full(np.shape(cosine), -1.0), np.ones(np.shape(cosine))
    for _ in range(52):
        middle = (low + high) / 2
        _, momentum, carter = constants_of_motion(a, p, e, middle)
        above = cos_inclination(momentum, carter) > cosine
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def radial_roots(a, p, e, energy, carter):
    """The two inner roots r3 >= r4 of the radial potential, whose outer ones are the turning points."""
    r1, r2 = p / (1 - e), p / (1 + e)
    binding = 1 - energy * energy
    half_sum = 1 / binding - (r1 + r2) / 2
    product = a * a * carter / (binding * r1 * r2)
    r3 = half_sum + np.sqrt(np.maximum(half_sum * half_sum - product, 0))
    return r3, product / r3


def fundamental_frequencies(a, p, e, x):
    """
    Angular frequencies of the radial, polar and azimuthal motion in the time of a distant observer.

    Parameters
    ----------
    a, p, e, x : `numpy.ndarray`
        Spin, semi-latus rectum, eccentricity, cosine of the inclination; of one shape.

    Returns
    -------
    omega_r, omega_theta, omega_phi : `numpy.ndarray`
        Per M; the azimuthal one is negative for retrograde orbits.
    """
    a, p, e, x = (np.asarray(value, dtype=float) for value in np.broadcast_arrays(a, p, e, x))
    energy, momentum, carter = constants_of_motion(a, p, e, x)
    r3, r4 = radial_roots(a, p, e, energy, carter)
    a, p, e, x, energy, momentum, r3, r4 = (v[..., None] for v in (a, p, e, x, energy, momentum, r3, r4))
    angle = (np.arange(_N_ANGLES) + 0.5) * np.pi / _N_ANGLES
    # radial: d lambda / d psi
    turn = 1 + e * np.cos(angle)
    r = p / turn
    binding = 1 - energy * energy
    weight = np.sqrt((1 - e * e) / (binding * (r - r3) * (r - r4))) / turn
    mean_weight = weight.mean(axis=-1)
    period_r = 2 * np.pi * mean_weight
    delta = r * r - 2 * r + a * a
    over = (r * r + a * a) / delta
    time = energy * (r * r + a * a) * over + a * momentum * (1 - over)
    azimuth = a * energy * (over - 1) - a * a * momentum / delta
    mean_time, mean_azimuth = ((f * weight).mean(axis=-1) / mean_weight for f in (time, azimuth))
    # polar: d lambda / d chi, with z = cos(theta) = z_max cos(chi)
    z2, scaled = 1 - x * x, momentum / x
    beta = a * a * binding
    cos2 = np.cos(angle) ** 2
    weight = 1 / np.sqrt(beta * (1 - z2 * cos2) + scaled * scaled)
    mean_weight = weight.mean(axis=-1)
    period_theta = 2 * np.pi * mean_weight
    mean_time = mean_time - (a * a * energy * (1 - z2 * cos2) * weight).mean(axis=-1) / mean_weight
    # L / sin2(theta) peaks at the poles: its pole in cos2(chi), of residue 1 / |L / x|, is integrated exactly
    regular = (weight - 1 / np.abs(scaled)) / (1 - z2 * cos2)
    momentum = momentum[..., 0]
    mean_azimuth = mean_azimuth + (np.sign(momentum) + momentum * regular.mean(axis=-1)) / mean_weight
    return tuple(v / mean_time for v in (2 * np.pi / period_r, 2 * np.pi / period_theta, mean_azimuth))
