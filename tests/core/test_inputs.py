import astropy.units as u
import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from astropy.nddata import CCDData, NDData
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from astrolearn.core.inputs import as_quantity, to_float

DATA = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    "x",
    [
        DATA,
        DATA.tolist(),
        DATA.astype(">f4"),
        DATA.astype(">i2"),
        np.asfortranarray(DATA),
        DATA * u.Jy,
        DATA * 1e3 * u.mJy,
        (DATA * 1e3).astype(">f8") * u.mJy,
        [row * u.Jy for row in DATA],
        [[1 * u.Jy, 2 * u.Jy], [3000 * u.mJy, 4 * u.Jy]],
        np.ma.MaskedArray(DATA, mask=False),
        Masked(DATA * u.Jy),
        NDData(DATA, unit=u.Jy),
        NDData(DATA),
        CCDData(DATA * 1e3, unit=u.mJy),
        [NDData(row * 1e3, unit=u.mJy) for row in DATA],
        Column(DATA * 1e3, unit=u.mJy),
        MaskedColumn(DATA * 1e3, unit=u.mJy),
        Table({"flux": DATA * u.Jy})["flux"],
        QTable({"flux": DATA * u.Jy})["flux"],
    ],
    ids=lambda x: type(x).__name__,
)
def test_every_kind_of_input_gives_the_same_plain_array(x):
    values = to_float(x, u.Jy)
    assert type(values) is np.ndarray
    assert values.dtype == np.float32
    assert values.dtype.isnative
    assert values.flags.c_contiguous
    assert values.flags.writeable
    np.testing.assert_allclose(values, DATA, rtol=1e-6)


def test_result_does_not_share_memory():
    x = DATA.astype(np.float32)
    x.flags.writeable = False
    values = to_float(x)
    values[:] = 0
    assert_array_equal(x, DATA)


@given(npst.arrays(st.sampled_from([">f4", "<f8", ">i4", "<u2", "?"]), npst.array_shapes(), elements=st.integers(0, 1)))
def test_any_byte_order_and_shape(x):
    values = to_float(x)
    assert values.shape == x.shape
    assert_array_equal(values, x)


@given(st.floats())
def test_a_number_is_kept_to_float32_precision_or_refused(value):
    with np.errstate(over="ignore"):
        expected = np.float32(value)
    if not np.isfinite(expected):
        with pytest.raises(ValueError, match=r"flux has 1 (missing|values)"):
            to_float([value], name="flux")
    else:
        assert to_float([value])[0] == expected


@pytest.mark.parametrize(
    "x",
    [
        np.array([1.0, np.nan]),
        np.ma.MaskedArray([1.0, 5.0], mask=[False, True]),
        Masked([1.0, 5.0] * u.Jy, mask=[False, True]),
        MaskedColumn([1.0, 5.0], mask=[False, True], unit=u.Jy),
        CCDData([1.0, 5.0], mask=np.array([False, True]), unit=u.Jy),
        [NDData(1.0, unit=u.Jy), NDData(5.0, unit=u.Jy, mask=True)],
    ],
    ids=lambda x: type(x).__name__,
)
def test_missing_values_are_refused_kept_or_replaced_as_asked(x):
    with pytest.raises(ValueError, match=r"flux.* has 1 missing values \(NaN or masked\)"):
        to_float(x, u.Jy, "flux")
    assert_array_equal(to_float(x, u.Jy, missing="keep"), [1, np.nan])
    assert_array_equal(to_float(x, u.Jy, missing=-9), [1, -9])


def test_infinite_values_are_refused_even_where_missing_ones_are_kept():
    with pytest.raises(ValueError, match="flux has 1 values that are infinite"):
        to_float([1.0, np.inf, np.nan], name="flux", missing="keep")


def test_magnitudes_convert_as_the_logarithms_they_are():
    magnitude = u.Magnitude([20.0], u.ABmag)
    np.testing.assert_allclose(to_float(magnitude, u.Jy), 3.631e-5, rtol=1e-3)
    assert to_float([20.0] * u.mag, u.mag)[0] == 20


@pytest.mark.parametrize("unit", [u.m, None])
def test_wrong_unit_names_the_column_and_both_units(unit):
    wanted = "dimensionless" if unit is None else "'m'"
    with pytest.raises(u.UnitConversionError, match=f"flux has the unit 'Jy', which does not convert to .*{wanted}"):
        to_float(DATA * u.Jy, unit, "flux")


@pytest.mark.parametrize("shape", [("n", 3), ("n",), (2, "n", 1)])
def test_wrong_shape_names_both_shapes(shape):
    with pytest.raises(ValueError, match=r"flux has the shape \(2, 2\); expected \("):
        to_float(DATA, name="flux", shape=shape)


def test_right_shape_passes():
    assert to_float(DATA, shape=("n", 2)).shape == (2, 2)


def test_list_of_unequal_shapes():
    with pytest.raises(ValueError, match="items of maps differ in shape"):
        to_float([NDData(np.ones(3)), NDData(np.ones(4))], name="maps")


@pytest.mark.parametrize("x", [["a"], [1j], np.array([None]), [object()]])
def test_what_is_not_a_real_number_is_refused(x):
    with pytest.raises(ValueError, match="flux must be real numbers"):
        to_float(x, name="flux")


@pytest.mark.parametrize("x", [[], np.ones((0, 3)), [] * u.Jy])
def test_empty_is_refused(x):
    with pytest.raises(ValueError, match="flux is empty"):
        to_float(x, u.Jy, "flux")


@pytest.mark.parametrize("value", [10 * u.arcsec, "10 arcsec", 10, "10", np.float32(10), 10 / 60 * u.arcmin])
def test_quantity_hyper_parameter(value):
    radius = as_quantity(value, u.arcsec, "match_radius")
    assert radius.unit == u.arcsec
    assert radius.value.dtype == float
    np.testing.assert_allclose(radius.value, 10)


def test_sequence_of_quantities():
    edges = as_quantity(["300 MeV", 1 * u.GeV, 10], u.GeV, "energy_edges")
    np.testing.assert_allclose(edges.value, [0.3, 1, 10])
    assert_array_equal(as_quantity(np.array([1, 2]), u.GeV, "edges").value, [1, 2])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("10 s", "radius has the unit 's', which does not convert to 'arcsec'"),
        (10 * u.s, "radius has the unit 's'"),
        ("ten", "radius='ten' is not a number with a unit, such as '10 arcsec'"),
        ("10 quark", "radius='10 quark' is not"),
        (None, "radius=None is not a quantity"),
        (True, "radius=True is not a quantity"),
        (np.nan, "radius=nan is not finite"),
        ("nan arcsec", "is not finite"),
        ([1, np.inf] * u.arcsec, "is not finite"),
    ],
)
def test_bad_hyper_parameter_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        as_quantity(value, u.arcsec, "radius")


@given(st.floats(-1e30, 1e30), st.sampled_from([u.arcsec, u.deg, u.rad]))
def test_a_string_reads_as_the_quantity_it_shows(value, unit):
    quantity = value * unit
    assert as_quantity(f"{value!r} {unit}", u.deg, "radius") == as_quantity(quantity, u.deg, "radius")


def test_list_of_columns_keeps_its_units():
    columns = [Column([1.0, 2.0], unit="km"), Column([3.0, 4.0], unit="m")]
    np.testing.assert_allclose(to_float(columns, "m"), [[1000, 2000], [3, 4]])
    with pytest.raises(u.UnitConversionError, match=r"X\[0\] has the unit 'km'"):
        to_float(columns)
