"""The commands ``astrolearn find`` and ``astrolearn demo``: catalogues from files, and from a simulated sky."""

from importlib.metadata import version
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io.fits import BinTableHDU
from astropy.table import QTable

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
from astrolearn.sky import EnergyRebinner, RegionMask, SkyMap, read_exposure, read_map, read_psf, to_regions
from astrolearn.sky.energy import parse_edges
from astrolearn.sky.fits_tools import open_fits
from astrolearn.sky.healpix_io import healpix_hdu
from astrolearn.sky.image_io import image_from_hdus
from astrolearn.sources.counts_maps import parse_psf
from astrolearn.sources.fermi import LATSkySimulator, lat_psf
from astrolearn.sources.fermi.photon_lists import map_photons
from astrolearn.sources.finder import PointSourceFinder
from astrolearn.sources.optical.plots import plot_stars
from astrolearn.sources.plots import plot_sky, save_figure
from astrolearn.sources.recovery import recover

__all__ = ["demo", "find"]



def find(
    counts, output, *, regions=None, plot=None, energy_edges=None, nside=None, event_type=None, threshold=None,
    weights="fermi-lat", mask=None, psf=None, exposure=None, overwrite=False, quiet=False,
):
    """
    Find point sources in a counts map or a photon list, or stars in an optical image.

    Parameters
    ----------
    counts : path-like
        FITS file: HEALPix map, WCS image or cube of counts, or photon list (FT1); for weights of optical images, an
        image with any BUNIT.
    output : path-like
        The catalogue to write, ``.ecsv`` or ``.fits``.
    regions : path-like, optional
        Circles of three times the 68 % position error to write (of optical images: as wide as two stars, in pixels),
        ``.reg`` (ds9) or ``.crtf``.
    plot : path-like, optional
        Picture to write, ``.png``, ``.pdf``, ``.svg`` or ``.jpg``.
    energy_edges : `~astropy.units.Quantity` or str, optional
        Edges of energy bins, such as ``"1, 3, 10 GeV"``: any for a photon list; bins of a map are merged, or named if
        the file does not say which they are. Default for photon lists:
        `~astrolearn.sources.fermi.photon_lists.choose_edges`.
    nside : int, optional
        HEALPix resolution for a photon list. Default: `~astrolearn.sources.fermi.photon_lists.choose_nside`.
    event_type : {"FRONT", "BACK"}, optional
        Photons to take from a photon list. Default: all.
    threshold : float, optional
        Smallest probability of a source. Default: that of the weights.
    weights : str or path-like, optional
        Name of weights that come with the package, or a file that ``PointSourceFinder.save`` wrote.
    mask : path-like, optional
        Regions to leave out: a ds9 or CRTF file, or the text of one.
    psf : str, optional
        Event type of the LAT (FRONT, BACK, FRONT+BACK, PSF0 ... PSF3), FITS file as of ``gtpsf``, or 68 % radii of the
        energy bins, such as ``"0.8, 0.4 deg"``. Default: that of the map, or else of all events of the LAT. Of optical
        images the stars' full width at half maximum, such as ``"2.5 pix"``. Default: measured.
    exposure : path-like, optional
        HEALPix exposure cube as of ``gtexpcube2``, with which the catalogue has fluxes.
    overwrite : bool, optional
        Whether existing files may be replaced.
    quiet : bool, optional
        Show neither progress nor summary.

    Returns
    -------
    SampleTable
        The catalogue, see `PointSourceFinder.predict`.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the contents of a file or an option cannot be used.
    """
    outputs = [(output, TABLES), (regions, REGIONS), (plot, PICTURES)]
    read = (path for path in (mask, psf, weights) if path is not None and Path(path).is_file())
    check_outputs(outputs, overwrite=overwrite, inputs=(counts, exposure, *read))
    if plot is not None:
        require_matplotlib()
    finder = _load_finder(weights, threshold, quiet)
    masking = None if mask is None else RegionMask(mask).fit([])
    optical = finder.kind == "optical"
    for_counts = {"energy-edges": energy_edges, "nside": nside, "event-type": event_type, "exposure": exposure}
    unfit = [option for option, value in for_counts.items() if optical and value is not None]
    if unfit:
        raise ValueError(f"--{unfit[0]} is for counts maps, but the weights are for optical images")
    say(f"reading {counts}", quiet)
    skymap = _read_image(counts) if optical else _read_counts(counts, energy_edges, nside, event_type)
    if masking is not None:
        skymap = masking.transform(skymap)
    if psf is not None and optical:
        finder.set_params(psf=psf)
    elif psf is not None:
        _attach(skymap, "psf", _read_psf(psf, _energy_edges(skymap)))
    if exposure is not None:
        _attach(skymap, "exposure", read_exposure(exposure, skymap))
    catalogue = finder.predict(skymap)
    catalogue.meta |= {"input": str(counts), "weights": str(weights), "astrolearn": version("astrolearn")}
    say("writing files", quiet)
    written = write_outputs([
        (output, lambda path: _write_catalogue(catalogue, path)),
        (regions, lambda path: _circles(catalogue, optical).write(path, format=REGIONS[path.suffix])),
        (plot, lambda path: _draw(skymap, catalogue, optical, path)),
    ], overwrite=overwrite)
    if not quiet:
        print(_strongest(catalogue, optical), list_of(written), sep="\n")
    return catalogue


