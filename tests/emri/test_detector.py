"""EMRIDetector: the promises of every estimator, its false alarms, and the series that it takes."""

import copy

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable
from astropy.time import Time
from astropy.timeseries import TimeSeries
from astropy.utils.masked import Masked
from estimator_checks import Case, parametrize
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from astrolearn import EMRIDetector
from astrolearn.emri import EMRIPopulation, Whitener, noise_psd
from astrolearn.emri.networks import Zhang2022Network

N = 8192
EASY = {"n_samples": N, "mass_1": (1e6, 2e6), "time_to_plunge": (30, 60), "e_plunge": 0.01}


def noise(seed, n=4, n_samples=N):
    return np.random.default_rng(seed).standard_normal((n, 2, n_samples), dtype=np.float32)


SIGNALS = np.asarray(EMRIPopulation(snr=(30, 40), **EASY).sample(6, 0)["signal"])
TRAINING = np.concatenate([noise(0, 6), noise(1, 6) + SIGNALS])
LABELS = np.repeat([0, 1], 6)
SERIES = np.concatenate([noise(2, 2), noise(3, 2) + SIGNALS[:2]])


def make_detector(**parameters):
    small = {"max_epochs": 2, "batch_size": 4, "n_noise": 12, "false_alarm_probability": 0.1}
    return EMRIDetector(**small | parameters)


def series(x, interval=30 * u.s):
    return TimeSeries(time_start=Time("2027-01-01"), time_delta=interval, data={"h_I": x[0], "h_II": x[1]})


gap = SERIES.copy()
gap[:, :, 3000:3500] = np.nan


def case(architecture):
    return Case(
        name=f"EMRIDetector-{architecture}",
        make=lambda **parameters: make_detector(architecture=architecture, **parameters),
        fit_args=(TRAINING, LABELS),
        predict_args=(SERIES,),
        methods=("predict", "predict_proba", "decision_function", "detect"),
        bad_inputs={
            "wrong_unit": ((SERIES * u.m,), "X has the unit 'm'"),
            "wrong_shape": ((SERIES[0],), "X has the shape"),
            "one_channel": ((SERIES[:, :1],), "X has the shape"),
            "empty": ((SERIES[:0],), "empty"),
            "infinite": ((SERIES + np.inf,), "infinite"),
            "nan": ((np.full_like(SERIES, np.nan),), "too few to search"),
            "not_white": ((SERIES * 1e-20,), "standard deviation of .* whiten the strain first"),
            "too_short": ((SERIES[:, :, :500],), "500 samples; at least"),
            "wrong_interval": (([series(SERIES[0], 10 * u.s)],), r"X\[0\] is sampled every 10 s"),
        } | ({} if architecture == "tracks" else {
            "gaps": ((gap,), "has gaps"),
            "masked_gaps": ((Masked(SERIES, mask=np.isnan(gap)),), "has gaps"),
            "longer": ((np.concatenate([SERIES, SERIES], axis=2),), "16384 samples, but .* trained on 8192"),
        }),
        bad_fit_inputs={
            "no_signals": ((TRAINING, np.zeros(12, int)), "two signals"),
            "labels": ((TRAINING, LABELS + 1), "0 or 1"),
            "too_few_labels": ((TRAINING, LABELS[:5]), "for each of the 12 series"),
            "lengths": (([*TRAINING[:11], TRAINING[11][:, :5000]], LABELS), "differ in length"),
            "population": ((EMRIPopulation(detector="lisa", **EASY),), "for lisa every 30 s"),
            "population_with_labels": ((EMRIPopulation(**EASY), LABELS), "has no y"),
            "short_population": ((EMRIPopulation(**EASY | {"n_samples": 500}),), "series of 500 samples; at least"),
        },
        equal_inputs={
            "big_endian": (SERIES.astype(">f8"),),
            "list": (list(SERIES),),
            "quantity": (SERIES * u.one,),
            "time_series": ([series(x) for x in SERIES],),
            "masked": (Masked(SERIES, mask=np.zeros(SERIES.shape, bool)),),
        },
    )


