"""The numbers for a weight file's card, taken from the results of the benchmarks.

``python -m benchmarks.classes.card`` writes ``benchmarks/results/classes-card.json``, which
`astrolearn.recipes.fermi_lat_classes.ship` puts beside the weights. It refuses results that were not all measured on
one and the same file.
"""

from benchmarks import report
from benchmarks.classes.scores import SCORES
from benchmarks.classes.simulated import FINDER, OURS, PROBABLE, TREES
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_PAGES = ("classes-simulated", "classes-diffuse", "classes-elsewhere", "classes-speed")
_WORDS = {"overall": "share of all that is recognised", "balanced": "mean recall of the four classes",
          "bll against fsrq": "share of BL Lacs and FSRQs with the right sub-class"}  # fmt: skip
_WHERE = "simulated ten-year skies"


def write_card(folder=RESULTS):
    """
    Write ``classes-card.json`` with ``sha256``, ``scores`` and ``baselines``.

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
    sha256, pages = read_results(_PAGES, folder)
    numbers = pages["classes-simulated"]
    methods = numbers["faint: left out"]
    scores = _of(methods[OURS])
    scores |= {f"{name}, most probable class": value for name, value in _of(methods[PROBABLE]).items()}
    for convention, text in (("fake", "detections of faint sources taken as fake"),
                             ("real", "detections of faint sources taken as real")):  # fmt: skip
        scores |= {f"{name}, {text}": value for name, value in _of(numbers[f"faint: {convention}"][OURS]).items()}
    scores |= {
        f"mean distance of p_{name} and true share, {_WHERE}": with_error(
            result["distance"], result["distance_error"], 4
        )
        for name, result in numbers["calibration"].items()
    }
    for page, text in (("classes-diffuse", "diffuse emission"), ("classes-elsewhere", "maps")):
        for case, entry in pages[page].items():
            if "loss in points" in entry:
                lost = entry["loss in points"]["balanced"]
                scores[f"points of the mean recall lost, {text}: {case}"] = with_error(*lost, 1)
    for case, result in pages["classes-speed"].items():
        scores[f"seconds and peak memory, {case}"] = f"{result['all']:.1f} s, {result['peak_gb']:.2f} GB"
    baselines = {f"{name} ({method})": value for method in (TREES, FINDER)
                 for name, value in _of(methods[method]).items() if value != "-"}  # fmt: skip
    return report.write_card(folder / "classes-card.json", sha256, scores, baselines)


def _of(result):
    return {f"{_WORDS.get(name, name)}, {_WHERE}": with_error(*result[name]) for name in SCORES}


if __name__ == "__main__":
    print(write_card())
