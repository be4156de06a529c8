"""The LAT's response against the numbers of its public tables."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from numpy.testing import assert_allclose
from scipy.integrate import cumulative_trapezoid

from astrolearn.sources.fermi import lat_exposure, lat_psf
from astrolearn.sources.fermi.instrument import EVENT_TYPES, check_energy_edges, exposure_shape


def narrow_psf(energy, event_type="FRONT+BACK"):
    return lat_psf(np.array([0.995, min(1.005, 2000 / energy)]) * energy * u.GeV, event_type)


# 68 % and 95 % containment radii [deg] of all SOURCE events: gtpsf tables of the 2FHL and 3FHL data sets
@pytest.mark.parametrize(
    ("energy", "r68", "r95"),
    [(10, 0.157, 0.717), (37.6, 0.103, 0.500), (52.4, 0.100, 0.473), (141, 0.100, 0.414), (532, 0.091, 0.338),
     (2000, 0.074, 0.258)],
)
def test_containment_follows_the_gtpsf_tables(energy, r68, r95):
    psf = narrow_psf(energy)
    assert_allclose(psf.containment_radius().to_value(u.deg)[0], r68, rtol=0.03)
    assert_allclose(psf.containment_radius(0.95).to_value(u.deg)[0], r95, rtol=0.04)


@pytest.mark.parametrize("name", ["fermi_2fhl_psf_gc.fits.gz", "fermi_3fhl_psf_gc.fits.gz"])
def test_profile_follows_the_whole_gtpsf_table(shared_data, name):
    with fits.open(shared_data / "gamma" / name) as hdus:
        energies = hdus["PSF"].data["Energy"].astype(float) / 1e3
        table = hdus["PSF"].data["Psf"].astype(float)
        theta = np.deg2rad(hdus["THETA"].data["Theta"].astype(float))
    for energy, profile in zip(energies, table, strict=True):
        containment = cumulative_trapezoid(2 * np.pi * np.sin(theta) * profile, theta, initial=0)
        psf = narrow_psf(energy)
        for fraction in (0.34, 0.5, 0.68, 0.8, 0.9, 0.95):
            radius = np.interp(fraction, containment / containment[-1], theta)
            assert_allclose(psf.containment_radius(fraction).to_value(u.rad)[0], radius, rtol=0.08)


def test_containment_at_low_energies():
    # 0.8 deg for all events at 1 GeV (LAT performance page); S_P for the halves of the detector
    assert_allclose(narrow_psf(1).containment_radius().to_value(u.deg), 0.80, rtol=0.05)
    assert_allclose(narrow_psf(1, "FRONT").containment_radius().to_value(u.deg), 0.58, rtol=0.03)
    assert_allclose(narrow_psf(0.3, "BACK").containment_radius().to_value(u.deg), 2.93, rtol=0.03)


def test_event_types_are_ordered_by_quality():
    radii = [narrow_psf(2, t).containment_radius().value[0] for t in ("PSF0", "BACK", "FRONT", "PSF3")]
    assert radii == sorted(radii, reverse=True)
    both = narrow_psf(2).containment_radius().value[0]
    assert radii[2] < both < radii[1]


def test_psf_of_a_bin_is_dominated_by_its_low_energies():
    wide = lat_psf([1, 10] * u.GeV).containment_radius()[0]
    assert narrow_psf(2.5).containment_radius()[0] < wide < narrow_psf(1).containment_radius()[0]
    hard = lat_psf([1, 10] * u.GeV, spectral_index=1.5).containment_radius()[0]
    assert hard < wide


def test_exposure_level_and_shares():
    full = lat_exposure([10, 12] * u.GeV, 16, years=7)
    # 3FHL: 84 months, P8R2_SOURCE
    assert_allclose(full.to_value(u.cm**2 * u.s).mean(), 3.12e11, rtol=0.01)
    front, back = (lat_exposure([10, 12] * u.GeV, 16, years=7, event_type=t) for t in ("FRONT", "BACK"))
    assert_allclose(front + back, full)
    assert_allclose(sum(lat_exposure([10, 12] * u.GeV, 16, years=7, event_type=f"PSF{i}") for i in range(4)), full)
    assert lat_exposure([0.1, 0.2] * u.GeV, 16).mean() < 0.6 * lat_exposure([10, 12] * u.GeV, 16).mean()


def test_exposure_follows_the_3fhl_cube(shared_data):
    with fits.open(shared_data / "gamma/fermi_3fhl_exposure_cube_hpx.fits.gz") as hdus:
        energy = hdus["ENERGIES"].data["Energy"] / 1e3
        cube = np.array([hdus[1].data[f"ENERGY{i + 1}"] for i in range(len(energy))])
    ra, dec = hp.pix2ang(64, np.arange(cube.shape[1]), lonlat=True)
    shape = exposure_shape(SkyCoord(ra, dec, unit="deg"))
    for i in (0, 8, 14):
        assert np.std(cube[i] / cube[i].mean() / shape) < 0.02
        level = lat_exposure(energy[i] * np.array([0.99, 1.01]) * u.GeV, 8, years=7).value.mean()
        assert_allclose(level, cube[i].mean(), rtol=0.02)


def test_exposure_of_another_data_set(shared_data):
    with fits.open(shared_data / "gamma/fermi_lat_2-20gev_nside128_north.fits.gz") as hdus:
        real = hdus[1].data["exposure"].astype(float)
    ours = lat_exposure([2, 20] * u.GeV, 128, years=413 * 7 / 365.25, event_type="PSF3", nest=False, acceptance=0.76)
    ratio = real / ours.value[0]
    assert_allclose(ratio.mean(), 1, atol=0.02)
    assert ratio.std() < 0.05


def test_pixel_order():
    ring, nest = (lat_exposure([1, 2] * u.GeV, 8, nest=nest)[0] for nest in (False, True))
    assert_allclose(hp.reorder(ring.value, r2n=True), nest.value)


def test_energies_in_other_units_and_ways():
    assert_allclose(check_energy_edges([300, 1000] * u.MeV).to_value(u.GeV), [0.3, 1])
    assert_allclose(check_energy_edges([0.3, 1]).to_value(u.GeV), [0.3, 1])
    assert lat_psf("1, 2 GeV") == lat_psf([1e3, 2e3] * u.MeV)


def test_bad_input():
    with pytest.raises(u.UnitConversionError, match="deg"):
        lat_psf([1, 2] * u.deg)
    for edges in ([0.01, 1], [1, 5000], [2, 1], [1]):
        with pytest.raises(ValueError, match="energy_edges"):
            lat_psf(edges * u.GeV)
    with pytest.raises(ValueError, match="unknown event type 'SIDE': choose from FRONT"):
        lat_exposure([1, 2] * u.GeV, 16, event_type="SIDE")
    assert "PSF3" in EVENT_TYPES
