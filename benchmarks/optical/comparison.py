"""Stars found by the finder and by its peers, in fields like those of the training and in others."""

from dataclasses import fields, replace

import matplotlib.pyplot as plt
import numpy as np

from astrolearn.sky import match
from astrolearn.sources.optical import MoffatPSF
from benchmarks.optical.fields import FIELDS, OTHER_FIELDS, SEED, VALIDATION_SEED, WIDTHS, Score, draw, score
from benchmarks.optical.peers import OURS, PEERS, Finders
from benchmarks.report import Report, with_error

__all__ = ["calibration", "elsewhere", "stars"]

_RULES = (
    "1024 x 1024 pixels; stars of a matched-filter significance of 5 or more are asked for, fainter and saturated ones "
    "and galaxies are neither right nor wrong; one-to-one matches within 1 pixel."
)
_SLOW = "photutils SourceFinder"  # runs on one width only
_MAIN = 3.0


def _measure(finders, names, width, images):
    """Scores of every finder in the images: dict of name to dict of Score's fields to (mean, error of the mean)."""
    out = {}
    for name in names:
        scores = [score(finders.run(name, image, width), image) for image in images]
        out[name] = {}
        for item in fields(Score):
            values = np.array([getattr(s, item.name) for s in scores], dtype=float)
            out[name][item.name] = [np.nanmean(values), np.nanstd(values, ddof=1) / np.sqrt(len(values))]
    return out


def _add_table(report, caption, numbers):
    rows = [
        [name, with_error(*n["f1"]), with_error(*n["purity"]), with_error(*n["completeness"]),
         with_error(*n["n_false"], 0), with_error(*n["rms"])]
        for name, n in numbers.items()
    ]
    header = ["finder", "F1", "purity", "completeness", "false detections", "rms per axis [pixels]"]
    report.table(caption, header, rows)


def stars(context):
    """F1, false detections and centroids in four kinds of fields, for three widths of the stars."""
    report = Report(
        "optical-stars",
        "Stars in optical images",
        f"{context.n_fields} simulated fields of each kind (seeds from {SEED} on), Moffat PSF of beta 3. {_RULES}",
    )
    finders = Finders(context.finder, context.cache)
    report.text(
        "The finder has one threshold for all, that of its weights, set on fields like those of the training before "
        "any of these was drawn. The peers are told the width of the stars, and their threshold (of sep the contrast "
        "of deblending, too) is the one of the best mean F1 on uniform, clustered and crowded validation fields of "
        f"this width and simulator (seeds from {VALIDATION_SEED} on), which is more than a user of theirs has. No "
        "cosmic rays were removed before. Errors are those of the mean over fields. The rms is that of stars of "
        "significance above 50 with less than 1 % of their light from others within three widths."
    )
    for width in WIDTHS:
        names = [OURS, *(name for name in PEERS if name != _SLOW or width == _MAIN)]
        for kind, simulator in FIELDS.items():
            images = draw(replace(simulator, psf=MoffatPSF(width)), context.n_fields, SEED)
            numbers = _measure(finders, names, width, images)
            _add_table(report, f"{kind[0].upper()}{kind[1:]}, stars {width:g} pixels wide", numbers)
            report.numbers[f"{kind}, {width:g} pixels"] = numbers
            print(f"  {kind}, {width:g} pixels", flush=True)
    report.numbers["settings"] = finders.tuned
    report.text("Settings of the peers: " + "; ".join(
        f"{name}, {', '.join(f'{key} {value:g}' for key, value in setting.items())}"
        for name, setting in report.numbers["settings"].items()
    ) + ".")
    report.figure("optical-stars", _figure(report.numbers), "F1 by width of the stars, in four kinds of fields.")
    return report


def _figure(numbers):
    figure, axes = plt.subplots(1, len(FIELDS), figsize=(12, 3.6), sharey=True, layout="constrained")
    for axis, kind in zip(axes, FIELDS, strict=True):
        for name, marker in zip([OURS, "sep", "blob_log", "DAOStarFinder"], "os^v", strict=True):
            values = [numbers[f"{kind}, {width:g} pixels"][name]["f1"] for width in WIDTHS]
            mean, error = np.transpose(values)
            axis.errorbar(WIDTHS, mean, error, marker=marker, label=name)
        axis.set(title=kind.replace(", ", "\n", 1), xlabel="width of the stars [pixels]", ylim=(0, 1))
        axis.title.set_fontsize(10)
    axes[0].set_ylabel("F1")
    axes[0].legend(loc="lower left", fontsize=9)
    return figure


