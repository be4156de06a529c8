"""The track statistics: what they say of noise and of lines whose strength is known."""

import astropy.units as u
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from astrolearn.emri import project, track_statistic
from astrolearn.emri.candidates import N_SCALARS, PATCH_SHAPE, candidates
from astrolearn.emri.levels import levelled
from astrolearn.emri.spectrogram import LineSearch, circular_series, power_along
from astrolearn.emri.tracks import POLARIZATIONS, SEARCH, best_tracks, noise_deviation

N = 2**17
TIANQIN_TURN = 1 / (3.65 * 86400)


def noise(seed, n_samples=N):
    return np.random.default_rng(seed).standard_normal((2, n_samples), dtype=np.float32)


def line(frequency, rise, snr, n_samples=N, polarization=(1, 0), turn=TIANQIN_TURN):
    """A line that rises by some bins of the search's frames, as the turning detector sees it."""
    time = 30.0 * np.arange(n_samples)
    duration = time[-1]
    width = 1 / (30 * SEARCH.frame)
    phase = 2 * np.pi * (frequency * time + 0.5 * rise * width * time**2 / duration)
    right, left = polarization
    z = (right * np.exp(1j * phase) + left * np.exp(-1j * phase)) * np.exp(-4j * np.pi * turn * time)
    x = np.stack([z.real, z.imag])
    return (x * snr / np.sqrt((x * x).sum())).astype(np.float32)


