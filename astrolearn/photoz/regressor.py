"""Photometric redshifts, or any other number, from tables, images or both, with the probability of every value."""

from functools import partial
from importlib.metadata import version
from numbers import Integral, Real

import astropy.units as u
import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data
from skorch.callbacks import EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from astrolearn.core.compute import resolve_device
from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import to_float
from astrolearn.core.net import OneCycle
from astrolearn.core.seeding import make_rng, seeded_torch
from astrolearn.core.tables import SampleTable
from astrolearn.photoz.features import TableFeatures
from astrolearn.photoz.galaxies import Galaxies, split_input
from astrolearn.photoz.images import aperture_photometry, check_images, describe_images, read_images, to_network
from astrolearn.photoz.mixture import MIN_SIGMA, Mixture, MixtureLoss
from astrolearn.photoz.networks import ImageNetwork, Menko2024Network, TableNetwork, views
from astrolearn.photoz.novelty import describe_known, is_novel
from astrolearn.photoz.photometry import as_table, describe_table, read_table
from astrolearn.photoz.splits import assign_folds, held_by, held_out, seen
from astrolearn.photoz.targets import read_targets, refuse_target, unit_of

__all__ = ["PhotoZRegressor"]

_MARGIN = 0.05  # of the range of the training targets, beyond which no prediction goes
_MASKED = 0.1  # of the training rows are seen a second time with some values taken out
_SMALLEST_PUBLISHED = 32  # pixels: two by two are left in its last block
_HELD_AT_ONCE = 256  # held-out galaxies in one batch
_AT_ONCE = 1000  # galaxies whose draws are in memory
_GRID, _FINEST_GRID = 301, 3001  # values at which densities are given by default: steps of 2 % of the targets' spread


