"""The numbers for the segmenter's card, taken from the results of the benchmarks.

``python -m benchmarks.morphology.card`` writes ``benchmarks/results/morphology-card.json``, which
`astrolearn.recipes.hst_simulated.ship` puts beside the weights.
"""

import numpy as np

from astrolearn.morphology.segmenter import CLASSES
from benchmarks import report
from benchmarks.morphology.simulated import MORPHEUS, OURS, SHAPES
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_PAGES = ("morphology-simulated", "morphology-real", "morphology-speed")
_SCORES = ("completeness", "purity", "accuracy", "balanced accuracy", "calibration error")


def write_card(folder=RESULTS):
    """
    Write ``morphology-card.json`` with ``sha256``, ``scores`` and ``baselines``.

    Parameters
    ----------
    folder : Path
        Of the results.

    Returns
    -------
    Path
    """
    sha256, pages = read_results(_PAGES, folder)
    numbers = pages["morphology-simulated"]
    scores = _of_sources(numbers[OURS])
    scores |= {
        f"intersection over union of pixels, {name}, simulated fields": with_error(*pair)
        for name, pair in zip((*CLASSES, "background"), zip(*numbers[OURS]["overlap"], strict=True), strict=True)
    }
    scores["intersection over union of source pixels, simulated fields"] = with_error(
        *numbers[OURS]["overlap of sources"]
    )
    for galaxy, values in pages["morphology-real"].items():
        scores[f"intersection over union with the segments of {galaxy}"] = f"{values[OURS]:.3f}"
    seconds = pages["morphology-speed"]["seconds"]["probabilities"]
    scores["seconds for 1024 x 1024 pixels in four bands"] = f"{np.mean(seconds):.2f}"
    baselines = {f"{name} ({SHAPES})": value for name, value in _of_sources(numbers[SHAPES]).items()}
    for galaxy, values in pages["morphology-real"].items():
        baselines[f"intersection over union with the segments of {galaxy} ({MORPHEUS})"] = f"{values[MORPHEUS]:.3f}"
    return report.write_card(folder / "morphology-card.json", sha256, scores, baselines)


def _of_sources(numbers):
    scores = {f"{score} of sources, simulated fields": with_error(*numbers[score]) for score in _SCORES}
    for kind, text in (("recall", "share recognised"), ("precision", "share of those said to be it that are")):
        for name, pair in zip(CLASSES, zip(*numbers[kind], strict=True), strict=True):
            scores[f"{text}, {name}, simulated fields"] = with_error(*pair)
    return scores


if __name__ == "__main__":
    print(write_card())
