"""From maps and positions to what the network sees: cutouts, their background and features, one row per detection.

The years of a map set are observed together: the sum decides on pixels, background and spectra, and each year is then
brought to the same pixels. Cutouts are pixels of the lattice, so that every photon is counted once, wherever in its
pixel a detection lies.
"""

import copy
import warnings
from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
import torch
from torch.utils.data import Dataset

from astrolearn.sky import EnergyRebinner, SkyMap, stack_maps
from astrolearn.sky.energy import parse_edges, same_edges
from astrolearn.sources.background import fit_background
from astrolearn.sources.measure import measure
from astrolearn.sources.observation import observe

from .features import describe, feature_names, without_years
from .network import SIDE

__all__ = ["DetectionDataset", "Detections", "n_features", "prepare", "same_pixels"]

_SURE = 7.0  # logit of a probability beyond which it does not matter
_FORGET = 0.15  # share of the training samples whose years, or whose probability, are withheld
_EQUAL, _DIFFERENT = 1.1, 1.5  # ratio of the years' exposures from which one is told, and from which nothing is known
_SAME_PIXELS = 1.5  # largest ratio of pixel sizes at which cutouts show the same


def n_features(n_energy):
    """Number of features: those of `describe`, and the finder's probability with whether it is known."""
    return len(feature_names(n_energy)) + 2


@dataclass
class Detections:
    """
    What the network sees of n detections.

    Attributes
    ----------
    counts : array, shape (n, n_year, n_energy, 7, 7)
        Photons.
    background : array of float32, shape (n, n_energy, 7, 7)
        Expected without sources in all years.
    features : array of float32, shape (n, n_feature)
    energy_edges : Quantity, shape (n_energy + 1,)
    pixel_size : float
        In radians.
    exposure : array or None, shape (n_energy,)
        Median over the detections, cm2 s; None if the maps have none.
    """

    counts: np.ndarray
    background: np.ndarray
    features: np.ndarray
    energy_edges: u.Quantity
    pixel_size: float
    exposure: np.ndarray | None

    def __len__(self):
        return len(self.features)

    def take(self, chosen):
        """Some of the detections."""
        return replace(
            self, counts=self.counts[chosen], background=self.background[chosen], features=self.features[chosen]
        )

    def rows(self, chosen):
        """Input of the network for some detections: dict of float32 arrays."""
        n_years = self.counts.shape[1]
        return {
            "counts": self.counts[chosen].astype(np.float32),
            "background": self.background[chosen],
            "features": self.features[chosen],
            "years_known": np.full(len(self.features[chosen]), float(n_years > 1), np.float32),
        }


