import json

import astropy.units as u
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file, save_file

import astrolearn
from astrolearn.core import weights as weights_module
from astrolearn.core.weights import (
    find_pretrained,
    list_pretrained,
    load_estimator,
    read_card,
    release,
    save_estimator,
)

PARAMETERS = {"scale": 3 * u.arcsec, "radius": "0.3 deg", "edges": [1, 10] * u.GeV, "n": 4, "localizer": None}
STATE = {
    "classes_": np.array(["AGN", "PSR"]),
    "mean_": np.arange(6, dtype=">f4").reshape(2, 3)[:, ::2],
    "count_": np.int64(7),
    "exposure_": np.float32(0.1) * u.cm**2 * u.s,
    "bins_": (1, [2.5, {"low": np.nan, "high": np.inf}]),
    "seen_": np.array([True, False]),
    "empty_": np.empty((0, 3)),
}
WEIGHTS = {"conv.weight": np.ones((2, 1, 3), np.float32), "batches": np.array(5)}
CARD = {
    "recipe": "astrolearn.recipes.fermi_lat",
    "seed": 1,
    "data": "simulated ten-year skies",
    "git_revision": "0123abc",
    "trained_on": "200 simulated skies",
    "scores": {"purity": 0.95123, "completeness": 0.5, "skies": 20},
    "baselines": {"TS map purity": 0.9},
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "finder.safetensors"
    save_estimator(path, "Finder", PARAMETERS, STATE, WEIGHTS)
    return path


def assert_same(value, expected):
    """Equal to the last bit, and of the same type."""
    if isinstance(expected, np.ndarray) and not isinstance(expected, u.Quantity):
        assert value.dtype == expected.dtype.newbyteorder("=")
        assert_array_equal(value, expected)
    elif isinstance(expected, dict):
        assert value.keys() == expected.keys()
        for key in expected:
            assert_same(value[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert type(value) is type(expected)
        assert len(value) == len(expected)
        for a, b in zip(value, expected, strict=True):
            assert_same(a, b)
    elif isinstance(expected, u.Quantity):
        assert value.unit == expected.unit
        assert_same(value.value, expected.value)
    else:
        assert type(value) is type(expected)
        assert_array_equal(value, expected)


def test_round_trip(path):
    parameters, state, weights = load_estimator(path, "Finder")
    assert_same(parameters, PARAMETERS)
    assert_same(state, STATE)
    assert_same(weights, WEIGHTS)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda items: st.lists(items) | st.dictionaries(st.text(), items) | st.tuples(items),
    max_leaves=8,
)
numbers = st.floats(width=32).map(np.float32) | st.integers(0, 2**63 - 1).map(np.int64)
quantities = st.builds(u.Quantity, st.floats(), st.sampled_from(["deg", "1 / (cm2 s)", "erg", "mag", ""]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(), json_like | numbers | quantities, max_size=4))
def test_any_parameters_round_trip(tmp_path, parameters):
    path = tmp_path / "any.safetensors"
    save_estimator(path, "Finder", parameters, {}, {}, overwrite=True)
    assert_same(load_estimator(path, "Finder")[0], parameters)


def test_same_contents_give_the_same_bytes(path, tmp_path):
    again = tmp_path / "again.safetensors"
    save_estimator(again, "Finder", PARAMETERS, STATE, dict(reversed(WEIGHTS.items())))
    assert again.read_bytes() == path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.data())
def test_one_flipped_bit_is_found(path, data):
    good = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    damaged = path.with_name("damaged.safetensors")
    damaged.write_bytes(bad)
    with pytest.raises(ValueError, match="damaged.safetensors"):
        load_estimator(damaged, "Finder")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_truncated_file(path, data):
    good = path.read_bytes()
    short = path.with_name("short.safetensors")
    short.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(ValueError, match="short.safetensors is not a whole weight file"):
        load_estimator(short, "Finder")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", b"SIMPLE  =" * 100, b"\xff" * 64])
def test_file_of_another_kind(tmp_path, content):
    path = tmp_path / "foreign.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="foreign.bin is not a whole weight file"):
        load_estimator(path, "Finder")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "is a safetensors file, but not one that astrolearn wrote"),
        ({"other": "1"}, "is a safetensors file, but not one that astrolearn wrote"),
        ({"astrolearn": "{"}, "is not a whole weight file"),
        ({"astrolearn": "[" * 10**5}, "is not a whole weight file"),
        ({"astrolearn": "[]"}, "is a safetensors file, but not one that astrolearn wrote"),
        ({"astrolearn": "{}"}, "is a safetensors file, but not one that astrolearn wrote"),
        ({"astrolearn": '{"sha256": "0"}'}, "is damaged"),
    ],
)
def test_safetensors_file_of_others(tmp_path, metadata, message):
    path = tmp_path / "foreign.safetensors"
    save_file({"x": np.zeros(2)}, path, metadata=metadata)
    with pytest.raises(ValueError, match=f"foreign.safetensors {message}"):
        load_estimator(path, "Finder")


@pytest.mark.parametrize(
    "content",
    [
        {"format": 1},
        {"format": 1, "class": "Finder"},
        {"format": 1, "class": "Finder", "parameters": {"dict": {}}, "state": {"call": "print"}},
        {"format": 1, "class": "Finder", "parameters": {"array": "absent"}, "state": {"dict": {}}},
        {"format": 1, "class": "Finder", "parameters": {"quantity": 1, "unit": "quark"}, "state": {"dict": {}}},
        {"format": 1, "class": "Finder", "parameters": {"scalar": "x", "dtype": "f4"}, "state": {"dict": {}}},
    ],
)
def test_forged_file_with_a_right_checksum(tmp_path, content):
    path = tmp_path / "forged.safetensors"
    content["sha256"] = weights_module._digest(content, {})
    save_file({}, path, metadata={"astrolearn": json.dumps(content)})
    with pytest.raises(ValueError, match="forged.safetensors (is not a file that astrolearn wrote|holds a None)"):
        load_estimator(path, "Finder")


