"""
From galaxies to densities: how inputs are read, networks trained and calibrated, and what they say made to mixtures.

`DensityEstimator` is what `PhotoZRegressor` stands on, and knows all that its user does not ask for. Inputs are read
into rows of plain numbers (`galaxies`), these become what a network takes (`features`, `images`); each network is
trained on all rows but those of the fold that it holds out (`splits`), which then tell how far its densities
(`mixture`) are to be trusted. Predictions stream: networks and mixtures see a few hundred galaxies at a time, however
many there are.
"""

from functools import partial

import astropy.units as u
import numpy as np
import torch
from astropy.utils.masked import Masked
from sklearn.utils.validation import validate_data
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from astrolearn.core.compute import resolve_device
from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import to_float
from astrolearn.core.net import OneCycle
from astrolearn.core.seeding import seeded_torch
from astrolearn.photoz.features import TableFeatures
from astrolearn.photoz.galaxies import Galaxies, split_input
from astrolearn.photoz.images import aperture_photometry, check_images, read_images, to_network
from astrolearn.photoz.mixture import MIN_SIGMA, Mixture, MixtureLoss
from astrolearn.photoz.networks import ImageNetwork, Menko2024Network, TableNetwork, views
from astrolearn.photoz.novelty import describe_known
from astrolearn.photoz.photometry import as_table, describe_table, read_table
from astrolearn.photoz.splits import held_by, held_out, seen
from astrolearn.photoz.targets import unit_of

__all__ = ["DensityEstimator"]

_MARGIN = 0.05  # of the range of the training targets, beyond which no prediction goes
_MASKED = 0.1  # of the training rows are seen a second time with some values taken out
_SMALLEST_PUBLISHED = 32  # pixels: two by two are left in its last block
_HELD_AT_ONCE = 256  # held-out galaxies in one batch
_GRID, _FINEST_GRID = 301, 3001  # values at which densities are given by default: steps of 2 % of the targets' spread
_VIEWS = 8


