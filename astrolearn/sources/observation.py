"""One view of every counts map: arrays on a lattice, strip units once, at the edge.

`PointSourceFinder` takes HEALPix maps and WCS cubes, with any number of energy bins, with or without exposure,
background and PSF. `observe` turns each into an `Observation`: plain arrays on a square lattice whose pixels match the
sharpest PSF (a finer map is summed 2 x 2 until its pixels are no smaller than about half the 68 % radius: nothing is
lost, all later work is quartered; coarse pixels that were observed in part are given up, and if these would be many the
map stays as it is). Where most bins have a PSF narrower than a pixel, sources are searched at the quarters of the
pixels: two of them may share one.
"""

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.nddata import NDData

from astrolearn.sky.energy import parse_edges
from astrolearn.sky.lattice import ImageLattice, NestedLattice
from astrolearn.sky.psf import RadialPSF
from astrolearn.sky.skymap import SkyMap

__all__ = ["Observation", "observe"]

_SAMPLING = 1.8  # pixels per 68 % radius beyond which a map is summed 2 x 2
_UNDERSAMPLED = 0.75  # pixels per 68 % radius, the pixel's own width included, below which quarters are searched
_MOST_GIVEN_UP = 0.05  # share of the observed area that summing 2 x 2 may cost at the borders of masks
_ALIGN = 8  # image sides are padded to multiples of this: two levels of pooling, one of them perhaps on quarters


@dataclass
class Observation:
    """
    A counts cube on a lattice.

    Attributes
    ----------
    lattice : NestedLattice or ImageLattice
        Geometry of the pixels.
    counts : array of float32, shape (n_energy, *lattice.shape)
        Photons; 0 where not observed.
    background : array of float32 or None, same shape
        Expected photons without sources, as given with the map.
    psf : RadialPSF
        Of the instrument, one per bin.
    exposure : array of float32 or None, shape (n_energy, *lattice.shape)
        In cm2 s, mean of what was observed of each pixel.
    coverage : array of float32, shape lattice.shape
        Share of each pixel that was observed.
    energy_edges : Quantity or None, shape (n_energy + 1,)
    factor : int
        Pixels of the original map along one lattice pixel.

    Derived: ``valid``, where anything was observed; ``pixel_psf``, the PSF averaged over pixels; ``undersampled``,
    whether the pixels are too large for it; ``search_lattice`` and ``search_valid``, where sources are looked for: the
    lattice itself or, if undersampled, the next finer one.
    """

    lattice: object
    counts: np.ndarray
    background: np.ndarray | None
    coverage: np.ndarray
    psf: RadialPSF
    exposure: np.ndarray | None
    energy_edges: u.Quantity | None
    factor: int = 1

    def __post_init__(self):
        self.valid = self.coverage > 0
        self.pixel_psf = self.psf.pixelised(self.lattice.pixel_size)
        r68 = np.median(self.pixel_psf.containment_radius().to_value(u.rad))
        self.undersampled = bool(r68 < _UNDERSAMPLED * self.lattice.pixel_size)
        self.search_lattice = self.lattice.finer if self.undersampled else self.lattice
        self.search_valid = self.search_lattice.spread(self.valid) if self.undersampled else self.valid

    @property
    def n_energy(self):
        """Number of energy bins."""
        return len(self.counts)

    def coarsened(self):
        """The same observation in pixels twice as large."""
        total = self.lattice.sum_children
        coverage = total(self.coverage) / 4
        exposure = None
        if self.exposure is not None:
            exposure = total(self.exposure * self.coverage) / (4 * np.where(coverage > 0, coverage, 1))
        return Observation(
            self.lattice.coarser.recut(),
            total(self.counts),
            None if self.background is None else total(self.background),
            coverage,
            self.psf,
            exposure,
            self.energy_edges,
            self.factor * 2,
        )

    def without_partial_pixels(self):
        """The same observation, pixels that were observed in part counted as not observed."""
        whole = self.coverage == 1
        background, exposure = (
            None if values is None else np.where(whole, values, 0) for values in (self.background, self.exposure)
        )
        counts, coverage = np.where(whole, self.counts, 0), whole.astype(np.float32)
        return replace(self, counts=counts, background=background, exposure=exposure, coverage=coverage)


def observe(skymap, psf=None):
    """
    Bring a map into the form that the networks use.

    Parameters
    ----------
    skymap : SkyMap or `~astropy.nddata.NDData`
        HEALPix map, or image / cube (energy first) with a celestial WCS, whose ``meta`` may carry ``energy_edges``,
        ``background``, ``exposure`` and ``psf``.
    psf : callable, RadialPSF or Quantity, optional
        What to use when the map has none: a PSF, its 68 % radii, or a function of the map's energy edges.

    Returns
    -------
    Observation

    Raises
    ------
    TypeError
        If the map is of another kind.
    ValueError
        If the map is not in counts, is empty, has no PSF, lacks a celestial WCS, or its pieces disagree in shape.
    """
    if isinstance(skymap, SkyMap):
        observation = _from_skymap(skymap, psf)
    elif isinstance(skymap, NDData):
        observation = _from_image(skymap, psf)
    else:
        raise TypeError(
            f"cannot look for sources in a {type(skymap).__name__}: give a SkyMap, or an NDData or CCDData with a WCS"
        )
    r68 = observation.pixel_psf.containment_radius().to_value(u.rad).min()
    while r68 > _SAMPLING * observation.lattice.pixel_size and _can_coarsen(observation.lattice):
        coarser = observation.coarsened().without_partial_pixels()
        if 4 * coarser.coverage.sum() < (1 - _MOST_GIVEN_UP) * observation.coverage.sum():
            break
        observation = coarser
        r68 = observation.pixel_psf.containment_radius().to_value(u.rad).min()
    return observation


