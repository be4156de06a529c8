"""What an astronomer would look at to say what a source is: its spectrum, its light curve, and what lies around it.

All of it comes from one fit of the counts (`astrolearn.sources.measure`), in which neighbours and background are taken
off. The spectrum is compared with a typical one, so that a power law of index 2.2 is flat, and a log-parabola is fitted
to it, held to the spectra that gamma-ray sources have where the photons say nothing. The light curve is that of the
spectrum as a whole: one factor for each year. What is uncertain goes with its error.
"""

import numpy as np

from astrolearn.sources.fermi.spectra import quadrature

__all__ = ["describe", "feature_names", "without_years"]

_INDEX = 2.2  # of the power law that spectra are divided by
_PIVOT = 2.0  # GeV
# Index (less the one above) and curvature of log-parabolas: about median and width over all classes of 4FGL-DR2.
_PRIOR_MEAN, _PRIOR_WIDTH = np.array([0.0, 0.12]), np.array([0.45, 0.25])
_LOWEST, _HIGHEST = np.array([-2.0, -0.3]), np.array([2.0, 1.5])
_ROUNDS = 10
_QUANTILES = 10  # of a light curve, whatever the number of years
_LARGEST = 30.0  # standard deviations; beyond, everything is certain
_FAR = 3.0  # degrees; a neighbour beyond does not matter

_PER_BIN = ("significance", "spectrum", "spectrum_error", "surroundings", "misfit")
_WHOLE = (
    "total_significance", "flux", "index", "index_error", "curvature", "curvature_error", "curvature_significance",
    "spectral_misfit", "variability_significance", "excess_variance", "yearly_error", "persistence",
    "neighbour_separation", "neighbour_brightness", "second_separation", "second_brightness",
)  # fmt: skip
_STEADY = {"variability_significance": 0.0, "excess_variance": 0.0, "yearly_error": 3.0, "persistence": 0.0}


def feature_names(n_energy):
    """
    Names of the columns of `describe`.

    Parameters
    ----------
    n_energy : int
        Energy bins.

    Returns
    -------
    list of str
    """
    per_bin = [f"{name}_{i}" for name in _PER_BIN for i in range(n_energy)]
    return per_bin + list(_WHOLE) + [f"light_curve_{i}" for i in range(_QUANTILES)]


def without_years(features, n_energy):
    """
    Features as they are if the years are not known.

    Parameters
    ----------
    features : array, shape (n, n_feature)
    n_energy : int

    Returns
    -------
    array, shape (n, n_feature)
    """
    out = np.array(features)
    for column, name in enumerate(feature_names(n_energy)):
        if name in _STEADY or name.startswith("light_curve"):
            out[:, column] = _STEADY.get(name, 0.0)
    return out


def describe(photometry, exposure, edges, coords):
    """
    Features of sources.

    Parameters
    ----------
    photometry : Photometry
        Of n_source sources in n_energy bins; with yearly counts, if there are any.
    exposure : array, shape (n_source, n_energy)
        In cm2 s, of all years.
    edges : array, shape (n_energy + 1,)
        GeV.
    coords : `~astropy.coordinates.SkyCoord`, shape (n_source,)

    Returns
    -------
    array of float32, shape (n_source, n_feature)
        Finite, of the order of one; the columns are those of `feature_names`.
    """
    energy, weights = quadrature(np.asarray(edges, float))
    photons = weights * energy**-_INDEX
    x = np.log(energy / _PIVOT)
    per_flux = np.maximum(exposure, 1e-30) * photons.sum(axis=1)  # photons of the power law of unit amplitude
    amplitude, error = photometry.counts / per_flux, photometry.counts_error / per_flux
    fit = _fit_log_parabola(amplitude, error, x, photons / photons.sum(axis=1, keepdims=True))
    shape = fit["model"] * per_flux  # photons expected in each bin
    scale = np.maximum(fit["amplitude"], fit["amplitude_error"])[:, None]
    columns = [
        np.arcsinh(amplitude / error),
        np.arcsinh(amplitude / scale),
        np.log(error / scale),
        np.log(photometry.surroundings / np.maximum(exposure, 1e-30) + 1e-30) + 20,
        np.log(photometry.misfit + 0.1),
    ]
    whole = _light_curve(photometry, shape) | _neighbours(photometry, coords)
    whole |= {
        "total_significance": np.log(photometry.significance + 1),
        "flux": np.log(scale[:, 0]) + 20,
        "index": fit["index"],
        "index_error": np.log(fit["index_error"]),
        "curvature": fit["curvature"],
        "curvature_error": np.log(fit["curvature_error"]),
        "curvature_significance": fit["curvature"] / fit["curvature_error"],
        "spectral_misfit": np.log(fit["misfit"] + 0.1),
    }
    curve = whole.pop("light_curve")
    out = np.concatenate([*columns, np.stack([whole[name] for name in _WHOLE], axis=1), curve], axis=1)
    return np.clip(np.nan_to_num(out, nan=0.0), -_LARGEST, _LARGEST).astype(np.float32)


