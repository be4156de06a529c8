"""
Weight files: a fitted estimator in one safetensors file, and the ones that come with the package.

A file holds named arrays (the network's weights and fitted arrays) and one metadata text, ``astrolearn``: a JSON object
with the format number, the package version, the class, the hyper-parameters, the fitted values and a SHA-256 over all
of these and the arrays. Reading it parses numbers and text and nothing else, so a file from anywhere is safe to open.

A shipped file ``<name>-<number>.safetensors`` has a card beside it, ``<name>-<number>.json``, that says how it was
trained and what it scored.
"""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from astrolearn import __version__
from astrolearn.core.tables import atomic_write

__all__ = [
    "find_pretrained",
    "list_pretrained",
    "load_estimator",
    "read_card",
    "release",
    "save_estimator",
    "ship_measured",
]

_FORMAT = 1
_KEY = "astrolearn"
_FOLDER = Path(str(files("astrolearn"))) / "weights"
_CARD_KEYS = {
    "name",
    "number",
    "estimator",
    "recipe",
    "seed",
    "data",
    "git_revision",
    "trained_on",
    "scores",
    "baselines",
    "sha256",
}


def save_estimator(path, class_name, parameters, state, weights, *, overwrite=False):
    """
    Write a fitted estimator to one safetensors file.

    Parameters
    ----------
    path : path-like
        The file to write.
    class_name : str
        The estimator's class.
    parameters, state : dict
        Hyper-parameters and fitted attributes: numbers, text, `None`, arrays, `~astropy.units.Quantity`, and lists,
        tuples and dicts of these.
    weights : dict of str to `numpy.ndarray`
        The network's weights.
    overwrite : bool, optional
        Whether an existing file may be replaced. Default: no.

    Raises
    ------
    TypeError
        If a parameter or fitted attribute is of a kind that a weight file cannot hold.
    FileExistsError
        If ``path`` exists and ``overwrite`` is false.
    """
    arrays = {f"network/{name}": _plain_array(values) for name, values in weights.items()}
    content = {
        "format": _FORMAT,
        "version": __version__,
        "class": class_name,
        "parameters": _encode(parameters, "parameters", arrays),
        "state": _encode(state, "state", arrays),
    }
    content["sha256"] = _digest(content, arrays)
    atomic_write(
        lambda partial: save_file(arrays, partial, metadata={_KEY: _to_json(content)}), path, overwrite=overwrite
    )


def load_estimator(path, class_name):
    """
    Read what `save_estimator` wrote, after checking that it is whole and of the right class.

    Parameters
    ----------
    path : path-like
        The file to read.
    class_name : str
        The class that the file must hold.

    Returns
    -------
    parameters, state : dict
        Hyper-parameters and fitted attributes.
    weights : dict of str to `numpy.ndarray`
        The network's weights.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, truncated, not a weight file of this package, of another class, or written by a newer
        version in a format that this one does not know.
    """
    path = Path(path)
    content, arrays = _read(path)
    if content.get("format") != _FORMAT:
        raise ValueError(f"{path} has format {content.get('format')}, which astrolearn {__version__} cannot read")
    if content.get("class") != class_name:
        raise ValueError(f"{path} holds a {content.get('class')}, not a {class_name}")
    prefix = "network/"
    weights = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    try:
        parameters = dict(_decode(content["parameters"], arrays))
        state = dict(_decode(content["state"], arrays))
        return parameters, state, weights
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file that astrolearn wrote ({error})") from error


def find_pretrained(name, folder=_FOLDER):
    """
    Find a shipped weight file.

    Parameters
    ----------
    name : str
        ``"<name>"`` for the newest weights of that name, or ``"<name>-<number>"``.
    folder : path-like, optional
        Where to look. Default: the weights that come with the package.

    Returns
    -------
    path : `pathlib.Path`

    Raises
    ------
    ValueError
        If there are no such weights; the message lists those there are.
    """
    cards = _cards(folder)
    for card in reversed(cards):
        if name in (card["name"], f"{card['name']}-{card['number']}"):
            return Path(folder) / f"{card['name']}-{card['number']}.safetensors"
    available = ", ".join(f"{card['name']}-{card['number']}" for card in cards) or "none"
    raise ValueError(f"there are no pretrained weights {name!r}; available: {available}")


def list_pretrained(folder=_FOLDER):
    """
    List the weights that come with the package.

    Parameters
    ----------
    folder : path-like, optional
        Where to look. Default: the weights that come with the package.

    Returns
    -------
    table : `~astropy.table.QTable`
        One row per weight file: ``name`` (for ``from_pretrained``), ``estimator``, ``trained_on``, and ``scores`` and
        ``baselines``, the scores measured on held-out data as text, of the estimator and of what it was compared with.
    """
    cards = _cards(folder)
    columns = {
        "name": [f"{card['name']}-{card['number']}" for card in cards],
        "estimator": [card["estimator"] for card in cards],
        "trained_on": [card["trained_on"] for card in cards],
        "scores": [_flat_text(card["scores"]) for card in cards],
        "baselines": [_flat_text(card["baselines"]) for card in cards],
    }
    return QTable(columns, dtype=[str] * len(columns))


def read_card(path):
    """
    Read the card of a weight file.

    Parameters
    ----------
    path : path-like
        The card, or the weight file that it belongs to.

    Returns
    -------
    card : dict
        With the keys name, number, estimator, recipe, seed, data, git_revision, trained_on, scores, baselines, sha256.

    Raises
    ------
    ValueError
        If it is not a card: not JSON, or a key is missing or unknown.
    """
    path = Path(path).with_suffix(".json")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a weight file's card: {error}") from error
    if not isinstance(card, dict) or card.keys() != _CARD_KEYS:
        raise ValueError(f"{path} is not a weight file's card; it must have the keys {', '.join(sorted(_CARD_KEYS))}")
    return card


