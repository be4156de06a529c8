"""Levels and outliers of series: what a search does not have to know about its noise."""

import numpy as np
import pytest

from astrolearn.emri import EMRIPopulation, track_statistic
from astrolearn.emri.levels import levelled

N = 2**16


def noise(seed, n_samples=N):
    return np.random.default_rng(seed).standard_normal((2, n_samples), dtype=np.float32)


def without_lowest(x):
    """The series without what is below 0.1 mHz."""
    spectrum = np.fft.rfft(x)
    spectrum[:, np.fft.rfftfreq(x.shape[1], 30) < 1e-4] = 0
    return np.fft.irfft(spectrum).astype(np.float32)


def test_white_noise_stays_as_it_is():
    x = noise(0)
    flat = levelled(x, 30)
    assert flat.dtype == np.float32
    x = without_lowest(x)
    # 256 pieces, 21 frequencies: 1.44 / sqrt(256) * 1.25 / sqrt(21) of the power
    assert np.abs(flat - x).std() < 0.03
    assert flat.std() == pytest.approx(1, abs=0.02)


def test_levels_and_tilts_are_taken_out():
    x = noise(1)
    np.testing.assert_allclose(levelled(np.float32(1.3) * x, 30), levelled(x, 30), atol=1e-5)
    channels = np.array([[0.8], [1.2]], np.float32)
    np.testing.assert_allclose(levelled(channels * x, 30), levelled(x, 30), atol=1e-5)
    tilt = 1 + 0.3 * np.linspace(-1, 1, N // 2 + 1)
    spectrum = np.abs(np.fft.rfft(levelled(np.fft.irfft(np.fft.rfft(x) * tilt).astype(np.float32), 30))) ** 2 / N
    for band in np.array_split(spectrum[:, int(1e-4 * 30 * N) + 1 :], 8, axis=1):
        assert band.mean() == pytest.approx(1, abs=0.05)


def test_nothing_below_a_tenth_of_a_millihertz_is_no_level():
    x = noise(8, 2**18)
    flat = levelled(without_lowest(x), 30)
    frequency = np.fft.rfftfreq(2**18, 30)
    power = (np.abs(np.fft.rfft(flat)) ** 2).mean(axis=0) / 2**18
    assert (power[frequency < 1e-4] < 1e-6).all()
    # 1573 values of an exponential distribution in two channels: 1.8 %, and the level is as good as 1 %
    lowest = (frequency >= 1e-4) & (frequency < 3e-4)
    assert power[lowest].mean() == pytest.approx(1, abs=0.06)
    np.testing.assert_allclose(flat, levelled(x, 30), atol=0.01)


@pytest.mark.parametrize(("band", "named"), [
    ((1e-4, 1e-2), "10 and 17 mHz"), ((1e-4, 1.5e-2), "15 and 17 mHz"), ((2e-3, 1), "0.26 and 1.8 mHz"),
    ((1e-4, 4e-3), "4.2 and 17 mHz"),
])  # fmt: skip
def test_filtered_series_are_refused(band, named):
    x = noise(9)
    spectrum = np.fft.rfft(x)
    frequency = np.fft.rfftfreq(N, 30)
    spectrum[:, (frequency < band[0]) | (frequency > band[1])] = 0
    x = np.fft.irfft(spectrum).astype(np.float32)
    with pytest.raises(ValueError, match=f"next to no noise between {named}"):
        levelled(x / x.std(), 30)


def test_levels_at_other_intervals():
    x = noise(10)
    assert levelled(x, 10).std() == pytest.approx(1, abs=0.02)
    with pytest.raises(ValueError, match="every 6000 s has no frequencies above 0.1 mHz"):
        levelled(x, 6000)


def test_a_wrong_level_does_not_move_the_statistic():
    x = np.concatenate([noise(2)[None], noise(3)[None]])
    for method in ("smooth", "viterbi"):
        np.testing.assert_allclose(track_statistic(1.05 * x, method), track_statistic(x, method), atol=1e-3)


def test_signals_keep_their_strength():
    population = EMRIPopulation(snr=30, n_samples=N, mass_1=(1e6, 2e6), time_to_plunge=(5, 10), e_plunge=0.01)
    for signal in np.asarray(population.sample(4, 0)["signal"]):
        x = noise(4)
        kept = ((levelled(x + signal, 30) - levelled(x, 30)) * signal).sum() / (signal * signal).sum()
        assert kept == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("size", [20, 1e3, 1e20])
def test_glitches_become_gaps(size):
    x = noise(5)
    glitched = x.copy()
    glitched[1, 5000] = size
    flat = levelled(glitched, 30)
    assert np.flatnonzero(np.isnan(flat[0])) == np.flatnonzero(np.isnan(flat[1])) == 5000
    rest = np.arange(N) != 5000
    np.testing.assert_allclose(flat[:, rest], levelled(x, 30)[:, rest], atol=0.05)
    assert track_statistic(glitched[None])[0] == pytest.approx(track_statistic(x[None])[0], abs=0.2)


def test_gaps_stay_gaps():
    x = noise(6)
    x[0, 1000:3000] = np.nan
    x[:, 40000:60000:2] = np.nan
    flat = levelled(x, 30)
    np.testing.assert_array_equal(np.isnan(flat), np.isnan(x).any(axis=0) | np.zeros((2, 1), bool))
    assert np.nanstd(flat) == pytest.approx(1, abs=0.03)
    scattered = noise(7)
    scattered[:, np.random.default_rng(0).random(N) < 0.8] = np.nan  # no piece is half whole
    assert np.nanstd(levelled(scattered, 30)) == pytest.approx(1, abs=0.1)
