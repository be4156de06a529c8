"""From the probability of background to segments, one per source.

Pixels that are rather not background and touch each other are a source; where the light of one has several peaks it is
divided between them (photutils: multi-thresholding and watershed, as SExtractor has it). The published catalogue found
segments with a marker-based watershed of the background's probability, whose markers are pixels on which all windows
agree; probabilities that are calibrated need no such care.
"""

import warnings

import numpy as np
from photutils.segmentation import SegmentationImage, deblend_sources, detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.ndimage import gaussian_filter

__all__ = ["find_segments"]

_SMOOTHING = 1.0  # pixels, sigma; noise has no peaks of its own then
_LEVELS, _CONTRAST = 32, 0.005  # SExtractor's defaults (Bertin & Arnouts 1996)


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
    light = np.where(covered, np.nan_to_num(field.read()[0]), 0)
    smooth = gaussian_filter(light, _SMOOTHING, mode="nearest")
    with warnings.catch_warnings():
        # "contains negative values": sources whose light is lost in the noise are not divided by flux, which is right
        warnings.simplefilter("ignore")
        divided = deblend_sources(smooth, found, n_pixels=min_area, n_levels=_LEVELS, contrast=_CONTRAST,
                                  progress_bar=False)  # fmt: skip
    divided.relabel_consecutive()
    return divided
