"""Result tables that scikit-learn can split, and files that are written whole or not at all."""

import os
import secrets
from pathlib import Path

import numpy as np
from astropy.table import QTable

__all__ = ["SampleTable", "atomic_write"]


class SampleTable(QTable):
    """
    A `~astropy.table.QTable` whose rows scikit-learn can select.

    scikit-learn's splitters call ``take`` on anything that has ``iloc``, as astropy's tables do, so that
    `~sklearn.model_selection.cross_val_score` and `~sklearn.model_selection.GridSearchCV` fail on a plain table.
    ``SampleTable(table)`` makes any table fit for them.
    """

    def take(self, indices, axis=0):
        """
        Select rows.

        Parameters
        ----------
        indices : array-like of int
            Row numbers.
        axis : int, optional
            Only 0 (rows) is possible.

        Returns
        -------
        table : `SampleTable`
            The rows, in the order of ``indices``.

        Raises
        ------
        ValueError
            If ``axis`` is not 0.
        """
        if axis != 0:
            raise ValueError(f"a table is selected by rows only (axis=0), not along axis={axis}")
        return self[np.asarray(indices, dtype=np.intp)]


def atomic_write(content, path, *, overwrite=False, **kwargs):
    """
    Write a file so that it is complete or absent.

    The content goes to a temporary file in the same folder, which is renamed when it is complete; after a failure or an
    interruption an older file is still there unchanged.

    Parameters
    ----------
    content : `~astropy.table.Table` or callable
        A table, or a function that is called with the path to write to (it has the suffix of ``path``).
    path : path-like
        The file to write.
    overwrite : bool, optional
        Whether an existing file may be replaced. Default: no.
    **kwargs
        Passed to the table's ``write`` or the function.

    Raises
    ------
    FileExistsError
        If ``path`` exists and ``overwrite`` is false.
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If ``path`` is a folder.
    """
    path = Path(os.path.realpath(path))  # an overwritten link stays a link
    _check_target(path, overwrite)
    partial = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    write = content if callable(content) else content.write
    try:
        write(partial, **kwargs)
        _check_target(path, overwrite)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _check_target(path, overwrite):
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; pass overwrite=True to replace it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist")
