"""
Stars of a crowded field
========================

A `~astrolearn.PointSourceFinder` with the weights for optical images finds the stars of a simulated field, where the
truth is known, among cosmic rays and the bleeding of saturated stars.
"""

# %%
# A cluster, seen through a PSF 2.2 pixels wide, with artefacts. In place of the simulation,
# ``CCDData.read("image.fits", unit="adu")`` would read an image.
import matplotlib.pyplot as plt
import numpy as np

from astrolearn import PointSourceFinder
from astrolearn.sky import match
from astrolearn.sources.optical import Artefacts, MoffatPSF, StarFieldSimulator
from astrolearn.sources.optical.plots import plot_stars

spoilt = Artefacts(cosmic_rays=30, trails=1, hot_pixels=20, full_well=600)
camera = StarFieldSimulator((300, 400), psf=MoffatPSF(2.2), n_stars=700, n_clusters=1, n_galaxies=5, artefacts=spoilt)
(image,) = camera.sample(random_state=1)
finder = PointSourceFinder.from_pretrained("optical-stars")
catalogue = finder.predict(image)
catalogue[:5].pprint(max_width=-1)

# %%
# Which of them are real, and which stars were missed? Asked for are stars that would stand out by 5 standard deviations
# if they were alone; fainter and saturated ones, and galaxies, are neither right nor wrong.
truth = image.meta["sources"]
asked = (truth["kind"] == "star") & (truth["significance"] >= finder.setting("min_significance"))
positions = ["x_centroid", "y_centroid"]
result = match(catalogue[positions], truth[asked], 1.0, ignore=truth[~asked])
print(f"purity {result.purity:.2f}, completeness {result.completeness:.2f}")
picture = plt.figure(figsize=(10, 8), layout="constrained")
plot_stars(image, catalogue[~result.ignored], sources=truth[asked], figure=picture)
plt.show()

# %%
# Fluxes and positions of those that were found.
found, true = catalogue[result.catalogue_index], truth[asked][result.reference_index]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.loglog(true["flux"].value, found["flux"].value, ".")
left.loglog([100, 1e5], [100, 1e5], "--")
left.set(xlabel="true flux [adu]", ylabel="measured flux [adu]")
off = np.hypot(*(found[axis] - true[axis] for axis in positions))
right.loglog(true["significance"], off, ".")
right.set(xlabel="significance [standard deviations]", ylabel="distance from the true position [pixels]")
plt.show()