def _read_counts(path, energy_edges, nside, event_type):
    """`SkyMap`, or CCDData for WCS images, from a file of any kind that `find` takes."""
    edges = None if energy_edges is None else parse_edges(energy_edges)
    if _is_photon_list(path):
        return map_photons(path, energy_edges=edges, nside=nside, event_type=event_type)
    for option, value in (("--nside", nside), ("--event-type", event_type)):
        if value is not None:
            raise ValueError(f"{path}: {option} is for photon lists, and this is a map")
    skymap = read_map(path)
    if edges is None:
        return skymap
    if _energy_edges(skymap) is not None:
        return EnergyRebinner(edges).transform(skymap)
    n_energy = skymap.n_energy if isinstance(skymap, SkyMap) else 1 if skymap.data.ndim == 2 else len(skymap.data)
    if len(edges) != n_energy + 1:
        raise ValueError(f"{path}: energy bins need one edge more than there are bins, "
                         f"but there are {len(edges)} edges for {n_energy}")
    _attach(skymap, "energy_edges", edges)
    return skymap


def _read_image(path):
    """An optical image; what does not say its unit is in the detector's numbers."""
    with open_fits(path) as hdus:
        return image_from_hdus(hdus, default_unit=u.adu)


def _circles(catalogue, optical):
    """Regions around the sources."""
    if not optical:
        return to_regions(catalogue)
    return to_regions(catalogue["x_centroid", "y_centroid"], catalogue.meta["fwhm"])


def _draw(skymap, catalogue, optical, path):
    """Write a picture."""
    if optical:
        plot_stars(skymap, catalogue).savefig(path, dpi=150)
    else:
        save_figure(plot_sky(skymap, catalogue), path)


def _is_photon_list(path):
    """Whether a FITS file holds a table, but neither a HEALPix map nor an image."""
    with open_fits(path) as hdus:
        if healpix_hdu(hdus) is not None or any(hdu.is_image and hdu.header["NAXIS"] >= 2 for hdu in hdus):
            return False
        if not any(isinstance(hdu, BinTableHDU) for hdu in hdus):
            raise ValueError("neither a counts map nor a photon list is in this file")
        return True


def _read_psf(text, edges):
    """PSF from what the user says of it."""
    is_file = Path(text).is_file()
    try:
        radii = None if is_file else parse_psf(text)
    except ValueError as error:
        raise ValueError(f"--{error}, and there is no such file") from None
    if radii is not None:
        return radii
    if edges is None:
        raise ValueError(f"--psf {text} needs the energies of the map: give them with --energy-edges")
    return read_psf(text, edges) if is_file else lat_psf(edges, text)


def _strongest(catalogue, optical, n=10):
    """Text on the most significant sources."""
    if len(catalogue) == 0:
        return "No sources found."
    rows = catalogue[np.argsort(-catalogue["significance"])[:n]]
    columns = {"probability": (rows["probability"], ".3f"), "significance": (rows["significance"], ".1f")}
    if optical:
        columns = {"x": (rows["x_centroid"], ".2f"), "y": (rows["y_centroid"], ".2f")} | columns
    else:
        coords = rows["coord"].galactic
        columns = {"l": (coords.l, ".2f"), "b": (coords.b, "+.2f"), "error": (rows["coord_error"], ".3f")} | columns
        columns["photons"] = (rows["counts"].value, ".0f")
    if "flux" in rows.colnames:
        columns["flux"] = (rows["flux"], ".2e")
    table = QTable({name: values for name, (values, _) in columns.items()})
    for name, (_, form) in columns.items():
        table[name].info.format = form
    head = f"{len(catalogue)} source{'' if len(catalogue) == 1 else 's'} found"
    head += "; the most significant:" if len(catalogue) > n else ":"
    return "\n".join([head, *table.pformat(max_lines=-1, max_width=-1)])


