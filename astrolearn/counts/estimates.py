"""
From images to the normal distributions of log10 n: how skies are read, networks trained, and their widths calibrated.

`CountEstimator` is what `SourceCountRegressor` stands on, and knows all that its user does not ask for. There are two
ways to train. Given images are pooled to histograms of skies, and a network learns from these alone. A simulator can be
asked for more: expected histograms without end, corrected by what a few hundred simulated images show. Either way skies
that the network has not learned from say how wide the answers must be.
"""

import warnings
from dataclasses import fields, replace
from functools import partial

import astropy.units as u
import numpy as np
import torch
from astropy.utils.exceptions import AstropyUserWarning
from skorch.callbacks import GradientNormClipping
from skorch.dataset import Dataset
from torch import nn

from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.net import OneCycle
from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.counts.expected import ExpectedSkies, evaluate
from astrolearn.counts.features import HistogramFeatures, cumulative_histogram, moved
from astrolearn.counts.images import RadioImages, read_radio_images
from astrolearn.counts.instruments import Instrument, read_instrument
from astrolearn.counts.models import CountModel
from astrolearn.counts.networks import (
    EarthMoverLoss,
    EarthMoverNetwork,
    HistogramNetwork,
    NormalLoss,
    Regis2022Network,
    n_normal,
    read_normal,
)
from astrolearn.counts.posterior import combine_widths, conformal_widths, spread_of_residuals
from astrolearn.counts.simulator import squares
from astrolearn.counts.skies import Skies, group_rows, read_targets
from astrolearn.counts.training import SMALLEST_AREA, FreshSkies, SkySampler, collate, learn_correction, sky_inputs

__all__ = ["CountEstimator"]

_HELD_OUT = 0.2  # of the skies
_FEWEST = 5  # skies
_SUBSETS = 3  # of the images of each sky, beside all of them
_DESCRIBED = 5000  # expected skies, at most, from which features and widths are found
_PRIOR_DRAWS = 20_000
_CALIBRATED = 4  # times that each real sky is seen, each time with another error of the stated noise
_SAMPLES_PER_BEAM = 4  # independent ones
_FLUX_BINS = 10 ** np.linspace(-7.25, -1.25, 13)
_NOISE_TOLERANCE = 1.05
_CUTOUT = 128  # pixels, side of the squares of simulated images for "regis2022"


