"""Tiles cover an image once, and what is read for them reaches as far as the halo."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from astrolearn.sky.tiling import tiles

sides = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, size=st.integers(1, 50), halo=st.integers(0, 20), step=st.sampled_from([1, 2, 8]))
def test_every_pixel_has_one_tile_and_its_halo(height, width, size, halo, step):
    image = np.arange(1.0, height * width + 1).reshape(height, width)
    answered, seen = np.zeros((height, width), int), np.zeros((height, width))
    for tile in tiles((height, width), size=size, halo=halo, step=step):
        read = np.pad(image[tile.outer], tile.pad)
        assert all(n % step == 0 for n in read.shape)
        answered[tile.inner] += 1
        seen[tile.inner] = read[tile.crop]
        for outer, inner, n in zip(tile.outer, tile.inner, image.shape, strict=True):
            assert outer.start <= max(0, inner.start - halo)
            assert outer.stop >= min(n, inner.stop + halo)
            assert outer.start % step == 0
    assert (answered == 1).all()
    np.testing.assert_array_equal(seen, image)


def test_a_local_function_is_the_same_tile_by_tile():
    image = np.random.default_rng(0).normal(size=(70, 55))
    padded = np.pad(image, [(0, 2), (0, 1)])  # to multiples of 8: zeros, as in tiles
    expected = uniform_filter(padded, 9, mode="constant")[:70, :55]
    found = np.full(image.shape, np.nan)
    for tile in tiles(image.shape, size=16, halo=4, step=8):
        found[tile.inner] = uniform_filter(np.pad(image[tile.outer], tile.pad), 9, mode="constant")[tile.crop]
    np.testing.assert_allclose(found, expected, atol=1e-12)
