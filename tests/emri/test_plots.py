"""Pictures show what they say."""

import astropy.units as u
import numpy as np
import pytest
import torch

from astrolearn.emri import analytic_kludge, noise_psd, project
from astrolearn.emri.noise import signal_to_noise, whiten, whitening_filter
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
    # the area over ln f of (h_c / h_n)^2 is the squared SNR of the response, averaged over directions and polarisations
    n, n_directions = 2**15, 400
    h_plus, h_cross = analytic_kludge(inspiral[:1], n)
    frequency, strain = characteristic_strain(h_plus[0], h_cross[0])
    used = frequency > 1e-4 * u.Hz
    noise2 = frequency * noise_psd(frequency) / 0.3
    squared = np.sum((strain**2 / noise2.to_value(u.one) / frequency.value * frequency[0].value)[used])
    rng = np.random.default_rng(0)
    where = {"theta_S": np.arccos(rng.uniform(-1, 1, n_directions)), "phi_S": rng.uniform(0, 2 * np.pi, n_directions)}
    psi = torch.tensor(rng.uniform(0, np.pi, n_directions), dtype=torch.float32)[:, None]
    turned = (torch.cos(2 * psi) * h_plus + torch.sin(2 * psi) * h_cross,
              torch.cos(2 * psi) * h_cross - torch.sin(2 * psi) * h_plus)
    snr = signal_to_noise(whiten(project(*turned, where, "tianqin"), whitening_filter(n, 30.0, "tianqin")))
    error = snr.square().std().item() / n_directions**0.5
    assert snr.square().mean().item() == pytest.approx(squared, abs=4 * error)
    assert error < 0.05 * squared


def test_sensitivity_curves(inspiral):
    figure = plot_sensitivity(*(h[0].numpy() for h in analytic_kludge(inspiral[:1], 2**13)))
    axes = figure.axes[0]
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["signal", "TianQin, sky-averaged sensitivity", "LISA, sky-averaged sensitivity"]
    assert "Hz" in axes.get_xlabel()


@pytest.mark.parametrize("shape", [(2, 100), (3, 5000), (5000,)])
def test_series_that_cannot_be_drawn(shape):
    with pytest.raises(ValueError, match="expected \\(2, n_samples\\) with n_samples >= 4096"):
        plot_spectrogram(np.zeros(shape))
