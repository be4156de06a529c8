"""What people use today: detection above a threshold, measured shapes, and trees that learn from them.

Sources are those of photutils (as SExtractor finds them: matched filter, threshold, multi-threshold deblending), in H
alone or in the sum of the bands in units of their noise, whichever does better. Of each the features that the
literature on automatic morphology uses are measured (Conselice 2003, ApJS 147, 1; Lotz et al. 2004, AJ 128, 163):
concentration, asymmetry, Gini coefficient, M20, half-light radius, ellipticity, central brightness, colours and
signal-to-noise ratio. Gradient-boosted trees learn the classes from fields of the network's own recipe, with their size
and rate chosen by cross-validation.
"""

import warnings

import numpy as np
from astropy.convolution import convolve
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources, make_2dgaussian_kernel
from scipy.spatial import cKDTree
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV

from astrolearn.core.tables import SampleTable
from astrolearn.morphology.bands import read_bands
from astrolearn.morphology.segmenter import BANDS, CLASSES

__all__ = ["BoostedShapes", "detect", "positions"]

_MATCH = 5.0  # pixels


def detect(images, threshold, fwhm=3.0, contrast=0.005, bands=1, n_pixels=5):
    """
    Find sources as SExtractor does.

    Parameters
    ----------
    images : dict
    threshold : float
        Of the filtered image, in units of the noise per pixel.
    fwhm : float, optional
        Of the filter, in pixels.
    contrast : float, optional
        Share of its light that a part must have to be of its own.
    bands : int, optional
        How many bands, of which H is the first, are added up in units of their noise.
    n_pixels : int, optional

    Returns
    -------
    field : BandImages
    segments : SegmentationImage or None
    smooth : array
        The filtered image, in which sources have their positions.
    """
    field = read_bands(images, BANDS)
    light = (field.light()[:bands] / field.noise()[:bands]).sum(axis=0) / np.sqrt(bands)
    smooth = convolve(light, make_2dgaussian_kernel(fwhm, size=2 * int(fwhm) + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = detect_sources(smooth, threshold, n_pixels=n_pixels)
        if found is not None:
            found = deblend_sources(smooth, found, n_pixels=n_pixels, n_levels=32, contrast=contrast,
                                    progress_bar=False)
    return field, found, smooth


def positions(images, **settings):
    """Detections, of no class, for scores of detection alone."""
    _, segments, smooth = detect(images, **settings)
    x, y = np.zeros((2, 0))
    if segments is not None:
        found = SourceCatalog(smooth, segments)
        x, y = (np.atleast_1d(values) for values in (found.x_centroid, found.y_centroid))
    columns = {"x_centroid": x, "y_centroid": y, "class": np.full(len(x), CLASSES[0])}
    return SampleTable(columns | {f"p_{name}": np.zeros(len(x)) for name in CLASSES})


def _asymmetry(cut, mask):
    """|I - I turned by 180 deg| / |I| about the middle of the segment's box (after Conselice 2003)."""
    turned, both = cut[::-1, ::-1], mask & mask[::-1, ::-1]
    return np.abs(cut - turned)[both].sum() / max(np.abs(cut[both]).sum(), 1e-9)


def _m20(values, y, x):
    """Second moment of the brightest fifth of the light over that of all (Lotz et al. 2004)."""
    total = max(values.sum(), 1e-9)
    centre = (values * y).sum() / total, (values * x).sum() / total
    moment = values * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2)
    order = np.argsort(-values)
    bright = order[: np.searchsorted(np.cumsum(values[order]), 0.2 * total) + 1]
    return np.log10(max(moment[bright].sum(), 1e-9) / max(moment.sum(), 1e-9))


def _features(field, segments, smooth):
    """Positions, and features (n, n_features) of the sources."""
    light = field.light()
    noise = np.array(field.statistics[1])
    catalogue = SourceCatalog(light[0], segments)
    fluxes = np.stack([SourceCatalog(plane, segments).segment_flux for plane in light], axis=1)
    area = catalogue.area.value
    error = noise * np.sqrt(area)[:, None]
    # colours that noise cannot make infinite
    colours = np.arcsinh(fluxes / error)
    ratios = np.log10(np.maximum(fluxes[:, 1:], error[:, 1:]) / np.maximum(fluxes[:, :1], error[:, :1]))
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        radii = np.stack([catalogue.fluxfrac_radius(share).value for share in (0.2, 0.5, 0.8)], axis=1)
        gini, elongation = np.asarray(catalogue.gini), np.asarray(catalogue.elongation)
    for i, part in enumerate(catalogue):
        cut, mask = np.asarray(part.data_cutout), ~np.asarray(part.segment_cutout_masked.mask)
        y, x = np.nonzero(mask)
        values = np.maximum(cut[mask], 0)
        peak = cut[mask].max() / max(values.sum(), 1e-9)
        rows.append([_asymmetry(cut, mask), _m20(values, y, x), peak, area[i]])
    concentration = 5 * np.log10(radii[:, 2] / radii[:, 0])
    features = np.column_stack([radii, concentration, gini, elongation, rows, colours, ratios])
    places = SourceCatalog(smooth, segments)
    return np.atleast_1d(places.x_centroid), np.atleast_1d(places.y_centroid), features


class BoostedShapes:
    """
    Detection, features and gradient-boosted trees.

    Parameters
    ----------
    settings : dict
        Of `detect`.
    random_state : int
    """

    def __init__(self, settings, random_state=0):
        self.settings, self.random_state = settings, random_state

    def fit(self, scenes):
        """Learn from scenes: detections within 5 pixels of a labelled source have its class."""
        features, classes = [], []
        for scene in scenes:
            field, segments, smooth = detect(scene.images, **self.settings)
            if segments is None:
                continue
            x, y, own = _features(field, segments, smooth)
            labelled = scene.sources[scene.sources["label"] > 0]
            tree = cKDTree(np.column_stack([labelled["x_centroid"], labelled["y_centroid"]]))
            distance, nearest = tree.query(np.column_stack([x, y]), distance_upper_bound=_MATCH)
            near = np.isfinite(distance)
            features.append(own[near])
            classes.append(np.asarray(labelled["class"])[nearest[near]])
        search = GridSearchCV(
            HistGradientBoostingClassifier(random_state=self.random_state, max_iter=200),
            {"max_leaf_nodes": [8, 31], "learning_rate": [0.03, 0.1]}, cv=3, scoring="neg_log_loss",
        )  # fmt: skip
        self.trees_ = search.fit(np.concatenate(features), np.concatenate(classes)).best_estimator_
        self.n_ = sum(map(len, classes))
        return self

    def catalog(self, images):
        """x_centroid, y_centroid, class and probabilities of every detection."""
        field, segments, smooth = detect(images, **self.settings)
        if segments is None:
            return positions(images, **self.settings)
        x, y, features = _features(field, segments, smooth)
        probability = self.trees_.predict_proba(features)
        table = SampleTable({"x_centroid": x, "y_centroid": y, "class": self.trees_.classes_[probability.argmax(1)]})
        for name, p in zip(self.trees_.classes_, probability.T, strict=True):
            table[f"p_{name}"] = p
        return table
