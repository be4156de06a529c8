"""
Galaxies pixel by pixel
=======================

A simulated HST field in four bands, and what each of its pixels belongs to.
"""

# %%
# A field of 15 arcsec with more galaxies than the sky has, so that there is something to see.

import numpy as np
from matplotlib import pyplot as plt

from astrolearn import MorphologySegmenter
from astrolearn.morphology import GalaxySceneSimulator
from astrolearn.morphology.plots import class_picture

simulator = GalaxySceneSimulator(shape=(256, 256), density=500, magnitudes=(18, 25))
(scene,) = simulator.sample(1, random_state=8)
list(scene.images)

# %%
# The weights that come with the package answer for images of any size in one pass.

segmenter = MorphologySegmenter.from_pretrained("hst-simulated")
probability, segments, catalogue = segmenter.analyze(scene.images)
catalogue["label", "x_centroid", "y_centroid", "class", "p_spheroid", "p_disk", "p_irregular", "p_point_source"]

# %%
# The light, the true classes and those found: spheroids are vermilion, disks blue, irregulars green, point sources
# yellow. What could be either of two is pale, what could be sky is dark.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained", sharey=True)
noise = scene.images["F160W"].meta["NOISE"]
axes[0].imshow(np.arcsinh(scene.images["F160W"].data / (3 * noise)), origin="lower", cmap="gray_r", vmax=3)
axes[1].imshow(class_picture(scene.labels), origin="lower")
axes[2].imshow(class_picture(probability), origin="lower")
for one, title in zip(axes, ("F160W", "drawn", "found"), strict=True):
    one.set(title=title, xlabel="x (pixels of 0.06 arcsec)")
axes[0].set_ylabel("y (pixels of 0.06 arcsec)")

# %%
# How many sources there are of each class:

for name in segmenter.classes:
    drawn = np.sum((scene.sources["class"] == name) & (scene.sources["label"] > 0))
    print(f"{name:13} drawn {drawn:3}, found {np.sum(catalogue['class'] == name):3}")