def elsewhere(context):
    """Fields unlike those of the training."""
    report = Report(
        "optical-elsewhere",
        "Stars in images unlike those of the training",
        f"{context.n_fields} simulated fields of each kind (seeds from {SEED} on), 2000 stars. {_RULES}",
    )
    report.text(
        "The training has round and elliptical Moffat and Gaussian stars of 1.4 to 6.5 pixels, tilts of up to 20 "
        "standard deviations across half of this image, clouds no finer than 12 pixels, and no more cosmic rays than "
        "1600 would be here, 6 pixels long on average. Peers are told the width and have the "
        "settings of the best mean F1 on plain validation fields with Moffat stars of this very width. Ghosts are "
        "rings 3 standard deviations bright, fringes and bands have amplitudes of 1.5 and 1."
    )
    finders = Finders(context.finder, context.cache)
    names = [OURS, *(name for name in PEERS if name != _SLOW)]
    for kind, (simulator, spoil) in OTHER_FIELDS.items():
        numbers = _measure(finders, names, round(simulator.psf.fwhm, 1), draw(simulator, context.n_fields, SEED, spoil))
        _add_table(report, f"{kind[0].upper()}{kind[1:]}", numbers)
        report.numbers[kind] = numbers
    return report


def calibration(context):
    """What probabilities and errors of positions are worth."""
    n = max(2, context.n_fields // 2)
    report = Report(
        "optical-calibration",
        "Probabilities and errors of stars",
        f"{n} simulated fields of each kind (seeds from {SEED} on) with stars 1.8, 3 and 5 pixels wide each. "
        "Detections of every probability from 0.1 on; true are those within 1 pixel of a star of a significance of "
        "3.5 or more, those of fainter or saturated stars do not count.",
    )
    finder = context.finder
    own, edges = finder.threshold, np.linspace(0.1, 1.0, 10)
    rows = []
    for kind, simulator in FIELDS.items():
        parts = [_rows(finder, image) for width in WIDTHS
                 for image in draw(replace(simulator, psf=MoffatPSF(width)), n, SEED)]
        probability, true = (np.concatenate([part[i] for part in parts]) for i in range(2))
        pulls = np.concatenate([part[2] for part in parts])
        bins = np.digitize(probability, edges[1:-1])
        pairs = [[probability[bins == i].mean(), true[bins == i].mean()] for i in range(9) if np.sum(bins == i) > 30]
        covered = [np.mean(pulls < n) for n in (1, 2)]
        report.numbers[kind] = {"reliability": pairs, "coverage": covered}
        rows.append([kind, "; ".join(f"{p:.2f}: {t:.2f}" for p, t in pairs), *(f"{share:.3f}" for share in covered)])
    finder.set_params(threshold=own)
    report.table(
        "Share of true detections by stated probability, and of positions within one and two stated standard "
        "deviations per axis (0.683 and 0.954 if all were Gaussian)",
        ["field", "probability: share true", "within one", "within two"],
        rows,
    )
    return report


def _rows(finder, image):
    """Probability and truth of detections, and deviations of the positions reported, in standard deviations."""
    default = finder.threshold
    found = finder.set_params(threshold=0.1).predict(image)
    finder.set_params(threshold=default)
    truth = image.meta["sources"]
    real = (truth["kind"] == "star") & (truth["significance"] >= 3.5)
    positions = ["x_centroid", "y_centroid"]
    result = match(found[positions], truth[real], 1.0, ignore=truth[~real], n_shifts=2)
    sure = np.asarray(found["probability"])[result.catalogue_index] >= default
    rows, true = result.catalogue_index[sure], result.reference_index[sure]
    pulls = [np.abs(found[axis][rows] - truth[real][axis][true]) / found["centroid_error"][rows] for axis in positions]
    counts = ~result.ignored
    return np.asarray(found["probability"])[counts], result.matched[counts], np.concatenate(pulls)
