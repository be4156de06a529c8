"""
Source counts below the noise
=============================

An image of 12.6 square degrees as ASKAP makes them for EMU, simulated, and its source counts: above the threshold of
detection, below it, and where the image says nothing.
"""

# %%
# A sky with counts that nobody has told the network: a Gaussian process around those of S3-SEX and Massardi et al.
# (2010).

import numpy as np
from matplotlib import pyplot as plt

from astrolearn import SourceCountRegressor
from astrolearn.counts import GaussianProcess, RadioSkySimulator
from astrolearn.counts.plots import plot_counts

simulator = RadioSkySimulator(instrument="emu", counts=GaussianProcess())
(image,) = simulator.sample(1, random_state=11)
image.data.shape, image.meta["NOISE"]

# %%
# A part of it, 11 arcmin wide. The noise is 25 µJy/beam, and sources of 125 µJy can just be seen.

figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
shown = axes.imshow(1e6 * image.data[:128, :128], origin="lower", cmap="gray_r", vmin=-75, vmax=250)
axes.set(xlabel="x (pixels of 5 arcsec)", ylabel="y (pixels of 5 arcsec)")
figure.colorbar(shown, label="brightness (µJy/beam)")

# %%
# The weights that come with the package were trained on skies whose counts are free at every half dex of flux, so they
# know no law by which bright sources tell the number of faint ones.

regressor = SourceCountRegressor.from_pretrained("emu-944mhz")
table = regressor.predict_counts([image])
table["S_mid", "n", "n_q16", "n_q84", "information", "prior_driven"]

# %%
# Bins down to a tenth of the threshold are measured, more or less. Those below are hatched: what is drawn there is the
# prior.

reference = 10**regressor.prior_mean_ * table["n"].unit
figure = plt.figure(figsize=(6.5, 5), layout="constrained")
plot_counts(table, true=image.meta["counts"], reference=reference, figure=figure)

# %%
# The errors of neighbouring bins are not independent, since they share the sources near their border:

covariance = table.meta["covariance"][0]
sigma = np.sqrt(np.diag(covariance))
np.round(np.diag(covariance / np.outer(sigma, sigma), 1), 2)
