"""The numbers for the regressor's card, taken from the results of the benchmarks.

``python -m benchmarks.counts.card`` writes ``benchmarks/results/counts-card.json``, which
`astrolearn.recipes.emu_944mhz.ship` puts beside the weights.
"""

from benchmarks import report
from benchmarks.counts.comparison import POOLED
from benchmarks.counts.skies import OURS, PD, SEP
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_FIRST, _STEP = -7.0, 0.5  # log10 of the middles of the bins


def write_card(folder=RESULTS):
    """
    Write ``counts-card.json`` with ``sha256``, ``scores`` and ``baselines``.

    Parameters
    ----------
    folder : Path
        Of the results.

    Returns
    -------
    Path
    """
    sha256, pages = read_results(("counts-emu", "counts-coverage"), folder)
    numbers = pages["counts-emu"]
    scores = _errors(numbers, OURS)
    inside = {"25 deg2": numbers["coverage"][OURS], "1.56 deg2": pages["counts-coverage"]["25 µJy/beam"][POOLED]}
    for name, pairs in inside.items():
        for i, pair in enumerate(pairs):
            bin_name = f"{name}, log S = {_FIRST + i * _STEP:.1f}"
            scores[f"share within one stated standard deviation, {bin_name}"] = with_error(*pair, 2)
    scores["seconds for one sky"] = with_error(*numbers["seconds"][OURS], 2)
    baselines = {f"{key} ({method})": value for method in (PD, SEP) for key, value in _errors(numbers, method).items()}
    return report.write_card(folder / "counts-card.json", sha256, scores, baselines)


def _errors(numbers, method):
    pairs = numbers["rms"][method][POOLED]
    return {f"rms error of log10 n in dex, log S = {_FIRST + i * _STEP:.1f}": with_error(*pair)
            for i, pair in enumerate(pairs) if with_error(*pair) != "-"}


if __name__ == "__main__":
    print(write_card())
