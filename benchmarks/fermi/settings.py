"""What was chosen before any real map was scored: on simulated skies only, by `benchmarks.fermi.choices`.

``python -m benchmarks fermi --only choices`` measures the alternatives again.
"""

__all__ = ["GROUPS_50", "TEMPLATE_50", "TS_OPTIONS", "TS_THRESHOLD"]

# For the TS map, by kind of map: the share of the PSF in the fit's window. Where sources crowd (wide PSFs below 1 GeV)
# a small window lets fewer neighbours in.
TS_OPTIONS = {"2-20": {"containment": 0.9}, "50": {"containment": 0.9}, "wide": {"containment": 0.3, "finer": False}}

GROUPS_50 = ((0, 1, 2),)  # the bins of 50, 171, 585, 2000 GeV that are merged
TEMPLATE_50 = False  # whether the headline is measured with a diffuse template

TS_THRESHOLD = 3.0  # sqrt(TS) of best F1 on six bins
