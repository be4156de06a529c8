"""From the probability of background to segments, one per source.

Pixels that are rather not background and touch each other are a source; where the light of one has several peaks it is
divided between them (photutils: multi-thresholding and watershed, as SExtractor has it), as long as each part would be
a significant source by itself. The published catalogue found segments with a marker-based watershed of the background's
probability, whose markers are pixels on which all windows agree; probabilities that are calibrated need no such care.
"""

import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from photutils.segmentation import SegmentationImage, deblend_sources, detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy import ndimage

__all__ = ["find_segments"]

# Chosen for the F1 of detections on simulated fields beside those of the benchmarks.
_SMOOTHING = 2.5  # pixels, sigma; knots and arms of galaxies are no sources of their own
_LEVELS, _CONTRAST = 32, 0.002  # of SExtractor's multi-thresholding (Bertin & Arnouts 1996, A&AS 117, 393)
_SIGNIFICANT, _COMPACT = 5.0, 25  # times the noise in so many pixels, that a part must have: else noise is divided
_INSEPARABLE = 0.5  # share above which no two parts can have it


def find_segments(field, background, threshold, min_area):
    """
    Divide an image into sources.

    Parameters
    ----------
    field : BandImages
        The first band tells sources from each other.
    background : `numpy.ndarray`, (h, w)
        Probability of background; NaN where not covered.
    threshold : float
        Below it, a pixel belongs to a source.
    min_area : int
        Pixels of the smallest source.

    Returns
    -------
    segments : `~photutils.segmentation.SegmentationImage`
    """
    covered = ~np.isnan(background)
    source = np.where(covered, 1 - background, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        found = detect_sources(source, 1 - threshold, n_pixels=min_area)
    if found is None:
        return SegmentationImage(np.zeros(background.shape, np.int32))
    light = np.where(covered, np.nan_to_num(field.first()), 0)
    errors = np.broadcast_to(np.nan_to_num(field.errors()[0], posinf=0.0), light.shape)
    smooth = ndimage.gaussian_filter(light, _SMOOTHING, mode="nearest")
    divided = _divide(smooth, found, _contrasts(light, errors, found), min_area)
    divided.relabel_consecutive()
    return divided


def _contrasts(light, errors, segments):
    """Share of each source's light, a power of two times `_CONTRAST`, that a part of it must have to be of its own."""
    flux, variance = (ndimage.sum_labels(values, segments.data, segments.labels) for values in (light, errors**2))
    error = np.sqrt(variance / segments.areas * np.minimum(segments.areas, _COMPACT))
    share = np.where(flux > _SIGNIFICANT * error, _SIGNIFICANT * error / np.where(flux > 0, flux, 1), 1.0)
    return _CONTRAST * 2 ** np.ceil(np.log2(np.maximum(share / _CONTRAST, 1)))


def _divide(light, segments, contrasts, min_area):
    """Divide sources with several peaks, those of one contrast at a time."""
    labels = np.array(segments.labels)
    for contrast in np.unique(contrasts[contrasts < _INSEPARABLE]):
        with warnings.catch_warnings():
            # that some sources are divided by linear steps of brightness, because they have negative pixels
            warnings.simplefilter("ignore", AstropyUserWarning)
            segments = deblend_sources(light, segments, n_pixels=min_area, labels=labels[contrasts == contrast],
                                       n_levels=_LEVELS, contrast=contrast, relabel=False, progress_bar=False)
    return segments
