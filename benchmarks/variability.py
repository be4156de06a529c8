"""Compare simulated light curves with ten years of 4FGL-DR2; part of the benchmark ``simulator``.

The catalogue's yearly fluxes have errors, so simulated curves are given the same before anything is compared.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

from astrolearn.sources.fermi import light_curves

__all__ = ["CLASSES", "N_SIMULATED", "catalogued", "compare", "correlation", "figure", "observed", "scatter"]

CLASSES = {"bll": ("bll",), "fsrq": ("fsrq",), "psr": ("psr", "msp"), "snr, pwn, spp": ("snr", "pwn", "spp")}
N_SIMULATED = 20_000
_N_BOOTSTRAP = 400
_PRECISION = 0.2  # median error of the yearly fluxes of the sources that are compared, relative to their mean
_FAINTEST = 0.03  # of the mean: years without photons have a flux of zero, and no logarithm


def catalogued(gamma):
    """
    Light curves of 4FGL-DR2 at b > 0, of sources whose yearly fluxes are known to 20 %.

    Parameters
    ----------
    gamma : Path
        Folder of the gamma-ray data.

    Returns
    -------
    dict
        From the keys of `CLASSES` to yearly over mean fluxes, and their errors, each (n_source, n_year).
    """
    table = Table.read(gamma / "4fgl_dr2_north.fits.gz", hdu=1)
    flux = np.asarray(table["Flux_History"], float)
    lower, upper = np.moveaxis(np.abs(np.asarray(table["Unc_Flux_History"], float)), -1, 0)
    error = np.where(np.isnan(lower), upper, lower)  # upper limits have no lower error
    mean = flux.mean(axis=1)
    precise = np.median(error, axis=1) < _PRECISION * mean
    classes = np.char.strip(np.char.lower(np.asarray(table["CLASS1"]).astype(str)))
    chosen = {name: precise & np.isin(classes, members) for name, members in CLASSES.items()}
    return {name: (flux[c] / mean[c, None], error[c] / mean[c, None]) for name, c in chosen.items()}


def observed(name, error, n=N_SIMULATED):
    """Simulated light curves with errors that are typical of the catalogue's and grow as the root of the flux."""
    rng = np.random.default_rng(2)
    curves = light_curves([CLASSES[name][0]] * n, error.shape[1], 1)
    sigma = np.median(error, axis=1)[rng.integers(len(error), size=n), None] * np.sqrt(curves)
    measured = np.maximum(curves + sigma * rng.normal(size=curves.shape), 0)
    mean = measured.mean(axis=1, keepdims=True)
    return measured / mean, sigma / mean


def scatter(ratio, error):
    """Scatter (n,) in dex of log-normal yearly over mean fluxes (n, n_year), without what their errors add."""
    excess = ratio.var(axis=1, ddof=1) - np.mean(error**2, axis=1)
    return np.sqrt(np.log1p(np.maximum(excess, 0))) / np.log(10)


def correlation(ratio):
    """Correlation of the log fluxes of successive years, less each source's mean."""
    logs = np.log10(np.maximum(ratio, _FAINTEST))
    logs -= logs.mean(axis=1, keepdims=True)
    return np.corrcoef(logs[:, 1:].ravel(), logs[:, :-1].ravel())[0, 1]


def _numbers(ratio, error):
    return np.array([*np.percentile(scatter(ratio, error), (16, 50, 84)), *np.percentile(ratio, (5, 95)),
                     correlation(ratio)])


def compare(gamma):
    """Rows of a table: a header, and for each class what is catalogued (± bootstrap error) / what is simulated."""
    rng = np.random.default_rng(0)
    rows = [("class", "sources", "scatter, 16 %", "median", "84 % [dex]", "5 % of yearly / mean flux", "95 %",
             "correlation of successive years")]
    for name, (ratio, error) in catalogued(gamma).items():
        samples = rng.integers(len(ratio), size=(_N_BOOTSTRAP, len(ratio)))
        spread = np.std([_numbers(ratio[chosen], error[chosen]) for chosen in samples], axis=0)
        triples = zip(_numbers(ratio, error), spread, _numbers(*observed(name, error)), strict=True)
        cells = (f"{real:.3f} ± {e:.3f} / {ours:.3f}" for real, e, ours in triples)
        rows.append((name.upper(), str(len(ratio)), *cells))
    return rows


def figure(gamma, path):
    """Distribution of the scatter of BL Lacs, FSRQs and pulsars, catalogued and simulated."""
    fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    looks = {"bll": ("BL Lacs", "#0072B2", "-"), "fsrq": ("FSRQs", "#D55E00", "--"), "psr": ("pulsars", "#009E73", ":")}
    catalogue = catalogued(gamma)
    for name, (label, colour, style) in looks.items():
        ratio, error = catalogue[name]
        for (values, errors), thick in ((catalogue[name], 2.5), (observed(name, error), 1.0)):
            x = np.sort(scatter(values, errors))
            which = f"{label}, 4FGL-DR2 ({len(ratio)})" if thick > 1 else f"{label}, simulated"
            ax.plot(x, np.arange(1, len(x) + 1) / len(x), style, color=colour, lw=thick,
                    alpha=0.5 if thick > 1 else 1.0, drawstyle="steps-post", label=which)
    ax.set(xlabel="scatter of yearly fluxes within ten years, errors subtracted [dex]",
           ylabel="share of the sources below", xlim=(0, 0.6), ylim=(0, 1))
    ax.legend(loc="lower right")
    fig.savefig(path, dpi=130)
    plt.close(fig)
