"""The network of classes: what the order and number of years, and the direction of a cutout, may change; the loss."""

import itertools

import numpy as np
import pytest
import torch

from astrolearn.sources.classes.network import ClassNetwork, PartialLabelLoss, _space

N_ENERGY, N_FEATURES, N_CLASSES = 3, 8, 4


def make(**options):
    torch.manual_seed(0)
    network = ClassNetwork(N_ENERGY, N_FEATURES, N_CLASSES, **{"width": 4} | options)
    return network.eval()


def draw(n=6, n_years=10, seed=0, known=1.0):
    rng = np.random.default_rng(seed)
    batch = {
        "counts": rng.poisson(2.0, (n, n_years, N_ENERGY, 7, 7)),
        "background": rng.uniform(1, 2 * n_years, (n, N_ENERGY, 7, 7)),
        "features": rng.normal(size=(n, N_FEATURES)),
        "years_known": np.full(n, known),
    }
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in batch.items()}


def run(network, batch, **changed):
    with torch.inference_mode():
        return network(**(batch | changed)).numpy()


def swap(counts):
    """Years in another order."""
    return counts[:, torch.randperm(counts.shape[1], generator=torch.Generator().manual_seed(3))]


def test_years_are_ordered_by_counts():
    """Distinct sums of the 3 x 3 pixels in the middle: then the order in which the years came is lost."""
    batch = draw()
    batch["counts"][..., 2:5, 2:5] = 2
    batch["counts"][:, :, 0, 3, 3] = 100 + 7 * torch.arange(10.0)
    network = make()
    years = network._years(batch["counts"], batch["counts"].sum(dim=1))
    middle = years[:, 0, :, 3, 3]
    assert torch.all(middle.diff(dim=1) < 0)
    np.testing.assert_array_equal(run(network, batch, counts=swap(batch["counts"])), run(network, batch))
    network = make(year_order="time")
    assert np.abs(run(network, batch, counts=swap(batch["counts"])) - run(network, batch)).max() > 1e-4


@pytest.mark.parametrize("order", ["counts", "time"])
@pytest.mark.parametrize("n_years", [1, 2, 10, 13])
def test_steady_photons_are_nothing_once_their_mean_is_subtracted(order, n_years):
    same = draw(n_years=1)["counts"].expand(-1, n_years, -1, -1, -1)
    years = make(year_order=order)._years(same, same.sum(dim=1))
    assert years.shape == (6, N_ENERGY, 10, 7, 7)
    assert torch.all(years == 0)
    if n_years > 1:
        assert make(year_order=order, subtract_mean=False)._years(same, same.sum(dim=1)).max() > 0


def test_what_is_common_to_all_years_reaches_them_as_noise_only():
    """A constant leaves the deviations what they are, but for the noise of the mean in whose units they are."""
    counts, constant = draw(seed=1)["counts"], 5.0
    network = make(year_order="time")
    one = network._years(counts, counts.sum(dim=1))
    other = network._years(counts + constant, (counts + constant).sum(dim=1))
    mean = counts.mean(dim=1)
    ratio = torch.sqrt((mean + 1) / (mean + constant + 1))
    inside = one.abs() < 8
    expected = (one * ratio[:, :, None])[inside]
    torch.testing.assert_close(other[inside], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_years", [1, 2, 5, 10, 12])
def test_any_number_of_years(n_years):
    network, batch = make(), draw(n_years=n_years)
    assert run(network, batch).shape == (6, N_CLASSES)
    assert np.all(np.isfinite(run(network, batch)))
    years = network._years(batch["counts"], batch["counts"].sum(dim=1))
    order = batch["counts"][..., 2:5, 2:5].sum(dim=(2, 3, 4)).argsort(dim=1, descending=True, stable=True)
    counts = torch.stack([row[places] for row, places in zip(batch["counts"], order, strict=True)])
    mean = batch["counts"].mean(dim=1, keepdim=True)
    deviation = ((counts - mean) / torch.sqrt(mean + 1)).transpose(1, 2)
    torch.testing.assert_close(years[:, :, 0], deviation[:, :, 0].clamp(-8, 8))
    torch.testing.assert_close(years[:, :, -1], deviation[:, :, -1].clamp(-8, 8))


def test_years_that_are_not_known_do_not_matter():
    """Then photons count by their sum only."""
    network, batch = make(), draw(known=0.0)
    counts = batch["counts"]
    total = counts.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(run(network, batch, counts=total), run(network, batch), atol=1e-5)
    known = torch.ones(6)
    assert np.abs(run(network, batch, years_known=known) - run(network, batch)).max() > 1e-4


@pytest.mark.parametrize(("flip", "turns"), list(itertools.product([False, True], range(4))))
def test_inputs_turn_as_cutouts_do(flip, turns):
    """Both towers see the turned sky, not another one: their first layers' inputs turn with the cutouts."""
    network, batch = make(), draw(seed=2)

    def turned(values):
        return torch.rot90(values.flip(-1) if flip else values, turns, (-2, -1))

    counts, background = batch["counts"], batch["background"]
    torch.testing.assert_close(
        _space(turned(counts.sum(dim=1)), turned(background)), turned(_space(counts.sum(dim=1), background))
    )
    years = network._years(turned(counts), turned(counts).sum(dim=1))
    torch.testing.assert_close(years, turned(network._years(counts, counts.sum(dim=1))))


@pytest.mark.parametrize("part", ["cutouts", "features"])
def test_what_is_left_out_does_not_matter(part):
    network, batch, other = make(**{part: False}), draw(seed=0), draw(seed=5)
    names = ["counts", "background"] if part == "cutouts" else ["features"]
    np.testing.assert_array_equal(run(network, batch, **{name: other[name] for name in names}), run(network, batch))
    assert np.abs(run(make(), batch, **{name: other[name] for name in names}) - run(make(), batch)).max() > 1e-4


# -- loss -------------------------------------------------------------------------------------------------------------
P = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7], [0.25, 0.25, 0.25, 0.25]])


def loss(allowed, weight, logits=None):
    target = torch.tensor(np.column_stack([allowed, weight]), dtype=torch.float32)
    logits = torch.tensor(np.log(P) + 3.0) if logits is None else logits
    return PartialLabelLoss()(logits, target)


def test_loss_by_hand():
    single = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert loss(single, [1, 1, 1]).item() == pytest.approx(-np.log([0.5, 0.7, 0.25]).mean(), rel=1e-6)
    sets = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert loss(sets, [1, 1, 1]).item() == pytest.approx(-np.log([0.7, 0.3, 1.0]).mean(), rel=1e-6)
    expected = -(2 * np.log(0.7) + 0.5 * np.log(0.3)) / 3.5
    assert loss(sets, [2, 0.5, 1]).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_of_the_loss_by_hand():
    """For a set: the probabilities less those within the set, renormalised."""
    logits = torch.tensor(np.log(P), requires_grad=True)
    loss([[1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], [1, 1, 1], logits).backward()
    expected = (P - np.array([[5 / 7, 2 / 7, 0, 0], [0, 0, 0, 1], P[2]])) / 3
    np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-7)
