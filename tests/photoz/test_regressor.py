"""PhotoZRegressor against the contract, on tables, images and both."""

import os
import pickle
import subprocess
import sys

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.cosmology import Planck18
from astropy.cosmology import units as cu
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from estimator_checks import Case, parametrize
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score

from astrolearn import PhotoZRegressor
from astrolearn.core.tables import SampleTable
from astrolearn.photoz.densities import DensityEstimator
from astrolearn.photoz.features import TableFeatures
from astrolearn.photoz.galaxies import Galaxies
from astrolearn.photoz.metrics import coverage, crps, pit, sigma_mad
from astrolearn.photoz.photometry import read_table
from astrolearn.photoz.splits import assign_folds

BANDS = "gri"


def galaxies(n=300, seed=0):
    """A table of three bands whose colours say the redshift, with errors."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.02, 0.3, n)
    brightness = rng.normal(17, 0.7, n)
    slopes = 4.0, 1.0, 0.0
    table = SampleTable({
        band: (brightness + slope * z + 0.02 * rng.normal(size=n)) * u.ABmag
        for band, slope in zip(BANDS, slopes, strict=True)
    })
    for band in BANDS:
        table[f"{band}_err"] = np.full(n, 0.02) * u.mag
    return table, z


def stamps(n=40, size=20, seed=0):
    """Images in two bands whose ratio says the redshift."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.02, 0.3, n)
    radius = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j])
    light = np.exp(-3 * radius) * rng.uniform(50, 200, n)[:, None, None]
    images = np.stack([light, light * (1 + 4 * z)[:, None, None]], axis=1)
    return (images + rng.normal(size=images.shape)).astype(np.float32), z


def make(**parameters):
    return PhotoZRegressor(**{"max_epochs": 2, "n_networks": 2, "batch_size": 32} | parameters)


@pytest.fixture(scope="module")
def fitted():
    table, z = galaxies(1500)
    # fewer and larger steps than by default, which are as good here
    regressor = PhotoZRegressor(max_epochs=15, batch_size=64, lr=5e-3, random_state=0)
    return regressor.fit(table, z * cu.redshift)


def flux_table(**bands):
    return QTable({name: values * u.nJy for name, values in bands.items()})


TABLE, Z = galaxies(80)
IMAGES, IMAGE_Z = stamps()
plain = np.column_stack([TABLE[band].value for band in BANDS])


def changed(name, values):
    table = TABLE.copy()
    table[name] = values
    return table


table_case = Case(
    name="table",
    make=make,
    fit_args=(TABLE, Z),
    predict_args=(TABLE,),
    methods=("predict", "predict_pdf", "predict_interval"),
    bad_inputs={
        "wrong_unit": ((changed("g", TABLE["g"].value * u.Jy),), r"'g' has the unit 'Jy', .* 'mag\(AB\)'"),
        "wrong_shape": ((TABLE["g", "r"],), "no column 'i'"),
        "empty": ((TABLE[:0],), "no rows"),
        "nan": ((changed("g", np.where(np.arange(80) == 3, np.inf, TABLE["g"].value) * u.ABmag),), "infinite"),
        "array": ((plain,), "has no column names"),
    },
    bad_fit_inputs={
        "target": ((TABLE, Z[:5]), r"y has the shape \(5,\)"),
        "groups": ((TABLE, Z, Z[:5]), r"groups has the shape"),
        "leak": ((changed("z", Z), Z), "column 'z' of X is the target"),
        "nan": ((TABLE, np.where(Z > 0.2, np.nan, Z)), "y has .* missing"),
    },
    equal_inputs={
        "big_endian": (SampleTable({n: u.Quantity(c.value.astype(">f8"), c.unit, subok=True) for n, c in
                                    zip(TABLE.colnames, TABLE.columns.values(), strict=True)}),),
        "masked": (Table(TABLE, masked=True),),
        "order": (TABLE[list(reversed(TABLE.colnames))],),
    },
)  # fmt: skip

