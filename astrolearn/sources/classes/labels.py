"""Classes of sources, and labels that do not name one class but several.

Catalogues do not know every class as well as the next: of an active galaxy it may be open whether it is a BL Lac or
an FSRQ, and of a source without counterpart that it is real is all that is known. Such a label is a set of classes.
It trains a classifier as well as it can, by the probability of the set as a whole, and a prediction agrees with it if
it is in the set.
"""

import numpy as np

__all__ = ["FAINT", "FAKE", "GROUPS", "ClassScheme", "clean_labels"]

FAKE = "fake"
FAINT = "faint"  # neither right nor wrong, see `true_classes`: such detections are not learned from
GROUPS = {"agn": ("bll", "fsrq")}
"""Classes with sub-classes."""

_UNKNOWN = ("unk", "")  # a source, of unknown class
# Designators of the LAT catalogues (Abdollahi et al. 2020, ApJS 247, 33, table 5) that mean one of our classes
_SYNONYMS = {
    "agn": ("bcu", "rdg", "nlsy1", "sey", "css", "ssrq"),
    "psr": ("msp",),
    "pwn_snr": ("pwn", "snr", "spp"),
    "unk": ("nan", "none", "unid", "unidentified", "unassociated"),
}
_MEANING = {other: name for name, others in _SYNONYMS.items() for other in others}


def clean_labels(labels):
    """
    Class names in the form they have here.

    Parameters
    ----------
    labels : array-like of str or bytes, shape (n,)
        Names as catalogues write them: of any case, padded, masked where unknown. Designators of the LAT catalogues
        that mean one of the classes here take its name: bcu and the other kinds of active galaxy are ``"agn"``, msp is
        ``"psr"``, pwn, snr and spp are ``"pwn_snr"``, and what is unassociated is ``"unk"``.

    Returns
    -------
    array of str, shape (n,)

    Raises
    ------
    ValueError
        If they are not text, or not one-dimensional.
    """
    if hasattr(labels, "filled"):
        labels = labels.filled("")
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"classes must be one name per source, not of shape {values.shape}")
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        values = values.astype(str)
    if values.dtype.kind not in "US" and len(values):
        raise ValueError(f"classes must be names such as 'psr', not of type {values.dtype}")
    names = np.char.lower(np.char.strip(values.astype(str))) if len(values) else values.astype(str)
    clean = [_MEANING.get(name, name) for name in names.tolist()]
    return np.array(["unk" if name in _UNKNOWN else name for name in clean], dtype=str)


class ClassScheme:
    """
    The classes of a set of labels, and what each label means.

    Parameters
    ----------
    classes : sequence of str
        Classes that have no sub-classes among them, sorted.
    """

    def __init__(self, classes):
        self.classes = [str(name) for name in classes]

    @classmethod
    def of(cls, labels):
        """
        The scheme of labels as `clean_labels` gives them.

        Raises
        ------
        ValueError
            If there are fewer than two classes.
        """
        present = set(np.unique(labels).tolist()) - {"unk"}
        broad = {name for name, parts in GROUPS.items() if present & set(parts)}
        classes = sorted(present - broad)
        if len(classes) < 2:
            found = ", ".join(classes) or "none"
            raise ValueError(f"there must be two classes at least, but the labels name only {found}")
        return cls(classes)

    @property
    def groups(self):
        """Top-level classes: dict of name to the indices of their classes."""
        part_of = {part: name for name, parts in GROUPS.items() for part in parts}
        groups = {}
        for index, name in enumerate(self.classes):
            groups.setdefault(part_of.get(name, name), []).append(index)
        return groups

    def members(self, labels):
        """
        Which classes each label allows.

        Parameters
        ----------
        labels : array of str, shape (n,)
            As `clean_labels` gives them.

        Returns
        -------
        array of bool, shape (n, n_class)

        Raises
        ------
        ValueError
            If a label is none of the classes.
        """
        names = np.array(self.classes)
        sets = {name: names == name for name in self.classes}
        sets |= {name: np.isin(np.arange(len(names)), parts) for name, parts in self.groups.items()}
        sets["unk"] = names != FAKE
        unknown = sorted(set(np.unique(labels).tolist()) - set(sets))
        if unknown:
            raise ValueError(
                f"unknown class {', '.join(map(repr, unknown))}: the classes are {', '.join(self.classes)}"
            )
        return np.array([sets[label] for label in np.asarray(labels).tolist()], bool).reshape(-1, len(names))

    def top_level(self, labels):
        """Number of each label's group (n,), in the order of ``groups``; -1 where several are possible."""
        allowed = self.group_sums(self.members(labels).astype(int)) > 0
        return np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)

    def group_sums(self, values):
        """Sums over the classes of each group: (n, n_class) to (n, n_group)."""
        return np.stack([values[:, parts].sum(axis=1) for parts in self.groups.values()], axis=1)

    def decide(self, probabilities, weights):
        """
        The class to report: of the group of greatest weighted probability the most probable class.

        Parameters
        ----------
        probabilities : array, shape (n, n_class)
        weights : array, shape (n_group,)

        Returns
        -------
        array of int, shape (n,)
        """
        group = (self.group_sums(probabilities) * weights).argmax(axis=1)
        inside = np.zeros(probabilities.shape, bool)
        for number, parts in enumerate(self.groups.values()):
            inside[:, parts] = (group == number)[:, None]
        return np.where(inside, probabilities, -1.0).argmax(axis=1)
