"""Morpheus, the published network (Hausen & Robertson 2020, ApJS 248, 20), and how its weights are read.

A U-Net on windows of 40 x 40 pixels. Four things in it are not what PyTorch does by itself, and each is worth more than
1 in a logit: the batch normalisation comes before a convolution and not after it, on its input; its epsilon is 0.001;
upsampling is bicubic with the corners aligned; and what comes from below stands before what comes across. The dropout
that its configuration names never acted, in training or after (it was built without the switch that turns it on), so
there is none here.
"""

import zipfile
import zlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional

__all__ = ["MARGIN", "WINDOW", "Morpheus", "read_variables", "standardised"]

WINDOW = 40  # pixels, side of what the network sees
MARGIN = 5  # pixels at the border of a window that say nothing
_DOWN, _MIDDLE, _UP = (8, 16, 32), 16, (8, 16, 32)  # features of each level; those of the way up grow, as published
_N_DOWN, _N_UP = 4, 2  # convolutions of each level
_EPSILON = 1e-3  # of TensorFlow's batch normalisation


class _Step(nn.Sequential):
    """Batch normalisation of the input, convolution, ReLU."""

    def __init__(self, n_in, n_out):
        super().__init__(nn.BatchNorm2d(n_in, eps=_EPSILON, momentum=0.01), nn.Conv2d(n_in, n_out, 3, padding=1),
                         nn.ReLU())


def _steps(n_in, n_out, n):
    return nn.Sequential(*(_Step(n_in if i == 0 else n_out, n_out) for i in range(n)))


class Morpheus(nn.Module):
    """
    The published network.

    Parameters
    ----------
    n_bands : int, optional
        Default: 4.
    n_classes : int, optional
        Default: 5, the background included.
    """

    def __init__(self, n_bands=4, n_classes=5):
        super().__init__()
        self.down = nn.ModuleList(
            _steps(n_in, n_out, _N_DOWN) for n_in, n_out in zip((n_bands, *_DOWN[:-1]), _DOWN, strict=True)
        )
        self.middle = _Step(_DOWN[-1], _MIDDLE)
        below = (_MIDDLE, *_UP[:-1])
        self.up = nn.ModuleList(
            _steps(n_below + n_across, n_out, _N_UP)
            for n_below, n_across, n_out in zip(below, reversed(_DOWN), _UP, strict=True)
        )
        self.head = nn.Conv2d(_UP[-1], n_classes, 3, padding=1)

    def forward(self, windows):
        """
        Logits of the classes.

        Parameters
        ----------
        windows : torch.Tensor
            (n, n_bands, h, w), standardised; sides are multiples of 8.

        Returns
        -------
        torch.Tensor
            (n, n_classes, h, w)
        """
        across = []
        for level in self.down:
            windows = level(windows)
            across.append(windows)
            windows = functional.max_pool2d(windows, 2)
        windows = self.middle(windows)
        for level, other in zip(self.up, reversed(across), strict=True):
            windows = functional.interpolate(windows, scale_factor=2, mode="bicubic", align_corners=True)
            windows = level(torch.cat([windows, other], 1))
        return self.head(windows)


def standardised(windows):
    """
    Windows with mean 0 and standard deviation 1 over all bands together, as published; their colours are kept.

    Parameters
    ----------
    windows : `numpy.ndarray`, float32 (..., n_bands, h, w)
        NaN where not observed.

    Returns
    -------
    `numpy.ndarray`, float32, of the same shape
        NaN takes no part in mean and standard deviation, and is 0 here. A standard deviation below 1 / sqrt(n_bands h
        w) counts as that, as TensorFlow has it.
    """
    axes = (-3, -2, -1)
    seen = ~np.isnan(windows)
    n_seen = np.maximum(seen.sum(axes, keepdims=True), 1)
    mean = np.where(seen, windows, 0).sum(axes, keepdims=True, dtype=np.float64) / n_seen
    difference = np.where(seen, windows - mean.astype(np.float32), 0)
    sigma = np.sqrt(np.square(difference).sum(axes, keepdims=True, dtype=np.float64) / n_seen)
    sigma = np.maximum(sigma, np.prod(windows.shape[-3:]) ** -0.5)
    return (difference / sigma).astype(np.float32)


def read_variables(path):
    """
    Read the published weights.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with the variables of the TensorFlow checkpoint under their names.

    Returns
    -------
    state : dict of str to torch.Tensor
        What `Morpheus` takes with ``load_state_dict``.

    Raises
    ------
    OSError
        If it is not an ``.npz`` file.
    ValueError
        If variables are missing, unknown or of another shape.
    """
    try:
        # numpy leaves a damaged file open that it has opened by itself
        with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
            variables = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:  # TypeError: an .npy file
        raise OSError(f"{path} is not a readable .npz file ({error})") from error
    wanted = dict(_names())
    missing, unknown = wanted.keys() - variables.keys(), variables.keys() - wanted.keys()
    if missing or unknown:
        what, names = ("lacks", missing) if missing else ("has the unknown", unknown)
        raise ValueError(f"{path} {what} variable(s) {', '.join(sorted(names)[:3])} ...: not the weights of Morpheus")
    state = Morpheus().state_dict()
    for name, values in variables.items():
        key = wanted[name]
        # TensorFlow has height, width, in, out; PyTorch out, in, height, width
        values = np.transpose(values, (3, 2, 0, 1)) if values.ndim == 4 else values
        if values.shape != tuple(state[key].shape):
            raise ValueError(f"{path}: {name} has the shape {variables[name].shape}, which is not that of Morpheus")
        state[key] = torch.tensor(values, dtype=torch.float32)
    return state


def _names():
    """Pairs of the name of a variable, and of ours."""
    steps = [(f"downconv-{i}/conv-{j}", f"down.{i}.{j}") for i in range(len(_DOWN)) for j in range(_N_DOWN)]
    steps += [("intermediate-conv", "middle")]
    steps += [(f"upconv-{i}/conv-{j}", f"up.{i}.{j}") for i in range(len(_UP)) for j in range(_N_UP)]
    normalisation = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for theirs, ours in steps:
        yield from ((f"{theirs}/batch_normalization/{a}", f"{ours}.0.{b}") for a, b in normalisation.items())
        yield from ((f"{theirs}/conv/{a}", f"{ours}.1.{b}") for a, b in (("kernel", "weight"), ("bias", "bias")))
    yield from ((f"final_conv/conv/{a}", f"head.{b}") for a, b in (("kernel", "weight"), ("bias", "bias")))