image_case = Case(
    name="images",
    make=make,
    fit_args=(IMAGES * u.nmgy, IMAGE_Z),
    predict_args=(IMAGES * u.nmgy,),
    methods=("predict", "predict_pdf"),
    bad_inputs={
        "wrong_unit": ((IMAGES * u.K,), "X has the unit 'K', .*'nmgy'"),
        "wrong_shape": ((IMAGES[:, :1] * u.nmgy,), "X has 1 channels; this was trained on 2"),
        "empty": (([],), "empty"),
        "nan": ((np.where(np.arange(2)[:, None, None] == 0, np.nan, IMAGES) * u.nmgy,), "without a valid pixel"),
        "integers": (((IMAGES > 0).astype(np.uint8),), "integers"),
        "small": ((IMAGES[:, :, :10, :10] * u.nmgy,), "10 x 10 pixels; this was trained on 20 x 20"),
    },
    equal_inputs={
        "big_endian": (IMAGES.astype(">f4") * u.nmgy,),
        "masked": (np.ma.MaskedArray(IMAGES, mask=np.zeros(IMAGES.shape, bool)),),
        "last": (np.moveaxis(IMAGES, 1, -1) * u.nmgy,),
        "ccd": ([CCDData(image, unit=u.nmgy) for image in IMAGES],),
    },
)  # fmt: skip


@parametrize(table_case, image_case)
def test_estimator(check, case):
    check(case)


def test_predictions_have_the_unit_of_the_targets(fitted):
    table, z = galaxies(200, seed=1)
    predicted = fitted.predict(table)
    assert predicted.unit == cu.redshift
    assert sigma_mad(z, predicted) < 0.02
    quantiles = fitted.predict_quantiles(table, [0.1, 0.5, 0.9])
    assert quantiles.shape == (200, 3)
    np.testing.assert_array_equal(quantiles[:, 1], predicted)
    assert (np.diff(quantiles.value, axis=1) > 0).all()
    assert fitted.score(table, z * cu.redshift) > 0.9
    assert fitted.score(table, z) == pytest.approx(fitted.score(table, z * cu.redshift))
    assert fitted.score(table, 100 * z * u.percent) == pytest.approx(fitted.score(table, z))


def test_densities(fitted):
    table, _ = galaxies(200, seed=2)
    result = fitted.predict_pdf(table)
    grid = result.meta["z_grid"]
    assert result["pdf"].shape == (200, len(grid)) == (200, 301)
    np.testing.assert_allclose(np.trapezoid(result["pdf"].value, grid.value, axis=1), 1, atol=5e-3)
    np.testing.assert_array_equal(result["z_median"], fitted.predict(table))
    assert (result["z_q16"] < result["z_median"]).all()
    assert ((result["odds"] > 0) & (result["odds"] <= 1)).all()
    assert result["out_of_distribution"].mean() < 0.05
    quantiles = fitted.predict_quantiles(table, [0.16, 0.84])
    np.testing.assert_array_equal(result["z_q16"], quantiles[:, 0])
    np.testing.assert_array_equal(result["z_q84"], quantiles[:, 1])
    fine = fitted.predict_pdf(table, z=np.linspace(*fitted.bounds_, 3001))
    z, pdf = fine.meta["z_grid"].value, fine["pdf"].value
    half = 0.06 * (1 + fine["z_mode"].value[:, None])
    near = np.abs(z - fine["z_mode"].value[:, None]) <= half
    np.testing.assert_allclose(result["odds"], np.trapezoid(np.where(near, pdf, 0), z, axis=1), atol=0.01)
    mean = np.trapezoid(z * pdf, z, axis=1)
    np.testing.assert_allclose(result["z_mean"].value, mean, rtol=1e-3)
    variance = np.trapezoid((z - mean[:, None]) ** 2 * pdf, z, axis=1)
    np.testing.assert_allclose(result["z_std"].value, np.sqrt(variance), rtol=0.01)
    coarse = fitted.predict_pdf(table, z=[0.0, 0.1, 0.2] * cu.redshift)
    expected = [np.interp(0.1, grid.value, pdf) for pdf in result["pdf"].value]
    np.testing.assert_allclose(coarse["pdf"][:, 1].value, expected, rtol=0.1, atol=0.2)
    with pytest.raises(ValueError, match="z must increase"):
        fitted.predict_pdf(table, z=[0.2, 0.1])
    with pytest.raises(u.UnitConversionError, match="z has the unit 'Mpc'"):
        fitted.predict_pdf(table, z=[1, 2] * u.Mpc)


