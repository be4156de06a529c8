"""Catalogues in their units: magnitudes, fluxes, errors, and what is missing."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table

from astrolearn.photoz.photometry import asinh_magnitude, describe_table, read_table

MAG = np.array([[18.0, 17.0], [20.5, 19.25], [22.0, 21.5]])


def catalogue(unit=u.ABmag):
    return QTable({"g": MAG[:, 0] * unit, "r": MAG[:, 1] * unit, "g_err": [0.01, 0.1, 0.2] * u.mag,
                   "r_err": [0.01, 0.02, 0.05] * u.mag})


def test_what_columns_are():
    table = catalogue()
    table["ebv"] = [0.1, 0.2, 0.3]
    description = describe_table(table)
    assert description["kinds"] == ["magnitude", "magnitude", "error", "error", "number"]
    assert description["of"] == [-1, -1, 0, 1, -1]
    values, undetected = read_table(table, description)
    np.testing.assert_array_equal(values[:, :2], MAG)
    np.testing.assert_allclose(values[:, 2], np.log10([0.01, 0.1, 0.2]))
    assert not undetected.any()
    assert describe_table(table, ["r", "ebv"])["names"] == ["r", "ebv"]


@pytest.mark.parametrize(("band", "error"), [
    ("u", "u_err"), ("u", "err_u"), ("u", "e_u"), ("mag_u_lsst", "mag_err_u_lsst"),
    ("modelMag_u", "modelMagErr_u"), ("FLUX_G", "FLUXERR_G"), ("g", "sigma_g"), ("g", "magerr_g"),
])  # fmt: skip
def test_names_of_errors(band, error):
    table = Table({error: [0.1], band: [20.0]})
    assert describe_table(table)["kinds"] == ["error", "number"]


def test_an_extinction_is_no_error_of_a_colour():
    table = Table({"bv": [0.6], "ebv": [0.1]})
    assert describe_table(table)["kinds"] == ["number", "number"]


@pytest.mark.parametrize("text", ["nanomaggy", "nanomaggies", "nMgy", "nmgy"])
@pytest.mark.parametrize("kind", [Table, QTable])
def test_fluxes_of_surveys_in_files(tmp_path, text, kind):
    table = Table({"g": np.array([10.0, 100.0, 1.0]), "g_err": np.array([1.0, 1.0, 1.0])})
    hdu = fits.table_to_hdu(table)
    hdu.header["TUNIT1"] = hdu.header["TUNIT2"] = text
    hdu.writeto(tmp_path / "fluxes.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # of astropy, which does not know the word
        read = kind.read(tmp_path / "fluxes.fits")
    same = QTable({"g": table["g"] * u.nmgy, "g_err": table["g_err"] * u.nmgy})
    description = describe_table(read)
    assert description["kinds"] == ["flux", "error"]
    np.testing.assert_allclose(read_table(read, description)[0], read_table(same, describe_table(same))[0])


def test_asinh_magnitudes():
    # Lupton et al. (1999): for bright sources those of Pogson, at zero flux -2.5 log10 b
    assert asinh_magnitude(3631.0 * 10**-7.2, 1e-10) == pytest.approx(18.0, abs=1e-4)
    assert asinh_magnitude(0.0, 1e-10) == pytest.approx(25.0)
    assert asinh_magnitude(1 * u.nmgy, 1e-12) == pytest.approx(22.5, abs=1e-3)
    # SDSS's table of asinh magnitudes: softening in r, and the magnitudes of zero flux and of ten times the softening
    assert asinh_magnitude(0.0, 1.2e-10) == pytest.approx(24.80, abs=0.005)
    assert asinh_magnitude(3631.0 * 1.2e-9, 1.2e-10) == pytest.approx(22.29, abs=0.005)


@pytest.mark.parametrize("unit", [u.nmgy, u.nJy, u.uJy, u.erg / u.s / u.cm**2 / u.Hz])
def test_fluxes_in_any_unit_are_the_same(unit):
    flux = (MAG * u.ABmag).to(u.nJy)
    bands = {"g": flux[:, 0], "r": flux[:, 1], "g_err": 0.05 * flux[:, 0].max() * np.ones(3), "r_err": flux[:, 1] / 10}
    expected_description = describe_table(QTable(bands))
    table = QTable({name: values.to(unit, u.zero_point_flux(3631 * u.Jy)) for name, values in bands.items()})
    description = describe_table(table)
    np.testing.assert_allclose(description["softening"], expected_description["softening"], rtol=1e-3)
    values, _ = read_table(table, description)
    # another unit of the same quantity is converted to that of the training
    other = QTable({name: values.to(u.mJy) for name, values in bands.items()})
    np.testing.assert_allclose(read_table(other, description)[0], values, atol=2e-3)
    # the error of an asinh magnitude, by differences
    i = description["names"].index("r_err")
    up, down = (asinh_magnitude(flux[:, 1] * factor, description["softening"][1]) for factor in (1.01, 0.99))
    np.testing.assert_allclose(10 ** values[:, i], (down - up) / 0.02 * 0.1, rtol=1e-2)


def test_units_of_errors_are_those_of_their_bands():
    table = QTable({"g": [20.0] * u.ABmag, "g_err": [3.0] * u.nJy})
    with pytest.raises(ValueError, match=r"'g_err' has the unit 'nJy', which no error of 'g' in 'mag\(AB\)' has"):
        describe_table(table)
    table = QTable({"g": [20.0] * u.nJy, "g_err": [0.1] * u.mag})
    with pytest.raises(ValueError, match="'g_err' has the unit 'mag', which no error of 'g' in 'nJy' has"):
        describe_table(table)
    with_unit = QTable({"g": [20.0, 30.0] * u.nJy, "g_err": [2.0, 3.0] * u.nJy})
    without = Table({"g": with_unit["g"], "g_err": [2.0, 3.0]})
    np.testing.assert_array_equal(read_table(without, describe_table(without))[0],
                                  read_table(with_unit, describe_table(with_unit))[0])
    # of numbers without a unit, maggies say, the logarithms are not cut off
    plain = Table({"g": [1e-9, 2e-9], "g_err": [1e-11, 2e-11]})
    np.testing.assert_allclose(read_table(plain, describe_table(plain))[0][:, 1], np.log10([1e-11, 2e-11]))


def test_a_flux_may_be_99():
    table = QTable({"g": [99.0, -99.0, 50.0] * u.nJy})
    values, undetected = read_table(table, describe_table(table))
    assert np.isfinite(values).all()
    assert not undetected.any()


def test_fluxes_may_be_zero_or_negative():
    table = QTable({"r": [-3.0, 0.0, 5.0] * u.nJy, "r_err": [1.0, 1.0, 1.0] * u.nJy})
    values, _ = read_table(table, describe_table(table))
    assert np.isfinite(values).all()
    assert (np.diff(values[:, 0]) < 0).all()


def test_missing_and_not_detected():
    table = catalogue()
    description = describe_table(table)
    table = Table(table)
    table["g"][0] = 99.0
    table["r"][0] = -99.0
    table["g"] = MaskedColumn(table["g"], mask=[False, True, False], unit=u.ABmag)
    table["g_err"][2] = -1.0
    values, undetected = read_table(table, description)
    np.testing.assert_array_equal(np.isnan(values), [[True, True, False, False], [True, False, False, False],
                                                     [False, False, True, False]])
    np.testing.assert_array_equal(undetected, [[True, False, False, False], [False] * 4, [False] * 4])


def test_magnitudes_with_and_without_their_system_are_the_same():
    description = describe_table(catalogue())
    expected, _ = read_table(catalogue(), description)
    np.testing.assert_array_equal(read_table(catalogue(u.mag), description)[0], expected)
    with pytest.raises(u.UnitConversionError, match=r"'g' has the unit 'mag\(ST\)', .* 'mag\(AB\)'"):
        read_table(catalogue(u.STmag), description)
    with pytest.raises(u.UnitConversionError, match=r"'g' has the unit 'Jy', .* 'mag\(AB\)'"):
        read_table(catalogue(u.Jy), description)


def test_what_is_refused():
    table = catalogue()
    with pytest.raises(ValueError, match="no column 'i'; it has g, r"):
        describe_table(table, ["g", "i"])
    table["coord"] = SkyCoord([1, 2, 3], [1, 2, 3], unit="deg")
    with pytest.raises(ValueError, match="'coord' does not hold one number per galaxy"):
        describe_table(table)
    del table["coord"]
    table["ra"] = [1, 2, 3] * u.deg
    with pytest.raises(ValueError, match="'ra' has the unit 'deg', neither magnitude nor flux"):
        describe_table(table)
    del table["ra"]
    table["objID"] = np.array([1237648702973411443, 2, 3], dtype=np.uint64)
    for values in (table["objID"], np.asarray(table["objID"], float)):
        table["number"] = values
        with pytest.raises(ValueError, match="'number' looks like an identifier"):
            describe_table(table[["g", "number"]])
    del table["objID"], table["number"]
    other = table.copy()
    other["score"] = [1.0, np.inf, 2.0]
    with pytest.raises(ValueError, match="column 'score' has 1 values that are infinite"):
        read_table(other, describe_table(other))
    other = Table(table)
    other["score"] = Column([1.0, 2.0, 3.0], unit=u.Unit("foobar", parse_strict="silent"))
    assert describe_table(other, ["g", "r"])["kinds"] == ["magnitude", "magnitude"]
    with pytest.raises(ValueError, match="column 'score' has the unit 'foobar'"):
        describe_table(other)
    for name in ("RA", "dec", "mjd", "plate", "ID"):
        table[name] = [1.0, 2.0, 3.0]
        with pytest.raises(ValueError, match=f"'{name}' looks like an identifier or a place"):
            describe_table(table)
        del table[name]
    with pytest.raises(ValueError, match="no column 'r_err', which this was trained on; fill a band"):
        read_table(table[["g", "r", "g_err"]], describe_table(table))
    with pytest.raises(ValueError, match="no rows"):
        read_table(table[:0], describe_table(table))
    table["g"][0] = np.inf * u.ABmag
    with pytest.raises(ValueError, match="column 'g' has 1 values that are infinite"):
        read_table(table, describe_table(table))
