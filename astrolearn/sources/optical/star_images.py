"""How the finder treats optical images: from pixels to a catalogue of stars with calibrated probabilities.

The flow is one way: an image is brought to light over noise (`images`), the network turns tiles of it into maps of
heat, probability and offsets (`network`), peaks of the heat become candidates, and these become fluxes and centroids
(`measure`). What is a star is the network's to say: saturated stars, whose position and flux cannot be had, galaxies
that are resolved, cosmic rays, trails and hot pixels are not listed.
"""

import warnings
from functools import partial

import astropy.units as u
import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs.utils import proj_plane_pixel_area, skycoord_to_pixel
from scipy.ndimage import maximum_filter
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from astrolearn.core.inputs import as_quantity
from astrolearn.core.tables import SampleTable
from astrolearn.sky.matching import match, source_coords
from astrolearn.sky.psf import GAUSSIAN_R68
from astrolearn.sky.tiling import tiles
from astrolearn.sources.localize import MERGE, merge_points
from astrolearn.sources.network import OUTPUTS, bounded
from astrolearn.sources.optical.images import read_image
from astrolearn.sources.optical.measure import measure_flux, windowed_centroids
from astrolearn.sources.optical.network import HALO, STEP, StarUNet
from astrolearn.sources.optical.patches import PatchDataset, StarPatches
from astrolearn.sources.patches import augment

__all__ = ["StarImages"]

_SELECTIONS = 2  # of scaling errors and choosing anew
_ONE_SIGMA = 0.6827  # share within one standard deviation
_TILE = 512  # pixels
_WIDTHS = (0.8, 15.0)  # pixels that stars may be wide
_ENOUGH = 50  # positions whose errors are calibrated
_FLOOR = 0.02  # peaks of heat below this are noise
_LEARNT = 0.7  # stars from this share of min_significance on are shown to the network: it says itself how sure it is
_UNCALIBRATED = {"weights": [1.0, 0.0, 0.0], "intercept": 0.0, "offset_error": [1.0, 0.0], "windowed_error": [1.0, 0.0]}


