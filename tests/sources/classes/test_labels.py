"""What labels mean: the designators of real catalogues, sets of classes, and what is decided from probabilities."""

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.sources.classes.labels import ClassScheme, clean_labels

SCHEME = ClassScheme.of(["bll", "fsrq", "psr", "pwn_snr", "fake", "unk", "agn"])


def test_designators_of_4fgl(shared_data):
    """Counted by hand in the catalogue, in both cases: 788 sources without association, 55 of unknown nature."""
    table = Table.read(shared_data / "gamma" / "4fgl_dr2_north.fits.gz", unit_parse_strict="silent")
    labels = clean_labels(table["CLASS1"])
    names, numbers = np.unique(labels, return_counts=True)
    counted = dict(zip(names.tolist(), numbers.tolist(), strict=True))
    assert counted == {
        "bll": 762, "fsrq": 385, "psr": 140, "unk": 788 + 55,
        "agn": 645 + 2 + 19 + 2 + 4 + 2 + 4 + 2 + 5,  # bcu, BCU, rdg, RDG, NLSY1, nlsy1, css, ssrq, agn
        "pwn_snr": 1 + 3 + 9 + 8 + 38,  # PWN, pwn, SNR, snr, spp
        "bin": 3, "gal": 2, "glc": 15, "hmb": 3, "lmb": 2, "sbg": 6, "sfr": 2,
    }  # fmt: skip
    as_bytes = np.asarray(table["CLASS1"])
    assert as_bytes.dtype.kind == "S"
    np.testing.assert_array_equal(clean_labels(as_bytes), labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["BLL ", " fsrq", "Msp", "spp", "", "bcu"],
        np.array([b"bll", b"FSRQ  ", b"MSP", b"snr", b"UNK", b"rdg"]),
        np.array(["bll", "fsrq", "psr", "pwn", "unid", "agn"], dtype=object),
        MaskedColumn(["bll", "fsrq", "psr", "pwn_snr", "psr", "sey"], mask=[0, 0, 0, 0, 1, 0]),
        MaskedColumn([b"bll", b"fsrq", b"psr", b"pwn_snr", b"psr", b"sey"], mask=[0, 0, 0, 0, 1, 0]),
        Column(["bll  ", "fsrq ", "psr", "PWN", "nan", "css"]),
    ],
)
def test_names_as_catalogues_write_them(labels):
    clean = clean_labels(labels)
    assert clean.dtype.kind == "U"
    assert clean.tolist() == ["bll", "fsrq", "psr", "pwn_snr", "unk", "agn"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("ABCbll fsrqpmun_", max_size=6), max_size=20))
def test_clean_labels_are_clean(labels):
    clean = clean_labels(labels)
    assert clean.shape == (len(labels),)
    np.testing.assert_array_equal(clean_labels(clean), clean)
    assert all(name == name.strip().lower() != "" for name in clean.tolist())


def test_what_is_no_label():
    assert clean_labels([]).dtype.kind == "U"
    with pytest.raises(ValueError, match="names such as 'psr', not of type int64"):
        clean_labels(np.array([1, 2]))
    with pytest.raises(ValueError, match="names such as 'psr', not of type object"):
        clean_labels(["psr", None])
    with pytest.raises(ValueError, match=r"not of shape \(1, 2\)"):
        clean_labels([["psr", "bll"]])
    with pytest.raises(ValueError, match=r"not of shape \(\)"):
        clean_labels("psr")


def test_scheme_of_labels():
    assert SCHEME.classes == ["bll", "fake", "fsrq", "psr", "pwn_snr"]
    assert SCHEME.groups == {"agn": [0, 2], "fake": [1], "psr": [3], "pwn_snr": [4]}
    # of active galaxies of unknown kind alone, agn is a class
    assert ClassScheme.of(["agn", "psr"]).groups == {"agn": [0], "psr": [1]}
    assert ClassScheme.of(["bll", "agn", "psr"]).groups == {"agn": [0], "psr": [1]}
    for labels in (["psr", "unk"], ["bll", "agn", "unk"], ["unk"], []):
        with pytest.raises(ValueError, match="two classes at least"):
            ClassScheme.of(np.array(labels, dtype=str))


def test_each_label_is_a_set():
    labels = np.array(["bll", "agn", "unk", "fake", "psr"])
    np.testing.assert_array_equal(
        SCHEME.members(labels), [[1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 1, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    )
    assert SCHEME.top_level(labels).tolist() == [0, 0, -1, 1, 2]
    assert SCHEME.members(np.array([], dtype=str)).shape == (0, 5)
    assert SCHEME.top_level(np.array([], dtype=str)).shape == (0,)
    # without fakes every class is real
    assert ClassScheme.of(["bll", "psr"]).members(np.array(["unk"])).all()
    with pytest.raises(ValueError, match="unknown class 'glc', 'hmb': the classes are bll, fake"):
        SCHEME.members(np.array(["hmb", "psr", "glc"]))


def test_the_group_is_decided_first():
    """Neither kind of active galaxy is as probable as a pulsar, but both together are more so."""
    p = np.array([[0.30, 0.0, 0.25, 0.45, 0.0], [0.2, 0.05, 0.0, 0.75, 0.0]])
    equal = np.ones(4)
    assert SCHEME.decide(p, equal).tolist() == [0, 3]
    assert SCHEME.decide(p, np.array([1, 1, 1.3, 1])).tolist() == [3, 3]
    assert SCHEME.decide(p, np.array([4.0, 1, 1, 1])).tolist() == [0, 0]
    assert SCHEME.decide(p[:0], equal).shape == (0,)


probabilities = st.lists(st.floats(1e-6, 1), min_size=5, max_size=5)


@settings(deadline=None)
@given(st.lists(probabilities, min_size=1, max_size=8), st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
       st.integers(-8, 8))  # fmt: skip
def test_decisions(p, weights, power):
    """Those of the definition; a common factor of all weights means nothing."""
    p, weights = np.array(p), np.array(weights)
    p /= p.sum(axis=1, keepdims=True)
    decided = SCHEME.decide(p, weights)
    np.testing.assert_array_equal(SCHEME.decide(p, weights * 2.0**power), decided)
    for row, label in zip(p, decided, strict=True):
        whole = [weights[i] * row[parts].sum() for i, parts in enumerate(SCHEME.groups.values())]
        best = list(SCHEME.groups.values())[int(np.argmax(whole))]
        assert label == best[int(np.argmax(row[best]))]


@settings(deadline=None)
@given(st.lists(probabilities, min_size=1, max_size=8))
def test_sums_over_groups(p):
    p = np.array(p)
    sums = SCHEME.group_sums(p)
    np.testing.assert_allclose(sums[:, 0], p[:, 0] + p[:, 2])
    np.testing.assert_array_equal(sums[:, 1:], p[:, [1, 3, 4]])
