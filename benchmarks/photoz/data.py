"""The galaxies that the benchmarks measure on, split once and for all."""

from pathlib import Path

import astropy.units as u
import h5py
import numpy as np
from astropy.cosmology import units as cu

from astrolearn.core.tables import SampleTable
from astrolearn.photoz import check_duplicates
from astrolearn.photoz.images import read_image_file
from astrolearn.recipes.sdss_mgs_ugriz import BANDS, read_galaxies

__all__ = ["BANDS", "colours", "jpgs", "main_galaxies", "simulated_lsst"]

SPLIT_SEED = 60


def main_galaxies(data):
    """The Main Galaxy Sample: 5000 galaxies to train on and 2500 to test."""
    folder = Path(data) / "photoz"
    return *read_galaxies(folder / "sdss_mgs_train.txt"), *read_galaxies(folder / "sdss_mgs_validation.txt")


def colours(data):
    """Galaxies of the SDSS colours of 25,000 objects, without errors: half to train on."""
    rows = np.load(Path(data) / "photoz" / "sdss_colours_25k.npz")["data"]
    rows = rows[rows["spec_class"] == b"GALAXY"]
    table = SampleTable({band: rows[band] * u.mag for band in BANDS})
    return _halves(table, rows["redshift"] * cu.redshift)


def simulated_lsst(data):
    """Simulated galaxies of LSST's second data challenge in six bands with errors: half to train on."""
    with h5py.File(Path(data) / "photoz" / "lsst_dc2_simulated_train.hdf5") as file:
        group = file["photometry"]
        columns = {name: np.asarray(group[name], dtype=float) for name in group}
    table = SampleTable()
    for band in "ugrizy":
        for name in (f"mag_{band}_lsst", f"mag_err_{band}_lsst"):
            # what has no finite magnitude was not detected
            values = columns[name]
            table[name] = np.where(np.isfinite(values), values, 99.0) * u.mag
    return _halves(table, columns["redshift"] * cu.redshift)


def jpgs(data):
    """Four hundred SDSS pictures (400, 128, 128, 3) and the metallicities of the galaxies in dex."""
    folder = Path(data) / "photoz"
    rows = np.genfromtxt(folder / "sdss_gri_jpg_metallicity.csv", delimiter=",", names=True, dtype=None, encoding=None)
    images = np.stack([read_image_file(folder / "sdss_gri_jpg" / f"{name}.jpg") for name in rows["objID"]])
    return images, rows["oh_p50"] * u.dex


def _halves(table, redshift):
    """Random halves without any galaxy that stands there twice."""
    kept = ~check_duplicates(table)
    table, redshift = table[kept], redshift[kept]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    first, second = np.split(order, [len(order) // 2])
    return table[first], redshift[first], table[second], redshift[second]