def test_the_grid_is_fine_enough_beside_targets_far_away():
    table, z = galaxies(300)
    far = np.where(np.arange(300) < 3, 7.0, z)
    result = make(max_epochs=8, random_state=0).fit(table, far).predict_pdf(table)
    assert 301 < len(result.meta["z_grid"]) <= 3001
    np.testing.assert_allclose(np.trapezoid(result["pdf"], result.meta["z_grid"], axis=1), 1, atol=0.02)


def test_intervals_cover_what_they_say(fitted):
    table, z = galaxies(3000, seed=3)
    for wanted in (0.5, 0.68, 0.9):
        lower, upper = fitted.predict_interval(table, wanted)
        # 1500 galaxies were held out, each of some networks, and 3000 tested
        error = np.sqrt(wanted * (1 - wanted) * (1 / 1500 + 1 / 3000))
        assert coverage(z, lower, upper) == pytest.approx(wanted, abs=4 * error)
    with pytest.raises(ValueError, match=r"coverage=1\.0 must be between"):
        fitted.predict_interval(table, 1.0)


def test_intervals_are_as_wide_as_the_held_out_galaxies_say(fitted):
    table, _ = galaxies(20, seed=3)
    other = pickle.loads(pickle.dumps(fitted))
    other.conformity_ = np.linspace(0, 1, 101)[:-1] ** 0.5  # as of densities that are too narrow
    half = 0.5 * other.conformity_[int(np.ceil(0.68 * 101)) - 1]
    expected = fitted.predict_quantiles(table, [0.5 - half, 0.5 + half])
    lower, upper = other.predict_interval(table, 0.68)
    np.testing.assert_array_equal(np.column_stack([lower.value, upper.value]), expected.value)
    assert (lower < fitted.predict_interval(table, 0.68)[0]).all()


def test_calibration_asks_only_networks_that_have_not_seen_a_galaxy(monkeypatch):
    table, z = galaxies(60)
    asked = []

    def outputs(self, rows):  # the mean that each network gives is its number
        mean = np.broadcast_to(np.arange(self.n_networks_)[:, None], (len(rows), self.n_networks_, 2))
        yield np.concatenate([0 * mean, mean, 0 * mean], axis=2).astype(np.float32)

    def density(self, outputs):
        asked.append((len(outputs), outputs[0, :, 2].astype(int).tolist()))
        return original(self, outputs)

    original = PhotoZRegressor._density
    monkeypatch.setattr(PhotoZRegressor, "_outputs", outputs)
    monkeypatch.setattr(PhotoZRegressor, "_density", density)
    make(n_networks=7, n_folds=3, n_components=2, max_epochs=1).fit(table, z)
    assert asked == [(20, [0, 3, 6]), (20, [1, 4]), (20, [2, 5])]


def test_training_and_stopping_keep_to_their_folds(monkeypatch):
    table, z = galaxies(100)
    z = np.random.default_rng(0).permutation(z)  # which nothing in the table says: the longer, the worse
    given = []

    def fit_net(self, inputs, targets, rng, validation):
        given.append((targets, validation.y))
        original(self, inputs, targets, rng, validation)

    original = DensityEstimator._fit_net
    monkeypatch.setattr(DensityEstimator, "_fit_net", fit_net)
    regressor = make(n_networks=5, max_epochs=40, lr=0.02, random_state=0).fit(table, z)
    ((known, held),) = given
    # 100 galaxies and ten seen again; each row is for the networks of the four other folds
    np.testing.assert_array_equal(np.bincount(known[:, 1].astype(int))[:1], 0)
    assert len(known) == 110
    codes, counts = np.unique(held[:, 1], return_counts=True)
    np.testing.assert_array_equal(codes, [-5, -4, -3, -2, -1])
    np.testing.assert_array_equal(counts, 20)
    # the weights are those of the best epoch, not of the last
    history = np.array(regressor.net_.history[:, "valid_loss"])
    assert history.argmin() < len(history) - 1
    values, undetected = read_table(table, regressor.table_format_)
    features = TableFeatures(regressor.features_).transform(values, undetected)
    outputs = torch.tensor(regressor._forward({"table": features}))
    losses = regressor.net_.criterion_.of_rows(outputs, torch.tensor(held))
    assert losses.mean().item() == pytest.approx(history.min(), rel=1e-4)


