"""The network's shape, its reach, its loss and the symmetry of its training data."""

import numpy as np
import pytest
import torch
from toy import toy_image, toy_sky

from astrolearn.sky.lattice import NestedLattice
from astrolearn.sources.features import CHANNELS, extract_features
from astrolearn.sources.network import HALO, OUTPUTS, HeatmapLoss, PyramidUNet, bounded
from astrolearn.sources.observation import observe
from astrolearn.sources.patches import PatchDataset, augment, cut_training_patches, draw_targets

N_CHANNELS = [len(CHANNELS[level]) for level in sorted(CHANNELS)]


def levels(n, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {f"level{i}": torch.randn(n, c, side >> i, side >> i, generator=generator) for i, c in enumerate(N_CHANNELS)}


def make_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PyramidUNet(N_CHANNELS, width=8).eval()


def test_output_is_at_the_finest_level():
    assert make_network()(**levels(2, 32)).shape == (2, len(OUTPUTS), 32, 32)


def test_nothing_beyond_the_halo_matters():
    """What lies farther than HALO pixels outside of a core cannot change it: tiled equals untiled."""
    network, side = make_network(), 64 + 2 * HALO + 64
    whole = levels(1, side)
    core = slice(32 + HALO, 32 + HALO + 64)
    part = {
        f"level{i}": v[..., 32 >> i : (32 + 64 + 2 * HALO) >> i, 32 >> i : (32 + 64 + 2 * HALO) >> i]
        for i, v in enumerate(whole.values())
    }
    with torch.no_grad():
        expected, found = network(**whole)[..., core, core], network(**part)[..., HALO:-HALO, HALO:-HALO]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_halo_is_not_larger_than_it_needs_to_be():
    network = make_network()
    inputs = levels(1, 128)
    with torch.no_grad():
        before = network(**inputs)
        inputs["level0"][..., 64, 64] += 100
        changed = (network(**inputs) - before).abs().amax((0, 1)) > 0
    rows = torch.nonzero(changed.any(1)).ravel()
    reach = max(64 - int(rows.min()), int(rows.max()) - 64)
    assert HALO - 4 <= reach <= HALO


def test_loss_prefers_the_truth():
    target = torch.zeros(1, 6, 32, 32)
    target[:, 5] = 1
    target[:, :2, 16, 16], target[:, 2, 16, 16], target[:, 4, 16, 16] = 1, 0.4, 1
    right = torch.zeros(1, 5, 32, 32)
    right[:, :2] = -10
    right[:, :2, 16, 16], right[:, 2, 16, 16], right[:, 4] = 10, 0.4, -1
    loss = HeatmapLoss()
    best = loss(right, target)
    for channel, value in ((0, -10), (1, -10), (2, -0.4), (3, 0.7), (4, 1.0)):
        wrong = right.clone()
        wrong[:, channel, 16, 16] = value
        assert loss(wrong, target) > best
    beyond = right.clone()
    beyond[..., :8, :] = 3
    assert loss(beyond, target) == best  # the margin does not count
    unseen = target.clone()
    unseen[:, 5, 20, 20] = 0
    wrong = right.clone()
    wrong[:, :2, 20, 20] = 10
    assert loss(wrong, target) > 2 * loss(wrong, unseen)


def test_offset_error_is_maximum_likelihood():
    """The best log-error of offsets scattered with sigma is log(sigma)."""
    rng = torch.Generator().manual_seed(1)
    target = torch.zeros(1, 6, 64, 64)
    target[:, 2:4] = 0.3 * torch.randn(1, 2, 64, 64, generator=rng)
    target[:, 4:] = 1
    output, loss = torch.zeros(1, 5, 64, 64), HeatmapLoss(0)
    values = np.linspace(-2, 0, 201)
    losses = []
    for value in values:
        output[:, 4] = value
        losses.append(float(loss(output, target)))
    assert bounded(values[np.argmin(losses)], np) == pytest.approx(np.log(0.3), abs=0.02)


@pytest.mark.parametrize("make", [toy_sky, toy_image])
def test_targets_point_at_their_sources(make):
    skymap = make(2)
    truth = (skymap.sources if hasattr(skymap, "sources") else skymap.meta["sources"])["coord"]
    lattice = observe(skymap).lattice
    valid = np.ones(lattice.shape, bool)
    source, near, dx, dy, counts, seen = draw_targets(lattice, valid, truth, 2.0).reshape(6, -1)
    assert seen.all() and set(np.unique(source)) == {0, 1}
    assert np.all(near >= source) and near.sum() > 2 * source.sum()
    rows = np.flatnonzero(counts)
    found = lattice.positions(rows, dx[rows].astype(float), dy[rows].astype(float))
    nearest = found.match_to_catalog_sky(truth)[1].rad / lattice.pixel_size
    assert nearest.max() < 0.05
    hit = found.match_to_catalog_sky(truth)[0]
    assert len(np.unique(hit)) > 0.95 * len(truth)


def test_hidden_sources_are_not_asked_for():
    skymap = toy_sky(2)
    lattice = NestedLattice(32)
    valid = np.zeros(lattice.shape, bool)
    assert not draw_targets(lattice, valid, skymap.sources["coord"], 2.0).any()


def training_parts():
    skymap = toy_sky(0)
    observation = observe(skymap)
    features = extract_features(observation)
    targets = draw_targets(observation.lattice, observation.valid, skymap.sources["coord"], 2.0)
    return cut_training_patches(features, targets, observation.valid, np.random.default_rng(0))


def test_every_source_is_trained_on_once():
    parts = training_parts()
    core = parts["target"][:, 0, 16:-16, 16:-16]
    lattice = NestedLattice(32)
    whole = draw_targets(lattice, np.ones(lattice.shape, bool), toy_sky(0).sources["coord"], 2.0)
    assert core.astype(int).sum() == whole[0].astype(int).sum()
    assert not parts["target"][:, 4, :16].any()


def test_augmentation_keeps_offsets_on_their_sources():
    dataset = PatchDataset([training_parts()] * 2)
    assert len(dataset) == 24
    batch = [dataset[i] for i in (0, 5, 20)]
    target = augment(batch)[1]
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        turned_inputs, turned = augment(batch, rng)
        seen.add(turned_inputs["level0"][0, 0, :3].numpy().tobytes())
        on = turned[:, 4] > 0
        y, x = torch.meshgrid(*[torch.arange(target.shape[-1])] * 2, indexing="ij")
        # the set of source positions of a turned patch is the turned set: distances from the middle do not change
        middle = (target.shape[-1] - 1) / 2
        radius = torch.hypot(x + turned[:, 2] - middle, y + turned[:, 3] - middle)[on]
        before = target[:, 4] > 0
        expected = torch.hypot(x + target[:, 2] - middle, y + target[:, 3] - middle)[before]
        np.testing.assert_allclose(np.sort(radius), np.sort(expected), atol=1e-2)
    assert len(seen) == 8
