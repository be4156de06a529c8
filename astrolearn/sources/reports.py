"""What the commands on point sources print: the strongest sources, how many of each class, and how many were found."""

import numpy as np
from astropy.table import QTable

__all__ = ["census", "recovered", "strongest"]


def strongest(catalogue, optical, n=10):
    """
    Text on the most significant sources.

    Parameters
    ----------
    catalogue : `~astropy.table.QTable`
        As of `~astrolearn.PointSourceFinder`; with classes and counterparts, if it has any.
    optical : bool
        Whether the sources are those of an optical image.
    n : int, optional
        Number of sources.

    Returns
    -------
    str
    """
    if len(catalogue) == 0:
        return "No sources found."
    rows = catalogue[np.argsort(-catalogue["significance"])[:n]]
    columns = {"probability": (rows["probability"], ".3f"), "significance": (rows["significance"], ".1f")}
    if optical:
        columns = {"x": (rows["x_centroid"], ".2f"), "y": (rows["y_centroid"], ".2f")} | columns
    else:
        coords = rows["coord"].galactic
        columns = {"l": (coords.l, ".2f"), "b": (coords.b, "+.2f"), "error": (rows["coord_error"], ".3f")} | columns
        columns["photons"] = (rows["counts"].value, ".0f")
    if "flux" in rows.colnames:
        columns["flux"] = (rows["flux"], ".2e")
    if "class" in rows.colnames:
        columns["class"], columns["subclass"] = (rows["class"], None), (rows["subclass"], None)
        columns["p_class"] = ([row[f"p_{row['class']}"] for row in rows], ".3f")
    if "counterpart" in rows.colnames:
        columns["counterpart"] = (rows["counterpart"], None)
    table = QTable({name: values for name, (values, _) in columns.items()})
    for name, (_, form) in columns.items():
        table[name].info.format = form
    plural = "" if len(catalogue) == 1 else "s"
    # where classes are told, some are fake
    head = f"{len(catalogue)} " + (f"detection{plural}" if "class" in rows.colnames else f"source{plural} found")
    head += "; the most significant:" if len(catalogue) > n else ":"
    return "\n".join([head, *table.pformat(max_lines=-1, max_width=-1)])


def census(catalogue):
    """
    One line on how many detections there are of each class.

    Parameters
    ----------
    catalogue : `~astropy.table.QTable`
        With the columns ``class`` and ``subclass``.

    Returns
    -------
    str
        The most frequent first, the fakes last; in brackets subclasses.
    """
    parts = []
    for name, number in _frequencies(catalogue["class"]):
        inner = _frequencies(catalogue["subclass"][catalogue["class"] == name])
        inner = ", ".join(f"{count} {subclass}" for subclass, count in inner if subclass)
        parts.append(f"{number} {name}{f' ({inner})' if inner else ''}")
    return f"of {len(catalogue)} detection{'' if len(catalogue) == 1 else 's'}: {', '.join(parts)}"


def _frequencies(names):
    """Pairs of name and number, by falling number; fakes last."""
    values, numbers = np.unique(np.ma.filled(names, ""), return_counts=True)  # files have masked for empty text
    pairs = zip(values.tolist(), numbers.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[0] == "fake", -pair[1], pair[0]))


def recovered(parts):
    """
    Text on how many simulated sources were found.

    Parameters
    ----------
    parts : dict of str to `~astrolearn.sources.recovery.Recovery`
        For parts of the sky, by name.

    Returns
    -------
    str
    """
    bins = next(iter(parts.values())).by_flux
    unit = 1e-10 * bins["low"].unit
    rows = [["", *(text for name in parts for text in (name, ""))],
            ["flux > 1 GeV", *("purity", "completeness") * len(parts)]]
    for number, (low, high) in enumerate(zip(bins["low"].to_value(unit), bins["high"].to_value(unit), strict=True)):
        rows.append([f"{low:5.3g} - {high:.3g}" if np.isfinite(high) else f"{low:5.3g} -"])
        for part in parts.values():
            row = part.by_flux[number]
            rows[-1] += [_share(row["purity"], row["n_detected"]), _share(row["completeness"], row["n_reference"])]
    rows.append(["all"])
    for part in parts.values():
        rows[-1] += [_share(part.match.purity, len(part.match.catalogue)),
                     _share(part.match.completeness, len(part.match.reference))]
    rows.append(["90 % found from", *(text for part in parts.values()
                                      for text in ("", f"{part.complete_above.to_value(unit):.2f}"))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([
        *lines[:2], rule, *lines[2:-2], rule, *lines[-2:], "",
        "Fluxes are in 1e-10 photons / (cm2 s). Purity: share of the detections that are true, by the flux measured;",
        "completeness: share of the simulated sources that were found, by true flux; in brackets: how many there are.",
    ])


def _share(share, number):
    return f"{share:.3f} ({number})" if number else "-"
