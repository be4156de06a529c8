"""Compare simulated LAT skies with the real sky.

``python -m benchmarks simulator`` writes docs/benchmarks/simulator.rst, docs/_static/simulator_counts.png and
docs/_static/simulator_variability.png.
"""

import resource
import time
from pathlib import Path

import astropy.units as u
import healpy as hp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from scipy.integrate import cumulative_trapezoid

from astrolearn.sources.fermi import GalacticModel, GalacticTemplate, LATSkySimulator, SourcePopulation, lat_psf
from astrolearn.sources.fermi.diffuse import isotropic_counts
from astrolearn.sources.fermi.instrument import exposure_shape, mean_exposure
from benchmarks import variability

ROOT = Path(__file__).parents[1]
EDGES = np.array([0.3, 0.5, 1, 2, 7, 20, 1000])
# photons of ten years, SOURCE FRONT+BACK, whole sky, from the official template and isotropic spectrum
EXPECTED = [3.5e7, 2.9e7, 1.4e7, 7.3e6, 1.0e6, 2.7e5]
BANDS = [(0, 2), (2, 5), (5, 10), (10, 20), (20, 40), (40, 60), (60, 90)]
PIXEL_COUNTS = np.r_[np.arange(21), 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 1e6]
N_SKIES = 10


def table(header, rows):
    """An RST list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def speed():
    rows = []
    for label, options in (
        ("six bins 0.3 GeV-1 TeV, FRONT, nside 256", {}),
        ("the same, FRONT and BACK side by side", {"event_type": ("FRONT", "BACK")}),
        ("three bins 1 GeV-1 TeV, FRONT, nside 512", {"energy_edges": [1, 7, 20, 1000] * u.GeV, "nside": 512}),
    ):
        simulator = LATSkySimulator(**options)
        start = time.perf_counter()
        simulator.sample(random_state=0)
        first = time.perf_counter() - start
        start, busy = time.perf_counter(), time.process_time()
        simulator.sample(2, random_state=1)
        rows.append((label, f"{first:.1f} s", f"{(time.perf_counter() - start) / 2:.1f} s",
                     f"{(time.process_time() - busy) / 2:.1f} s"))
    start = time.perf_counter()
    simulator = LATSkySimulator(np.geomspace(10, 2000, 12) * u.GeV, event_type="FRONT+BACK")
    centre = SkyCoord(0, 0, unit="deg", frame="galactic")
    simulator.simulate_image(centre, (200, 400), random_state=0)
    first = time.perf_counter() - start
    start, busy = time.perf_counter(), time.process_time()
    simulator.simulate_image(centre, (200, 400), random_state=1)
    rows.append(("image of 400 x 200 pixels of 0.05 deg, 11 bins 10 GeV-2 TeV", f"{first:.1f} s",
                 f"{time.perf_counter() - start:.1f} s", f"{time.process_time() - busy:.1f} s"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    text = table(("sky", "first", "each further", "its CPU time"), rows)
    return text + f"\nPeak memory of all these: {memory:.1f} GB.\n"


def photons(cube):
    def exposure(energy):
        return mean_exposure(energy, "FRONT+BACK")

    isotropic = 4 * np.pi * isotropic_counts(EDGES, exposure)
    totals = {"expected": np.array(EXPECTED)}
    for name, model in (("template", GalacticTemplate(cube)), ("analytic", GalacticModel())):
        counts = model.counts(EDGES, exposure, 128).values()
        totals[name] = isotropic + sum(level * maps.mean(1) * 4 * np.pi for level, maps in counts)
    rows = [(f"{EDGES[i]:g}-{EDGES[i + 1]:g} GeV", *(f"{t[i]:.3g}" for t in totals.values())) for i in range(6)]
    return table(("bin", "reference", "template", "analytic model"), rows)


def diffuse_accuracy(cube):
    counts = {}
    for name, model in (("template", GalacticTemplate(cube)), ("smooth", GalacticModel(structure=None)),
                        ("clumpy", GalacticModel())):
        counts[name] = sum(level[:, None] * maps for level, maps in model.counts(EDGES, np.ones_like, 128).values())
    lon, lat = hp.pix2ang(128, np.arange(hp.nside2npix(128)), lonlat=True)
    lon, lat = np.abs((lon + 180) % 360 - 180), np.abs(lat)
    rows = []
    for low, high in BANDS:
        band = (lat >= low) & (lat < high)
        ratios = [counts[name][:, band].sum(1) / counts["template"][:, band].sum(1) for name in ("smooth", "clumpy")]
        cells = [counts["smooth"][2:, c].sum() / counts["template"][2:, c].sum()
                 for c in (band & (lon >= start) & (lon < start + 30) for start in range(0, 180, 30))]
        rows.append((f"{low}-{high} deg", *(f"{r.min():.2f}-{r.max():.2f}" for r in ratios),
                     f"{min(cells):.2f}-{max(cells):.2f}"))
    return table(("abs(b)", "smooth model / template, range over the bins", "with clouds",
                  "smooth, range over longitude in steps of 30 deg"), rows)


def response(gamma):
    worst = {}
    for name in ("2fhl", "3fhl"):
        with fits.open(gamma / f"fermi_{name}_psf_gc.fits.gz") as hdus:
            energies = hdus["PSF"].data["Energy"].astype(float) / 1e3
            theta = np.deg2rad(hdus["THETA"].data["Theta"].astype(float))
            for energy, profile in zip(energies, hdus["PSF"].data["Psf"].astype(float), strict=True):
                containment = cumulative_trapezoid(2 * np.pi * np.sin(theta) * profile, theta, initial=0)
                psf = lat_psf(np.array([0.995, min(1.005, 2000 / energy)]) * energy)
                for fraction in (0.34, 0.5, 0.68, 0.8, 0.9, 0.95):
                    real = np.interp(fraction, containment / containment[-1], theta)
                    ratio = psf.containment_radius(fraction).to_value(u.rad)[0] / real
                    worst.setdefault(fraction, []).append(ratio)
    rows = [(f"{f:.0%}", f"{np.std(r):.3f}", f"{min(r):.3f} to {max(r):.3f}") for f, r in worst.items()]
    text = table(("containment", "rms of ours / gtpsf - 1", "range"), rows)
    lines = []
    for name, nside, frame in (("3fhl", 64, "icrs"), ("2fhl", 32, "galactic")):
        with fits.open(gamma / f"fermi_{name}_exposure_cube_hpx.fits.gz") as hdus:
            real = hdus[1].data["ENERGY5"].astype(float)
        lon, lat = hp.pix2ang(nside, np.arange(real.size), lonlat=True)
        shape = exposure_shape(SkyCoord(lon, lat, unit="deg", frame=frame))
        lines.append(f"{name.upper()} {np.std(real / real.mean() / shape):.1%}")
    with fits.open(gamma / "fermi_lat_2-20gev_nside128_north.fits.gz") as hdus:
        real = hdus[1].data["exposure"].astype(float)
    lon, lat = hp.pix2ang(128, np.arange(real.size), lonlat=True)
    shape = exposure_shape(SkyCoord(lon, lat, unit="deg", frame="galactic"))
    lines.append(f"2-20 GeV UltracleanVeto {np.std(real / real.mean() / shape):.1%}")
    return text + f"\nShape of the exposure, rms difference from the real maps: {', '.join(lines)}.\n"


def distance(first, second):
    """Share of the pixels that would have to change their count to turn one histogram into the other."""
    return 0.5 * np.abs(first / first.sum() - second / second.sum()).sum()


def real_map(gamma):
    full = np.asarray(Table.read(gamma / "fermi_lat_2-20gev_nside128_north.fits.gz", hdu=1)["counts"], float)
    lat = hp.pix2ang(128, np.arange(full.size), lonlat=True)[1]
    north = (lat > 0) & (full >= 0)
    lat, counts = lat[north], full[north]
    real = np.histogram(counts, PIXEL_COUNTS)[0]

    def by_band(values):
        return np.array([values[(lat >= low) & (lat < high)].sum() for low, high in BANDS])

    models = {"template": gamma / "gll_iem_v07_allsky_lowres.fits.gz", "analytic": None}
    totals, histograms, bands, percentiles, pairs = {}, {}, {}, {}, {}
    quantiles = (10, 25, 50, 75, 90, 95, 99, 99.9)
    for name, diffuse in models.items():
        simulator = LATSkySimulator([2, 20] * u.GeV, nside=128, years=413 * 7 / 365.25, event_type="PSF3",
                                    event_class="ULTRACLEANVETO", diffuse=diffuse, perturb=None)
        skies = [s.to_order(False).data[0][north] for s in simulator.sample(N_SKIES, random_state=1)]
        totals[name] = np.array([s.sum() for s in skies])
        each = np.array([np.histogram(s, PIXEL_COUNTS)[0] for s in skies])
        histograms[name] = each.mean(0)
        pairs[name] = distance(each[0], each[1])
        bands[name] = np.array([by_band(s) for s in skies])
        percentiles[name] = np.percentile(skies, quantiles, axis=1).mean(1)
    rows = [("total", f"{counts.sum():.0f}",
             *(f"{t.mean() / counts.sum():.3f} ({t.min() / counts.sum():.3f}-{t.max() / counts.sum():.3f})"
               for t in totals.values()))]
    rows += [(f"b {low}-{high} deg", f"{value:.0f}", *(f"{np.median(b[:, i]) / value:.3f}" for b in bands.values()))
             for i, ((low, high), value) in enumerate(zip(BANDS, by_band(counts), strict=True))]
    text = table(("region", "real counts", "simulated / real, template", "simulated / real, analytic"), rows)
    text += "\nPixel counts at percentiles:\n\n" + table(
        ("percentile", "real", "template", "analytic"),
        [(f"{q:g}", f"{np.percentile(counts, q):.0f}", *(f"{p[i]:.1f}" for p in percentiles.values()))
         for i, q in enumerate(quantiles)])
    geminga = hp.ang2vec(195.13, 4.27, lonlat=True)  # the brightest source of this hemisphere
    core, ring = (hp.query_disc(128, geminga, np.deg2rad(r)) for r in (1.5, 3))
    level = full[np.setdiff1d(ring, core)].mean()
    text += f"\nGeminga alone, at b = 4.3 deg, gives {full[core].sum() - level * core.size:.0f} of the real photons.\n"
    for name, histogram in histograms.items():
        filled = real > 100
        ratio = histogram[filled] / real[filled]
        chi2 = np.mean((histogram - real)[filled] ** 2 / real[filled])
        text += (f"\nHistogram, {name}: {distance(histogram, real):.1%} of the pixels differ (between two simulated "
                 f"skies: {pairs[name]:.1%}); in bins of more than 100 pixels the ratio is {ratio.min():.2f} to "
                 f"{ratio.max():.2f}, its rms deviation {np.std(ratio):.3f}, and chi2 per bin {chi2:.1f}.\n")
    return text, real, histograms


def high_energy(gamma):
    events = Table.read(gamma / "fermi_lat_50gev_events_north.fits.gz", hdu=1)
    energy = np.asarray(events["ENERGY"]) / 1e3
    edges = np.array([50, 100, 200, 500, 2000])
    simulator = LATSkySimulator(edges * u.GeV, nside=128, years=80 / 12, event_type="FRONT+BACK", perturb=None,
                                diffuse=gamma / "gll_iem_v07_allsky_lowres.fits.gz")
    lat = hp.pix2ang(128, np.arange(hp.nside2npix(128)), nest=True, lonlat=True)[1]
    north = 0.5 + 0.5 * np.sign(lat)  # the pixels on the equator lie half in the north
    ours = np.mean([s.data @ north for s in simulator.sample(4, random_state=1)], axis=0)
    real = np.histogram(energy, edges)[0]
    rows = [(f"{a:g}-{b:g} GeV", f"{r}", f"{o:.0f}") for a, b, r, o in zip(edges, edges[1:], real, ours, strict=False)]
    return table(("energy", "real photons, b > 0", "simulated"), [*rows, ("all", len(events), f"{ours.sum():.0f}")])


def population(gamma):
    catalogue = Table.read(gamma / "4fgl_dr2_north.fits.gz", hdu=1)
    b, flux = np.asarray(catalogue["GLAT"]), np.asarray(catalogue["Flux1000"])
    skies = [SourcePopulation(flux_min=1.5e-10).sample(i) for i in range(N_SKIES)]
    ours_b = np.abs(np.concatenate([s["coord"].b.deg for s in skies]))
    ours_flux = np.concatenate([s["flux"].value for s in skies])
    limits = (2e-10, 5e-10, 1e-9, 2e-9, 5e-9, 1e-8)
    rows = []
    for low, high in ((0, 1), (1, 2), (2, 5), (5, 10), (10, 20), (20, 40), (40, 90)):
        here, ours = (b >= low) & (b < high), (ours_b >= low) & (ours_b < high)
        rows.append((f"{low}-{high} deg", *(
            f"{np.sum(here & (flux > s))} / {np.sum(ours & (ours_flux > s)) / 2 / len(skies):.0f}" for s in limits)))
    return table(("b", *(f"> {s:g}" for s in limits)), rows)


def figure(real, histograms, path):
    width = np.diff(np.minimum(PIXEL_COUNTS, 1000))
    centre = np.sqrt(PIXEL_COUNTS[:-1] * np.maximum(np.minimum(PIXEL_COUNTS[1:], 1000) - 1, 0))
    fig, (top, bottom) = plt.subplots(2, sharex=True, figsize=(7, 6), height_ratios=(3, 1), layout="constrained")
    top.errorbar(centre, real / width, np.sqrt(real) / width, fmt="o", ms=4, color="black", label="Fermi-LAT")
    for (name, histogram), colour, style in zip(histograms.items(), ("#0072B2", "#D55E00"), ("-", "--"), strict=True):
        label = {"template": "simulated, official template (1.5 deg)", "analytic": "simulated, analytic model"}[name]
        top.plot(centre, histogram / width, style, color=colour, label=label)
        bottom.plot(centre, histogram / np.maximum(real, 1), style, color=colour)
    bottom.axhline(1, color="black", lw=0.8)
    bottom.fill_between(centre, 1 - 1 / np.sqrt(np.maximum(real, 1)), 1 + 1 / np.sqrt(np.maximum(real, 1)),
                        color="0.85", lw=0)
    top.set_xscale("symlog", linthresh=1)
    top.set(xlim=(-0.2, 1000), yscale="log", ylabel="pixels per count")
    top.legend()
    bottom.set(xlabel="photons per pixel (2-20 GeV, nside 128, b > 0)", ylabel="simulated / real", ylim=(0.4, 1.6))
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=130)


def run(data):
    """Measure, and write the page and the figures; ``data`` is the folder of the real data."""
    gamma = Path(data) / "gamma"
    cube = gamma / "gll_iem_v07_allsky_lowres.fits.gz"
    speed_text = speed()
    real_text, real, histograms = real_map(gamma)
    figure(real, histograms, ROOT / "docs/_static/simulator_counts.png")
    variability.figure(gamma, ROOT / "docs/_static/simulator_variability.png")
    header, *rows = variability.compare(gamma)
    page = f"""\
