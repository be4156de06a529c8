"""
A simulated Fermi-LAT sky
=========================

`~astrolearn.sources.fermi.LATSkySimulator` draws photons of sources and of the diffuse emission, and knows which source
is where. No file is needed: without the official Galactic template, an analytic model of the same brightness takes its
place.
"""

# %%
# Ten years of photons above 1 GeV that converted in the front of the detector, where the angular resolution is best. A
# small sky, to be quick: the pixels are 0.5 deg wide.
import healpy as hp
import matplotlib.pyplot as plt
import numpy as np

from astrolearn.sources.fermi import LATSkySimulator

simulator = LATSkySimulator("1, 3, 10, 100 GeV", nside=128, years=10)
(skymap,) = simulator.sample(random_state=1)
print(skymap)

# %%
# The counts between 1 and 3 GeV: the Galactic plane, and sources everywhere.
logarithm = np.log10(1 + skymap.data[0])
hp.mollview(logarithm, nest=skymap.nest, min=0, max=4, title="1 to 3 GeV", unit="log10(1 + counts)", cmap="inferno")
plt.show()

# %%
# The map carries what an analysis needs, and the truth. Only a few of the sources are bright enough to be found; the
# column ``significance`` is what the counts of a source amount to, in standard deviations over the background.
truth = skymap.sources
truth.sort("significance", reverse=True)
brightest = truth["class", "flux", "significance"][:10]
brightest["l"], brightest["b"] = truth["coord"][:10].l.deg, truth["coord"][:10].b.deg
brightest.pprint(max_width=-1)

# %%
# The number of sources by flux, and of those with a significance of 5 or more.
flux = truth["flux"].to_value("1 / (cm2 s)")
bins = np.geomspace(1e-12, 1e-6, 25)
plt.figure()
plt.hist(flux, bins, histtype="step", label="all")
plt.hist(flux[truth["significance"] > 5], bins, alpha=0.5, label="significance above 5")
plt.loglog()
plt.xlabel("photon flux [1 / (cm$^2$ s)]")
plt.ylabel("sources")
plt.legend()
plt.show()

# %%
# Active galaxies vary, pulsars do not. ``sample_yearly`` gives the map of all years, whose truth table holds the yearly
# fluxes, and one map of each year with the photons that came in it. Here, the brightest of each kind.
years = LATSkySimulator("1, 3, 10, 100 GeV", nside=64, years=10)
((whole, yearly),) = years.sample_yearly(random_state=1)
plt.figure()
for name, label, style in (("fsrq", "FSRQ", "o-"), ("psr", "pulsar", "s--")):
    brightest = np.flatnonzero(whole.sources["class"] == name)[0]
    mean = whole.sources["npred"][brightest].sum() / len(yearly)
    counts = np.array([year.sources["counts"][brightest].sum() for year in yearly])
    (line,) = plt.plot(whole.sources["yearly_flux"][brightest] / whole.sources["flux"][brightest], style[1:])
    plt.errorbar(range(10), counts / mean, np.sqrt(counts) / mean, fmt=style[0], color=line.get_color(), label=label)
plt.xlabel("year")
plt.ylabel("yearly / mean flux (lines) and photons (points)")
plt.legend()
plt.show()
