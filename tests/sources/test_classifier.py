"""SourceClassifier: the promises of every estimator, what it tells apart, and that its probabilities come true."""

import copy
import pickle

import astropy.units as u
import joblib
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.table import QTable
from estimator_checks import Case, assert_same, parametrize
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from toy import YEAR_EDGES, toy_image, toy_years

from astrolearn import PointSourceFinder, SourceClassifier
from astrolearn.core.console import write_table
from astrolearn.core.tables import SampleTable
from astrolearn.sky import SkyMap, stack_maps
from astrolearn.sources.classes.detections import prepare
from astrolearn.sources.classifier import _calibrate, _calibrated, _held_back

NAMES = ["bll", "fake", "fsrq", "psr"]
SMALL = {"n_years": 2, "n_each": 4, "n_fake": 4, "nside": 32, "background": 6.0}
MAPS, CATALOGUE, CLASSES = toy_years(0, **SMALL)


def make(**parameters):
    defaults = {"width": 4, "max_epochs": 2, "batch_size": 8, "lr": 5e-3, "random_state": 0}
    return SourceClassifier(**defaults | parameters)


def remade(skymap, **changed):
    names = ("unit", "nest", "energy_edges", "psf", "exposure", "background", "mask")
    options = {name: getattr(skymap, name) for name in names}
    return SkyMap(changed.pop("data", skymap.data), **options | changed)


def remade_all(**changed):
    return [remade(skymap, **changed) for skymap in MAPS]


OTHER_BINS = remade_all(energy_edges=[0.4, 1.5, 5, 20] * u.GeV)
empty_image = CCDData(np.ones((3, 0, 0)), unit=u.ct, wcs=toy_image().wcs, meta={"energy_edges": YEAR_EDGES})
case = Case(
    name="SourceClassifier",
    make=make,
    fit_args=(MAPS, CATALOGUE, CLASSES),
    predict_args=(MAPS, CATALOGUE),
    methods=("classify",),
    bad_inputs={
        "wrong_unit": ((remade_all(unit=u.Jy), CATALOGUE), "the map is in Jy.*counts .ct."),
        "wrong_shape": ((remade_all(data=MAPS[0].data[:2], energy_edges=[0.5, 1.5, 5] * u.GeV, psf=[2, 1.5] * u.deg,
                                    exposure=None, background=None), CATALOGUE), "5"),
        "nan": ((remade_all(data=np.full(MAPS[0].data.shape, np.nan)), CATALOGUE), "no valid pixels"),
        "empty": ((empty_image, CATALOGUE), "empty"),
        "no_maps": (([], CATALOGUE), "there are no maps"),
        "no_positions": ((MAPS, QTable({"x": [1, 2]})), "no positions"),
    },
    bad_fit_inputs={
        "numbers": ((MAPS, CATALOGUE, CLASSES[1:]), "there are 16 positions, but 15 classes"),
        "no_classes": ((MAPS, CATALOGUE), "not the classes"),
        "one_map": ((MAPS[0],), "not the classes"),
        "maps_alone": ((MAPS,), "maps, positions and classes"),
        "nothing": (([],), "no detections to fit"),
        "all_faint": ((MAPS, CATALOGUE, ["faint"] * 16), "no detections to fit"),
        "one_class": ((MAPS, CATALOGUE, ["psr"] * 16), "two classes at least, but the labels name only psr"),
        "years": (([(MAPS, CATALOGUE, CLASSES), (MAPS[0], CATALOGUE, CLASSES)],), "1 and 2 years"),
        "bins": (([(MAPS, CATALOGUE, CLASSES), (OTHER_BINS, CATALOGUE, CLASSES)],),
                 "the skies differ in energy bins or pixels"),
    },
    equal_inputs={
        "big_endian": (remade_all(), CATALOGUE),
        "masked": (remade_all(mask=np.zeros(MAPS[0].n_pix, bool)), CATALOGUE),
        "tuple": (tuple(MAPS), CATALOGUE),
    },
)  # fmt: skip
case.equal_inputs["big_endian"] = ([remade(one, data=one.data.astype(">f8")) for one in MAPS], CATALOGUE)


