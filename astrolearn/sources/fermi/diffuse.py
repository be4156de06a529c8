"""Diffuse gamma rays: the Galaxy's emission from the official template, the isotropic spectrum, and how both go wrong.

Most LAT photons are diffuse, and most false detections are structure that the diffuse model lacks. So a simulated sky
needs two versions of it: the one that the photons follow, and the one that the analyst believes in.
`DiffusePerturbation` makes the first from the second.
"""

import numbers
from dataclasses import dataclass

import healpy as hp
import numpy as np
from astropy.io import fits
from astropy.utils.data import download_file
from scipy.ndimage import map_coordinates

from .spectra import bin_integrals

__all__ = ["OFFICIAL_URL", "DiffusePerturbation", "GalacticTemplate", "isotropic_counts", "random_field"]

OFFICIAL_URL = "https://fermi.gsfc.nasa.gov/ssc/data/analysis/software/aux/4fgl/gll_iem_v07.fits"
"""The Galactic model of the 4FGL catalogues at the Fermi Science Support Center, 480 MB."""

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


def random_field(nside, spectrum, rng):
    """
    A Gaussian random field of unit variance on the sphere.

    Parameters
    ----------
    nside : int
    spectrum : array, shape (lmax + 1,)
        Angular power C_l; its scale does not matter.
    rng : `numpy.random.Generator`

    Returns
    -------
    complex array
        Spherical-harmonic coefficients in healpy's order. (`healpy.synalm` draws from numpy's global state.)
    """
    lmax = len(spectrum) - 1
    ell, m = hp.Alm.getlm(lmax)
    variance = np.sum((2 * np.arange(lmax + 1) + 1) * spectrum) / (4 * np.pi)
    alm = rng.normal(size=ell.size) + 1j * np.where(m > 0, rng.normal(size=ell.size), 0)
    return alm * np.sqrt(spectrum[ell] / variance * np.where(m > 0, 0.5, 1.0))


@dataclass(frozen=True)
class DiffusePerturbation:
    """
    How far the true diffuse emission may lie from the template that goes with a map.

    Parameters
    ----------
    norm : tuple of float, default=(0.7, 1.3)
        Range of the factor on each component, the isotropic one included.
    sigma : tuple of float, default=(0.1, 0.2)
        Range of the rms of a smooth log-normal factor on Galactic components.
    lmax : int, default=60
        Multipole up to which the smooth factor has structure (3 deg), with C_l ~ l^-2.
    clumps : tuple of float, default=(0.0, 0.1)
        Range of the rms of a log-normal factor of 0.3 to 2 deg size: interstellar clouds that the template lacks, such
        as those flagged "c" in the LAT catalogues.

    Notes
    -----
    The ranges of norm and sigma follow the randomised skies of Panes et al. (2021, A&A 656, A62), whose networks had
    to work under several interstellar emission models.
    """

    norm: tuple = (0.7, 1.3)
    sigma: tuple = (0.1, 0.2)
    lmax: int = 60
    clumps: tuple = (0.0, 0.1)

    def __post_init__(self):
        for name in ("norm", "sigma", "clumps"):
            value = getattr(self, name)
            if len(value) != 2 or not all(isinstance(v, numbers.Real) for v in value) or not 0 <= value[0] <= value[1]:
                raise ValueError(f"{name} must be a range (low, high) of numbers that are not negative, not {value!r}")
        if self.lmax < 2:
            raise ValueError(f"lmax must be at least 2, not {self.lmax}")

    def draw_norms(self, names, rng):
        """One factor per component: a dict."""
        return {name: rng.uniform(*self.norm) for name in names}

    def draw_fields(self, nside, windows, rng):
        """
        Factors on the Galactic emission, one map per beam of mean about 1.

        Clumps are smeared with each bin's own PSF. That the factor and the emission are smeared apart, instead of
        their product, is exact for structure that is much larger or much smaller than the PSF.

        Parameters
        ----------
        nside : int
        windows : list of arrays, shape (n_bins, lmax + 1)
            Beam window functions, one array per event type.
        rng : `numpy.random.Generator`

        Returns
        -------
        list of iterators
            Per event type, one NESTED map (n_pix,) after another for the bins.
        """
        ell = np.arange(max(self.lmax, 2) + 1.0)
        smooth = random_field(nside, np.where(ell > 0, 1 / np.maximum(ell, 1) ** 2, 0), rng)
        sigma, clumps = rng.uniform(*self.sigma), rng.uniform(*self.clumps)
        base = sigma * hp.alm2map(smooth, nside, lmax=len(ell) - 1)
        lmax = len(windows[0][0]) - 1
        ell = np.arange(lmax + 1.0)
        # power between 2 deg and 0.3 deg, l^-2.7 as interstellar dust
        cloud = random_field(nside, np.where(ell > 90, np.maximum(ell, 1) ** -2.7, 0), rng) if lmax > 90 else None

        def maps(beams):
            for beam in beams:
                field = base - sigma**2 / 2
                if cloud is not None and clumps > 0:
                    detail = clumps * hp.alm2map(hp.almxfl(cloud, beam), nside, lmax=lmax)
                    field = field + detail - detail.var() / 2
                yield hp.reorder(np.exp(field), r2n=True)

        return [maps(beams) for beams in windows]


class GalacticTemplate:
    """
    Galactic diffuse emission from a FITS cube in the format of the official model.

    Parameters
    ----------
    path : str, path-like or None
        A cube of intensities [1/(cm2 s sr MeV)] on a Galactic plate-carree grid with an ENERGIES table in MeV:
        gll_iem_v07.fits, or a rebinned one. None downloads `OFFICIAL_URL` into astropy's cache.

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

    def __init__(self, path=None):
        if path is None:
            path = download_file(OFFICIAL_URL, cache=True, show_progress=False)
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
        dict of arrays, shape (n_bins, n_pix)
            Photons per sr at the pixel centres of a RING map in Galactic coordinates, per component.
        """
        def planes(energy):
            out = [[self._plane(e) * exposure(e) for e in row] for row in energy]
            return np.moveaxis(np.array(out), (0, 1), (-2, -1))

        lon, lat = hp.pix2ang(nside, np.arange(hp.nside2npix(nside)), lonlat=True)
        n_lon = self._cube.shape[2]
        x = ((lon - self._origin[1]) / self._step[1] + self._zero[1]) % n_lon + 1
        y = (lat - self._origin[0]) / self._step[0] + self._zero[0]
        maps = []
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            image = bin_integrals(planes, np.array([low, high]))[..., 0]
            image = np.concatenate([image[:, -1:], image, image[:, :1]], axis=1)
            maps.append(map_coordinates(image, [y, x], order=1, mode="nearest"))
        return {"galactic": np.array(maps, dtype=np.float32)}