class DensityEstimator(NetworkEstimator):
    """Reads galaxies, trains networks on them and makes mixtures of what these say; see `PhotoZRegressor`."""

    _tabular = True
    _fitted_names = (
        "architecture_", "n_networks_", "n_components_", "bounds_", "unit_", "centre_", "scale_", "spread_",
        "conformity_", "n_folds_", "n_features_in_", "feature_names_in_", "table_format_", "features_", "image_format_",
        "photometry_", "known_", "known_images_",
    )  # fmt: skip

    # what goes into the networks

    def _forget(self):
        """A former fit may have been on another kind of input, or of another network."""
        self.table_format_ = self.image_format_ = None
        self.architecture_, self.n_networks_, self.n_components_ = self.architecture, self.n_networks, self.n_components
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
            if unit not in (None, u.dimensionless_unscaled, u.mag):
                raise ValueError(f"X is an array in '{unit}': make it a QTable with a column for each band")
            if unit is not None or isinstance(table, (np.ma.MaskedArray, Masked)):
                table = to_float(table, unit, "X", missing="keep", dtype=np.float64)
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
        return self.architecture_ == "menko2024"

    @property
    def _mixed_precision(self):
        return self._is_published

    def _describe(self, training, y):
        """Scales of features and targets, and what the training data are like."""
        low, high = y.min(), y.max()
        margin = _MARGIN * (high - low if high > low else max(abs(high), 1.0))
        # the margin does not reach beyond zero, where redshifts end but for motions nearby
        lowest = low - margin if low <= -margin else max(low - margin, min(low, 0.0))
        if self.unit_ == "redshift":  # of a galaxy that comes nearer it is as good as none
            lowest = max(lowest, 0.0)
        self.bounds_ = float(lowest), float(max(high, lowest) + margin)
        self.centre_, self.scale_ = float(y.mean()), float(y.std()) or 1.0
        self.spread_ = self.scale_
        self.features_ = TableFeatures.fit(training.values, training.undetected).state
        if training.photometry is not None:
            complete = np.zeros(training.photometry.shape, bool)
            self.photometry_ = TableFeatures.fit(training.photometry, complete).state
        self.known_ = describe_known(training.values, training.undetected, self.features_)
        self.known_images_ = None
        if training.photometry is not None:
            self.known_images_ = describe_known(training.photometry, complete, self.photometry_)

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
        corrected: the predicted densities of the held-out galaxies must be better for it by more than twice the error
        of their mean. The correction is learned to what networks say of galaxies that they have not seen: of the others
        they know too much.
        """
        target = ((np.clip(y, *self.bounds_) - self.centre_) / self.scale_).astype(np.float32)
        n = len(galaxies)
        if getattr(self, "n_features_in_", 0) > 1:
            again = rng.permutation(n)[: int(_MASKED * n)]
            galaxies = galaxies.joined(galaxies.seen_again(again, rng))
            target, fold = np.append(target, target[again]), np.append(fold, fold[again])
        inputs, first, original = self._network_inputs(galaxies), fold == 0, np.arange(len(fold)) < n
        if self._is_published:
            validation = Dataset(_rows(inputs, first), target[first])
            self._fit_net(_rows(inputs, ~first), target[~first], rng, validation)
            return
        # a second column says which networks have not seen the row
        known = np.column_stack([target, seen(fold)]).astype(np.float32)
        new = np.column_stack([target, held_out(fold, self.n_networks_)]).astype(np.float32)
        table, held = {"table": inputs["table"]}, original & (new[:, 1] < 0)
        self._fit_net(table, known, rng, Dataset(_rows(table, held), new[held]))
        if "images" not in inputs:
            return
        held = original & first
        net, images, validation = self.net_, _rows(inputs, held), galaxies.take(held)
        uncorrected = self._losses(validation, new[held])
        net.module_.table_network.requires_grad_(False)
        net.set_params(mixed_precision=True, train_split=predefined_split(Dataset(images, new[held])))
        with seeded_torch(rng, resolve_device(self.device)):
            net.partial_fit(_rows(inputs, ~first), new[~first])
        gain = uncorrected - self._losses(validation, new[held])
        # the best epoch was chosen by the same galaxies, so that a gain of one error is what chance gives
        if gain.mean() <= 2 * gain.std() / np.sqrt(len(gain)):
            net.module_.correct_nothing()

    def _losses(self, galaxies, targets):
        """
        Negative logarithm (n,) of the densities of galaxies, as they are predicted.

        What makes single networks better need not do so to their mean, which is wider than each.
        """
        outputs = np.concatenate(list(self._outputs(galaxies)))
        outputs, targets = (torch.tensor(part, device=self.net_.device) for part in (outputs, targets))
        return self.net_.criterion_.of_ensemble(outputs, targets).cpu().numpy()

    def _network(self):
        if self._is_published:
            return partial(Menko2024Network, self.image_format_["n_channels"])
        n_features = TableFeatures(self.features_).n_features
        if self.image_format_ is None:
            return partial(TableNetwork, n_features, self.n_networks_, self.n_components_)
        n_photometry, n_channels = TableFeatures(self.photometry_).n_features, self.image_format_["n_channels"]
        return partial(ImageNetwork, n_features, n_photometry, n_channels, self.n_networks_, self.n_components_)

    def _net_options(self):
        options = {"iterator_valid__batch_size": _HELD_AT_ONCE}
        if self._is_published:
            # there the loss is in units of redshift, here in those of their spread
            decay = Menko2024Network.WEIGHT_DECAY / self.scale_**2
            l2 = [(name, {"weight_decay": decay}) for name in Menko2024Network.convolutions()]
            return options | {"criterion": _PointLoss, "optimizer__param_groups": l2}
        bounds = tuple((bound - self.centre_) / self.scale_ for bound in self.bounds_)
        folds = held_by(self.n_networks_, self.n_folds_)
        loss = {"criterion": MixtureLoss, "criterion__bounds": bounds, "criterion__held_by": folds}
        return options | loss | {"callbacks": [OneCycle()]}

    # what comes out of the networks

    def _of_mixtures(self, galaxies, function):
        """What a function gives of the mixtures of all galaxies, of a batch at a time; it gives (n, ...) of n."""
        return np.concatenate([function(self._density(outputs)) for outputs in self._outputs(galaxies)])

    def _outputs(self, galaxies):
        """Yield what the network says of each batch: points (n,), or mixtures (n, n_networks, 3 * n_components)."""
        inputs = self._network_inputs(galaxies)
        at_once = max(self.batch_size, _HELD_AT_ONCE) if galaxies.images is None else self.batch_size
        starts = range(0, len(galaxies), at_once)
        batches = (_rows(inputs, slice(start, start + at_once)) for start in starts)
        if galaxies.images is None or self._is_published:
            yield from self._forward_batches(batches, len(starts))
            return
        # all views of the sky are equal: the mean of the densities of eight
        for outputs in self._forward_batches(batches, len(starts), _all_views):
            yield np.concatenate(np.split(outputs, _VIEWS), axis=1)

    def _density(self, outputs):
        if not self._is_published:
            return Mixture.from_network(outputs, self.centre_, self.scale_, self.bounds_)
        centre = self.centre_ + self.scale_ * outputs[:, None].astype(np.float64)
        return Mixture(np.ones_like(centre), centre, np.full_like(centre, self.spread_), self.bounds_)

    def _calibrate(self, galaxies, y, fold):
        """Width of the residuals, and how far out in the densities of networks that have not seen them targets lie."""
        n_folds = 1 if galaxies.images is not None else min(self.n_folds_, self.n_networks_)
        held = (fold >= 0) & (fold < n_folds)
        outputs, y, fold = np.concatenate(list(self._outputs(galaxies.take(held)))), y[held], fold[held]
        if self._is_published:
            residual = y - self.centre_ - self.scale_ * outputs
            self.spread_ = max(float(1.4826 * np.median(np.abs(residual))), 1e-3 * self.scale_)
            below = self._density(outputs).cdf(y)
        else:
            below = np.empty(len(y))
            n_views = outputs.shape[1] // self.n_networks_
            for k in range(n_folds):
                blind = np.tile(held_by(self.n_networks_, self.n_folds_) == k, n_views)
                below[fold == k] = self._density(outputs[fold == k][:, blind]).cdf(y[fold == k])
        self.conformity_ = np.sort(2 * np.abs(below - 0.5))

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


def _all_views(batch):
    """A batch of images as they look from all sides, with the same table each time."""
    several = {name: np.tile(values, (_VIEWS, 1)) for name, values in batch.items() if name != "images"}
    return several | {"images": np.concatenate(list(views(batch["images"])))}


class _PointLoss(nn.MSELoss):
    """Squared error; a class of its own, because skorch names the arguments of criteria after them."""