class StarImages:
    """
    What `~astrolearn.PointSourceFinder` does with images of kind ``"optical"``.

    Parameters
    ----------
    finder : `~astrolearn.PointSourceFinder`
        Whose parameters, network and calibration are used.
    """

    defaults = {
        "threshold": 0.5,
        "localizer": "windowed",
        "match_radius": 1.0,
        "min_significance": 5.0,
        "psf": None,
        "width": 48,
    }
    localizers = ("windowed", "offset")
    net_options = {"criterion__margin": 0}  # beyond a patch there is nothing, as beyond an image
    augment = staticmethod(augment)
    dataset = staticmethod(PatchDataset)

    def __init__(self, finder):
        self.finder = finder
        self.radius = as_quantity(finder.setting("match_radius"), u.pix, "match_radius").value
        fwhm = finder.setting("psf")
        self.fwhm = None if fwhm is None else as_quantity(fwhm, u.pix, "psf").value
        if self.fwhm is not None and not _WIDTHS[0] <= self.fwhm <= _WIDTHS[1]:
            least, most = _WIDTHS
            raise ValueError(f"psf={fwhm!r}: the width of stars must be between {least:g} and {most:g} pixels")
        if not self.radius > 0:
            raise ValueError(f"match_radius={finder.match_radius!r} is not positive")

    def network(self):
        """What makes the untrained network."""
        return partial(StarUNet, width=self.finder.setting("width"))

    def preparation(self, training):
        """
        What prepares a pair of image and sources, in any process.

        Parameters
        ----------
        training : bool
            Whether there are patches to be cut.

        Returns
        -------
        callable
            Of (pair, seed), to patches (or None) and what `calibrate` takes.
        """
        least = self.finder.setting("min_significance")
        return partial(_prepare, fwhm=self.fwhm, least=least, radius=self.radius if training else None)

    def predict(self, image):
        """Catalogue of an image, see `~astrolearn.PointSourceFinder.predict`."""
        star_image = read_image(image, self.fwhm)
        found = self._measure(star_image, self._rated(self._candidates(star_image)))
        found = found[found["probability"] >= self.finder.setting("threshold")]
        if star_image.n_stars == 0 and len(found):
            warnings.warn("there are too few bright stars to measure their width, which is taken to be "
                          f"{star_image.fwhm:g} pixels: set the finder's psf if you know better", AstropyUserWarning,
                          stacklevel=3)  # fmt: skip
        return self._catalogue(star_image, found)

    def predict_map(self, image):
        """Probability per pixel, see `~astrolearn.PointSourceFinder.predict_map`."""
        star_image = read_image(image, self.fwhm)
        probability = np.where(star_image.valid, expit(self._maps(star_image)["match"].astype(np.float32)), 0)
        return type(image)(
            probability, unit=u.dimensionless_unscaled, wcs=image.wcs, mask=~star_image.valid
        )

    def compare(self, image, truth):
        """Numbers of true detections, detections and stars asked for, in an image of known stars."""
        sources = _positions(image, truth, self.finder.setting("min_significance"))
        catalogue = self.predict(image)
        if not len(catalogue):
            return 0, 0, len(sources["asked"])
        result = match(_xy(catalogue), sources["asked"], self.radius, ignore=sources["others"], n_shifts=2)
        return len(result.catalogue_index), np.sum(~result.ignored), len(sources["asked"])

    def _maps(self, image):
        """The network's outputs for the whole image: dict of arrays (height, width), logits where they are such."""
        shape = image.valid.shape
        out = {name: np.zeros(shape, np.float32 if name == "source" else np.float16) for name in OUTPUTS}
        channels = image.channels()
        some = list(tiles(shape, size=_TILE, halo=HALO, step=STEP))
        batches = ({"image": np.pad(channels[(slice(None), *t.outer)], ((0, 0), *t.pad))[None]} for t in some)
        for tile, result in zip(some, self.finder._forward_batches(batches, total=len(some)), strict=True):
            for name, values in zip(OUTPUTS, result[0], strict=True):
                out[name][tile.inner] = values[tile.crop]
        return out

    def _candidates(self, image):
        """All peaks of the heat as the network has them: table of x_centroid, y_centroid and evidence."""
        maps = self._maps(image)
        heat = maps["source"]
        peak = (heat > logit(_FLOOR)) & (heat == maximum_filter(heat, 3)) & image.valid
        row, column = np.nonzero(peak)
        values = {name: maps[name][row, column].astype(float) for name in OUTPUTS}
        x, y = (axis + np.clip(values[name], -1, 1) for axis, name in ((column, "dx"), (row, "dy")))
        inside = (x > -0.5) & (y > -0.5) & (x < heat.shape[1] - 0.5) & (y < heat.shape[0] - 0.5)
        kept = np.flatnonzero(inside)[merge_points(np.column_stack([x, y])[inside], values["source"][inside], MERGE)]
        # how sharp a peak of heat can be depends on how well the star can be placed
        evidence = np.stack([values["source"], values["match"], bounded(values["log_error"], np)], 1)
        return Table({"x_centroid": x[kept], "y_centroid": y[kept], "evidence": evidence[kept]})

    def _rated(self, candidates):
        """Candidates with calibrated error and probability, the most probable first."""
        calibration, table = self.finder.calibration_, candidates.copy()
        evidence = np.asarray(table["evidence"])
        table["error"] = _error(np.exp(evidence[:, 2]), calibration["offset_error"])
        table["probability"] = expit(evidence @ calibration["weights"] + calibration["intercept"])
        return table[np.argsort(-table["probability"], kind="stable")]

    def _measure(self, image, found):
        """Candidates with fluxes and better positions."""
        x, y = (np.asarray(found[name], float) for name in ("x_centroid", "y_centroid"))
        photometry = measure_flux(image, x, y)
        found["windowed"] = np.zeros(len(found), bool)
        if self.finder.setting("localizer") == "windowed":
            new_x, new_y, error = windowed_centroids(image, x, y, photometry)
            error = _error(error, self.finder.calibration_["windowed_error"])
            better = np.isfinite(error) & (error < found["error"])
            found["x_centroid"][better], found["y_centroid"][better] = new_x[better], new_y[better]
            found["error"][better], found["windowed"][better] = error[better], True
        for name in ("flux", "flux_error", "significance"):
            found[name] = getattr(photometry, name)
        return found

    def _catalogue(self, image, found):
        catalogue = SampleTable()
        for name in ("probability", "significance"):
            catalogue[name] = np.asarray(found[name])
        unit = image.unit or u.dimensionless_unscaled
        for name in ("flux", "flux_error"):
            catalogue[name] = np.asarray(found[name]) * image.scale * unit
        for name in ("x_centroid", "y_centroid"):
            catalogue[name] = np.asarray(found[name])
        catalogue["centroid_error"] = np.asarray(found["error"])
        if image.wcs is not None:
            catalogue["coord"] = image.wcs.pixel_to_world(catalogue["x_centroid"], catalogue["y_centroid"])
            side = np.sqrt(proj_plane_pixel_area(image.wcs)) * u.deg
            catalogue["coord_error"] = (GAUSSIAN_R68 * catalogue["centroid_error"] * side).to(u.arcsec)
        catalogue.meta["threshold"] = float(self.finder.setting("threshold"))
        catalogue.meta["localizer"] = self.finder.setting("localizer")
        catalogue.meta["fwhm"] = image.fwhm
        if image.n_stars is not None:
            catalogue.meta["n_width"] = image.n_stars
        return catalogue

    def calibrate(self, held):
        """Entries of ``calibration_`` from (StarImage, positions) of images that were not trained on."""
        self.finder.calibration_ = dict(_UNCALIBRATED)
        held = [(image, sources, self._candidates(image)) for image, sources in held]
        evidence, label, errors = [], [], {"offset": [], "windowed": []}
        for image, sources, candidates in held:
            found, asked = self._rated(candidates), sources["asked"]
            if not len(found):
                continue
            result = match(_xy(found), asked, self.radius, ignore=sources["others"], n_shifts=2)
            evidence.append(found["evidence"][~result.ignored])
            label.append(result.matched[~result.ignored])
            sure = found["probability"][result.catalogue_index] > 0.5
            rows, true = result.catalogue_index[sure], result.reference_index[sure]
            x, y = (np.asarray(found[name], float) for name in ("x_centroid", "y_centroid"))
            windowed = windowed_centroids(image, x, y, measure_flux(image, x, y))
            for name, (at_x, at_y, error) in (("offset", (x, y, found["error"])), ("windowed", windowed)):
                off = np.stack([at_x[rows] - asked["x_centroid"][true], at_y[rows] - asked["y_centroid"][true]])
                errors[name].append(np.stack([np.abs(off), np.broadcast_to(error[rows], off.shape)]).reshape(2, -1))
        self.finder.calibration_ = _fit_calibration(evidence, label, errors)
        # whichever way promises the smaller error is taken, so that promises are kept less often than those of each way
        for _ in range(_SELECTIONS):
            self._widen(held)
        return self.finder.calibration_

    def _widen(self, held):
        """Scale the errors of both ways so that they hold what they should for the positions that are listed."""
        pulls = {"offset": [], "windowed": []}
        for image, sources, candidates in held:
            found = self._measure(image, self._rated(candidates))
            found = found[found["probability"] >= self.finder.setting("threshold")]
            if not len(found):
                continue
            result = match(_xy(found), sources["asked"], self.radius, ignore=sources["others"], n_shifts=2)
            listed, true = found[result.catalogue_index], sources["asked"][result.reference_index]
            for name, chosen in (("windowed", listed["windowed"]), ("offset", ~listed["windowed"])):
                off = np.stack([listed[axis] - true[axis] for axis in ("x_centroid", "y_centroid")])[:, chosen]
                pulls[name].append(np.ravel(np.abs(off) / np.asarray(listed["error"][chosen])))
        for name, parts in pulls.items():
            pull = np.concatenate(parts or [np.zeros(0)])
            if len(pull) >= _ENOUGH:
                scale = np.quantile(pull, _ONE_SIGMA)
                calibration = self.finder.calibration_
                calibration[f"{name}_error"] = [float(scale * value) for value in calibration[f"{name}_error"]]


