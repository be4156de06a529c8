"""The default network answers for images of any size, and a tile is answered like the whole."""

import numpy as np
import pytest
import torch

from astrolearn.morphology.network import HALO, STEP, SegmentationUNet, channels


def test_nothing_beyond_the_halo_has_influence():
    torch.manual_seed(0)
    network = SegmentationUNet(1, 2, width=8).eval()
    side = 2 * (HALO + STEP)
    image = torch.randn(1, 2, side, side, requires_grad=True)
    reach = 0
    for y in range(side // 2, side // 2 + STEP, 3):
        image.grad = None
        network(image)[0, :, y].sum().backward()
        rows = torch.nonzero(image.grad.abs().sum((0, 1, 3)))[:, 0]
        reach = max(reach, y - rows.min().item(), rows.max().item() - y)
    assert HALO - STEP < reach <= HALO


def test_channels():
    light = np.array([[[0.0, 10.0, np.nan]], [[0.0, -1e6, 3.0]]], np.float32)
    found = channels(light, np.array([2.0, 0.5], np.float32).reshape(2, 1, 1))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[2], [[1, 1, 0]])
    np.testing.assert_allclose(found[0], [[0, np.arcsinh(5), 0]], rtol=1e-6)
    np.testing.assert_allclose(found[1], [[0, -np.arcsinh(2e6), 0]], rtol=1e-6)


def test_shapes():
    network = SegmentationUNet(3, 4, width=4).eval()
    assert network(torch.zeros(2, 4, 32, 48)).shape == (2, 4, 32, 48)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, 32, 48))
