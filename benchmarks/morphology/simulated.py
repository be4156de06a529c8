"""Fresh simulated fields: every class of pixels and of sources, against measured shapes and the published network."""

from itertools import pairwise, product

import numpy as np
from matplotlib.figure import Figure

from astrolearn.core.progress import progress
from astrolearn.morphology.scenes import GalaxySceneSimulator
from astrolearn.morphology.segmenter import CLASSES, most_probable
from astrolearn.recipes.hst_simulated import N_SCENES, training_scenes
from benchmarks.morphology.context import STRIDE, fresh_scenes
from benchmarks.morphology.peers import BoostedShapes, positions
from benchmarks.morphology.scores import MAGNITUDES, RADIUS, Fields, bootstrap
from benchmarks.report import Report, with_error

__all__ = ["MORPHEUS", "OURS", "SHAPES", "simulated"]

OURS, SHAPES, MORPHEUS = "MorphologySegmenter", "photutils, shapes and boosted trees", "Morpheus, published weights"
_TRAINING_SEED, _VALIDATION_SEED, _N_VALIDATION = 6300, 6350, 8
_SETTINGS = {  # of the peer's detection, from which its best are chosen
    "threshold": (0.35, 0.5, 0.7, 1.0, 1.4), "fwhm": (3.0, 5.0), "contrast": (0.001, 0.005, 0.02), "bands": (1, 4),
}  # fmt: skip
_EMPTY_SEED, _N_EMPTY, _EMPTY_SHAPE = 6500, 10, (400, 400)
_TITLES = [name.replace("_", " ") for name in CLASSES]
_COLOURS = {OURS: "#0072B2", SHAPES: "#D55E00", MORPHEUS: "#009E73"}
_MARKERS = {OURS: "o", SHAPES: "s", MORPHEUS: "^"}


def simulated(context):
    """Scores on fields that nobody has seen."""
    scenes = context.scenes
    report = Report(
        "morphology-simulated",
        "Morphology on simulated fields",
        f"{len(scenes)} fresh simulated fields of {scenes[0].labels.shape[1]} x {scenes[0].labels.shape[2]} pixels of "
        "0.06 arcsec with 400 sources per square arcminute (F160W magnitudes 18 to 26.5), noise of 0.5 to 2 times that "
        "of CANDELS.",
    )
    peer = _trained_peer()
    found = {OURS: Fields(), SHAPES: Fields()} | ({} if context.morpheus is None else {MORPHEUS: Fields()})
    for scene in progress(scenes, "fields"):
        for name, segmenter in ((OURS, context.segmenter), (MORPHEUS, context.morpheus)):
            if name in found:
                probability, _, catalogue = segmenter.analyze(scene.images)
                found[name].add(scene, catalogue, most_probable(probability))
        found[SHAPES].add(scene, peer.catalog(scene.images))
    _sources(report, found)
    _magnitudes(report, found)
    _pixels(report, found)
    _empty(report, context, peer)
    report.text(
        f"A source that would be seen (it has a label: matched-filter signal-to-noise above 5, and pixels above the "
        f"isophote) is found if a detection lies within {RADIUS.value:g} pixels; the closest pairs are made first. "
        "Detections of fainter sources count neither as right nor as wrong. Classes are scored on sources that are "
        "found. Errors are the scatter over bootstrap samples of whole fields."
    )
    report.text(
        f"Shapes and trees: sources above {peer.settings['threshold']:g} times the noise in "
        f"{'H alone' if peer.settings['bands'] == 1 else 'the sum of all bands'}, filtered with a Gaussian of "
        f"{peer.settings['fwhm']:g} pixels, divided by multiple thresholds with a contrast of "
        f"{peer.settings['contrast']:g} (photutils); of {np.prod([len(v) for v in _SETTINGS.values()])} settings these "
        f"had the best F1 on {_N_VALIDATION} other fields of this kind. "
        f"{peer.trees_.n_features_in_} features of each "
        "(radii, concentration, asymmetry, Gini coefficient, M20, elongation, brightness of the peak, colours, "
        f"signal-to-noise) went to gradient-boosted trees, trained on {peer.n_} sources of {N_SCENES} fields of the "
        "network's own recipe; number of leaves and rate were chosen by cross-validation. The settings by which the "
        "network's sources are divided were chosen on such fields, too."
    )
    if MORPHEUS in found:
        report.text(
            f"Morpheus saw windows at a stride of {STRIDE} pixels. It learned from what people said of real galaxies, "
            "and these are simulated ones, whose classes are what was drawn: the row says how far the simulator's "
            "classes look to it like those of CANDELS, not how good it is. Its network and ours were not trained on "
            "the same labels, and cannot be ranked by this table."
        )
    report.text(
        "Training, choice of settings, calibration and this page share one simulator: galaxies that differ from it "
        "will be recognised less well, by the network and by the trees."
    )
    report.figure("morphology-classes", _figure(found, report.numbers), _CAPTION)
    return report


_CAPTION = (
    "Left: share of the found sources whose class is right, by magnitude. Middle: share of all sources that are found. "
    "Right: probability that was stated for a class, and the share of sources that are of it."
)


