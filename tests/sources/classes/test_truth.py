import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.sky import match
from astrolearn.sources.classes.truth import true_classes
from astrolearn.sources.fermi import SourcePopulation


def galactic(lon, lat=0.0):
    lon = np.asarray(lon, dtype=float)
    return SkyCoord(lon, np.broadcast_to(lat, lon.shape), unit="deg", frame="galactic")


@pytest.fixture
def sources():
    return QTable({
        "coord": galactic([10, 20, 30, 40, 50, 60]),
        "class": ["bll", "psr", "pwn", "spp", "unk", "snr"],
        "significance": [5.0, 9.0, 4.0, 2.5, 3.0, 2.4],
        "extension": [0, 0, 1.0, 0, 0, 1.0] * u.deg,
    })  # fmt: skip


def test_classes(sources):
    catalogue = QTable({"coord": galactic([49.9, 10.1, 40, 20.2, 30, 80]).icrs})
    expected = ["unk", "bll", "pwn_snr", "psr", "pwn_snr", "fake"]
    classes = true_classes(catalogue, sources)
    assert classes.tolist() == expected
    assert classes.dtype.kind == "U"
    assert true_classes(catalogue["coord"], sources).tolist() == expected


def test_only_the_closer_of_two_is_real(sources):
    assert true_classes(galactic([10.2, 9.9, 10.25]), sources).tolist() == ["fake", "bll", "fake"]


def test_pieces_of_an_extended_source(sources):
    coord = galactic([30.1, 30.9, 29.5, 31.05, 29.2], [0, 0, 0.5, 0, 0.8])
    assert true_classes(coord, sources).tolist() == ["pwn_snr"] * 3 + ["fake"] * 2
    sources["extension"] = [0, 0, 60, 0, 0, 60] * u.arcmin
    assert true_classes(coord, sources).tolist() == ["pwn_snr"] * 3 + ["fake"] * 2
    del sources["extension"]
    assert true_classes(coord, sources).tolist() == ["pwn_snr"] + ["fake"] * 4


def test_point_source_within_an_extended_one(sources):
    # the pulsar in a nebula is itself; further detections are pieces of the nebula
    sources["coord"] = galactic([10, 30.8, 30, 40, 50, 60])
    coord = galactic([30.85, 30.78, 30.9])
    assert true_classes(coord, sources).tolist() == ["pwn_snr", "psr", "pwn_snr"]


def test_nearest_of_several_extended_sources(sources):
    sources["class"] = ["bll", "psr", "pwn", "spp", "unk", "gal"]
    sources["coord"] = galactic([10, 20, 30, 40, 50, 31.5])
    sources["significance"][5] = 9
    sources["extension"] = [0, 0, 3, 0, 0, 2] * u.deg
    assert true_classes(galactic([30.5, 31.0, 27.5]), sources).tolist() == ["pwn_snr", "gal", "pwn_snr"]


def test_faint_sources_do_not_count(sources):
    coord = galactic([60, 60.5, 40])
    assert true_classes(coord, sources).tolist() == ["faint", "fake", "pwn_snr"]
    assert true_classes(coord, sources, min_significance=2).tolist() == ["pwn_snr"] * 3
    assert true_classes(coord, sources, min_significance=2.6).tolist() == ["faint", "fake", "faint"]
    assert true_classes(coord, sources, min_significance=2.6, faintest=2.45).tolist() == ["fake", "fake", "faint"]
    # only one of the detections beside a faint source is owed to it
    assert true_classes(galactic([60.2, 60.1]), sources).tolist() == ["fake", "faint"]
    del sources["significance"]
    assert true_classes(coord, sources).tolist() == ["pwn_snr"] * 3


@pytest.mark.parametrize(("radius", "expected"), [("0.25 deg", "bll"), (0.15, "fake"), (9 * u.arcmin, "fake")])
def test_radius(sources, radius, expected):
    assert true_classes(galactic([10.2]), sources, radius).tolist() == [expected]


def test_nothing(sources):
    empty = true_classes(galactic([]), sources)
    assert empty.shape == (0,)
    assert empty.dtype.kind == "U"
    assert true_classes(galactic([10]), sources[:0]).tolist() == ["fake"]
    assert true_classes(galactic([10]), sources, min_significance=100).tolist() == ["faint"]


def test_long_names_and_plain_columns(sources):
    plain = Table({"L": [10.0, 30.0], "B": [0.0, 0.0], "class": [b"microquasar", b"snr"], "extension": [0, 1.0]})
    assert true_classes(galactic([10, 30, 30.5]), plain).tolist() == ["microquasar", "pwn_snr", "pwn_snr"]


def test_refusals(sources):
    coord = galactic([10])
    with pytest.raises(ValueError, match="no column class; they have coord"):
        true_classes(coord, sources["coord", "significance"])
    with pytest.raises(ValueError, match="positive"):
        true_classes(coord, sources, 0)
    with pytest.raises(u.UnitConversionError, match="extension"):
        sources["extension"] = np.ones(6) * u.s
        true_classes(coord, sources)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 1), st.floats(0, 5))
def test_against_the_definition(seed, radius, min_significance):
    rng = np.random.default_rng(seed)
    n = 60
    sources = QTable({
        "coord": galactic(rng.uniform(0, 10, n), rng.uniform(-5, 5, n)), "significance": rng.uniform(0, 6, n),
        "class": rng.choice(["bll", "fsrq", "psr", "pwn", "snr", "spp", "unk"], n),
        "extension": np.where(rng.random(n) < 0.2, rng.uniform(0, 1, n), 0) * u.deg,
    })  # fmt: skip
    coord = galactic(rng.uniform(0, 10, 40), rng.uniform(-5, 5, 40))
    classes = true_classes(coord, sources, radius, min_significance)
    seen = sources[sources["significance"] >= min_significance]
    pairs = match(coord, seen, radius)
    too_faint = sources[(sources["significance"] >= 0.5) & (sources["significance"] < min_significance)]
    names, left = np.full(len(coord), "pwn_snr"), []
    for i, one in enumerate(coord):
        if pairs.matched[i]:
            name = seen["class"][pairs.reference_index[pairs.catalogue_index == i][0]]
        else:
            separation = one.separation(seen["coord"])
            inside = np.flatnonzero((seen["extension"] > 0) & (separation <= seen["extension"]))
            name = seen["class"][inside[separation[inside].argmin()]] if len(inside) else "fake"
        names[i] = "pwn_snr" if name in {"pwn", "snr", "spp"} else name
        if name == "fake":
            left.append(i)
    faint = match(coord[left], too_faint, radius)
    names[np.array(left, dtype=int)[faint.catalogue_index]] = "faint"
    np.testing.assert_array_equal(classes, names)


def test_simulated_sources_are_what_they_are():
    sources = SourcePopulation(flux_min=3e-9).sample(1)
    far = sources["coord"].separation(sources["coord"][:, None]) + 10 * np.eye(len(sources)) * u.deg
    sources = sources[far.min(axis=0) > 1 * u.deg]
    classes = true_classes(sources["coord"], sources, "0.1 deg")
    joined = np.isin(sources["class"], ["pwn", "snr", "spp"])
    assert joined.any()
    assert set(classes[joined]) == {"pwn_snr"}
    np.testing.assert_array_equal(classes[~joined], sources["class"][~joined])
