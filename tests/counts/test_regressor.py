"""SourceCountRegressor: the promises of every estimator, what it measures and what not, and what images it takes."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import NDData
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from estimator_checks import Case, parametrize
from sklearn.model_selection import GroupKFold, cross_val_score

from astrolearn.counts import (
    CountModel,
    GaussianProcess,
    IndependentBins,
    Instrument,
    RadioSkySimulator,
    ReferenceCounts,
    read_counts,
    write_counts,
)
from astrolearn.counts.expected import ExpectedSkies
from astrolearn.counts.features import moved
from astrolearn.counts.fluctuations import fluctuation_analysis
from astrolearn.counts.regressor import SourceCountRegressor
from astrolearn.counts.skies import Skies, group_rows

COUNTS = ReferenceCounts(frequency="944 MHz")
FAMILY = IndependentBins(COUNTS)
DENSITY = 1 / (u.Jy * u.sr)
POINTS = {"counts": FAMILY, "clustering": None, "morphology": "points"}
SIMULATOR = RadioSkySimulator(n_pixels=320, **POINTS)
LOG_FLUX = np.arange(-7, -1.4, 0.5)


def images_and_counts(n, n_pixels, seed):
    skies = RadioSkySimulator(n_pixels=n_pixels, **POINTS).sample(n, seed)
    n_true = u.Quantity([sky.meta["counts"](10**LOG_FLUX * u.Jy) for sky in skies])
    return np.stack([sky.data for sky in skies]) * (u.Jy / u.beam), n_true


X, Y = images_and_counts(12, 48, 0)
NEW, NEW_Y = images_and_counts(3, 48, 1)


def nddata(image, **meta):
    return NDData(image, meta={"BMAJ": 15 / 3600, "BMIN": 15 / 3600, "FREQ": 944e6, "NOISE": 25e-6} | meta)


masked = [NDData(NEW[0], mask=np.ones(NEW[0].shape, bool))]


def case(name, **options):
    return Case(
        name=f"SourceCountRegressor-{name}",
        make=lambda **parameters: SourceCountRegressor(**{"max_epochs": 2, "batch_size": 4} | options | parameters),
        fit_args=(X, Y),
        predict_args=(NEW,),
        methods=("predict", "predict_counts"),
        bad_inputs={
            "wrong_unit": ((NEW.value * u.m,), "X has the unit 'm', which is no brightness"),
            "wrong_shape": ((NEW[0, 0],), r"X has the shape \(48,\); images are"),
            "nan": ((NEW * np.nan,), "image 0 of X has no pixel that is not NaN"),
            "empty": ((NEW[:0],), "X is empty"),
            "no_images": (([],), "X is empty"),
            "infinite": ((NEW * np.inf,), "infinite"),
            "kelvin": ((NEW.value * u.K,), "X has the unit 'K', for which its beam and frequency must be known"),
            "jansky": ((NEW.value * u.Jy,), "X has the unit 'Jy', for which its beam must be known"),
            "millijansky_taken_for_jansky": ((NEW.value * 1e3,), "check the unit"),
        },
        bad_fit_inputs={
            "no_counts": ((X,), "y is needed"),
            "bins": ((X, Y[:, 1:]), r"y has the shape \(12, 11\); expected \(12, 12\)"),
            "unit": ((X, Y.value * u.Jy), "y has the unit 'Jy', which does not convert to '1 / \\(Jy sr\\)'"),
            "zero": ((X, 0 * Y), "y must be positive"),
            "few": ((X[:4], Y[:4]), "4 skies; 5 at least"),
            "groups": ((X, Y, np.arange(11)), r"groups has the shape \(11,\); expected \(12,\)"),
            "mixed_groups": ((X, Y, np.zeros(12)), "y differs between images of one group"),
        },
        equal_inputs={
            "big_endian": (NEW.astype(">f4"),),
            "bare": (NEW.value,),
            "list": (list(NEW),),
            "nothing_masked": (np.ma.MaskedArray(NEW.value, mask=np.zeros(NEW.shape, bool)),),
        },
        exclusions={
            "bad_inputs[masked]": "blank pixels are left out; see test_blank_pixels_are_left_out",
            "parallel_answers_are_the_same": "they are to 1e-9: products of matrices round otherwise in two threads",
        },
    )


@parametrize(case("set"), case("earth-mover", loss="earth-mover"), case("regis2022", architecture="regis2022"))
def test_promises_are_kept(check, case):
    check(case)


@pytest.fixture(scope="module")
def trained():
    regressor = SourceCountRegressor(n_skies=60, n_expected=5000, max_epochs=10, batch_size=64, random_state=0)
    return regressor.fit(SIMULATOR)


@pytest.fixture(scope="module")
def fresh():
    """Many expected skies, and some simulated ones: histograms and true counts."""
    rng = np.random.default_rng(11)
    log_n, cumulative = ExpectedSkies(SIMULATOR).draw(600, 320**2, rng)
    return Skies(moved(cumulative), np.full(600, 320.0**2), np.full(600, 25e-6)), log_n[:, 1:13]


def test_measures_what_can_be_measured(trained, fresh):
    skies, log_n = fresh
    mean, covariance = trained._normal(trained._inputs(skies))
    rms = np.sqrt(((mean - log_n) ** 2).mean(axis=0))
    assert (rms[5:9] < [0.33, 0.16, 0.14, 0.2]).all()  # 3e-5 to 1e-3 Jy; the prior is 0.4 wide
    assert (rms < 1.2 * trained.prior_sigma_).all()
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    # the widths are those of 60 simulated skies, quantiles of which scatter by 0.06, and of expected ones
    coverage = (np.abs(mean - log_n) < sigma).mean(axis=0)
    assert (np.abs(coverage - 0.68) < 0.18).all()
    assert abs(coverage.mean() - 0.68) < 0.1


def test_errors_of_measured_neighbours_are_not_positively_correlated(trained, fresh):
    skies, log_n = fresh
    error = trained._normal(trained._inputs(skies))[0] - log_n
    correlation = np.corrcoef(error[:, 6:10].T)
    assert (np.diagonal(correlation, 1) < 0.3).all()


def test_is_no_worse_than_the_likelihood_fit_of_the_same_images(trained):
    errors = []
    for image in SIMULATOR.stream(12, 21):
        true = np.log10(image.meta["counts"](10 ** LOG_FLUX[6:9] * u.Jy).value)
        fit = fluctuation_analysis(image, beam=15, pixel_scale=5, noise=25e-6, frequency=0.944,
                                   flux_range=(10**-7.5, 1))
        table = trained.predict_counts([image])
        errors.append([np.log10(part["n"].value) - true for part in (table[6:9], fit[7:10])])
    rms = np.sqrt(np.square(errors).mean(axis=(0, 2)))
    assert rms[0] < 1.25 * rms[1]  # twelve skies; the benchmark has many


def test_table_says_what_was_measured(trained):
    images = SIMULATOR.sample(2, 5)
    table = trained.predict_counts(images)
    assert table.colnames == ["group", "S_lo", "S_mid", "S_hi", "n", "n_q16", "n_q84", "euclidean", "prior_width",
                              "information", "prior_driven"]
    assert len(table) == 24
    np.testing.assert_array_equal(table["group"], np.repeat([0, 1], 12))
    units = {"S_lo": u.Jy, "S_mid": u.Jy, "S_hi": u.Jy, "n": DENSITY, "n_q16": DENSITY, "n_q84": DENSITY,
             "euclidean": u.Jy**1.5 / u.sr}
    assert {name: table[name].unit for name in units} == units
    np.testing.assert_allclose(table["S_mid"][:12].value, 10**LOG_FLUX)
    np.testing.assert_allclose(table["euclidean"], table["n"] * table["S_mid"] ** 2.5)
    np.testing.assert_array_equal(table["prior_driven"], table["information"] < 0.5)
    assert table["prior_driven"][:4].all()  # below 3e-6 Jy
    assert not table["prior_driven"][6:9].any()
    np.testing.assert_allclose(table["prior_width"], 0.4, atol=0.01)
    sigma = np.sqrt(np.diagonal(table.meta["covariance"], axis1=1, axis2=2)).ravel()
    np.testing.assert_allclose(np.log10(table["n_q84"] / table["n_q16"]) / 2, sigma, rtol=1e-6)
    np.testing.assert_allclose(table["information"], np.clip(1 - (sigma / table["prior_width"]) ** 2, 0, 1))
    assert table.meta["frequency"] == 0.944 * u.GHz
    assert table.meta["pixel_scale"].to_value(u.arcsec) == pytest.approx(5, rel=1e-4)
    np.testing.assert_allclose(table.meta["area"].to_value(u.arcsec**2), 320**2 * 25, rtol=1e-3)
    np.testing.assert_allclose(table.meta["noise"].value, 25e-6)
    assert isinstance(table, QTable)
    q = trained.predict_quantiles(images, [0.16, 0.5])
    np.testing.assert_allclose(q[..., 1].ravel(), table["n"])
    np.testing.assert_allclose(q[..., 0].ravel(), table["n_q16"], rtol=0.02)
    np.testing.assert_array_equal(trained.predict(images), q[..., 1])


def test_table_can_be_exported(trained, tmp_path):
    table = trained.predict_counts(SIMULATOR.sample(1, 5))
    write_counts(table, tmp_path / "counts.txt")
    written = read_counts(tmp_path / "counts.txt")
    measured = table[~table["prior_driven"]]
    assert 3 < len(measured) < 12
    np.testing.assert_allclose(written["S"].value, measured["S_mid"].value, rtol=1e-3)
    with pytest.raises(ValueError, match="several skies: select one"):
        write_counts(trained.predict_counts(SIMULATOR.sample(2, 5)), tmp_path / "two.txt")
    assert not (tmp_path / "two.txt").exists()
    with pytest.raises(ValueError, match="no counts that were measured"):
        write_counts(table[table["prior_driven"]], tmp_path / "none.txt")


def test_cutouts_of_a_sky_are_pooled(trained):
    image = SIMULATOR.sample(1, 6)[0].data
    squares = image.reshape(4, 80, 4, 80).swapaxes(1, 2).reshape(16, 80, 80)
    whole = trained.predict_counts(image[None])
    pooled = trained.predict_counts(squares, groups=np.repeat("a", 16))
    np.testing.assert_allclose(pooled["n"], whole["n"], rtol=1e-5)
    assert list(pooled["group"]) == ["a"] * 12
    assert pooled.meta["area"] == whole.meta["area"]
    each = trained.predict_counts(squares)
    assert len(each) == 16 * 12
    information = np.reshape(each["information"], (16, 12)).mean(axis=0)
    assert (information[6:10] < whole["information"][6:10]).all()
    two = trained.predict_counts(squares, groups=np.repeat(["b", "a"], 8))
    assert list(two["group"]) == ["b"] * 12 + ["a"] * 12


def test_fields_of_one_sky_may_have_other_levels_but_not_other_noise(trained):
    fields = np.array([image.data for image in SIMULATOR.sample(2, 6)])
    level = np.array([[[30e-6]], [[-50e-6]]], np.float32)
    plain, shifted = (trained.predict_counts(X, groups=[0, 0]) for X in (fields, fields + level))
    np.testing.assert_allclose(shifted["n"], plain["n"], rtol=1e-3)
    noise = [25e-6, 28e-6] * u.Jy / u.beam
    with pytest.raises(ValueError, match="images of one group have noise from 2.5e-05 .* to 2.8e-05"):
        trained.predict_counts(fields, groups=[0, 0], noise=noise)
    assert len(trained.predict_counts(fields, noise=noise)) == 24


def test_blank_pixels_are_left_out(trained):
    image = SIMULATOR.sample(1, 7)[0].data
    wide = np.full((360, 350), np.nan, np.float32)
    wide[20:340, 10:330] = image
    plain, framed = trained.predict_counts(image), trained.predict_counts(wide)
    np.testing.assert_array_equal(framed["n"], plain["n"])
    hidden = NDData(np.nan_to_num(wide, nan=7.0), mask=np.isnan(wide), unit=u.Jy / u.beam, meta={"NOISE": 25e-6})
    with pytest.warns(AstropyUserWarning, match="taken from the training: beam=15"):
        assert (trained.predict_counts([hidden])["n"] == plain["n"]).all()
    assert framed.meta["area"] == plain.meta["area"]


def test_units_are_converted(trained):
    image = SIMULATOR.sample(1, 8)[0]
    expected = trained.predict([image])
    tool = Instrument.preset("emu")
    value = image.data * (u.Jy / u.beam)
    for unit in (u.mJy / u.beam, u.uJy / u.beam):
        np.testing.assert_allclose(trained.predict(value.to(unit)[None]), expected, rtol=1e-3)
    kelvin = tool.convert(value, u.K)
    table = trained.predict_counts(kelvin[None], beam="15 arcsec", frequency="944 MHz")
    np.testing.assert_allclose(table["n"], expected[0], rtol=1e-3)


def test_other_noise_is_a_scaled_sky(trained):
    image = SIMULATOR.sample(1, 9)[0].data
    louder = trained.predict_counts(image[None] * 1.1, noise=1.1 * 25 * u.uJy / u.beam)
    plain = trained.predict_counts(image[None])
    # n'(S) = n(S / a) / a: for counts near S^-2 n grows by a
    change = np.log10(louder["n"] / plain["n"]).value[6:9]
    slope = np.diff(np.log10(plain["n"].value))[5:9] / 0.5
    expected = np.log10(1.1) * (-(slope[1:] + slope[:-1]) / 2 - 1)
    np.testing.assert_allclose(change, expected, atol=0.04)
    np.testing.assert_allclose(louder.meta["noise"].value, 1.1 * 25e-6)


@pytest.mark.parametrize(("given", "message"), [
    ({"noise": "40 uJy/beam"}, "this was trained for 2e-05 to 3.125e-05 Jy/beam"),
    ({"beam": "20 arcsec"}, "this was trained for 15 arcsec"),
    ({"pixel_scale": "2 arcsec"}, "this was trained for 5 arcsec"),
    ({"frequency": "1.4 GHz"}, "this was trained for 0.944 GHz"),
    ({"beam": "15 Jy"}, "beam has the unit 'Jy', which does not convert to 'arcsec'"),
])  # fmt: skip
def test_other_images_than_trained_are_refused(trained, given, message):
    with pytest.raises(ValueError, match=message):
        trained.predict_counts(SIMULATOR.sample(1, 0)[0].data, **given)


def test_small_sky_warns(trained):
    with pytest.warns(AstropyUserWarning, match="100 pixels; this was trained for 256 to 102400"):
        trained.predict(NEW[:, :10, :10])


def test_image_that_does_not_state_its_noise_warns(trained):
    image = SIMULATOR.sample(1, 0)[0]
    del image.meta["NOISE"]
    with pytest.warns(AstropyUserWarning, match="do not state their noise: taken as the trained 2.5e-05"):
        trained.predict([image])


def test_family_of_wide_skies_is_the_prior():
    wide = RadioSkySimulator(n_pixels=64, **POINTS | {"counts": GaussianProcess(COUNTS, sigma=0.2)})
    regressor = SourceCountRegressor(n_skies=5, n_expected=500, max_epochs=1, random_state=0).fit(wide)
    np.testing.assert_allclose(regressor.prior_sigma_, 0.2, atol=0.02)
    np.testing.assert_allclose(regressor.prior_mean_, COUNTS.log_density(LOG_FLUX), atol=0.02)


def test_bins_of_flux_are_free():
    bins = [10, 30, 100] * u.uJy
    regressor = SourceCountRegressor(flux_bins=bins, n_skies=5, n_expected=500, max_epochs=1, random_state=0)
    table = regressor.fit(RadioSkySimulator(n_pixels=64, **POINTS)).predict_counts(NEW[:1])
    np.testing.assert_allclose(table["S_lo"].to_value(u.uJy), [10, 30])
    np.testing.assert_allclose(table["S_mid"].to_value(u.uJy), np.sqrt([300, 3000]))


@pytest.mark.parametrize("bins", [[1e-5], [1e-4, 1e-5], [0, 1e-5], [[1e-5, 1e-4]]])
def test_bad_bins_are_refused(bins):
    with pytest.raises(ValueError, match="flux_bins must be"):
        SourceCountRegressor(flux_bins=bins).fit(X, Y)


@pytest.mark.parametrize("noise_range", [(0, 1), (1.1, 1.2), (0.5, 0.9), (-1, 2)])
def test_bad_range_of_noise_is_refused(noise_range):
    with pytest.raises(ValueError, match="noise_range=.* must be two positive numbers around 1"):
        SourceCountRegressor(noise_range=noise_range).fit(X, Y)


def test_simulator_must_fit():
    one = RadioSkySimulator(n_pixels=64, counts=COUNTS)
    with pytest.raises(ValueError, match="give it a family"):
        SourceCountRegressor().fit(one)
    with pytest.raises(ValueError, match="pixel_scale=7.03125 arcsec, that of the regressor 5.0 arcsec"):
        SourceCountRegressor().fit(RadioSkySimulator(instrument="regis2022", n_pixels=64))
    with pytest.raises(ValueError, match="no y and no groups"):
        SourceCountRegressor().fit(SIMULATOR, Y)
    quiet = replace(Instrument.preset("emu"), noise=0)
    with pytest.raises(ValueError, match="noise of the instrument must be positive"):
        SourceCountRegressor(instrument=quiet).fit(RadioSkySimulator(instrument=quiet, n_pixels=64))


def test_sky_model_images_have_no_noise():
    simulator = RadioSkySimulator(n_pixels=64, image="model", **POINTS)
    for architecture in ("set", "regis2022"):
        regressor = SourceCountRegressor(architecture=architecture, n_skies=8, max_epochs=2, random_state=0)
        table = regressor.fit(simulator).predict_counts(simulator.sample(2, 1))
        true = np.array([image.meta["counts"].log_n[1:13] for image in simulator.sample(2, 1)])
        assert np.abs(np.log10(table["n"].value) - true.ravel()).max() < 2  # the prior is 0.4 wide


def test_published_network_averages_over_cutouts():
    simulator = RadioSkySimulator(n_pixels=256, **POINTS)
    regressor = SourceCountRegressor(architecture="regis2022", n_skies=8, n_cutouts=3, max_epochs=2, random_state=0)
    regressor.fit(simulator)
    squares = RadioSkySimulator(n_pixels=128, **POINTS).sample(4, 3)
    each = np.log10(regressor.predict(squares).value)
    together = regressor.predict_counts(squares, groups=[0, 0, 0, 0])
    np.testing.assert_allclose(np.log10(together["n"].value), each.mean(axis=0), atol=1e-5)
    alone = regressor.predict_counts(squares)
    # what the cutouts err together stays, what each errs by itself becomes a quarter
    common, own = regressor.spread_
    np.testing.assert_allclose(together.meta["covariance"][0], common + own / 4)
    np.testing.assert_allclose(alone.meta["covariance"][0], common + own)
    gappy = np.array([image.data for image in squares])
    whole = np.log10(regressor.predict(gappy).value)
    gappy[:, :16] = np.nan
    np.testing.assert_allclose(np.log10(regressor.predict(gappy).value), whole, atol=0.3)
    with pytest.raises(ValueError, match=r"images of one shape; X has \[\(48, 48\)\], those of the training have"):
        regressor.predict(NEW)


def test_instrument_of_ones_own_is_saved(tmp_path):
    tool = replace(Instrument.preset("emu"), beam_minor=12 * u.arcsec, beam_pa=30 * u.deg)
    options = {"n_skies": 5, "n_expected": 200, "max_epochs": 1, "random_state": 0}
    simulator = RadioSkySimulator(instrument=tool, n_pixels=64, **POINTS)
    regressor = SourceCountRegressor(instrument=tool, **options).fit(simulator)
    regressor.save(tmp_path / "weights.safetensors")
    assert regressor.instrument is tool
    loaded = SourceCountRegressor.load(tmp_path / "weights.safetensors")
    images = simulator.sample(2, 0)
    np.testing.assert_array_equal(loaded.predict(images), regressor.predict(images))
    again = SourceCountRegressor(instrument=loaded.instrument, **options).fit(simulator)
    np.testing.assert_array_equal(again.predict(images), regressor.predict(images))


def test_same_seed_gives_the_same_network():
    simulator = RadioSkySimulator(n_pixels=64, **POINTS)
    options = {"n_skies": 6, "n_expected": 300, "max_epochs": 2}
    first, second, other = (SourceCountRegressor(random_state=seed, **options).fit(simulator) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.predict(NEW), second.predict(NEW))
    assert (first.predict(NEW) != other.predict(NEW)).all()


def test_score_converts_units_and_skies_are_validated_together():
    regressor = SourceCountRegressor(max_epochs=2, batch_size=4, random_state=0).fit(X, Y)
    score = regressor.score(NEW, NEW_Y)
    assert score == pytest.approx(-np.sqrt(np.mean(np.log10(regressor.predict(NEW) / NEW_Y).value ** 2)))
    assert score == pytest.approx(regressor.score(NEW, NEW_Y.to(1 / (u.mJy * u.deg**2))))
    with pytest.raises(u.UnitConversionError):
        regressor.score(NEW, NEW_Y.value * u.Jy)
    groups = np.repeat(np.arange(12), 4)
    squares = X.value.reshape(12, 2, 24, 2, 24).swapaxes(2, 3).reshape(48, 24, 24)
    scores = cross_val_score(regressor, squares, np.repeat(Y.value, 4, axis=0), groups=groups, cv=GroupKFold(2))
    assert (scores < 0).all()
    grouped = SourceCountRegressor(max_epochs=2, batch_size=4, random_state=0)
    grouped.fit(squares, np.repeat(Y, 4, axis=0), groups)
    assert grouped.n_pixels_ == 48**2


def test_groups_keep_their_order():
    names, rows = group_rows(["b", "a", "b"], 3)
    assert list(names) == ["b", "a"]
    assert [list(row) for row in rows] == [[0, 2], [1]]


def test_true_counts_come_back_from_a_model_of_counts(trained):
    # a sky as the middle of the prior: the measured bins are where the model is
    model = CountModel.from_logs(FAMILY.log_flux, FAMILY.mean)
    image = SIMULATOR.observe(model, 4)
    table = trained.predict_counts([image])
    error = np.log10(table["n"].value / model(table["S_mid"]).value)
    sigma = np.sqrt(np.diag(table.meta["covariance"][0]))
    measured = ~table["prior_driven"]
    assert measured.sum() > 3
    assert (np.abs(error) < 3.5 * sigma)[measured].all()
