"""`PointSourceFinder`: point sources in counts maps, from patches of sky to a catalogue with honest errors.

The flow is one way: a map is brought to arrays (`observation`), its background is fitted (`background`), the channels
that the network sees are made (`features`), the network turns patches into maps of probability and offsets (`network`),
peaks become positions (`localize`), and positions become counts and significances (`measure`). Training cuts patches
from maps whose sources are known (`patches`); every eighth map is kept out of it to calibrate probabilities and
position errors on skies that the network has not seen.
"""

from functools import partial
from numbers import Integral, Real

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.utils._param_validation import Interval, StrOptions

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import as_quantity
from astrolearn.core.net import OneCycle
from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.sky.lattice import ImageLattice
from astrolearn.sky.matching import match, source_coords
from astrolearn.sky.skymap import SkyMap
from astrolearn.sources.features import CHANNELS, extract_features
from astrolearn.sources.fermi.instrument import EVENT_TYPES, lat_psf
from astrolearn.sources.localize import LOCALIZERS, find_peaks, merge, near_a_former
from astrolearn.sources.measure import measure
from astrolearn.sources.network import HALO, OUTPUTS, HeatmapLoss, PyramidUNet, bounded
from astrolearn.sources.observation import observe
from astrolearn.sources.patches import PatchDataset, augment, cut_training_patches, draw_targets

__all__ = ["PointSourceFinder"]

_R68 = np.sqrt(-2 * np.log(1 - 0.68))  # 68 % radius of a round Gaussian, in sigma per axis
_CALIBRATION_EVERY = 8
_KINDS = ("sphere", "wide pixels", "image")
_UNCALIBRATED = {"slope": 1.0, "intercept": 0.0, "second_slope": 1.0, "second_intercept": 0.0, "error_scale": 1.0}
_ENOUGH = 200  # true detections from which a kind of map is calibrated by itself
_MERGE = 1.0  # pixels within which two detections are one


