"""Source counts of radio images down to below the noise, with a word on what was measured and what was assumed."""

import copy
from importlib.metadata import version
from numbers import Integral

import astropy.units as u
import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.counts.estimates import CountEstimator, describe_instrument
from astrolearn.counts.instruments import Instrument
from astrolearn.counts.posterior import MEASURED, ONE_SIGMA, information, quantiles
from astrolearn.counts.simulator import RadioSkySimulator
from astrolearn.counts.skies import group_rows, read_targets

__all__ = ["SourceCountRegressor"]

_DENSITY = 1 / (u.Jy * u.sr)


class SourceCountRegressor(RegressorMixin, CountEstimator):
    """
    Estimates the differential source counts n(S) of radio images in bins of flux density, down to below the noise.

    What is seen of a sky is the histogram of all its pixels, in units of the noise and about their median. The answer
    is a normal distribution of log10 n in all bins. Bins whose width is hardly less than that of the training skies
    are ``prior_driven``: nothing was measured there, and what is said is what the training skies have in common.

    Parameters
    ----------
    flux_bins : `~astropy.units.Quantity` or array-like, (n_bins + 1,), optional
        Edges of the bins of flux density; plain numbers are in Jy. The counts of a bin are n(S) in its logarithmic
        middle. Default: 12 bins of 0.5 dex with middles from 1e-7 Jy, where the sources of deep simulations end, to
        10^-1.5 Jy, above which there are a handful in 25 deg2.
    instrument : `Instrument`, str or dict, optional
        Beam, pixels, noise and frequency of the images: an instrument, its parameters or the name of a preset. Default:
        ``"emu"``.
    architecture : {"set", "regis2022"}, optional
        ``"set"`` (default): a network on the pooled histogram of the set of images or cutouts of a sky.
        ``"regis2022"``: the talk's convolutional network on single cutouts, with the squared error of log10 n; its
        answers for the cutouts of a sky are averaged, and its widths are those of held-out skies.
    loss : {"gaussian", "earth-mover"}, optional
        Of ``"set"``: the density of normal distributions (default), or the pinball loss of the cumulative brightness
        over flux and of its total (List 2021, 2106.02051), which gives medians; the widths are those of whole skies.
    n_skies : int, optional
        Images to simulate when a simulator is given to `fit`; for ``"regis2022"``, and for images of the sky model, a
        fifth of them is held out. Default: 300.
    n_expected : int, optional
        Histograms without images of one epoch, when a simulator is given. Default: 20000.
    n_cutouts : int, optional
        Cutouts that ``"regis2022"`` sees of each simulated image, of 128 pixels. Default: 64.
    noise_range : pair of float, optional
        Noise of the images that can be handled, relative to that of the instrument; what was trained on cutouts or
        given images handles theirs. Default: (0.8, 1.25).
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`. Default of ``batch_size``, ``max_epochs`` and ``lr``: 256,
        100 and 4e-3; ``n_jobs`` processes also simulate skies.

    Attributes
    ----------
    net_ : `skorch.NeuralNet`
        The trained network.
    flux_bins_ : `~astropy.units.Quantity`, (n_bins + 1,)
        Edges of the bins.
    prior_mean_, prior_sigma_ : `numpy.ndarray`, (n_bins,)
        Mean and standard deviation of log10 n of the training skies.
    widths_ : `numpy.ndarray`, (n_bins,) or None
        What the network's standard deviations are multiplied with, so that they hold 68 % of skies it has not seen.

    Notes
    -----
    The family of counts of the training skies is the prior, and a network uses all of it. Trained on `MixedFamily`, it
    recognises a sky of the talk's family by its bright sources and "measures" bins far below the noise by the law of
    the family. Trained on `IndependentBins`, it does not, and such bins are ``prior_driven``.

    Examples
    --------
    >>> from astrolearn.counts import IndependentBins, RadioSkySimulator
    >>> from astrolearn.counts.regressor import SourceCountRegressor
    >>> simulator = RadioSkySimulator(n_pixels=128, counts=IndependentBins())
    >>> regressor = SourceCountRegressor(n_skies=10, n_expected=500, max_epochs=2, random_state=0)
    >>> regressor = regressor.fit(simulator)
    >>> table = regressor.predict_counts(simulator.sample(1, random_state=1))
    >>> len(table), table["n"].unit
    (12, Unit("1 / (Jy sr)"))
    """

    _parameter_constraints = {
        **NetworkEstimator._parameter_constraints,
        "flux_bins": [None, "array-like", u.Quantity],
        "instrument": [str, Instrument, dict],
        "architecture": [StrOptions({"set", "regis2022"})],
        "loss": [StrOptions({"gaussian", "earth-mover"})],
        "n_skies": [Interval(Integral, 5, None, closed="left")],
        "n_expected": [Interval(Integral, 1, None, closed="left")],
        "n_cutouts": [Interval(Integral, 1, None, closed="left")],
        "noise_range": ["array-like"],
    }

    def __init__(
        self,
        *,
        flux_bins=None,
        instrument="emu",
        architecture="set",
        loss="gaussian",
        n_skies=300,
        n_expected=20000,
        n_cutouts=64,
        noise_range=(0.8, 1.25),
        device="auto",
        batch_size=256,
        max_epochs=100,
        lr=4e-3,
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
        self.flux_bins = flux_bins
        self.instrument = instrument
        self.architecture = architecture
        self.loss = loss
        self.n_skies = n_skies
        self.n_expected = n_expected
        self.n_cutouts = n_cutouts
        self.noise_range = noise_range

    def fit(self, X, y=None, groups=None):
        """
        Train on images with known counts, or on a simulator.

        Parameters
        ----------
        X : array-like or `~astropy.units.Quantity`, (n, height, width), list of `~astropy.nddata.NDData`, \
`RadioSkySimulator`
            Images, see `astrolearn.counts.images.read_radio_images`; plain numbers are in Jy/beam, NaN is blank. A
            simulator simulates ``n_skies`` images one by one, and draws expected histograms for the same instrument and
            family of counts (none for ``"regis2022"`` and images of the sky model).
        y : `~astropy.units.Quantity` or array-like, (n, n_bins)
            Differential counts at the middles of the bins; plain numbers are in 1/(Jy sr). Not for a simulator.
        groups : array-like, (n,), optional
            The sky that each image is a cutout of. Cutouts of one sky are pooled, also in random subsets, and held out
            together. Default: each image is its own sky.

        Returns
        -------
        self : SourceCountRegressor

        Raises
        ------
        astropy.units.UnitConversionError
            If a unit does not convert.
        ValueError
            If there are fewer than five skies, the instrument is another one, all skies of a simulator have the same
            counts, or an input is not usable; the message names it.
        """
        self._validate_params()
        rng = make_rng(self.random_state)
        if isinstance(X, RadioSkySimulator):
            if y is not None or groups is not None:
                raise ValueError("a simulator has no y and no groups: it knows the counts of its skies")
            return self._fit_simulator(X, rng)
        return self._fit_images(X, y, groups, rng)

    def predict(self, X):
        """
        Median counts of each image by itself.

        Parameters
        ----------
        X : as for `fit`

        Returns
        -------
        n : `~astropy.units.Quantity`, float64 (n, n_bins)
            In 1/(Jy sr).
        """
        return self.predict_quantiles(X, 0.5)

    def predict_quantiles(self, X, q):
        """
        Quantiles of the counts of each image by itself.

        Parameters
        ----------
        X : as for `fit`
        q : float or sequence of float
            Probabilities, between 0 and 1.

        Returns
        -------
        n : `~astropy.units.Quantity`, float64 (n, n_bins) or (n, n_bins, len(q))
            In 1/(Jy sr).
        """
        mean, sigma = self._marginals(X)
        return quantiles(mean, sigma, q) * _DENSITY

    def predict_counts(self, X, groups=None, *, beam=None, pixel_scale=None, frequency=None, noise=None):
        """
        Counts of each sky, and what they rest on.

        Parameters
        ----------
        X : as for `fit`
        groups : array-like, (n,), optional
            The sky that each image belongs to. Default: each image is its own sky.
        beam, pixel_scale, frequency, noise : `~astropy.units.Quantity`, str or float, optional
            What the images are like, instead of what they state; see `astrolearn.counts.images.read_radio_images`. The
            noise should be right to 2 %.

        Returns
        -------
        table : SampleTable
            One row for each sky and bin: ``group``, ``S_lo``, ``S_mid``, ``S_hi`` (Jy), ``n`` (the median), ``n_q16``,
            ``n_q84`` (1/(Jy sr)), ``euclidean`` (S^2.5 n in Jy^1.5/sr), ``prior_width`` (standard deviation of log10 n
            of the training skies), ``information`` (1 less the ratio of the variance to that of the training skies,
            from 0 to 1) and ``prior_driven`` (information below 0.5). ``meta`` has ``frequency``, ``beam`` (major and
            minor), ``pixel_scale``, and for each sky ``area`` (sr), ``noise`` (Jy/beam) and ``covariance`` of log10 n
            (n_skies, n_bins, n_bins).
        """
        self._require_fitted()
        images = self._read(X, beam=beam, pixel_scale=pixel_scale, frequency=frequency, noise=noise)
        names, rows = group_rows(groups, len(images))
        mean, covariance = self._posterior(images, rows)
        sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        n_skies, n_bins = mean.shape
        low, median, high = (
            quantiles(mean, sigma, q).ravel() * _DENSITY for q in ((1 - ONE_SIGMA) / 2, 0.5, (1 + ONE_SIGMA) / 2)
        )
        known = information(sigma, self.prior_sigma_).ravel()
        middle = np.tile(10**self._log_flux, n_skies) * u.Jy
        table = SampleTable({
            "group": np.repeat(names, n_bins), "S_lo": np.tile(self.flux_bins_[:-1], n_skies), "S_mid": middle,
            "S_hi": np.tile(self.flux_bins_[1:], n_skies), "n": median, "n_q16": low, "n_q84": high,
            "euclidean": (middle**2.5 * median).to(u.Jy**1.5 / u.sr),
            "prior_width": np.tile(self.prior_sigma_, n_skies), "information": known, "prior_driven": known < MEASURED,
        })  # fmt: skip
        area = images.area
        table.meta = {
            "frequency": images.frequency, "beam": u.Quantity([images.beam_major, images.beam_minor]),
            "pixel_scale": images.pixel_scale, "area": u.Quantity([area[row].sum() for row in rows]),
            "noise": u.Quantity([images.noise[row].mean() for row in rows]), "covariance": covariance,
            "astrolearn": version("astrolearn"),
        }  # fmt: skip
        return table

    def score(self, X, y):
        """
        Minus the root mean square error of log10 n over images and bins, in dex: 0 is the best.

        Parameters
        ----------
        X, y : as for `fit`

        Returns
        -------
        score : float
        """
        mean, _ = self._marginals(X)
        log_n = read_targets(y, group_rows(None, len(mean))[1], *mean.shape)
        return -float(np.sqrt(((mean - log_n) ** 2).mean()))

    def save(self, path, *, overwrite=False):
        """
        Write the fitted regressor to one file.

        An `Instrument` is written, and read again, as the dict of its parameters.

        Parameters
        ----------
        path : path-like
            The file to write.
        overwrite : bool, optional
            Whether an existing file may be replaced. Default: no.
        """
        plain = copy.copy(self)
        if isinstance(self.instrument, Instrument):
            plain.instrument = describe_instrument(self.instrument)
        super(SourceCountRegressor, plain).save(path, overwrite=overwrite)

    def _marginals(self, X):
        """Mean and standard deviation of log10 n of each image, (n, n_bins)."""
        self._require_fitted()
        images = self._read(X)
        mean, covariance = self._posterior(images, group_rows(None, len(images))[1])
        return mean, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