def test_no_redshift_runs_away(fitted):
    table, _ = galaxies(50, seed=4)
    far = table.copy()
    for i, band in enumerate(BANDS):
        far[band] = np.full(50, (-40.0, 60.0, 5.0)[i]) * u.ABmag
    result = fitted.predict_pdf(far)
    assert result["out_of_distribution"].all()
    assert fitted.predict_pdf(table)["out_of_distribution"].mean() < 0.05
    for q in (0, 0.001, 0.5, 1):
        z = fitted.predict_quantiles(far, q).value
        assert (z >= 0).all()
        assert (z <= fitted.bounds_[1]).all()
    assert 0 <= fitted.bounds_[0] < 0.02
    assert fitted.bounds_[1] < 0.32


def test_missing_bands_widen_the_density(fitted):
    table, z = galaxies(300, seed=5)
    gappy = table.copy()
    gappy["g"] = np.full(300, np.nan) * u.ABmag
    whole, lacking = fitted.predict_pdf(table), fitted.predict_pdf(gappy)
    assert np.median(lacking["z_std"] / whole["z_std"]) > 1.3
    assert sigma_mad(z, lacking["z_median"]) < 0.1


def test_distances(fitted):
    table, _ = galaxies(20, seed=6)
    distance = fitted.predict_distance(table, Planck18, random_state=0, n_samples=4000)
    assert distance["distance"].unit == u.Mpc
    expected = Planck18.luminosity_distance(fitted.predict(table))
    spread = distance["distance_std"] / np.sqrt(4000) * 5
    assert (np.abs(distance["distance"] - expected) < 1.3 * spread).all()
    # luminosity distances bend upwards: the mean is farther than that of the mean redshift
    of_mean = Planck18.luminosity_distance(fitted.predict_pdf(table)["z_mean"])
    assert (distance["distance_mean"] > of_mean - spread).all()
    comoving = fitted.predict_distance(table, Planck18, kind="comoving", random_state=0)
    assert (comoving["distance"] < distance["distance"]).all()
    with pytest.raises(ValueError, match="kind='angular'"):
        fitted.predict_distance(table, Planck18, kind="angular")


def test_any_scalar_target():
    table, z = galaxies(200)
    metallicity = make().fit(table, (9 - 5 * z) * u.dex)
    assert metallicity.predict(table).unit == u.dex
    with pytest.raises(ValueError, match="'dex', not redshifts"):
        metallicity.predict_distance(table, Planck18)
    negative = make().fit(table, z - 0.3)
    assert negative.bounds_[0] < (z - 0.3).min() < 0
    with pytest.raises(ValueError, match=r"go down to -0\.2.*: they are no cosmological redshifts"):
        negative.predict_distance(table, Planck18)
    magnitude = make().fit(table, (20 * z - 24) * u.mag)
    odds = magnitude.predict_pdf(table)["odds"]
    assert ((odds > 0) & (odds <= 1)).all()
    lower, upper = magnitude.predict_interval(table, 0.9)
    assert 0 <= coverage((20 * z - 24) * u.mag, lower, upper) <= 1
    result = magnitude.predict_pdf(table)
    assert (pit((20 * z - 24) * u.mag, result) >= 0).all()
    assert (crps(20 * z - 24, result) >= 0).all()


def test_galaxies_that_come_nearer_do_not_make_redshifts_negative():
    table, z = galaxies(200)
    nearby = z - np.sort(z)[3]
    plain = make(random_state=0).fit(table, nearby)
    assert nearby.min() <= plain.bounds_[0] < 0
    assert (plain.predict_distance(table, Planck18)["distance_q16"] >= 0).all()
    regressor = make(random_state=0).fit(table, nearby * cu.redshift)
    assert regressor.bounds_[0] == 0
    assert (regressor.predict_quantiles(table, 0.0) >= 0).all()
    with pytest.raises(ValueError, match="n_samples=0"):
        plain.predict_distance(table, Planck18, n_samples=0)


def test_cross_validation_keeps_units():
    table, z = galaxies(120)
    groups = np.arange(120) // 2
    scores = cross_val_score(make(), table, z * cu.redshift, cv=GroupKFold(3), groups=groups, params={"groups": groups})
    assert scores.shape == (3,)
    search = GridSearchCV(make(), {"n_networks": [1, 2]}, cv=2).fit(table, z * cu.redshift)
    assert search.predict(table).unit == cu.redshift


