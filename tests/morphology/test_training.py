"""The published loss, and windows that show images as they are."""

import numpy as np
import pytest
import torch

from astrolearn.morphology.training import MorpheusLoss, Windows


def published(logits, labels):
    """The loss written out pixel by pixel."""
    n, n_classes, height, width = labels.shape
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    dominant, top = labels.argmax(1), labels.max(1)
    share = [np.mean((dominant == c) * top) for c in range(n_classes)]
    terms = [-(labels[i, :, y, x] * np.log(p[i, :, y, x])).sum() / share[dominant[i, y, x]]
             for i in range(n) for y in range(height) for x in range(width)]
    dice = []
    for image, label in zip(logits, labels, strict=True):
        background = 1 / (1 + np.exp(-image[-1]))
        dice.append(2 * (background * label[-1]).sum() / (background + label[-1]).sum())
    return np.mean(terms) + np.mean(1 - np.array(dice))


def labels_of(shape, seed=0):
    labels = np.random.default_rng(seed).dirichlet([0.3] * shape[1], (shape[0], *shape[2:]))
    return np.moveaxis(labels, -1, 1)


def test_loss_is_that_of_the_paper():
    labels = labels_of((3, 5, 8, 8))
    logits = np.random.default_rng(1).normal(size=labels.shape)
    found = MorpheusLoss()(torch.tensor(logits), torch.tensor(labels))
    assert found.item() == pytest.approx(published(logits, labels), rel=1e-5)


def test_pixels_without_labels_do_not_count():
    labels = labels_of((2, 3, 6, 6))
    labels[:, :, 3:] = 0
    logits = np.random.default_rng(1).normal(size=labels.shape)
    first = MorpheusLoss()(torch.tensor(logits), torch.tensor(labels))
    logits[:, :, 3:] = 50 * np.random.default_rng(2).normal(size=logits[:, :, 3:].shape)
    assert MorpheusLoss()(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(first.item())
    assert np.isfinite(MorpheusLoss()(torch.tensor(logits), torch.zeros(2, 3, 6, 6, dtype=float)).item())


def test_a_rare_class_counts_like_a_frequent_one():
    labels = np.zeros((1, 3, 10, 10))
    labels[0, 2] = 1
    labels[0, :, 0, 0] = 0, 1, 0
    logits = np.zeros(labels.shape)
    losses = []
    for wrong in [(0, 0), (5, 5)]:
        changed = torch.tensor(logits)
        changed[0, 0, *wrong] = 3.0
        losses.append(MorpheusLoss()(changed, torch.tensor(labels)).item())
    base = MorpheusLoss()(torch.tensor(logits), torch.tensor(labels)).item()
    rare, frequent = (loss - base for loss in losses)
    assert rare == pytest.approx(99 * frequent, rel=1e-6)


class Straight:
    """Windows that are never spoilt."""

    @staticmethod
    def of(planes, labels, side, seed=0):
        windows = Windows([(planes, labels)], side, lambda seen, outside: np.where(outside, np.nan, seen),
                          np.random.default_rng(seed))  # fmt: skip
        windows._spoil = lambda inside: None
        return windows


def test_windows_keep_pixels_and_labels_together():
    y, x = np.mgrid[:90, :70].astype(np.float32)
    windows = Straight.of(np.stack([x, y]), np.stack([x, y]), 24)
    angles = []
    for i in range(40):
        planes, labels = windows[i]
        np.testing.assert_array_equal(planes, labels)
        assert np.isfinite(planes).all()  # they fit into the image at any angle
        # a step in the window is a step of about one pixel in the image
        assert np.hypot(*np.diff(planes[:, ::23, 0], axis=1)[:, 0]) == pytest.approx(23, abs=1.5)
        step = planes[:, 23, 0] - planes[:, 0, 0]
        angles.append(np.arctan2(*step))
        across = planes[:, 0, 23] - planes[:, 0, 0]
        assert abs(step @ across) < 23**2 * 0.12
    assert np.ptp(angles) > 5
    turns = [np.sign(np.linalg.det(np.stack([p[:, 23, 0] - p[:, 0, 0], p[:, 0, 23] - p[:, 0, 0]])))
             for p, _ in (windows[i] for i in range(30))]  # fmt: skip
    assert {-1, 1} == set(turns)


def test_windows_larger_than_the_image():
    labels = np.concatenate([np.zeros((1, 20, 20)), np.ones((1, 20, 20))]).astype(np.float32)
    planes, seen = Straight.of(np.ones((3, 20, 20), np.float32), labels, 64)[0]
    inside = np.isfinite(planes[0])
    assert 0.9 * 400 < inside.sum() < 1.1 * 400
    np.testing.assert_array_equal(seen.sum(0), inside)


def test_edges_and_holes():
    planes, labels = np.ones((1, 200, 200), np.float32), np.ones((1, 200, 200), np.float32)
    windows = Windows([(planes, labels)], 64, lambda seen, outside: np.where(outside, 0, seen),
                      np.random.default_rng(0))  # fmt: skip
    share = []
    for i in range(300):
        seen, weight = windows[i]
        np.testing.assert_array_equal(seen, weight)
        share.append(seen.mean())
    share = np.array(share)
    assert 0.2 < (share < 1).mean() < 0.4
    assert share.min() > 0.05


def test_an_epoch_covers_the_area_of_the_images():
    fields = [(np.ones((1, n, n), np.float32), np.ones((1, n, n), np.float32)) for n in (64, 128)]
    windows = Windows(fields, 32, lambda seen, outside: seen, np.random.default_rng(0))
    assert len(windows) == 20
    np.testing.assert_allclose(windows.chance, [0.2, 0.8])