@parametrize(case)
def test_promises(check, case):
    check(case)


def test_other_methods_want_a_fit_first():
    for method, args in (("predict", ()), ("predict_proba", ()), ("score", (CLASSES,))):
        with pytest.raises(NotFittedError, match="not fitted"):
            getattr(make(), method)(MAPS, CATALOGUE, *args)
    with pytest.raises(NotFittedError, match="not fitted"):
        make().find_and_classify(MAPS)


def prepared(seed, **options):
    maps, catalogue, classes = toy_years(seed, **options)
    return prepare(maps, catalogue["coord"], catalogue["probability"], psf=None), None, classes


@pytest.fixture(scope="module")
def skies():
    """What was seen of eight skies of bright sources: the last one calibrates."""
    return [prepared(seed, n_each=10, n_fake=12, counts=(120, 700)) for seed in range(8)]


@pytest.fixture(scope="module")
def classifier(skies):
    return make(max_epochs=8, batch_size=64, lr=1e-2).fit(skies)


@pytest.fixture(scope="module")
def held_out():
    return toy_years(50, n_each=12, n_fake=14, counts=(120, 700))


def test_what_is_separable_is_separated(classifier, held_out):
    maps, catalogue, classes = held_out
    predicted = classifier.predict(maps, catalogue)
    assert classifier.classes_.tolist() == NAMES
    assert classifier.score(maps, catalogue, classes) == np.mean(predicted == classes)
    assert np.mean(predicted[classes == "fake"] == "fake") > 0.8
    assert np.mean(predicted[classes == "psr"] == "psr") > 0.7
    agn = np.isin(classes, ["bll", "fsrq"])
    assert np.mean(np.isin(predicted[agn], ["bll", "fsrq"])) > 0.8
    assert np.mean((predicted == classes)[agn]) > 0.7
    # without positions in words: what was prepared is classified alike
    seen = prepare(maps, catalogue["coord"], catalogue["probability"], psf=None)
    np.testing.assert_array_equal(classifier.predict(seen, None), predicted)


def test_probabilities_come_true(classifier):
    """Over three other skies as many of each class as their probabilities add up to, within errors."""
    p, classes = [], []
    for seed in (60, 61, 62):
        seen, _, labels = prepared(seed, n_each=10, n_fake=12, counts=(120, 700))
        p.append(classifier.predict_proba(seen, None))
        classes.append(labels)
    p, classes = np.concatenate(p), np.concatenate(classes)
    for column, name in enumerate(NAMES):
        error = np.sqrt((p[:, column] * (1 - p[:, column])).sum())
        assert abs(p[:, column].sum() - np.sum(classes == name)) < 4 * error + 3, name
    likelihood = np.log(p[np.arange(len(p)), np.searchsorted(NAMES, classes)])
    assert likelihood.mean() > np.log(0.25) / 2


def test_contract_of_the_catalogue(classifier, held_out):
    maps, catalogue, _ = held_out
    before = copy.deepcopy((maps, catalogue))
    out = classifier.classify(maps, catalogue)
    assert_same((maps, catalogue), before)
    assert isinstance(out, SampleTable)
    assert out.colnames == ["coord", "probability", "class", "subclass", "p_agn", "p_bll", "p_fsrq", "p_fake", "p_psr",
                            "fake"]  # fmt: skip
    p = classifier.predict_proba(maps, catalogue)
    assert p.dtype == out["p_agn"].dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(np.column_stack([out[f"p_{name}"] for name in NAMES]), p)
    np.testing.assert_allclose(out["p_agn"], out["p_bll"] + out["p_fsrq"], rtol=1e-12)
    predicted = classifier.predict(maps, catalogue)
    inside = np.isin(predicted, ["bll", "fsrq"])
    np.testing.assert_array_equal(out["class"], np.where(inside, "agn", predicted))
    np.testing.assert_array_equal(out["subclass"], np.where(inside, predicted, ""))
    assert out["fake"].dtype == bool
    np.testing.assert_array_equal(out["fake"], predicted == "fake")
    # groups of equal numbers in training and the default weights: agn half as heavy as the others
    weight = {name: 1 / share for name, share in classifier.class_frequency_.items()}
    best = np.array(list(weight))[np.argmax([weight[name] * out[f"p_{name}"] for name in weight], axis=0)]
    np.testing.assert_array_equal(out["class"], best)