def _can_coarsen(lattice):
    if isinstance(lattice, NestedLattice):
        return lattice.nside > 16
    return all(n % _ALIGN == 0 for n in lattice.shape)


def _check_counts(unit, data):
    if unit is not None and unit not in (u.ct, u.photon, u.dimensionless_unscaled):
        raise u.UnitConversionError(f"the map is in {unit}, but point sources are found in counts (ct)")
    if data.size == 0:
        raise ValueError("the map is empty")
    if data.min() < 0:
        raise ValueError("the map has negative counts: give raw counts, and the background beside them, not subtracted")


def _choose_psf(own, default, energy_edges, n_energy):
    psf = own if own is not None else default(energy_edges) if callable(default) else default
    if psf is None:
        raise ValueError("the map has no PSF: set its psf attribute (or meta['psf']), or the finder's psf")
    if not isinstance(psf, RadialPSF):
        psf = RadialPSF.gaussian(psf)
    if psf.n_energy == 1 and n_energy > 1:
        psf = psf.combine([[0]] * n_energy, [1.0])
    if psf.n_energy != n_energy:
        raise ValueError(f"the PSF has {psf.n_energy} energy bins, the map {n_energy}")
    return psf


def _from_skymap(skymap, psf):
    nested = skymap if skymap.nest else skymap.to_order(nest=True)
    data = np.asarray(nested.data)
    valid = np.ones(data.shape[1], bool)
    if nested.mask is not None:
        valid &= ~np.asarray(nested.mask).reshape(-1, data.shape[1]).any(axis=0)
    _check_counts(skymap.unit, np.where(valid, data, 0))
    lattice = NestedLattice(skymap.nside, skymap.frame)
    return _assemble(
        lattice,
        data,
        nested.background,
        valid,
        nested.exposure,
        nested.energy_edges,
        _choose_psf(skymap.psf, psf, skymap.energy_edges, len(data)),
    )


def _from_image(image, psf):
    data = np.asarray(image.data)
    data = data[None] if data.ndim == 2 else data
    if data.ndim != 3:
        raise ValueError(f"an image must be (height, width) or (energy, height, width), not {data.shape}")
    if image.wcs is None or not image.wcs.has_celestial:
        raise ValueError("the image has no celestial WCS: give one, so that positions mean something")
    blank = ~np.isfinite(data)
    if image.mask is not None:
        blank |= np.broadcast_to(np.asarray(image.mask, bool), data.shape)
    _check_counts(image.unit, np.where(blank, 0, data))
    edges = image.meta.get("energy_edges")
    if edges is not None:
        edges = parse_edges(edges)
        if len(edges) != len(data) + 1:
            raise ValueError(f"meta['energy_edges'] has {len(edges)} edges for an image of {len(data)} energy bin(s)")
    pad = [(0, -n % _ALIGN) for n in data.shape[1:]]
    shape = tuple(n + p[1] for n, p in zip(data.shape[1:], pad, strict=True))

    def plane(name, value):
        if value is None:
            return None
        value = u.Quantity(value)
        unit = u.cm**2 * u.s if name == "exposure" else u.Unit(image.unit or u.ct)
        if value.unit != u.dimensionless_unscaled:
            if not value.unit.is_equivalent(unit):
                raise u.UnitConversionError(
                    f"meta['{name}'] has the unit '{value.unit}', which does not convert to '{unit}'"
                )
            value = value.to(unit)
        value = value.value
        value = value.reshape(-1, 1, 1) if value.ndim == 1 else value
        try:
            value = np.broadcast_to(value, data.shape)
        except ValueError:
            raise ValueError(f"meta['{name}'] has the shape {value.shape}, the map {data.shape}") from None
        return np.pad(value, [(0, 0), *pad])

    valid = np.pad(~blank.any(axis=0), pad)
    lattice = ImageLattice(shape, image.wcs.celestial)
    return _assemble(
        lattice,
        np.pad(np.where(blank, 0, data), [(0, 0), *pad]),
        plane("background", image.meta.get("background")),
        valid,
        plane("exposure", image.meta.get("exposure")),
        edges,
        _choose_psf(image.meta.get("psf"), psf, edges, len(data)),
    )


def _assemble(lattice, data, background, valid, exposure, energy_edges, psf):
    if not valid.any():
        raise ValueError("the map has no valid pixels: everything is masked, UNSEEN or NaN")

    def clean(values):
        return np.where(valid, values, 0).astype(np.float32)

    if background is not None:
        background = clean(background)
        if not np.all(np.isfinite(background)) or background.min() < 0:
            raise ValueError("the background must be finite and not negative: expected counts per pixel")
        if not background.any():
            raise ValueError(
                "the background is zero everywhere: give expected counts per pixel, or None to estimate it"
            )
    if exposure is not None:
        exposure = clean(np.broadcast_to(u.Quantity(exposure, u.cm**2 * u.s).value, data.shape))
        if not np.all(np.isfinite(exposure)) or exposure.min() < 0:
            raise ValueError("the exposure must be finite and not negative")
    return Observation(lattice, clean(data), background, valid.astype(np.float32), psf, exposure, energy_edges)
