import astropy.units as u
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrolearn.sky.energy import edge_groups, merge, node_weights, parse_edges, power_law_weights


@pytest.mark.parametrize("edges", [
    [0.3, 1, 3] * u.GeV,
    [300, 1000, 3000] * u.MeV,
    "0.3, 1, 3 GeV",
    "300 1000 3000 MeV",
    [0.3, 1, 3],
    [300 * u.MeV, 1 * u.GeV, 3000 * u.MeV],
    ["300 MeV", "1 GeV", "3 GeV"],
    np.array([0.3, 1, 3], dtype=">f8"),
])
def test_edges_in_every_form(edges):
    np.testing.assert_allclose(parse_edges(edges).to_value(u.GeV), [0.3, 1, 3])


def test_edges_keep_their_unit():
    assert parse_edges([300, 1000] * u.MeV).unit == u.MeV


@pytest.mark.parametrize("edges", [
    [3, 1] * u.GeV, [1] * u.GeV, 1 * u.GeV, 5, [[1, 2]] * u.GeV, [0, 1] * u.GeV, [-1, 1] * u.GeV, [1, np.nan] * u.GeV,
    [1, np.inf] * u.GeV, [1, 1], "", "GeV", "1 to 3 GeV", "1, 3", [],
])
def test_bad_edges(edges):
    with pytest.raises(ValueError, match="energy_edges|bins"):
        parse_edges(edges, "bins")


@pytest.mark.parametrize("edges", [[1, 2] * u.cm, "1, 2 cm", [1 * u.s, 2 * u.s]])
def test_wrong_unit_of_edges_is_named(edges):
    with pytest.raises(u.UnitConversionError, match="my bins.*(cm|'s')"):
        parse_edges(edges, "my bins")


@given(st.lists(st.booleans(), min_size=2, max_size=12))
def test_groups_cover_what_the_new_edges_span(kept):
    old = np.geomspace(1, 1000, len(kept)) * u.GeV
    new = old[np.array(kept)]
    if len(new) < 2:
        return
    groups = edge_groups(old, new.to(u.MeV))
    flat = [energy_bin for group in groups for energy_bin in group]
    assert flat == list(range(flat[0], flat[-1] + 1))
    for group, low, high in zip(groups, new[:-1], new[1:], strict=True):
        assert old[group[0]] == low
        assert old[group[-1] + 1] == high


def test_groups_refuse_other_edges():
    with pytest.raises(ValueError, match=r"\[2\.\] GeV are not among the edges"):
        edge_groups([1, 3, 10] * u.GeV, [1, 2, 10] * u.GeV)
    with pytest.raises(ValueError, match="twice"):
        edge_groups([1, 3, 10] * u.GeV, [1, 3, 3.001] * u.GeV)


def test_power_law_weights():
    # the integral of E^-2 from a to b is 1/a - 1/b
    np.testing.assert_allclose(power_law_weights([1, 2, 4] * u.GeV, index=2), [2 / 3, 1 / 3])


def test_node_weights_average_over_the_spectrum():
    energies = np.geomspace(1, 100, 40) * u.GeV
    weights = node_weights([1000, 10000, 100000] * u.MeV, energies, index=2)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    # for dN/dE ~ E^-2, the mean of log(E) between 1 and 10 is (1 - (1 + ln 10) / 10) / 0.9
    mean = weights @ np.log(energies.value)
    expected = (1 - (1 + np.log(10)) / 10) / 0.9
    np.testing.assert_allclose(mean, [expected, expected + np.log(10)], rtol=2e-3)
    with pytest.raises(ValueError, match="reach from 1 GeV to 100 GeV"):
        node_weights([0.5, 10] * u.GeV, energies)
    with pytest.raises(ValueError, match="do not increase"):
        node_weights([1, 10] * u.GeV, energies[::-1])


def test_merge_sums_averages_and_joins():
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    groups = [range(1), range(1, 3)]
    np.testing.assert_array_equal(merge(values, groups), [[0, 1], [6, 8]])
    average = merge(values, groups, np.array([1.0, 3.0, 1.0, 5.0]))
    np.testing.assert_allclose(average, [[0, 1], [2.5, 3.5]])
    assert average.dtype == np.float32
    np.testing.assert_array_equal(merge(values > 4, groups), [[False, False], [False, True]])
    assert np.shares_memory(merge(values, [[1], [2]]), values)
    assert merge(values * u.s, groups).unit == u.s
