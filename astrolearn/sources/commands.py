"""The commands ``astrolearn find`` and ``astrolearn demo``: catalogues from files, and from a simulated sky."""

import copy
import os
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io.fits import BinTableHDU

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
from astrolearn.sky.energy import SPECTRAL_INDEX, edge_groups, parse_edges
from astrolearn.sky.fits_tools import open_fits
from astrolearn.sky.healpix_io import healpix_hdu
from astrolearn.sky.image_io import image_from_hdus
from astrolearn.sky.stack import stack_maps
from astrolearn.sources.classes.counterparts import add_counterparts, read_reference
from astrolearn.sources.classifier import SourceClassifier
from astrolearn.sources.counts_maps import parse_psf
from astrolearn.sources.fermi import LATSkySimulator, lat_psf
from astrolearn.sources.fermi.instrument import lat_exposure
from astrolearn.sources.fermi.photon_lists import map_photons, map_photons_yearly, selected_energies
from astrolearn.sources.finder import PointSourceFinder
from astrolearn.sources.optical.plots import plot_stars
from astrolearn.sources.plots import plot_sky, save_figure
from astrolearn.sources.recovery import recover
from astrolearn.sources.reports import census, recovered, strongest

__all__ = ["demo", "find"]

_FILLED = 0.9  # share of a typical source's photons in a bin that a list must have, or else its spectra mislead
_NEAR_LOWEST = 1.1  # the lowest of thousands of photons lies nearer to the lowest energy that was asked for