def release(estimator, name, number, *, folder=_FOLDER, **card):
    """
    Write a fitted estimator and its card, as weights to ship.

    Parameters
    ----------
    estimator : estimator with ``save``
        The fitted estimator.
    name, number : str, int
        The files are ``<name>-<number>.safetensors`` and ``<name>-<number>.json``; a number is never used again.
    folder : path-like, optional
        Where to write. Default: the weights that come with the package.
    **card
        The card's other entries: ``recipe`` (the module that trained it), ``seed``, ``data``, ``git_revision``,
        ``trained_on`` (one line), and ``scores`` and ``baselines`` (measured, by name).

    Returns
    -------
    path : `pathlib.Path`
        The weight file.

    Raises
    ------
    ValueError
        If an entry of the card is missing or unknown, or the name is not of lower-case words joined by hyphens.
    FileExistsError
        If there are weights of this name and number already.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"name={name!r} must be of lower-case words and numbers joined by hyphens")
    card |= {"name": name, "number": int(number), "estimator": type(estimator).__name__}
    wrong = (card.keys() | {"sha256"}) ^ _CARD_KEYS
    if wrong:
        raise ValueError(f"missing or unknown entries of the card: {', '.join(sorted(wrong))}")
    path = Path(folder) / f"{name}-{card['number']}.safetensors"
    estimator.save(path)
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps({key: card[key] for key in sorted(card)}, indent=2) + "\n"
    atomic_write(lambda partial: partial.write_text(text, encoding="utf-8"), path.with_suffix(".json"))
    return path


def ship_measured(estimator, weights, name, number, results, *, folder=_FOLDER, **card):
    """
    Put a trained estimator among the weights that come with the package, with a card of what was measured on its file.

    Parameters
    ----------
    estimator : type
        The class of the estimator.
    weights : path-like
        File that ``save`` wrote.
    name, number
        See `release`.
    results : path-like
        JSON file with the ``sha256`` of the file that was measured, ``scores`` and ``baselines``.
    folder, **card
        See `release`.

    Returns
    -------
    path : `pathlib.Path`
        The shipped file.

    Raises
    ------
    ValueError
        If the results were measured on another file.
    """
    measured = json.loads(Path(results).read_text())
    if hashlib.sha256(Path(weights).read_bytes()).hexdigest() != measured["sha256"]:
        raise ValueError(f"{results} was not measured on {weights}: run the benchmarks on it")
    card |= {"scores": measured["scores"], "baselines": measured["baselines"]}
    path = release(estimator.load(weights), name, number, folder=folder, **card)
    if hashlib.sha256(path.read_bytes()).hexdigest() != measured["sha256"]:
        # written by another version of the package, say: what nobody measured is not left among the weights
        path.unlink()
        path.with_suffix(".json").unlink()
        raise ValueError(f"{weights} does not come out as the file that was measured when it is saved again")
    return path


def _cards(folder):
    """The cards in a folder, by name and number."""
    cards = [read_card(path) for path in Path(folder).glob("*.json")]
    return sorted(cards, key=lambda card: (card["name"], card["number"]))


def _flat_text(scores):
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in scores.items()
    )


def _read(path):
    """The metadata and arrays of a weight file, whose checksum is right."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY, "null")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        content = json.loads(text)
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole weight file, but damaged, truncated or foreign ({error})") from error
    if not isinstance(content, dict) or "sha256" not in content:
        raise ValueError(f"{path} is a safetensors file, but not one that astrolearn wrote")
    sha256 = content.pop("sha256")
    if sha256 != _digest(content, arrays):
        raise ValueError(f"{path} is damaged: its contents do not match its SHA-256")
    return content, arrays


def _digest(content, arrays):
    """SHA-256 over the metadata and the arrays, in an order that does not depend on how they were stored."""
    digest = hashlib.sha256(_to_json(content).encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _to_json(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _plain_array(values):
    """A C-contiguous little-endian array: safetensors writes the memory as it lies."""
    values = np.asarray(values)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).reshape(values.shape)


def _encode(value, key, arrays):
    """A value as JSON; what JSON has no type for is a tagged dict, and numerical arrays go to ``arrays``."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"scalar": value.item(), "dtype": value.dtype.str}  # numpy's and Python's numbers promote differently
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, u.Quantity):
        return {"quantity": _encode(value.value, key, arrays), "unit": value.unit.to_string()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return {"strings": value.tolist()}
    if isinstance(value, np.ndarray) and value.dtype == object and all(isinstance(item, str) for item in value.flat):
        return {"strings": value.tolist(), "dtype": "object"}  # as scikit-learn has the names of a data frame's columns
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays[key] = _plain_array(value)
        return {"array": key}
    if isinstance(value, tuple):
        return {"tuple": _encode(list(value), key, arrays)}
    if isinstance(value, list):
        return [_encode(item, f"{key}/{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _encode(item, f"{key}/{name}", arrays) for name, item in value.items()}}
    raise TypeError(f"{key.replace('/', '.')} is of type {type(value).__name__}, which a weight file cannot hold")


def _decode(value, arrays):
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "quantity" in value:
        return u.Quantity(_decode(value["quantity"], arrays), value["unit"], dtype=None)
    if "scalar" in value:
        return np.dtype(value["dtype"]).type(value["scalar"])
    if "strings" in value:
        return np.array(value["strings"], dtype=value.get("dtype", str))
    if "array" in value:
        return arrays[value["array"]]
    if "tuple" in value:
        return tuple(_decode(value["tuple"], arrays))
    return {name: _decode(item, arrays) for name, item in value["dict"].items()}
