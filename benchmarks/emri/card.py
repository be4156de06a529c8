"""The numbers for the detector's card, taken from the results of the benchmarks.

``python -m benchmarks.emri.card`` writes ``benchmarks/results/emri-card.json``, which
`astrolearn.recipes.tianqin_3month.ship` puts beside the weights.
"""

import numpy as np

from benchmarks import report
from benchmarks.emri.context import NAMES, TRACKS
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_PAGES = ("emri-detection", "emri-groups", "emri-calibration", "emri-other-series", "emri-curves", "emri-speed")


def write_card(folder=RESULTS):
    """
    Write ``emri-card.json`` with ``sha256``, ``scores`` and ``baselines``.

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
    scores, baselines = _true_alarms(numbers, TRACKS), {}
    for wanted, (share, error) in numbers["emri-detection"]["false alarms"].items():
        scores[f"false alarms on fresh noise where {wanted} was asked for"] = f"{share:.4f} (spread {error:.4f})"
    for kind, cells in numbers["emri-other-series"].items():
        scores[f"false alarms where 0.01 was asked for, {kind}"] = with_error(*cells[-1])
    scores["seconds for one series on two cores"] = f"{np.mean(numbers['emri-speed'][f'detection {TRACKS}']):.3f}"
    for method in NAMES:
        if method != TRACKS:
            baselines |= {f"{name} ({NAMES[method]})": value for name, value in _true_alarms(numbers, method).items()}
    return report.write_card(folder / "emri-card.json", sha256, scores, baselines)


def _true_alarms(numbers, method):
    out = {}
    for part, methods in numbers["emri-detection"]["true alarms"].items():
        for snr, cell in methods[method].items():
            out[f"true-alarm probability at false-alarm probability 1 %, SNR {snr}, {part}"] = with_error(*cell)
    for group, methods in numbers["emri-groups"]["true alarms"].items():
        out[f"true-alarm probability at false-alarm probability 1 %, {group}"] = with_error(*methods[method])
    return out


if __name__ == "__main__":
    print(write_card())