@parametrize(case("tracks"), case("zhang2022"))
def test_promises(check, case):
    check(case)


@pytest.fixture(scope="module")
def trained():
    population = EMRIPopulation(snr=(20, 40), **EASY)
    return EMRIDetector(
        n_signals=30, n_draws=1, n_noise=150, max_epochs=6, batch_size=16, random_state=0
    ).fit(population)


@pytest.fixture
def fitted(trained):
    """Each test may change the parameters of its own."""
    return copy.copy(trained)


def test_signals_are_told_from_noise(fitted):
    fresh = noise(10, 12) + np.asarray(EMRIPopulation(snr=35, **EASY).sample(12, 99)["signal"])
    table = fitted.set_params(false_alarm_probability=0.05).detect(fresh)
    assert table["detected"].mean() > 0.8
    assert table.colnames == ["statistic", "probability", "false_alarm_probability", "upper_limit", "detected"]
    np.testing.assert_array_equal(table["detected"], fitted.predict(fresh) == 1)
    np.testing.assert_array_equal(table["statistic"], fitted.decision_function(fresh))
    np.testing.assert_array_equal(table["probability"], fitted.predict_proba(fresh)[:, 1])
    assert (table["false_alarm_probability"] >= 1 / 151).all()
    assert table["upper_limit"].any()
    np.testing.assert_allclose(table["false_alarm_probability"][table["upper_limit"]], 1 / 151)


def test_false_alarms_are_as_promised(fitted):
    fresh = noise(11, 150)
    for wanted in (0.1, 0.3):
        n = fitted.set_params(false_alarm_probability=wanted).predict(fresh).sum()
        # binomial, of the fresh noise and of that from which the threshold comes
        assert n == pytest.approx(150 * wanted, abs=4 * (2 * 150 * wanted * (1 - wanted)) ** 0.5)


def test_false_alarms_that_cannot_be_known(fitted):
    with pytest.raises(ValueError, match="0.001 cannot be measured with 150 series"):
        fitted.set_params(false_alarm_probability=1e-3).predict(SERIES)


def test_prior_odds(fitted):
    even = fitted.set_params(prior_odds=1.0).predict_proba(SERIES)
    rare = fitted.set_params(prior_odds=0.01).predict_proba(SERIES)
    np.testing.assert_allclose(even.sum(axis=1), 1)
    odds = even[:, 1] / even[:, 0]
    np.testing.assert_allclose(rare[:, 1] / rare[:, 0], 0.01 * odds, rtol=1e-6)


def test_other_lengths(fitted):
    signal = noise(12, 1)[0] + np.asarray(EMRIPopulation(snr=40, **EASY).sample(1, 98)["signal"])[0]
    longer = np.concatenate([noise(13, 1)[0], signal, noise(14, 1)[0][:, :3000]], axis=1)
    shorter = signal[:, :6000]
    fitted.set_params(false_alarm_probability=0.1)
    scores = fitted.decision_function([signal, longer, shorter])
    assert scores[1] >= scores[0] - 1e-3
    alone, in_longer = fitted.detect([signal])[0], fitted.detect([longer])[0]
    # four windows, four times as many chances of a false alarm
    assert alone["upper_limit"]
    assert in_longer["upper_limit"]
    assert in_longer["false_alarm_probability"] == pytest.approx(1 - (1 - alone["false_alarm_probability"]) ** 4)
    assert np.isfinite(scores).all()
    with pytest.raises(ValueError, match="in a series of 39 windows cannot be measured with 150 series"):
        fitted.predict([np.concatenate([*noise(20, 20)], axis=1)])


def test_gaps(fitted):
    signal = noise(15, 1) + np.asarray(EMRIPopulation(snr=40, **EASY).sample(1, 97)["signal"])
    signal[:, :, 1000:2000] = np.nan
    empty = noise(16, 60)
    empty[:, :, 1000:2000] = np.nan
    fitted.set_params(false_alarm_probability=0.1)
    assert fitted.predict(signal) == [1]
    # binomial, with that of the noise from which the threshold comes
    assert fitted.predict(empty).sum() <= 6 + 4 * (60 * 0.09 * (1 + 60 / 150)) ** 0.5


