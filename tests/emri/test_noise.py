"""Noise densities against the references' formulas, whitening and the signal-to-noise ratio against statistics."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable
from astropy.time import Time
from astropy.timeseries import TimeSeries
from sklearn.base import clone

from astrolearn.emri import EMRIPopulation, Whitener, noise_psd, track_statistic
from astrolearn.emri.noise import signal_to_noise, whiten, whitening_filter


def coloured_noise(psd, n_samples, interval, rng, lowest=1e-4):
    """Gaussian noise of a one-sided density, periodic, with no power below some frequency."""
    frequency = np.fft.rfftfreq(n_samples, interval)
    used = frequency >= lowest
    spectrum = np.zeros(len(frequency), complex)
    sigma = np.sqrt(psd(frequency[used]) * n_samples / (4 * interval))
    spectrum[used] = sigma * (rng.normal(size=used.sum()) + 1j * rng.normal(size=used.sum()))
    return np.fft.irfft(spectrum, n_samples)


def test_tianqin_by_hand():
    # at 10 mHz: (4 * 1e-30 * 1.01 / (2 pi 0.01)^4 + 1e-24) / 3e16 * (1 + 0.6 (2 pi f L / c)^2)
    acceleration = 4e-30 * 1.01 / (2 * np.pi * 0.01) ** 4
    loss = 1 + 0.6 * (2 * np.pi * 0.01 * np.sqrt(3) * 1e8 / 299792458) ** 2
    assert noise_psd(10 * u.mHz).to_value(1 / u.Hz) == pytest.approx((acceleration + 1e-24) / 3e16 * loss, rel=1e-6)


def test_lisa_is_three_tenths_of_the_sky_averaged_curve():
    # Robson, Cornish & Liu (2019), equation 1, at frequencies without foreground
    f = np.array([8e-3, 1.2e-2, 1.5e-2])
    star = 299792458 / (2 * np.pi * 2.5e9)
    assert star == pytest.approx(19.09e-3, rel=1e-3)
    optical = 1.5e-11**2 * (1 + (2e-3 / f) ** 4)
    acceleration = 3e-15**2 * (1 + (0.4e-3 / f) ** 2) * (1 + (f / 8e-3) ** 4)
    curve = 10 / (3 * 2.5e9**2) * (optical + 2 * (1 + np.cos(f / star) ** 2) * acceleration / (2 * np.pi * f) ** 4)
    curve *= 1 + 0.6 * (f / star) ** 2
    np.testing.assert_allclose(noise_psd(f, "lisa").value, 0.3 * curve, rtol=1e-3)


def test_lisa_far_above_its_band():
    assert np.isfinite(noise_psd([1.0, 3.0, 10.0], "lisa").value).all()


def test_galactic_foreground_is_there_and_only_below_three_millihertz():
    f = np.array([1e-3, 2e-3, 8e-3])
    bare = 0.3 * 10 / (3 * 2.5e9**2) * (
        1.5e-11**2 * (1 + (2e-3 / f) ** 4)
        + 4 * 3e-15**2 * (1 + (0.4e-3 / f) ** 2) * (1 + (f / 8e-3) ** 4) / (2 * np.pi * f) ** 4
    ) * (1 + 0.6 * (f / 19.09e-3) ** 2)
    ratio = noise_psd(f, "lisa").value / bare
    assert ratio[0] > 2
    assert ratio[1] > 1.5
    assert ratio[2] == pytest.approx(1, abs=0.1)


def test_units_of_frequency():
    assert noise_psd(1 * u.mHz) == noise_psd(1e-3)
    assert noise_psd([1e-3, 2e-3]).unit == 1 / u.Hz
    with pytest.raises(u.UnitConversionError, match="frequency"):
        noise_psd(3 * u.m)
    with pytest.raises(ValueError, match="positive"):
        noise_psd([0.0, 1e-3])
    with pytest.raises(ValueError, match="detector"):
        noise_psd(1e-3, "virgo")


@pytest.mark.parametrize("detector", ["tianqin", "lisa"])
def test_whitened_noise_has_unit_variance(detector):
    rng = np.random.default_rng(3)
    n_samples = 2**17
    strain = [coloured_noise(lambda f: noise_psd(f, detector).value, n_samples, 30.0, rng) for _ in range(4)]
    white = Whitener(detector).fit_transform(np.reshape(strain, (2, 2, n_samples)))
    assert white.dtype == np.float32
    # 0.6 % of the band lies below 0.1 mHz
    assert white.var() == pytest.approx(1 - 6e-3, rel=0.01)
    spectrum = np.abs(np.fft.rfft(white)) ** 2 / n_samples
    for low, high in ((2e-4, 1e-3), (1e-3, 5e-3), (5e-3, 1.6e-2)):
        band = slice(int(low * n_samples * 30), int(high * n_samples * 30))
        n = spectrum[..., band].size
        assert spectrum[..., band].mean() == pytest.approx(1, abs=4 / np.sqrt(n))


@pytest.mark.parametrize("detector", ["tianqin", "lisa"])
@pytest.mark.parametrize("with_gaps", [False, True])
def test_drifts_and_gaps_of_real_strain_do_no_harm(detector, with_gaps):
    # a stretch of a longer series, with power down to 1e-6 Hz and an offset: 1e7 times the noise in the searched band
    rng = np.random.default_rng(8)
    n_samples = 2**16
    psd = lambda f: noise_psd(f, detector).value  # noqa: E731
    long = [coloured_noise(psd, 8 * n_samples, 30.0, rng, lowest=1e-6) for _ in range(8)]
    strain = np.reshape(long, (4, 2, -1))[:, :, n_samples : 2 * n_samples] + 1e-12
    if with_gaps:
        strain[:, :, 20000:22000] = strain[:, :, 40000:40003] = np.nan
    white = Whitener(detector).transform(strain)
    # each gap takes two samples along
    assert np.isnan(white).sum() == (8 * (2000 + 3 + 4) if with_gaps else 0)
    assert np.nanmax(np.abs(white)) < 6
    spectrum = np.abs(np.fft.rfft(np.nan_to_num(white))) ** 2 / np.isfinite(white).sum(axis=2, keepdims=True)
    for low, high in ((1.2e-4, 3e-4), (3e-4, 1e-3), (1e-3, 5e-3), (5e-3, 1.6e-2)):
        band = slice(int(low * n_samples * 30), int(high * n_samples * 30))
        n = spectrum[..., band].size
        assert spectrum[..., band].mean() == pytest.approx(1, abs=5 / np.sqrt(n))
    statistic = track_statistic(white, detector=detector)
    of_white = track_statistic(rng.standard_normal((8, 2, n_samples)), detector=detector)
    assert statistic.max() < of_white.mean() + 5 * of_white.std()


def test_signals_pass_the_whitener_as_they_are_simulated():
    # away from the ends, the filter for differences is the filter for strain
    rng = np.random.default_rng(9)
    n = 2**14
    strain = 1e-20 * rng.normal(size=(1, 2, n)) * np.exp(-(((np.arange(n) - n / 2) / 800) ** 2))
    for detector in ("tianqin", "lisa"):
        simulated = whiten(torch.from_numpy(strain), whitening_filter(n, 30.0, detector))
        np.testing.assert_allclose(Whitener(detector).transform(strain), simulated, atol=1e-5 * simulated.std())


def test_blue_noise_is_not_differenced():
    f = np.geomspace(5e-5, 0.02, 500) * u.Hz
    blue = (f, 1e-40 * (f / (1 * u.mHz)) ** 2 / u.Hz)
    rng = np.random.default_rng(10)
    strain = coloured_noise(lambda f: 1e-40 * (f / 1e-3) ** 2, 2**17, 30.0, rng)[None, None].repeat(2, axis=1)
    strain[..., 30000:31000] = np.nan
    white = Whitener(blue).transform(strain)[0]
    spectrum = np.abs(np.fft.rfft(np.nan_to_num(white))) ** 2 / 2**17
    assert spectrum[:, 400:2000].mean() == pytest.approx(1, abs=0.1)


def test_matched_filter_recovers_the_snr():
    population = EMRIPopulation(snr=8, n_samples=2**15)
    signals = population.sample(4, 1)
    h = torch.from_numpy(signals["signal"])
    np.testing.assert_allclose(signal_to_noise(h), 8, rtol=1e-4)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(500, 2, 2**15)).astype(np.float32))
    for template in h:
        outputs = ((noise + template) * template).sum(dim=(1, 2)) / signal_to_noise(template)
        assert outputs.mean().item() == pytest.approx(8, abs=4 / np.sqrt(500))
        assert outputs.std().item() == pytest.approx(1, abs=0.12)


def test_measured_density_gives_what_the_named_one_gives():
    rng = np.random.default_rng(5)
    strain = rng.normal(size=(1, 2, 4096)) * 1e-20
    f = np.geomspace(5e-5, 0.02, 3000) * u.Hz
    named = Whitener("lisa").transform(strain)
    for psd in ((f, noise_psd(f, "lisa")), QTable({"frequency": f.to(u.mHz), "psd": noise_psd(f, "lisa")})):
        np.testing.assert_allclose(Whitener(psd).fit_transform(strain), named, atol=2e-3 * named.std())
    assert clone(Whitener("lisa")).psd == "lisa"


def test_the_half_value_of_welch_at_the_nyquist_frequency_is_not_believed():
    rng = np.random.default_rng(7)
    strain = rng.normal(size=(1, 2, 4096)) * 1e-20
    expected = Whitener("tianqin").transform(strain)
    f = np.linspace(5e-5, 1 / 60, 3000) * u.Hz
    density = noise_psd(f)
    density[-1] /= 2
    np.testing.assert_allclose(Whitener((f, density)).transform(strain), expected, atol=0.02 * expected.std())
    # a coarse table needs its last value
    f = np.geomspace(5e-5, 1 / 60, 12) * u.Hz
    np.testing.assert_allclose(Whitener((f, noise_psd(f))).transform(strain), expected, atol=0.1 * expected.std())
    white = ([1e-5, 1 / 60] * u.Hz, [1e-40, 1e-40] / u.Hz)
    assert np.isfinite(Whitener(white).transform(strain)).all()


def test_time_series_and_gaps():
    rng = np.random.default_rng(6)
    strain = rng.normal(size=(2, 4096)) * 1e-20
    series = TimeSeries(time_start=Time("2027-01-01"), time_delta=30 * u.s, data={"h_I": strain[0], "h_II": strain[1]})
    expected = Whitener().transform(strain[None])
    np.testing.assert_array_equal(Whitener().transform([series]), expected)
    gap = strain.copy()
    gap[:, 1000:1100] = np.nan
    masked = np.ma.MaskedArray(strain, mask=np.isnan(gap))
    for x in (gap[None], [masked], np.ma.stack([masked])):
        white = Whitener().transform(x)
        assert np.isnan(white[0, :, 1000:1100]).all()
        assert np.isfinite(white[0, :, :1000]).all()
    lengths = Whitener().transform([strain, strain[:, :2000]])
    assert [x.shape for x in lengths] == [(2, 4096), (2, 2000)]


def test_bad_input():
    strain = np.zeros((1, 2, 4096))
    data = {"I": strain[0, 0], "II": strain[0, 1]}
    series = TimeSeries(time_start=Time("2027-01-01"), time_delta=60 * u.s, data=data)
    with pytest.raises(ValueError, match="sampled every 60 s .*but every 30 s"):
        Whitener().transform([series])
    with pytest.raises(ValueError, match="two columns beside its time"):
        Whitener(sample_interval="1 min").transform([series["time", "I"]])
    with pytest.raises(ValueError, match=r"X has the shape \(1, 4096\)"):
        Whitener().transform(strain[0, :1])
    with pytest.raises(ValueError, match="X is empty"):
        Whitener().transform([])
    with pytest.raises(u.UnitConversionError, match="X has the unit 'm'"):
        Whitener().transform(strain * u.m)
    with pytest.raises(ValueError, match="infinite"):
        Whitener().transform(strain + np.inf)
    with pytest.raises(ValueError, match="reaches from 0.001 to 0.01 Hz"):
        Whitener(([1e-3, 1e-2] * u.Hz, [1e-40, 1e-40] / u.Hz)).transform(strain)
    for psd, message in ((3, "psd must be"), (([1, 2], [1, -1]), "positive"), (([2, 1], [1, 1]), "increase"),
                         (([1], [1]), "at least 2 rows"), ("virgo", "detector")):
        with pytest.raises(ValueError, match=message):
            Whitener(psd).fit()