class PhotoZRegressor(RegressorMixin, NetworkEstimator):
    """
    Gives each galaxy the probability density of its redshift.

    Densities are mixtures of normal distributions cut at bounds that come from the training targets: no redshift is
    negative or runs away. Each part of the training data is held out of some of the networks, to stop the training at
    its best epoch and to make the intervals of `predict_interval` cover what they say. Any other scalar target works
    too.

    Parameters
    ----------
    architecture : {"auto", "menko2024"}, optional
        ``"auto"`` (default): an ensemble of dense networks, on a table or on the light in circles on the images; images
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
        Half width, in units of 1 + z, of the interval around the mode whose probability is called odds (Benítez 2000).
        Default: 0.06.
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
    _tabular = True
    _fitted_names = (
        "bounds_", "unit_", "centre_", "scale_", "spread_", "conformity_", "n_folds_", "n_features_in_",
        "feature_names_in_", "table_format_", "features_", "image_format_", "photometry_", "known_",
    )  # fmt: skip

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
        return self._with_unit(self._mixture(X).ppf(0.5))

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
        mixture = self._mixture(X)
        values = np.stack([mixture.ppf(probability) for probability in np.atleast_1d(q)], axis=1)
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
        mixture = self._mixture(X)
        half = 0.5 * self._conformal(coverage)
        return tuple(self._with_unit(mixture.ppf(probability)) for probability in (0.5 - half, 0.5 + half))

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
            data than all but 0.1 % of these from each other, or lacks more than half of its columns) and ``pdf``
            (n, n_z); the grid is ``meta["z_grid"]``.
        """
        galaxies = self._read(X)
        mixture = self._mixture_of(galaxies)
        grid = self._grid() if z is None else self._read_grid(z)
        pdf = mixture.pdf(grid)
        mode = mixture.mode()
        mean, std = mixture.moments()
        half = self.odds_width * (1 + mode)
        columns = {
            "z_median": mixture.ppf(0.5), "z_mean": mean, "z_mode": mode, "z_std": std, "z_q16": mixture.ppf(0.16),
            "z_q84": mixture.ppf(0.84),
        }  # fmt: skip
        table = SampleTable({name: self._with_unit(values) for name, values in columns.items()})
        table["odds"] = mixture.cdf(mode + half) - mixture.cdf(mode - half)
        table["out_of_distribution"] = is_novel(galaxies, self.features_, self.known_)
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
            If the targets were not redshifts, or are negative.
        """
        if kind not in ("luminosity", "comoving", "lookback"):
            raise ValueError(f"kind={kind!r} is not 'luminosity', 'comoving' or 'lookback'")
        if self.unit_ not in (None, "redshift", ""):
            raise ValueError(f"the predictions are in '{self.unit_}', not redshifts: they have no distance")
        mixture = self._mixture(X)
        if mixture.bounds[0] < 0:
            raise ValueError("predictions may be negative here: they are no cosmological redshifts")
        rng = make_rng(random_state)
        # the distance is a smooth function of the redshift: a table of it is exact enough, and there may be many draws
        grid = np.linspace(*mixture.bounds, 2000)
        relation = getattr(cosmology, f"{kind}_distance")(grid).to_value(u.Mpc)
        rows = []
        for start in range(0, len(mixture), _AT_ONCE):
            distance = np.interp(mixture[start : start + _AT_ONCE].sample(n_samples, rng), grid, relation)
            quantiles = np.quantile(distance, (0.5, 0.16, 0.84), axis=1)
            rows.append(np.vstack([quantiles, distance.mean(axis=1), distance.std(axis=1)]))
        names = "distance", "distance_q16", "distance_q84", "distance_mean", "distance_std"
        columns = dict(zip(names, np.hstack(rows), strict=True))
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
        median = self._mixture(X).ppf(0.5)
        target = to_float(y, unit_of(self.unit_), "y", shape=(len(median),), dtype=np.float64)
        return r2_score(target, median, sample_weight=sample_weight)

    # what goes into the networks

    def _forget(self):
        """A former fit may have been on another kind of input."""
        self.table_format_ = self.image_format_ = None
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)

    def _read(self, X, reset=False):
        """Rows of the same kind as those of the training; while training (``reset``), images are not yet prepared."""
        if not reset:
            self._require_fitted()
        table, images = split_input(X)
        if self._is_published and (table is not None or images is None):
            raise ValueError("architecture='menko2024' takes images and no table")
        galaxies = Galaxies()
        if not reset:
            for part, trained, name in ((table, hasattr(self, "n_features_in_"), "a table"),
                                        (images, self.image_format_ is not None, "images")):
                if (part is not None) != trained:
                    raise ValueError(f"X has {'no ' if trained else ''}{name}, but this was trained "
                                     f"{'with' if trained else 'without'}; its shape is {np.shape(part)}"
                                     if part is not None else f"X lacks {name}, which this was trained with")
        if table is not None:
            galaxies.values, galaxies.undetected = self._read_table(table, reset)
        if images is not None:
            unit = None if reset else self.image_format_["unit"]
            galaxies.add_images(*read_images(images, self.channels, unit))
            if not reset:
                self._prepare_images(galaxies)
            elif (size := check_images(galaxies.images, self.image_size)) < _SMALLEST_PUBLISHED and self._is_published:
                raise ValueError(f"X has images of {size} pixels; architecture='menko2024' halves them four times and "
                                 f"needs {_SMALLEST_PUBLISHED} at least")
        return galaxies

    def _prepare_images(self, galaxies):
        images = to_network(galaxies.images, galaxies.image_kind, self.image_format_, plain=self._is_published)
        galaxies.prepare_images(images, aperture_photometry(galaxies.images, self.image_format_))

    def _read_table(self, table, reset):
        named = as_table(table)
        if named is None:
            if self.table_format_ is not None:
                raise ValueError("X has no column names, but this was trained on a table with "
                                 f"{', '.join(self.table_format_['names'])}")
            if self.columns is not None:
                raise ValueError("columns can be named of a table only, not of an array or a data frame")
            unit = getattr(table, "unit", None)
            if unit not in (None, u.dimensionless_unscaled):
                raise ValueError(f"X is an array in '{unit}': make it a QTable with a column for each band")
            if isinstance(table, np.ma.MaskedArray):
                table = table.astype(float).filled(np.nan)
            values = validate_data(self, table, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
            return values, np.zeros(values.shape, bool)
        if reset:
            self.table_format_ = describe_table(named, self.columns)
            self.feature_names_in_ = np.array(self.table_format_["names"])
            self.n_features_in_ = len(self.feature_names_in_)
        elif self.table_format_ is None:
            raise ValueError("X is a table, but this was trained on an array without units and names")
        return read_table(named, self.table_format_)

    @property
    def _is_published(self):
        return self.architecture == "menko2024"

    @property
    def _mixed_precision(self):
        return self._is_published

    def _describe(self, training, y):
        """Scales of features and targets, and what the training data are like."""
        low, high = y.min(), y.max()
        margin = _MARGIN * (high - low if high > low else max(abs(high), 1.0))
        # the margin does not reach beyond zero, where redshifts end but for motions nearby
        lowest = low - margin if low <= -margin else max(low - margin, min(low, 0.0))
        self.bounds_ = float(lowest), float(high + margin)
        self.centre_, self.scale_ = float(y.mean()), float(y.std()) or 1.0
        self.spread_ = self.scale_
        self.features_ = TableFeatures.fit(training.values, training.undetected).state
        if training.photometry is not None:
            complete = np.zeros(training.photometry.shape, bool)
            self.photometry_ = TableFeatures.fit(training.photometry, complete).state
        self.known_ = describe_known(training, self.features_)

    def _network_inputs(self, galaxies):
        """What the network's ``forward`` takes."""
        if self._is_published:
            return {"images": galaxies.images}
        inputs = {"table": TableFeatures(self.features_).transform(galaxies.values, galaxies.undetected)}
        if galaxies.images is None:
            return inputs
        complete = np.zeros(galaxies.photometry.shape, bool)
        photometry = TableFeatures(self.photometry_).transform(galaxies.photometry, complete)
        return inputs | {"photometry": photometry, "images": galaxies.images}

    def _train(self, galaxies, y, fold, rng):
        """
        Train the network; with images, first what it has of a table, and then the correction to that.

        So what is in the table is not lost in the search for more, and where the images hold no more, nothing is
        corrected: the held-out galaxies must be better for it by more than the error of their mean. The correction is
        learned to what networks say of galaxies that they have not seen: of the others they know too much.
        """
        target = ((y - self.centre_) / self.scale_).astype(np.float32)
        n = len(galaxies)
        if getattr(self, "n_features_in_", 0) > 1:
            again = rng.permutation(n)[: int(_MASKED * n)]
            galaxies = galaxies.joined(galaxies.seen_again(again, rng))
            target, fold = np.append(target, target[again]), np.append(fold, fold[again])
        inputs, first, original = self._network_inputs(galaxies), fold == 0, np.arange(len(fold)) < n
        if self._is_published:
            self._fit_net(_rows(inputs, ~first), target[~first], rng, _rows(inputs, first), target[first])
            return
        # a second column says which networks have not seen the row
        known = np.column_stack([target, seen(fold)]).astype(np.float32)
        new = np.column_stack([target, held_out(fold, self.n_networks)]).astype(np.float32)
        table, held = {"table": inputs["table"]}, original & (new[:, 1] < 0)
        self._fit_net(table, known, rng, _rows(table, held), new[held])
        if "images" not in inputs:
            return
        held = original & first
        net, images = self.net_, _rows(inputs, held)
        uncorrected = self._losses({"table": images["table"]}, new[held])
        net.module_.table_network.requires_grad_(False)
        net.set_params(mixed_precision=True, train_split=predefined_split(Dataset(images, new[held])))
        with seeded_torch(rng, resolve_device(self.device)):
            net.partial_fit(_rows(inputs, ~first), new[~first])
        gain = uncorrected - self._losses(images, new[held])
        if gain.mean() <= gain.std() / np.sqrt(len(gain)):
            net.module_.correct_nothing()

    def _losses(self, inputs, targets):
        """Loss (n,) of each row."""
        outputs, targets = (torch.tensor(part, device=self.net_.device) for part in (self._forward(inputs), targets))
        return self.net_.criterion_.of_rows(outputs, targets).cpu().numpy()

    def _fit_net(self, inputs, targets, rng, held_inputs, held_targets):
        """Train a new network, and keep it as it was when it said most of what is held out."""
        self._validation = Dataset(held_inputs, held_targets)
        super()._fit_net(inputs, targets, rng)
        del self._validation

    def _network(self):
        if self._is_published:
            return partial(Menko2024Network, self.image_format_["n_channels"])
        n_features = TableFeatures(self.features_).n_features
        if self.image_format_ is None:
            return partial(TableNetwork, n_features, self.n_networks, self.n_components)
        n_photometry, n_channels = TableFeatures(self.photometry_).n_features, self.image_format_["n_channels"]
        return partial(ImageNetwork, n_features, n_photometry, n_channels, self.n_networks, self.n_components)

    def _net_options(self):
        options = {"callbacks": [], "iterator_valid__batch_size": _HELD_AT_ONCE}
        if hasattr(self, "_validation"):
            options["train_split"] = predefined_split(self._validation)
            options["callbacks"] = [EarlyStopping(patience=max(self.max_epochs // 3, 5), load_best=True, sink=_silent)]
        if self._is_published:
            # there the loss is in units of redshift, here in those of their spread
            decay = Menko2024Network.WEIGHT_DECAY / self.scale_**2
            l2 = [(name, {"weight_decay": decay}) for name in Menko2024Network.convolutions()]
            return options | {"criterion": _PointLoss, "optimizer__param_groups": l2}
        bounds = tuple((bound - self.centre_) / self.scale_ for bound in self.bounds_)
        options["callbacks"].append(OneCycle())
        folds = held_by(self.n_networks, self.n_folds_)
        return options | {"criterion": MixtureLoss, "criterion__bounds": bounds, "criterion__held_by": folds}

    # what comes out of the networks

    def _mixture(self, X):
        return self._mixture_of(self._read(X))

    def _mixture_of(self, galaxies):
        return self._density(self._outputs(galaxies))

    def _outputs(self, galaxies):
        """What the network says: points (n,), or mixtures (n, n_networks, 3 * n_components)."""
        inputs = self._network_inputs(galaxies)
        if self._is_published:
            return self._forward(inputs["images"])
        if "images" not in inputs:
            return self._forward(inputs)
        # all views of the sky are equal: the mean of the densities of eight
        return np.concatenate([self._forward(inputs | {"images": view}) for view in views(inputs["images"])], axis=1)

    def _density(self, outputs):
        if not self._is_published:
            return Mixture.from_network(outputs, self.centre_, self.scale_, self.bounds_)
        centre = self.centre_ + self.scale_ * outputs[:, None].astype(np.float64)
        return Mixture(np.ones_like(centre), centre, np.full_like(centre, self.spread_), self.bounds_)

    def _calibrate(self, galaxies, y, fold):
        """Width of the residuals, and how far out in the densities of networks that have not seen them targets lie."""
        n_folds = 1 if galaxies.images is not None else min(self.n_folds_, self.n_networks)
        conformity = []
        for k in range(n_folds):
            rows = fold == k
            outputs, own = self._outputs(galaxies.take(rows)), y[rows]
            if self._is_published:
                residual = own - self.centre_ - self.scale_ * outputs
                self.spread_ = max(float(1.4826 * np.median(np.abs(residual))), 1e-3 * self.scale_)
            else:
                n_views = outputs.shape[1] // self.n_networks
                outputs = outputs[:, np.tile(held_by(self.n_networks, self.n_folds_) == k, n_views)]
            conformity.append(2 * np.abs(self._density(outputs).cdf(own) - 0.5))
        self.conformity_ = np.sort(np.concatenate(conformity))

    def _conformal(self, coverage):
        """Central probability of the densities that holds so many of galaxies like the held-out ones."""
        rank = int(np.ceil(coverage * (len(self.conformity_) + 1)))
        return 1.0 if rank > len(self.conformity_) else float(self.conformity_[rank - 1])

    def _with_unit(self, values):
        return values if self.unit_ is None else u.Quantity(values, unit_of(self.unit_))

    def _grid(self):
        n = int((self.bounds_[1] - self.bounds_[0]) / (2 * MIN_SIGMA * self.scale_)) + 1
        return np.linspace(*self.bounds_, int(np.clip(n, _GRID, _FINEST_GRID)))

    def _read_grid(self, z):
        grid = to_float(z, unit_of(self.unit_), "z", shape=("n_z",), dtype=np.float64)
        if not (np.diff(grid) > 0).all():
            raise ValueError("z must increase")
        return grid


def _rows(inputs, rows):
    return {name: values[rows] for name, values in inputs.items()}


class _PointLoss(nn.MSELoss):
    """Squared error; a class of its own, because skorch names the arguments of criteria after them."""


def _silent(*args):
    """Early stopping says nothing."""
