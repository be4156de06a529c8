"""Counts of the whole sky in energy bins, with all that belongs to them.

A map alone does not say how its counts came about. `SkyMap` keeps the exposure, the expected background and the PSF
of every energy bin beside the counts, takes care that all of them follow the same pixel order, and turns the several
ways to say "not observed" (UNSEEN, NaN, masked arrays) into one mask, so that no such value is ever computed with.
"""

import copy as copy_module

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import registry
from astropy.nddata import NDData
from astropy.nddata.mixins.ndio import NDDataRead, NDDataWrite
from astropy.utils.masked import Masked

from .energy import edge_groups, merge, merge_psf, parse_edges, power_law_weights
from .psf import RadialPSF

__all__ = ["SkyMap", "frame_name"]

_FRAMES = dict.fromkeys(("galactic", "gal", "g"), "galactic")
_FRAMES |= dict.fromkeys(("icrs", "fk5", "equatorial", "equ", "cel", "celestial", "c", "q", "j2000"), "icrs")

_EXPOSURE_UNIT = u.cm**2 * u.s


def frame_name(frame):
    """
    The name of a map's frame, ``"galactic"`` or ``"icrs"``.

    Parameters
    ----------
    frame : str or astropy frame
        The usual synonyms are accepted in any case: gal, G; fk5, equatorial, equ, cel, celestial, C. FK5 is taken as
        ICRS, which differs by less than 0.1 arcsec.

    Raises
    ------
    ValueError
        If it is another frame.
    """
    name = str(getattr(frame, "name", frame)).strip().lower()
    if name not in _FRAMES:
        raise ValueError(f"frame {name!r} is not known; use 'galactic' or 'icrs'")
    return _FRAMES[name]


class _Read(NDDataRead):
    """
    Read a map from a file.

    Parameters
    ----------
    *args, **kwargs
        For FITS, those of `astrolearn.sky.read_skymap`.
    format : str
        Name of a format in astropy's registry. Default: FITS.

    Returns
    -------
    SkyMap
    """

    def __call__(self, *args, format="fits", **kwargs):
        return super().__call__(*args, format=format, **kwargs)


class _Write(NDDataWrite):
    """
    Write a map to a file.

    Parameters
    ----------
    *args, **kwargs
        For FITS, those of `astrolearn.sky.write_skymap` after the map.
    format : str
        Name of a format in astropy's registry. Default: FITS.
    """

    def __call__(self, *args, format="fits", **kwargs):
        super().__call__(*args, format=format, **kwargs)


