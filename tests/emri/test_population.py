"""Populations: priors, seeds, signal-to-noise ratios, distances, and the seven groups."""

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import Planck18

from astrolearn.emri import EMRIPopulation, analytic_kludge, project
from astrolearn.emri.noise import signal_to_noise, whiten, whitening_filter

SHORT = {"n_samples": 4096, "mass_1": (1e6, 3e6), "time_to_plunge": (50, 200)}


def test_priors():
    drawn = EMRIPopulation().draw(2000, 0)
    log_mass = np.log10(drawn["mass_1"].to_value(u.Msun))
    assert 5 <= log_mass.min() < 5.01
    assert 6.49 < log_mass.max() <= 6.5
    assert log_mass.mean() == pytest.approx(5.75, abs=0.05)
    assert (drawn["mass_2"] == 10 * u.Msun).all()
    assert drawn["spin"].max() < 0.98
    assert drawn["e0"].max() <= 0.7
    # those stated in the documentation
    assert np.median(np.array(drawn["e0"])) == pytest.approx(0.2, abs=0.02)
    assert (np.array(drawn["e0"]) > 0.5).mean() == pytest.approx(0.1, abs=0.025)
    beyond = np.array(EMRIPopulation(e0_max=0.9).draw(2000, 1)["e0"]) > 0.7
    assert beyond.mean() == pytest.approx(0.05, abs=0.02)
    assert np.cos(drawn["inclination"].value).mean() == pytest.approx(0, abs=0.05)
    assert np.cos(drawn["theta_S"].value).var() == pytest.approx(1 / 3, abs=0.03)


def test_signals_are_what_the_parameters_say():
    signals = EMRIPopulation(snr=(20, 30), **SHORT).sample(3, 5)
    assert (signals["snr"] > 0).all()
    h_plus, h_cross = analytic_kludge(signals, 4096)
    h = project(h_plus, h_cross, signals, "tianqin")
    white = whiten(h, whitening_filter(4096, 30.0, "tianqin"))
    np.testing.assert_allclose(white, signals["signal"], atol=1e-3 * signals["signal"].std())
    np.testing.assert_allclose(signal_to_noise(white), signals["snr"], rtol=1e-3)
    assert (signals["snr"] >= 20).all()
    assert (signals["snr"] <= 30).all()


@pytest.mark.parametrize("waveform", ["ak", "aak", "few-aak"])
def test_same_seed_same_signals(waveform):
    if waveform == "few-aak":
        pytest.importorskip("few", reason="needs the extra few")
    population = EMRIPopulation(waveform=waveform, **SHORT)
    n = 2 if waveform == "few-aak" else 20
    once, again, other = population.sample(n, 1), population.sample(n, 1), population.sample(n, 2)
    np.testing.assert_array_equal(once["signal"], again["signal"])
    assert not np.array_equal(once["e0"], other["e0"])
    assert once["signal"].shape == (n, 2, 4096)
    assert np.isfinite(once["signal"]).all()
    assert [len(batch) for batch in population.stream(n, 1)] == ([2] if n == 2 else [16, 4])


def test_signals_do_not_depend_on_the_number_of_processes():
    population = EMRIPopulation(**SHORT)
    np.testing.assert_array_equal(population.sample(20, 3, n_jobs=2)["signal"], population.sample(20, 3)["signal"])


def test_pairs_may_be_quantities():
    pair = EMRIPopulation(mass_1=[1e5, 1e6] * u.Msun, spin=(0.1, 0.2)).mass_1
    assert pair == EMRIPopulation(mass_1=(1e5 * u.Msun, "1e6 Msun")).mass_1


def test_redshifts():
    population = EMRIPopulation.at_mass(1e6 * u.Msun, 0.2, n_samples=4096, time_to_plunge=(50, 200))
    signals = population.sample(4, 0)
    np.testing.assert_allclose(signals["mass_1"].to_value(u.Msun), 1.2e6)
    np.testing.assert_allclose(signals["mass_2"].to_value(u.Msun), 12)
    np.testing.assert_allclose(signals["distance"].to_value(u.Gpc), Planck18.luminosity_distance(0.2).to_value(u.Gpc))
    assert (signals["spin"] == 0.98).all()
    assert len(set(signals["snr"])) == 4