def test_weights_swapped_between_files_are_found(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays = load_file(path)
    arrays["network/conv.weight"] = arrays["network/conv.weight"] * 2
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(ValueError, match="do not match its SHA-256"):
        load_estimator(path, "Finder")


def test_another_class(path):
    with pytest.raises(ValueError, match="holds a Finder, not a Classifier"):
        load_estimator(path, "Classifier")


def test_newer_format(tmp_path, monkeypatch):
    path = tmp_path / "new.safetensors"
    monkeypatch.setattr(weights_module, "_FORMAT", 2)
    save_estimator(path, "Finder", {}, {}, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="new.safetensors has format 2, which astrolearn .* cannot read"):
        load_estimator(path, "Finder")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*missing"):
        load_estimator(tmp_path / "missing.safetensors", "Finder")


@pytest.mark.parametrize("value", [object(), 1j, {1: 2}, np.array([1j]), np.array([None]), len])
def test_what_a_file_cannot_hold_is_named(tmp_path, value):
    with pytest.raises(TypeError, match=r"parameters\.localizer is of type .*, which a weight file cannot hold"):
        save_estimator(tmp_path / "x.safetensors", "Finder", {"localizer": value}, {}, {})
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept(path):
    with pytest.raises(FileExistsError):
        save_estimator(path, "Finder", {}, {}, {})
    save_estimator(path, "Finder", {}, {}, {}, overwrite=True)
    assert load_estimator(path, "Finder") == ({}, {}, {})


class Finder:
    def save(self, path):
        save_estimator(path, "Finder", PARAMETERS, STATE, WEIGHTS)


@pytest.fixture
def shipped(tmp_path):
    """Folder with three weight files; as text, number 10 would come before number 9."""
    release(Finder(), "fermi-lat", 9, folder=tmp_path, **CARD)
    release(Finder(), "fermi-lat", 10, folder=tmp_path, **CARD)
    release(Finder(), "fermi-lat-classes", 1, folder=tmp_path, **CARD)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fermi-lat", "fermi-lat-10"),
        ("fermi-lat-9", "fermi-lat-9"),
        ("fermi-lat-10", "fermi-lat-10"),
        ("fermi-lat-classes", "fermi-lat-classes-1"),
    ],
)
def test_find_pretrained(shipped, name, file):
    assert find_pretrained(name, shipped) == shipped / f"{file}.safetensors"


def test_unknown_pretrained_lists_those_there_are(shipped):
    with pytest.raises(ValueError, match="'fermi-lat-8'; available: fermi-lat-9, fermi-lat-10, fermi-lat-classes-1"):
        find_pretrained("fermi-lat-8", shipped)
    empty = shipped / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="available: none"):
        find_pretrained("fermi-lat", empty)


def test_list_pretrained(shipped):
    table = list_pretrained(shipped)
    assert list(table["name"]) == ["fermi-lat-9", "fermi-lat-10", "fermi-lat-classes-1"]
    assert set(table["estimator"]) == {"Finder"}
    assert table["trained_on"][0] == "200 simulated skies"
    assert table["scores"][0] == "purity 0.951, completeness 0.5, skies 20"
    assert table["baselines"][0] == "TS map purity 0.9"


def test_nothing_to_list(tmp_path):
    table = list_pretrained(tmp_path)
    assert len(table) == 0
    assert table.colnames == ["name", "estimator", "trained_on", "scores", "baselines"]


def test_card(shipped):
    card = read_card(shipped / "fermi-lat-9.safetensors")
    assert card == read_card(shipped / "fermi-lat-9.json")
    assert card["number"] == 9
    assert card["scores"] == CARD["scores"]


def test_number_is_never_used_again(shipped):
    with pytest.raises(FileExistsError):
        release(Finder(), "fermi-lat", 9, folder=shipped, **CARD)


@pytest.mark.parametrize("card", [CARD | {"author": "me"}, {k: v for k, v in CARD.items() if k != "seed"}])
def test_card_must_be_complete(tmp_path, card):
    with pytest.raises(ValueError, match="missing or unknown entries of the card: (author|seed)"):
        release(Finder(), "fermi-lat", 1, folder=tmp_path, **card)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Fermi LAT", "../fermi", "fermi-", ""])
def test_names_are_plain(tmp_path, name):
    with pytest.raises(ValueError, match="lower-case"):
        release(Finder(), name, 1, folder=tmp_path, **CARD)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps(CARD)])
def test_bad_card_is_named(shipped, text):
    (shipped / "fermi-lat-9.json").write_text(text)
    with pytest.raises(ValueError, match=r"fermi-lat-9.json is not a weight file's card"):
        list_pretrained(shipped)


def test_shipped_weights_are_small_and_as_their_cards_say():
    import hashlib

    folder = weights_module._FOLDER
    files = sorted(folder.glob("*.safetensors"))
    assert [file.stem for file in files] == sorted(file.stem for file in folder.glob("*.json"))
    names = [read_card(file)["name"] for file in files]
    assert len(set(names)) == len(names), "a release ships only the newest weights of a name"
    for file in files:
        card = read_card(file)
        assert file.stem == f"{card['name']}-{card['number']}"
        assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        load_estimator(file, card["estimator"])
        assert file.stat().st_size <= 3e6
    assert sum(file.stat().st_size for file in files) <= 12e6
    assert len(astrolearn.list_pretrained()) == len(files)
