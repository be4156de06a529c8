"""Work in batches over joblib: one process, several, or a cluster, without a change in the caller."""

import os
import warnings
from itertools import islice

from joblib import Parallel, delayed, effective_n_jobs

__all__ = ["in_batches", "map_batches"]


def in_batches(items, size):
    """
    Lists of so many items, the last one of what is left.

    Parameters
    ----------
    items : iterable
        Read as the lists are asked for.
    size : int
        Items per list.

    Yields
    ------
    batch : list
    """
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def map_batches(function, batches, n_jobs=None, *, ahead=None):
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
    ahead : int, optional
        At most so many results per process are computed before they are asked for, however slow the caller is; for
        results that are large; one or more. The processes wait for each other after so many. Default: no limit.

    Yields
    ------
    result
        ``function(batch)`` of each batch.
    """
    if ahead is not None and ahead < 1:
        raise ValueError(f"ahead={ahead} must be 1 or more")
    caller = os.getpid()
    calls = (delayed(_call)(function, batch, caller) for batch in batches)
    # joblib would keep a copy of every large batch in /dev/shm, which is memory, until the last one is done
    with Parallel(n_jobs=n_jobs, return_as="generator", max_nbytes=None) as parallel:
        parts = [calls] if ahead is None else in_batches(calls, ahead * effective_n_jobs(n_jobs))
        for part in parts:
            yield from _results(parallel(part))


def _results(outputs):
    """Results as they come; a caller who wants no more of them knows that some were computed in vain."""
    try:
        for result in outputs:  # noqa: UP028 (`yield from` would close them before the warning is caught)
            yield result
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*successfully executed.*but not used", UserWarning)
            outputs.close()


def _call(function, batch, caller):
    if os.getpid() != caller:
        # Several workers with several threads each would fight for the same cores.
        import torch

        torch.set_num_threads(1)
    return function(batch)
