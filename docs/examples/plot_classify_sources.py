"""
Blazars, pulsars and false alarms
=================================

A `~astrolearn.PointSourceFinder` finds the sources of a simulated sky, and a `~astrolearn.SourceClassifier` says what
they are: active galaxies, pulsars, remnants, or nothing at all. The truth is known, so both can be checked.
"""

# %%
# Ten years of photons in six bins from 0.3 GeV to 1 TeV, one map for each year, and the sum of them all.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from astrolearn import SourceClassifier
from astrolearn.sources.classes import true_classes
from astrolearn.sources.fermi import LATSkySimulator

simulator = LATSkySimulator(event_type="FRONT+BACK")
((total, years),) = simulator.sample_yearly(random_state=3)
classifier = SourceClassifier.from_pretrained("fermi-lat-classes")
catalogue = classifier.find_and_classify(years)
columns = ["significance", "probability", "class", "subclass", "p_agn", "p_psr", "p_fake"]
for name in columns[:2] + columns[4:]:
    catalogue[name].info.format = ".3f"
catalogue[columns][:5].pprint(max_width=-1)

# %%
# What each detection really is, by the true sources. A detection on a source that should have been too faint to be
# seen is neither right nor wrong (``faint``), and sources of the plane whose class nobody knows (``unk``) have no right
# answer.
truth = true_classes(catalogue, total.sources)
truth[np.isin(truth, ["bll", "fsrq"])] = "agn"
known = ~np.isin(truth, ["faint", "unk"])
labels = ["agn", "psr", "pwn_snr", "fake"]
display = ConfusionMatrixDisplay.from_predictions(
    truth[known], catalogue["class"][known], labels=labels, normalize="true", cmap="Blues", values_format=".2f"
)
display.ax_.set(xlabel="predicted class", ylabel="true class")
plt.show()

# %%
# The light curve of the brightest FSRQ and of the brightest pulsar, as they were simulated.
sources = total.sources
plt.figure()
for name, marker in (("fsrq", "o"), ("psr", "s")):
    source = sources[sources["class"] == name][0]
    plt.plot(np.arange(1, 11), source["yearly_flux"].value, marker, ls="-", label=name)
plt.yscale("log")
plt.xlabel("year")
plt.ylabel(f"photon flux above 1 GeV [{sources['yearly_flux'].unit:latex_inline}]")
plt.legend()
plt.show()

# %%
# A catalogue of known sources names the counterparts. Here the truth is the catalogue; real ones are read with
# `~astrolearn.sources.classes.read_reference`.
reference = sources[sources["significance"] > 5]["coord", "class"]
reference["name"] = [f"S{number:04d}" for number in range(len(reference))]
table = classifier.classify(years, catalogue[:8], reference)
table["counterpart_separation"].info.format = ".3f"
table["class", "subclass", "counterpart", "counterpart_class", "counterpart_separation"].pprint(max_width=-1)
