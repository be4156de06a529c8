"""
What the network sees of a series: its strongest tracks, each with the comb of harmonics that it may belong to.

An eccentric inspiral spreads its power over harmonics n nu + gamma' / pi of the radial frequency nu and, as its orbital
plane precesses, over sidebands at multiples of alpha' / 2 pi; no single track is strong. But the tracks of all of them
follow from that of one. If this is the n-th harmonic at the frequency f(t) and the periapsis advances by x = gamma' /
(pi nu), the spacing is nu = f / (n + x), and x grows as nu^(2/3) while the orbit shrinks (Barack & Cutler 2004,
equation 29), so that n and x at one time fix the whole comb.

So, for each of the strongest tracks: the spectrogram is straightened along it, each frequency following the track in
proportion, and summed over time, with small drifts for lines that do not follow in proportion. In the resulting spectra
the combs of all n and x are summed, and the surroundings of the teeth of the best combs are cut out: nine harmonics,
with 16 bins on either side for the sidebands, in total power and in the polarisation of the track.
"""

import numpy as np
import torch

from astrolearn.emri.levels import levelled
from astrolearn.emri.tracks import SEARCH, best_tracks, noise_deviation

__all__ = ["N_SCALARS", "PATCH_SHAPE", "candidates"]

N_TRACKS = 32
N_COMBS = 2  # of each track
_HARMONICS = torch.arange(-3, 6)  # relative to that of the track
_SIDE = 16  # bins on either side of a tooth
_ORDERS = torch.arange(1, 6)  # which harmonic the track may be
_ADVANCES = torch.linspace(0, 1.4, 150)  # of the periapsis, x
_DRIFTS = torch.arange(-48, 49, 4)  # bins that a line may drift against the track over the data
_LARGEST = 6e4
_FLOOR = 1.5  # standard deviations that a tooth must exceed to count for its comb
PATCH_SHAPE = (2, len(_HARMONICS), 2 * _SIDE + 1)
N_SCALARS = 11


def candidates(x, detector, sample_interval):
    """
    Tracks and combs of a series.

    Parameters
    ----------
    x : `numpy.ndarray`, float32 (2, n_samples)
        Whitened channels, NaN in gaps.
    detector : str
        It says how fast the satellites turn.
    sample_interval : float
        In s.

    Returns
    -------
    patches : `numpy.ndarray`, float16 (64, 2, 9, 33)
        Two combs of each of 32 tracks: power (total; in the track's polarisation) around the teeth, in standard
        deviations of noise.
    scalars : `numpy.ndarray`, float32 (64, 11)
        Strength of the track in the best of six polarisations and in its own, degree of polarisation, frequency in the
        middle, mean and last slope, order n, spacing and advance of the comb, strength of the comb, first frequency.
    """
    x = torch.from_numpy(levelled(x, sample_interval))
    deviation = noise_deviation(x)
    sums = SEARCH.sums(x, detector, sample_interval)
    tracks = best_tracks(sums, N_TRACKS, deviation)
    lowest = SEARCH.lowest_bin(sample_interval)
    spectra, own = _straightened(sums, tracks)
    spectra /= deviation
    polarized = own[1:].norm(dim=0)
    order, advance, strength, teeth, drift = _best_combs(spectra, tracks, lowest)

    rows = teeth[..., None] + torch.arange(-_SIDE, _SIDE + 1)
    inside = (rows >= lowest) & (rows < SEARCH.n_bins)
    flat = drift[..., None] * SEARCH.n_bins + rows.clamp(0, SEARCH.n_bins - 1)
    flat = flat.view(N_TRACKS, 1, -1).expand(-1, 2, -1)
    patches = torch.gather(spectra.view(N_TRACKS, 2, -1), 2, flat).view(N_TRACKS, 2, *rows.shape[1:]) * inside[:, None]

    slopes = tracks.slopes.float() / SEARCH.n_slopes
    of_track = [
        tracks.score, 0.5 * (own[0] + polarized) / deviation, polarized / own[0].abs().clamp(min=1),
        tracks.middle / SEARCH.n_bins, slopes.mean(dim=1), slopes[:, -1],
    ]
    first = tracks.bins[:, 0] / SEARCH.n_bins
    scalars = [
        *(value[:, None].expand(-1, N_COMBS) for value in of_track),
        order, 1 / (order + advance), advance, strength, first[:, None].expand(-1, N_COMBS),
    ]
    patches = patches.transpose(1, 2).reshape(-1, *PATCH_SHAPE)
    # a strong line would be infinite in half precision, and its score no number
    patches = patches.clamp(-_LARGEST, _LARGEST).numpy().astype(np.float16)
    return patches, torch.stack(scalars, dim=-1).reshape(-1, N_SCALARS).numpy()