def _trained_peer():
    """The peer, whose detection has the settings that did best on other fields of the benchmark's kind."""
    validation = fresh_scenes(_N_VALIDATION, _VALIDATION_SEED)
    best = None
    for values in progress(list(product(*_SETTINGS.values())), "settings of the peer"):
        settings, fields = dict(zip(_SETTINGS, values, strict=True)), Fields()
        for scene in validation:
            fields.add(scene, positions(scene.images, **settings))
        completeness, purity = fields.completeness(), fields.purity()
        f1 = 2 * completeness * purity / (completeness + purity)
        if best is None or f1 > best[0]:
            best = f1, settings
    return BoostedShapes(best[1]).fit(training_scenes(N_SCENES, _TRAINING_SEED))


def _sources(report, found):
    scores = {
        "completeness": Fields.completeness, "purity": Fields.purity, "accuracy": Fields.accuracy,
        "calibration error": Fields.calibration_error,
    }  # fmt: skip
    rows = []
    for name, fields in found.items():
        numbers = report.numbers[name] = {score: bootstrap(fields, function) for score, function in scores.items()}
        numbers["recall"], numbers["precision"] = (bootstrap(fields, f) for f in (Fields.recall, Fields.precision))
        numbers["balanced accuracy"] = bootstrap(fields, lambda part: np.nanmean(part.recall()))
        order = ("completeness", "purity", "accuracy", "balanced accuracy", "calibration error")
        rows.append([name, *(with_error(*numbers[score]) for score in order)])
    report.table("Sources: detection and classification", ["", *order], rows)
    rows = [[name, *(f"{with_error(*r, 2)} / {with_error(*p, 2)}" for r, p in zip(
        zip(*report.numbers[name]["recall"], strict=True), zip(*report.numbers[name]["precision"], strict=True),
        strict=True))] for name in found]  # fmt: skip
    report.table("Share of each class that is recognised / of those said to be of it that are", ["", *_TITLES], rows)
    table = found[OURS].confusion()
    report.numbers["confusion"] = table
    rows = [[title, *(f"{count:.0f}" for count in row)] for title, row in zip(_TITLES, table, strict=True)]
    report.table(f"Sources by true class (rows) and class found (columns), {OURS}", ["", *_TITLES], rows)


def _magnitudes(report, found):
    bins = list(pairwise(MAGNITUDES))
    head = ["F160W magnitude", *(f"{low:g} - {high:g}" for low, high in bins)]
    for score, function in (("accuracy", Fields.accuracy), ("completeness", Fields.completeness)):
        rows = []
        for name, fields in found.items():
            cells = [bootstrap(fields, lambda part, b=b, f=function: f(part, *b)) for b in bins]
            report.numbers[name][f"{score} by magnitude"] = cells
            rows.append([name, *(with_error(*cell, 2) for cell in cells)])
        counts = [sum(((m >= low) & (m < high)).sum() for m in next(iter(found.values())).all_magnitude)
                  for low, high in bins]  # fmt: skip
        rows.append(["sources", *(str(count) for count in counts)])
        title = {"accuracy": "Share of found sources whose class is right", "completeness": "Share of sources found"}
        report.table(title[score], head, rows)


def _pixels(report, found):
    rows = []
    for name in (OURS, MORPHEUS):
        if name in found:
            overlap = report.numbers[name]["overlap"] = bootstrap(found[name], Fields.overlap)
            sources = report.numbers[name]["overlap of sources"] = bootstrap(found[name], Fields.source_overlap)
            rows.append([name, *(with_error(*pair) for pair in zip(*overlap, strict=True)), with_error(*sources)])
    head = ["", *_TITLES, "background", "source of any class"]
    report.table("Pixels: intersection over union", head, rows)


def _empty(report, context, peer):
    """What is found where there is nothing."""
    simulator = GalaxySceneSimulator(shape=_EMPTY_SHAPE, density=0.0)
    area = np.prod(_EMPTY_SHAPE) * (0.06 / 60) ** 2
    methods = {OURS: context.segmenter.catalog, SHAPES: lambda images: positions(images, **peer.settings)}
    if context.morpheus is not None:
        methods[MORPHEUS] = context.morpheus.catalog
    counts = {name: [] for name in methods}
    for scene in progress(simulator.sample(_N_EMPTY, _EMPTY_SEED), "empty fields"):
        for name, method in methods.items():
            counts[name].append(len(method(scene.images)))
    report.numbers["empty"] = counts
    rows = [[name, f"{sum(number)}", f"{sum(number) / area / _N_EMPTY:.1f}"] for name, number in counts.items()]
    report.table(f"Detections in {_N_EMPTY} fields of {area:.2f} arcmin2 with noise alone, correlated as in CANDELS",
                 ["", "number", "per arcmin2"], rows)  # fmt: skip


def _figure(found, numbers):
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    centre = [(low + high) / 2 for low, high in pairwise(MAGNITUDES)]
    for name, fields in found.items():
        style = {"color": _COLOURS[name], "marker": _MARKERS[name], "ms": 5, "lw": 1.2, "capsize": 2, "label": name}
        for axes, score in ((left, "accuracy"), (middle, "completeness")):
            value, error = np.transpose(numbers[name][f"{score} by magnitude"])
            axes.errorbar(centre, value, error, **style)
        said, share = fields.reliability(np.linspace(0, 1, 11))
        right.plot(said, share, **{key: value for key, value in style.items() if key != "capsize"})
    right.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":")
    left.set(xlabel="F160W magnitude (AB)", ylabel="share with the right class", ylim=(0, 1.02))
    middle.set(xlabel="F160W magnitude (AB)", ylabel="share found", ylim=(0, 1.02))
    right.set(xlabel="stated probability of a class", ylabel="share of that class")
    left.legend(fontsize="small", loc="lower left")
    return figure
