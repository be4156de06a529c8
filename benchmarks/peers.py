"""Source finders of general use, set up for counts maps as well as they can be: sep, photutils and scikit-image.

They work on flat images of one band, so a map's energy bins are summed, and its sphere is cut into 768 tangent planes
around the centres of the HEALPix pixels of nside 8, each of which keeps the detections inside of its own pixel. The
planes have cells half as large as the map's pixels, over which the photons of each pixel are spread evenly: none is
lost or doubled.

What these programs are good at is where they see sources. How sure they are says little where a few photons lie on a
known background; so each is given that background, and its detections are ranked by the Poisson significance of the
photons under the PSF (`Plane.significance`), which serves all of them better than their own measures.
"""

import warnings
from dataclasses import dataclass
from functools import partial

import astropy.units as u
import healpy as hp
import numpy as np
import sep
from astropy.coordinates import SkyCoord
from astropy.table import QTable, vstack
from photutils.detection import DAOStarFinder
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.signal import fftconvolve
from skimage.feature import blob_log

from astrolearn.sky.lattice import NestedLattice
from astrolearn.sources.localize import merge
from benchmarks import tsmap

__all__ = ["PEERS", "Plane", "search"]

_NSIDE_PLANES = 8
_HALF_WIDTH = np.deg2rad(8.0)  # the corners of a pixel of nside 8 are up to 6.4 deg from its centre
_KERNEL = 0.95  # share of the PSF that the kernel holds


@dataclass
class Plane:
    """
    A flat image of all bins together.

    Attributes
    ----------
    counts, background : arrays, shape (height, width)
        Photons per cell, and how many are expected without sources; both 0 where nothing was observed.
    kernel : array, shape (side, side)
        The PSF in cells; its sum is 1.
    fwhm : float
        Of the PSF, in cells.
    """

    counts: np.ndarray
    background: np.ndarray
    kernel: np.ndarray
    fwhm: float

    def __post_init__(self):
        self.seen = self.background > 0
        self.error = np.sqrt(np.where(self.seen, self.background, 1e6))
        self.excess = np.where(self.seen, self.counts - self.background, 0.0)
        self.significance = self._significance()

    def _significance(self):
        """Signed root of the likelihood ratio of the photons under the PSF, as a scaled Poisson (Fay & Feuer 1997)."""
        inverse = np.where(self.seen, 1 / self.error**2, 0.0)
        score = fftconvolve(self.counts * inverse, self.kernel, mode="same")
        mean = fftconvolve(self.seen.astype(float), self.kernel, mode="same")
        variance = fftconvolve(inverse, self.kernel**2, mode="same")
        scale = np.maximum(mean, 1e-3) / np.maximum(variance, 1e-12)
        found, expected = np.maximum(score * scale, 1e-9), np.maximum(mean * scale, 1e-9)
        deviance = 2 * (found * np.log(found / expected) - found + expected)
        return np.where(self.seen, np.sign(found - expected) * np.sqrt(np.maximum(deviance, 0)), 0.0)


def search(observation, detect):
    """
    Detections of an image finder on a whole map.

    Parameters
    ----------
    observation : Observation
        With its background fitted.
    detect : callable
        From a `Plane` to the positions (x, y) of sources, in cells.

    Returns
    -------
    QTable
        ``coord`` and ``score``.
    """
    lattice, n_energy = observation.lattice, observation.n_energy
    counts, background = (cube.sum(axis=0).ravel() for cube in (observation.counts, observation.background))
    weights = tsmap.power_law_counts(observation.energy_edges, np.ones(n_energy)) if n_energy > 1 else [1.0]
    on_sphere = isinstance(lattice, NestedLattice)
    step = lattice.pixel_size / 2 if on_sphere else lattice.pixel_size
    kernel, fwhm = _kernel(observation.pixel_psf.combine([range(n_energy)], weights), step)
    found = []
    for pixels, share, to_sky, owns in _tangent_planes(lattice, step) if on_sphere else _whole_image(lattice):
        if not background[pixels].any():
            continue
        plane = Plane(counts[pixels] * share, background[pixels] * share, kernel, fwhm)
        x, y = (np.asarray(c, dtype=float) for c in detect(plane))
        cell = tuple(
            np.clip(np.rint(c).astype(int), 0, n - 1) for c, n in zip((y, x), plane.significance.shape, strict=True)
        )
        coords = to_sky(x, y)
        keep = owns(coords) & plane.seen[cell]
        found.append(QTable({"coord": coords[keep], "score": plane.significance[cell][keep]}))
    found = vstack(found)
    radius = tsmap.MIN_DISTANCE * observation.pixel_psf.containment_radius().to_value(u.rad).min()
    return found[merge(found["coord"], found["score"], radius)]