def _error(error, calibration):
    """Calibrated error: the network's or that of the noise, times a factor, and a least one that has other causes."""
    factor, least = calibration
    return np.hypot(factor * np.asarray(error), least)


def _fit_calibration(evidence, label, errors):
    """Entries of ``calibration_``; what there is too little of stays as it is."""
    calibration = dict(_UNCALIBRATED)
    label = np.concatenate(label or [np.zeros(0, bool)])
    if 0 < label.sum() < len(label):
        regression = LogisticRegression().fit(np.concatenate(evidence), label)
        calibration["weights"] = [float(weight) for weight in regression.coef_[0]]
        calibration["intercept"] = float(regression.intercept_[0])
    for name, parts in errors.items():
        off, error = np.concatenate(parts or [np.zeros((2, 0))], axis=1)
        off, error = off[np.isfinite(error)], error[np.isfinite(error)]
        if len(off) >= _ENOUGH:
            calibration[f"{name}_error"] = _fit_error(off, error)
    return calibration


def _fit_error(off, error):
    """Factor and least error that hold 68 % of the deviations, among the poor positions and among the best tenth."""
    poor, best = error >= np.median(error), error <= np.quantile(error, 0.1)
    least = 0.0
    for _ in range(20):
        room = np.sqrt(np.maximum(off[poor] ** 2 - least**2, 0))
        factor = np.quantile(room / error[poor], _ONE_SIGMA)
        room = off[best] ** 2 - (factor * error[best]) ** 2
        least = np.sqrt(max(np.quantile(room, _ONE_SIGMA), 0))
    return [float(factor), float(least)]


