"""Progress bars with the time left, on the standard error stream."""

from tqdm import tqdm

__all__ = ["progress"]


def progress(iterable, description, *, total=None, verbose=1):
    """
    Show how far a loop has come and the time left.

    Parameters
    ----------
    iterable : iterable
        What to loop over.
    description : str
        What is being done, shown before the bar.
    total : int, optional
        Number of items, where ``len(iterable)`` does not say. A single one has no bar.
    verbose : int, optional
        With 0 nothing is shown.

    Returns
    -------
    bar : `tqdm.tqdm`
        Yields the items.
    """
    return tqdm(iterable, desc=description, total=total, disable=not verbose or total == 1)