def _straightened(sums, tracks):
    """Spectra (n, 2, n_drifts, n_bins) along each track, and the Stokes parameters (4, n) of the tracks themselves."""
    n_bins, n_slopes = SEARCH.n_bins, SEARCH.n_slopes
    middle = tracks.middle[:, None].float()
    grid = torch.arange(n_bins, dtype=torch.float32)

    packed = sums.flatten(1).T.contiguous()  # the four parameters of a line side by side: one look-up for all

    def look_up(bins, slopes):
        inside = (bins >= 0) & (bins < n_bins) & (slopes < n_slopes)
        block = torch.arange(sums.shape[1])[None, :, None]
        where = (block * n_slopes + slopes.clamp(0, n_slopes - 1)) * n_bins + bins.clamp(0, n_bins - 1)
        return packed[where] * inside[..., None]  # (n, n_blocks, n_positions, 4)

    # a frequency g in the middle of the data is g times the track's relative growth at other times
    bins = ((tracks.bins / middle)[:, :, None] * grid + 0.5).long()
    slopes = ((tracks.slopes / middle)[:, :, None] * grid + 0.5).long()
    along = look_up(bins, slopes)
    own = look_up(tracks.bins[:, :, None], tracks.slopes[:, :, None]).sum(dim=(1, 2)).T
    direction = own[1:] / own[1:].norm(dim=0).clamp(min=1e-9)
    # total power, and power in the track's polarisation, both of unit variance
    total = torch.tensor([0.5**0.5, 0, 0, 0]).expand(len(middle), 4)
    polarized = torch.cat([torch.full((len(middle), 1), 0.5), 0.5 * direction.T], dim=1)
    maps = torch.stack([total, polarized], dim=1) @ along.flatten(1, 2).transpose(1, 2)
    maps = maps.view(len(middle), 2, sums.shape[1], n_bins)

    n_blocks = maps.shape[2]
    reach = int(_DRIFTS.max()) // 2 + 2
    padded = torch.nn.functional.pad(maps, (reach, reach))
    spectra = torch.zeros(len(maps), 2, len(_DRIFTS), n_bins)
    for i, drift in enumerate(_DRIFTS.tolist()):
        for block in range(n_blocks):
            offset = reach + round(drift * (block - n_blocks // 2) / n_blocks)
            spectra[:, :, i] += padded[:, :, block, offset : offset + n_bins]
    return spectra, own


def _best_combs(spectra, tracks, lowest):
    """Order, advance and strength (n, n_combs), and bins and drifts of the teeth (n, n_combs, n_harmonics)."""
    n, n_bins = len(spectra), SEARCH.n_bins
    middle = tracks.middle[:, None, None, None].float()
    growth = (tracks.bins[:, -1].clamp(min=1) / tracks.bins[:, 0].clamp(min=1)).clamp(max=20) ** (2 / 3)
    growth = growth.sqrt()[:, None, None]
    denominator = _ORDERS[:, None] + _ADVANCES
    spacing = 1 / denominator  # of the track's frequency, in the middle of the data
    change = 1 / (_ORDERS[:, None] + _ADVANCES * growth) - 1 / (_ORDERS[:, None] + _ADVANCES / growth)
    teeth = (middle * (1 + _HARMONICS * spacing[..., None]) + 0.5).long()
    limit, step = int(_DRIFTS.max()), int(_DRIFTS[1] - _DRIFTS[0])
    drift = (change[..., None] * _HARMONICS * middle).clamp(-limit, limit)
    drift = ((drift + limit) / step + 0.5).long()
    inside = (teeth >= lowest) & (teeth < n_bins)

    wide = torch.nn.functional.max_pool1d(spectra.view(n, -1, n_bins), 3, 1, 1).view(n, 2, -1)
    where = (drift * n_bins + teeth.clamp(0, n_bins - 1)).view(n, 1, -1).expand(-1, 2, -1)
    power = torch.gather(wide, 2, where).view(n, 2, *teeth.shape[1:]) * inside[:, None]
    strength = (power - _FLOOR).clamp(min=0)[..., _HARMONICS != 0].sum(dim=(1, -1))  # (n, n_orders, n_advances)
    best, which = strength.max(dim=-1)
    best, order = best.topk(N_COMBS, dim=1)
    which = which.gather(1, order)
    rows = torch.arange(n)[:, None]
    return _ORDERS[order].float(), _ADVANCES[which], best, teeth[rows, order, which], drift[rows, order, which]