def test_circular_series_of_noise_is_white():
    y = circular_series(torch.from_numpy(noise(0)), "tianqin", 30.0)
    assert y.shape == (2, N // 2)
    assert y.abs().square().mean().item() == pytest.approx(1, abs=0.02)
    assert (y[0] * y[1].conj()).mean().abs().item() < 0.02
    assert kstest(y.real.flatten().numpy(), "norm", args=(0, 0.5**0.5)).pvalue > 1e-3


def test_derotation_leaves_one_line_of_two():
    y = circular_series(torch.from_numpy(line(5e-3, 0, 100)), "tianqin", 30.0)
    spectrum = torch.fft.fft(y).abs().square()
    right, left = spectrum.sum(dim=1)
    assert (left / right).item() < 1e-3
    assert (spectrum[0].topk(3).values.sum() / right).item() > 0.95
    at = spectrum[0].argmax().item() / (N * 30.0)
    assert at == pytest.approx(5e-3, abs=2 / (N * 30))


@pytest.mark.parametrize("handedness", [1, -1])
def test_derotation_undoes_the_response(handedness):
    # a circularly polarised wave of one frequency, from along the axis of TianQin and from elsewhere
    time = 30.0 * np.arange(N)
    plus = torch.tensor(np.cos(2 * np.pi * 3e-3 * time))[None].repeat(2, 1)
    cross = torch.tensor(handedness * np.sin(2 * np.pi * 3e-3 * time))[None].repeat(2, 1)
    where = {"theta_S": [94.7, 60.0] * u.deg, "phi_S": [120.5, 150.0] * u.deg}
    for h in project(plus, cross, where, "tianqin")[..., 500 : N // 2]:  # before the Doppler shift spreads the line
        turned = torch.fft.fft(circular_series(h, "tianqin", 30.0)).abs().square()
        still = torch.fft.fft(torch.complex(*h)).abs().square()
        # the turning plane splits a line into those 2 F above and below
        assert turned.flatten().topk(5).values.sum() > 0.8 * turned.sum()
        assert turned.argmax(dim=1).max().item() == pytest.approx(3e-3 * 30 * h.shape[1], abs=3)
        apart = (still.topk(2).indices - 3e-3 * 30 * h.shape[1]).abs()
        assert (apart > 5).any()


def test_noise_has_no_power_on_average():
    stokes = SEARCH.stokes(circular_series(torch.from_numpy(noise(1)), "tianqin", 30.0))
    n = stokes[0, 0].numel()
    assert (stokes.mean(dim=(2, 3)).abs() < 10 / n**0.5).all()
    # S0 is a sum of two exponential variables
    assert stokes[:, 0].var().item() == pytest.approx(2, rel=0.05)


def test_power_of_a_line():
    # a line of power snr^2 in both real channels has snr^2 / 2 in z over the frames' samples, seen twice by frames that
    # overlap by half with sine windows
    snr = 30
    sums = SEARCH.sums(torch.from_numpy(line(5e-3, 0, snr)), "tianqin", 30.0)
    noise_mean = 2 * SEARCH.n_frames(N)
    total = sums[0, :, 0, 20:].sum().item() + noise_mean * (SEARCH.n_bins - 20)
    assert total == pytest.approx(snr**2, rel=0.05)


@pytest.mark.parametrize("rise", [0, 40, 150])
@pytest.mark.parametrize("polarization", [(1, 0), (0, 1), (0.7, 0.7)])
def test_smooth_tracks_are_found(rise, polarization):
    x = levelled(noise(2) + line(4e-3, rise, 25, polarization=polarization), 30)
    sums = SEARCH.sums(torch.from_numpy(x), "tianqin", 30.0)
    tracks = best_tracks(sums, 4, noise_deviation(torch.from_numpy(x)))
    first = 4e-3 * 30 * SEARCH.frame
    assert abs(tracks.bins[0, 0].item() - first) <= 4
    ends = tracks.bins[0, -1].item() + tracks.slopes[0, -1].item() * SEARCH.slope_step
    assert abs(ends - first - rise) <= 8
    assert tracks.score[0] > 1.5 * tracks.score[1] or abs(tracks.middle[1] - tracks.middle[0]) < 12
    (statistic,) = track_statistic(x[None])
    assert statistic == pytest.approx(tracks.score[0].item(), rel=0.01)  # its level is taken out twice
    assert statistic > track_statistic(noise(2)[None])[0] + 3


def test_score_is_in_standard_deviations():
    # the sum along one fixed track
    values = []
    for seed in range(30):
        sums = SEARCH.sums(torch.from_numpy(noise(seed, 2**16)), "tianqin", 30.0)
        power = power_along(sums, POLARIZATIONS)[:, :, 3]
        values.append(power.sum(dim=1)[:, 100:1500:50])
    values = torch.stack(values) / noise_deviation(torch.zeros(2, 2**16))
    assert values.mean().item() == pytest.approx(0, abs=0.05)
    assert values.std().item() == pytest.approx(1, abs=0.08)


def test_chirps_are_put_together_again():
    x = line(4e-3, 160, 60, n_samples=2**16)
    scores = []
    for rate_step in (2.0, np.inf):
        search = LineSearch(rate_step=rate_step)
        y = circular_series(torch.from_numpy(x), "tianqin", 30.0)
        scores.append(search.line_sums(search.stokes(y), 30.0)[0].amax(dim=(1, 2)).sum().item())
    assert scores[0] > 1.5 * scores[1]


def test_gaps_have_no_power():
    x = noise(3)
    x[:, N // 4 : N // 2] = np.nan
    sums = SEARCH.sums(torch.from_numpy(x), "tianqin", 30.0)
    assert torch.isfinite(sums).all()
    assert abs(sums[0].mean().item()) < 0.3
    signal = line(5e-3, 20, 40)
    signal[:, N // 4 : N // 2] = np.nan
    (with_signal, without) = track_statistic(np.stack([x + signal, x]))
    assert with_signal > without + 5


def test_the_detector_matters():
    x = noise(4) + line(5e-3, 0, 25, polarization=(0.7, 0.7))
    right = track_statistic(x[None])[0]
    assert right > track_statistic(x[None], detector="lisa")[0] + 2


def test_viterbi():
    x = noise(5)
    plain, strong = track_statistic(np.stack([x, x + line(5e-3, 10, 40)]), "viterbi")
    assert strong > plain + 5


def test_candidates_know_the_comb():
    # three lines at equal distances, rising together
    x = noise(6)
    for harmonic, snr in ((2, 25), (3, 20), (4, 18)):
        x += line(harmonic * 1.5e-3, harmonic * 15, snr)
    patches, scalars = candidates(x, "tianqin", 30.0)
    assert patches.shape == (64, *PATCH_SHAPE) == (64, 2, 9, 33)
    assert patches.dtype == np.float16
    assert scalars.shape == (64, N_SCALARS)
    assert np.isfinite(scalars).all()
    strongest = scalars[0]
    # the strongest is the second harmonic: the spacing is half of its frequency, or half of that again
    assert strongest[3] * SEARCH.n_bins == pytest.approx((3e-3 * 30 * SEARCH.frame) + 15, abs=3)
    assert min(abs(strongest[7] - 0.5), abs(strongest[7] - 0.25)) < 0.01
    teeth = patches[0, 0, :, 15:18].max(axis=1)
    step = round(0.5 / strongest[7])
    assert set(np.argsort(teeth)[-3:]) == {3, 3 + step, 3 + 2 * step}


def test_more_processes_same_numbers():
    x = np.stack([noise(seed, 2**14) for seed in range(3)])
    np.testing.assert_allclose(track_statistic(x, n_jobs=2), track_statistic(x), rtol=1e-6)


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((1, 2, 1000)), r"X\[0\] has 1000 samples; at least 4096"),
    (1e-20 * noise(0, 8192)[None], r"X\[0\]: the noise in channel I .* whiten"),
    (np.full((1, 2, 8192), np.nan), "too few to search"),
    (np.zeros((1, 3, 8192)), "shape"),
    (noise(0, 8192)[None] * u.m, "unit 'm'"),
])
def test_bad_series(x, message):
    with pytest.raises(ValueError, match=message):
        track_statistic(x)


def test_bad_arguments():
    with pytest.raises(ValueError, match="method='hough'"):
        track_statistic(noise(0)[None], "hough")
    with pytest.raises(ValueError, match="detector"):
        track_statistic(noise(0)[None], detector="virgo")
