"""`PointSourceFinder`: point sources in images of the sky, from a network's map of probability to a catalogue.

Counts maps of gamma rays and optical images have little in common but the question. What is particular to each is in a
module of its own (`counts_maps`, `optical.star_images`): how an image is prepared, which network sees it, and how peaks
become rows of a catalogue. Here is what both share: the interface, the training, and that every eighth image is kept
out of it to calibrate probabilities and position errors on what the network has not seen.
"""

from functools import partial
from numbers import Integral, Real

import astropy.units as u
import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.net import OneCycle
from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.sky.skymap import SkyMap
from astrolearn.sources.counts_maps import CountsMaps
from astrolearn.sources.network import HeatmapLoss
from astrolearn.sources.optical.star_images import StarImages

__all__ = ["PointSourceFinder"]

_KINDS = {"counts": CountsMaps, "optical": StarImages}
_CALIBRATION_EVERY = 8


class PointSourceFinder(NetworkEstimator):
    """
    Point sources in gamma-ray counts maps and in optical images.

    A U-Net gives every pixel a probability of holding a source; peaks of that map become a catalogue. One fitted finder
    serves images of other instruments than it was trained on: counts maps of other energy bins, pixel sizes, PSFs,
    exposures and backgrounds; optical images of other seeing, gain, unit, background and crowding.

    Parameters
    ----------
    kind : {"counts", "optical"}, optional
        What the images are: ``"counts"`` maps of single photons, HEALPix or WCS, whose PSF is known; or ``"optical"``
        images of any unit, with a background to be subtracted and stars that show the PSF.
    threshold : float, optional
        Smallest probability of a detection that `predict` reports, 0 to 1. Change it with ``set_params`` without
        fitting again. Default: 0.35 for counts, 0.5 for optical images. Of calibrated probabilities half the best F1 is
        the threshold that reaches it (Lipton et al. 2014, ECML PKDD, 225), and F1 is near 0.7 on LAT maps.
    localizer : str, optional
        How peaks become positions. For counts ``"offset"`` (default), the network's own offsets, ``"log"``, a fit to
        the Laplacian of Gaussian, or ``"kmeans"``, the clustering of Panes et al. (2021, A&A 656, A62). For optical
        images ``"windowed"`` (default), centroids in a Gaussian window where no neighbour disturbs them, and the
        network's offsets elsewhere, or ``"offset"``, those everywhere.
    match_radius : Quantity or str, optional
        A detection is true if a source lies within this radius: what ``probability`` refers to and `score` measures.
        For counts bare numbers are degrees, the default is 0.3 deg, and where pixels are larger it is 1.1 pixels. For
        optical images it is in pixels, 1 by default.
    min_significance : float, optional
        Simulated sources whose expected significance (column ``significance`` of an image's truth table, in standard
        deviations) is below this are not asked for: 2.5 for counts, where they are background; 5 for optical images,
        where finding them is neither right nor wrong.
    psf : str, Quantity or float, optional
        Of counts maps that carry no PSF: an event type of the LAT (``"FRONT"``, ``"BACK"``, ``"FRONT+BACK"`` (default),
        ``"PSF0"`` ... ``"PSF3"``), whose P8R3 PSF is then taken for the map's energies, or the 68 % containment radii
        of the energy bins, such as ``"0.8, 0.4 deg"``. Of optical images: the full width at half maximum in pixels of
        the Gaussian that matches stars best; by default it is measured on each image.
    width : int, optional
        Feature channels of the network at its finest level. Default: 16 for counts, 48 for optical images.
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`.

    Attributes
    ----------
    calibration_ : dict
        What turns the network's outputs into probabilities and errors. For counts maps of each kind (``sphere``, ``wide
        pixels`` than the PSF, ``image``): ``slope`` and ``intercept`` that turn the network's logit of a match into
        that of ``probability``, the same with ``second_`` for detections within the match radius of a stronger one
        (there from the logit of a source), and ``error_scale`` of the position errors. For optical images the
        ``weights`` and ``intercept`` of a logistic regression on the network's two logits and log error; for both ways
        to find positions, ``offset_error`` and ``windowed_error``, a factor on the errors and the least error.
    net_ : `skorch.NeuralNet`
        The network.

    Examples
    --------
    >>> from astrolearn import PointSourceFinder
    >>> finder = PointSourceFinder.from_pretrained("fermi-lat")        # doctest: +SKIP
    >>> catalogue = finder.predict(skymap)                             # doctest: +SKIP
    >>> finder = PointSourceFinder.from_pretrained("optical-stars")    # doctest: +SKIP
    >>> catalogue = finder.predict(ccd_data)                           # doctest: +SKIP
    """

    _parameter_constraints = NetworkEstimator._parameter_constraints | {
        "kind": [StrOptions(set(_KINDS))],
        "threshold": [Interval(Real, 0, 1, closed="both"), None],
        "localizer": [StrOptions({name for kind in _KINDS.values() for name in kind.localizers}), None],
        "match_radius": [u.Quantity, str, Real, None],
        "min_significance": [Interval(Real, 0, None, closed="left"), None],
        "psf": [str, u.Quantity, Real, None],
        "width": [Interval(Integral, 1, None, closed="left"), None],
    }
    _fitted_names = ("calibration_",)
    _mixed_precision = True

    def __init__(
        self,
        *,
        kind="counts",
        threshold=None,
        localizer=None,
        match_radius=None,
        min_significance=None,
        psf=None,
        width=None,
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
        self.kind = kind
        self.threshold = threshold
        self.localizer = localizer
        self.match_radius = match_radius
        self.min_significance = min_significance
        self.psf = psf
        self.width = width

    def setting(self, name):
        """
        Value of a parameter that is in force: its own, or the default of this kind of image.

        Parameters
        ----------
        name : str
            Of a parameter whose default is `None`.

        Returns
        -------
        value
        """
        value = getattr(self, name)
        return _KINDS[self.kind].defaults[name] if value is None else value

    def fit(self, maps, sources=None):
        """
        Train on images whose sources are known.

        Parameters
        ----------
        maps : SkyMap, `~astropy.nddata.NDData`, or an iterable of them
            Counts maps or optical images. An iterable is read once, one at a time: a generator of simulated images need
            not fit in memory. With eight images or more every eighth is kept for calibration; with fewer the first one
            does both.
        sources : SkyCoord, Table with a column ``coord``, or a list with one of these per map, optional
            The sources of each map. For optical images a table may have ``x_centroid`` and ``y_centroid`` (0-based
            pixel centres) instead; if there is a column ``kind``, only rows of ``"star"`` are point sources. Default:
            the map's own ``sources`` (``meta["sources"]`` of an image).

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no maps, a map has no known sources, or the numbers of maps and source lists differ.
        """
        self._check_parameters()
        rng, kind = make_rng(self.random_state), _KINDS[self.kind](self)
        parts, held = [], []
        prepare = partial(_prepare_numbered, kind.preparation(True), kind.preparation(False))
        total = len(maps) if isinstance(maps, list | tuple) else None
        prepared = map_batches(prepare, enumerate(_pairs(maps, sources)), self.n_jobs)
        for cut, kept in progress(prepared, "preparing maps", total=total, verbose=self.verbose):
            parts += [] if cut is None else [cut]
            held += [] if kept is None else [kept]
        if not parts:
            raise ValueError("there are no maps to fit: give at least one")
        self._augment_rng = np.random.default_rng(rng.integers(2**63))
        self._fit_net(kind.dataset(parts), rng=rng)
        del self._augment_rng
        # the first map, which was trained on, calibrates only if there was no other
        self.calibration_ = kind.calibrate(held[1:] or held)
        return self

    def predict(self, skymap):
        """
        Find the sources of an image.

        Parameters
        ----------
        skymap : SkyMap or `~astropy.nddata.NDData`, or a list of them
            Counts map(s), see `SkyMap` for what they carry; or optical image(s), whose ``mask`` and ``uncertainty`` are
            used, and the level ``meta["SATURATE"]`` from which pixels are saturated.

        Returns
        -------
        SampleTable or list of SampleTable
            One row per source of probability ``threshold`` or more, by falling probability. ``probability`` is that a
            true source lies within the match radius; ``significance`` is in standard deviations.

            Of counts maps also ``coord``; ``coord_error`` (68 % radius, deg); ``counts``, ``counts_error`` (over all
            bins) and the same per energy bin, ``bin_counts``, ``bin_counts_error``; ``flux``, ``flux_error`` and
            ``bin_flux``, ``bin_flux_error`` (1 / (cm2 s)) where the exposure is known; ``x_centroid``, ``y_centroid``
            for images (0-based pixel centres).

            Of optical images also ``flux``, ``flux_error``, in the image's unit: the light within three times the
            stars' width, neighbours taken off; ``x_centroid``, ``y_centroid``, and ``centroid_error``, their standard
            deviation per axis in pixels; where there is a celestial WCS, ``coord`` and ``coord_error`` (68 % radius,
            arcsec). ``meta["fwhm"]`` is the stars' width, that of the Gaussian that matches them best, and
            ``meta["n_width"]`` the number of stars it was measured on, 0 if it is a guess.

        Raises
        ------
        TypeError
            If it is no map or image.
        ValueError
            If it is empty, has no valid pixels, or is of the wrong shape.
        """
        self._check_parameters()
        if isinstance(skymap, list | tuple):
            return [self.predict(one) for one in skymap]
        self._require_fitted()
        return _KINDS[self.kind](self).predict(skymap)

    def predict_map(self, skymap):
        """
        Probability of a source at every pixel.

        Parameters
        ----------
        skymap : SkyMap or `~astropy.nddata.NDData`
            Counts map or optical image.

        Returns
        -------
        SkyMap or `~astropy.nddata.NDData`
            Of the same kind, ordering and frame, one plane, no unit: the probability that a source lies within a pixel
            of here (a pixel as the network uses: a counts map much finer than its PSF is summed 2 x 2 first). Pixels
            that were not observed are masked.
        """
        self._check_parameters()
        self._require_fitted()
        return _KINDS[self.kind](self).predict_map(skymap)

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
        self._check_parameters()
        kind = _KINDS[self.kind](self)
        true, found, wanted = np.sum([kind.compare(*pair) for pair in _pairs(maps, sources)], axis=0)
        return float(2 * true / max(found + wanted, 1))

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
        kind = _KINDS[self.kind](self)
        prepare = partial(_prepare_numbered, None, kind.preparation(False))
        total = len(maps) if isinstance(maps, list | tuple) else None
        prepared = map_batches(prepare, enumerate(_pairs(maps, sources)), self.n_jobs)
        held = (kept for _, kept in progress(prepared, "calibrating", total=total, verbose=self.verbose))
        self.calibration_ = kind.calibrate(held)
        return self

    def _check_parameters(self):
        self._validate_params()
        known = _KINDS[self.kind].localizers
        if self.localizer is not None and self.localizer not in known:
            raise ValueError(f"localizer={self.localizer!r} is not one for {self.kind} images: {', '.join(known)}")

    def _network(self):
        return _KINDS[self.kind](self).network()

    def _net_options(self):
        options = {"criterion": HeatmapLoss, "optimizer": torch.optim.AdamW, "callbacks": [OneCycle()]}
        options |= _KINDS[self.kind].net_options
        if hasattr(self, "_augment_rng"):
            augment = _KINDS[self.kind].augment
            options["iterator_train__collate_fn"] = partial(augment, generator=self._augment_rng)
        return options


def _prepare_numbered(for_training, for_calibration, numbered):
    """Training patches of a map, and what calibration needs of it; every eighth map only calibrates."""
    number, pair = numbered
    calibrates = for_training is None or number % _CALIBRATION_EVERY == _CALIBRATION_EVERY - 1
    cut, kept = (for_calibration if calibrates else for_training)(pair, number)
    return cut, kept if calibrates or number == 0 else None


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