class SkyMap(NDData):
    """
    HEALPix maps in energy bins.

    Parameters
    ----------
    data : array or `~astropy.units.Quantity`, shape (n_energy, n_pix) or (n_pix,)
        Usually photon counts. Negative values are allowed: background-subtracted maps have them. float32 and
        float64 stay what they are (and are not copied), integers become float32. ``UNSEEN``, non-finite and
        (numpy-)masked pixels go into the mask, and are 0 in ``data``. A Quantity brings its own unit.
    unit : `~astropy.units.Unit` or str
        Unit of a bare array.
    frame : {"galactic", "icrs"} or synonym
        Frame of the pixels, see `frame_name`.
    nest : bool
        Whether the pixels are in NEST order.
    energy_edges : `~astropy.units.Quantity`, shape (n_energy + 1,), optional
        Edges of contiguous bins in any energy unit; a bare array is taken in GeV.
    exposure : `~astropy.units.Quantity`, optional
        Exposure, (n_energy, n_pix), or (n_energy,) where it is the same everywhere; a bare array is taken in cm2 s.
    background : array, shape (n_energy, n_pix), optional
        Expected background in each pixel, in the map's unit.
    psf : RadialPSF or `~astropy.units.Quantity`, optional
        PSF of each bin; a Quantity (n_energy,) holds 68 % containment radii of Gaussian PSFs.
    mask : bool array, shape (n_pix,) or (n_energy, n_pix), optional
        True where the sky was not observed. Data under this mask are kept.
    meta : dict-like, optional
        Anything else.

    Attributes
    ----------
    sources : `~astropy.table.Table` or None
        The true sources of a simulated map.

    Raises
    ------
    ValueError
        If a shape does not fit, energy edges do not increase, or exposure or background is negative or not finite on
        observed pixels.
    `~astropy.units.UnitConversionError`
        If an energy, exposure or background has a wrong unit.

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astrolearn.sky import SkyMap
    >>> SkyMap(np.zeros((2, 768)), energy_edges=[1, 3, 10] * u.GeV)
    <SkyMap nside=8 RING galactic, 2 bins at [1, 3, 10] GeV, ct>
    """

    read = registry.UnifiedReadWriteMethod(_Read)
    write = registry.UnifiedReadWriteMethod(_Write)

    def __init__(self, data, *, unit=u.ct, frame="galactic", nest=False, energy_edges=None, exposure=None,
                 background=None, psf=None, mask=None, meta=None):
        masked = np.ma.getmask(data)
        if isinstance(data, Masked):  # np.asarray would drop its mask
            data, masked = data.unmasked, data.mask
        if isinstance(data, u.Quantity):
            data, unit = data.value, data.unit
        data = np.atleast_2d(_native_float(np.ma.getdata(data)))
        if data.ndim != 2 or len(data) == 0:
            raise ValueError(f"a SkyMap has the shape (n_energy, n_pix), not {data.shape}")
        n_pix = data.shape[1]
        if not hp.isnpixok(n_pix) or (nest and not hp.isnsideok(hp.npix2nside(n_pix), nest=True)):
            raise ValueError(f"{n_pix} is not the number of pixels of a HEALPix map (12 nside^2)")
        self._frame, self._nest = frame_name(frame), bool(nest)
        # row by row: the temporary arrays of a fine map in many bins are large
        bad = np.array([~np.isfinite(row) | hp.mask_bad(row) for row in data])
        if masked is not np.ma.nomask:
            bad |= np.atleast_2d(masked)
        if bad.any():
            data = np.where(bad, data.dtype.type(0), data)
            mask = bad if mask is None else bad | _as_mask(mask, data.shape)
        super().__init__(data, unit=unit, mask=mask, meta=None if meta is None else dict(meta))
        self.energy_edges = energy_edges
        self.exposure = exposure
        self.background = background
        self.psf = psf
        self.sources = None

    # -- geometry -----------------------------------------------------------------------------------------------------
    @property
    def n_energy(self):
        """Number of energy bins."""
        return self.data.shape[0]

    @property
    def n_pix(self):
        """Number of pixels of the whole sky."""
        return self.data.shape[1]

    @property
    def nside(self):
        """HEALPix resolution parameter."""
        return hp.npix2nside(self.n_pix)

    @property
    def frame(self):
        """Frame of the pixels, ``"galactic"`` or ``"icrs"``."""
        return self._frame

    @property
    def nest(self):
        """Whether the pixels are in NEST order (otherwise RING)."""
        return self._nest

    def pixel_coords(self, pixels=None):
        """
        Centres of pixels.

        Parameters
        ----------
        pixels : int array, optional
            Pixel numbers in the map's own order. Default: all.

        Returns
        -------
        `~astropy.coordinates.SkyCoord`
            In the map's frame.
        """
        pixels = np.arange(self.n_pix) if pixels is None else pixels
        lon, lat = hp.pix2ang(self.nside, pixels, nest=self.nest, lonlat=True)
        return SkyCoord(lon, lat, unit="deg", frame=self.frame)

    def coord_to_pixel(self, coord):
        """
        Numbers of the pixels that hold sky positions.

        Parameters
        ----------
        coord : `~astropy.coordinates.SkyCoord`
            In any frame.

        Returns
        -------
        int array
            Pixel numbers in the map's own order.
        """
        sphere = coord.transform_to(self.frame).spherical
        return hp.ang2pix(self.nside, sphere.lon.deg, sphere.lat.deg, nest=self.nest, lonlat=True)

    # -- what belongs to the counts -----------------------------------------------------------------------------------
    @property
    def mask(self):
        """True where not observed: bool array (n_pix,) or (n_energy, n_pix), or None if everything was observed."""
        return self._mask

    @mask.setter
    def mask(self, value):
        self._mask = None if value is None else _as_mask(value, self.data.shape)

    @property
    def observed(self):
        """True where observed: bool array (n_energy, n_pix), read-only."""
        observed = np.array(True) if self.mask is None else ~self.mask
        return np.broadcast_to(observed, self.data.shape)

    @property
    def energy_edges(self):
        """Edges of the energy bins: `~astropy.units.Quantity` (n_energy + 1,), or None."""
        return self._energy_edges

    @energy_edges.setter
    def energy_edges(self, value):
        edges = None if value is None else parse_edges(value)
        if edges is not None and len(edges) != self.n_energy + 1:
            raise ValueError(f"energy_edges has {len(edges)} values; {self.n_energy} bins need {self.n_energy + 1}")
        self._energy_edges = edges

    @property
    def exposure(self):
        """Exposure: `~astropy.units.Quantity` (n_energy, n_pix) in cm2 s, read-only, or None."""
        return None if self._exposure is None else np.broadcast_to(self._exposure, self.data.shape) << _EXPOSURE_UNIT

    @exposure.setter
    def exposure(self, value):
        self._exposure = self._attached("exposure", value, _EXPOSURE_UNIT)

    @property
    def background(self):
        """Expected background in each pixel: array (n_energy, n_pix) in the map's unit, read-only, or None."""
        return None if self._background is None else np.broadcast_to(self._background, self.data.shape)

    @background.setter
    def background(self, value):
        self._background = self._attached("background", value, self.unit)

    @property
    def psf(self):
        """PSF of each bin: `~astrolearn.sky.RadialPSF`, or None. Set with one, or with 68 % radii (Quantity)."""
        return self._psf

    @psf.setter
    def psf(self, value):
        if value is not None and not isinstance(value, RadialPSF):
            value = RadialPSF.gaussian(value)
        if value is not None and value.n_energy != self.n_energy:
            raise ValueError(f"psf has {value.n_energy} energy bins, the map {self.n_energy}")
        self._psf = value

    def _attached(self, name, value, unit):
        """Check an array that belongs to the counts; what does not vary along an axis keeps the length 1 there."""
        if value is None:
            return None
        if getattr(value, "unit", None) is not None:
            value = value if isinstance(value, u.Quantity) else u.Quantity(value)
            if not value.unit.is_equivalent(unit):
                raise u.UnitConversionError(f"{name} has the unit '{value.unit}', which does not convert to '{unit}'")
            value = value.to_value(unit)
        array = _native_float(np.ma.filled(value, np.nan) if np.ma.isMaskedArray(value) else value)
        if array.shape == (self.n_energy,) or array.ndim == 0:
            array = array.reshape(-1, 1)
        elif array.shape == (self.n_pix,) and self.n_energy == 1:
            array = array[None]
        elif array.ndim != 2 or array.shape[0] not in {1, self.n_energy} or array.shape[1] not in {1, self.n_pix}:
            raise ValueError(f"{name} has the shape {array.shape}, the map has {self.data.shape}")
        bad = ~(array >= 0) | ~np.isfinite(array)  # UNSEEN is negative
        if bad.any():
            if np.any(bad & self.observed):
                raise ValueError(f"{name} is negative or not finite on observed pixels")
            array = np.where(bad, array.dtype.type(0), array)
        return array

    # -- other forms of the same map ----------------------------------------------------------------------------------
    def _with(self, data, **changes):
        """Build a map that differs in the named attributes only; arrays are shared, not copied."""
        kept = {"unit": self.unit, "frame": self.frame, "nest": self.nest, "energy_edges": self.energy_edges,
                "exposure": self._exposure, "background": self._background, "psf": self.psf, "mask": self.mask,
                "meta": self.meta}
        new = SkyMap(data, **(kept | changes))
        new.sources = self.sources
        return new

    def copy(self):
        """Return a deep copy."""
        return copy_module.deepcopy(self)

    def to_order(self, nest):
        """
        Give the map in the other pixel order.

        Parameters
        ----------
        nest : bool
            Whether to order the pixels as NEST.

        Returns
        -------
        SkyMap
            The map itself if it already has that order.

        Raises
        ------
        ValueError
            If nside is not a power of 2, which NEST needs.
        """
        if bool(nest) == self.nest:
            return self
        if not hp.isnsideok(self.nside, nest=True):
            raise ValueError(f"NEST order needs an nside that is a power of 2, not {self.nside}")
        source = (hp.nest2ring if nest else hp.ring2nest)(self.nside, np.arange(self.n_pix))

        def reorder(array):
            return array if array is None or array.shape[-1] == 1 else array[..., source]

        return self._with(reorder(self.data), nest=bool(nest), mask=reorder(self.mask),
                          exposure=reorder(self._exposure), background=reorder(self._background))

    def __getitem__(self, item):
        """
        Select energy bins: an integer, a slice of step 1 or a list of consecutive integers.

        Raises
        ------
        IndexError
            If nothing is selected.
        ValueError
            If the bins are not consecutive.
        """
        bins = np.atleast_1d(np.arange(self.n_energy)[item])
        if bins.ndim != 1 or len(bins) == 0:
            raise IndexError(f"{item!r} selects none of the {self.n_energy} energy bins")
        if np.any(np.diff(bins) != 1):
            raise ValueError(f"energy bins must be consecutive, not {bins.tolist()}")
        return self.rebin(groups=[range(b, b + 1) for b in bins])

    def rebin(self, edges=None, *, groups=None):
        """
        Merge energy bins: counts and background are summed, exposure and PSF averaged.

        The weights of the averages are the photons that a source with dN/dE ~ E**-2.2 sends into each bin (for
        the PSF, times the mean exposure), so that flux x exposure remains the number of its photons. Bins without
        energy edges weigh the same. A pixel is masked where it is in any of the merged bins.

        Parameters
        ----------
        edges : `~astropy.units.Quantity`, optional
            New edges, each one of the old ones (to 0.1 %); the new range may be smaller.
        groups : list of sequences of int, optional
            Instead of ``edges``: the consecutive old bins of each new bin.

        Returns
        -------
        SkyMap

        Raises
        ------
        ValueError
            If an edge is none of the old ones, or the groups are not consecutive.
        """
        if (edges is None) == (groups is None):
            raise ValueError("give either edges or groups")
        if groups is None:
            if self.energy_edges is None:
                raise ValueError("the map has no energy_edges; merge its bins with groups")
            groups = edge_groups(self.energy_edges, parse_edges(edges, "edges"))
        groups = [list(group) for group in groups]
        flat = [energy_bin for group in groups for energy_bin in group]
        consecutive = bool(flat) and all(groups) and flat == list(range(flat[0], flat[0] + len(flat)))
        if not consecutive or flat[0] < 0 or flat[-1] >= self.n_energy:
            raise ValueError(f"groups {groups} are not consecutive bins among the {self.n_energy} of the map")

        weights = np.ones(self.n_energy) if self.energy_edges is None else power_law_weights(self.energy_edges)

        def every_bin(array):
            return np.broadcast_to(array, (self.n_energy, array.shape[-1]))

        changes = {}
        if self.mask is not None and self.mask.ndim == 2:
            changes["mask"] = merge(self.mask, groups)
        if self._background is not None:
            changes["background"] = merge(every_bin(self._background), groups)
        if self._exposure is not None:
            changes["exposure"] = merge(every_bin(self._exposure), groups, weights)
        if self.energy_edges is not None:
            changes["energy_edges"] = self.energy_edges[[group[0] for group in groups] + [flat[-1] + 1]]
        if self.psf is not None:
            exposure = None if self._exposure is None else every_bin(self._exposure)
            changes["psf"] = merge_psf(self.psf, groups, weights, exposure)
        return self._with(merge(self.data, groups), **changes)

    @classmethod
    def from_events(cls, events, energy_edges, nside, **options):
        """
        Bin a photon list.

        Parameters
        ----------
        events : `~astropy.table.Table` or path-like
            The photons: a table or an FT1 file.
        energy_edges : `~astropy.units.Quantity` or str
            Bin edges; a bare sequence is taken in GeV.
        nside : int
            HEALPix resolution.
        **options
            ``frame``, ``nest``, ``event_type``: see `astrolearn.sky.bin_events`, where columns and errors are listed,
            too.

        Returns
        -------
        SkyMap
        """
        from .events import bin_events

        return bin_events(events, energy_edges, nside, **options)

    def __repr__(self):
        order = "NEST" if self.nest else "RING"
        bins = "1 bin" if self.n_energy == 1 else f"{self.n_energy} bins"
        if self.energy_edges is not None:
            edges = ", ".join(f"{edge:.4g}" for edge in self.energy_edges.value)
            bins += f" at [{edges}] {self.energy_edges.unit}"
        has = [name for name in ("exposure", "background", "psf", "sources") if getattr(self, name) is not None]
        if self.mask is not None:
            has.append(f"{self.mask.mean():.3g} of the pixels masked")
        more = "; " + ", ".join(has) if has else ""
        return f"<SkyMap nside={self.nside} {order} {self.frame}, {bins}, {self.unit}{more}>"

    __str__ = __repr__


def _native_float(array):
    """Array of float32 or float64 in the machine's byte order, copied only where it is not yet one."""
    array = np.asarray(array)
    if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind not in "buif":
        raise ValueError(f"numbers are needed, not an array of {array.dtype}")
    # float32 holds whole numbers below 2^24 exactly
    small = array.dtype.kind == "f" or array.size == 0 or np.abs(array).max() < 2**24
    return array.astype(np.float32 if small else np.float64)


def _as_mask(mask, shape):
    """Bool mask of shape (n_pix,) if all energy bins share it, otherwise (n_energy, n_pix)."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"the mask must be of type bool, not {mask.dtype}")
    if mask.shape not in {shape, shape[-1:], (1, shape[-1])}:
        raise ValueError(f"the mask has the shape {mask.shape}; the map has {shape[0]} bins of {shape[1]} pixels")
    if mask.ndim == 2 and np.all(mask == mask[0]):
        mask = mask[0]
    return mask