def _kernel(psf, step):
    """PSF in cells of ``step`` radians, and its full width at half maximum."""
    reach = max(2, int(np.ceil(psf.containment_radius(_KERNEL).to_value(u.rad)[0] / step)))
    axis = np.arange(-reach, reach + 1) * step
    kernel = psf.evaluate(np.hypot(axis[:, None], axis), 0)
    theta = np.linspace(0, axis[-1], 2000)
    fwhm = 2 * theta[np.argmax(psf.evaluate(theta, 0) < psf.evaluate(0.0, 0) / 2)] / step
    return kernel / kernel.sum(), fwhm


def _whole_image(lattice):
    pixels = np.arange(np.prod(lattice.shape)).reshape(lattice.shape)
    yield (
        pixels,
        1.0,
        lambda x, y: lattice.positions(np.zeros(len(x), int), x, y),
        lambda c: np.ones(len(c), bool),
    )


def _tangent_planes(lattice, step):
    """Pixels (height, width) of the map at the cells of each plane, their photons' share, and the plane's functions."""
    half = int(np.ceil(_HALF_WIDTH / step))
    axis = np.tan(np.arange(-half, half + 1) * step)
    for number in range(hp.nside2npix(_NSIDE_PLANES)):
        centre = np.array(hp.pix2vec(_NSIDE_PLANES, number))
        west = np.cross(centre, [0.0, 0.0, 1.0])
        west /= np.linalg.norm(west)
        north = np.cross(west, centre)

        def to_vector(x, y, centre=centre, west=west, north=north):
            along = [np.interp(c, np.arange(axis.size), axis)[..., None] for c in (x, y)]
            return centre + along[0] * west + along[1] * north

        def to_sky(x, y, to_vector=to_vector):
            return SkyCoord(*hp.vec2ang(to_vector(x, y), lonlat=True), unit=u.deg, frame=lattice.frame)

        def owns(coords, number=number):
            spherical = coords.spherical
            return hp.ang2pix(_NSIDE_PLANES, spherical.lon.deg, spherical.lat.deg, lonlat=True) == number

        y, x = np.indices((axis.size, axis.size))
        pixels = hp.vec2pix(lattice.nside, *np.moveaxis(to_vector(x, y), -1, 0), nest=True)
        _names, inverse, cells = np.unique(pixels, return_inverse=True, return_counts=True)
        yield pixels, 1 / cells[inverse].reshape(pixels.shape), to_sky, owns


def detect_sep(plane, *, threshold=1.0, deblend=1e-5):
    """SExtractor's algorithm (Bertin & Arnouts 1996) with the PSF as matched filter and the true error map."""
    objects = sep.extract(
        np.ascontiguousarray(plane.excess),
        threshold,
        err=plane.error,
        minarea=1,
        filter_kernel=plane.kernel,
        filter_type="matched",
        deblend_cont=deblend,
        clean=False,
    )
    return objects["xcpeak"], objects["ycpeak"]


def detect_dao(plane, *, threshold=1.0, fwhm=0.7):
    """DAOFIND (Stetson 1987) on the excess in units of its error; ``fwhm`` is relative to that of the PSF."""
    finder = DAOStarFinder(threshold, fwhm * plane.fwhm, sharpness_range=None, roundness_range=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        table = finder(plane.excess / plane.error)
    return ([], []) if table is None else (table["x_centroid"], table["y_centroid"])


def detect_blobs(plane, *, threshold=0.5):
    """Scale-space maxima of the Laplacian of Gaussian (Lindeberg 1998) of the significance."""
    sigma = np.sqrt(2) * plane.fwhm / 2.355  # the PSF seen through the PSF
    blobs = blob_log(
        plane.significance, min_sigma=0.7 * sigma, max_sigma=1.4 * sigma, num_sigma=3, threshold=threshold, overlap=0.8
    )
    return blobs[:, 1], blobs[:, 0]


PEERS = {
    "Poisson TS map": tsmap.find_sources,
    "Poisson TS map, one trial per pixel": partial(tsmap.find_sources, finer=False),  # as gammapy does it
    "scikit-image blob_log": partial(search, detect=detect_blobs),
    "sep, PSF matched filter": partial(search, detect=detect_sep),
    "photutils DAOStarFinder": partial(search, detect=detect_dao),
}
"""Names and functions from an `Observation` with its background fitted to a QTable of ``coord`` and ``score``."""