def find(
    counts, output, *, regions=None, plot=None, energy_edges=None, nside=None, event_type=None, threshold=None,
    weights="fermi-lat", classify=None, counterparts=None, mask=None, psf=None, exposure=None, overwrite=False,
    quiet=False,
):
    """
    Find point sources in counts maps or a photon list and tell what they are, or find stars in an optical image.

    Parameters
    ----------
    counts : path-like, or list of path-like
        FITS file: HEALPix map, WCS image or cube of counts, or photon list (FT1); for weights of optical images, an
        image with any BUNIT. Or several maps of equal pixels and energy bins, one for each year: sources are found in
        their sum.
    output : path-like
        The catalogue to write, ``.ecsv`` or ``.fits``.
    regions : path-like, optional
        Circles of three times the 68 % position error to write (of optical images: as wide as two stars, in pixels),
        ``.reg`` (ds9) or ``.crtf``.
    plot : path-like, optional
        Picture to write, ``.png``, ``.pdf``, ``.svg`` or ``.jpg``.
    energy_edges : `~astropy.units.Quantity` or str, optional
        Edges of energy bins, such as ``"1, 3, 10 GeV"``: any for a photon list; bins of a map are merged, or named if
        the file does not say which they are. Default for photon lists: those of the classifier, or else
        `~astrolearn.sources.fermi.photon_lists.choose_edges`.
    nside : int, optional
        HEALPix resolution for a photon list. Default: `~astrolearn.sources.fermi.photon_lists.choose_nside`.
    event_type : {"FRONT", "BACK"}, optional
        Photons to take from a photon list. Default: all.
    threshold : float, optional
        Smallest probability of a source. Default: that of the weights.
    weights : str or path-like, optional
        Name of weights that come with the package, or a file that ``PointSourceFinder.save`` wrote.
    classify : str or path-like, optional
        Say what the sources are, and which are fake: name of weights of a `~astrolearn.SourceClassifier` that come with
        the package, such as ``"fermi-lat-classes"``, or a file that its ``save`` wrote. Which sources vary is taken
        from yearly maps, or the times of a photon list, whose energy bins are by default those of the classifier.
        Default: sources are not classified.
    counterparts : path-like, optional
        FITS or ECSV catalogue of known sources, of which the nearest one to each source is added.
    mask : path-like, optional
        Regions to leave out: a ds9 or CRTF file, or the text of one.
    psf : str, optional
        Event type of the LAT (FRONT, BACK, FRONT+BACK, PSF0 ... PSF3), FITS file as of ``gtpsf``, or 68 % radii of the
        energy bins, such as ``"0.8, 0.4 deg"``. Default: that of the map, or else of all events of the LAT. Of optical
        images the stars' full width at half maximum, such as ``"2.5 pix"``. Default: measured.
    exposure : path-like, optional
        HEALPix exposure cube as of ``gtexpcube2``, with which the catalogue has fluxes. It is that of all years.
        Default: sources of a photon list are classified with about that of the LAT's survey in as many years.
    overwrite : bool, optional
        Whether existing files may be replaced.
    quiet : bool, optional
        Show neither progress nor summary.

    Returns
    -------
    SampleTable
        The catalogue, see `PointSourceFinder.predict`, `SourceClassifier.classify` and
        `~astrolearn.sources.classes.counterparts.add_counterparts`.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the contents of a file or an option cannot be used.

    Warns
    -----
    UserWarning
        If sources are to be classified, and a photon list has no times or is shorter than a year and a half, or maps
        have no exposure.
    """
    paths = list(counts) if isinstance(counts, list | tuple) else [counts]
    outputs = [(output, TABLES), (regions, REGIONS), (plot, PICTURES)]
    read = (path for path in (mask, psf, weights, classify) if path is not None and Path(path).is_file())
    check_outputs(outputs, overwrite=overwrite, inputs=(*paths, exposure, counterparts, *read))
    if plot is not None:
        require_matplotlib()
    finder = _load_finder(weights, threshold, quiet)
    masking = None if mask is None else RegionMask(mask).fit([])
    optical = finder.kind == "optical"
    for_counts = {"energy-edges": energy_edges, "nside": nside, "event-type": event_type, "exposure": exposure,
                  "classify": classify, "counterparts": counterparts}
    unfit = [option for option, value in for_counts.items() if optical and value is not None]
    if unfit:
        raise ValueError(f"--{unfit[0]} is for counts maps, but the weights are for optical images")
    if optical and len(paths) > 1:
        raise ValueError("several files are for counts maps, but the weights are for optical images: give one image")
    classifier = None if classify is None else _load_classifier(classify, quiet)
    known = None if counterparts is None else read_reference(counterparts)
    say(f"reading {', '.join(map(str, paths))}", quiet)
    maps = [_read_image(*paths)] if optical else _read_counts(paths, energy_edges, nside, event_type, classifier)
    if classifier is not None:
        _check_bins(paths[0], _energy_edges(maps[0]), classifier.energy_edges_)
    if masking is not None:
        maps = masking.transform(maps)
    if psf is not None and optical:
        finder.set_params(psf=psf)
    elif psf is not None:
        _attach(maps, "psf", _read_psf(psf, _energy_edges(maps[0])))
    if exposure is not None:
        _attach(maps, "exposure", read_exposure(exposure, maps[0]) / len(maps))
    skymap = stack_maps(maps) if len(maps) > 1 else maps[0]
    shown = None if classifier is None else _exposed(maps, paths)
    catalogue = finder.predict(skymap)
    if classifier is not None:
        say("telling classes", quiet)
        catalogue = classifier.classify(shown if len(shown) > 1 else shown[0], catalogue)
    if known is not None:
        catalogue = add_counterparts(catalogue, known)
    named = {"input": ", ".join(map(str, paths)), "weights": weights, "classifier": classify,
             "counterparts": counterparts, "astrolearn": version("astrolearn")}
    catalogue.meta |= {key: str(value) for key, value in named.items() if value is not None}
    say("writing files", quiet)
    written = write_outputs([
        (output, lambda path: _write_catalogue(catalogue, path)),
        (regions, lambda path: _circles(catalogue, optical).write(path, format=REGIONS[path.suffix])),
        (plot, lambda path: _draw(skymap, catalogue, optical, path)),
    ], overwrite=overwrite)
    if not quiet:
        classes = [census(catalogue)] if classifier is not None and len(catalogue) else []
        print(strongest(catalogue, optical), *classes, list_of(written), sep="\n")
    return catalogue


def _read_counts(paths, energy_edges, nside, event_type, classifier):
    """Maps, `SkyMap` or CCDData for WCS images, from files of any kind that `find` takes: one, or one for each year."""
    edges = None if energy_edges is None else parse_edges(energy_edges)
    lists = [path for path in paths if _is_photon_list(path)]
    if lists and len(paths) > 1:
        raise ValueError(f"{lists[0]}: this is a photon list, but several files must be maps, one for each year: merge "
                         "photon lists into one of all years, which is divided by its times where that is of use")
    if lists and classifier is not None:
        edges = partial(_filled_edges, classifier.energy_edges_) if edges is None else edges
        return map_photons_yearly(*paths, energy_edges=edges, nside=nside, event_type=event_type)[1]
    if lists:
        return [map_photons(*paths, energy_edges=edges, nside=nside, event_type=event_type)]
    for option, value in (("--nside", nside), ("--event-type", event_type)):
        if value is not None:
            raise ValueError(f"{paths[0]}: {option} is for photon lists, and this is a map")
    real = [os.path.realpath(path) for path in paths]
    twice = [str(path) for path, name in zip(paths, real, strict=True) if real.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]}: this file is given twice, and its counts would be added twice")
    return [_read_counts_map(path, edges) for path in paths]


