"""Small scenes of round and long blobs, for tests of everything but the simulator."""

import numpy as np

BANDS = ("H", "V")
CLASSES = ("round", "long")


def blobs(seed, side=96, n=6):
    """Images by band, and labels (3, side, side)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    light = np.zeros((2, side, side))
    for i in range(n):
        centre, angle = rng.uniform(8, side - 8, 2), rng.uniform(0, np.pi)
        along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        across = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
        widths = (2.5, 2.5) if i % 2 == 0 else (6, 1.5)
        light[i % 2] += 30 * np.exp(-0.5 * ((along / widths[0]) ** 2 + (across / widths[1]) ** 2))
    total = light.sum(0)
    labels = np.where(total > 1, light / np.maximum(total, 1e-9), 0)
    labels = np.concatenate([labels, 1 - labels.sum(0, keepdims=True)]).astype(np.float32)
    images = {band: (total * factor + rng.normal(0, 1, total.shape)).astype(np.float32)
              for band, factor in zip(BANDS, (1, 0.7), strict=True)}
    return images, labels
