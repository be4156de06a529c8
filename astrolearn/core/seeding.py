"""Seeded randomness that leaves the global state of numpy and torch alone."""

import numbers
from contextlib import contextmanager

import numpy as np

__all__ = ["make_rng", "seeded_torch", "torch_generator"]


def make_rng(random_state=None):
    """
    Turn a ``random_state`` into a `numpy.random.Generator`.

    Parameters
    ----------
    random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
        A seed; a generator, returned as it is; a legacy generator, from which a seed is drawn; or `None` (default) for
        fresh entropy.

    Returns
    -------
    rng : `numpy.random.Generator`

    Raises
    ------
    ValueError
        If ``random_state`` is anything else.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**32, dtype=np.uint64))
    is_seed = isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool) and random_state >= 0
    if random_state is not None and not is_seed:
        raise ValueError(
            f"random_state={random_state!r} is not a non-negative integer, None, a numpy Generator or a RandomState"
        )
    return np.random.default_rng(random_state)


# torch is imported inside the functions that need it: the sky tools use `make_rng` and have no need of torch.


def torch_generator(random_state=None, device="cpu"):
    """
    Make a seeded `torch.Generator`.

    Parameters
    ----------
    random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
        As for `make_rng`.
    device : str or `torch.device`, optional
        Where the numbers are drawn. Default: the CPU.

    Returns
    -------
    generator : `torch.Generator`
    """
    import torch

    return torch.Generator(device).manual_seed(_draw_seed(random_state))


@contextmanager
def seeded_torch(random_state=None, device="cpu"):
    """
    Context in which torch draws seeded numbers (initial weights, dropout); afterwards its state is as it was before.

    Parameters
    ----------
    random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
        As for `make_rng`.
    device : str or `torch.device`, optional
        A CUDA device to seed beside the CPU.
    """
    import torch

    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    seed = _draw_seed(random_state)
    with torch.random.fork_rng(devices):
        # torch.manual_seed would also seed the devices whose state is not put back.
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _draw_seed(random_state):
    return int(make_rng(random_state).integers(2**63))