def _filled_edges(edges, events):
    """The classifier's bins, if these photons fill them."""
    edges = parse_edges(edges)
    selected, energies = selected_energies(events), events["ENERGY"].to(edges.unit)
    if selected is None:  # a short list that is complete need not have a photon near the highest energy
        lowest = edges[0] if energies.min() <= _NEAR_LOWEST * edges[0] else energies.min()
        highest = edges[-1] if energies.max() >= edges[-2] else energies.max()
    else:
        lowest, highest = selected.to(edges.unit)
    ends = u.Quantity([lowest, highest]).clip(edges[0], edges[-1])
    wanted, reached = (np.diff(-values.value ** (1 - SPECTRAL_INDEX)) for values in (edges, edges.clip(*ends)))
    if np.any(reached < _FILLED * wanted):
        gaps = [f"{low.value:.4g} to {high:.4g}" for low, high in ((edges[0], ends[0]), (ends[1], edges[-1]))
                if low < high]
        raise ValueError(f"the classifier needs photons of {edges[0].value:g} to {edges[-1]:g}, and those of "
                         f"{' and '.join(gaps)} are missing: leave out --classify to find sources only")
    return edges


def _check_bins(path, edges, wanted):
    """Refuse, before the search, maps that the classifier would refuse after it."""
    if edges is None:
        raise ValueError(f"{path}: the classifier needs the energy bins {wanted}, and the file does not say which it "
                         "has: give them with --energy-edges, or leave out --classify")
    try:
        edge_groups(parse_edges(edges), wanted)
    except ValueError:
        raise ValueError(f"{path}: the classifier needs the energy bins {wanted}, which cannot be made of those of "
                         f"the map, {edges}: leave out --classify to find sources only") from None


def _exposed(maps, paths):
    """
    Maps as the classifier is to see them.

    Those of a photon list get about the exposure that the LAT's survey has in their time: good enough to tell spectra,
    and too rough for fluxes in a catalogue.
    """
    if all(_of_map(skymap, "exposure") is not None for skymap in maps):
        return maps
    if len(paths) == 1 and _is_photon_list(*paths) and "years" in maps[0].meta:
        first, event_type = maps[0], maps[0].meta["event_type"]
        exposure = lat_exposure(first.energy_edges, first.nside, first.meta["years"],
                                event_type.upper() if event_type else "FRONT+BACK", nest=first.nest)
        maps = [copy.copy(skymap) for skymap in maps]
        _attach(maps, "exposure", exposure.astype(np.float32))
        return maps
    warnings.warn(f"{paths[0]}: the exposure is not known, and the classifier takes that of its training, which for "
                  "weights of the package is ten years of all photons: give the true one with --exposure", UserWarning,
                  stacklevel=3)
    return maps


def _read_counts_map(path, edges):
    """Map from a file, with energy bins merged or named."""
    skymap = read_map(path)
    if edges is None:
        return skymap
    if _energy_edges(skymap) is not None:
        return EnergyRebinner(edges).transform(skymap)
    n_energy = skymap.n_energy if isinstance(skymap, SkyMap) else 1 if skymap.data.ndim == 2 else len(skymap.data)
    if len(edges) != n_energy + 1:
        raise ValueError(f"{path}: energy bins need one edge more than there are bins, "
                         f"but there are {len(edges)} edges for {n_energy}")
    _attach([skymap], "energy_edges", edges)
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
        print(recovered(parts), list_of(written), sep="\n\n")
    return catalogue, skymap


def _load_finder(weights, threshold, quiet):
    """The finder of shipped weights, or of a file."""
    finder = load_weights(PointSourceFinder, weights, quiet)
    return finder if threshold is None else finder.set_params(threshold=threshold)


def _load_classifier(weights, quiet):
    """The classifier of shipped weights, or of a file."""
    return load_weights(SourceClassifier, weights, quiet)


def _write_catalogue(catalogue, path):
    """Write a catalogue as ECSV or FITS."""
    catalogue = catalogue.copy(copy_data=False)
    if len(catalogue) == 0:  # astropy cannot read an ECSV file of no rows whose columns have two dimensions
        for name in ("bin_counts", "bin_counts_error", "bin_flux", "bin_flux_error"):
            if name in catalogue.colnames:
                catalogue[name] = catalogue[name].reshape(0)
    write_table(catalogue, path)


# SkyMap has attributes where images have entries in meta
def _attach(maps, name, value):
    for skymap in maps:
        if isinstance(skymap, SkyMap):
            setattr(skymap, name, value)
        else:
            skymap.meta[name] = value


def _of_map(skymap, name):
    return getattr(skymap, name) if isinstance(skymap, SkyMap) else skymap.meta.get(name)


def _energy_edges(skymap):
    return _of_map(skymap, "energy_edges")