def _fit_log_parabola(amplitude, error, x, photons):
    """
    Log-parabola of each source, by Gauss-Newton with a Gaussian prior on index and curvature.

    ``amplitude`` and ``error`` (n, n_energy) relative to a power law; ``x`` and ``photons`` (n_energy, n_node) are
    log energies and the shares of the power law's photons there.
    """
    weight = 1 / error**2
    mean = (weight * amplitude).sum(axis=1) / weight.sum(axis=1)
    floor = 1 / np.sqrt(weight.sum(axis=1))
    theta = np.stack([np.log(np.maximum(mean, floor)), *np.broadcast_to(_PRIOR_MEAN[:, None], (2, len(mean)))], axis=1)
    prior = np.diag([1e-2, *_PRIOR_WIDTH**-2.0])
    centre = np.concatenate([theta[:, :1], np.broadcast_to(_PRIOR_MEAN, (len(mean), 2))], axis=1)
    basis = np.stack([np.ones_like(x), -x, -(x**2)])
    for _ in range(_ROUNDS):
        nodes = np.exp(np.einsum("np,pbk->nbk", theta, basis)) * photons
        model, slope = nodes.sum(axis=2), np.einsum("nbk,pbk->nbp", nodes, basis)
        information = np.einsum("nb,nbp,nbq->npq", weight, slope, slope) + prior
        information *= 1 + 1e-9 * np.eye(3)  # regular however far off the amplitude is
        gradient = np.einsum("nb,nbp->np", weight * (amplitude - model), slope) + (centre - theta) @ prior
        step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
        theta = theta + np.clip(step, -0.5, 0.5)
        # a source that is not there has no spectrum: hold its amplitude to the noise
        theta[:, 0] = np.maximum(theta[:, 0], np.log(floor) - 2)
        theta[:, 1:] = np.clip(theta[:, 1:], _LOWEST, _HIGHEST)
    errors = np.sqrt(np.diagonal(np.linalg.inv(information), axis1=1, axis2=2))
    return {
        "model": model, "amplitude": np.exp(theta[:, 0]), "amplitude_error": floor,
        "index": theta[:, 1], "index_error": errors[:, 1], "curvature": theta[:, 2], "curvature_error": errors[:, 2],
        "misfit": (weight * (amplitude - model) ** 2).mean(axis=1),
    }  # fmt: skip


def _light_curve(photometry, shape):
    """Variability of the amplitude of a spectrum ``shape`` (n, n_energy), photons of all years."""
    n_source, n_years, _ = photometry.yearly_counts.shape
    if n_years < 2:
        steady = {name: np.full(n_source, value) for name, value in _STEADY.items()}
        return steady | {"light_curve": np.zeros((n_source, _QUANTILES))}
    weight = shape / photometry.counts_error**2
    power = np.maximum((weight * shape).sum(axis=1), 1e-12)
    flux = n_years * np.einsum("nb,nyb->ny", weight, photometry.yearly_counts) / power[:, None]
    error = np.sqrt(n_years / power)
    deviation = (flux - flux.mean(axis=1, keepdims=True)) / error[:, None]
    chi2, free = np.square(deviation).sum(axis=1), n_years - 1
    # Wilson & Hilferty (1931): the cube root of chi-squared is nearly Gaussian
    significance = (np.cbrt(chi2 / free) - 1 + 2 / (9 * free)) / np.sqrt(2 / (9 * free))
    ordered = np.sort(deviation, axis=1)[:, ::-1]
    places = np.linspace(0, n_years - 1, _QUANTILES)
    low = np.clip(places.astype(int), 0, n_years - 2)
    share = places - low
    curve = ordered[:, low] * (1 - share) + ordered[:, low + 1] * share
    neighbours = (deviation[:, 1:] * deviation[:, :-1]).sum(axis=1) / np.maximum(chi2, 1e-12)
    return {
        "variability_significance": np.arcsinh(significance),
        "excess_variance": np.arcsinh((chi2 / free - 1) * error**2),
        "yearly_error": np.log(error),
        "persistence": neighbours,
        "light_curve": np.arcsinh(curve),
    }


def _neighbours(photometry, coords):
    """Separations of the two nearest other sources, and how much brighter they are."""
    n_source = len(coords)
    total = np.log(np.maximum(photometry.counts.sum(axis=1), 1.0))
    out = {}
    for rank, name in enumerate(("neighbour", "second"), start=2):
        separation, brightness = np.full(n_source, _FAR), np.zeros(n_source)
        if n_source >= rank:
            index, found, _ = coords.match_to_catalog_sky(coords, nthneighbor=rank)
            separation = np.minimum(found.deg, _FAR)
            brightness = np.where(separation < _FAR, total[index] - total, 0.0)
        out |= {f"{name}_separation": separation, f"{name}_brightness": brightness}
    return out
