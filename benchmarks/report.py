"""What a benchmark leaves behind: a page of the documentation, its figures, and the same numbers for machines."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from cycler import cycler

__all__ = ["RESULTS", "ROOT", "Report", "read_results", "with_error", "write_card"]

ROOT = Path(__file__).parent.parent
_PAGES, _FIGURES, RESULTS = (
    ROOT / "docs" / "benchmarks",
    ROOT / "docs" / "_static" / "benchmarks",
    ROOT / "benchmarks" / "results",
)

# Okabe and Ito's colours, which the colour-blind can tell apart, and lines that differ in print
matplotlib.rcParams["axes.prop_cycle"] = cycler(
    color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
    linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 3))],
)


def _escape(text):
    """A bar would begin a substitution."""
    return str(text).replace("|", r"\|")


def with_error(value, error, digits=3):
    """``0.531 ± 0.012``; a dash where there is no value."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else "")


@dataclass
class Report:
    """
    Results of one benchmark.

    Attributes
    ----------
    name, title : str
        Name of the page's file, and its heading.
    measured : str
        What was measured, on how many maps of which seeds: the first line of the page.
    numbers : dict
        Everything measured, for machines.
    of_weights : bool
        Whether the shipped weights take part, which the page then names.
    """

    name: str
    title: str
    measured: str
    numbers: dict = field(default_factory=dict)
    of_weights: bool = True
    _parts: list = field(default_factory=list)
    _figures: dict = field(default_factory=dict)

    def text(self, paragraph):
        """Add a paragraph of RST."""
        self._parts.append(_escape(paragraph.strip()))

    def table(self, caption, header, rows):
        """Add a table of strings."""
        lines = [f".. list-table:: {_escape(caption)}", "   :header-rows: 1", ""]
        for row in [header, *rows]:
            cells = [_escape(cell) for cell in row]
            lines += [("   * - " if i == 0 else "     - ") + cell for i, cell in enumerate(cells)]
        self._parts.append("\n".join(line.rstrip() for line in lines))

    def figure(self, name, figure, caption):
        """Add a matplotlib figure."""
        self._figures[name] = figure
        lines = [
            f".. figure:: /_static/benchmarks/{name}.png",
            "   :width: 90%",
            f"   :alt: {caption}",
            "",
            f"   {caption}",
        ]
        self._parts.append(_escape("\n".join(lines)))

    def write(self, weights):
        """
        Write page, figures and numbers.

        Parameters
        ----------
        weights : dict
            ``name`` and ``sha256`` of the weights that were measured.
        """
        for folder in (_PAGES, _FIGURES, RESULTS):
            folder.mkdir(parents=True, exist_ok=True)
        header = f"*{self.measured}*"
        if self.of_weights:
            header = f"*{self.measured} Weights: {weights['name']}, SHA-256* ``{weights['sha256'][:12]}``."
        title = [f".. _benchmark-{self.name}:", "", self.title, "=" * len(self.title)]
        (_PAGES / f"{self.name}.rst").write_text("\n\n".join(["\n".join(title), header, *self._parts]) + "\n")
        for name, figure in self._figures.items():
            figure.savefig(_FIGURES / f"{name}.png", dpi=110, bbox_inches="tight")
        content = {"benchmark": self.name, "measured": self.measured, "weights": weights, "numbers": self.numbers}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(content, indent=1, default=_plain) + "\n")


def read_results(pages, folder):
    """
    The numbers of several benchmarks that measured one and the same weight file.

    Parameters
    ----------
    pages : sequence of str
        Names of the benchmarks.
    folder : Path
        Of the results.

    Returns
    -------
    sha256 : str
        Of the weight file.
    numbers : dict of str to dict

    Raises
    ------
    ValueError
        If the results belong to different weight files.
    """
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in pages}
    files = {r["weights"]["sha256"] for r in results.values()}
    if len(files) > 1:
        raise ValueError(f"{folder} holds results of {len(files)} weight files: run all benchmarks again")
    return files.pop(), {name: r["numbers"] for name, r in results.items()}


def write_card(path, sha256, scores, baselines):
    """Write what `astrolearn.core.weights.ship_measured` puts beside the weights."""
    path.write_text(json.dumps({"sha256": sha256, "scores": scores, "baselines": baselines}, indent=1) + "\n")
    return path


def _plain(value):
    """Numpy scalars and arrays as JSON knows them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