def test_the_unit_of_redshifts_survives_files(tmp_path, fitted):
    table, z = galaxies(50, seed=12)
    QTable({"z": z * cu.redshift}).write(tmp_path / "z.ecsv")
    read = QTable.read(tmp_path / "z.ecsv")["z"]
    assert fitted.score(table, read) == fitted.score(table, z)
    assert sigma_mad(pickle.loads(pickle.dumps(z * cu.redshift)), fitted.predict(table)) < 0.02


def test_data_frames(tmp_path):
    pandas = pytest.importorskip("pandas")
    table, z = galaxies(80)
    frame = pandas.DataFrame({name: table[name].value for name in table.colnames})
    regressor = make(random_state=0).fit(frame, z)
    regressor.save(tmp_path / "frame.safetensors")
    again = PhotoZRegressor.load(tmp_path / "frame.safetensors")
    np.testing.assert_array_equal(again.predict(frame), regressor.predict(frame))
    assert again.feature_names_in_.dtype == object
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame.rename(columns={"g": "x"}))


def test_what_is_set_after_the_fit_does_not_change_what_was_fitted(tmp_path, fitted):
    table, _ = galaxies(10, seed=13)
    other = pickle.loads(pickle.dumps(fitted)).set_params(n_networks=3, n_components=2, architecture="menko2024")
    other.save(tmp_path / "other.safetensors")
    np.testing.assert_array_equal(PhotoZRegressor.load(tmp_path / "other.safetensors").predict(table),
                                  fitted.predict(table))
    wide = pickle.loads(pickle.dumps(fitted)).set_params(odds_width=0.2)
    assert (wide.predict_pdf(table)["odds"] > fitted.predict_pdf(table)["odds"]).all()


