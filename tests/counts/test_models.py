"""Count models: straight lines in log-log and their integrals; the reference counts against published numbers."""

from itertools import pairwise

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from astrolearn.counts import CountModel, ReferenceCounts, read_counts, write_counts

NODES = np.array([1e-6, 1e-4, 1e-2])


@pytest.fixture
def model():
    """Slopes -1.5 and -2.5 on either side of 0.1 mJy."""
    return CountModel(NODES * u.Jy, np.array([1e13, 1e10, 1e5]) / (u.Jy * u.sr))


def test_power_laws_between_nodes_and_outside(model):
    np.testing.assert_allclose(model(NODES).value, [1e13, 1e10, 1e5])
    flux = np.array([1e-8, 1e-5, 1e-3, 10])
    np.testing.assert_allclose(
        model(flux * u.Jy).value, [1e16, 10**11.5, 10**7.5, 10**-2.5], rtol=1e-12
    )
    assert model("0.1 mJy").unit == 1 / (u.Jy * u.sr)
    np.testing.assert_allclose(model(1 * u.mJy).value, model(1e-3).value)
    np.testing.assert_allclose(model.slopes, [-1.5, -2.5])


def test_euclidean_counts_are_flat_for_the_slope_of_euclidean_space(model):
    euclidean = model.euclidean([0.2, 2, 20] * u.mJy)
    assert euclidean.unit == u.Jy**1.5 / u.sr
    np.testing.assert_allclose(euclidean.value, 1)


@given(
    st.lists(st.floats(-3.5, 0.5), min_size=3, max_size=3),
    st.sampled_from([0, 1, 2, 3]),
    st.floats(-7.9, -1),
    st.floats(0.01, 4),
)
def test_integrals(slopes, order, log_low, width):
    log_flux = np.array([-7.0, -5.5, -4.0, -3.5])
    log_n = np.concatenate([[15], 15 + np.cumsum(np.array(slopes) * np.diff(log_flux))])
    model = CountModel.from_logs(log_flux, log_n)
    low, high = 10**log_low, 10 ** (log_low + width)

    def integrand(log_s):
        return np.exp((order + 1) * log_s + np.log(10) * model.log_density(log_s / np.log(10)))

    inner = log_flux[(log_flux > log_low) & (log_flux < log_low + width)] * np.log(10)
    edges = [np.log(low), *inner, np.log(high)]
    expected = sum(quad(integrand, a, b)[0] for a, b in pairwise(edges))
    assert model.moment(order, low, high) == pytest.approx(expected, rel=1e-6)


def test_a_slope_of_minus_one_has_a_logarithmic_integral():
    model = CountModel([1e-6, 1e-3], [1e9, 1e6])
    assert model.number(1e-8, 1).value == pytest.approx(1e3 * np.log(1e8))


def test_open_ranges(model):
    # S^-2.5 from 1 mJy up: 2/3 S n(S); S times S^-1.5 down to zero: 2 S^2 n(S)
    assert model.number("1 mJy", np.inf).to_value(1 / u.sr) == pytest.approx(10**4.5 / 1.5)
    brightness = model.brightness(0, 1e-6)
    assert brightness.unit == u.Jy / u.sr
    assert brightness.value == pytest.approx(10 / 0.5)
    with pytest.raises(ValueError, match="diverges"):
        model.number(0, 1e-6)
    with pytest.raises(ValueError, match="diverges"):
        model.moment(2, 1e-6, np.inf)


def test_integrals_add_up_and_broadcast(model):
    edges = np.geomspace(1e-7, 1, 9)
    parts = model.number(edges[:-1], edges[1:])
    assert parts.shape == (8,)
    assert parts.sum().value == pytest.approx(model.number(1e-7, 1).value)


def test_models_from_logs(model):
    same = CountModel.from_logs(model.log_flux, model.log_n)
    np.testing.assert_array_equal(same(NODES).value, model(NODES).value)
    assert "3 nodes from 1e-06 to 0.01 Jy" in repr(same)