def _prepare(pair, seed, fwhm, least, radius):
    """Training patches of an image, if there is a match radius; and the image with the stars of its truth."""
    image, truth = pair
    star_image, sources = read_image(image, fwhm), _positions(image, truth, _LEARNT * least)
    cut = None
    if radius is not None:
        asked, others = sources["asked"], sources["faint"]
        x, y = (np.append(asked[name], others[name]) for name in ("x_centroid", "y_centroid"))
        is_asked = np.arange(len(x)) < len(asked)
        cut = StarPatches(star_image, x, y, is_asked, radius)
    return cut, (star_image, sources)


def _positions(image, truth, least):
    """
    Pixel positions of the sources of a truth table.

    Returns
    -------
    dict of Table
        ``asked``, the stars that are to be found; ``faint``, those that are too faint for that; and ``others``, these
        and all else that is there, such as galaxies: what is neither right nor wrong to find.
    """
    names = getattr(truth, "colnames", ())
    if "x_centroid" in names and "y_centroid" in names:
        x, y = (np.asarray(truth[name], dtype=float) for name in ("x_centroid", "y_centroid"))
    else:
        coords = source_coords(truth)
        if image.wcs is None or not image.wcs.has_celestial:
            raise ValueError("the sources have sky coordinates, but the image has no celestial WCS")
        x, y = skycoord_to_pixel(coords, image.wcs.celestial)
    bright = np.asarray(truth["significance"]) >= least if "significance" in names else np.ones(len(x), bool)
    star = np.asarray(truth["kind"]) == "star" if "kind" in names else np.ones(len(x), bool)
    table = Table({"x_centroid": x, "y_centroid": y})
    return {"asked": table[star & bright], "faint": table[star & ~bright], "others": table[~(star & bright)]}


def _xy(table):
    return table["x_centroid", "y_centroid"]
