"""Diffuse emission: spectra, templates on coarse grids, the analytic Galaxy and random departures from them."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from astrolearn.sky import RadialPSF
from astrolearn.sources.fermi import DiffusePerturbation, GalacticModel, GalacticTemplate
from astrolearn.sources.fermi.diffuse import isotropic_counts
from astrolearn.sources.fermi.fields import random_field, smear
from astrolearn.sources.fermi.instrument import mean_exposure

EDGES = np.array([0.3, 0.5, 1, 2, 7, 20, 1000])


def total(counts):
    return sum(level[:, None] * maps for level, maps in counts.values())


def write_cube(path, cube, energy, *, step=(1.0, -1.0), crpix2=None):
    header = fits.Header()
    header["CTYPE1"], header["CRVAL1"], header["CDELT1"], header["CRPIX1"] = "GLON-CAR", 0.0, step[1], 180.5
    rows = cube.shape[1]
    header["CTYPE2"], header["CRVAL2"], header["CDELT2"] = "GLAT-CAR", 0.0, step[0]
    header["CRPIX2"] = (rows + 1) / 2 if crpix2 is None else crpix2
    column = fits.Column("Energy", "D", unit="MeV", array=np.array(energy))
    fits.HDUList([fits.PrimaryHDU(cube.astype("f4"), header),
                  fits.BinTableHDU.from_columns([column], name="ENERGIES")]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("name", "event_type", "event_class"),
    [("iso_P8R3_SOURCE_V3_v1.txt", "FRONT+BACK", "SOURCE"), ("iso_P8R3_SOURCE_V3_FRONT_v1.txt", "FRONT", "SOURCE"),
     ("iso_P8R3_SOURCE_V3_BACK_v1.txt", "BACK", "SOURCE"),
     ("iso_P8R3_ULTRACLEANVETO_V3_PSF3_v1.txt", "PSF3", "ULTRACLEANVETO")],
)
def test_isotropic_spectrum_is_that_of_the_files(shared_data, name, event_type, event_class):
    energy, intensity, _ = np.loadtxt(shared_data / "gamma" / name).T
    counts = isotropic_counts(EDGES, np.ones_like, event_type, event_class)
    for low, high, number in zip(EDGES[:-1], EDGES[1:], counts, strict=True):
        grid = np.geomspace(low, high, 400) * 1e3
        values = np.exp(np.interp(np.log(grid), np.log(energy), np.log(intensity)))
        assert_allclose(number, np.trapezoid(values, grid), rtol=0.02)


def test_isotropic_photons_per_square_degree():
    # ten years of SOURCE events: 130, 89, 36, 20, 4.6 and 1.6 per deg2 from iso_P8R3_SOURCE_V3
    counts = isotropic_counts(EDGES, lambda e: mean_exposure(e, "FRONT+BACK"))
    assert_allclose(counts * np.deg2rad(1) ** 2, [129, 88, 36, 20, 4.6, 1.6], rtol=0.05)


def test_template_integrates_a_known_cube(tmp_path):
    # intensity E^-2 times a map that varies with latitude only, in 1/(cm2 s sr MeV) at energies in MeV
    energy = np.geomspace(100, 1e6, 9)
    lat = np.arange(-90, 91)
    cube = energy[:, None, None] ** -2 * (1 + np.abs(lat) / 90)[None, :, None] * np.ones((1, 1, 360))
    template = GalacticTemplate(write_cube(tmp_path / "cube.fits", cube, energy, step=(1.0, -1.0)))
    template_lat = hp.pix2ang(32, np.arange(hp.nside2npix(32)), lonlat=True)[1]
    (level, maps), = template.counts(np.array([1.0, 10.0]), np.ones_like, 32).values()
    # integral of E^-2 dE over 1e3 to 1e4 MeV
    expected = (1e-3 - 1e-4) * (1 + np.abs(template_lat) / 90)
    # a cube this coarse is sharpened, which keeps the average over its cells
    assert_allclose(np.mean(level[0] * maps[0]), expected.mean(), rtol=0.02)
    fine = np.abs(template_lat) > 85
    assert_allclose((level[0] * maps[0])[fine], expected[fine], rtol=0.02)


def test_fine_template_is_taken_as_it_is(tmp_path):
    energy = np.geomspace(100, 1e6, 5)
    cube = energy[:, None, None] ** -2 * np.ones((1, 361, 720))
    cube[:, 180, :] *= 10
    header_zero = 181.0
    path = write_cube(tmp_path / "cube.fits", cube, energy, step=(0.5, -0.5), crpix2=header_zero)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["CRPIX1"] = 360.5
    (_, maps), = GalacticTemplate(path).counts(np.array([1.0, 10.0]), np.ones_like, 64).values()
    lat = hp.pix2ang(64, np.arange(maps.shape[1]), lonlat=True)[1]
    assert_allclose(maps[0][np.abs(lat) > 1], 9e-4, rtol=1e-3)
    assert_allclose(maps[0][np.abs(lat) < 0.01], 9e-3, rtol=1e-3)


def test_half_a_pixel_off_the_plane_is_mended(tmp_path):
    energy = [100, 1e6]
    cube = np.ones((2, 181, 360)) * 1e-10
    cube[:, 90, :] = 1e-8
    good = GalacticTemplate(write_cube(tmp_path / "good.fits", cube, energy))
    off = GalacticTemplate(write_cube(tmp_path / "off.fits", cube, energy, crpix2=90.5))
    maps = [t.counts(np.array([1.0, 2.0]), np.ones_like, 16)["galactic"][1] for t in (good, off)]
    assert_allclose(*maps)


def test_official_plane_is_at_latitude_zero(shared_data):
    template = GalacticTemplate(shared_data / "gamma/gll_iem_v07_allsky_lowres.fits.gz")
    (_, maps), = template.counts(np.array([1.0, 2.0]), np.ones_like, 64).values()
    lat = hp.pix2ang(64, np.arange(maps.shape[1]), lonlat=True)[1]
    north, south = (maps[0][(s * lat > 0.3) & (s * lat < 1.5)].mean() for s in (1, -1))
    assert_allclose(north, south, rtol=0.1)


def test_expected_photons_of_ten_years(shared_data):
    # all-sky totals, SOURCE FRONT+BACK, Galactic and isotropic: 3.5e7, 2.9e7, 1.4e7, 7.3e6, 1.0e6, 2.7e5
    def exposure(energy):
        return mean_exposure(energy, "FRONT+BACK")

    isotropic = 4 * np.pi * isotropic_counts(EDGES, exposure)
    cube = shared_data / "gamma/gll_iem_v07_allsky_lowres.fits.gz"
    for model in (GalacticTemplate(cube), GalacticModel(), GalacticModel(structure=None)):
        photons = total(model.counts(EDGES, exposure, 64)).sum(1) * hp.nside2pixarea(64)
        assert_allclose(photons + isotropic, [3.5e7, 2.9e7, 1.4e7, 7.3e6, 1.0e6, 2.7e5], rtol=0.05)


def test_analytic_model_follows_the_template_in_bands(shared_data):
    template = GalacticTemplate(shared_data / "gamma/gll_iem_v07_allsky_lowres.fits.gz")
    real = total(template.counts(EDGES, np.ones_like, 64))
    lon, lat = hp.pix2ang(64, np.arange(real.shape[1]), lonlat=True)
    lon = np.abs((lon + 180) % 360 - 180)
    smooth = total(GalacticModel(structure=None).counts(EDGES, np.ones_like, 64))
    clumpy = total(GalacticModel().counts(EDGES, np.ones_like, 64))
    assert_allclose(smooth.sum(1), real.sum(1), rtol=0.03)
    for low, high in ((0, 2), (2, 5), (5, 10), (10, 20), (20, 40), (40, 90)):
        band = (np.abs(lat) >= low) & (np.abs(lat) < high)
        assert_allclose(smooth[:, band].sum(1), real[:, band].sum(1), rtol=0.1)
        assert_allclose(clumpy[:, band].sum(1), real[:, band].sum(1), rtol=0.2)
        for start in range(0, 180, 30):
            cell = band & (lon >= start) & (lon < start + 30)
            assert_allclose(smooth[2:, cell].sum(), real[2:, cell].sum(), rtol=0.3)


def test_clumps_are_seeded_and_leave_the_total():
    maps = {seed: total(GalacticModel(seed).counts(EDGES[:2], np.ones_like, 32))[0] for seed in (0, 1, None)}
    again = total(GalacticModel(0).counts(EDGES[:2], np.ones_like, 32))[0]
    assert np.array_equal(maps[0], again)
    assert_allclose(maps[0].sum(), maps[None].sum())
    contrast = np.log(maps[0] / maps[None])
    assert 0.15 < contrast.std() < 0.6
    assert not np.array_equal(maps[0], maps[1])
    # the same sky at another resolution
    finer = hp.ud_grade(total(GalacticModel(0).counts(EDGES[:2], np.ones_like, 64))[0], 32)
    assert np.corrcoef(np.log(finer), np.log(maps[0]))[0, 1] > 0.98


def test_random_field_has_unit_variance_and_spares_the_global_state():
    state = np.random.get_state()[1].copy()
    spectrum = np.where(np.arange(96) > 1, 1 / np.maximum(np.arange(96), 1.0) ** 2, 0)
    variances = [hp.alm2map(random_field(spectrum, np.random.default_rng(i)), 32, lmax=95).var() for i in range(20)]
    assert_allclose(np.mean(variances), 1, rtol=0.1)
    assert np.array_equal(np.random.get_state()[1], state)
    low = random_field(spectrum[:33], np.random.default_rng(0))
    high = random_field(spectrum, np.random.default_rng(0))
    ratio = high[hp.Alm.getidx(95, 5, 3)] / low[hp.Alm.getidx(32, 5, 3)]
    assert_allclose(ratio.imag, 0, atol=1e-12)  # the same field, up to the common normalisation


def test_smearing_keeps_photons_and_signs():
    nside = 32
    sky = np.full(hp.nside2npix(nside), 1.0)
    sky[hp.ang2pix(nside, 0, 0, lonlat=True)] = 1e4
    psf = RadialPSF.gaussian([6, 12])
    out = smear(sky[None], psf.beam_window(3 * nside - 1))
    assert out.shape == (2, sky.size)
    assert out.dtype == np.float32
    assert_allclose(out.sum(1), sky.sum(), rtol=0.02)
    assert out.min() >= 1
    assert out[0].max() > out[1].max()
    narrow = RadialPSF.gaussian([0.3, 6])
    assert_allclose(smear(sky[None], narrow.beam_window(3 * nside - 1))[0], sky)


def test_perturbation_ranges():
    rng = np.random.default_rng(0)
    perturbation = DiffusePerturbation(norm=(0.8, 0.9), sigma=(0.15, 0.15), clumps=(0.1, 0.1))
    norms = perturbation.draw_norms(["a", "b"], rng)
    assert all(0.8 <= value <= 0.9 for value in norms.values())
    windows = RadialPSF.gaussian([0.1, 8]).beam_window(95)
    (sharp, blurred), = (list(fields) for fields in perturbation.draw_fields(32, [windows], rng))
    for field in (sharp, blurred):
        assert field.min() > 0
        assert_allclose(field.mean(), 1, atol=0.05)
    assert 0.1 < np.log(blurred).std() < 0.25
    assert np.log(sharp).std() > np.log(blurred).std()


def test_bad_input(tmp_path):
    for bad in ({"norm": (1.2, 0.8)}, {"sigma": (-0.1, 0.2)}, {"clumps": (0.1,)}, {"lmax": 1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            DiffusePerturbation(**bad)
    with pytest.raises(OSError, match="nothing"):
        GalacticTemplate(tmp_path / "nothing.fits")
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 4))).writeto(path)
    with pytest.raises(ValueError, match="not a diffuse model"):
        GalacticTemplate(path)
    with pytest.raises(ValueError, match="not an all-sky Galactic cube"):
        GalacticTemplate(write_cube(tmp_path / "part.fits", np.ones((2, 10, 20)), [100, 1000]))