@pytest.mark.parametrize(
    ("flux", "n", "error", "message"),
    [
        ([1e-3, 1e-4], [1, 2], ValueError, "must increase"),
        ([1e-3], [1], ValueError, "at least two nodes"),
        ([1e-4, 1e-3], [0, 1], ValueError, "n must be positive"),
        ([-1e-4, 1e-3], [1, 1], ValueError, "flux must be positive"),
        ([1e-4, np.nan], [1, 1], ValueError, "missing"),
        ([1e-4, 1e-3], [1, 1, 1], ValueError, "expected"),
        ([1, 2] * u.K, [1, 1], u.UnitConversionError, "flux has the unit 'K'"),
        ([1e-4, 1e-3], [1, 1] / u.sr, u.UnitConversionError, "n has the unit"),
    ],
)
def test_bad_models_are_refused(flux, n, error, message):
    with pytest.raises(error, match=message):
        CountModel(flux, n)


def test_bad_fluxes_are_refused(model):
    for flux in (0, -1 * u.Jy, [1e-3, 0] * u.Jy):
        with pytest.raises(ValueError, match="must be positive"):
            model(flux)
    with pytest.raises(u.UnitConversionError, match="flux"):
        model(1 * u.K)
    with pytest.raises(ValueError, match="low < high"):
        model.number(1e-3, 1e-3)


def test_scaling_in_frequency_conserves_sources():
    at_1p4, at_944 = ReferenceCounts(), ReferenceCounts(frequency="944 MHz")
    factor = (944 / 1400) ** -0.7
    assert factor == pytest.approx(1.317, abs=0.001)
    for low, high in ((1e-7, 1e-5), (1e-4, 1e-3), (0.01, 1)):
        number = at_944.number(low * factor, high * factor)
        assert number.value == pytest.approx(at_1p4.number(low, high).value, rel=1e-12)
    assert at_944.frequency.to_value(u.MHz) == pytest.approx(944)
    steeper = ReferenceCounts(frequency=0.944, spectral_index=-0.8)
    assert steeper("1 mJy") > at_944("1 mJy") > at_1p4("1 mJy")


def test_reference_agrees_with_polynomials_of_other_surveys():
    # Hopkins et al. (2003, AJ 125, 465) and Bondi et al. (2008, ApJ 681, 1129): log10 S^2.5 n over log10 S / mJy
    counts = ReferenceCounts()
    log_flux = np.linspace(-1, 2.5, 15)
    euclidean = np.log10(counts.euclidean(10**log_flux * u.mJy).value)
    for coefficients in (
        (0.859, 0.508, 0.376, -0.049, -0.121, 0.057, -0.008),
        (0.805, 0.493, 0.564, -0.129, -0.195, 0.110, -0.017),
    ):
        difference = euclidean - np.polynomial.polynomial.polyval(log_flux, coefficients)
        assert np.abs(difference).max() < 0.21
        assert abs(difference.mean()) < 0.06


def test_reference_agrees_with_meerkat_below_10_microjansky():
    # Mauch et al. (2020, ApJ 888, 61): n = 1.07e5 S^-1.52 between 0.25 and 10 uJy at 1.266 GHz
    counts = ReferenceCounts(frequency="1.266 GHz")
    flux = np.geomspace(0.25e-6, 10e-6, 9)
    assert np.abs(np.log10(counts(flux).value / (1.07e5 * flux**-1.52))).max() < 0.2


def test_reference_at_944_megahertz():
    counts = ReferenceCounts(frequency="944 MHz")
    for flux, log_n in ((1e-7, 15.51), (1e-6, 14.19), (1e-5, 12.53), (1e-4, 10.66), (1e-2, 6.76), (0.1, 4.87)):
        assert np.log10(counts(flux).value) == pytest.approx(log_n, abs=0.08)
    for flux, number in ((1e-7, 244e3), (1e-6, 71e3), (1e-5, 12.1e3)):
        assert counts.number(flux, 10).to_value("1/deg2") == pytest.approx(number, rel=0.07)


def test_reference_against_its_sources(shared_data):
    counts = ReferenceCounts()
    s3sex = np.loadtxt(shared_data / "counts" / "s3sex_wilman2008_1p4GHz_1deg2.csv", delimiter=",")
    s3sex = s3sex[s3sex[:, 1] <= -3]
    number = counts.number(10 ** s3sex[:, 0], 10 ** s3sex[:, 1]).to_value("1/deg2")
    # Poisson errors and 1.5 %
    chi2 = (number - s3sex[:, 2]) ** 2 / (s3sex[:, 2] + (0.015 * s3sex[:, 2]) ** 2)
    assert chi2.mean() < 1
    assert chi2.max() < 10
    massardi = np.loadtxt(shared_data / "counts" / "massardi2010_agn_1p4GHz.csv", delimiter=",")
    massardi = massardi[massardi[:, 0] > np.log10(3e-3)]
    ratio = counts.euclidean(10 ** massardi[:, 0]).value / massardi[:, 1]
    np.testing.assert_allclose(ratio, 1, atol=0.02)


