"""
Sources of a Fermi-LAT sky
==========================

A `~astrolearn.PointSourceFinder` with the weights that come with the package finds the sources of a simulated sky,
where the truth is known, so that its catalogue can be checked.
"""

# %%
# Ten years of FRONT photons in six bins from 0.3 GeV to 1 TeV. In place of the simulation,
# ``SkyMap.read("counts.fits")`` would read a counts cube.
from itertools import pairwise

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from astrolearn import PointSourceFinder
from astrolearn.sky import match
from astrolearn.sources.fermi import LATSkySimulator

(skymap,) = LATSkySimulator().sample(random_state=2)
finder = PointSourceFinder.from_pretrained("fermi-lat")
catalogue = finder.predict(skymap)
catalogue["coord", "coord_error", "probability", "significance", "flux"][:5].pprint(max_width=-1)

# %%
# Which of them are real, and which sources were missed? Of the sources that were drawn, most are far too faint to be
# seen; the finder was trained to find those that are expected to stand out by 2.5 standard deviations or more.
truth = skymap.sources[skymap.sources["significance"] >= finder.min_significance]
result = match(catalogue, truth, 0.3 * u.deg)
print(f"purity {result.purity:.2f}, by chance {result.chance_rate:.2f}")

# %%
# Completeness by significance.
edges = np.geomspace(2.5, 100, 12)
found = result.found
fraction = [
    found[(truth["significance"] >= low) & (truth["significance"] < high)].mean()
    for low, high in pairwise(edges)
]
plt.stairs(fraction, edges)
plt.ylim(0, 1.05)
plt.xscale("log")
plt.xlabel("significance of the source [standard deviations]")
plt.ylabel("fraction found")
plt.show()

# %%
# The probabilities are calibrated. In bins of the reported probability, this is the fraction of detections that are
# real:
probability = catalogue["probability"]
bins = np.linspace(0.4, 1, 7)
real = [
    result.matched[(probability >= low) & (probability <= high)].mean()
    for low, high in pairwise(bins)
]
plt.figure()
plt.plot((bins[:-1] + bins[1:]) / 2, real, "o", label="this sky")
plt.plot([0.4, 1], [0.4, 1], "--", label="perfect")
plt.xlabel("reported probability")
plt.ylabel("fraction real")
plt.legend()
plt.show()