class PointSourceFinder(NetworkEstimator):
    """
    Point sources in gamma-ray counts maps.

    A multi-input U-Net gives every pixel a probability of holding a source; peaks of that map become a catalogue. One
    fitted finder serves maps of other energy bins, pixel sizes, PSFs, exposures and backgrounds than it was trained on.

    Parameters
    ----------
    threshold : float, optional
        Smallest probability of a detection that `predict` reports, 0 to 1. Change it with ``set_params`` without
        fitting again. Of calibrated probabilities half the best F1 is the threshold that reaches it (Lipton et al.
        2014, ECML PKDD, 225), and F1 is near 0.7 on LAT maps.
    localizer : {"offset", "log", "kmeans"}, optional
        How peaks become positions: the network's own offsets, a fit to the Laplacian of Gaussian, or the clustering of
        Panes et al. (2021, A&A 656, A62).
    match_radius : Quantity or str, optional
        A detection is true if a source lies within this radius, or within 1.1 pixels where pixels are larger: what
        ``probability`` refers to and `score` measures. Bare numbers are degrees.
    min_significance : float, optional
        Simulated sources whose expected significance (column ``significance`` of a map's truth table, in standard
        deviations) is below this are taken as background.
    psf : str or Quantity, optional
        For maps that carry no PSF: an event type of the LAT (``"FRONT"``, ``"BACK"``, ``"FRONT+BACK"``, ``"PSF0"`` ...
        ``"PSF3"``), whose P8R3 PSF is then taken for the map's energies, or the 68 % containment radii of the energy
        bins, such as ``"0.8, 0.4 deg"``.
    width : int, optional
        Feature channels of the network at its finest level.
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`.

    Attributes
    ----------
    calibration_ : dict
        For maps of each kind (``sphere``, ``wide pixels`` than the PSF, ``image``): ``slope`` and ``intercept`` that
        turn the network's logit of a match into that of ``probability``, the same with ``second_`` for detections
        within the match radius of a stronger one (there from the logit of a source), and ``error_scale`` of the
        position errors.
    net_ : `skorch.NeuralNet`
        The network.

    Examples
    --------
    >>> from astrolearn import PointSourceFinder
    >>> finder = PointSourceFinder.from_pretrained("fermi-lat")    # doctest: +SKIP
    >>> catalogue = finder.predict(skymap)                         # doctest: +SKIP
    """

    _parameter_constraints = NetworkEstimator._parameter_constraints | {
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "localizer": [StrOptions(set(LOCALIZERS))],
        "match_radius": [u.Quantity, str, Real],
        "min_significance": [Interval(Real, 0, None, closed="left")],
        "psf": [str, u.Quantity],
        "width": [Interval(Integral, 1, None, closed="left")],
    }
    _fitted_names = ("calibration_",)
    _mixed_precision = True

    def __init__(
        self,
        *,
        threshold=0.35,
        localizer="offset",
        match_radius="0.3 deg",
        min_significance=2.5,
        psf="FRONT+BACK",
        width=16,
        device="auto",
        batch_size=16,
        max_epochs=12,
        lr=2e-3,
        random_state=None,
        verbose=0,
        n_jobs=None,
    ):
        super().__init__(
            device=device,
            batch_size=batch_size,
            max_epochs=max_epochs,
            lr=lr,
            random_state=random_state,
            verbose=verbose,
            n_jobs=n_jobs,
        )
        self.threshold = threshold
        self.localizer = localizer
        self.match_radius = match_radius
        self.min_significance = min_significance
        self.psf = psf
        self.width = width

    def fit(self, maps, sources=None):
        """
        Train on maps whose sources are known.

        Parameters
        ----------
        maps : SkyMap, `~astropy.nddata.NDData`, or an iterable of them
            Counts maps. An iterable is read once, one map at a time: a generator of simulated skies need not fit in
            memory. With eight maps or more every eighth is kept for calibration; with fewer the first one does both.
        sources : SkyCoord, Table with a column ``coord``, or a list with one of these per map, optional
            The sources of each map. Default: the map's own ``sources`` (``meta["sources"]`` of an image).

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no maps, a map has no known sources, or the numbers of maps and source lists differ.
        """
        self._validate_params()
        rng = make_rng(self.random_state)
        parts, held = [], []
        prepare = partial(
            _prepare, psf=self._default_psf, min_significance=self.min_significance, radius=self._match_radius
        )
        total = len(maps) if isinstance(maps, list | tuple) else None
        prepared = map_batches(prepare, enumerate(_pairs(maps, sources)), self.n_jobs)
        for cut, kept in progress(prepared, "preparing maps", total=total, verbose=self.verbose):
            parts += [] if cut is None else [cut]
            held += [] if kept is None else [kept]
        if not parts:
            raise ValueError("there are no maps to fit: give at least one")
        self._augment_rng = np.random.default_rng(rng.integers(2**63))
        self._fit_net(PatchDataset(parts), rng=rng)
        del self._augment_rng
        # the first map, which was trained on, calibrates only if there was no other
        self.calibration_ = self._calibrate(held[1:] or held)
        return self

    def predict(self, skymap):
        """
        Find the sources of a map.

        Parameters
        ----------
        skymap : SkyMap or `~astropy.nddata.NDData`, or a list of them
            Counts map(s); see `SkyMap` for what they carry.

        Returns
        -------
        SampleTable or list of SampleTable
            One row per source of probability ``threshold`` or more, by falling probability: ``coord``; ``coord_error``
            (68 % radius, deg); ``probability`` (that a true source lies within the match radius); ``significance``
            (standard deviations); ``counts``, ``counts_error`` (over all bins) and the same per energy bin,
            ``bin_counts``, ``bin_counts_error``; ``flux``, ``flux_error`` and ``bin_flux``, ``bin_flux_error`` (1 /
            (cm2 s)) where the exposure is known; ``x_centroid``, ``y_centroid`` for images (0-based pixel centres).
        """
        self._validate_params()
        if isinstance(skymap, list | tuple):
            return [self.predict(one) for one in skymap]
        self._require_fitted()
        observation = observe(skymap, self._default_psf)
        features = extract_features(observation, self.verbose)
        found = self._candidates(observation, self._maps(observation, features))
        found = found[found["probability"] >= self.threshold]
        return self._catalogue(observation, features.background, found)

    def predict_map(self, skymap):
        """
        Probability of a source at every pixel.

        Parameters
        ----------
        skymap : SkyMap or `~astropy.nddata.NDData`
            Counts map.

        Returns
        -------
        SkyMap or `~astropy.nddata.NDData`
            Of the same kind, ordering and frame, one plane, no unit: the probability that a source lies within a pixel
            of here (a pixel as the network uses: a map much finer than its PSF is summed 2 x 2 first). Pixels that were
            not observed are masked.
        """
        self._validate_params()
        self._require_fitted()
        observation = observe(skymap, self._default_psf)
        maps = self._maps(observation, extract_features(observation, self.verbose))
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

    def score(self, maps, sources=None):
        """
        F1 of the catalogue at ``match_radius``: the harmonic mean of purity and completeness.

        Parameters
        ----------
        maps, sources
            As for `fit`.

        Returns
        -------
        float
            Over all maps together. Simulated sources below ``min_significance`` are not asked for.
        """
        true, found, wanted = 0, 0, 0
        for skymap, truth in _pairs(maps, sources):
            coords = _detectable(truth, self.min_significance)
            catalogue = self.predict(skymap)
            found, wanted = found + len(catalogue), wanted + len(coords)
            if len(catalogue) and len(coords):
                radius = self._match_radius(observe(skymap, self._default_psf))
                true += self._is_true(catalogue["coord"], coords, radius * u.rad).sum()
        return 2 * true / max(found + wanted, 1)

    @staticmethod
    def _is_true(detections, sources, radius):
        """Whether each detection has a source of its own within ``radius``."""
        true = np.zeros(len(detections), bool)
        true[match(detections, sources, radius).catalogue_index] = True
        return true

    def _default_psf(self, energy_edges):
        radii = parse_psf(self.psf)
        if radii is not None:
            return radii
        if energy_edges is None:
            raise ValueError(
                "the map has neither a PSF nor energy_edges: set one of them, or the finder's psf to 68 % radii"
            )
        return lat_psf(energy_edges, self.psf)

    def _match_radius(self, observation):
        """Radius within which a detection is true, in radians."""
        asked = as_quantity(self.match_radius, u.deg, "match_radius").to_value(u.rad)
        return max(asked, 1.1 * observation.lattice.pixel_size)

    def _network(self):
        return partial(PyramidUNet, channels=[len(CHANNELS[level]) for level in sorted(CHANNELS)], width=self.width)

    def _net_options(self):
        options = {"criterion": HeatmapLoss, "optimizer": torch.optim.AdamW, "callbacks": [OneCycle()]}
        if hasattr(self, "_augment_rng"):
            options["iterator_train__collate_fn"] = partial(augment, generator=self._augment_rng)
        return options

    def _maps(self, observation, features):
        """Probability and offset maps of the whole observation: dict of arrays, shape search_lattice.shape."""
        lattice, valid = observation.search_lattice, observation.search_valid
        out = np.zeros((len(OUTPUTS), *lattice.shape), np.float32)
        per_batch = max(1, self.batch_size // 2)
        groups = [np.arange(i, min(i + per_batch, lattice.n_patches)) for i in range(0, lattice.n_patches, per_batch)]
        used = [g for g in groups if lattice.cut(valid[None].astype(np.uint8), g, 0).any()]
        batches = ({f"level{i}": c.astype(np.float32) for i, c in enumerate(features.cut(g, HALO))} for g in used)
        for group, result in zip(used, self._forward_batches(batches, total=len(used)), strict=True):
            lattice.assemble(result[..., HALO:-HALO, HALO:-HALO], group, out)
        maps = dict(zip(OUTPUTS, out, strict=True))
        maps["source"] = np.where(valid, expit(maps["source"]), 0)
        return maps

    def _candidates(self, observation, maps):
        """All peaks: QTable of coord, logit, probability, error (68 % radius in radians), by falling probability."""
        lattice = observation.search_lattice
        peaks = find_peaks(lattice, maps, self.localizer)
        coords = lattice.positions(peaks.pixel, peaks.dx, peaks.dy)
        # a peak at the border of what was observed may point beyond it
        at = lattice.offsets(coords)[0]
        inside = (at >= 0) & (peaks.pixel >= 0)
        inside[inside] = observation.search_valid.ravel()[at[inside]]
        peaks, coords = peaks[inside], coords[inside]
        source = logit(np.clip(maps["source"].ravel()[peaks.pixel].astype(float), 1e-6, 1 - 1e-6))
        kept = merge(coords, source, _MERGE * lattice.pixel_size)
        peaks, coords, source = peaks[kept], coords[kept], source[kept]
        # near a stronger peak it is the stronger one's source that makes a match probable: the weaker peak must show
        # that it has one of its own
        second = near_a_former(coords, self._match_radius(observation))
        evidence = np.where(second, source, maps["match"].ravel()[peaks.pixel])
        error = np.exp(bounded(maps["log_error"].ravel()[peaks.pixel], np)) * _R68 * lattice.pixel_size
        table = SampleTable({"coord": coords, "evidence": evidence, "second": second})
        calibration = self.calibration_[_kind(observation)]
        table["error"] = error * calibration["error_scale"]
        slope, intercept = (
            np.where(second, calibration[f"second_{name}"], calibration[name]) for name in ("slope", "intercept")
        )
        table["probability"] = expit(slope * evidence + intercept)
        if isinstance(lattice, ImageLattice):
            table["x_centroid"], table["y_centroid"] = lattice.image_xy(peaks.pixel, peaks.dx, peaks.dy)
        return table[np.argsort(-table["probability"], kind="stable")]

    def _catalogue(self, observation, background, found):
        photometry = measure(observation, background, found["coord"], self.verbose)
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
        catalogue.meta["threshold"] = float(self.threshold)
        catalogue.meta["localizer"] = self.localizer
        if observation.energy_edges is not None:
            catalogue.meta["energy_edges"] = observation.energy_edges.to_string()
        return catalogue

    def calibrate(self, maps, sources=None):
        """
        Fit probabilities and position errors anew, the network staying as it is.

        Parameters
        ----------
        maps, sources
            As for `fit`; maps that the network was not trained on. Whole skies, skies of pixels wider than the PSF, and
            images are calibrated apart; a kind of which there are too few detections takes the calibration of all.

        Returns
        -------
        self
        """
        self._require_fitted()
        prepare = partial(_prepare_truth, psf=self._default_psf, min_significance=self.min_significance)
        total = len(maps) if isinstance(maps, list | tuple) else None
        prepared = map_batches(prepare, _pairs(maps, sources), self.n_jobs)
        self.calibration_ = self._calibrate(progress(prepared, "calibrating", total=total, verbose=self.verbose))
        return self

    def _calibrate(self, held):
        """`calibration_` from (observation, features, true positions) of maps that were not trained on."""
        self.calibration_ = {kind: dict(_UNCALIBRATED) for kind in _KINDS}
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


def _prepare_truth(pair, psf, min_significance):
    """Observation, features and wanted positions of a map and its sources."""
    skymap, truth = pair
    observation = observe(skymap, psf)
    return observation, extract_features(observation), _detectable(truth, min_significance)


def _prepare(numbered, psf, min_significance, radius):
    """Training patches of a map, and what calibration needs of it; every eighth map only calibrates."""
    number, pair = numbered
    observation, features, coords = _prepare_truth(pair, psf, min_significance)
    calibrates = number % _CALIBRATION_EVERY == _CALIBRATION_EVERY - 1
    cut = None
    if not calibrates:
        lattice, valid = observation.search_lattice, observation.search_valid
        targets = draw_targets(lattice, valid, coords, radius(observation) / lattice.pixel_size)
        cut = cut_training_patches(features, targets, valid, np.random.default_rng(number))
    return cut, (observation, features, coords) if calibrates or number == 0 else None


def _pairs(maps, sources):
    """(map, its sources) of one map or an iterable."""
    if hasattr(maps, "data") or not hasattr(maps, "__iter__"):
        maps, sources = (
            [maps],
            None if sources is None else [sources] if not isinstance(sources, list | tuple) else sources,
        )
    if sources is None:
        for skymap in maps:
            own = skymap.sources if isinstance(skymap, SkyMap) else getattr(skymap, "meta", {}).get("sources")
            if own is None:
                raise ValueError(
                    "a map has no known sources: pass sources, or set its sources attribute (meta['sources'])"
                )
            yield skymap, own
        return
    maps, sources = list(maps), list(sources)
    if len(maps) != len(sources):
        raise ValueError(f"{len(maps)} maps but {len(sources)} lists of sources")
    yield from zip(maps, sources, strict=True)


def _detectable(truth, min_significance):
    """Positions of the sources that can be asked for."""
    coords = source_coords(truth)
    if not isinstance(truth, SkyCoord) and "significance" in truth.colnames:
        coords = coords[np.asarray(truth["significance"]) >= min_significance]
    return SkyCoord(coords.frame)  # a column of a table cannot be pickled alone
