"""Inspirals on a GPU: the same as on the CPU."""

import numpy as np
import pytest
import torch

from astrolearn.emri import EMRIPopulation, analytic_kludge, project
from astrolearn.emri.noise import whiten, whitening_filter
from astrolearn.emri.plots import characteristic_strain

pytestmark = [
    pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("waveform", ["ak", "aak"])
def test_signals_are_those_of_the_cpu(waveform):
    population = EMRIPopulation(waveform=waveform, n_samples=4096, mass_1=(1e6, 3e6), time_to_plunge=(50, 200))
    signals = population.sample(4, 5)
    h_plus, h_cross = analytic_kludge(signals, 4096, augmented=waveform == "aak", device="cpu")
    white = whiten(project(h_plus, h_cross, signals, "tianqin"), whitening_filter(4096, 30.0, "tianqin"))
    np.testing.assert_allclose(signals["signal"], white, atol=1e-3 * white.std())


def test_characteristic_strain_of_a_wave_on_the_gpu(inspiral):
    waves = analytic_kludge(inspiral[:1], 2**13, device="cuda")
    _, strain = characteristic_strain(waves[0][0], waves[1][0])
    _, expected = characteristic_strain(*(wave[0].cpu() for wave in waves))
    np.testing.assert_allclose(strain, expected)