def test_copies_are_held_out_together():
    table, z = galaxies(30)
    rows = np.repeat(np.arange(30), 4)
    regressor = make(random_state=1)
    regressor.fit(table[rows], z[rows])
    assert len(regressor.conformity_) == 2 * 24  # of the two folds that a network holds out
    values = np.column_stack([table[band].value for band in BANDS])[rows]
    fold = assign_folds(Galaxies(values=values), None, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(fold.reshape(30, 4), np.repeat(fold[::4, None], 4, axis=1))
    with pytest.raises(ValueError, match="nothing can be held out"):
        make().fit(table[np.zeros(10, int)], z[:10])
    with pytest.raises(ValueError, match="nothing can be held out"):
        make().fit(table, z, groups=np.zeros(30))


def test_table_and_images_together():
    images, z = stamps()
    table = SampleTable({"g": -2.5 * np.log10(images[:, 0].sum(axis=(1, 2))) * u.mag,
                         "r": -2.5 * np.log10(images[:, 1].sum(axis=(1, 2))) * u.mag})
    both = table.copy()
    both["image"] = images * u.nmgy
    first = make(random_state=0).fit(both, z)
    second = make(random_state=0).fit({"table": table, "images": images * u.nmgy}, z)
    np.testing.assert_array_equal(first.predict(both), second.predict({"table": table, "images": images * u.nmgy}))
    with pytest.raises(ValueError, match="lacks images"):
        first.predict(table)
    with pytest.raises(ValueError, match="lacks a table"):
        first.predict(images * u.nmgy)
    with pytest.raises(ValueError, match="differ in length: 40 and 39"):
        first.predict({"table": table, "images": images[:39] * u.nmgy})
    with pytest.raises(ValueError, match="several columns of images"):
        both["other"] = images
        first.predict(both)
    with pytest.raises(ValueError, match="not pictures"):
        first.predict({"pictures": images})


def test_images_beside_a_table_correct_it_where_they_say_more():
    images, z = stamps(n=300, seed=3)
    table, _ = galaxies(300, seed=4)
    noise = np.random.default_rng(5).normal(size=images.shape).astype(np.float32)
    true = galaxies(300, seed=4)[1]
    error = {}
    for name, X, y in (("table", table, true), ("table and noise", {"table": table, "images": noise}, true),
                       ("wrong table", table, z), ("wrong table, images", {"table": table, "images": images}, z)):
        regressor = make(max_epochs=15, random_state=0)
        train, test = (take(X, rows) for rows in (slice(0, 220), slice(220, None)))
        error[name] = sigma_mad(y[220:], regressor.fit(train, y[:220]).predict(test))
    assert error["table and noise"] < 1.3 * error["table"]
    assert error["wrong table, images"] < 0.6 * error["wrong table"]


@pytest.mark.parametrize(("gain", "kept"), [(0.0, False), (0.4, False), (0.8, True)])
def test_a_correction_must_be_worth_more_than_its_error(monkeypatch, gain, kept):
    images, z = stamps(n=60, seed=3)
    scatter = np.random.default_rng(0).normal(size=12)  # of the held-out fifth
    scatter *= 0.3 * np.sqrt(12) / scatter.std()  # the mean's error is 0.3
    losses = iter([scatter - scatter.mean() + gain, np.zeros(12)])
    monkeypatch.setattr(DensityEstimator, "_losses", lambda self, galaxies, targets: next(losses))
    correction = make(random_state=0).fit(images, z).net_.module_.correction
    assert (correction.weight != 0).any() == kept
    assert (correction.bias != 0).any() == kept


def test_unusual_images_beside_a_table_are_marked():
    images, z = stamps(n=120, seed=3)
    table, _ = galaxies(120, seed=4)
    regressor = make(random_state=0).fit({"table": table, "images": images}, z)
    assert regressor.predict_pdf({"table": table, "images": images})["out_of_distribution"].mean() < 0.05
    for strange in (0 * images, 1e6 * images):
        assert regressor.predict_pdf({"table": table, "images": strange})["out_of_distribution"].all()


def take(X, rows):
    return {name: part[rows] for name, part in X.items()} if isinstance(X, dict) else X[rows]


def test_the_published_network(monkeypatch):
    images, z = stamps(n=30, size=32)
    folds = []

    def recorded(*args):
        folds.append(assign_folds(*args))
        return folds[-1]

    monkeypatch.setattr("astrolearn.photoz.regressor.assign_folds", recorded)
    regressor = make(architecture="menko2024", max_epochs=1).fit(images, z)
    assert sum(p.numel() for p in regressor.net_.module_.parameters()) == 3_341_793 - 32 * 9
    # Keras' L2 of 5e-5 on the thirteen convolutions, for targets in units of their spread
    decays = [group["weight_decay"] for group in regressor.net_.optimizer_.param_groups]
    assert decays.count(pytest.approx(1e-4 / regressor.scale_**2)) == 13
    assert sum(decay > 0 for decay in decays) == 13
    lower, upper = regressor.predict_interval(images, 0.9)
    assert (lower < upper).all()
    result = regressor.predict_pdf(images)
    assert (result["z_median"] >= 0).all()
    # the width of its densities is that of the residuals of the six galaxies that were held out
    held = folds[0] == 0
    said = np.concatenate(list(regressor._outputs(regressor._read(images[held]))))
    residuals = z[held] - regressor.centre_ - regressor.scale_ * said
    assert regressor.spread_ == pytest.approx(1.4826 * np.median(np.abs(residuals)))
    assert len(regressor.conformity_) == 6
    with pytest.raises(ValueError, match="images of 20 pixels; .* needs 32 at least"):
        make(architecture="menko2024").fit(*stamps())
    with pytest.raises(ValueError, match="takes images and no table"):
        make(architecture="menko2024").fit(*galaxies(30))


def test_images_are_seen_from_all_sides():
    images, z = stamps()
    regressor = make(random_state=0).fit(images, z)
    expected = regressor.predict(images)
    for view in (images[:, :, ::-1], images.swapaxes(2, 3), np.rot90(images, axes=(2, 3))):
        np.testing.assert_allclose(regressor.predict(view), expected, atol=1e-5)
    # and in training each is seen from a side that is drawn
    trunk = regressor.net_.module_.trunk
    same = torch.tensor(np.random.default_rng(0).normal(size=(1, 2, 20, 20)).astype(np.float32)).expand(64, -1, -1, -1)
    with torch.no_grad():
        assert trunk.train()(same).std(dim=0).max() > 1e-3
        assert trunk.eval()(same).std(dim=0).max() < 1e-5


def test_paths_of_images(tmp_path):
    images, z = stamps(20)
    paths = []
    for i, image in enumerate(images):
        paths.append(str(tmp_path / f"{i}.fits"))
        fits.writeto(paths[-1], image)
    regressor = make(random_state=0).fit(paths, z)
    np.testing.assert_array_equal(regressor.predict(np.array(paths)), regressor.predict(images))


def test_the_same_seed_gives_the_same_in_every_process():
    code = """
import numpy as np
import torch
from astrolearn import PhotoZRegressor
torch.set_num_threads(1)  # as here: products of matrices round otherwise in several threads
X = np.random.default_rng(0).normal(size=(60, 3))
print(repr(PhotoZRegressor(max_epochs=1, n_networks=1, random_state=0).fit(X, X[:, 0]).predict(X[:1])[0]))
"""
    X = np.random.default_rng(0).normal(size=(60, 3))
    here = PhotoZRegressor(max_epochs=1, n_networks=1, random_state=0).fit(X, X[:, 0]).predict(X[:1])[0]
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another than here
    there = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True,
                           capture_output=True, text=True).stdout
    assert there == f"{here!r}\n"


