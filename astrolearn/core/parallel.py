"""Work in batches over joblib: one process, several, or a cluster, without a change in the caller."""

import os

from joblib import Parallel, delayed

__all__ = ["map_batches"]


def map_batches(function, batches, n_jobs=None):
    """
    Apply a function to batches, in order and as they come.

    Parameters
    ----------
    function : callable
        Called with one batch. With more than one process it must be picklable (a module-level function or a
        `functools.partial` of one).
    batches : iterable
        The batches; a generator is read as the workers ask for more.
    n_jobs : int or None, optional
        Number of processes; -1 is one per core. `None` (default) is one, in this process, unless a
        `joblib.parallel_config` says otherwise: inside ``joblib.parallel_config(backend="dask")`` the batches go to the
        dask cluster.

    Yields
    ------
    result
        ``function(batch)`` of each batch.
    """
    caller = os.getpid()
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    yield from parallel(delayed(_call)(function, batch, caller) for batch in batches)


def _call(function, batch, caller):
    if os.getpid() != caller:
        # Several workers with several threads each would fight for the same cores.
        import torch

        torch.set_num_threads(1)
    return function(batch)
