"""The command ``astrolearn segment``: from images of a field in several bands to a catalogue of classified galaxies."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import StdDevUncertainty

from astrolearn.core.console import (
    PICTURES,
    REGIONS,
    TABLES,
    list_of,
    load_weights,
    require_matplotlib,
    say,
    write_table,
)
from astrolearn.core.outputs import check_outputs, write_outputs
from astrolearn.morphology.bands import read_bands, read_image
from astrolearn.morphology.catalogues import make_regions
from astrolearn.morphology.plots import MOST_CLASSES, plot_classes
from astrolearn.morphology.segmenter import MorphologySegmenter

__all__ = ["segment"]

_FITS = (".fits",)
_SURE = 0.8  # probability of sources that are counted apart


def segment(
    images, output, *, rms=None, mask=None, segmap=None, probabilities=None, plot=None, regions=None,
    weights="hst-simulated", stride=None, threshold=None, overwrite=False, quiet=False,
):
    """
    Detect and classify the galaxies of a field.

    Parameters
    ----------
    images : sequence of str
        FITS files in the order of the weights' bands, or ``"band=file"`` in any order. Where headers state a filter, it
        is compared. Extensions MASK and UNCERT are read, see `~astrolearn.morphology.bands.read_image`.
    output : path-like
        The catalogue to write, ``.ecsv`` or ``.fits``.
    rms : sequence of str, optional
        FITS files with the standard deviation of the noise of each image, in its unit, named or in order like these.
    mask : path-like, optional
        FITS image that is not 0 where pixels are not to be used, of all bands.
    segmap : path-like, optional
        FITS image to write, of the labels of the sources.
    probabilities : path-like, optional
        FITS file to write, with an image of each class's probability.
    plot : path-like, optional
        Picture to write, ``.png``, ``.pdf``, ``.svg`` or ``.jpg``.
    regions : path-like, optional
        Ellipses to write, ``.reg`` (ds9) or ``.crtf``.
    weights : str or path-like, optional
        Name of weights that come with the package, a file that ``MorphologySegmenter.save`` wrote, or an ``.npz`` file
        with the published weights of Morpheus.
    stride : int, optional
        Of Morpheus' windows. Default: that of the weights, 1 for published ones.
    threshold : float, optional
        Probability of background below which a pixel belongs to a source. Default: that of the weights.
    overwrite : bool, optional
        Whether existing files may be replaced.
    quiet : bool, optional
        Show neither progress nor results.

    Returns
    -------
    SampleTable
        See `MorphologySegmenter.catalog`.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the contents of a file or an option cannot be used.
    """
    named = _by_band(images)
    paths = list(named.values()) if isinstance(named, dict) else named
    errors = None if rms is None else _by_band(rms)
    if errors is not None and (len(errors) != len(named) or type(errors) is not type(named)):
        raise ValueError("--rms needs one file for each image, named like these or in their order")
    read = [] if errors is None else list(errors.values()) if isinstance(errors, dict) else errors
    outputs = [(output, TABLES), (segmap, _FITS), (probabilities, _FITS), (plot, PICTURES), (regions, REGIONS)]
    files = [weights] if Path(weights).is_file() else []
    check_outputs(outputs, overwrite=overwrite, inputs=(*paths, *read, mask, *files))
    if plot is not None:
        require_matplotlib()
    if Path(weights).suffix == ".npz":
        segmenter = MorphologySegmenter.from_morpheus(weights)
    else:
        segmenter = load_weights(MorphologySegmenter, weights, quiet)
    given = {"stride": stride, "threshold": threshold}
    segmenter.set_params(**{name: value for name, value in given.items() if value is not None})
    if plot is not None and len(segmenter.classes) > MOST_CLASSES:
        raise ValueError(f"--plot has colours for {MOST_CLASSES} classes; these weights have {len(segmenter.classes)}")
    if stride is not None and segmenter.architecture != "morpheus":
        raise ValueError("--stride is for the windows of Morpheus; these weights have none")
    say(f"reading {', '.join(map(str, paths))}", quiet)
    field = read_bands(_read(named, errors, mask), segmenter.bands)
    probability, segments, catalogue = segmenter.analyze(field)
    catalogue.meta |= {"input": ", ".join(map(str, paths)), "weights": str(weights)}
    say("writing files", quiet)
    written = write_outputs([
        (output, lambda path: _write_catalogue(catalogue, field.unit, path)),
        (segmap, lambda path: _write_image(np.asarray(segments.data, np.int32), "SEGMAP", field, path)),
        (probabilities, lambda path: _write_probabilities(probability, segmenter.classes, field, path)),
        (plot, lambda path: plot_classes(field, probability, catalogue, segmenter.classes).savefig(path, dpi=200)),
        (regions, lambda path: make_regions(catalogue, field.wcs).write(path, format=REGIONS[path.suffix])),
    ], overwrite=overwrite)
    if not quiet:
        print(_summary(catalogue, probability, segmenter.classes), list_of(written), sep="\n")
    return catalogue


def _by_band(images):
    """Paths by band where all are named, else in order."""
    images = [str(image) for image in images]
    named = [image.partition("=") for image in images]
    known = [bool(sign) and not Path(image).exists() for image, (_, sign, _) in zip(images, named, strict=True)]
    if not any(known):
        return images
    if not all(known):
        raise ValueError("either all images are named, as band=file, or none")
    bands = [band for band, _, _ in named]
    if len(set(bands)) < len(bands):
        raise ValueError(f"a band is named twice: {', '.join(bands)}")
    return {band: path for band, _, path in named}


def _read(named, errors, mask):
    """Images by band or in order, with their errors and the mask."""
    if errors is None and mask is None:
        return named
    masked = None if mask is None else read_image(mask).data != 0
    images = named if isinstance(named, dict) else dict(enumerate(named))
    found = {}
    for band, path in images.items():
        image = found[band] = read_image(path, str(path))
        for what, array in (("--mask", masked), ("--rms", None if errors is None else read_image(errors[band]).data)):
            if array is not None and array.shape != image.shape:
                raise ValueError(f"{path} has the shape {image.shape}, its {what} {array.shape}")
            if what == "--mask" and array is not None:
                image.mask = array if image.mask is None else image.mask | array
            elif array is not None:
                image.uncertainty = StdDevUncertainty(array)
    return found if isinstance(named, dict) else list(found.values())


def _write_catalogue(catalogue, unit, path):
    """Fluxes in a unit that FITS tables do not know, such as electron/s, are plain numbers there; a keyword has it."""
    if path.suffix == ".fits" and unit is not None and not _in_fits(unit):
        catalogue = catalogue.copy()
        for name in catalogue.colnames:
            if name.startswith("flux_"):
                catalogue[name] = catalogue[name].value
        catalogue.meta["FLUXUNIT"] = str(unit)
    write_table(catalogue, path)


def _in_fits(unit):
    try:
        unit.to_string("fits")
    except ValueError:
        return False
    return True


def _header(field):
    return fits.Header() if field.wcs is None else field.wcs.to_header(relax=True)


def _write_image(data, name, field, path):
    fits.PrimaryHDU(data, _header(field)).writeto(path)


def _write_probabilities(probability, classes, field, path):
    hdus = [fits.ImageHDU(plane, _header(field), name=name.upper())
            for plane, name in zip(probability, (*classes, "background"), strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


def _summary(catalogue, probability, classes):
    """How many sources of each class there are, and what was not covered."""
    covered = np.isfinite(probability[-1]).mean()
    number = f"{len(catalogue)} source{'' if len(catalogue) == 1 else 's'}"
    lines = [f"{number} in {covered:.1%} of the image" if covered < 1 else number]
    for name in classes:
        own = catalogue["class"] == name
        sure = own & (catalogue[f"p_{name}"] > _SURE)
        title = name.replace("_", " ")
        lines.append(f"  {title:<14}{own.sum():>6}   of which {sure.sum()} with a probability above {_SURE}")
    return "\n".join(lines)
