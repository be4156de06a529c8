"""
An inspiral in three months of TianQin data
===========================================

A simulated wave of a stellar black hole on its way into a massive one: its spectrum over the sensitivities of TianQin
and LISA, its strain in the noise, and its detection.
"""

# %%
# Ten solar masses spiral into a million, 0.45 Gpc away. The orbit is eccentric, so the wave has many harmonics; each is
# drawn out over the frequencies that it sweeps.
import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import QTable

from astrolearn import EMRIDetector
from astrolearn.emri import analytic_kludge, project
from astrolearn.emri.noise import signal_to_noise, whiten, whitening_filter
from astrolearn.emri.plots import plot_sensitivity, plot_spectrogram

source = QTable({
    "mass_1": [1e6] * u.Msun, "mass_2": [10] * u.Msun, "spin": [0.6], "p0": [8.4], "e0": [0.25],
    "inclination": [0.5] * u.rad, "gamma0": [0.7] * u.rad, "phase0": [0.1] * u.rad, "alpha0": [0.3] * u.rad,
    "theta_S": [75] * u.deg, "phi_S": [110] * u.deg, "theta_K": [45] * u.deg, "phi_K": [30] * u.deg,
    "distance": [0.45] * u.Gpc,
})
h_plus, h_cross = analytic_kludge(source, device="cpu")
figure = plt.figure(figsize=(7, 4.5), layout="constrained")
plot_sensitivity(h_plus[0], h_cross[0], label="an inspiral at 0.45 Gpc", figure=figure)
plt.show()

# %%
# The two channels of TianQin, whitened with its design noise. The wave is far below the noise at any time.
signal = whiten(project(h_plus, h_cross, source, "tianqin"), whitening_filter(262144, 30.0, "tianqin"))
print(f"signal-to-noise ratio {signal_to_noise(signal)[0]:.0f}")
noise = np.random.default_rng(1).normal(size=(2, 262144))
data = noise + signal[0].numpy()
hours = np.arange(240) * 30 / 3600
plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(hours, data[0, :240], color="0.75", lw=0.8, label="data")
plt.plot(hours, signal[0, 0, :240], color="#d55e00", label="signal alone")
plt.xlabel("time (h)")
plt.ylabel("whitened strain, channel I")
plt.legend(frameon=False, loc="upper right")
plt.show()

# %%
# The detector's answer for this series and for the same noise without the signal.
detector = EMRIDetector.from_pretrained("tianqin-3month")
table = detector.detect([data, noise])
table.pprint(max_width=-1)

# %%
# The spectrogram with the rotation of the satellites undone. The best track is between the dotted lines.
plot_spectrogram(data, figure=plt.figure(figsize=(8, 4.5), layout="constrained"))
plt.show()
