"""Pictures of strain: the spectrogram with the tracks that were found in it, and signals over sensitivity curves."""

import astropy.units as u
import numpy as np
import torch

from astrolearn.emri.levels import levelled
from astrolearn.emri.noise import noise_psd
from astrolearn.emri.parameters import read_interval
from astrolearn.emri.series import as_wave
from astrolearn.emri.spectrogram import LineSearch, circular_series
from astrolearn.emri.tracks import SEARCH, best_tracks, noise_deviation

__all__ = ["characteristic_strain", "plot_sensitivity", "plot_spectrogram"]

_LINES = {"tianqin": ("TianQin", "#0072b2", "-"), "lisa": ("LISA", "#d55e00", "--")}  # Okabe & Ito


def plot_spectrogram(x, *, sample_interval=30 * u.s, detector="tianqin", n_tracks=1, figure=None):
    """
    Draw the power of a whitened series over time and frequency, and the strongest tracks.

    As in `~astrolearn.EMRIDetector`, the level of the noise is taken from the series, and glitches are left out.

    Parameters
    ----------
    x : array-like, shape (2, n_samples)
        Whitened channels, NaN in gaps.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Plain numbers are seconds.
    detector : {"tianqin", "lisa"}, optional
        Whose rotation is undone.
    n_tracks : int, optional
        How many tracks are marked.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`

    Raises
    ------
    ValueError
        If x has another shape or fewer than 4096 samples.
    """
    interval = read_interval(sample_interval)
    x = np.asarray(x, dtype=np.float32)
    x = x[..., : x.shape[-1] // 2 * 2]
    if x.ndim != 2 or len(x) != 2 or x.shape[1] < SEARCH.frame:
        raise ValueError(f"x has the shape {tuple(x.shape)}; expected (2, n_samples) with n_samples >= {SEARCH.frame}")
    x = torch.from_numpy(levelled(x, interval))
    figure, axes = _new_axes(figure, (8, 4.5))
    frames = LineSearch(rate_step=np.inf)
    power = frames.stokes(circular_series(torch.nan_to_num(x), detector, interval))[0, 0].T.numpy() / 2 + 1
    # means over two days raise lines above the noise; of four bins the largest is drawn, so that lines, one or two
    # bins wide, survive the pixels of the picture
    n_bins, n_frames = power.shape
    together = min(3, n_frames)
    drawn = n_frames // together * together
    power = power[:, :drawn].reshape(n_bins, -1, together).mean(axis=2)
    power = power.reshape(n_bins // 4, 4, -1).max(axis=1)
    days = x.shape[1] * interval / 86400
    step = SEARCH.frame / 2 * interval / 86400  # frames overlap by half: each stands for the half around its middle
    top = 0.5e3 / interval
    picture = axes.imshow(
        power, origin="lower", aspect="auto", extent=(step / 2, (drawn + 0.5) * step, 0, top), cmap="cividis",
        vmin=1, vmax=5, interpolation="nearest",
    )
    figure.colorbar(picture, ax=axes, label="power / mean power of noise", extend="max")
    tracks = best_tracks(SEARCH.sums(x, detector, interval), n_tracks, noise_deviation(x))
    for bins, slopes in zip(tracks.bins, tracks.slopes, strict=True):
        edges = torch.cat([bins, bins[-1:] + slopes[-1:] * SEARCH.slope_step]).numpy()
        time = np.arange(len(edges)) * SEARCH.block * interval / 86400
        inside = edges < SEARCH.n_bins
        for shift in (-1, 1):  # on either side, so that the line itself stays visible
            line = edges[inside] / SEARCH.n_bins * top + shift * top / 60
            axes.plot(time[inside], line, color="white", lw=0.8, ls=":")
    axes.set(xlabel="time (d)", ylabel="frequency (mHz)", xlim=(0, days), ylim=(0, top))
    return figure


def characteristic_strain(h_plus, h_cross, sample_interval=30 * u.s):
    """
    Characteristic strain of a wave.

    Parameters
    ----------
    h_plus, h_cross : array-like, shape (n_samples,)
        Polarisations.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Plain numbers are seconds.

    Returns
    -------
    frequency : `~astropy.units.Quantity`, shape (n_samples // 2,)
        In Hz.
    strain : `numpy.ndarray`, shape (n_samples // 2,)
        2 f times the root of the summed squared moduli of the Fourier transforms (Moore, Cole & Berry 2015, 1408.0740,
        equation 16, of both polarisations). Over the sky-averaged sensitivity sqrt(f S_n(f)) the area in logarithms of
        f is the squared SNR, averaged over the directions in the sky.
    """
    interval = read_interval(sample_interval)
    waves = [np.fft.rfft(as_wave(h, "the wave").cpu().double().numpy())[1:] * interval for h in (h_plus, h_cross)]
    frequency = np.fft.rfftfreq(len(h_plus), interval)[1:]
    return frequency * u.Hz, 2 * frequency * np.sqrt(sum(np.abs(wave) ** 2 for wave in waves))


def plot_sensitivity(h_plus, h_cross, *, sample_interval=30 * u.s, label="signal", figure=None):
    """
    Draw the characteristic strain of a wave over the sky-averaged sensitivities of TianQin and LISA.

    Parameters
    ----------
    h_plus, h_cross : array-like, shape (n_samples,)
        Polarisations.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Plain numbers are seconds.
    label : str, optional
        What the wave is called.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
    """
    figure, axes = _new_axes(figure, (7, 4.5))
    frequency, strain = characteristic_strain(h_plus, h_cross, sample_interval)
    seen = strain > 1e-3 * strain.max()
    axes.loglog(frequency[seen].value, strain[seen], color="0.6", lw=0.4, label=label, rasterized=True)
    f = np.geomspace(1e-4, 0.1, 500) * u.Hz
    for detector, (name, colour, style) in _LINES.items():
        # the two channels respond to 3/10 of a wave's power
        sensitivity = np.sqrt(f * noise_psd(f, detector) / 0.3).to_value(u.one)
        axes.loglog(f.value, sensitivity, color=colour, ls=style, lw=2, label=f"{name}, sky-averaged sensitivity")
    axes.set(xlabel="frequency (Hz)", ylabel="characteristic strain", xlim=(1e-4, 0.1), ylim=(1e-22, 1e-17))
    axes.legend(frameon=False)
    return figure


def _new_axes(figure, size):
    """Axes in a figure, which is made if there is none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained") if figure is None else figure
    return figure, figure.subplots()
