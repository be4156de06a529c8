"""`MorphologySegmenter`: what each pixel of an image belongs to, and from that what each galaxy is.

The flow is one way: images of the bands (`bands`) become what a network sees (`network`, or the windows of `morpheus`
and `windows`), its logits become calibrated probabilities (`calibration`), the background's probability becomes
segments (`segments`), and segments a catalogue. There are two networks, and they are different functions: the published
one answers for windows of 40 pixels and lets them vote; ours answers for whole images at once.
"""

import warnings
from functools import partial
from numbers import Integral, Real

import astropy.units as u
import numpy as np
import torch
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs.utils import proj_plane_pixel_scales
from sklearn.utils._param_validation import Interval, StrOptions

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import to_float
from astrolearn.core.net import OneCycle
from astrolearn.core.seeding import make_rng
from astrolearn.morphology.bands import read_many
from astrolearn.morphology.calibration import calibrated, fit_calibration
from astrolearn.morphology.catalogues import make_catalogue, make_regions
from astrolearn.morphology.galaxies import CLASSES
from astrolearn.morphology.morpheus import WINDOW, Morpheus, read_variables, standardised
from astrolearn.morphology.network import HALO, STEP, SegmentationUNet, channels
from astrolearn.morphology.segments import find_segments
from astrolearn.morphology.training import MorpheusLoss, Windows
from astrolearn.morphology.windows import WindowStatistics, classify_windows, count_windows
from astrolearn.sky.tiling import tiles

__all__ = ["BANDS", "CLASSES", "MorphologySegmenter", "most_probable"]

BANDS = ("F160W", "F125W", "F606W", "F850LP")
_TILE = 768  # pixels along a side that are answered at once
_SIDE = 128  # of a training window
_CALIBRATION_EVERY = 8
_SAME_SCALE = 0.05  # relative difference of pixel scales that makes none
_ROUNDING = 1e-3  # of fractions that add up to 1


