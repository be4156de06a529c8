"""
Directions: the polarisation basis of a source, and how its precessing orbit is oriented in it.

All vectors are in ecliptic barycentric Cartesian coordinates.
"""

import numpy as np

__all__ = ["orbit_polarizations", "polarization_basis", "unit_vector"]


def unit_vector(theta, phi):
    """Unit vectors (n, 3) of polar angles (n,) in rad."""
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


def polarization_basis(theta, phi):
    """The basis vectors e_theta and e_phi, (n, 3) each, at the directions (n,) in rad."""
    e_theta = np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)], axis=-1)
    e_phi = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], axis=-1)
    return e_theta, e_phi


def orbit_polarizations(inspirals):
    """
    The plus and cross components of the tensors that an orbit in its plane is made of, as the plane precesses.

    With the unit vectors X = L x S / |L x S| and Y = L x X in the orbital plane (L: orbital angular momentum, S: spin),
    the quadrupole moment of a Peters-Mathews orbit is a sum of XX + YY, XX - YY and XY + YX. L precesses around S at a
    constant inclination with the angle alpha (Barack & Cutler 2004, equation 18), so each component is a trigonometric
    polynomial of the second degree in alpha.

    Parameters
    ----------
    inspirals : Inspirals
        Of n inspirals.

    Returns
    -------
    coefficients : `numpy.ndarray`, shape (n, 2, 3, 5)
        Of 1, cos(alpha), sin(alpha), cos(2 alpha), sin(2 alpha), for the polarisations plus and cross in the basis
        (e_theta, e_phi) at the source, and for the three tensors.
    """
    theta, phi = inspirals.theta_K, inspirals.phi_K
    spin = unit_vector(theta, phi)
    e_theta, e_phi = polarization_basis(theta, phi)
    e1, e2 = -e_theta, -e_phi
    cos, sin = np.cos(inspirals.inclination)[:, None], np.sin(inspirals.inclination)[:, None]
    zero = np.zeros_like(spin)
    # constant, cosine and sine part of X and Y
    x = np.stack([zero, np.cross(e1, spin), np.cross(e2, spin)], axis=-1)
    y = np.stack([-sin * spin, cos * e1, cos * e2], axis=-1)
    basis = polarization_basis(inspirals.theta_S, inspirals.phi_S)
    (x_p, x_q), (y_p, y_q) = ([np.einsum("ni,nik->nk", axis, v) for axis in basis] for v in (x, y))
    tensors = []
    for plus, cross in (
        (_product(x_p, x_p) - _product(x_q, x_q), 2 * _product(x_p, x_q)),
        (_product(y_p, y_p) - _product(y_q, y_q), 2 * _product(y_p, y_q)),
        (2 * (_product(x_p, y_p) - _product(x_q, y_q)), 2 * (_product(x_p, y_q) + _product(x_q, y_p))),
    ):
        tensors.append(np.stack([plus, cross], axis=1))
    xx, yy, xy = tensors
    return np.stack([xx + yy, xx - yy, xy], axis=2)


def _product(a, b):
    """Product of two (constant, cosine, sine) as coefficients of 1, cos, sin, cos 2, sin 2."""
    (a0, ac, as_), (b0, bc, bs) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack([
        a0 * b0 + (ac * bc + as_ * bs) / 2,
        a0 * bc + ac * b0,
        a0 * bs + as_ * b0,
        (ac * bc - as_ * bs) / 2,
        (ac * bs + as_ * bc) / 2,
    ], axis=-1)