.. Written by python -m benchmarks simulator.

Simulated LAT skies against the real sky
========================================

How well `astrolearn.sources.fermi.LATSkySimulator` reproduces the sky that it was not fitted to, and the tables that
its response, populations and light curves were fitted to. The real data are the 2-20 GeV map of the NPTFit example
(UltracleanVeto, PSF3 events, 413 weeks, nside 128), the photons above 50 GeV of 2FHL (80 months), and 4FGL-DR2, all at
b > 0.

Time
----

On two CPU cores; the CPU time shows how busy they were.

{speed_text}
The real 2-20 GeV map
---------------------

{N_SKIES} simulated skies without diffuse mis-modelling. Bright single sources make the totals at low latitude scatter.

{real_text}
.. figure:: ../_static/simulator_counts.png
   :alt: Number of pixels against photons per pixel, real and simulated

   Number of pixels by photons per pixel. The grey band is the Poisson error of the real numbers.

Photons above 50 GeV
--------------------

{high_energy(gamma)}
Diffuse and isotropic photons of the whole sky
----------------------------------------------

Ten years, SOURCE, FRONT+BACK.

{photons(cube)}
The analytic Galactic model
---------------------------

Against gll_iem_v07, six bins from 0.3 GeV to 1 TeV.

{diffuse_accuracy(cube)}
Sources brighter than a photon flux
-----------------------------------

4FGL-DR2 / simulated, one hemisphere; flux above 1 GeV in 1/(cm2 s). Near the plane and at the faint end the catalogue
is incomplete.

{population(gamma)}
Yearly variability
------------------

4FGL-DR2 / simulated: sources whose yearly fluxes are known to 20 % (median), and {variability.N_SIMULATED} simulated
light curves of each class with the same errors. The scatter within ten years is that of log-normal fluxes, after
subtraction of what the errors add; the errors given are those of the catalogue, from bootstrap samples of its sources.

{table(header, rows)}
.. figure:: ../_static/simulator_variability.png
   :alt: Share of the sources against scatter of their yearly fluxes, of 4FGL-DR2 and simulated, for three classes

   Scatter of yearly fluxes, as a cumulative distribution. The steps are the sources of 4FGL-DR2.

Response
--------

PSF of all SOURCE events from 10 GeV to 2 TeV against the gtpsf tables of 2FHL and 3FHL:

{response(gamma)}"""
    path = ROOT / "docs/benchmarks/simulator.rst"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
    print(page)
