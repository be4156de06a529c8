"""`SourceClassifier`: what kind of gamma-ray source each detection is, or that it is none.

A catalogue of detections is half of an answer. What they are shows in three ways: the spectrum (pulsars are curved,
FSRQs soft, BL Lacs hard), the light curve (blazars vary, pulsars and remnants do not), and the photons around the
position, where a clump of gas does not look like a point. The classifier measures the first two as an astronomer would,
shows the photons themselves to a network, and turns what the network says into probabilities that come true as often as
they say, on detections of the kind that it was calibrated with.
"""

from functools import partial
from numbers import Integral, Real

import astropy.units as u
import numpy as np
import torch
from astropy.nddata import NDData
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.net import OneCycle
from astrolearn.core.parallel import in_batches, map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.sky import source_coords, stack_maps
from astrolearn.sky.energy import same_edges
from astrolearn.sources.classes.counterparts import add_counterparts
from astrolearn.sources.classes.detections import DetectionDataset, Detections, n_features, prepare, same_pixels
from astrolearn.sources.classes.labels import FAINT, FAKE, GROUPS, ClassScheme, clean_labels
from astrolearn.sources.classes.network import ClassNetwork, PartialLabelLoss
from astrolearn.sources.counts_maps import parse_psf
from astrolearn.sources.fermi.instrument import lat_psf
from astrolearn.sources.finder import PointSourceFinder

__all__ = ["SourceClassifier"]

_CALIBRATION_EVERY = 8