def test_weights_of_classes_decide_but_do_not_change_probabilities(classifier, held_out):
    maps, catalogue, _ = held_out
    classifier, p = copy.deepcopy(classifier), classifier.predict_proba(maps, catalogue)
    classifier.set_params(class_weight=None)
    np.testing.assert_array_equal(classifier.predict_proba(maps, catalogue), p)
    groups = np.column_stack([p[:, 0] + p[:, 2], p[:, 1], p[:, 3]])
    out = classifier.classify(maps, catalogue)
    np.testing.assert_array_equal(out["class"], np.array(["agn", "fake", "psr"])[groups.argmax(axis=1)])
    assert np.all(classifier.set_params(class_weight={"psr": 1e200}).predict(maps, catalogue) == "psr")
    for weight, message in (({"bll": 2}, "class_weight names 'bll', but the top-level classes are agn, fake, psr"),
                            ({"psr": 0}, "must be positive"), ({"psr": np.nan}, "must be positive"),
                            ("equal", "class_weight")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            classifier.set_params(class_weight=weight).predict(maps, catalogue)


def test_labels_that_leave_classes_open(skies):
    """Half of the active galaxies are of unknown kind, some sources of unknown class, some detections too faint."""
    rng, vague = np.random.default_rng(0), []
    for seen, _, classes in skies[:3]:
        labels = classes.astype("U8")
        agn = np.isin(classes, ["bll", "fsrq"])
        draw = rng.random(len(labels))
        labels[agn & (draw < 0.4)] = "bcu"
        labels[(classes != "fake") & (draw > 0.9)] = "UNK"
        labels[(draw > 0.6) & (draw < 0.65)] = "faint"
        vague.append((seen, None, labels))
    fitted = make(max_epochs=6, batch_size=32, lr=1e-2).fit(vague)
    assert fitted.classes_.tolist() == NAMES
    kinds = np.concatenate([labels for _, _, labels in vague])
    kinds = kinds[~np.isin(kinds, ["UNK", "faint"])]
    assert fitted.class_frequency_["psr"] == pytest.approx(np.mean(kinds == "psr"))
    assert sum(fitted.class_frequency_.values()) == pytest.approx(1)
    seen, _, classes = skies[5]
    assert fitted.score(seen, None, classes) > 0.5
    predicted = fitted.predict(seen, None)
    real, faint = predicted != "fake", np.arange(len(predicted)) % 2 == 0
    assert fitted.score(seen, None, ["unk"] * len(seen)) == np.mean(real)
    assert fitted.score(seen, None, np.where(faint, "faint", "agn")) == np.mean(
        np.isin(predicted[~faint], ["bll", "fsrq"])
    )
    with pytest.raises(ValueError, match="unknown class 'glc'"):
        fitted.score(seen, None, ["glc"] * len(seen))
    with pytest.raises(ValueError, match="no detections to score"):
        fitted.score(seen, None, ["faint"] * len(seen))


def test_skies_in_a_list_a_generator_and_in_threads():
    skies = [(MAPS, CATALOGUE, CLASSES), toy_years(1, **SMALL)]
    one = make(max_epochs=1).fit(skies)
    other = make(max_epochs=1).fit(sky for sky in skies)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        parallel = make(max_epochs=1).fit(skies)
    ready = [(prepare(maps, table["coord"], table["probability"], psf=None), None, c) for maps, table, c in skies]
    for fitted in (other, parallel, make(max_epochs=1).fit(ready)):
        assert_same(dict(fitted.net_.module_.state_dict()), dict(one.net_.module_.state_dict()))
        assert_same(fitted.calibration_, one.calibration_)


def test_a_single_map_has_no_years(classifier, held_out):
    maps, catalogue, classes = held_out
    whole = stack_maps(maps)
    p = classifier.predict_proba(whole, catalogue)
    np.testing.assert_array_equal(classifier.predict_proba([whole], catalogue), p)
    # fakes are no less fake; but kinds of active galaxies are told apart the worse
    assert np.mean((p[:, 1] > 0.5) == (classes == "fake")) > 0.85
    fitted = make(max_epochs=1).fit(stack_maps(MAPS), CATALOGUE, CLASSES)
    assert fitted.predict_proba(MAPS, CATALOGUE).shape == (16, 4)


def test_counterparts_and_files(classifier, held_out, tmp_path):
    maps, catalogue, _ = held_out
    known = QTable({"coord": catalogue["coord"][:2].directional_offset_by(0 * u.deg, [0.1, 0.5] * u.deg),
                    "name": ["near", "far"], "class": ["PSR", "bll"]})  # fmt: skip
    out = classifier.classify(maps, catalogue, known)
    assert out["counterpart"][:2].tolist() == ["near", ""]
    assert out["counterpart_class"][0] == "psr"
    assert classifier.classify(maps, catalogue, known, "1 deg")["counterpart"][1] == "far"
    for name in ("out.ecsv", "out.fits"):
        write_table(out, tmp_path / name)
        back = QTable.read(tmp_path / name)
        assert back.colnames[:10] == out.colnames[:10]
        assert np.all(np.ma.filled(back["subclass"], "") == out["subclass"])
        np.testing.assert_array_equal(back["p_agn"], out["p_agn"])
        assert np.max(back["coord"].separation(out["coord"])) < 1e-6 * u.deg
        assert "agn 0." in back.meta["class_weight" if name == "out.ecsv" else "CLASSWT"]


def test_empty_catalogue(classifier, held_out):
    maps, catalogue, _ = held_out
    full, none = classifier.classify(maps, catalogue), classifier.classify(maps, catalogue[:0])
    assert len(none) == 0
    assert none.colnames == full.colnames
    assert [none[name].dtype for name in full.colnames[1:]] == [full[name].dtype for name in full.colnames[1:]]
    assert classifier.predict_proba(maps, catalogue["coord"][:0]).shape == (0, 4)


def test_find_and_classify(classifier):
    """The same as to find in the sum of the years and then to classify."""
    maps, _, _ = toy_years(51, n_each=10, counts=(300, 900))
    finder, whole = PointSourceFinder.from_pretrained("fermi-lat"), stack_maps(maps)
    found = finder.predict(whole)
    assert len(found) > 15
    out = classifier.find_and_classify(maps)
    assert out.colnames[: len(found.colnames)] == found.colnames
    assert_same(out, classifier.classify(maps, found))
    assert_same(classifier.find_and_classify(whole, finder), classifier.classify(whole, found))


def test_copies_answer_alike(classifier, skies, tmp_path):
    seen, expected = skies[0][0], classifier.predict_proba(skies[0][0], None)
    classifier.save(tmp_path / "classes.safetensors")
    loaded = SourceClassifier.load(tmp_path / "classes.safetensors")
    assert loaded.classes_.dtype.kind == "U"
    assert loaded.class_frequency_ == classifier.class_frequency_
    assert loaded.energy_edges_.unit == u.GeV
    for other in (loaded, pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(other.predict_proba(seen, None), expected)
    assert not hasattr(clone(classifier), "classes_")


def test_detections_of_other_bins_are_refused(classifier):
    seen = prepare(MAPS, CATALOGUE["coord"], psf=None, energy_edges=[0.5, 1.5, 20] * u.GeV)
    with pytest.raises(ValueError, match="prepared in the energy bins .* prepare them with its energy_edges_"):
        classifier.predict(seen, None)


@pytest.mark.parametrize("inputs", ["cutouts", "features"])
def test_parts_of_the_inputs(skies, inputs):
    fitted = make(max_epochs=4, batch_size=64, lr=1e-2, inputs=inputs, year_order="time", subtract_mean=False)
    assert fitted.fit(skies).score(*skies[0]) > 0.5


# -- calibration ------------------------------------------------------------------------------------------------------
def test_calibration_undoes_a_known_distortion():
    """Truth is drawn from probabilities whose logarithms the network stretches by 1.6 and shifts."""
    rng = np.random.default_rng(0)
    true = log_softmax(rng.normal(0, 1.5, (20000, 3)), axis=1)
    label = (rng.random((20000, 1)) > np.cumsum(np.exp(true), axis=1)).sum(axis=1)
    distorted = 1.6 * true + [0.5, 0.0, -1.0]
    calibration = _calibrate(distorted, label[:, None] == np.arange(3))
    np.testing.assert_allclose(calibration["slope"], 1 / 1.6, rtol=0.08)
    assert np.mean(np.abs(np.exp(_calibrated(distorted, calibration)) - np.exp(true))) < 0.01
    # of sets the same can be learned, if fewer in number
    allowed = label[:, None] == np.arange(3)
    allowed[:8000, :2] |= label[:8000, None] < 2
    calibration = _calibrate(distorted, allowed)
    assert np.mean(np.abs(np.exp(_calibrated(distorted, calibration)) - np.exp(true))) < 0.015


def test_calibrate_fits_probabilities_to_other_shares(classifier, skies):
    """Probabilities that were off follow the shares of the classes on the skies at hand; the network stays."""
    rng = np.random.default_rng(0)
    fewer = []
    for seen, _, classes in skies[:6]:
        kept = ~np.isin(classes, ["bll", "fsrq"]) | (rng.random(len(classes)) < 0.3)
        fewer.append((seen.take(kept), None, classes[kept]))
    other = copy.deepcopy(classifier)
    other.calibration_ = {"slope": np.full(4, 0.1), "intercept": np.array([1.0, -1.0, 0.5, 0.0])}
    before = np.mean(np.concatenate([other.predict_proba(seen, None) for seen, *_ in fewer]), axis=0)
    assert other.calibrate(iter(fewer)) is other
    names = np.concatenate([classes for *_, classes in fewer])
    mean = np.mean(np.concatenate([other.predict_proba(seen, None) for seen, *_ in fewer]), axis=0)
    shares = [np.mean(names == name) for name in other.classes_]
    np.testing.assert_allclose(mean, shares, atol=0.02)
    assert np.abs(before - shares).max() > 0.03
    for name, value in other.net_.module_.state_dict().items():
        assert np.array_equal(value, classifier.net_.module_.state_dict()[name])
    with pytest.raises(ValueError, match="no detections to calibrate with"):
        other.calibrate([])
    with pytest.raises(NotFittedError, match="not fitted"):
        make().calibrate(fewer)


def test_two_energy_bins(skies):
    """In bfloat16 their gradients would be NaN on CPUs."""
    maps, catalogue, classes = toy_years(3, n_each=10, n_fake=12, counts=(120, 700))
    two = [one.rebin(YEAR_EDGES[:3]) for one in maps]
    fitted = make(max_epochs=6, batch_size=16, lr=1e-2).fit(two, catalogue, classes)
    assert np.isfinite(fitted.net_.history[:, "train_loss"]).all()
    assert fitted.score(two, catalogue, classes) > 0.5


def test_without_evidence_nothing_is_calibrated():
    calibration = _calibrate(np.zeros((0, 3)), np.zeros((0, 3), bool))
    np.testing.assert_array_equal(calibration["slope"], 1)
    np.testing.assert_array_equal(calibration["intercept"], 0)


def test_what_is_held_back():
    assert [kept.sum() for kept in _held_back([20] * 9)] == [0] * 7 + [20, 0]
    assert [np.flatnonzero(kept).tolist() for kept in _held_back([7, 17])] == [[], [7, 15]]


def test_positions_off_the_map(classifier, held_out):
    maps = [remade(one, mask=one.pixel_coords().b > 0 * u.deg) for one in held_out[0]]
    with pytest.raises(ValueError, match="1 of 2 positions are not on the map"):
        classifier.predict(maps, SkyCoord([10, 10], [30, -30], unit="deg", frame="galactic"))
