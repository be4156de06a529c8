"""A real image against the catalogue that SExtractor made of it: the test data of sep."""

import warnings
from copy import copy
from itertools import pairwise

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table

from astrolearn.sky import match
from benchmarks.optical.peers import run_sep
from benchmarks.report import Report

__all__ = ["read_real", "real"]

_SEP = 0.95, 1e-5  # threshold and contrast, tuned for stars 3 pixels wide


def read_real(folder):
    """
    The image of sep's tests, 256 x 256 pixels of an EMMI exposure, and SExtractor's catalogue of it.

    Parameters
    ----------
    folder : Path
        With ``sep_image.fits`` and ``sep_image.cat``.

    Returns
    -------
    image : `~astropy.nddata.CCDData`
    catalogue : Table
        ``x_centroid``, ``y_centroid`` (0-based, windowed), ``significance`` (flux in the aperture over its error),
        ``radius`` (of half the light, pixels) and ``flags``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the header of 1993 is not all standard
        data = fits.getdata(folder / "sep_image.fits").astype(np.float32)
        table = Table.read(folder / "sep_image.cat", format="ascii.sextractor")
    image = CCDData(data, unit=u.adu)
    found = {"x_centroid": table["XWIN_IMAGE"] - 1, "y_centroid": table["YWIN_IMAGE"] - 1}
    found |= {"significance": table["FLUX_APER"] / table["FLUXERR_APER"], "flags": table["FLAGS"]}
    radius = "FLUX_RADIUS_1" if "FLUX_RADIUS_1" in table.colnames else "FLUX_RADIUS"
    found["radius"] = table[radius]
    return image, Table({name: np.asarray(column) for name, column in found.items()})


def real(context):
    """Which of SExtractor's objects the finder finds, and where it puts them."""
    image, catalogue = read_real(context.data / "optical")
    found = context.finder.predict(image)
    result = match(found["x_centroid", "y_centroid"], catalogue, 1.0, n_shifts=8)
    pairs = found[result.catalogue_index], catalogue[result.reference_index]
    compact = catalogue["radius"] < np.median(catalogue["radius"][catalogue["significance"] > 20]) * 1.3
    bright = (pairs[1]["significance"] > 20) & compact[result.reference_index]
    off = [np.asarray(pairs[0][axis] - pairs[1][axis])[bright] for axis in ("x_centroid", "y_centroid")]
    report = Report(
        "optical-real",
        "A real image against SExtractor",
        "256 x 256 pixels of a field in R (EMMI, 1992), the test image of sep, against the catalogue of "
        f"{len(catalogue)} objects that SExtractor made of it: stars and galaxies, its flags kept; matches within 1 "
        "pixel of its windowed positions. SExtractor is no truth.",
    )
    sep_found = run_sep(image, found.meta["fwhm"], *_SEP)
    sep_result = match(sep_found, catalogue, 1.0, n_shifts=8)
    # the noise is the same upside down, and there are no stars in it
    inverted = image.copy()
    inverted.data = -image.data
    upside_down = copy(context.finder).set_params(psf=found.meta["fwhm"]).predict(inverted)
    numbers = {
        "n": len(found), "fwhm": found.meta["fwhm"], "matched": int(result.matched.sum()),
        "chance_rate": result.chance_rate, "offset": [float(np.median(o)) for o in off],
        "scatter": [float(np.std(o)) for o in off], "n_bright": int(bright.sum()), "sep_n": len(sep_found),
        "sep_matched": int(sep_result.matched.sum()), "inverted": len(upside_down),
        "sep_inverted": len(run_sep(inverted, found.meta["fwhm"], *_SEP)),
    }
    report.numbers.update(numbers)
    report.text(
        f"The stars are {found.meta['fwhm']:.2f} pixels wide. The finder lists {len(found)}, of which "
        f"{numbers['matched']} are SExtractor's; sep, with a kernel of this width and a threshold of {_SEP[0]}, lists "
        f"{len(sep_found)}, of which {numbers['sep_matched']} are. In the image turned upside down (bright is dark), "
        f"where there is nothing but the same noise, the finder lists {numbers['inverted']} and sep "
        f"{numbers['sep_inverted']}: at least so many of the others are false, and those at the rims of galaxies "
        "beside. "
        f"Positions of the {numbers['n_bright']} matched compact objects of significance above 20 in SExtractor's "
        f"aperture differ by medians of {numbers['offset'][0]:+.3f} and {numbers['offset'][1]:+.3f} pixels in x and y, "
        f"with a scatter of {numbers['scatter'][0]:.3f} and {numbers['scatter'][1]:.3f}."
    )
    rows = []
    for low, high in pairwise([0, 5, 10, 20, 50, np.inf]):
        cells = []
        for kind in (compact, ~compact):
            here = kind & (catalogue["significance"] >= low) & (catalogue["significance"] < high)
            cells.append(f"{result.found[here].sum()} of {here.sum()}")
        rows.append([f"{low:g} to {high:g}" if np.isfinite(high) else f"above {low:g}", *cells])
    report.numbers["by_significance"] = rows
    report.table(
        "SExtractor's objects that the finder lists, by significance in SExtractor's aperture; compact are those whose "
        "half-light radius is less than 1.3 times the median of the bright",
        ["significance", "compact", "wider"],
        rows,
    )
    return report
