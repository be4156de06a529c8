"""Source finders of general use, as a careful user sets them up: told the width of the stars, tuned on other fields.

Each has a few settings, of which `tune` takes those of the best mean F1 on validation fields: uniform, clustered and
crowded, of the width in question and of other seeds. Where the image says at which level it saturates, detections on
saturated pixels are dropped.
"""

import json
import warnings
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import sep
from astropy.convolution import Gaussian2DKernel, convolve_fft
from astropy.table import Table
from photutils.background import Background2D, SExtractorBackground
from photutils.detection import DAOStarFinder
from photutils.segmentation import SourceCatalog, SourceFinder
from photutils.utils.exceptions import NoDetectionsWarning
from skimage.feature import blob_log

from astrolearn.sources.optical import MoffatPSF
from astrolearn.sources.optical.psf import SIGMA_OF_FWHM
from benchmarks.optical.fields import FIELDS, VALIDATION_SEED, draw, score

__all__ = ["OURS", "PEERS", "Finders"]

OURS = "PointSourceFinder"
_VALIDATED_ON = ("uniform, 2000 stars", "clustered, 2000 stars", "crowded, 8000 stars")


def _table(x, y):
    return Table({"x_centroid": np.asarray(x, float), "y_centroid": np.asarray(y, float)})


def run_sep(image, fwhm, threshold, contrast):
    """sep.extract with a Gaussian kernel of the stars' width, then windowed positions."""
    data = np.ascontiguousarray(image.data, dtype=np.float32)
    background = sep.Background(data)
    light = data - background.back()
    sep.set_extract_pixstack(3_000_000)
    kernel = Gaussian2DKernel(fwhm * SIGMA_OF_FWHM, x_size=2 * int(np.ceil(fwhm)) + 1).array
    found = sep.extract(light, threshold, err=background.rms(), filter_kernel=kernel, minarea=3, deblend_nthresh=64,
                        deblend_cont=contrast, filter_type="conv")
    x, y, _ = sep.winpos(light, found["x"], found["y"], np.full(len(found), fwhm * SIGMA_OF_FWHM))
    return _table(x, y)


def _light(image):
    background = Background2D(image.data, 64, bkg_estimator=SExtractorBackground())
    return image.data - background.background, background.background_rms


def run_source_finder(image, fwhm, threshold):
    """photutils.SourceFinder on the image smoothed with the stars' width, then windowed centroids."""
    light, noise = _light(image)
    kernel = Gaussian2DKernel(fwhm * SIGMA_OF_FWHM, x_size=2 * int(np.ceil(fwhm)) + 1).array
    smooth = convolve_fft(light, kernel, boundary="wrap")
    finder = SourceFinder(n_pixels=3, n_levels=32, contrast=1e-4, progress_bar=False)
    segments = finder(smooth, threshold * noise)
    if segments is None:
        return _table([], [])
    catalogue = SourceCatalog(light, segments, convolved_data=smooth)
    x, y = catalogue.centroid_win.T
    plain_x, plain_y = catalogue.centroid.T
    return _table(np.where(np.isfinite(x), x, plain_x), np.where(np.isfinite(y), y, plain_y))


def run_dao(image, fwhm, threshold):
    """photutils.DAOStarFinder."""
    light, noise = _light(image)
    found = DAOStarFinder(threshold * float(np.median(noise)), fwhm)(light)
    return _table([], []) if found is None else _table(found["x_centroid"], found["y_centroid"])


def run_blobs(image, fwhm, threshold):
    """scikit-image's blob_log at the scale of the stars."""
    light, noise = _light(image)
    sigma = fwhm * SIGMA_OF_FWHM
    found = blob_log(light / noise, min_sigma=sigma, max_sigma=1.2 * sigma, num_sigma=2, threshold=threshold,
                     exclude_border=False)
    return _table(found[:, 1], found[:, 0])


PEERS = {
    "sep": (run_sep, {"threshold": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95, 1.1, 1.25, 1.4, 1.6, 1.9, 2.3),
                      "contrast": (1e-5, 1e-4)}),
    "photutils SourceFinder": (run_source_finder, {"threshold": (0.7, 0.9, 1.15, 1.4, 1.8)}),
    "DAOStarFinder": (run_dao, {"threshold": (2.0, 3.0, 4.0, 5.0, 6.0)}),
    "blob_log": (run_blobs, {"threshold": (0.5, 0.7, 0.9, 1.05, 1.2, 1.35, 1.5, 1.8, 2.1, 2.5, 3.0, 3.6, 4.3)}),
}


@dataclass
class Finders:
    """
    All finders, ready to run.

    Parameters
    ----------
    finder : PointSourceFinder
    cache : Path
        Folder that keeps the settings of the peers, which take minutes to tune.
    n_validation : int, optional
        Validation fields of each kind.
    """

    finder: object
    cache: Path
    n_validation: int = 2

    def __post_init__(self):
        self._path = Path(self.cache) / "optical-peers.json"
        self.tuned = json.loads(self._path.read_text()) if self._path.is_file() else {}

    def run(self, name, image, width):
        """Catalogue of a finder; a peer has the settings that were tuned for stars of this width."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoDetectionsWarning)
            if name == OURS:
                return self.finder.predict(image)
            found = PEERS[name][0](image, image.meta["fwhm"], **self.settings(name, width))
        return _unsaturated(found, image)

    def settings(self, name, width):
        """Those of the best mean F1 on validation fields."""
        key = f"{name}, {width:g} pixels"
        if key not in self.tuned:
            run, choices = PEERS[name]
            images = [image for kind in _VALIDATED_ON
                      for image in draw(replace(FIELDS[kind], psf=MoffatPSF(width)), self.n_validation,
                                        VALIDATION_SEED)]
            options = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
            self.tuned[key] = max(options, key=partial(_mean_f1, run, images, width))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self.tuned, indent=1) + "\n")
        return self.tuned[key]


def _mean_f1(run, images, width, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        return np.mean([score(run(image, width, **options), image).f1 for image in images])


def _unsaturated(found, image):
    level = image.meta.get("SATURATE")
    if level is None or not len(found):
        return found
    row, column = (
        np.clip(np.rint(found[name]).astype(int), 0, side - 1)
        for name, side in zip(("y_centroid", "x_centroid"), image.shape, strict=True)
    )
    return found[image.data[row, column] < level]