def test_astrophysical_signals_reach_their_snr():
    population = EMRIPopulation.astrophysical(min_snr=5, redshift=(0.01, 0.1), **SHORT)
    signals = population.sample(8, 0)
    assert len(signals) == 8
    assert (signals["snr"] >= 5).all()
    assert (signals["redshift"] <= 0.1).all()
    with pytest.raises(ValueError, match="reaches an SNR of 1e\\+06"):
        EMRIPopulation.astrophysical(min_snr=1e6, n_samples=64).sample(1, 0)


def test_mass_function():
    drawn = EMRIPopulation(mass_index=-1, mass_1=(1e5, 1e6), e_plunge=0.01, e0_max=0.9).draw(4000, 0)
    # a density of log M that falls as 1/M has its median at the harmonic mean of the ends
    assert np.median(drawn["mass_1"].to_value(u.Msun)) == pytest.approx(2 / (1e-5 + 1e-6), rel=0.05)


def test_groups_of_table_iv():
    assert EMRIPopulation.uniform_snr().snr == (50, 120)
    assert EMRIPopulation.astrophysical().min_snr == 50
    assert EMRIPopulation.augmented().waveform == "aak"
    assert EMRIPopulation.at_snr(30).snr == (30, 30)
    assert EMRIPopulation.at_mass(1e4, 0.1).mass_1 == (1e4, 1e4)
    assert EMRIPopulation.at_spin(0.2, 0.3).spin == (0.2, 0.2)
    assert EMRIPopulation.at_redshift(0.3, 10**5.5, 0.98).redshift == (0.3, 0.3)


def test_augmented_orbits_are_drawn_with_geodesics():
    drawn = EMRIPopulation.augmented().draw(200, 0)
    assert np.isfinite(drawn["p0"]).all()
    prograde = (np.cos(drawn["inclination"]) > 0.5) & (drawn["spin"] > 0.8)
    retrograde = (np.cos(drawn["inclination"]) < -0.5) & (drawn["spin"] > 0.8)
    heavy = drawn["mass_1"] > 1e6 * u.Msun
    assert np.array(drawn["p0"])[prograde & heavy].mean() < np.array(drawn["p0"])[retrograde & heavy].mean()


def test_orbits_that_do_not_exist_are_drawn_again():
    drawn = EMRIPopulation.at_mass(1e4, 0.1, waveform="aak").draw(16, 3)
    assert np.isfinite(drawn["p0"]).all()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"detector": "ligo"}, "detector"),
    ({"waveform": "nk"}, "waveform='nk'"),
    ({"snr": None}, "either snr or redshift"),
    ({"snr": 50, "redshift": 0.1}, "either snr or redshift"),
    ({"spin": (0.5, 0.1)}, "spin"),
    ({"spin": 1.0}, "spin"),
    ({"spin": (-0.5, 0.5)}, "spin"),
    ({"mass_1": 0 * u.Msun}, "mass_1"),
    ({"mass_1": (1, 2, 3)}, "neither a number nor a pair"),
    ({"mass_1": 1 * u.m}, "mass_1 has the unit 'm'"),
    ({"sample_interval": "30 m"}, "sample_interval"),
    ({"sample_interval": 0}, "sample_interval=0"),
    ({"n_samples": 0}, "n_samples=0"),
    ({"e0_max": 1.2}, "e0_max=1.2"),
    ({"min_snr": -1}, "min_snr=-1"),
    ({"snr": 20, "min_snr": 10}, "min_snr is for signals at a redshift"),
    ({"time_to_plunge": 0}, "time_to_plunge"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EMRIPopulation(**arguments)


def test_nothing_asked_for():
    with pytest.raises(ValueError, match="n=0"):
        EMRIPopulation().sample(0)
