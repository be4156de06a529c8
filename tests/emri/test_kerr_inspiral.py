"""Orbits of the augmented kludge against another integrator."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from astrolearn.emri.kerr import fundamental_frequencies, x_from_cos_inclination
from astrolearn.emri.kerr_inspiral import geodesic_rates, kerr_start, kerr_track
from astrolearn.emri.parameters import Inspirals


@pytest.mark.parametrize(("mass", "spin", "left"), [(1e6, 0.3, 3e6), (3e5, 0.3, 2.3e6), (1e6, 0.9, 3.05e6)])
def test_phases_are_right_up_to_the_plunge(mass, spin, left):
    # beside another integrator, of the orbit and its phases together
    table = {
        "mass_1": mass, "mass_2": 10.0, "spin": spin, "p0": 1.0, "e0": 0.0, "inclination": 0.6, "distance": 1.0,
    } | dict.fromkeys(("gamma0", "phase0", "theta_S", "phi_S", "theta_K", "phi_K", "alpha0"), 0.0)
    orbit = Inspirals.from_table(table)
    p0, e0, inclination = kerr_start(orbit, np.array([0.05]), np.array([left]))
    orbit.p0, orbit.e0, orbit.inclination = p0, e0, inclination
    time = np.arange(400) * 512 * 30.0
    track = kerr_track(orbit, time)
    (plunge,) = track.plunge
    assert plunge == pytest.approx(left, rel=1e-4)
    a, scale = orbit.spin, orbit.mass_2 / orbit.mass_1**2
    x0 = x_from_cos_inclination(a, p0, e0, np.cos(inclination))
    change = geodesic_rates(a)

    def derivative(_, state):
        omega_r, omega_theta, omega_phi = np.array(fundamental_frequencies(a, *state[:3, None]))[:, 0] / orbit.mass_1[0]
        return [*(scale * change(state[:3, None]))[:, 0], omega_r, omega_theta - omega_r, omega_phi - omega_theta]

    knots = time[time < plunge - 100]
    exact = solve_ivp(derivative, (0, knots[-1]), [p0[0], e0[0], x0[0], 0, 0, 0], t_eval=knots, rtol=1e-9, atol=1e-9)
    assert np.abs(exact.y[3:] - track.phases[:, 0, : len(knots)]).max() < 2e-3
    after = track.phases[:, 0, len(knots) + 2 :] - track.phases[:, 0, len(knots) + 1 : -1]
    np.testing.assert_allclose(after, track.rates[:, 0, -1:] * 512 * 30 * np.ones(after.shape), rtol=1e-3)