class CountEstimator(NetworkEstimator):
    """Reads skies, trains networks on them and gives means and covariances; see `SourceCountRegressor`."""

    _fitted_names = (
        "architecture_", "loss_", "flux_bins_", "instrument_", "noise_range_", "n_pixels_", "shape_", "features_",
        "prior_mean_", "prior_sigma_", "widths_", "spread_",
    )  # fmt: skip

    # reading

    def _begin(self, instrument):
        bins = _FLUX_BINS * u.Jy if self.flux_bins is None else as_quantity(self.flux_bins, u.Jy, "flux_bins")
        if bins.ndim != 1 or len(bins) < 2 or not (bins[0] > 0 and (np.diff(bins) > 0).all()):
            raise ValueError("flux_bins must be the edges of one bin or more, positive and increasing")
        if not instrument.noise > 0:
            raise ValueError("the noise of the instrument must be positive: pixels are seen in units of it")
        self.architecture_, self.loss_ = self.architecture, self.loss
        self.flux_bins_ = bins
        self.instrument_ = describe_instrument(instrument)
        self.features_ = self.widths_ = self.spread_ = self.shape_ = self.noise_range_ = None

    def _relative_noise(self):
        pair = to_float(self.noise_range, None, "noise_range", shape=(2,), dtype=np.float64)
        if not 0 < pair[0] <= 1 <= pair[1]:
            raise ValueError(f"noise_range={self.noise_range} must be two positive numbers around 1")
        return pair

    @property
    def _tool(self):
        return Instrument(**self.instrument_)

    @property
    def _log_flux(self):
        """log10 of the (logarithmic) middles of the bins in Jy."""
        edges = np.log10(self.flux_bins_.value)
        return (edges[1:] + edges[:-1]) / 2

    @property
    def _is_published(self):
        return self.architecture_ == "regis2022"

    @property
    def _is_normal(self):
        return not self._is_published and self.loss_ == "gaussian"

    @property
    def _mixed_precision(self):
        return self._is_published

    def _read(self, X, **given):
        """Images, each with its noise."""
        tool = self._tool
        if self.noise_range_ is None:  # images of the sky itself: the instrument's noise is but the unit of the pixels
            return read_radio_images(X, trained=tool, **given | {"noise": tool.noise})
        images = read_radio_images(X, trained=tool, noise_range=self.noise_range_, **given)
        unknown = np.isnan(images.noise)
        if unknown.any():
            warnings.warn(f"{unknown.sum()} images do not state their noise: taken as the trained {tool.noise:.3g}. "
                          "Give it if you know it: an error of a few per cent shifts the counts near the noise",
                          AstropyUserWarning, stacklevel=3)
            images = replace(images, noise=np.where(unknown, tool.noise, images.noise))
        images.check_scatter()
        return images

    # training on given images

    def _fit_images(self, X, y, groups, rng):
        self._begin(read_instrument_or_dict(self.instrument))
        self.noise_range_ = self._tool.noise.value * self._relative_noise()
        images = self._read(X)
        _, rows = group_rows(groups, len(images))
        log_n = read_targets(y, rows, len(images), len(self._log_flux))
        if len(rows) < _FEWEST:
            raise ValueError(f"X has {len(rows)} skies; {_FEWEST} at least are needed")
        self.noise_range_ = np.array([images.noise.value.min() / _NOISE_TOLERANCE,
                                      images.noise.value.max() * _NOISE_TOLERANCE])
        held, training = self._split(len(rows), rng)
        if self._is_published:
            inputs = self._cutouts(images)
            return self._fit_cutouts(inputs, [rows[i] for i in training], log_n[training],
                                     [rows[i] for i in held], log_n[held], rng)
        parts, which = [], []
        for i in training:
            several = [rows[i]]
            if len(rows[i]) > 1:
                sizes = np.exp(rng.uniform(0, np.log(len(rows[i])), _SUBSETS)).astype(int)
                several += [rng.choice(rows[i], size, replace=False) for size in sizes]
            parts.append(Skies.pool(images, several))
            which += [i] * len(several)
        return self._fit_skies(Skies.join(parts), log_n[which], Skies.pool(images, [rows[i] for i in held]),
                               log_n[held], rng)

    def _split(self, n, rng):
        order = rng.permutation(n)
        n_held = max(int(_HELD_OUT * n), 1)
        return order[:n_held], order[n_held:]

    def _fit_skies(self, skies, log_n, held, held_log_n, rng):
        """Train on histograms alone, and keep the network as it was when it said most of held-out skies."""
        self.n_pixels_ = float(max(skies.n_pixels.max(), held.n_pixels.max()))
        self._describe_prior(log_n)
        n_samples = self._n_samples(skies.n_pixels)
        self.features_ = HistogramFeatures.fit(skies.cumulative, n_samples).state
        validation = Dataset(self._inputs(held), self._standard(held_log_n))
        self._fit_net(self._inputs(skies), self._standard(log_n), rng, validation)
        self._calibrate(self._inputs(held), held_log_n)
        if self._is_normal:  # what few skies say of widths is hardly more than chance
            self.widths_ = combine_widths(self.widths_, len(held), np.ones(len(self._log_flux)))
        return self

    def _describe_prior(self, log_n):
        self.prior_mean_, self.prior_sigma_ = log_n.mean(axis=0), np.maximum(log_n.std(axis=0), 1e-3)

    def _standard(self, log_n):
        return ((log_n - self.prior_mean_) / self.prior_sigma_).astype(np.float32)

    def _n_samples(self, n_pixels):
        return n_pixels * min(1.0, _SAMPLES_PER_BEAM / self._tool.pixels_per_beam)

    def _inputs(self, skies):
        features = HistogramFeatures(self.features_).transform(skies.cumulative, self._n_samples(skies.n_pixels))
        sky = sky_inputs(skies.n_pixels / self.n_pixels_, skies.noise / self._tool.noise.value)
        return {"features": features.astype(np.float32), "sky": sky}

    # training on a simulator

    def _fit_simulator(self, simulator, rng):
        own = read_instrument_or_dict(self.instrument)
        check_same_instrument(own, simulator.instrument)
        if isinstance(simulator.counts, CountModel):
            raise ValueError("the simulator gives all skies the same counts: give it a family, as IndependentBins()")
        self._begin(simulator.instrument)
        if self._is_published:
            return self._fit_simulated_cutouts(simulator, rng)
        nodes, skies = self._simulate_skies(simulator, rng)
        if simulator.image == "model":
            log_n = evaluate(simulator.counts.log_flux, nodes, self._log_flux[None])
            held, training = self._split(len(skies), rng)
            return self._fit_skies(skies.take(training), log_n[training], skies.take(held), log_n[held], rng)
        noise_range = self._relative_noise()
        self.noise_range_ = self._tool.noise.value * noise_range
        self.n_pixels_ = float(simulator.n_pixels**2)
        expected = ExpectedSkies(simulator)
        _, cumulative = expected.draw(min(_DESCRIBED, self.n_expected), self.n_pixels_, rng)
        features = HistogramFeatures.fit(moved(cumulative), self._n_samples(self.n_pixels_))
        self.features_ = features.state
        reference = self.n_pixels_, self._n_samples(1)
        sampler = SkySampler(expected, features, None, self._log_flux, reference, noise_range)
        self._describe_prior(sampler.targets(simulator.counts.sample(_PRIOR_DRAWS, rng)))
        sampler.correction = correction = learn_correction(sampler, nodes, skies.cumulative, rng)

        def draw(n):
            inputs, log_n = sampler.draw(n, rng)
            return inputs, self._standard(log_n)

        self._fit_net(FreshSkies(draw, self.n_expected), rng=rng)
        # the network has not seen these skies, but was told how they differ from expected ones: each is changed as if
        # that had been learnt from the others
        again = np.tile(np.arange(len(skies)), _CALIBRATED)
        inputs = sampler.inputs(skies.cumulative[again], skies.n_pixels[again], rng, added=correction.optimism[again])
        self._calibrate(inputs, sampler.targets(nodes[again]))
        if self._is_normal:
            real, self.widths_ = self.widths_, None
            self._calibrate(*sampler.draw(min(_DESCRIBED, self.n_expected), rng))
            self.widths_ = combine_widths(real, len(skies), self.widths_)
        return self

    def _simulate(self, simulator, rng, look):
        """True counts at the nodes of simulated skies, and what ``look`` sees of each image."""
        seeds = rng.integers(2**63, size=self.n_skies)
        found = map_batches(partial(_look_at_sky, simulator, look), seeds, self.n_jobs)
        shown = progress(found, "simulating skies", total=self.n_skies, verbose=self.verbose)
        nodes, seen = zip(*shown, strict=True)
        return np.array(nodes), seen

    def _simulate_skies(self, simulator, rng):
        """True counts at the nodes, and histograms."""
        noise = self._tool.noise.value
        nodes, cumulative = self._simulate(simulator, rng, partial(_histogram, noise))
        n_pixels = np.full(len(nodes), float(simulator.n_pixels**2))
        return nodes, Skies(np.array(cumulative), n_pixels, np.full(len(nodes), noise))

    def _as_images(self, values):
        tool = self._tool
        noise = np.full(len(values), tool.noise.value) * tool.noise.unit
        return RadioImages(values, tool.beam_major, tool.beam_minor, tool.pixel_scale, tool.frequency, noise)

    # the published network

    def _cutouts(self, images):
        shapes = {image.shape for image in images.values}
        if len(shapes) != 1 or (self.shape_ is not None and shapes != {tuple(self.shape_)}):
            wanted = "" if self.shape_ is None else f", those of the training have {tuple(self.shape_)}"
            raise ValueError(f"architecture='regis2022' takes images of one shape; X has {sorted(shapes)}{wanted}")
        self.shape_ = shapes.pop()
        values = np.stack(images.values)
        values = (values - np.nanmedian(values, axis=(1, 2), keepdims=True)) / images.noise.value[:, None, None]
        return np.arcsinh(np.nan_to_num(values, nan=0.0))[:, None].astype(np.float32)

    def _fit_simulated_cutouts(self, simulator, rng):
        if simulator.image != "model":
            self.noise_range_ = self._tool.noise.value * np.array([1 / _NOISE_TOLERANCE, _NOISE_TOLERANCE])
        size = min(_CUTOUT, simulator.n_pixels)
        nodes, cutouts = self._simulate(simulator, rng, partial(_some_squares, size, self.n_cutouts))
        ends = np.cumsum([len(part) for part in cutouts])
        rows = [np.arange(end - len(part), end) for end, part in zip(ends, cutouts, strict=True)]
        inputs = self._cutouts(self._as_images(list(np.concatenate(cutouts))))
        log_n = evaluate(simulator.counts.log_flux, nodes, self._log_flux[None])
        held, training = self._split(len(rows), rng)
        return self._fit_cutouts(inputs, [rows[i] for i in training], log_n[training],
                                 [rows[i] for i in held], log_n[held], rng)

    def _fit_cutouts(self, inputs, rows, log_n, held, held_log_n, rng):
        self.n_pixels_ = float(inputs[0].size)
        self._describe_prior(log_n)
        sizes, held_sizes = ([len(row) for row in part] for part in (rows, held))
        images, seen = np.concatenate(rows), np.concatenate(held)
        target, held_target = np.repeat(log_n, sizes, axis=0), np.repeat(held_log_n, held_sizes, axis=0)
        self._fit_net({"images": inputs[images]}, self._standard(target), rng,
                      Dataset({"images": inputs[seen]}, self._standard(held_target)))
        found = self._forward({"images": inputs[seen]}) * self.prior_sigma_ + self.prior_mean_
        ends = np.cumsum(held_sizes)
        within = [np.arange(end - size, end) for end, size in zip(ends, held_sizes, strict=True)]
        self.spread_ = spread_of_residuals(found - held_target, within)
        return self

    # networks

    def _network(self):
        n_bins = len(self._log_flux)
        if self._is_published:
            return partial(Regis2022Network, n_bins, tuple(self.shape_))
        n_features = HistogramFeatures(self.features_).n_features
        if self._is_normal:
            return partial(HistogramNetwork, n_features, 2, n_bins, n_normal(n_bins))
        return partial(EarthMoverNetwork, n_features, 2, n_bins)

    def _net_options(self):
        options = {"criterion": nn.MSELoss if self._is_published else NormalLoss,
                   "callbacks": [OneCycle(), GradientNormClipping(1.0)], "iterator_train__collate_fn": collate}
        if not (self._is_published or self._is_normal):
            options |= {"criterion": EarthMoverLoss, "criterion__mean": self.prior_mean_,
                        "criterion__scale": self.prior_sigma_, "criterion__log_flux": self._log_flux}
        return options

    def _calibrate(self, inputs, log_n):
        """How far true counts of held-out skies are from what is said of them."""
        mean, covariance = self._normal(inputs)
        residuals = log_n - mean
        if self._is_normal:
            self.widths_ = conformal_widths(residuals, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)))
        else:
            self.spread_ = spread_of_residuals(residuals, [np.array([i]) for i in range(len(residuals))])

    def _normal(self, inputs):
        """Mean (n, n_bins) and covariance (n, n_bins, n_bins) of log10 n, as far as they are known yet."""
        output = self._forward(inputs)
        n_bins, scale = len(self._log_flux), self.prior_sigma_
        if not self._is_normal:
            criterion = EarthMoverLoss(self.prior_mean_, scale, self._log_flux)
            spread = np.zeros((n_bins, n_bins)) if self.spread_ is None else self.spread_.sum(axis=0)
            return criterion.log_n(torch.tensor(output)).numpy().astype(float), np.tile(spread, (len(output), 1, 1))
        mean, covariance = read_normal(output, n_bins)
        stretch = scale if self.widths_ is None else scale * self.widths_
        return mean * scale + self.prior_mean_, covariance * np.outer(stretch, stretch)

    def _posterior(self, images, rows):
        """Mean (n_skies, n_bins) and covariance (n_skies, n_bins, n_bins) of log10 n."""
        if self._is_published:
            found = self._forward({"images": self._cutouts(images)}) * self.prior_sigma_ + self.prior_mean_
            mean = np.array([found[row].mean(axis=0) for row in rows])
            return mean, np.array([self.spread_[0] + self.spread_[1] / len(row) for row in rows])
        skies = Skies.pool(images, rows)
        # the widths of the Earth Mover's network are one number per bin, those of whole skies
        smallest = (SMALLEST_AREA if self._is_normal else 1) * self.n_pixels_
        if (skies.n_pixels < 0.99 * smallest).any():
            warnings.warn(f"X has a sky of {skies.n_pixels.min():.0f} pixels; this was trained for {smallest:.0f} to "
                          f"{self.n_pixels_:.0f}, and its intervals are too narrow", AstropyUserWarning, stacklevel=3)
        return self._normal(self._inputs(skies))


def _look_at_sky(simulator, look, seed):
    rng = make_rng(int(seed))
    (image,) = simulator.sample(1, rng)
    return image.meta["counts"].log_n, look(image.data, rng)


def _histogram(noise, image, rng):
    return cumulative_histogram([image], noise)[0]


def _some_squares(size, n, image, rng):
    return rng.permutation(squares(image, size))[:n]


def describe_instrument(instrument):
    """The parameters of an instrument, as a weight file can hold them."""
    return {field.name: getattr(instrument, field.name) for field in fields(instrument)}


def read_instrument_or_dict(instrument):
    """An `Instrument` from itself, the name of a preset or its parameters."""
    return Instrument(**instrument) if isinstance(instrument, dict) else read_instrument(instrument)


def check_same_instrument(own, other):
    """Refuse a simulator of another instrument."""
    for name in ("frequency", "beam_major", "beam_minor", "pixel_scale", "noise"):
        if not np.isclose(getattr(own, name), getattr(other, name), rtol=1e-3):
            raise ValueError(f"the simulator's instrument has {name}={getattr(other, name)}, that of the regressor "
                             f"{getattr(own, name)}: pass SourceCountRegressor(instrument=simulator.instrument)")
