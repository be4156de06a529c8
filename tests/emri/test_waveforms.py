"""Waveforms against those of independent programs, limits that can be computed by hand, and the promises of the API."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable

from astrolearn.emri import analytic_kludge
from astrolearn.emri.few import few_waveform
from astrolearn.emri.inspiral import evolve, peters_mathews_start, peters_mathews_track
from astrolearn.emri.kerr_inspiral import kerr_start, kerr_track
from astrolearn.emri.parameters import GPC, MSUN, Inspirals
from benchmarks.emri.references import kludge_table, overlap, read_reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_analytic_kludge_is_the_reference(shared_data, dtype):
    data, q = read_reference(shared_data, "ak")
    n = len(data["h_plus"])
    h_plus, h_cross = analytic_kludge(kludge_table(q), n, dtype=dtype)
    assert h_plus.dtype == dtype
    # its cross polarisation has the other sign
    assert overlap(h_plus[0], data["h_plus"]) > 1 - 1e-8
    assert overlap(h_cross[0], -data["h_cross"]) > 1 - 1e-8
    assert h_plus[0].abs().max() == pytest.approx(np.abs(data["h_plus"]).max(), rel=1e-4)


def test_augmented_kludge_begins_as_the_reference(shared_data):
    data, q = read_reference(shared_data, "aak")
    table = kludge_table(q)
    h_plus, h_cross = analytic_kludge(table, 2**15, augmented=True, dtype=torch.float64)
    h_plus, h_cross = h_plus[0].numpy(), h_cross[0].numpy()
    # its fluxes are of higher order: the phases part slowly
    for n, least in ((2880, 0.9999), (16384, 0.999), (32768, 0.99)):
        assert overlap(h_plus[:n], data["h_plus"][:n]) > least
        assert overlap(h_cross[:n], -data["h_cross"][:n]) > least
    np.testing.assert_allclose(h_plus[:10], data["h_plus"][:10], rtol=1e-4)


def few_table(q):
    return {
        "mass_1": q["M"], "mass_2": q["mu"], "spin": q["a"], "p0": q["p0"], "e0": q["e0"],
        "inclination": np.arccos(q["Y0"]), "gamma0": q["Phi_theta0"] - q["Phi_r0"], "phase0": q["Phi_r0"],
        "theta_S": q["qS"], "phi_S": q["phiS"], "theta_K": q["qK"], "phi_K": q["phiK"],
        "alpha0": q["Phi_phi0"] - q["Phi_theta0"], "distance": q["dist"],
    }


def rotated(data, q):
    """Polarisations of the reference file, whose basis is p = n x S / |n x S| and q = n x p, in (e_theta, e_phi)."""
    def direction(theta, phi):
        return np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])

    p = np.cross(direction(q["qS"], q["phiS"]), direction(q["qK"], q["phiK"]))
    e_theta = direction(q["qS"] + np.pi / 2, q["phiS"])
    e_phi = direction(np.pi / 2, q["phiS"] + np.pi / 2)
    angle = 2 * np.arctan2(p @ e_phi, p @ e_theta)
    plus, cross = data["h_plus"].astype(float), data["h_cross"].astype(float)
    return plus * np.cos(angle) + cross * np.sin(angle), plus * np.sin(angle) - cross * np.cos(angle)


def test_augmented_kludge_begins_as_that_of_fifth_order(shared_data):
    data, q = read_reference(shared_data, "few_pn5aak")
    n = 2880
    h_plus, h_cross = analytic_kludge(few_table(q), n, augmented=True)
    plus, cross = rotated(data, q)
    assert overlap(h_plus[0], plus[:n]) > 0.9999
    assert overlap(h_cross[0], cross[:n]) > 0.9999


def test_waveform_of_fastemriwaveforms_in_our_basis(shared_data):
    pytest.importorskip("few", reason="needs the extra few")
    data, q = read_reference(shared_data, "few_pn5aak")
    n = len(data["h_plus"])
    h_plus, h_cross = few_waveform(Inspirals.from_table(few_table(q)), n, 30.0)
    plus, cross = rotated(data, q)
    assert overlap(h_plus[0], plus) > 0.9999
    assert overlap(h_cross[0], cross) > 0.9999


def test_circular_newtonian_binary():
    # far apart, without spin, face-on: h = 4 mu/D (M omega)^(2/3) at twice the orbital frequency (Peters & Mathews)
    table = {
        "mass_1": 1e6, "mass_2": 1.0, "spin": 0.0, "p0": 200.0, "e0": 0.0, "inclination": 0.0, "gamma0": 0.0,
        "phase0": 0.3, "theta_S": 0.8, "phi_S": 0.5, "theta_K": 0.8, "phi_K": 0.5, "alpha0": 0.0, "distance": 1.0,
    }
    h_plus, h_cross = analytic_kludge(table, 8192, dtype=torch.float64)
    omega = 200.0**-1.5 / (1e6 * MSUN)
    size = 4 * MSUN / GPC / 200
    assert torch.hypot(h_plus, h_cross).numpy() == pytest.approx(size, rel=2e-5)
    # 6 pi nu Z^2 of periapsis advance on top of the orbit
    phase = np.unwrap(np.arctan2(h_cross[0].numpy(), h_plus[0].numpy()))
    rate = abs(phase[-1] - phase[0]) / (8191 * 30)
    assert rate == pytest.approx(2 * omega * (1 + 3 / 200), rel=1e-3)


def test_inspiral_loses_energy_as_peters_and_mathews_say():
    # Peters (1964): time to merge of a circular binary, 5/256 r^4 / (mu M^2), to 1PN accuracy at r = 1000 M
    orbit = Inspirals.from_table({
        "mass_1": 1e5, "mass_2": 100.0, "spin": 0.0, "p0": 1000.0, "e0": 1e-4, "inclination": 1.0, "gamma0": 0.0,
        "phase0": 0.0, "theta_S": 1.0, "phi_S": 1.0, "theta_K": 1.0, "phi_K": 1.0, "alpha0": 0.0, "distance": 1.0,
    })
    left = 5 / 256 * 1000.0**4 * orbit.mass_1**2 / orbit.mass_2
    time = np.linspace(0, 0.5 * left[0], 50)
    track = peters_mathews_track(orbit, time)
    np.testing.assert_allclose(track.nu[0, -1] / track.nu[0, 0], 0.5 ** (-3 / 8), rtol=5e-3)


def test_steps_are_small_enough():
    rng = np.random.default_rng(0)
    n = 32
    mass = 10 ** rng.uniform(5, 6.5, n)
    table = {
        "mass_1": mass, "mass_2": np.full(n, 10.0), "spin": rng.uniform(0, 0.98, n),
        "p0": np.ones(n), "e0": np.zeros(n),
        "inclination": np.arccos(rng.uniform(-1, 1, n)), "distance": np.ones(n),
    } | {name: np.ones(n) for name in ("gamma0", "phase0", "theta_S", "phi_S", "theta_K", "phi_K", "alpha0")}
    orbits = Inspirals.from_table(table)
    orbits.p0, orbits.e0 = peters_mathews_start(orbits, rng.uniform(0.01, 0.2, n), rng.uniform(1.05, 4, n) * 7864320)
    time = np.arange(513) * 512 * 30.0
    track = peters_mathews_track(orbits, time)
    # in pieces of 1/16 the steps are sixteen times shorter
    state = np.stack([track.nu[:, 0], track.e[:, 0], *track.phases[:, :, 0]])
    for piece in range(16):
        part = time[piece * 32 : piece * 32 + 33]
        nu, e = state[:2]
        orbits.p0, orbits.e0 = (1 - e * e) / (2 * np.pi * orbits.mass_1 * nu) ** (2 / 3), e
        orbits.phase0, orbits.gamma0, orbits.alpha0 = state[2:]
        fine = peters_mathews_track(orbits, part - part[0])
        state = np.stack([fine.nu[:, -1], fine.e[:, -1], *fine.phases[:, :, -1]])
    in_band = 2 * track.nu[:, -1] < 1 / 60
    assert in_band.sum() > 20
    assert np.abs(track.phases[:, :, -1] - state[2:])[:, in_band].max() < 1e-3


@pytest.mark.parametrize(("start", "track"), [(peters_mathews_start, peters_mathews_track), (kerr_start, kerr_track)])
def test_orbits_end_when_they_were_drawn_to(start, track):
    table = {
        "mass_1": [1e6, 3e5, 1e6], "mass_2": 10.0, "spin": [0.5, 0.9, 0.2], "p0": 10.0, "e0": 0.0,
        "inclination": [0.4, 2.0, 1.5], "distance": 1.0,
    } | dict.fromkeys(("gamma0", "phase0", "theta_S", "phi_S", "theta_K", "phi_K", "alpha0"), 1.0)
    orbits = Inspirals.from_table(table)
    left = np.array([3e6, 5e6, 7e6])
    orbits.p0, orbits.e0, *inclination = start(orbits, np.array([0.05, 0.1, 0.2]), left)
    if inclination:
        (orbits.inclination,) = inclination
    end = track(orbits, np.arange(513) * 512 * 30.0).plunge
    np.testing.assert_allclose(end, left, rtol=2e-3)


def test_evolve_solves_an_equation_whose_solution_is_known():
    # y' = y^2 from 1: y = 1 / (1 - t); the end y = 10 comes at t = 0.9
    time = np.linspace(0, 2, 101)
    states, rates, end = evolve(lambda y: y * y, np.ones((1, 1)), time, lambda y, _: 1 - y[0] / 10)
    before = time < 0.9
    np.testing.assert_allclose(states[0, 0, before], 1 / (1 - time[before]), rtol=1e-5)
    np.testing.assert_allclose(rates[0, 0, before], 1 / (1 - time[before]) ** 2, rtol=1e-3)
    np.testing.assert_allclose(end, 0.9, rtol=1e-4)
    np.testing.assert_allclose(states[0, 0, ~before], 10, rtol=1e-3)


def test_wave_ends_at_the_plunge_smoothly(inspiral):
    inspiral["p0"] = [7.0, 6.8]
    inspiral["mass_1"] = [1e6, 1e6] * u.Msun
    inspiral["mass_2"] = [1000, 1000] * u.Msun
    h_plus, _ = analytic_kludge(inspiral, 2**15)
    for h in h_plus:
        end = int(np.flatnonzero(h.numpy()).max())
        assert end < 2**15 - 100
        assert h[end - 3 : end + 1].abs().max() < 0.05 * h.abs().max()


def test_no_power_is_folded_back_at_half_the_sampling_frequency(inspiral):
    # sampled four times faster and filtered, the wave is the same where it has no lines above half the slower rate
    inspiral = inspiral[:1]
    inspiral["mass_1"] = 2e5 * u.Msun
    inspiral["e0"] = 0.6
    slow, _ = analytic_kludge(inspiral, 4096, dtype=torch.float64)
    fast, _ = analytic_kludge(inspiral, 4 * 4096, 7.5 * u.s, dtype=torch.float64)
    spectrum = np.fft.rfft(fast[0].numpy() * np.hanning(4 * 4096))
    filtered = np.fft.irfft(spectrum[:2049], 4096) / 4
    n = slice(200, -200)
    assert overlap(slow[0].numpy()[n] * np.hanning(4096)[n], filtered[n]) > 0.99
    # some power is above it, indeed
    assert (np.abs(spectrum[2049:]) ** 2).sum() > 0.01 * (np.abs(spectrum) ** 2).sum()


@pytest.mark.parametrize("opposite", [False, True])
def test_waveforms_of_few_along_the_spin(inspiral, opposite):
    pytest.importorskip("few", reason="needs the extra few")
    one = inspiral[:1]
    one["theta_S"], one["phi_S"] = one["theta_K"], one["phi_K"]
    if opposite:
        one["theta_S"], one["phi_S"] = np.pi * u.rad - one["theta_K"], one["phi_K"] + np.pi * u.rad
    ours = analytic_kludge(one, 2048, augmented=True)
    theirs = few_waveform(Inspirals.from_table(one), 2048, 30.0)
    for a, b in zip(ours, theirs, strict=True):
        assert overlap(a[0].double().numpy(), b[0].double().numpy()) > 0.9999


def test_inclination_turns_the_plane(inspiral):
    # seen along the spin, an equatorial orbit has no preferred direction
    one = inspiral[:1]
    one["theta_S"], one["phi_S"] = one["theta_K"], one["phi_K"]
    one["inclination"] = 0 * u.rad
    one["e0"] = 0.0
    size = torch.hypot(*analytic_kludge(one, 2048, dtype=torch.float64))
    assert (size.max() / size.min()).item() == pytest.approx(1, abs=1e-3)
    one["inclination"] = 1 * u.rad
    size = torch.hypot(*analytic_kludge(one, 2048, dtype=torch.float64))
    assert (size.max() / size.min()).item() > 1.15


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("special", [
    {"e0": 0.0},
    {"spin": 0.0},
    {"spin": 0.0, "e0": 0.0, "inclination": 0 * u.rad},
    {"inclination": 90 * u.deg},
    {"inclination": 180 * u.deg},
    {"e0": 0.9, "p0": 40.0},
    {"theta_S": 0 * u.deg, "theta_K": 0 * u.deg},
])
def test_special_orbits(inspiral, special, augmented):
    for name, value in special.items():
        inspiral[name] = value
    for h in analytic_kludge(inspiral, 1001, augmented=augmented):
        assert torch.isfinite(h).all()
        assert (h.abs().amax(dim=1) > 1e-24).all()


def test_batch_is_rows(inspiral):
    both = analytic_kludge(inspiral, 3000)
    for row in range(2):
        one = analytic_kludge(inspiral[row : row + 1], 3000)
        for h, h_one in zip(both, one, strict=True):
            torch.testing.assert_close(h[row : row + 1], h_one, rtol=0, atol=1e-4 * h.abs().max().item())
    assert both[0].shape == (2, 3000)


def test_units_are_converted(inspiral):
    other = QTable(inspiral)
    other["mass_1"] = other["mass_1"].to(u.kg)
    other["distance"] = other["distance"].to(u.Mpc)
    other["theta_S"] = other["theta_S"].to(u.deg)
    first = analytic_kludge(inspiral, 1000)[0]
    torch.testing.assert_close(analytic_kludge(other, 1000)[0], first, rtol=1e-3, atol=1e-25)
    torch.testing.assert_close(
        analytic_kludge(inspiral, 1000, "0.5 min")[0], analytic_kludge(inspiral, 1000)[0], rtol=0, atol=0
    )


@pytest.mark.parametrize(("column", "value", "message"), [
    ("mass_1", [-1, 1] * u.Msun, r"mass_1\[0\]"),
    ("mass_2", [1, np.nan] * u.Msun, "mass_2"),
    ("spin", [0.5, 1.5], r"spin\[1\] = 1.5"),
    ("spin", [-0.5, 0.5], r"spin\[0\] = -0.5"),
    ("e0", [0.1, 1.0], r"e0\[1\]"),
    ("p0", [3.0, 12.0], "row 0 has no time left: p0"),
    ("distance", [1, 1] * u.s, "distance has the unit 's'"),
])
@pytest.mark.parametrize("augmented", [False, True])
def test_bad_parameters_are_named(inspiral, column, value, message, augmented):
    inspiral[column] = value
    with pytest.raises(ValueError, match=message):
        analytic_kludge(inspiral, 1000, augmented=augmented)


def test_bad_arguments_are_named(inspiral):
    with pytest.raises(ValueError, match="lacks the columns mass_2"):
        analytic_kludge({name: inspiral[name] for name in inspiral.colnames if name != "mass_2"})
    with pytest.raises(ValueError, match="dtype"):
        analytic_kludge(inspiral, 1000, dtype=torch.float16)
    with pytest.raises(ValueError, match="n_samples"):
        analytic_kludge(inspiral, 0)
    with pytest.raises(ValueError, match="sample_interval"):
        analytic_kludge(inspiral, 100, -30 * u.s)
    with pytest.raises(u.UnitConversionError, match="sample_interval"):
        analytic_kludge(inspiral, 100, 30 * u.m)


def test_phase_is_right_up_to_the_plunge():
    # the last block of a series that ends within it, beside the same orbit on knots that are 32 times closer
    table = {
        "mass_1": 3e5, "mass_2": 100.0, "spin": 0.3, "p0": 6.6, "e0": 0.02, "inclination": 0.5, "distance": 1.0,
    } | dict.fromkeys(("gamma0", "phase0", "theta_S", "phi_S", "theta_K", "phi_K", "alpha0"), 0.5)
    orbit = Inspirals.from_table(table)
    coarse = peters_mathews_track(orbit, np.arange(65) * 512 * 30.0)
    fine = peters_mathews_track(orbit, np.arange(65 * 32) * 16 * 30.0)
    (end,) = coarse.plunge
    assert 0 < end < coarse.time[-1]
    k = int(end // (512 * 30))
    step = 512 * 30.0
    s = (fine.time - coarse.time[k]) / step
    inside = (s >= 0) & (fine.time < end)
    assert inside.sum() > 1
    for phase, rate, exact in zip(coarse.phases[:, 0], coarse.rates[:, 0], fine.phases[:, 0], strict=True):
        r0, r1, rise = rate[k] * step, rate[k + 1] * step, phase[k + 1] - phase[k]
        cubic = phase[k] + s * (r0 + s * (3 * rise - 2 * r0 - r1 + s * (r0 + r1 - 2 * rise)))
        assert np.abs(cubic - exact)[inside].max() < 0.5
