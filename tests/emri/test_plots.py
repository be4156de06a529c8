"""Pictures show what they say."""

import astropy.units as u
import numpy as np
import pytest

from astrolearn.emri import analytic_kludge, noise_psd
from astrolearn.emri.plots import characteristic_strain, plot_sensitivity, plot_spectrogram


def test_spectrogram_marks_the_track():
    n = 2**16
    time = 30.0 * np.arange(n)
    rng = np.random.default_rng(0)
    turn = np.exp(-4j * np.pi * time / (3.65 * 86400))
    z = 0.3 * np.exp(2j * np.pi * 6e-3 * time) * turn
    figure = plot_spectrogram(rng.normal(size=(2, n)) + np.stack([z.real, z.imag]))
    axes = figure.axes[0]
    assert axes.get_xlabel() == "time (d)"
    assert axes.get_xlim() == pytest.approx((0, n * 30 / 86400))
    heights = [line.get_ydata().mean() for line in axes.lines]
    assert np.mean(heights) == pytest.approx(6, abs=0.1)


def test_characteristic_strain_gives_the_snr(inspiral):
    # Moore, Cole & Berry (2015), equation 17: SNR^2 = integral of (h_c / h_n)^2 over ln f; averaged over directions
    h_plus, h_cross = (h[0].numpy() for h in analytic_kludge(inspiral[:1], 2**15))
    frequency, strain = characteristic_strain(h_plus, h_cross)
    used = frequency > 1e-4 * u.Hz
    noise2 = frequency * noise_psd(frequency) / 0.3
    squared = np.sum((strain**2 / noise2.to_value(u.one) / frequency.value * frequency[0].value)[used])
    by_hand = 0.0
    for h in (h_plus, h_cross):
        spectrum = np.fft.rfft(h.astype(float))[1:] * 30
        by_hand += 4 * np.sum((np.abs(spectrum) ** 2 / (noise_psd(frequency).value / 0.3))[used]) * frequency[0].value
    assert squared == pytest.approx(by_hand, rel=1e-6)


def test_sensitivity_curves(inspiral):
    figure = plot_sensitivity(*(h[0].numpy() for h in analytic_kludge(inspiral[:1], 2**13)))
    axes = figure.axes[0]
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["signal", "TianQin, sky-averaged noise", "LISA, sky-averaged noise"]
    assert "Hz" in axes.get_xlabel()