def prepare(maps, coords, probability=None, *, psf, energy_edges=None, pixel_size=None, exposure=None, verbose=0):
    """
    Look at detections.

    Parameters
    ----------
    maps : SkyMap, `~astropy.nddata.NDData`, or a list of one for each year
    coords : `~astropy.coordinates.SkyCoord`, shape (n,)
        All that was detected: they are measured together.
    probability : array, shape (n,), optional
        That each is a source, as `PointSourceFinder` has it; NaN or masked where it is not known.
    psf : callable, RadialPSF, Quantity or None
        Of maps that have none, see `~astrolearn.sources.observation.observe`.
    energy_edges : Quantity, optional
        Bins to which those of the maps are merged. Default: as they are.
    pixel_size : float, optional
        Radians, to which finer pixels are summed. Default: as they are.
    exposure : array, shape (n_energy,), optional
        Of maps that have none, cm2 s.
    verbose : int, optional
        With 1, progress bars.

    Returns
    -------
    Detections

    Raises
    ------
    ValueError
        If the maps have no energy edges, or others than asked for; if their pixels are too large or cannot be summed to
        the size asked for; if a position is not finite or not on the map; if the maps have no exposure and none is
        given; or if the exposures (without them, the photons) of the years differ by a factor of 1.5 or more.

    Warns
    -----
    UserWarning
        If they differ by a tenth or more: a steady source then seems to vary.
    """
    years = list(maps) if isinstance(maps, list | tuple) else [maps]
    if not years:
        raise ValueError("there are no maps: give one, or a list of one for each year")
    total = stack_maps(years)
    _check_equal(years)
    edges = _edges(total)
    if energy_edges is not None and not same_edges(edges, energy_edges):
        years = EnergyRebinner(energy_edges).transform(years)
        total, edges = stack_maps(years), energy_edges
    observation, yearly = _observe(total, years, psf, pixel_size)
    placed = np.isfinite(coords.cartesian.xyz.value).all(axis=0)
    if not placed.all():
        raise ValueError(f"{np.sum(~placed)} of {len(coords)} positions are not finite, the first in row "
                         f"{np.flatnonzero(~placed)[0]}: leave them out")
    pixel = observation.lattice.offsets(coords)[0]
    seen = pixel >= 0
    seen[seen] = observation.valid.ravel()[pixel[seen]]
    if not seen.all():
        raise ValueError(f"{np.sum(~seen)} of {len(coords)} positions are not on the map, the first in row "
                         f"{np.flatnonzero(~seen)[0]}: leave them out")
    background = fit_background(observation, verbose)
    photometry = measure(observation, background, coords, verbose, yearly if len(yearly) > 1 else None)
    if observation.exposure is not None:
        exposed = observation.exposure.reshape(observation.n_energy, -1)[:, pixel].T
    elif exposure is not None:
        exposed = np.broadcast_to(exposure, (len(coords), observation.n_energy))
    else:
        raise ValueError("the maps have no exposure, without which there are no spectra: set their exposure")
    features = describe(photometry, exposed, edges.to_value(u.GeV), coords)
    p = np.full(len(coords), np.nan) if probability is None else probability
    p = np.ma.filled(np.ma.asarray(p, float), np.nan)
    known = np.isfinite(p)
    p = np.clip(np.where(known, p, 0.5), 1e-9, 1 - 1e-9)
    evidence = np.clip(np.log(p) - np.log1p(-p), -_SURE, _SURE)
    around = observation.lattice.around(pixel, SIDE // 2)[0] if len(coords) else np.zeros((0, SIDE**2), int)
    exists = around >= 0
    flat = yearly.reshape(*yearly.shape[:2], -1)[:, :, around] * exists
    square = (SIDE, SIDE)
    return Detections(
        counts=_compact(np.moveaxis(flat, 2, 0).reshape(len(coords), *yearly.shape[:2], *square)),
        background=np.moveaxis(background.reshape(len(background), -1)[:, around] * exists, 1, 0)
        .reshape(len(coords), len(background), *square).astype(np.float32),
        features=np.column_stack([features, evidence, known]).astype(np.float32),
        energy_edges=edges,
        pixel_size=observation.lattice.pixel_size,
        exposure=None if observation.exposure is None or not len(coords) else np.median(exposed, axis=0),
    )


def _check_equal(years):
    """Light curves are compared with a steady source, which sends as many photons each year."""
    if len(years) < 2:
        return
    exposures = [year.exposure if isinstance(year, SkyMap) else year.meta.get("exposure") for year in years]
    known = all(exposure is not None for exposure in exposures)
    what = "exposure" if known else "number of photons"
    values = exposures if known else [np.asarray(year.data) for year in years]
    total = [float(np.nansum(np.asarray(value), dtype=float)) for value in values]
    low, high = int(np.argmin(total)), int(np.argmax(total))
    if total[high] < _EQUAL * total[low]:
        return
    text = f"the {what} of year {low} is {total[low] / max(total[high], 1e-30):.2g} of that of year {high}"
    if total[high] >= _DIFFERENT * total[low]:
        raise ValueError(f"{text}: give years of equal exposure, or their sum as one map")
    warnings.warn(f"{text}: a steady source seems to vary by as much", UserWarning, stacklevel=4)


def _edges(skymap):
    edges = skymap.energy_edges if isinstance(skymap, SkyMap) else skymap.meta.get("energy_edges")
    if edges is None:
        raise ValueError("the maps have no energy_edges, without which there are no spectra: set them")
    return parse_edges(edges)


def same_pixels(one, other):
    """Whether cutouts in pixels of these two sizes show about the same."""
    return max(one, other) <= _SAME_PIXELS * min(one, other)


def _observe(total, years, psf, pixel_size):
    """Observation of the sum, and counts (n_year, n_energy, *lattice.shape) of each year on its lattice."""
    observation = observe(total, psf)
    yearly = np.stack([observe(_bare(year, total), psf).counts for year in years])
    if pixel_size is not None:
        while observation.lattice.pixel_size < pixel_size / _SAME_PIXELS:
            observation = observation.coarsened()
            yearly = np.stack([observation.lattice.finer.sum_children(year) for year in yearly])
        if observation.lattice.pixel_size > pixel_size * _SAME_PIXELS:
            raise ValueError(
                f"the pixels of the maps, {np.rad2deg(observation.lattice.pixel_size):.2g} deg, are too large: the "
                f"classifier was trained on {np.rad2deg(pixel_size):.2g} deg"
            )
    return observation, yearly * observation.valid


def _bare(year, total):
    """The counts of a year, seen where and as the total is: they are brought to the same pixels."""
    on_sphere = isinstance(year, SkyMap)
    bare = copy.copy(year.to_order(nest=total.nest) if on_sphere else year)
    bare.mask = total.mask
    if on_sphere:
        bare.exposure = bare.background = None
        bare.psf = total.psf
        return bare
    bare.meta = {"energy_edges": total.meta.get("energy_edges"), "psf": total.meta.get("psf")}
    return bare


def _compact(counts):
    """Whole numbers in two bytes where they fit."""
    small = counts.max(initial=0) <= np.iinfo(np.uint16).max and np.array_equal(counts, np.rint(counts))
    return counts.astype(np.uint16 if small else np.float32)


class DetectionDataset(Dataset):
    """
    Detections with their labels, a batch at a time.

    Parameters
    ----------
    parts : list of Detections
        Of several skies, with equal numbers of years.
    targets : array of float32, shape (n, n_class + 1)
        See `PartialLabelLoss`.
    rng : `numpy.random.Generator`
        Turns and mirrors cutouts, and withholds years or probabilities of some samples.

    Raises
    ------
    ValueError
        If the numbers of years differ.
    """

    def __init__(self, parts, targets, rng):
        n_years = sorted({part.counts.shape[1] for part in parts})
        if len(n_years) > 1:
            raise ValueError(f"the map sets have {' and '.join(map(str, n_years))} years: train on equal numbers")
        self.counts = np.concatenate([part.counts for part in parts])
        self.background = np.concatenate([part.background for part in parts])
        self.features = np.concatenate([part.features for part in parts])
        self.steady = without_years(self.features, self.counts.shape[2])
        self.targets, self.rng, self.years = targets, rng, n_years[0]

    def __len__(self):
        return len(self.features)

    def __getitems__(self, rows):
        """A batch ({counts, background, features, years_known}, target) of tensors."""
        rows = np.asarray(rows)
        counts, background = self.counts[rows].astype(np.float32), self.background[rows]
        flip, turns = self.rng.integers(2), int(self.rng.integers(4))
        if flip:
            counts, background = counts[..., ::-1], background[..., ::-1]
        counts, background = (np.rot90(values, turns, (-2, -1)) for values in (counts, background))
        known = (self.rng.random(len(rows)) >= _FORGET) & (self.years > 1)
        features = np.where(known[:, None], self.features[rows], self.steady[rows])
        features[self.rng.random(len(rows)) < _FORGET, -2:] = 0
        batch = {"counts": counts, "background": background, "features": features, "years_known": known}
        return {
            name: torch.from_numpy(np.ascontiguousarray(values, np.float32)) for name, values in batch.items()
        }, torch.from_numpy(self.targets[rows])
