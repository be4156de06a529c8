"""The numbers for the card of ``optical-stars``, taken from the results of the benchmarks.

``python -m benchmarks.optical.card`` writes ``benchmarks/results/optical-card.json``, which
`astrolearn.recipes.optical_stars.ship` puts beside the weights.
"""

from benchmarks import report
from benchmarks.optical.peers import OURS
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_PAGES = ("optical-stars", "optical-elsewhere", "optical-calibration", "optical-speed")


def write_card(folder=RESULTS):
    """
    Write ``optical-card.json`` with ``sha256``, ``scores`` and ``baselines``.

    Parameters
    ----------
    folder : Path
        Of the results.

    Returns
    -------
    Path
    """
    sha256, pages = read_results(_PAGES, folder)
    scores = _f1(pages, OURS)
    for kind, numbers in pages["optical-calibration"].items():
        scores[f"positions within one stated standard deviation, {kind}"] = f"{numbers['coverage'][0]:.3f}"
    own = pages["optical-speed"][f"{OURS}, 1 threads"]
    cost = f"{own['processor_seconds']:.1f} s, {own['peak_gb']:.2f} GB"
    scores["processor seconds and peak memory, 4096 x 4096"] = cost
    baselines = {f"{name} (sep)": value for name, value in _f1(pages, "sep").items()}
    return report.write_card(folder / "optical-card.json", sha256, scores, baselines)


def _f1(pages, finder):
    """F1 in all fields, and false detections and rms of centroids where they were asked for."""
    out = {}
    for page in ("optical-stars", "optical-elsewhere"):
        for kind, numbers in pages[page].items():
            if kind != "settings" and finder in numbers:
                out[f"F1, {kind}"] = with_error(*numbers[finder]["f1"])
                if "artefacts" in kind:
                    out[f"false detections per field, {kind}"] = with_error(*numbers[finder]["n_false"], 0)
                if kind.startswith("uniform"):
                    out[f"rms of bright centroids per axis in pixels, {kind}"] = with_error(*numbers[finder]["rms"])
    return out


if __name__ == "__main__":
    print(write_card())
