"""The weights that come with the package, on a few fresh series: what their card says of many."""

import astropy.units as u
import numpy as np
import pytest

from astrolearn import EMRIDetector
from astrolearn.emri import EMRIPopulation, Whitener, noise_psd
from astrolearn.recipes import tianqin_3month

N_NOISE, N_SIGNALS = 80, 48


@pytest.fixture(scope="module")
def scores():
    """Scores of noise, of signals of the training population in noise, and of signals of SNR 50."""
    rng = np.random.default_rng(7)
    detector = EMRIDetector.from_pretrained("tianqin-3month")

    def in_noise(population, n):
        for batch in population.stream(n, rng):
            for signal in np.asarray(batch["signal"]):
                yield signal + rng.standard_normal(signal.shape, dtype=np.float32)

    noise = [detector.detect(rng.standard_normal((1, 2, 262144), dtype=np.float32)) for _ in range(N_NOISE)]
    signals = [detector.detect(x[None]) for x in in_noise(tianqin_3month.training_population(), N_SIGNALS)]
    loud = [detector.detect(x[None]) for x in in_noise(EMRIPopulation(snr=50), 16)]
    return noise, signals, loud


def column(tables, name):
    return np.array([table[name][0] for table in tables])


def test_false_alarms_are_as_rare_as_promised(scores):
    false_alarm = column(scores[0], "false_alarm_probability")
    for wanted in (0.03, 0.1, 0.3):
        assert (false_alarm <= wanted).mean() == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / N_NOISE) ** 0.5)


def test_false_alarms_in_strain():
    rng = np.random.default_rng(8)
    detector = EMRIDetector.from_pretrained("tianqin-3month")
    frequency = np.fft.rfftfreq(2 * 262144, 30)
    colour = np.zeros(len(frequency))
    colour[frequency > 1e-5] = np.sqrt(noise_psd(frequency[frequency > 1e-5] * u.Hz).value / 60)
    n = 32
    rare = []
    for _ in range(n):
        strain = np.fft.irfft(np.fft.rfft(rng.standard_normal((1, 2, 2 * 262144))) * colour)[..., :262144]
        rare.append(detector.detect(Whitener("tianqin").transform(strain))["false_alarm_probability"][0])
    for wanted in (0.1, 0.3):
        assert np.mean(np.array(rare) <= wanted) == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / n) ** 0.5)


def test_what_is_below_the_band_does_not_count():
    detector = EMRIDetector.from_pretrained("tianqin-3month")
    white = np.random.default_rng(9).standard_normal((2, 2, 262144), dtype=np.float32)
    spectrum = np.fft.rfft(white)
    spectrum[..., np.fft.rfftfreq(262144, 30) < 1e-4] = 0
    without = np.fft.irfft(spectrum).astype(np.float32)
    np.testing.assert_allclose(detector.decision_function(without), detector.decision_function(white), atol=0.1)


def test_probabilities_are_reliable(scores):
    probability = np.concatenate([column(scores[0], "probability"), column(scores[1], "probability")])
    # even prior odds: each series stands for the share of its kind
    weight = np.repeat([0.5 / N_NOISE, 0.5 / N_SIGNALS], [N_NOISE, N_SIGNALS])
    truth = np.repeat([0, 1], [N_NOISE, N_SIGNALS])
    for chosen in (probability < 0.5, probability >= 0.5):
        share = np.average(truth[chosen], weights=weight[chosen])
        stated = np.average(probability[chosen], weights=weight[chosen])
        assert share == pytest.approx(stated, abs=4 * (stated * (1 - stated) / chosen.sum()) ** 0.5 + 0.02)
    assert ((probability < 0.5) == (truth == 0)).mean() > 0.65


def test_loud_signals_are_found(scores):
    assert column(scores[2], "detected").mean() >= 15 / 16
