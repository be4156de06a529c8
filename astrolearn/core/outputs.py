"""Files that a command writes: refused before its work begins if they could not be written, and written all or none."""

import os
from pathlib import Path

from astrolearn.core.tables import atomic_write

__all__ = ["check_outputs", "write_outputs"]


def check_outputs(outputs, *, overwrite=False, inputs=()):
    """
    Refuse files that could not be written in the end.

    Parameters
    ----------
    outputs : list of tuple
        Pairs of the path to write, None for a file that is not wanted, and the suffixes that it may have.
    overwrite : bool, optional
        Whether existing files may be replaced.
    inputs : iterable of path-like or None, optional
        Files that are read, and so must exist and may not be written.

    Raises
    ------
    OSError
        If an input does not exist, an output exists already, is a folder, or its folder does not exist or may not be
        written to.
    ValueError
        If a suffix is none of those, or a path occurs twice.
    """
    taken = {}
    for path in inputs:
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file")
        if path is not None:
            taken[os.path.realpath(path)] = "is read, too"
    for path, suffixes in outputs:
        if path is None:
            continue
        path = Path(path)
        folder = path.absolute().parent
        if path.suffix not in suffixes:
            raise ValueError(f"{path}: the name of this file must end in {' or '.join(suffixes)}")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, not a file to write")
        if os.path.realpath(path) in taken:
            raise ValueError(f"{path}: this file {taken[os.path.realpath(path)]}")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists already; use --overwrite (overwrite=True) to replace it")
        if not folder.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {folder}")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{path}: no permission to write to the folder {folder}")
        taken[os.path.realpath(path)] = "is to be written twice"


def write_outputs(outputs, *, overwrite=False):
    """
    Write files: each is complete or absent, and none is put in its place before all are complete.

    Parameters
    ----------
    outputs : list of tuple
        Pairs of the path to write, None for a file that is not wanted, and a function that is called with the path of a
        temporary file to write to, which has the same suffix.
    overwrite : bool, optional
        Whether existing files may be replaced.

    Returns
    -------
    list of `pathlib.Path`
        The files written.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    wanted = [(Path(path), write) for path, write in outputs if path is not None]
    if not wanted:
        return []
    (path, write), *others = wanted

    def content(partial):
        write(partial)
        write_outputs(others, overwrite=overwrite)

    atomic_write(content, path, overwrite=overwrite)
    return [path for path, _ in wanted]
