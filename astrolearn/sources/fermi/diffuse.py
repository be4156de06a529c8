"""Diffuse gamma rays: the isotropic spectrum, and the Galaxy's emission from the official template.

Most LAT photons are diffuse. A cube of intensities at single energies becomes expected photons per bin and pixel here;
a coarse cube gets back the narrow plane and the clouds that its grid has averaged away.
"""

import healpy as hp
import numpy as np
from astropy.io import fits
from astropy.utils.data import download_file
from scipy.ndimage import map_coordinates

from .galactic import GalacticModel
from .spectra import bin_integrals, quadrature

__all__ = ["OFFICIAL_URL", "GalacticTemplate", "isotropic_counts"]

OFFICIAL_URL = "https://fermi.gsfc.nasa.gov/ssc/data/analysis/software/aux/4fgl/gll_iem_v07.fits"
"""The Galactic model of the 4FGL catalogues at the Fermi Science Support Center, 480 MB."""

_SHARP = 0.5  # deg: a coarser grid is sharpened

# Isotropic intensity times E^2.3 [GeV^1.3 / (cm2 s sr)] at the energies of the first row [GeV]: least-squares nodes of
# iso_P8R3_SOURCE_V3_v1.txt, ..._FRONT_v1.txt, ..._BACK_v1.txt and iso_P8R3_ULTRACLEANVETO_V3_PSF3_v1.txt (Fermi
# Science Support Center). Interpolated in log-log they agree with the files within 1 % in the usual bins.
_ISO_ENERGY = np.array([0.1, 0.15, 0.25, 0.4, 0.7, 1.5, 3, 6, 12, 25, 50, 100, 200, 400, 890, 2000])
_ISO = {
    "SOURCE": (5.068e-7, 6.533e-7, 6.998e-7, 7.190e-7, 6.933e-7, 6.055e-7, 5.851e-7, 6.718e-7,
               7.722e-7, 7.482e-7, 7.442e-7, 6.384e-7, 6.430e-7, 8.718e-7, 1.216e-6, 1.710e-6),
    "FRONT": (4.778e-7, 6.492e-7, 7.038e-7, 7.154e-7, 6.923e-7, 5.891e-7, 5.637e-7, 6.843e-7,
              8.007e-7, 8.023e-7, 9.027e-7, 8.216e-7, 9.628e-7, 1.202e-6, 1.549e-6, 2.004e-6),
    "BACK": (5.431e-7, 6.582e-7, 6.907e-7, 7.209e-7, 6.927e-7, 6.246e-7, 6.097e-7, 6.580e-7,
             7.377e-7, 6.864e-7, 5.601e-7, 4.140e-7, 2.756e-7, 3.972e-7, 5.748e-7, 8.460e-7),
    "ULTRACLEANVETO": (4.143e-7, 4.966e-7, 5.240e-7, 6.029e-7, 6.195e-7, 5.430e-7, 5.415e-7, 5.630e-7,
                       6.004e-7, 5.408e-7, 5.075e-7, 3.557e-7, 1.096e-7, 4.832e-9, 1.520e-10, 4.428e-12),
}  # fmt: skip


def isotropic_counts(edges, exposure, event_type="FRONT+BACK", event_class="SOURCE"):
    """
    Photons of the isotropic emission (extragalactic and residual cosmic rays) per bin.

    Parameters
    ----------
    edges : array, shape (n_bins + 1,)
        GeV.
    exposure : callable
        From energies [GeV] to exposure [cm2 s] of this event type.
    event_type : str
        FRONT and BACK have spectra of their own; other types take that of all events.
    event_class : {"SOURCE", "ULTRACLEANVETO"}
        The cleaner class has fewer cosmic rays.

    Returns
    -------
    array, shape (n_bins,)
        Photons per sr.
    """
    name = event_class if event_class != "SOURCE" else event_type if event_type in _ISO else "SOURCE"
    log_energy, log_iso = np.log(_ISO_ENERGY), np.log(_ISO[name])
    return bin_integrals(lambda e: np.exp(np.interp(np.log(e), log_energy, log_iso)) * e**-2.3 * exposure(e), edges)


