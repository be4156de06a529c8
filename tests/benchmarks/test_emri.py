"""The benchmarks' statistics of detections, on scores whose answer is known."""

import numpy as np
import pytest
import torch

from benchmarks.emri import detection
from benchmarks.emri.context import NAMES, binomial, thresholds, white_noise
from benchmarks.emri.peers import PEERS, SpectrogramNetwork, _Fading


def test_threshold_and_its_error():
    rng = np.random.default_rng(0)
    limits = thresholds({"normal": rng.normal(size=20000)})
    threshold, resampled = limits["normal"]
    assert threshold == pytest.approx(2.326, abs=0.08)
    # sqrt(p (1 - p) / n) / density
    assert resampled.std() == pytest.approx(np.sqrt(0.01 * 0.99 / 20000) / 0.0267, rel=0.3)


def test_true_alarms_have_both_errors():
    scores = np.repeat([0.0, 1.0], [100, 300])
    share, error = binomial(scores, 0.5, np.array([0.4, 0.6]))
    assert share == 0.75
    assert error == pytest.approx(np.sqrt(0.75 * 0.25 / 400), rel=0.02)
    _, with_threshold = binomial(np.linspace(0, 1, 400), 0.5, np.array([0.4, 0.6]))
    assert with_threshold == pytest.approx(np.hypot(0.025, 0.1), rel=0.05)
    share, error = binomial(np.ones(500), 0.5, np.array([0.4, 0.6]))
    assert share == 1
    assert 0 < error < 0.003


def test_plain_network_on_the_spectrogram():
    network = SpectrogramNetwork(4)
    logits = network(torch.randn(2, 2, 2**15))
    assert logits.shape == (2,)
    assert torch.isfinite(logits).all()


def test_training_signals_fade_to_their_own_loudness():
    signals = np.full((10, 2, 1000), 100.0, dtype=np.float16)
    series = _Fading(signals, np.random.default_rng(0), louder=4, n_epochs=1)
    read = [series[i] for i in range(len(series))]
    assert [label for _, label in read] == [0, 1] * 10
    levels = np.array([x.mean() for x, _ in read])
    assert levels[::2] == pytest.approx(0, abs=0.1)
    assert levels[1] == pytest.approx(400 * 4**-0.1, abs=1)
    assert (np.diff(levels[1:10:2]) < 0).all()
    assert levels[11::2] == pytest.approx(100, abs=0.1)


def test_every_peer_has_a_title():
    assert set(PEERS) < set(NAMES)


def test_strain_whitened_with_a_measured_density_is_white():
    rng = np.random.default_rng(1)
    white = detection._rewhitened(detection._measured(1024))(white_noise(rng).repeat(2, axis=1)[:, : 2**17])
    assert white.std() == pytest.approx(1, abs=0.03)


def test_a_tenth_is_missing():
    x = detection._with_gaps(white_noise(np.random.default_rng(2)), days=9)
    assert np.isnan(x).mean() == pytest.approx(0.1, abs=0.002)