class SourceClassifier(ClassifierMixin, NetworkEstimator):
    """
    Classes of gamma-ray sources, and which detections are none.

    Maps are those in which the sources were found: one for each year, with equal energy bins, or a single map, whose
    sources then have spectra but no light curves. All detections are given together, because neighbours share photons.

    Parameters
    ----------
    class_weight : dict, "balanced" or None, optional
        How much it matters to recognise a class, as a factor on the loss of its sources in training and on its
        probability where a class is decided on: a dict of top-level class (such as ``"agn"``, ``"psr"``, ``"fake"``) to
        weight, positive, 1 where none is given; ``"balanced"`` (default), inversely proportional to the number of its
        sources; or `None`, all alike, so that the most probable class is reported. Probabilities do not depend on it.
        Change it with ``set_params`` to decide otherwise without fitting again.
    inputs : {"both", "cutouts", "features"}, optional
        What the network is given: cutouts of the maps in 7 x 7 pixels, ten years and all energy bins, or features that
        are measured on them (spectrum, curvature, variability, surroundings, neighbours), or both (default).
    year_order : {"counts", "time"}, optional
        Order of the years in a cutout: by falling number of photons (default), or in time.
    subtract_mean : bool, optional
        Whether the mean of all years is subtracted from the cutout of each. Default: yes.
    psf : str, Quantity or float, optional
        Of maps that carry no PSF, as for `~astrolearn.PointSourceFinder`. Default: ``"FRONT+BACK"``.
    width : int, optional
        Channels of the first convolutions. Default: 16.
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`.

    Attributes
    ----------
    classes_ : array of str, shape (n_class,)
        The classes, sorted.
    energy_edges_ : Quantity, shape (n_energy + 1,)
        Energy bins of the maps. Maps with finer bins that these are made of can be classified, too.
    pixel_size_ : float
        Side of their pixels, degrees.
    exposure_ : array, shape (n_energy,)
        Median exposure of the detections, cm2 s: that of maps that have none.
    class_frequency_ : dict
        Share of each top-level class in the training.
    calibration_ : dict
        ``slope`` and ``intercept`` (n_class,), from the network's log probabilities to calibrated ones.
    net_ : `skorch.NeuralNet`
        The network.

    Notes
    -----
    Labels may be any names. A few have a meaning: ``"fake"`` is no source; ``"bll"`` and ``"fsrq"`` are parts of
    ``"agn"``, which is also the label of an active galaxy of unknown kind; ``"unk"`` is a source of unknown class. The
    designators of the LAT catalogues are understood, see `~astrolearn.sources.classes.clean_labels`.

    Examples
    --------
    >>> from astrolearn import SourceClassifier
    >>> classifier = SourceClassifier.from_pretrained("fermi-lat-classes")     # doctest: +SKIP
    >>> catalogue = classifier.find_and_classify(yearly_maps)                  # doctest: +SKIP
    """

    _parameter_constraints = NetworkEstimator._parameter_constraints | {
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "inputs": [StrOptions({"both", "cutouts", "features"})],
        "year_order": [StrOptions({"counts", "time"})],
        "subtract_mean": ["boolean"],
        "psf": [str, u.Quantity, Real],
        "width": [Interval(Integral, 1, None, closed="left")],
    }
    _fitted_names = ("classes_", "energy_edges_", "pixel_size_", "exposure_", "class_frequency_", "calibration_")

    def __init__(
        self,
        *,
        class_weight="balanced",
        inputs="both",
        year_order="counts",
        subtract_mean=True,
        psf="FRONT+BACK",
        width=16,
        device="auto",
        batch_size=512,
        max_epochs=8,
        lr=3e-3,
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
        self.class_weight = class_weight
        self.inputs = inputs
        self.year_order = year_order
        self.subtract_mean = subtract_mean
        self.psf = psf
        self.width = width

    # -- training -----------------------------------------------------------------------------------------------------
    def fit(self, maps, coords=None, classes=None):
        """
        Train on detections of known class.

        Parameters
        ----------
        maps : SkyMap, `~astropy.nddata.NDData`, a list of one for each year, or an iterable of skies
            The maps of one sky. Of several skies, leave out the other arguments and give tuples of maps, coords and
            classes, one for each; a generator is read once, one sky at a time. All need the same energy bins, about the
            same pixels and equal numbers of years. Of eight skies or more, every eighth is kept for calibration; of
            fewer, every eighth detection. In place of maps, here and elsewhere, what
            `~astrolearn.sources.classes.detections.prepare` made of them can be given, with None for the positions.
        coords : SkyCoord, or Table with a column ``coord``, n rows
            Detections. A column ``probability``, as catalogues of `~astrolearn.PointSourceFinder` have, is used.
        classes : array-like of str, shape (n,)
            What each one is. Those that are ``"faint"`` are left out, see
            `~astrolearn.sources.classes.true_classes`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no detections, no classes or fewer than two of them; if numbers of positions and classes
            differ; or if maps cannot be used, see `classes.detections.prepare`.
        """
        self._validate_params()
        rng = make_rng(self.random_state)
        parts, labels = [], []
        for seen, names in self._skies(maps, coords, classes, energy_edges=None, pixel_size=None):
            if parts and not _alike(seen, parts[0]):
                raise ValueError("the skies differ in energy bins or pixels: train on maps of one kind")
            parts.append(seen)
            labels.append(names)
        if not parts:
            raise ValueError("there are no detections to fit: give at least two, of different classes")
        scheme = ClassScheme.of(np.concatenate(labels))
        held = _held_back([len(part) for part in parts])
        self.classes_ = np.array(scheme.classes)
        self.energy_edges_ = parts[0].energy_edges
        self.pixel_size_ = float(np.rad2deg(parts[0].pixel_size))
        known = [part.exposure for part in parts if part.exposure is not None]
        self.exposure_ = np.median(known, axis=0)
        tops = scheme.top_level(np.concatenate(labels))
        shares = np.bincount(tops[tops >= 0], minlength=len(scheme.groups)) / max(np.sum(tops >= 0), 1)
        self.class_frequency_ = {name: float(share) for name, share in zip(scheme.groups, shares, strict=True)}
        names = np.concatenate([label[~kept] for label, kept in zip(labels, held, strict=True)])
        weight = np.append(self._weights(scheme), 1.0)[scheme.top_level(names)]
        targets = np.column_stack([scheme.members(names), weight / weight.mean()]).astype(np.float32)
        chosen = [part.take(~kept) for part, kept in zip(parts, held, strict=True)]
        dataset = DetectionDataset(chosen, targets, np.random.default_rng(rng.integers(2**63)))
        del chosen
        self._drop_last = len(dataset) > self.batch_size
        try:
            self._fit_net(dataset, rng=rng)
        finally:
            del self._drop_last
        for_calibration = zip(parts, labels, held, strict=True)
        self._fit_calibration((part.take(kept), label[kept]) for part, label, kept in for_calibration)
        return self

    def calibrate(self, maps, coords=None, classes=None):
        """
        Fit the probabilities anew, the network staying as it is.

        Parameters
        ----------
        maps, coords, classes
            As for `fit`; detections that the network was not trained on, with the shares of classes that they have
            where it is used.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no detections, or a label is none of the classes.
        """
        self._require_fitted()
        self._validate_params()
        self._fit_calibration(self._skies(maps, coords, classes, **self._as_trained))
        return self

    def _fit_calibration(self, skies):
        """Calibrate with pairs of detections and labels."""
        logits, names = [], []
        for seen, label in skies:
            logits.append(self._logits(seen))
            names.append(label)
        if not logits:
            raise ValueError("there are no detections to calibrate with: give at least one")
        self.calibration_ = _calibrate(np.concatenate(logits), self._scheme.members(np.concatenate(names)))

    def _skies(self, maps, coords, classes, **options):
        """Detections and labels of each sky, those that count."""
        if classes is None and (coords is not None or isinstance(maps, NDData)):
            raise ValueError("there are maps, but not the classes of what was detected in them: give one for each")
        skies = iter(maps if classes is None else [(maps, coords, classes)])
        look = partial(_look_numbered, psf=self._psf_of, **options)
        for seen, names in progress(map_batches(look, skies, self.n_jobs), "preparing maps", verbose=self.verbose):
            chosen = names != FAINT
            if chosen.any():
                yield (seen if chosen.all() else seen.take(chosen)), names[chosen]

    @property
    def _as_trained(self):
        """How maps are to be prepared."""
        return {
            "energy_edges": self.energy_edges_,
            "pixel_size": np.deg2rad(self.pixel_size_),
            "exposure": self.exposure_,
        }

    @property
    def _mixed_precision(self):
        # gradients of 3-D convolutions of depth two come out as NaN in bfloat16 on CPUs (oneDNN in torch 2.13)
        return len(self.energy_edges_) - 1 != 2

    def _network(self):
        n_energy = len(self.energy_edges_) - 1
        return partial(
            ClassNetwork,
            n_energy,
            n_features(n_energy),
            len(self.classes_),
            cutouts=self.inputs != "features",
            features=self.inputs != "cutouts",
            year_order=self.year_order,
            subtract_mean=self.subtract_mean,
            width=self.width,
        )

    def _net_options(self):
        options = {
            "criterion": PartialLabelLoss,
            "optimizer": torch.optim.AdamW,
            "callbacks": [OneCycle()],
            "iterator_train__collate_fn": _as_it_is,
        }
        if hasattr(self, "_drop_last"):  # a last batch of one sample has no variance to normalise
            options["iterator_train__drop_last"] = self._drop_last
        return options

    # -- prediction ---------------------------------------------------------------------------------------------------
    def predict_proba(self, maps, coords):
        """
        Probability of each class.

        Parameters
        ----------
        maps : SkyMap, `~astropy.nddata.NDData`, or a list of one for each year
            The map set; energy bins must be those of the training, or finer ones that add up to them.
        coords : SkyCoord, or Table with a column ``coord``, n rows
            All that was detected in them.

        Returns
        -------
        array, shape (n, n_class)
            In the order of ``classes_``.

        Raises
        ------
        ValueError
            If maps cannot be used, or positions are not on them, see `classes.detections.prepare`.
        """
        self._require_fitted()
        self._validate_params()
        seen = _look((maps, coords), psf=self._psf_of, verbose=self.verbose, **self._as_trained)
        return np.exp(_calibrated(self._logits(seen), self.calibration_))

    def predict(self, maps, coords):
        """
        Class of each detection: that of the greatest probability, weighted by ``class_weight``.

        Parameters
        ----------
        maps, coords
            See `predict_proba`.

        Returns
        -------
        array of str, shape (n,)
            Of ``classes_``. Of classes with sub-classes (``"agn"``), first the class as a whole is decided on.
        """
        return self._decide(self.predict_proba(maps, coords))

    def score(self, maps, coords, classes):
        """
        Share of the detections whose predicted class agrees with the true one.

        Parameters
        ----------
        maps, coords
            See `predict_proba`.
        classes : array-like of str, shape (n,)
            Labels; a label that leaves several classes open agrees with each of them. Those that are ``"faint"`` do not
            count.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there is none that counts, or a label is none of the classes.
        """
        predicted = self.predict(maps, coords)
        labels = _labels_of(classes, len(predicted))
        predicted, labels = predicted[labels != FAINT], labels[labels != FAINT]
        if not len(labels):
            raise ValueError("there are no detections to score")
        allowed = self._scheme.members(labels)
        return float(np.mean(allowed[np.arange(len(predicted)), np.searchsorted(self.classes_, predicted)]))

    def classify(self, maps, catalogue, reference=None, radius="0.3 deg"):
        """
        Complete a catalogue by what its sources are.

        Parameters
        ----------
        maps : SkyMap, `~astropy.nddata.NDData`, or a list of one for each year
            Those in which the catalogue was found.
        catalogue : Table
            Of `~astrolearn.PointSourceFinder`, or any with a column ``coord``.
        reference : Table, optional
            Known sources, such as those of a LAT catalogue, whose nearest counterparts are added.
        radius : Quantity or str, optional
            Largest separation of a counterpart. Default: 0.3 deg.

        Returns
        -------
        SampleTable
            The catalogue with the columns ``class`` (top-level, such as agn), ``subclass`` (such as bll; empty for
            classes that have none), ``p_<class>`` for every class and group of classes, and ``fake`` (whether the class
            is fake), if that is a class. With a reference the columns of
            `~astrolearn.sources.classes.add_counterparts`. ``meta["class_weight"]`` tells the weights by which classes
            were decided on.

        Raises
        ------
        ValueError
            If maps cannot be used, or positions are not on them.
        """
        probability = self.predict_proba(maps, catalogue)
        scheme, out = self._scheme, SampleTable(catalogue)
        label = self._decide(probability)
        group = np.array(list(scheme.groups))[scheme.top_level(label)]
        out["class"], out["subclass"] = group, np.where(group == label, "", label)
        sums = dict(zip(scheme.groups, scheme.group_sums(probability).T, strict=True))
        sums |= dict(zip(scheme.classes, probability.T, strict=True))
        for name in _in_groups(scheme):
            out[f"p_{name}"] = sums[name]
        if FAKE in scheme.classes:
            out[FAKE] = group == FAKE
        weights = zip(scheme.groups, self._weights(scheme), strict=True)
        out.meta["class_weight"] = ", ".join(f"{name} {weight:.4g}" for name, weight in weights)
        return out if reference is None else add_counterparts(out, reference, radius)

    def find_and_classify(self, maps, finder="fermi-lat", reference=None, radius="0.3 deg"):
        """
        Find the sources of a map set and say what they are.

        Parameters
        ----------
        maps : SkyMap, `~astropy.nddata.NDData`, or a list of one for each year
            Sources are found in the sum of all years.
        finder : PointSourceFinder or str, optional
            Fitted, or the name of weights that come with the package. Default: ``"fermi-lat"``, whose mistakes
            ``fermi-lat-classes`` has learned. Maps without a PSF are given its own one by each of the two.
        reference, radius
            See `classify`.

        Returns
        -------
        SampleTable
            See `PointSourceFinder.predict` and `classify`.
        """
        self._require_fitted()
        finder = PointSourceFinder.from_pretrained(finder) if isinstance(finder, str) else finder
        years = list(maps) if isinstance(maps, list | tuple) else [maps]
        catalogue = finder.predict(years[0] if len(years) == 1 else stack_maps(years))
        return self.classify(years, catalogue, reference, radius)

    # -- pieces -------------------------------------------------------------------------------------------------------
    @property
    def _scheme(self):
        return ClassScheme(self.classes_)

    @property
    def _psf_of(self):
        radii = parse_psf(self.psf)
        return radii if radii is not None else partial(_event_psf, self.psf)

    def _weights(self, scheme):
        """Weight of each group of classes."""
        if self.class_weight is None:
            return np.ones(len(scheme.groups))
        if self.class_weight == "balanced":
            share = np.array([self.class_frequency_[name] for name in scheme.groups])
            return 1 / (len(share) * np.maximum(share, 1e-6))
        unknown = sorted(set(self.class_weight) - set(scheme.groups))
        if unknown:
            raise ValueError(f"class_weight names {', '.join(map(repr, unknown))}, but the top-level classes are "
                             f"{', '.join(scheme.groups)}")
        weights = np.array([float(self.class_weight.get(name, 1.0)) for name in scheme.groups])
        if not (np.isfinite(weights) & (weights > 0)).all():
            raise ValueError(f"class_weight={self.class_weight} must be positive")
        return weights

    def _decide(self, probability):
        return self.classes_[self._scheme.decide(probability, self._weights(self._scheme))]

    def _logits(self, seen):
        if not len(seen):
            return np.zeros((0, len(self.classes_)))
        batches = (seen.rows(rows) for rows in map(np.array, in_batches(range(len(seen)), self.batch_size)))
        total = -(-len(seen) // self.batch_size)
        return np.concatenate(list(self._forward_batches(batches, total=total))).astype(float)


def _event_psf(event_type, energy_edges):
    return lat_psf(energy_edges, event_type)


def _as_it_is(batch):
    """What `DetectionDataset` gives is a batch already."""
    return batch


def _in_groups(scheme):
    """Names of groups, each followed by those of its sub-classes."""
    for group, parts in scheme.groups.items():
        yield group
        if group in GROUPS and group not in scheme.classes:
            yield from (scheme.classes[part] for part in parts)


def _look(pair, **options):
    maps, catalogue = pair
    if isinstance(maps, Detections):
        edges = options["energy_edges"]
        if edges is not None and not same_edges(maps.energy_edges, edges):
            raise ValueError(f"the detections were prepared in the energy bins {maps.energy_edges}, but the classifier "
                             f"was trained on {edges}: prepare them with its energy_edges_")
        size = options["pixel_size"]
        if size is not None and not same_pixels(maps.pixel_size, size):
            raise ValueError(f"the detections were prepared in pixels of {np.rad2deg(maps.pixel_size):.2g} deg, but "
                             f"the classifier was trained on {np.rad2deg(size):.2g} deg: see its pixel_size_")
        return maps
    table = not hasattr(catalogue, "frame")
    probability = catalogue["probability"] if table and "probability" in catalogue.colnames else None
    return prepare(maps, source_coords(catalogue), probability, **options)


def _look_numbered(sky, **options):
    """Detections of a sky and their labels."""
    if isinstance(sky, NDData) or len(sky) != 3:  # a cube could be unpacked, into its bins
        raise ValueError("give maps, positions and classes; or, of several skies, tuples of these three")
    maps, catalogue, classes = sky
    seen = _look((maps, catalogue), **options)
    return seen, _labels_of(classes, len(seen))


def _labels_of(classes, n):
    labels = clean_labels(classes)
    if len(labels) != n:
        raise ValueError(f"there are {n} positions, but {len(labels)} classes")
    return labels


def _alike(one, other):
    return same_edges(one.energy_edges, other.energy_edges) and same_pixels(one.pixel_size, other.pixel_size)


def _held_back(lengths):
    """Which detections of each sky calibrate."""
    if len(lengths) >= _CALIBRATION_EVERY:
        return [np.full(n, number % _CALIBRATION_EVERY == _CALIBRATION_EVERY - 1) for number, n in enumerate(lengths)]
    return [np.arange(n) % _CALIBRATION_EVERY == _CALIBRATION_EVERY - 1 for n in lengths]


def _calibrated(logits, calibration):
    """Calibrated log probabilities."""
    return log_softmax(calibration["slope"] * log_softmax(logits, axis=1) + calibration["intercept"], axis=1)


def _calibrate(logits, allowed):
    """Slope and intercept per class of greatest likelihood, slightly held to what the network says."""
    n_classes = logits.shape[1]
    log_p = log_softmax(logits, axis=1)

    def loss(parameters):
        slope, intercept = np.split(parameters, 2)
        z = log_softmax(slope * log_p + intercept, axis=1)
        likelihood = logsumexp(np.where(allowed, z, -np.inf), axis=1).sum()
        return -likelihood + 5 * np.sum((slope - 1) ** 2) + 0.1 * np.sum(intercept**2)

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    slope, intercept = np.split(minimize(loss, start, method="L-BFGS-B").x, 2)
    return {"slope": slope, "intercept": intercept}