class MorphologySegmenter(NetworkEstimator):
    """
    Detects and classifies galaxies pixel by pixel in images of one field in several bands.

    Parameters
    ----------
    bands : sequence of str, optional
        Names of the bands, in the order in which lists and arrays of images have them. Default: the four of Morpheus.
        Sources are measured, and told from their neighbours, in the first one.
    classes : sequence of str, optional
        What sources can be; the background comes after them. Default: spheroid, disk, irregular, point_source.
    architecture : {"unet", "morpheus"}, optional
        ``"unet"`` (default): a network for images of any size, with calibrated probabilities. ``"morpheus"``: the
        published network and its windows (Hausen & Robertson 2020, ApJS 248, 20).
    threshold : float, optional
        Pixels whose probability of background is below this belong to sources, 0 to 1. Default: 0.5.
    min_area : int, optional
        Smallest source, in pixels. Default: 5.
    stride : int, optional
        For ``"morpheus"``: pixels from one window to the next. 1 (default) is published; 8 takes up to 64 times fewer
        windows.
    aggregate : {"votes", "mean"}, optional
        For ``"morpheus"``: whether windows vote for classes (default), or their probabilities are averaged.
    width : int, optional
        For ``"unet"``: features of the network at its finest level. Default: 32.
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`. Default of ``batch_size``, ``max_epochs`` and ``lr``: 16, 30
        and 2e-3.

    Attributes
    ----------
    calibration_ : dict or None
        What turns the logits of ``"unet"`` into probabilities, see `astrolearn.morphology.calibration`.
    pixel_scale_ : float or None
        Of the training images, arcsec. Images of another scale are warned of.
    unit_ : str or None
        Of the training images; those for ``"morpheus"`` are converted to it.
    net_ : `skorch.NeuralNet`
        The network; ``net_.module_`` takes standardised windows (n, n_bands, h, w) if it is Morpheus.

    Notes
    -----
    Images must be free of background and on one pixel grid; their PSFs may differ, as long as they are those of the
    training images. Pixels that are masked or NaN in any band are not classified.

    Examples
    --------
    >>> from astrolearn import MorphologySegmenter
    >>> segmenter = MorphologySegmenter.from_pretrained("hst-simulated")                    # doctest: +SKIP
    >>> catalogue = segmenter.catalog({"F160W": h, "F125W": j, "F606W": v, "F850LP": z})    # doctest: +SKIP
    """

    _parameter_constraints = NetworkEstimator._parameter_constraints | {
        "bands": ["array-like"],
        "classes": ["array-like"],
        "architecture": [StrOptions({"unet", "morpheus"})],
        "threshold": [Interval(Real, 0, 1, closed="neither")],
        "min_area": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, WINDOW, closed="both")],
        "aggregate": [StrOptions({"votes", "mean"})],
        "width": [Interval(Integral, 2, None, closed="left")],
    }
    _fitted_names = ("calibration_", "pixel_scale_", "unit_")
    _mixed_precision = True

    def __init__(
        self,
        *,
        bands=BANDS,
        classes=CLASSES,
        architecture="unet",
        threshold=0.5,
        min_area=5,
        stride=1,
        aggregate="votes",
        width=32,
        device="auto",
        batch_size=16,
        max_epochs=30,
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
        self.bands = bands
        self.classes = classes
        self.architecture = architecture
        self.threshold = threshold
        self.min_area = min_area
        self.stride = stride
        self.aggregate = aggregate
        self.width = width

    @classmethod
    def from_morpheus(cls, path, **parameters):
        """
        Read the published weights of Morpheus.

        Parameters
        ----------
        path : path-like
            ``.npz`` file with the variables of the TensorFlow checkpoint under their names, such as
            ``downconv-0/conv-0/conv/kernel``.
        **parameters
            Of the estimator, such as ``stride``.

        Returns
        -------
        segmenter : MorphologySegmenter
            With the published network, which takes F160W, F125W, F606W and F850LP in electrons/s at 0.06 arcsec.

        Raises
        ------
        OSError
            If it is not an ``.npz`` file.
        ValueError
            If it does not hold these weights.
        """
        if "architecture" in parameters:
            raise ValueError("the architecture of these weights is 'morpheus'")
        segmenter = cls(**{"batch_size": 256} | parameters, architecture="morpheus")
        segmenter._validate_params()
        segmenter._check_names()
        if (len(segmenter.bands), len(segmenter.classes)) != (len(BANDS), len(CLASSES)):
            raise ValueError(f"these weights are for the bands {', '.join(BANDS)} and the classes "
                             f"{', '.join(CLASSES)}, or as many of other names")
        state = {name: values.numpy() for name, values in read_variables(path).items()}
        segmenter._restore({"calibration_": None, "pixel_scale_": 0.06, "unit_": "electron / s"}, state)
        return segmenter

    def fit(self, images, labels):
        """
        Train on images whose pixels are classified.

        Parameters
        ----------
        images : dict, list or array-like
            Images of one field, see `astrolearn.morphology.bands.read_bands`, or a list of fields. With eight fields or
            more, every eighth is kept for the calibration of probabilities; with fewer the first one does both.
        labels : array-like, (n_classes + 1, h, w), or a list of these
            Fractions of each class, the background last, that add up to 1, or to 0 where a pixel is to count for
            nothing; or numbers of classes (h, w), with -1 for such pixels.

        Returns
        -------
        self : MorphologySegmenter

        Raises
        ------
        ValueError
            If an image or a label cannot be used; the message names it.
        """
        self._validate_params()
        self._check_names()
        rng = make_rng(self.random_state)
        fields, single = read_many(images, self.bands)
        self.pixel_scale_, self.unit_ = _pixel_scale(fields[0]), None if fields[0].unit is None else str(fields[0].unit)
        fields = [self._adapted(field) for field in fields]
        labels = self._read_all_labels(labels, fields, single)
        for field, label in zip(fields, labels, strict=True):
            label[:, np.isnan(field.read()[0])] = 0
        numbers = np.arange(len(fields))
        held = [i for i in numbers if i % _CALIBRATION_EVERY == _CALIBRATION_EVERY - 1]
        planes = [(self._seen(fields[i]), labels[i]) for i in numbers if i not in held]
        side, prepare = (WINDOW, _window) if self.architecture == "morpheus" else (_SIDE, _part)
        self._fit_net(Windows(planes, side, prepare, np.random.default_rng(rng.integers(2**63))), rng=rng)
        self.calibration_ = None
        if self.architecture == "unet":
            held = held or [0]
            logits = np.concatenate([self._logits(fields[i]).reshape(len(self.classes) + 1, -1) for i in held], axis=1)
            known = np.concatenate([labels[i].reshape(len(self.classes) + 1, -1) for i in held], axis=1)
            self.calibration_ = fit_calibration(logits, known, rng)
        return self

    def predict(self, images):
        """
        The most probable class of every pixel.

        Parameters
        ----------
        images : as for `fit`

        Returns
        -------
        classes : `numpy.ndarray`, int (h, w), or list of these
            Index into ``classes``; ``len(classes)`` is the background, -1 what is not covered.
        """
        fields, single = self._read(images)
        return _one_or_all([most_probable(self._probabilities(field)) for field in fields], single)

    def predict_proba(self, images, out=None):
        """
        Probability of every class, of every pixel.

        Parameters
        ----------
        images : as for `fit`
        out : `numpy.ndarray` of float, (n_classes + 1, h, w), optional
            Where to put it, such as a `numpy.memmap` for a mosaic; of one field.

        Returns
        -------
        probability : `numpy.ndarray`, float32 (n_classes + 1, h, w), or list of these
            The background last; NaN where not covered: at pixels that are masked or NaN in any band, and for
            ``"morpheus"`` in the outer 5 pixels. There it is the fraction of votes, if windows vote.
        """
        fields, single = self._read(images)
        if out is not None:
            if not single:
                raise ValueError("out is for the images of one field")
            wanted = (len(self.classes) + 1, *fields[0].shape)
            if not isinstance(out, np.ndarray) or out.dtype.kind != "f":
                raise ValueError("out must be an array of floating-point numbers")
            if out.shape != wanted:
                raise ValueError(f"out has the shape {out.shape}; expected {wanted}")
        return _one_or_all([self._probabilities(field, out) for field in fields], single)

    def window_statistics(self, images):
        """
        What the windows of Morpheus say: votes, mean and variance of the probabilities, and how many windows there are.

        Parameters
        ----------
        images : as for `fit`

        Returns
        -------
        statistics : WindowStatistics, or list of these

        Raises
        ------
        ValueError
            If the architecture is not ``"morpheus"``.
        """
        if self.architecture != "morpheus":
            raise ValueError("only the architecture 'morpheus' has windows")
        fields, single = self._read(images)
        found = []
        for field in fields:
            sums, n = self._classify_windows(field, ("votes", "probability", "square"))
            votes, mean, square = np.split(sums, 3)
            found.append(WindowStatistics(n, votes, mean, np.maximum(square - mean**2, 0)))
        return _one_or_all(found, single)

    def segment(self, images):
        """
        Which source every pixel belongs to.

        Parameters
        ----------
        images : as for `fit`

        Returns
        -------
        segments : `~photutils.segmentation.SegmentationImage`, or list of these
            Connected pixels that are not background, those of several peaks divided; 0 is background. Without sources
            it is empty.
        """
        fields, single = self._read(images)
        return _one_or_all([self._segments(field, self._probabilities(field)) for field in fields], single)

    def catalog(self, images):
        """
        A catalogue of the sources.

        Parameters
        ----------
        images : as for `fit`

        Returns
        -------
        catalogue : SampleTable, or list of these
            One row per segment: ``label`` (in the image of `segment`); ``x_centroid``, ``y_centroid`` (0-based pixel
            centres) and, with a WCS, ``coord``; ``class``; ``p_<class>``, the mean probabilities over the segment
            without that of background, weighted by the flux in the first band, which add up to 1; ``p_source``, the
            mean probability that its pixels are not background; ``flux_<band>`` and ``flux_error_<band>``, the light
            above the sky over the segment and its noise, correlations of pixels included, in the unit of the images;
            ``area`` (pixels); ``semimajor``, ``semiminor`` (pixels) and ``orientation`` (from the x axis to the y axis)
            of the light, as standard deviations. ``meta`` has the bands, the level of the sky, the threshold and the
            version.
        """
        fields, single = self._read(images)
        return _one_or_all([self._analyze(field)[2] for field in fields], single)

    def to_regions(self, images):
        """
        Ellipses around the sources, with their classes as labels, for ds9 and the like.

        Parameters
        ----------
        images : as for `fit`

        Returns
        -------
        regions : `~regions.Regions`, or list of these
            On the sky where there is a WCS, else in pixels; semi-axes are 2.5 standard deviations of the light.
        """
        fields, single = self._read(images)
        return _one_or_all([make_regions(self._analyze(field)[2], field.wcs) for field in fields], single)

    def analyze(self, images):
        """
        Everything at once: probabilities, segments and catalogue.

        Parameters
        ----------
        images : as for `fit`

        Returns
        -------
        probability, segments, catalogue
            What `predict_proba`, `segment` and `catalog` give; of several fields a list of these.
        """
        fields, single = self._read(images)
        return _one_or_all([self._analyze(field) for field in fields], single)

    def score(self, images, labels):
        """
        Mean intersection over union of the classes, background included, in pixels of all images together.

        Parameters
        ----------
        images, labels : as for `fit`

        Returns
        -------
        score : float
            0 to 1. Pixels count as their most probable class; classes that occur neither in labels nor predictions do
            not count.
        """
        fields, single = self._read(images)
        n = len(self.classes) + 1
        confusion = np.zeros((n, n))
        for field, label in zip(fields, self._read_all_labels(labels, fields, single), strict=True):
            found = most_probable(self._probabilities(field))
            counted = (found >= 0) & (label.sum(axis=0) > 0)
            np.add.at(confusion, (label.argmax(axis=0)[counted], found[counted]), 1)
        union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
        return float(np.mean(np.diag(confusion)[union > 0] / union[union > 0]))

    def _read(self, images):
        self._validate_params()
        self._require_fitted()
        fields, single = read_many(images, self.bands)
        for field in fields:
            scale = _pixel_scale(field)
            if scale is not None and self.pixel_scale_ is not None and abs(scale / self.pixel_scale_ - 1) > _SAME_SCALE:
                warnings.warn(f"the pixels of the images are {scale:.3g} arcsec wide, those of the training were "
                              f"{self.pixel_scale_:.3g} arcsec: galaxies look another size to the network",
                              AstropyUserWarning, stacklevel=3)  # fmt: skip
        return [self._adapted(field) for field in fields], single

    def _adapted(self, field):
        """The field in the unit of the training images: to Morpheus, other units in one band are other colours."""
        return field if self.architecture == "unet" or self.unit_ is None else field.to(u.Unit(self.unit_))

    def _check_names(self):
        for kind, names, taken in (("bands", self.bands, ()), ("classes", self.classes, ("source", "background"))):
            names = list(names)
            if not names or len(set(names)) < len(names) or set(names) & set(taken):
                extra = f", and none of {', '.join(taken)}" if taken else ""
                raise ValueError(f"{kind}={names} must be one or more different names{extra}")

    def _read_all_labels(self, labels, fields, single):
        labels = [labels] if single else list(labels)
        if len(labels) != len(fields):
            raise ValueError(f"there are {len(fields)} fields of images, but {len(labels)} of labels")
        return [self._read_labels(label, field, f"labels[{i}]")
                for i, (label, field) in enumerate(zip(labels, fields, strict=True))]  # fmt: skip

    def _read_labels(self, labels, field, name):
        n = len(self.classes) + 1
        if np.ndim(labels) == 2:
            number = np.asarray(labels)
            fits = number.shape == field.shape and number.dtype.kind in "iu"
            if not fits or not -1 <= number.min() <= number.max() < n:
                raise ValueError(f"{name} must be fractions {(n, *field.shape)}, or integers from -1 to {n - 1} of the "
                                 f"shape {field.shape}; it is {number.dtype} {number.shape}")
            return (np.arange(n)[:, None, None] == number).astype(np.float32)
        labels = to_float(labels, None, name, shape=(n, *field.shape))
        total = labels.sum(axis=0)
        if labels.min() < -_ROUNDING or not np.all((np.abs(total - 1) < _ROUNDING) | (total == 0)):
            raise ValueError(f"{name} must be fractions that add up to 1 in every pixel, or to 0 where it does not "
                             "count")
        return np.maximum(labels, 0)

    def _network(self):
        n_bands, n_classes = len(self.bands), len(self.classes) + 1
        if self.architecture == "morpheus":
            return partial(Morpheus, n_bands, n_classes)
        return partial(SegmentationUNet, n_bands, n_classes, self.width)

    def _net_options(self):
        return {"criterion": MorpheusLoss, "optimizer": torch.optim.AdamW, "callbacks": [OneCycle()]}

    def _seen(self, field):
        """Planes of a whole image from which windows for training are cut."""
        if self.architecture == "morpheus":
            return field.read()
        return channels(field.light(), field.noise()).astype(np.float16)

    def _probabilities(self, field, out=None):
        """Probabilities of a whole image, the background last; NaN where not covered."""
        if self.architecture == "morpheus":
            plane = "votes" if self.aggregate == "votes" else "probability"
            return self._classify_windows(field, (plane,), out)[0]
        return self._logits(field, out, lambda logits: np.exp(calibrated(logits, self.calibration_)))

    def _classify_windows(self, field, planes, out=None):
        total = -(-count_windows(field.shape, self.stride) // self.batch_size)
        run = partial(self._forward_batches, total=total)
        if out is not None:
            out[:] = 0
        return classify_windows(field, run, len(self.classes) + 1, stride=self.stride, batch_size=self.batch_size,
                                planes=planes, out=out)

    def _logits(self, field, out=None, function=None):
        """What the network says of a whole image, tile by tile, and a function of it; NaN where not covered."""
        if out is None:
            out = np.empty((len(self.classes) + 1, *field.shape), np.float32)
        parts = list(tiles(field.shape, size=_TILE, halo=HALO, step=STEP))
        inputs = (np.pad(channels(field.light(tile.outer), field.noise(tile.outer)), [(0, 0), *tile.pad])[None]
                  for tile in parts)  # fmt: skip
        for tile, logits in zip(parts, self._forward_batches(inputs, total=len(parts)), strict=True):
            logits = logits[0][:, *tile.crop]
            values = logits if function is None else function(logits)
            out[:, *tile.inner] = np.where(np.isnan(field.read(tile.inner)[0]), np.nan, values)
        return out

    def _analyze(self, field):
        probability = self._probabilities(field)
        segments = self._segments(field, probability)
        catalogue = make_catalogue(field, probability, segments, self.classes)
        catalogue.meta["threshold"] = self.threshold
        return probability, segments, catalogue

    def _segments(self, field, probability):
        return find_segments(field, probability[-1], self.threshold, self.min_area)


def _pixel_scale(field):
    """In arcsec, None without a WCS."""
    if field.wcs is None:
        return None
    return float(np.mean(proj_plane_pixel_scales(field.wcs)) * u.Unit(field.wcs.wcs.cunit[0]).to(u.arcsec))


def _part(planes, outside):
    planes[:, outside] = 0
    return planes


def _window(planes, outside):
    planes[:, outside] = np.nan
    return standardised(planes)


def most_probable(probability):
    """Number of the most probable class (h, w) of probabilities (n_classes + 1, h, w); -1 where not covered."""
    covered = ~np.isnan(probability[-1])
    return np.where(covered, np.where(covered, probability, 0).argmax(axis=0), -1)


def _one_or_all(found, single):
    return found[0] if single else found
