"""How the finder treats counts maps of gamma rays: from patches of sky to a catalogue with honest errors.

The flow is one way: a map is brought to arrays (`observation`), its background is fitted (`background`), the channels
that the network sees are made (`features`), the network turns patches into maps of probability and offsets (`network`),
peaks become positions (`localize`), and positions become counts and significances (`measure`). Training cuts patches
from maps whose sources are known (`patches`).
"""

from functools import partial

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from scipy.optimize import minimize
from scipy.special import expit, logit

from astrolearn.core.inputs import as_quantity
from astrolearn.core.tables import SampleTable
from astrolearn.sky.lattice import ImageLattice
from astrolearn.sky.matching import match, source_coords
from astrolearn.sky.psf import GAUSSIAN_R68
from astrolearn.sky.skymap import SkyMap
from astrolearn.sources.features import CHANNELS, extract_features
from astrolearn.sources.fermi.instrument import EVENT_TYPES, lat_psf
from astrolearn.sources.localize import LOCALIZERS, MERGE, find_peaks, merge, near_a_former
from astrolearn.sources.measure import measure
from astrolearn.sources.network import HALO, OUTPUTS, PyramidUNet, bounded
from astrolearn.sources.observation import observe
from astrolearn.sources.patches import PatchDataset, augment, cut_training_patches, draw_targets

__all__ = ["CountsMaps", "parse_psf"]

_KINDS = ("sphere", "wide pixels", "image")
_UNCALIBRATED = {"slope": 1.0, "intercept": 0.0, "second_slope": 1.0, "second_intercept": 0.0, "error_scale": 1.0}
_ENOUGH = 200  # true detections from which a kind of map is calibrated by itself