def test_arrays_are_plain_numbers():
    with pytest.raises(ValueError, match="an array in 'nJy': make it a QTable"):
        make().fit(plain * u.nJy, Z)
    gappy = np.where(np.arange(80)[:, None] % 7 == 0, np.nan, plain)
    masked = np.ma.MaskedArray(np.nan_to_num(gappy, nan=-99.0), mask=np.isnan(gappy))
    fitted = make(random_state=0).fit(plain, Z)
    for other in (masked, Masked(masked.data, mask=masked.mask), Masked(masked.data * u.mag, mask=masked.mask)):
        np.testing.assert_array_equal(fitted.predict(other), fitted.predict(gappy))
    np.testing.assert_array_equal(make(random_state=0).fit(plain * u.mag, Z).predict(plain), fitted.predict(plain))


def test_targets_that_are_missing_or_no_numbers():
    masked = np.ma.MaskedArray(np.where(np.arange(80) == 3, -99.0, Z), mask=np.arange(80) == 3)
    for y in (masked, Masked(masked.data, mask=masked.mask)):
        with pytest.raises(ValueError, match="y has 1 missing values"):
            make().fit(TABLE, y)
    with pytest.raises(ValueError, match=r"y is in 'mag\(AB\)'"):
        make().fit(TABLE, Z * u.ABmag)


def test_a_large_group_is_trained_on():
    groups = np.r_[np.zeros(60), np.arange(1, 21)]
    for seed in range(4):
        assert len(make(random_state=seed).fit(TABLE, Z, groups=groups).conformity_) <= 15


def test_galaxies_that_lack_most_bands_are_out_of_distribution(fitted):
    table, _ = galaxies(3, seed=8)
    for name in ("g", "g_err", "r", "r_err"):
        table[name][0] = np.nan * table[name].unit
    np.testing.assert_array_equal(fitted.predict_pdf(table)["out_of_distribution"], [True, False, False])


def test_mode_and_odds_do_not_depend_on_the_grid(fitted):
    table, _ = galaxies(5, seed=9)
    fine, coarse = fitted.predict_pdf(table), fitted.predict_pdf(table, z=[0.0, 0.3] * cu.redshift)
    for name in ("z_mode", "odds"):
        np.testing.assert_array_equal(fine[name], coarse[name])
    peak = fine.meta["z_grid"][np.argmax(fine["pdf"], axis=1)]
    np.testing.assert_allclose(fine["z_mode"].value, peak.value, atol=0.01)


def test_densities_for_rail(fitted):
    qp = pytest.importorskip("qp", reason="needs qp-prob")
    table, _ = galaxies(5, seed=10)
    ensemble = fitted.to_qp(table)
    assert isinstance(ensemble, qp.Ensemble)
    np.testing.assert_allclose(np.ravel(ensemble.median()), fitted.predict(table).value, atol=2e-3)


def test_refit_on_another_kind_of_input():
    images, image_z = stamps()
    table, z = galaxies(60)
    regressor = make(random_state=0).fit(images, image_z).fit(table, z)
    np.testing.assert_array_equal(regressor.predict(table), make(random_state=0).fit(table, z).predict(table))
    assert regressor.n_features_in_ == 6
    assert not hasattr(regressor.fit(images, image_z), "n_features_in_")