class GalacticTemplate:
    """
    Galactic diffuse emission from a FITS cube in the format of the official model.

    Parameters
    ----------
    path : str or path-like
        A cube of intensities [1/(cm2 s sr MeV)] on a Galactic plate-carree grid with an ENERGIES table in MeV:
        gll_iem_v07.fits, or a rebinned one.
    detail : array, shape (n_pix,), or None
        A RING map of the Galaxy (Galactic frame, any scale) whose structure sharpens a cube coarser than 0.5 deg.
        None: that of `GalacticModel`, a narrow plane and random clouds.

    Raises
    ------
    OSError
        If there is no such file, or it is not FITS.
    ValueError
        If it is not an all-sky cube of that format.

    Notes
    -----
    The official header puts the central row half a pixel off the plane (so that its last row would lie beyond the
    pole). Such grids are centred on the plane. Beyond its last energy the cube continues as a power law.
    """

    components = ("galactic",)

    def __init__(self, path, detail=None):
        self._detail = None if detail is None else np.asarray(detail, dtype=float)
        with fits.open(path) as hdus:
            names = [hdu.name.upper() for hdu in hdus]
            if "ENERGIES" not in names or hdus[0].data is None or hdus[0].data.ndim != 3:
                raise ValueError(f"{path}: not a diffuse model: an image cube and an ENERGIES table are needed")
            self._energy = np.asarray(hdus["ENERGIES"].data.field(0), dtype=float) / 1e3
            header = hdus[0].header
            self._cube = np.asarray(hdus[0].data, dtype=np.float32) * 1e3  # per GeV
        n_energy, n_lat, n_lon = self._cube.shape
        if n_energy != len(self._energy) or abs(n_lon * abs(header["CDELT1"]) - 360) > 0.1 \
                or not header["CTYPE1"].startswith("GLON"):
            raise ValueError(f"{path}: not an all-sky Galactic cube with one image per energy")
        self._step = np.array([header["CDELT2"], header["CDELT1"]])
        self._zero = np.array([header["CRPIX2"], header["CRPIX1"]]) - 1
        self._origin = np.array([header["CRVAL2"], header["CRVAL1"]])
        rows = self._origin[0] + (np.array([0, n_lat - 1]) - self._zero[0]) * self._step[0]
        if np.abs(rows).max() > 90:
            self._origin[0], self._zero[0] = 0.0, (n_lat - 1) / 2

    @classmethod
    def download(cls):
        """The official model from ``OFFICIAL_URL``, kept in astropy's download cache."""
        return cls(download_file(OFFICIAL_URL, cache=True))

    @property
    def resolution(self):
        """Step of the grid in latitude, deg."""
        return abs(self._step[0])

    def _plane(self, energy):
        """Intensity image at one energy [GeV], interpolated as a power law in every pixel."""
        i = int(np.clip(np.searchsorted(self._energy, energy) - 1, 0, len(self._energy) - 2))
        w = np.log(energy / self._energy[i]) / np.log(self._energy[i + 1] / self._energy[i])
        low, high = (np.maximum(plane, 1e-30) for plane in self._cube[i:i + 2])
        return low ** (1 - w) * high**w

    def counts(self, edges, exposure, nside):
        """
        Photons per bin.

        Parameters
        ----------
        edges : array, shape (n_bins + 1,)
            GeV.
        exposure : callable
            From energies [GeV] to exposure [cm2 s].
        nside : int

        Returns
        -------
        dict of tuples (level, maps)
            For the one component, ``level`` (n_bins,) times ``maps`` (n_bins, n_pix): photons per sr at the pixel
            centres of a RING map in Galactic coordinates.
        """
        # a coarse grid is sharpened on a map that resolves it, then averaged over the pixels asked for
        fine = nside if self.resolution <= _SHARP else max(nside, 256)
        lon, lat = hp.pix2ang(fine, np.arange(hp.nside2npix(fine)), lonlat=True)
        grid = np.array([(lat - self._origin[0]) / self._step[0] + self._zero[0],
                         ((lon - self._origin[1]) / self._step[1] + self._zero[1]) % self._cube.shape[2]])
        maps = []
        for energies, weights in zip(*quadrature(edges), strict=True):
            image = sum(w * exposure(e) * self._plane(e) for e, w in zip(energies, weights, strict=True))
            maps.append(_interpolate(image, grid))
        maps = np.array(maps)
        if self.resolution > _SHARP:
            maps *= self._sharpening(edges, exposure, fine, grid)
        return {"galactic": (np.ones(len(maps)), np.array([hp.ud_grade(m, nside) for m in maps]))}

    def _sharpening(self, edges, exposure, nside, grid):
        """Finer structure relative to its own average on the cube's grid: (n_bins or 1, n_pix), RING."""
        if self._detail is None:
            model = GalacticModel().counts(edges, exposure, nside)
            detail = sum(level[:, None] * maps for level, maps in model.values())
        else:
            detail = hp.ud_grade(self._detail, nside)[None]
        shape = self._cube.shape[1:]
        row, column = np.rint(grid).astype(int)
        cell = np.clip(row, 0, shape[0] - 1) * shape[1] + column % shape[1]
        number = np.bincount(cell, minlength=shape[0] * shape[1])
        factors = []
        for m in detail:
            total = np.bincount(cell, m, minlength=number.size)
            # cells at the poles are too slim to hold a pixel; nothing there needs sharpening
            mean = np.where(number > 0, total / np.maximum(number, 1), m.mean())
            coarse = _interpolate(mean.reshape(shape), grid)
            polar = np.abs(row - self._zero[0]) > 0.45 * shape[0]
            factors.append(np.where(polar, 1, np.clip(m / coarse, 0.2, 5)))
        return np.array(factors)


def _interpolate(image, grid):
    """Bilinear interpolation of an all-sky image at rows and columns, around the seam in longitude."""
    image = np.concatenate([image, image[:, :1]], axis=1)
    return map_coordinates(image, grid, order=1, mode="nearest")
