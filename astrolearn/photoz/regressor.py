"""Photometric redshifts, or any other number, from tables, images or both, with the probability of every value."""

from importlib.metadata import version
from numbers import Integral, Real

import astropy.units as u
import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import to_float
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.photoz.densities import DensityEstimator
from astrolearn.photoz.images import describe_images
from astrolearn.photoz.novelty import is_novel
from astrolearn.photoz.splits import assign_folds
from astrolearn.photoz.targets import read_targets, refuse_target, unit_of

__all__ = ["PhotoZRegressor"]

_BLUESHIFT = -0.1  # what lies below is no redshift of a galaxy


class PhotoZRegressor(RegressorMixin, DensityEstimator):
    """
    Gives each galaxy the probability density of its redshift.

    Densities are mixtures of normal distributions cut at bounds that come from the training targets: no redshift is
    negative or runs away. Each part of the training data is held out of some of the networks, to stop the training at
    its best epoch and to make the intervals of `predict_interval` cover what they say. Any other scalar target works
    too.

    Parameters
    ----------
    architecture : {"auto", "menko2024"}, optional
        ``"auto"`` (default): an ensemble of dense networks, on a table or on the light of the galaxy in images; images
        also get a small convolutional network that corrects what it says. ``"menko2024"``: the convolutional network of
        Menkó's talk (2024), for images only, which gives a point; its density is that of the held-out residuals. There
        it was trained with ``image_size=None, lr=5e-5, batch_size=128, max_epochs=50``.
    columns : sequence of str, optional
        Columns of a table to use. Default: all.
    channels : {"auto", "first", "last"}, optional
        Where the channels of images are. Default: the shorter outer axis.
    image_size : int or None, optional
        Side in pixels to whose middle larger images are cut; `None` cuts nothing but a square. Default: 64.
    n_networks : int, optional
        In the ensemble on tables.
    n_components : int, optional
        Normal distributions that each network gives.
    n_folds : int, optional
        Parts of the training data, each of which some of the networks do not learn from; so they tell when to stop, and
        how wide intervals must be. What learns from images does not see the first part. Default: 5.
    odds_width : float, optional
        Half width, in units of abs(1 + z), of the interval around the mode whose probability is called odds (Benítez
        2000). Default: 0.06.
    device, batch_size, max_epochs, lr, random_state, verbose, n_jobs
        See `~astrolearn.core.estimator.NetworkEstimator`.

    Attributes
    ----------
    net_ : `skorch.NeuralNet`
        The trained network.
    bounds_ : tuple of float
        Lowest and highest possible prediction.
    unit_ : str or None
        Unit of the training targets.
    conformity_ : `numpy.ndarray`
        Of held-out data, increasing: how far from the median each lies, as twice its quantile's distance from 0.5.
    n_features_in_ : int
        Columns of the table, if there is one.
    feature_names_in_ : `numpy.ndarray` of str
        Their names, if they have any.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astropy.table import QTable
    >>> from astrolearn import PhotoZRegressor
    >>> redshift = np.random.default_rng(1).uniform(0, 0.3, 200)
    >>> table = QTable({"g": (20 + 3 * redshift) * u.ABmag, "r": (19 + redshift) * u.ABmag})
    >>> regressor = PhotoZRegressor(max_epochs=20, random_state=1).fit(table, redshift)
    >>> lower, upper = regressor.predict_interval(table, coverage=0.9)
    """

    _parameter_constraints = {
        **NetworkEstimator._parameter_constraints,
        "architecture": [StrOptions({"auto", "menko2024"})],
        "columns": [None, "array-like"],
        "channels": [StrOptions({"auto", "first", "last"})],
        "image_size": [None, Interval(Integral, 16, None, closed="left")],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "odds_width": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        architecture="auto",
        columns=None,
        channels="auto",
        image_size=64,
        n_networks=10,
        n_components=5,
        n_folds=5,
        odds_width=0.06,
        device="auto",
        batch_size=32,
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
        self.architecture = architecture
        self.columns = columns
        self.channels = channels
        self.image_size = image_size
        self.n_networks = n_networks
        self.n_components = n_components
        self.n_folds = n_folds
        self.odds_width = odds_width

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X, y, groups=None):
        """
        Train on galaxies with known redshifts.

        Parameters
        ----------
        X : table, images, or both
            A table is a `~astropy.table.Table` or structured array of magnitudes or fluxes; errors are recognised by
            their names (``u_err``, ``err_u``, ``modelMagErr_u`` ...), and columns without a unit are taken as they
            stand. NaN, masked values and, except in fluxes, -99, -999 and -9999 are missing; 99 is: not detected.
            Arrays (n, n_columns) and data frames are numbers without names and flags, of which only NaN is missing:
            ``QTable.from_pandas(frame)`` makes a table. Images are an array (n, c, h, w), (n, h, w, c) or (n, h, w), or
            a list of arrays, CCDData or paths of JPG, PNG and FITS files. Both: ``{"table": ..., "images": ...}``, or a
            table with a column of images.
        y : array-like or `~astropy.units.Quantity`, (n,)
            Targets.
        groups : array-like, (n,), optional
            Rows of one group (the same galaxy observed twice, say) are held out together. Rows that are equal always
            are.

        Returns
        -------
        self : PhotoZRegressor

        Raises
        ------
        ValueError
            If there are not two rows at least, or an input is not usable; the message names it.
        """
        self._validate_params()
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        self._forget()
        galaxies = self._read(X, reset=True)
        y, self.unit_ = read_targets(y, len(galaxies))
        if len(galaxies) < 2:
            raise ValueError("two rows of X are needed at least; it has n_samples=1")
        if self.table_format_ is not None:
            refuse_target(galaxies.values, self.table_format_["names"], y)
        rng = make_rng(self.random_state)
        fold = assign_folds(galaxies, groups, self.n_folds, rng)
        self.n_folds_ = int(fold.max()) + 1
        if galaxies.images is not None:
            self.image_format_ = describe_images(galaxies.images, galaxies.image_kind, self.image_size)
            self._prepare_images(galaxies)
        self._describe(galaxies, y)
        self._train(galaxies, y, fold, rng)
        self._calibrate(galaxies, y, fold)
        return self

    def predict(self, X):
        """
        Median redshift of each galaxy.

        Parameters
        ----------
        X : as for `fit`

        Returns
        -------
        z : `numpy.ndarray` or `~astropy.units.Quantity`, float64 (n,)
            With the unit of the training targets.
        """
        return self._with_unit(self._median(X))

    def predict_quantiles(self, X, q):
        """
        Quantiles of the density of each galaxy.

        Parameters
        ----------
        X : as for `fit`
        q : float or sequence of float
            Probabilities, from 0 to 1.

        Returns
        -------
        z : `numpy.ndarray` or `~astropy.units.Quantity`, float64 (n,) or (n, len(q))
        """
        q = np.asarray(q, dtype=float)
        if q.ndim > 1 or not ((q >= 0) & (q <= 1)).all():
            raise ValueError(f"q={q} must be one probability or a sequence of them, from 0 to 1")
        values = self._quantiles(X, np.atleast_1d(q))
        return self._with_unit(values if q.ndim else values[:, 0])

    def predict_interval(self, X, coverage=0.68):
        """
        Interval that holds the redshift with a stated probability, around the median.

        The interval is conformal (Chernozhukov, Wuethrich & Zhu 2021, 1909.07889): the held-out galaxies say how far
        out in their densities the redshifts lie. It covers what it says for galaxies like those of the training data,
        also where the densities are too narrow or too wide.

        Parameters
        ----------
        X : as for `fit`
        coverage : float, optional
            Default: 0.68.

        Returns
        -------
        lower, upper : `numpy.ndarray` or `~astropy.units.Quantity`, float64 (n,)
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage} must be between 0 and 1")
        self._require_fitted()
        half = 0.5 * self._conformal(coverage)
        return tuple(self._with_unit(end) for end in self._quantiles(X, (0.5 - half, 0.5 + half)).T)

    def predict_pdf(self, X, z=None):
        """
        Density of each galaxy and what follows from it.

        Parameters
        ----------
        X : as for `fit`
        z : array-like or `~astropy.units.Quantity`, (n_z,), optional
            Increasing values at which to give the densities. Default: from bound to bound in 301 steps or more (up to
            3001), where a few targets are far from the others.

        Returns
        -------
        table : SampleTable
            ``z_median``, ``z_mean``, ``z_mode`` (the highest of the densities at the means of its components),
            ``z_std``, ``z_q16``, ``z_q84``, ``odds``, ``out_of_distribution`` (whether X is farther from the training
            data than all but 0.5 % of these from each other, in the table or in the light of the images, or lacks more
            than half of the columns) and ``pdf`` (n, n_z); the grid is ``meta["z_grid"]``.
        """
        galaxies = self._read(X)
        grid = self._grid() if z is None else self._read_grid(z)

        def describe(mixture):
            mode = mixture.mode()
            half = self.odds_width * np.abs(1 + mode)
            odds = mixture.cdf(mode + half) - mixture.cdf(mode - half)
            mean, std = mixture.moments()
            quantiles = [mixture.ppf(q) for q in (0.5, 0.16, 0.84)]
            return np.column_stack([*quantiles, mean, mode, std, odds, mixture.pdf(grid)])

        numbers = self._of_mixtures(galaxies, describe)
        median, q16, q84, mean, mode, std, odds = numbers[:, :7].T
        pdf = numbers[:, 7:]
        columns = {"z_median": median, "z_mean": mean, "z_mode": mode, "z_std": std, "z_q16": q16, "z_q84": q84}
        table = SampleTable({name: self._with_unit(values) for name, values in columns.items()})
        table["odds"] = odds
        table["out_of_distribution"] = self._is_novel(galaxies)
        table["pdf"] = pdf if self.unit_ is None else pdf / unit_of(self.unit_)
        table.meta = {"z_grid": self._with_unit(grid), "odds_width": self.odds_width,
                      "astrolearn": version("astrolearn")}
        return table

    def to_qp(self, X, z=None):
        """
        Densities as an ensemble of qp, for RAIL; needs the extra ``rail``.

        Parameters
        ----------
        X, z
            See `predict_pdf`.

        Returns
        -------
        ensemble : ``qp.Ensemble``
            Interpolated densities; its ``ancil`` has the scalar columns of `predict_pdf`.
        """
        import qp

        table = self.predict_pdf(X, z)
        plain = {name: np.asarray(getattr(table[name], "value", table[name])) for name in table.colnames}
        grid = np.asarray(getattr(table.meta["z_grid"], "value", table.meta["z_grid"]))
        return qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": plain.pop("pdf")}, ancil=plain)

    def predict_distance(self, X, cosmology, *, kind="luminosity", n_samples=1000, random_state=None):
        """
        Distance of each galaxy: draws from its density, taken through a cosmology.

        The distance of the median redshift is the median distance, but the mean and the errors do not follow from those
        of the redshift.

        Parameters
        ----------
        X : as for `fit`
        cosmology : `~astropy.cosmology.FLRW`
            Such as ``astropy.cosmology.Planck18``.
        kind : {"luminosity", "comoving", "lookback"}, optional
            Default: luminosity distance.
        n_samples : int, optional
            Draws per galaxy.
        random_state : int, Generator or None, optional

        Returns
        -------
        table : SampleTable
            ``distance`` (the median), ``distance_mean``, ``distance_std``, ``distance_q16`` and ``distance_q84``, in
            Mpc.

        Raises
        ------
        ValueError
            If the targets were not redshifts, or below -0.1.
        """
        if kind not in ("luminosity", "comoving", "lookback"):
            raise ValueError(f"kind={kind!r} is not 'luminosity', 'comoving' or 'lookback'")
        if self.unit_ not in (None, "redshift", ""):
            raise ValueError(f"the predictions are in '{self.unit_}', not redshifts: they have no distance")
        if n_samples < 1:
            raise ValueError(f"n_samples={n_samples} must be 1 or more")
        galaxies = self._read(X)
        if self.bounds_[0] < _BLUESHIFT:
            raise ValueError(f"predictions go down to {self.bounds_[0]:.3g}: they are no cosmological redshifts")
        rng = make_rng(random_state)
        # the distance is a smooth function of the redshift: a table of it is exact enough, and there may be many draws
        grid = np.linspace(max(self.bounds_[0], 0.0), max(self.bounds_[1], 1e-6), 2000)
        relation = getattr(cosmology, f"{kind}_distance")(grid).to_value(u.Mpc)

        def describe(mixture):
            distance = np.interp(mixture.sample(n_samples, rng), grid, relation)  # a blueshift counts as none
            quantiles = np.quantile(distance, (0.5, 0.16, 0.84), axis=1)
            return np.vstack([quantiles, distance.mean(axis=1), distance.std(axis=1)]).T

        names = "distance", "distance_q16", "distance_q84", "distance_mean", "distance_std"
        columns = dict(zip(names, self._of_mixtures(galaxies, describe).T, strict=True))
        return SampleTable({name: values * u.Mpc for name, values in columns.items()},
                           meta={"cosmology": cosmology.name, "kind": kind})

    def score(self, X, y, sample_weight=None):
        """
        Coefficient of determination, R², as of all regressors of scikit-learn.

        It rises with the range of the redshifts and says little about their errors: see `astrolearn.photoz.metrics`.

        Parameters
        ----------
        X, y : as for `fit`
        sample_weight : array-like, (n,), optional

        Returns
        -------
        score : float
        """
        median = self._median(X)
        target = to_float(y, unit_of(self.unit_), "y", shape=(len(median),), dtype=np.float64)
        return r2_score(target, median, sample_weight=sample_weight)

    def _median(self, X):
        return self._quantiles(X, (0.5,))[:, 0]

    def _quantiles(self, X, probabilities):
        """Quantiles (n, n_probabilities)."""
        return self._of_mixtures(
            self._read(X), lambda mixture: np.column_stack([mixture.ppf(q) for q in probabilities])
        )

    def _is_novel(self, galaxies):
        """Whether table or images are unlike those of the training, (n,)."""
        novel = is_novel(galaxies.values, galaxies.undetected, self.features_, self.known_)
        if galaxies.photometry is None:
            return novel
        complete = np.zeros(galaxies.photometry.shape, bool)
        return novel | is_novel(galaxies.photometry, complete, self.photometry_, self.known_images_)