def test_reference_against_measured_counts(shared_data):
    table = read_counts(shared_data / "counts" / "de_zotti2010_1p4GHz.csv")
    assert len(table) > 150
    assert table["reference"][0] == "ow08"
    assert table["n_error_up"].unit == 1 / (u.Jy * u.sr)
    bright = (table["S"] > 1 * u.mJy) & (table["S"] < 1 * u.Jy)
    ratio = np.log10((ReferenceCounts()(table["S"]) / table["n"]).value)
    assert abs(np.median(ratio[bright])) < 0.06
    # below 0.1 mJy surveys differ by a factor of three
    assert abs(np.median(ratio[table["S"] < 0.1 * u.mJy])) < 0.25


def test_user_tables(tmp_path):
    flux = np.geomspace(1e-6, 1, 13)
    n = ReferenceCounts()(flux)
    table = QTable({"S": flux * u.Jy, "n": n})
    table.write(tmp_path / "counts.ecsv")
    write_counts(table, tmp_path / "counts.txt")
    styled = Table({"log10_S": np.log10(flux), "euclidean": n.value * flux**2.5})
    millijansky = QTable({"S_mid": flux * 1e3 * u.mJy, "n": n})
    for source in (table, tmp_path / "counts.ecsv", str(tmp_path / "counts.txt"), styled, millijansky):
        counts = ReferenceCounts(source)
        np.testing.assert_allclose(counts(flux).value, n.value, rtol=2e-3)
    scaled = ReferenceCounts(table, frequency="3 GHz", table_frequency="1.4 GHz", spectral_index=-1)
    assert scaled.number(1e-3 * 1.4 / 3, 1).value == pytest.approx(
        CountModel(flux, n).number(1e-3, 3 / 1.4).value, rel=1e-9
    )


def test_files_in_the_style_of_de_zotti(tmp_path):
    table = QTable({"S_mid": [1, 10] * u.mJy, "n": [2, 3] / (u.Jy * u.sr)})
    table["n_q16"], table["n_q84"] = [1, 2.5] / (u.Jy * u.sr), [4, 4] / (u.Jy * u.sr)
    write_counts(table, tmp_path / "counts.txt")
    lines = (tmp_path / "counts.txt").read_text().splitlines()
    assert lines[0].startswith("# log10 S [Jy]")
    np.testing.assert_allclose(
        np.array(lines[1].split(), float), [-3, 2 * 10**-7.5, 2 * 10**-7.5, 10**-7.5], rtol=1e-5
    )
    read = read_counts(tmp_path / "counts.txt")
    np.testing.assert_allclose(read["n"].value, [2, 3], rtol=1e-5)
    np.testing.assert_allclose(read["n_error_up"].value, [2, 1], rtol=1e-5)
    np.testing.assert_allclose(read["n_error_down"].value, [1, 0.5], rtol=1e-5)
    with pytest.raises(FileExistsError, match="overwrite"):
        write_counts(read, tmp_path / "counts.txt")
    write_counts(read, tmp_path / "counts.txt", overwrite=True)
    np.testing.assert_allclose(read_counts(tmp_path / "counts.txt")["n_error_down"].value, [1, 0.5], rtol=1e-5)


def test_bad_references_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'t-recs' is neither"):
        ReferenceCounts("t-recs")
    with pytest.raises(ValueError, match="columns S and n"):
        ReferenceCounts(Table({"flux": [1, 2], "n": [1, 2]}))
    with pytest.raises(ValueError, match="must increase"):
        ReferenceCounts(Table({"S": [1e-3, 1e-3], "n": [1, 2]}))
    with pytest.raises(ValueError, match="must be positive"):
        ReferenceCounts(frequency="-1 GHz")
    with pytest.raises(u.UnitConversionError, match="frequency"):
        ReferenceCounts(frequency="1 m")
    bad = tmp_path / "counts.dat"
    bad.write_text("# log S\n-3 1\nnone 2\n")
    with pytest.raises(ValueError, match="line 3"):
        ReferenceCounts(bad)
    bad.write_text("-3 1\n-2 2 3\n")
    with pytest.raises(ValueError, match="as many in each"):
        read_counts(bad)
