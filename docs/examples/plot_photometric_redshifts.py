"""
Redshifts from colours, and how a network fools its user
========================================================

A catalogue of simulated galaxies in five bands: their redshifts, the probability of each redshift, and what happens to
a score if the same galaxies are in the training and in the test.
"""

# %%
# Half of the galaxies are old, with a deep break in their spectrum at 4000 Å, and half are young; no two are quite
# alike. The bands are those of SDSS, the errors those of a bright survey.
import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.cosmology import Planck18
from sklearn.model_selection import GroupKFold, KFold, cross_val_score

from astrolearn import PhotoZRegressor
from astrolearn.core.tables import SampleTable
from astrolearn.photoz import check_duplicates, metrics, object_groups
from astrolearn.photoz.plots import plot_pit, plot_redshifts

BANDS = {"u": (3050, 4030), "g": (3850, 5450), "r": (5500, 7000), "i": (6850, 8300), "z": (8050, 10500)}  # Å


def simulate(n, seed):
    """Galaxies of r < 17.8 up to z = 0.3."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.02, 0.3, n)
    old = rng.uniform(size=n) < 0.5
    step = np.where(old, rng.normal(0.5, 0.1, n), rng.normal(0.75, 0.1, n))  # flux below the break over that above
    slope = np.where(old, rng.normal(0.8, 0.4, n), rng.normal(-0.3, 0.5, n))
    curve = rng.normal(0, 0.7, n)
    table = SampleTable()
    for name, (low, high) in BANDS.items():
        rest = np.linspace(low, high, 60)[:, None] / (1 + z)
        flux = ((rest / 5500) ** (slope + curve * np.log(rest / 5500)) * np.where(rest < 4000, step, 1)).mean(axis=0)
        table[name] = -2.5 * np.log10(flux) + 0.015 * rng.normal(size=n)
    brightness = np.minimum(rng.normal(17.2, 0.6, n), 17.8) - table["r"]
    for name, error in zip(BANDS, (0.06, 0.015, 0.01, 0.01, 0.02), strict=True):
        error = error * 10 ** (0.2 * (table[name] + brightness - 17.5))
        table[name] = (table[name] + brightness + error * rng.normal(size=n)) * u.mag
        table[f"{name}_err"] = error * u.mag
    return table, z


train, z_train = simulate(4000, seed=1)
test, z_test = simulate(1000, seed=2)
regressor = PhotoZRegressor(random_state=1).fit(train, z_train)
table = regressor.predict_pdf(test)
shown = table["z_median", "z_std", "z_q16", "z_q84", "odds", "out_of_distribution"][:5]
for name in shown.colnames[:-1]:
    shown[name].info.format = ".4f"
shown.pprint()

# %%
# Redshifts of galaxies that it has not seen. Dashed lines are at an error of 0.05 (1 + z), beyond which galaxies count
# as outliers.
plot_redshifts(z_test, table["z_median"], figure=plt.figure(figsize=(5.5, 6.5), layout="constrained"))
plt.show()

# %%
# Every galaxy has a density of its own, and they are right: half of the true redshifts are below the medians, a tenth
# below the quantiles 0.1, and so on. The histogram of the probabilities below the true redshifts is flat.
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for k, style in zip(np.argsort(table["z_std"])[[100, 500, 950]], ("-", "--", ":"), strict=True):
    (line,) = axes.plot(table.meta["z_grid"], table["pdf"][k], ls=style)
    axes.axvline(z_test[k], color=line.get_color(), lw=1, alpha=0.6)
axes.set(xlabel="redshift (thin lines: the true ones)", ylabel="probability density", xlim=(0, 0.33), ylim=(0, None))
plot_pit(z_test, table, figure=plt.figure(figsize=(5.5, 3.5), layout="constrained"))
plt.show()

# %%
# Intervals cover what they say; distances are draws from the densities, taken through a cosmology.
for wanted in (0.5, 0.68, 0.95):
    lower, upper = regressor.predict_interval(test, wanted)
    print(f"{metrics.coverage(z_test, lower, upper):.3f} of the galaxies are in intervals for {wanted}")
distances = regressor.predict_distance(test[:3], Planck18, random_state=1)
for name in distances.colnames:
    distances[name].info.format = ".0f"
distances.pprint()

# %%
# Now the trap. A table of 600 rows has 60 galaxies ten times each, with magnitudes measured anew, as when a loop stores
# the same answer again and again. Split at random, a galaxy in the test has nine doubles in the training: the network
# knows it. Split by galaxies, it does not, and R² says so.
few, z_few = simulate(60, seed=3)
rows = np.repeat(np.arange(60), 10)
copies, z_copies, identifiers = few[rows], z_few[rows], rows + 1
rng = np.random.default_rng(4)
for name in BANDS:
    copies[name] += 0.1 * rng.normal(size=len(rows)) * copies[f"{name}_err"]
network = PhotoZRegressor(random_state=1)
r2 = cross_val_score(network, copies, z_copies, cv=KFold(5, shuffle=True, random_state=1))
print(f"split at random: R² = {r2.mean():.2f}")
groups = object_groups(copies, ids=identifiers)
r2 = cross_val_score(network, copies, z_copies, cv=GroupKFold(5), groups=groups, params={"groups": groups})
print(f"split by galaxies: R² = {r2.mean():.2f}")

# %%
# `check_duplicates` would have told.
import warnings  # noqa: E402

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    check_duplicates(copies, z_copies, ids=identifiers)
print(caught[0].message)
