"""Geodesics of a Kerr black hole, against values of another program and analytic limits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrolearn.emri.kerr import (
    constants_of_motion,
    cos_inclination,
    fundamental_frequencies,
    radial_roots,
    x_from_cos_inclination,
)


@pytest.fixture(scope="module")
def reference():
    path = Path(__file__).parent / "data" / "kerr_geodesics.csv"
    return np.genfromtxt(path, delimiter=",", names=True, skip_header=2)


def test_constants_of_motion_of_50_orbits(reference):
    orbit = [reference[name] for name in "apex"]
    for values, name in zip(constants_of_motion(*orbit), ("energy", "momentum", "carter"), strict=True):
        np.testing.assert_allclose(values, reference[name], rtol=1e-10)


def test_frequencies_of_50_orbits(reference):
    assert len(reference) == 50
    assert (reference["p"] - reference["p_separatrix"]).min() < 0.1
    orbit = [reference[name] for name in "apex"]
    for values, name in zip(fundamental_frequencies(*orbit), ("omega_r", "omega_theta", "omega_phi"), strict=True):
        np.testing.assert_allclose(values, reference[name], rtol=1e-9)


@given(st.floats(0, 0.95), st.floats(10, 100), st.sampled_from([-1.0, 1.0]))
def test_circular_equatorial_orbits_obey_keplers_law(a, p, x):
    # Bardeen, Press & Teukolsky (1972), equation 2.16: omega_phi = 1 / (a +- r^1.5)
    _, _, omega_phi = fundamental_frequencies(a, p, 1e-6, x)
    np.testing.assert_allclose(omega_phi, 1 / (a + x * p**1.5), rtol=1e-7)


def test_schwarzschild_orbits_stay_in_their_plane():
    omega_r, omega_theta, omega_phi = fundamental_frequencies(0.0, 10.0, 0.3, np.array([1.0, 0.4, 0.01]))
    np.testing.assert_allclose(omega_theta, omega_phi, rtol=1e-12)
    np.testing.assert_allclose(omega_phi, omega_phi[0], rtol=1e-12)
    assert (omega_r < omega_phi).all()


def test_epicyclic_frequency_of_nearly_circular_orbits():
    # omega_r / omega_phi = sqrt(1 - 6 / r) around a hole without spin
    omega_r, _, omega_phi = fundamental_frequencies(0.0, 10.0, 1e-5, 1.0)
    assert omega_r / omega_phi == pytest.approx(np.sqrt(0.4), rel=1e-8)


def test_polar_orbits_are_no_exception():
    for values in fundamental_frequencies(0.9, 10.0, 0.3, np.array([1e-6, 1e-12])):
        assert values[0] == pytest.approx(values[1], rel=1e-5)
    energy, momentum, _ = constants_of_motion(0.9, 10.0, 0.3, np.array(0.0))
    assert momentum == 0
    assert 0.9 < energy < 1


def test_turning_points_are_roots(reference):
    a, p, e, x = (reference[name] for name in "apex")
    energy, momentum, carter = constants_of_motion(a, p, e, x)
    r3, r4 = radial_roots(a, p, e, energy, carter)
    for r in (p / (1 + e), p / (1 - e), r3, r4):
        size = (energy * (r * r + a * a)) ** 2
        potential = (energy * (r * r + a * a) - a * momentum) ** 2 - (r * r - 2 * r + a * a) * (
            r * r + (momentum - a * energy) ** 2 + carter
        )
        np.testing.assert_allclose(potential / size, 0, atol=1e-9)


def test_inclinations_convert(reference):
    a, p, e, x = (reference[name] for name in "apex")
    _, momentum, carter = constants_of_motion(a, p, e, x)
    np.testing.assert_allclose(x_from_cos_inclination(a, p, e, cos_inclination(momentum, carter)), x, atol=1e-12)
