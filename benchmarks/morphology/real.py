"""Real cutouts of CANDELS: segments against the given ones, and Morpheus' windows against its own and our network."""

import numpy as np
from astropy.io import fits

from astrolearn import MorphologySegmenter
from astrolearn.core.progress import progress
from astrolearn.morphology.morpheus import MARGIN
from astrolearn.morphology.segmenter import BANDS, CLASSES, most_probable
from benchmarks.morphology.context import STRIDE
from benchmarks.morphology.peers import detect
from benchmarks.morphology.simulated import MORPHEUS, OURS
from benchmarks.report import Report, with_error

__all__ = ["real", "strides"]

_GALAXIES = ("GDS_deep2_10673", "GDS_wide2_1468")
_STRIDES = (2, 4, 8, 11, 22)
_N_STRIDES = 12  # simulated fields
_SIDE = 100  # of them


def _images(context, name):
    return {band: context.data / "morphology" / f"{name}_{letter}.fits"
            for band, letter in zip(BANDS, "hjvz", strict=True)}


def _overlap(a, b, inner):
    return float((a & b & inner).sum() / ((a | b) & inner).sum())


def real(context):
    """Real images: what can be said without labels."""
    report = Report(
        "morphology-real",
        "Morphology on real images",
        f"{len(_GALAXIES)} real cutouts of CANDELS GOODS-S of 84 x 84 pixels in four bands, with their segments.",
    )
    rows, classes = [], []
    for name in _GALAXIES:
        images = _images(context, name)
        given = fits.getdata(context.data / "morphology" / f"{name}_segmap.fits") > 0
        inner = np.zeros(given.shape, bool)
        inner[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
        found = {}
        for method, segmenter in ((OURS, context.segmenter), (MORPHEUS, _stride_one(context))):
            _, segments, catalogue = segmenter.analyze(images)
            found[method] = segments.data > 0
            if not len(catalogue):
                continue
            middle = np.hypot(catalogue["x_centroid"] - 41.5, catalogue["y_centroid"] - 41.5).argmin()
            row = catalogue[middle]
            classes.append([name, method, *(f"{row[f'p_{c}']:.2f}" for c in CLASSES)])
        for threshold in (1.0, 1.4, 2.0):
            segments = detect(images, threshold)[1]
            found[f"photutils, {threshold:g} times the noise"] = segments.data > 0
        values = {method: _overlap(given, mask, inner) for method, mask in found.items()}
        report.numbers[name] = values
        rows.append([name, *(f"{value:.3f}" for value in values.values())])
    report.table("Intersection over union of source pixels with the given segments, inner 74 x 74 pixels",
                 ["galaxy", *values], rows)  # fmt: skip
    report.table("What the central galaxy is said to be", ["galaxy", "", *(c.replace("_", " ") for c in CLASSES)],
                 classes)  # fmt: skip
    report.text(
        "The given segments come from SExtractor with the survey's own settings, which decide how far a galaxy "
        "reaches; two images say nothing of accuracy in general. Nor do they say anything of classes: nobody's votes "
        "on these two galaxies are at hand, and they were chosen for odd colours."
    )
    return report


def _stride_one(context):
    return MorphologySegmenter.from_morpheus(context.data / "morphology" / "morpheus_weights.npz")


def strides(context):
    """How far Morpheus at larger strides, and our network, agree with Morpheus as published."""
    report = Report(
        "morphology-windows",
        "Morpheus' windows and one pass over the image",
        f"{len(_GALAXIES)} real cutouts of 84 x 84 pixels and {_N_STRIDES} fresh simulated fields of {_SIDE} x {_SIDE} "
        "pixels; the published weights at a stride of 1, with votes, are the reference.",
    )
    kinds = {
        "real": [_images(context, name) for name in _GALAXIES],
        "simulated": [_corner(scene.images) for scene in context.scenes[:_N_STRIDES]],
    }
    rows = []
    methods = {f"Morpheus, stride {stride}": {"stride": stride} for stride in _STRIDES}
    methods["Morpheus, stride 1, mean probability"] = {"aggregate": "mean"}
    for kind, fields in kinds.items():
        agreement = {name: [] for name in (*methods, OURS)}
        for images in progress(fields, kind):
            segmenter = _stride_one(context)
            reference = segmenter.predict_proba(images)
            covered = ~np.isnan(reference[-1])
            best = most_probable(reference)
            sources = covered & (best < len(CLASSES))
            for name, parameters in methods.items():
                classes = _stride_one(context).set_params(**parameters).predict(images)
                agreement[name].append(_agreement(best, classes, covered, sources))
            agreement[OURS].append(_agreement(best, context.segmenter.predict(images), covered, sources))
        for name, parts in agreement.items():
            parts = np.array(parts)
            report.numbers[f"{kind}, {name}"] = parts
            error = np.nanstd(parts, axis=0, ddof=1) / np.sqrt(len(parts)) if len(parts) > 2 else [np.nan] * 3
            cells = [with_error(np.nanmean(parts[:, i]), error[i]) for i in range(3)]
            rows.append([kind, name, *cells, f"{np.nanmin(parts[:, 0]):.3f}"])
    report.table(
        "Share of pixels with the class that Morpheus gives them",
        ["images", "", "source pixels", "sources in both", "source or background", "worst image, source pixels"],
        rows,
    )
    report.text(
        "The two are different functions. Morpheus standardises every window of 40 pixels by its own mean and "
        "scatter, sees nothing beyond it, and lets up to 900 windows vote on a pixel; its upsampling depends on the "
        "size of what it is given, so that one pass over a whole image is another function again. Our network sees "
        "brightness in units of the noise, in one pass, 112 pixels far. It was trained on simulated galaxies, with the "
        "classes that were drawn; Morpheus on votes on real ones. The last row of each kind says how often they "
        f"agree. The benchmark on simulated fields takes a stride of {STRIDE}."
    )
    return report


def _corner(images):
    return {band: image[:_SIDE, :_SIDE] for band, image in images.items()}


def _agreement(reference, classes, covered, sources):
    """Share of source pixels of the same class, of those that are sources in both, and of all on what is a source."""
    n = len(CLASSES)
    both = sources & (classes < n) & (classes >= 0)
    same = classes == reference
    with np.errstate(invalid="ignore", divide="ignore"):
        return [same[sources].mean(), same[both].mean(), ((classes < n) == (reference < n))[covered].mean()]