class CountsMaps:
    """
    What `~astrolearn.PointSourceFinder` does with maps of kind ``"counts"``.

    Parameters
    ----------
    finder : `~astrolearn.PointSourceFinder`
        Whose parameters, network and calibration are used.
    """

    defaults = {
        "threshold": 0.35,
        "localizer": "offset",
        "match_radius": "0.3 deg",
        "min_significance": 2.5,
        "psf": "FRONT+BACK",
        "width": 16,
    }
    localizers = tuple(LOCALIZERS)
    net_options = {}
    augment = staticmethod(augment)
    dataset = staticmethod(PatchDataset)

    def __init__(self, finder):
        self.finder = finder

    def network(self):
        """What makes the untrained network."""
        channels = [len(CHANNELS[level]) for level in sorted(CHANNELS)]
        return partial(PyramidUNet, channels=channels, width=self.finder.setting("width"))

    def preparation(self, training):
        """
        What prepares a pair of map and sources, in any process.

        Parameters
        ----------
        training : bool
            Whether there are patches to be cut.

        Returns
        -------
        callable
            Of (pair, seed), to patches (or None) and what `calibrate` takes.
        """
        settings = {"psf": self._default_psf, "min_significance": self.finder.setting("min_significance")}
        return partial(_prepare, radius=self._match_radius if training else None, **settings)

    def predict(self, skymap):
        """Catalogue of a map, see `~astrolearn.PointSourceFinder.predict`."""
        observation = observe(skymap, self._default_psf)
        features = extract_features(observation, self.finder.verbose)
        found = self._candidates(observation, self._maps(observation, features))
        found = found[found["probability"] >= self.finder.setting("threshold")]
        return self._catalogue(observation, features.background, found)

    def predict_map(self, skymap):
        """Probability per pixel, see `~astrolearn.PointSourceFinder.predict_map`."""
        observation = observe(skymap, self._default_psf)
        maps = self._maps(observation, extract_features(observation, self.finder.verbose))
        lattice, probability, valid = observation.lattice, maps["source"].astype(np.float32), observation.valid
        if observation.undersampled:
            probability = observation.search_lattice.max_children(probability)
        for _ in range(int(np.log2(observation.factor))):
            # back to the pixels of the map itself
            probability, valid = lattice.spread(probability), lattice.spread(valid)
        if isinstance(skymap, SkyMap):
            mask = None if valid.all() else ~valid
            result = SkyMap(probability[None], unit=u.dimensionless_unscaled, frame=skymap.frame, nest=True, mask=mask)
            return result if skymap.nest else result.to_order(nest=False)
        inside = tuple(slice(n) for n in np.shape(skymap.data)[-2:])
        return type(skymap)(
            probability[inside], unit=u.dimensionless_unscaled, wcs=skymap.wcs.celestial, mask=~valid[inside]
        )

    def compare(self, skymap, truth):
        """Numbers of true detections, detections and sources asked for, in a map of known sources."""
        coords = _detectable(truth, self.finder.setting("min_significance"))
        catalogue = self.predict(skymap)
        true = 0
        if len(catalogue) and len(coords):
            radius = self._match_radius(observe(skymap, self._default_psf))
            true = len(match(catalogue["coord"], coords, radius * u.rad).catalogue_index)
        return true, len(catalogue), len(coords)

    def _default_psf(self, energy_edges):
        radii = parse_psf(self.finder.setting("psf"))
        if radii is not None:
            return radii
        if energy_edges is None:
            raise ValueError(
                "the map has neither a PSF nor energy_edges: set one of them, or the finder's psf to 68 % radii"
            )
        return lat_psf(energy_edges, self.finder.setting("psf"))

    def _match_radius(self, observation):
        """Radius within which a detection is true, in radians."""
        asked = as_quantity(self.finder.setting("match_radius"), u.deg, "match_radius").to_value(u.rad)
        return max(asked, 1.1 * observation.lattice.pixel_size)

    def _maps(self, observation, features):
        """Probability and offset maps of the whole observation: dict of arrays, shape search_lattice.shape."""
        lattice, valid = observation.search_lattice, observation.search_valid
        out = np.zeros((len(OUTPUTS), *lattice.shape), np.float32)
        per_batch = max(1, self.finder.batch_size // 2)
        groups = [np.arange(i, min(i + per_batch, lattice.n_patches)) for i in range(0, lattice.n_patches, per_batch)]
        used = [g for g in groups if lattice.cut(valid[None].astype(np.uint8), g, 0).any()]
        batches = ({f"level{i}": c.astype(np.float32) for i, c in enumerate(features.cut(g, HALO))} for g in used)
        for group, result in zip(used, self.finder._forward_batches(batches, total=len(used)), strict=True):
            lattice.assemble(result[..., HALO:-HALO, HALO:-HALO], group, out)
        maps = dict(zip(OUTPUTS, out, strict=True))
        maps["source"] = np.where(valid, expit(maps["source"]), 0)
        return maps

    def _candidates(self, observation, maps):
        """All peaks: QTable of coord, logit, probability, error (68 % radius in radians), by falling probability."""
        lattice = observation.search_lattice
        peaks = find_peaks(lattice, maps, self.finder.setting("localizer"))
        coords = lattice.positions(peaks.pixel, peaks.dx, peaks.dy)
        # a peak at the border of what was observed may point beyond it
        at = lattice.offsets(coords)[0]
        inside = (at >= 0) & (peaks.pixel >= 0)
        inside[inside] = observation.search_valid.ravel()[at[inside]]
        peaks, coords = peaks[inside], coords[inside]
        source = logit(np.clip(maps["source"].ravel()[peaks.pixel].astype(float), 1e-6, 1 - 1e-6))
        kept = merge(coords, source, MERGE * lattice.pixel_size)
        peaks, coords, source = peaks[kept], coords[kept], source[kept]
        # near a stronger peak it is the stronger one's source that makes a match probable: the weaker peak must show
        # that it has one of its own
        second = near_a_former(coords, self._match_radius(observation))
        evidence = np.where(second, source, maps["match"].ravel()[peaks.pixel])
        error = np.exp(bounded(maps["log_error"].ravel()[peaks.pixel], np)) * GAUSSIAN_R68 * lattice.pixel_size
        table = SampleTable({"coord": coords, "evidence": evidence, "second": second})
        calibration = self.finder.calibration_[_kind(observation)]
        table["error"] = error * calibration["error_scale"]
        slope, intercept = (
            np.where(second, calibration[f"second_{name}"], calibration[name]) for name in ("slope", "intercept")
        )
        table["probability"] = expit(slope * evidence + intercept)
        if isinstance(lattice, ImageLattice):
            table["x_centroid"], table["y_centroid"] = lattice.image_xy(peaks.pixel, peaks.dx, peaks.dy)
        return table[np.argsort(-table["probability"], kind="stable")]

    def _catalogue(self, observation, background, found):
        photometry = measure(observation, background, found["coord"], self.finder.verbose)
        catalogue = SampleTable()
        catalogue["coord"] = SkyCoord(found["coord"])
        catalogue["coord_error"] = np.rad2deg(found["error"]) * u.deg
        catalogue["probability"] = found["probability"]
        catalogue["significance"] = photometry.significance
        bins, errors = photometry.counts * u.ct, photometry.counts_error * u.ct
        catalogue["counts"], catalogue["counts_error"] = bins.sum(axis=1), np.sqrt(np.square(errors).sum(axis=1))
        catalogue["bin_counts"], catalogue["bin_counts_error"] = bins, errors
        if observation.exposure is not None:
            pixel = observation.lattice.offsets(catalogue["coord"])[0]
            exposure = observation.exposure.reshape(observation.n_energy, -1)[:, pixel].T * u.cm**2 * u.s
            seen = np.where(exposure > 0, exposure, np.nan * exposure.unit)
            flux, flux_error = (photometry.counts / seen), (photometry.counts_error / seen)
            catalogue["flux"] = flux.sum(axis=1)
            catalogue["flux_error"] = np.sqrt(np.square(flux_error).sum(axis=1))
            catalogue["bin_flux"], catalogue["bin_flux_error"] = flux, flux_error
        for name in ("x_centroid", "y_centroid"):
            if name in found.colnames:
                catalogue[name] = found[name]
        catalogue.meta["threshold"] = float(self.finder.setting("threshold"))
        catalogue.meta["localizer"] = self.finder.setting("localizer")
        if observation.energy_edges is not None:
            catalogue.meta["energy_edges"] = observation.energy_edges.to_string()
        return catalogue

    def calibrate(self, held):
        """Entries of ``calibration_`` from (observation, features, true positions) of maps that were not trained on."""
        self.finder.calibration_ = {kind: dict(_UNCALIBRATED) for kind in _KINDS}
        parts = {kind: [] for kind in _KINDS}
        for observation, features, coords in held:
            found = self._candidates(observation, self._maps(observation, features))
            result = match(found["coord"], coords, self._match_radius(observation) * u.rad)
            true, pull = np.zeros(len(found), bool), np.full(len(found), np.nan)
            true[result.catalogue_index] = True
            pull[result.catalogue_index] = result.separation.to_value(u.rad) / found["error"][result.catalogue_index]
            pull[found["probability"] <= 0.5] = np.nan
            parts[_kind(observation)].append(np.stack([found["evidence"], found["second"], true, pull]))
        parts = {kind: np.concatenate(p or [np.zeros((4, 0))], axis=1) for kind, p in parts.items()}
        pooled = np.concatenate(list(parts.values()), axis=1)
        return {kind: _fit_calibration(p if p[2].sum() >= _ENOUGH else pooled) for kind, p in parts.items()}


def _fit_calibration(rows):
    """Entries of one kind from evidence, whether near a stronger peak, whether true, pull: (4, n_detection)."""
    evidence, second, true, pull = rows
    calibration = dict(_UNCALIBRATED)
    for prefix, chosen in (("", second == 0), ("second_", second == 1)):
        slope, intercept = _fit_platt(evidence[chosen], true[chosen])
        calibration[f"{prefix}slope"], calibration[f"{prefix}intercept"] = slope, intercept
    pull = pull[np.isfinite(pull)]
    if len(pull) >= 20:
        calibration["error_scale"] = float(np.quantile(pull, 0.68))
    return calibration


def _kind(observation):
    """Which calibration a map takes."""
    if observation.undersampled:
        return "wide pixels"
    return "image" if isinstance(observation.lattice, ImageLattice) else "sphere"


def parse_psf(psf):
    """
    Read the radii of a PSF.

    Parameters
    ----------
    psf : str or Quantity
        See `PointSourceFinder`.

    Returns
    -------
    Quantity or None
        68 % radii in degrees; None for an event type of the LAT.

    Raises
    ------
    ValueError
        If the text is neither.
    """
    if not isinstance(psf, str):
        return psf
    if psf in EVENT_TYPES:
        return None
    *numbers, unit = psf.replace(",", " ").split() or [""]
    try:
        return u.Quantity([float(number) for number in numbers], unit).to(u.deg)
    except (TypeError, ValueError):
        raise ValueError(
            f"psf {psf!r} is neither an event type ({', '.join(EVENT_TYPES)}) nor radii such as '0.8, 0.4 deg'"
        ) from None


def _fit_platt(logits, labels):
    """Slope and intercept of a logistic regression of labels on logits (Platt 1999), slightly held to identity."""

    def loss(parameters):
        z = parameters[0] * logits + parameters[1]
        return np.sum(np.logaddexp(0, z) - labels * z) + (parameters[0] - 1) ** 2 + 0.1 * parameters[1] ** 2

    return tuple(float(p) for p in minimize(loss, [1.0, 0.0]).x)


def _prepare(pair, seed, psf, min_significance, radius):
    """Training patches of a map, if there is a match radius; and its observation, features and wanted positions."""
    skymap, truth = pair
    observation = observe(skymap, psf)
    features, coords = extract_features(observation), _detectable(truth, min_significance)
    cut = None
    if radius is not None:
        lattice, valid = observation.search_lattice, observation.search_valid
        targets = draw_targets(lattice, valid, coords, radius(observation) / lattice.pixel_size)
        cut = cut_training_patches(features, targets, valid, np.random.default_rng(seed))
    return cut, (observation, features, coords)


def _detectable(truth, min_significance):
    """Positions of the sources that can be asked for."""
    coords = source_coords(truth)
    if not isinstance(truth, SkyCoord) and "significance" in truth.colnames:
        coords = coords[np.asarray(truth["significance"]) >= min_significance]
    return SkyCoord(coords.frame)  # a column of a table cannot be pickled alone
