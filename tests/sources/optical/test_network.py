"""The network for stars: shapes, size, and how far it sees."""

import numpy as np
import pytest
import torch

from astrolearn.sources.optical.network import HALO, STEP, StarUNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = StarUNet(12)
    for module in network.modules():  # so that no path is shut
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data.fill_(0.5)
    return network.eval()


def test_output_is_at_the_resolution_of_the_image(network):
    with torch.inference_mode():
        assert network(torch.zeros(2, 4, 32, 5 * STEP)).shape == (2, 5, 32, 5 * STEP)


def test_untrained_it_expects_few_stars():
    output = StarUNet(12).eval()(torch.zeros(1, 4, 16, 16))
    assert torch.sigmoid(output[:, :2]).max() < 0.1


def test_the_halo_is_all_that_it_sees(network):
    """A pixel changes the output within HALO, and does so nearly as far."""
    image = torch.randn(1, 4, 256, 256)
    other = image.clone()
    other[0, :, 128, 131] += 50
    with torch.inference_mode():
        changed = (network(image) != network(other)).any(dim=1)[0].numpy()
    rows, columns = np.nonzero(changed)
    reach = max(np.abs(rows - 128).max(), np.abs(columns - 131).max())
    assert HALO // 2 < reach <= HALO


def test_size_of_the_default():
    n_parameters = sum(p.numel() for p in StarUNet().parameters())
    assert 4 * n_parameters < 1.5e6  # bytes