def demo(out="astrolearn-demo", *, seed=1, weights="fermi-lat", nside=256, overwrite=False, quiet=False):
    """
    Simulate ten years of the Fermi-LAT sky, find its sources, and say how many of them were found.

    Parameters
    ----------
    out : path-like, optional
        Folder for the catalogue ``sources.ecsv``, ds9 regions ``sources.reg`` and the picture ``sky.png``.
    seed : int, optional
        Seed of the simulation.
    weights : str or path-like, optional
        As for `find`.
    nside : int, optional
        HEALPix resolution of the sky.
    overwrite : bool, optional
        Whether the folder may hold files already; those of the same names are replaced.
    quiet : bool, optional
        Show neither progress nor results.

    Returns
    -------
    catalogue : SampleTable
        The sources found.
    skymap : SkyMap
        The simulated sky, with the true sources.

    Raises
    ------
    OSError
        If files cannot be written.
    ValueError
        If there are no such weights, or matplotlib is missing.
    """
    out = Path(out)
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise FileExistsError(f"the folder {out} is not empty: give another with --out, or --overwrite")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file, not a folder")
    require_matplotlib()
    finder = _load_finder(weights, None, quiet)
    say("simulating ten years of the Fermi-LAT sky", quiet)
    simulator = LATSkySimulator(nside=nside, verbose=finder.verbose)
    skymap, = simulator.sample(random_state=seed)
    say("looking for sources", quiet)
    catalogue = finder.predict(skymap)
    catalogue.meta |= {"seed": seed, "weights": str(weights), "astrolearn": version("astrolearn")}
    truth = skymap.sources[skymap.sources["significance"] >= finder.setting("min_significance")]
    radius = finder.setting("match_radius")
    parts = {name: recover(catalogue, truth, radius, min_latitude=latitude)
             for name, latitude in (("whole sky", 0), ("|b| > 20 deg", 20))}
    limit = parts["whole sky"].complete_above
    say("drawing the sky", quiet)
    figure = plot_sky(skymap, catalogue, truth, min_flux=limit if limit > 0 else None, radius=radius,
                      title="Simulated Fermi-LAT sky: ten years, FRONT photons of 0.3 GeV to 1 TeV")
    out.mkdir(parents=True, exist_ok=True)
    written = write_outputs([
        (out / "sources.ecsv", lambda path: _write_catalogue(catalogue, path)),
        (out / "sources.reg", lambda path: to_regions(catalogue).write(path, format="ds9")),
        (out / "sky.png", lambda path: save_figure(figure, path)),
    ], overwrite=overwrite)
    if not quiet:
        print(_recovered(parts), list_of(written), sep="\n\n")
    return catalogue, skymap


def _recovered(parts):
    """Text on how many of the simulated sources were found: `Recovery` of each part of the sky."""
    bins = next(iter(parts.values())).by_flux
    unit = 1e-10 * bins["low"].unit
    rows = [["", *(text for name in parts for text in (name, ""))],
            ["flux > 1 GeV", *("purity", "completeness") * len(parts)]]
    for number, (low, high) in enumerate(zip(bins["low"].to_value(unit), bins["high"].to_value(unit), strict=True)):
        rows.append([f"{low:5.3g} - {high:.3g}" if np.isfinite(high) else f"{low:5.3g} -"])
        for part in parts.values():
            row = part.by_flux[number]
            rows[-1] += [_share(row["purity"], row["n_detected"]), _share(row["completeness"], row["n_reference"])]
    rows.append(["all"])
    for part in parts.values():
        rows[-1] += [_share(part.match.purity, len(part.match.catalogue)),
                     _share(part.match.completeness, len(part.match.reference))]
    rows.append(["90 % found from", *(text for part in parts.values()
                                      for text in ("", f"{part.complete_above.to_value(unit):.2f}"))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([
        *lines[:2], rule, *lines[2:-2], rule, *lines[-2:], "",
        "Fluxes are in 1e-10 photons / (cm2 s). Purity: share of the detections that are true, by the flux measured;",
        "completeness: share of the simulated sources that were found, by true flux; in brackets: how many there are.",
    ])


def _share(share, number):
    return f"{share:.3f} ({number})" if number else "-"


def _load_finder(weights, threshold, quiet):
    """The finder of shipped weights, or of a file."""
    finder = load_weights(PointSourceFinder, weights, quiet)
    return finder if threshold is None else finder.set_params(threshold=threshold)


def _write_catalogue(catalogue, path):
    """Write a catalogue as ECSV or FITS."""
    catalogue = catalogue.copy(copy_data=False)
    if len(catalogue) == 0:  # astropy cannot read an ECSV file of no rows whose columns have two dimensions
        for name in ("bin_counts", "bin_counts_error", "bin_flux", "bin_flux_error"):
            if name in catalogue.colnames:
                catalogue[name] = catalogue[name].reshape(0)
    write_table(catalogue, path)


# SkyMap has attributes where images have entries in meta
def _attach(skymap, name, value):
    if isinstance(skymap, SkyMap):
        setattr(skymap, name, value)
    else:
        skymap.meta[name] = value


def _energy_edges(skymap):
    return skymap.energy_edges if isinstance(skymap, SkyMap) else skymap.meta.get("energy_edges")
