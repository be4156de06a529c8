"""The numbers for a weight file's card, taken from the results of the benchmarks.

``python -m benchmarks.fermi.card`` writes ``benchmarks/results/card.json``, which `astrolearn.recipes.fermi_lat.ship`
puts beside the weights. It refuses results that were not all measured on one and the same file.
"""

from benchmarks import report
from benchmarks.fermi.finders import FINDER, TS_MAP
from benchmarks.report import RESULTS, read_results, with_error

__all__ = ["write_card"]

_PAGES = ("real-2-20", "real-50", "fluxes", "calibration", "speed")


def write_card(folder=RESULTS):
    """
    Write ``card.json`` with ``sha256``, ``scores`` and ``baselines``.

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
    scores = _scores(numbers, FINDER) | _only_finder(numbers)
    baselines = {f"{name} ({TS_MAP})": value for name, value in _scores(numbers, TS_MAP).items()}
    return report.write_card(folder / "card.json", sha256, scores, baselines)


def _scores(numbers, finder):
    """What the finder and the TS map share."""
    out = {}
    real = numbers["real-2-20"]["Real 2-20 GeV against 4FGL, 0.5 deg"]["finders"][finder]
    for region, s in real.items():
        name = f"completeness at purity 0.9, real 2-20 GeV photons against 4FGL within 0.5 deg, {region}"
        out[name] = with_error(s["completeness"], s["completeness_error"])
    (key,) = [k for k in numbers["real-50"] if "background estimated" in k]
    for region, s in numbers["real-50"][key]["finders"][finder].items():
        name = f"average precision, real photons above 50 GeV against 2FHL within 0.3 deg, {region}"
        out[name] = with_error(s["average_precision"], s["average_precision_error"])
    for key, s in numbers["fluxes"].items():
        if key.startswith(f"|b| > 20, {finder}"):
            bins, setting = s["bins"], key.removeprefix(f"|b| > 20, {finder}")
            for score in ("purity", "completeness"):
                low, high = (f"{bins[f'{score}_{end}'][2]:.3f}" for end in ("low", "high"))
                name = f"{score}, simulated six-bin skies, |b| > 20 deg, 2.3e-10 to 4.3e-10 / (cm2 s){setting}"
                out[name] = f"{bins[score][2]:.3f} ({low}-{high})"
    return out


def _only_finder(numbers):
    out = {}
    for kind, s in numbers["calibration"].items():
        out[f"F1 at the default threshold, {kind}"] = f"{s['f1_default']:.3f} (best {s['f1_best']:.3f})"
        out[f"reliability error, {kind}"] = f"{s['reliability_error']:.3f}"
        out[f"coverage of coord_error, {kind}"] = f"{s['coverage']:.3f}"
    for kind, rows in numbers["speed"].items():
        own = rows[FINDER]
        out[f"seconds and peak memory, {kind}"] = f"{own['seconds']:.1f} s, {own['peak_gb']:.2f} GB"
    return out


if __name__ == "__main__":
    print(write_card())
