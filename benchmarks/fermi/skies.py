"""Simulated skies that no finder has seen: of the kinds of the real maps, with seeds that the training does not use."""

import astropy.units as u
from astropy.coordinates import SkyCoord

from astrolearn.sources.fermi import LATSkySimulator
from benchmarks.fermi.data import EDGES_50

__all__ = ["SEED", "TUNING_SEED", "images", "simulator", "skies", "template"]

SEED = 900_000  # of the skies that are reported
TUNING_SEED = 950_000  # of those on which settings were chosen

_KINDS = {
    "wide": {"energy_edges": [0.3, 0.5, 1, 2, 7, 20, 1000] * u.GeV, "nside": 256, "event_type": "FRONT", "years": 10},
    "2-20": {
        "energy_edges": [2, 20] * u.GeV,
        "nside": 128,
        "event_type": "PSF3",
        "years": 413 / 52.18,
        "event_class": "ULTRACLEANVETO",
    },
    "50": {"energy_edges": EDGES_50, "nside": 512, "event_type": "FRONT+BACK", "years": 80 / 12},
    "image": {
        "energy_edges": [10 * 200 ** (i / 11) for i in range(12)] * u.GeV,
        "nside": 256,
        "event_type": "FRONT+BACK",
        "years": 10,
    },
}
_IMAGE = (SkyCoord(0, 0, unit="deg", frame="galactic"), (200, 400), 0.05 * u.deg)


def template(data):
    """Path of the Galactic diffuse model from which skies are made."""
    return data / "gamma" / "gll_iem_v07_allsky_lowres.fits.gz"


def simulator(kind, data, **changes):
    """Simulator of a kind: "wide" (six FRONT bins), "2-20", "50" (three bins) or "image" (11 bins)."""
    return LATSkySimulator(**({"diffuse": template(data)} | _KINDS[kind] | changes))


def skies(kind, n, data, seed=SEED, **changes):
    """Generate ``n`` skies one by one, with the seeds ``seed``, ``seed + 1`` ..."""
    made = simulator(kind, data, **changes)
    for i in range(n):
        yield made.sample(1, seed + i)[0]


def images(n, data, seed=SEED):
    """Generate ``n`` cubes of 20 x 10 deg around the Galactic centre: 11 bins of 10 GeV to 2 TeV, 0.05 deg pixels."""
    made = simulator("image", data)
    for i in range(n):
        yield made.simulate_image(*_IMAGE, random_state=seed + i)
