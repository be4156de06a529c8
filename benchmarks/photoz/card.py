"""The numbers for the regressor's card, taken from the results of the benchmarks.

``python -m benchmarks.photoz.card`` writes ``benchmarks/results/photoz-card.json``, which
`astrolearn.recipes.sdss_mgs_ugriz.ship` puts beside the weights.
"""

import numpy as np

from benchmarks import report
from benchmarks.photoz.peers import PEERS
from benchmarks.photoz.tables import OURS
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_PAGES = ("photoz-sdss", "photoz-speed")
_NAMES = {
    "sigma_MAD": ("sigma_MAD", 5), "bias": ("mean of dz", 5), "outliers": ("share with |dz| > 0.05", 4),
    "R2": ("R²", 3), "CRPS": ("CRPS", 5), "KS": ("KS distance of the PIT", 3),
    "coverage": ("share in intervals of 68 %", 3),
}  # fmt: skip


def write_card(folder=RESULTS):
    """
    Write ``photoz-card.json`` with ``sha256``, ``scores`` and ``baselines``.

    Parameters
    ----------
    folder : Path
        Of the results.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the results belong to different weight files.
    """
    sha256, numbers = read_results(_PAGES, folder)
    table = numbers["photoz-sdss"]
    scores = _scores(table[OURS])
    (name, rates) = next((name, rates) for name, rates in numbers["photoz-speed"].items() if name.endswith("predict"))
    scores[f"galaxies per second ({name.removesuffix(', predict')})"] = f"{np.mean(rates):.0f}"
    baselines = {f"{key} ({name})": value for name in PEERS if name in table for key, value in
                 _scores(table[name]).items()}
    return report.write_card(folder / "photoz-card.json", sha256, scores, baselines)


def _scores(numbers):
    return {name: with_error(*numbers[key], digits) for key, (name, digits) in _NAMES.items() if key in numbers}


if __name__ == "__main__":
    print(write_card())