def test_own_noise(fitted):
    # an instrument with a line of its own
    line = 0.2 * np.sin(2 * np.pi * 4e-3 * 30 * np.arange(N)).astype(np.float32)
    fitted.set_params(false_alarm_probability=0.1)
    fresh = noise(21, 60) + line
    assert fitted.predict(fresh).mean() > 0.5
    fitted.calibrate(noise(17, 60) + line)
    assert len(fitted.noise_scores_) == 60
    assert fitted.predict(fresh).sum() <= 6 + 4 * (60 * 0.09 * 2) ** 0.5
    with pytest.raises(ValueError, match="must have 8192 samples each"):
        fitted.calibrate(fresh[:, :, :5000])


def test_from_strain_in_a_pipeline(fitted):
    f = np.fft.rfftfreq(2 * N, 30.0)
    colour = np.append(0, np.sqrt(noise_psd(f[1:]).value / 60))
    white = noise(18, 40, 2 * N)
    white[:20, :, :N] += 1.5 * SIGNALS[0]
    strain = np.fft.irfft(np.fft.rfft(white) * colour, 2 * N)[:, :, :N]  # a cut, with drifts
    answers = make_pipeline(Whitener("tianqin"), fitted.set_params(false_alarm_probability=0.1)).predict(strain)
    assert answers[:20].mean() > 0.8
    assert answers[20:].sum() <= 2 + 4 * (20 * 0.09 * (1 + 20 / 150)) ** 0.5
    with pytest.raises(ValueError, match="whiten the strain first"):
        fitted.predict(strain)


def test_odd_lengths():
    detector = make_detector(random_state=0).fit(np.concatenate([TRAINING, TRAINING[:, :, :1]], axis=2), LABELS)
    assert detector.n_samples_ == N
    assert np.isfinite(detector.decision_function(np.concatenate([SERIES, SERIES[:, :, :1]], axis=2))).all()


def test_glitches_are_no_detections(fitted):
    glitch = noise(19, 1)
    before = fitted.decision_function(glitch)
    for size in (100, 1e6, 1e21):
        glitch[0, 0, 4000] = size
        np.testing.assert_allclose(fitted.decision_function(glitch), before, atol=0.5)


@pytest.mark.parametrize(("name", "value"), [("false_alarm_probability", 2), ("prior_odds", 0), ("prior_odds", -1)])
def test_parameters_set_after_fitting_are_checked(fitted, name, value):
    with pytest.raises(ValueError, match=name):
        fitted.set_params(**{name: value}).detect(SERIES)


def test_cross_validation():
    scores = cross_val_score(make_detector(random_state=0), TRAINING, LABELS, cv=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()


def test_published_network():
    # table III of Zhang et al. (2022)
    network = Zhang2022Network(262144)
    kernels = [tuple(p.shape) for p in network.parameters() if p.dim() == 3]
    assert kernels == [(32, 2, 34), (16, 32, 8), (16, 16, 6)]
    dense = [tuple(p.shape) for p in network.parameters() if p.dim() == 2]
    assert [shape[0] for shape in dense] == [128, 32, 2]
    assert network(torch.zeros(1, 2, 262144)).shape == (1,)


def test_published_network_pools_after_its_convolutions():
    torch.manual_seed(0)
    network, x = Zhang2022Network(4096), torch.randn(3, 2, 4096)
    first, _, second, _, third, _, _ = network.features
    expected = x
    for layer, pool in ((first, 8), (second, 6), (third, 4)):
        convolved = torch.nn.functional.conv1d(expected, layer.weight, layer.bias)
        expected = torch.nn.functional.max_pool1d(torch.relu(convolved), pool)
    torch.testing.assert_close(network.features(x), expected.flatten(1))


def test_table_is_written(fitted, tmp_path):
    table = fitted.detect(SERIES)
    table.write(tmp_path / "detections.ecsv")
    again = QTable.read(tmp_path / "detections.ecsv")
    assert again.meta["n_noise"] == 150
    np.testing.assert_array_equal(again["detected"], table["detected"])
