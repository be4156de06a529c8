"""What every command needs beside its science: weights by name or file, tables and pictures, and what it says."""

import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "PICTURES", "REGIONS", "TABLES", "is_watched", "list_of", "load_weights", "require_matplotlib", "say",
    "write_table",
]  # fmt: skip

TABLES = {".ecsv": "ascii.ecsv", ".fits": "fits"}
REGIONS = {".reg": "ds9", ".crtf": "crtf"}
PICTURES = (".png", ".pdf", ".svg", ".jpg")
# keywords of the FITS standard have eight characters; longer ones cannot hold long values
_FITS_KEYWORDS = {
    "threshold": "THRESHLD", "localizer": "LOCALIZR", "energy_edges": "E_EDGES", "astrolearn": "ASTROLRN",
    "false_alarm_probability": "FALSEALM", "prior_odds": "PRIORODD", "odds_width": "ODDSWDTH",
    "class_weight": "CLASSWT", "classifier": "CLASSIFR", "counterparts": "COUNTERP",
}


def load_weights(estimator, weights, quiet):
    """
    Load an estimator with shipped weights or from a file.

    Parameters
    ----------
    estimator : type
        The estimator's class.
    weights : str or path-like
        Name of weights that come with the package, or a file that ``save`` wrote.
    quiet : bool
        Whether it shall show no progress.

    Returns
    -------
    estimator
    """
    path = Path(weights)
    from_file = path.suffix == ".safetensors" or path.is_file()
    loaded = estimator.load(path) if from_file else estimator.from_pretrained(str(weights))
    return loaded.set_params(verbose=int(is_watched(quiet)))


def write_table(table, path):
    """Write a table as ECSV or FITS, by the suffix of the path."""
    if path.suffix == ".fits":
        table = table.copy(copy_data=False)
        table.meta = {_FITS_KEYWORDS.get(key, key.upper()): value for key, value in table.meta.items()}
    table.write(path, format=TABLES[path.suffix])


def list_of(written):
    """One line that names the files written."""
    return f"Written: {', '.join(map(str, written))}"


def require_matplotlib():
    """Refuse to draw without matplotlib: `ValueError`."""
    if find_spec("matplotlib") is None:
        raise ValueError('pictures need matplotlib: pip install "astrolearn[plot]"')


def is_watched(quiet):
    """Whether to show progress: not if asked to be quiet, nor in a log file."""
    return not quiet and sys.stderr.isatty()


def say(text, quiet):
    """Say what is being done, to someone who watches."""
    if is_watched(quiet):
        print(f"{text} ...", file=sys.stderr)
