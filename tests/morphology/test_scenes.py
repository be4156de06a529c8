"""Scenes: light, noise, labels, coordinates and options."""

import pickle
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.nddata import StdDevUncertainty

from astrolearn.morphology.galaxies import CLASSES, Sersic, Source, draw_source
from astrolearn.morphology.hst import BANDS
from astrolearn.morphology.morpheus import Morpheus, read_variables, standardised
from astrolearn.morphology.scenes import GalaxySceneSimulator

QUIET = dict.fromkeys(BANDS, 1e-7)


def galaxy(kind="spheroid", magnitude=20.0, r_e=4.0, n=2.5, **shape):
    magnitudes = magnitude + np.array([0, 0.3, 2, 0.8])
    return Source(kind, ((Sersic(r_e, n, **shape), magnitudes),), r_e=r_e, n=n, q=shape.get("q", 1.0), angle=0.0)


def star(magnitude=20.0):
    return Source("point_source", ((None, magnitude + np.zeros(4)),))


@pytest.fixture(scope="module")
def scenes():
    return GalaxySceneSimulator(shape=(120, 150), density=500).sample(4, random_state=0)


def test_scene(scenes):
    for scene in scenes:
        assert list(scene.images) == list(BANDS)
        for name, image in scene.images.items():
            assert image.shape == (120, 150) and image.data.dtype == np.float32
            assert image.unit == u.electron / u.s
            assert isinstance(image.uncertainty, StdDevUncertainty)
            assert image.meta["FILTER"] == name and image.meta["MAGZERO"] == BANDS[name].zero_point
            ratio = image.meta["NOISE"] / BANDS[name].noise
            assert 0.5 <= ratio <= 2
            assert image.meta["EXPTIME"] == pytest.approx(BANDS[name].exposure / ratio**2)
        assert scene.labels.dtype == np.float32 and scene.labels.shape == (5, 120, 150)


def test_labels_agree_with_segments_and_table(scenes):
    for scene in scenes:
        np.testing.assert_allclose(scene.labels.sum(axis=0), 1, atol=1e-6)
        segments, table = scene.segmap.data, scene.sources
        background = segments == 0
        assert (scene.labels[-1] == background).all()
        labelled = table[table["label"] > 0]
        assert sorted(labelled["label"]) == list(scene.segmap.labels)
        assert (labelled["snr"] >= 5).all()
        counts = np.bincount(segments.ravel(), minlength=len(table) + 1)
        np.testing.assert_array_equal(labelled["n_pixels"], counts[labelled["label"]])
        assert (labelled["n_pixels"] >= 5).all()
        assert (table["n_pixels"][table["label"] == 0] == 0).all()
        # a pixel's owner is the brightest of all sources, so that mostly its class leads as well
        agree = total = 0
        for row in labelled:
            mine = segments == row["label"]
            agree += (scene.labels[:, mine].argmax(axis=0) == CLASSES.index(row["class"])).sum()
            total += mine.sum()
        assert agree > 0.95 * total


@pytest.mark.parametrize("source", [galaxy(), galaxy(n=1.0, r_e=7.0, q=0.3, angle=1.0), galaxy(n=4, r_e=2), star()])
def test_flux_is_conserved(source):
    scene = GalaxySceneSimulator(shape=(201, 201), noise=QUIET).observe([100.3], [99.6], [source], 1)
    for index, (name, image) in enumerate(scene.images.items()):
        expected = 10 ** (0.4 * (BANDS[name].zero_point - source.magnitudes[index]))
        assert image.data.sum(dtype=float) == pytest.approx(expected, rel=0.02)
        assert scene.sources[f"mag_{name}"][0].to_value(u.mag) == pytest.approx(source.magnitudes[index])


def test_psf_of_each_band():
    scene = GalaxySceneSimulator(shape=(61, 61), noise=QUIET).observe([30], [30], [star()], 1)
    sharpness = {name: image.data.max() / image.data.sum() for name, image in scene.images.items()}
    assert sharpness["F606W"] > 2 * sharpness["F125W"] > 2 * sharpness["F160W"]
    own = np.zeros((7, 7))
    own[3, 3], own[3, 5] = 0.75, 0.25
    simulator = GalaxySceneSimulator(shape=(61, 61), noise=QUIET, psf={"F125W": own})
    image = simulator.observe([30], [31], [star()], 1).images["F125W"].data
    assert image[31, 30] == pytest.approx(3 * image[31, 32], rel=1e-3)
    assert image[31, 30] == pytest.approx(0.75 * 10 ** (0.4 * 6.23), rel=1e-3)
    # galaxies are convolved: one that is small is the PSF
    dot = galaxy(r_e=0.05, n=1.0)
    image = simulator.observe([30], [31], [dot], 1).images["F125W"].data
    assert image[31, 30] == pytest.approx(3 * image[31, 32], rel=0.05)


def test_noise():
    given = {"F160W": 0.005, "F125W": 0.004 * u.electron / u.s, "F606W": "0.003 electron / s", "F850LP": 0.002}
    scene = GalaxySceneSimulator(density=0, noise=given, shape=(400, 400)).sample(1, random_state=1)[0]
    for (name, image), sigma in zip(scene.images.items(), (0.005, 0.004, 0.003, 0.002), strict=True):
        assert image.meta["NOISE"] == pytest.approx(sigma)
        assert image.data.std() == pytest.approx(sigma, rel=0.02)
        assert abs(image.data.mean()) < 0.05 * sigma
        assert (image.uncertainty.array == np.float32(sigma)).all()
        for one, two in ((image.data[1:], image.data[:-1]), (image.data[:, 1:], image.data[:, :-1])):
            assert (one * two).mean() / sigma**2 == pytest.approx(BANDS[name].correlation, abs=0.03)


def test_poisson_noise_of_sources():
    simulator = GalaxySceneSimulator(shape=(41, 41), noise={b.name: b.noise for b in BANDS.values()})
    draws = [simulator.observe([20], [20], [galaxy(magnitude=18.0, r_e=3)], seed) for seed in range(60)]
    for name in BANDS:
        images = np.stack([scene.images[name].data for scene in draws]).astype(float)
        # the telescope's roll differs, but hardly matters for a galaxy: near its centre what is left is noise
        ring = (slice(None), slice(24, 28), slice(18, 23))
        error = np.mean([scene.images[name].uncertainty.array[ring[1:]] for scene in draws])
        assert error > 1.5 * BANDS[name].noise
        expected = np.sqrt(BANDS[name].noise ** 2 + images[ring].mean() / BANDS[name].exposure)
        assert error == pytest.approx(expected, rel=0.1)


def test_coordinates(scenes):
    for scene in scenes:
        wcs = scene.images["F160W"].wcs
        x, y = wcs.world_to_pixel(scene.sources["coord"])
        np.testing.assert_allclose(x, scene.sources["x_centroid"], atol=1e-6)
        np.testing.assert_allclose(y, scene.sources["y_centroid"], atol=1e-6)
        assert wcs.proj_plane_pixel_scales()[0].to_value(u.arcsec) == pytest.approx(0.06)
        east, west = wcs.pixel_to_world([0, 149], [60, 60])
        assert east.ra > west.ra


def test_position_angle():
    # along y is north (0 deg), towards -x is east (90 deg)
    up, left = (replace(galaxy(q=0.3), angle=angle) for angle in (np.pi / 2, np.pi))
    table = GalaxySceneSimulator(shape=(60, 60)).observe([20, 40], [30, 30], [up, left], 0).sources
    np.testing.assert_allclose(table["position_angle"].to_value(u.deg), [0, 90], atol=1e-6)
    assert table["effective_radius"].to_value(u.arcsec) == pytest.approx([0.24, 0.24])


def test_owner_is_the_brightest_and_shares_are_soft():
    pair = [galaxy("spheroid", 20.0), galaxy("disk", 20.0, n=1.0)]
    scene = GalaxySceneSimulator(shape=(80, 80)).observe([35, 45], [40, 40], pair, 0)
    segments = scene.segmap.data
    assert segments[40, 35] == 1 and segments[40, 45] == 2
    assert scene.labels[0, 40, 35] > 0.8 and scene.labels[1, 40, 45] > 0.8
    between = scene.labels[:2, 40, 40]
    assert between.min() > 0.15 and between.sum() == pytest.approx(1, abs=1e-5)


def test_faint_sources_are_background():
    faint = galaxy(magnitude=27.5, r_e=3.0, n=1.0)
    scene = GalaxySceneSimulator(shape=(60, 60)).observe([30], [30], [faint], 0)
    assert (scene.labels[-1] == 1).all() and len(scene.segmap.labels) == 0
    row = scene.sources[0]
    assert row["label"] == 0 and 0 < row["snr"] < 5
    # with a lower limit and isophote it is a source; the S/N of white noise is the larger one
    lenient = GalaxySceneSimulator(shape=(60, 60), min_snr=0.1, isophote=0.05).observe([30], [30], [faint], 0)
    assert lenient.sources["label"][0] == 1
    deeper = {b.name: b.noise / 30 for b in BANDS.values()}
    assert GalaxySceneSimulator(shape=(60, 60), noise=deeper).observe([30], [30], [faint], 0).sources["label"][0] == 1


def test_signal_to_noise_is_that_of_repeated_measurements():
    # a matched filter with a known profile, applied to many skies
    source, sigma = galaxy(magnitude=24.0, r_e=4.0, n=1.0), {b.name: b.noise for b in BANDS.values()}
    simulator = GalaxySceneSimulator(shape=(60, 60), noise=sigma)
    model = GalaxySceneSimulator(shape=(60, 60), noise=QUIET).observe([30], [30], [source], 0).images["F160W"].data
    empty = GalaxySceneSimulator(shape=(60, 60), noise=sigma, density=0).sample(200, random_state=0)
    answers = [(scene.images["F160W"].data * model).sum() for scene in empty]
    expected = (model**2).sum() / np.std(answers)
    assert simulator.observe([30], [30], [source], 0).sources["snr"][0] == pytest.approx(expected, rel=0.2)


def test_light_from_outside():
    simulator = GalaxySceneSimulator(shape=(60, 60))
    scene = simulator.observe([-6, -500], [30, 30], [galaxy(magnitude=18.5, r_e=8.0), galaxy()], 0)
    assert len(scene.sources) == 1 and scene.sources["label"][0] == 1
    assert scene.segmap.data[30, 0] == 1 and scene.segmap.data[30, 59] == 0
    # a source near one border does not appear at the opposite one
    assert scene.images["F606W"].data[:, -5:].mean() < 3 * scene.images["F606W"].meta["NOISE"]


def test_seeds(scenes):
    simulator = GalaxySceneSimulator(shape=(120, 150), density=500)
    state = np.random.get_state()[1].copy()
    again = list(pickle.loads(pickle.dumps(simulator)).stream(4, random_state=0))
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    for scene, same in zip(scenes, again, strict=True):
        for name in BANDS:
            np.testing.assert_array_equal(scene.images[name].data, same.images[name].data)
        np.testing.assert_array_equal(scene.labels, same.labels)
        np.testing.assert_array_equal(scene.segmap.data, same.segmap.data)
        np.testing.assert_array_equal(scene.sources["snr"], same.sources["snr"])
    assert np.abs(scenes[0].images["F160W"].data - scenes[1].images["F160W"].data).max() > 0
    assert simulator.sample(0) == []


def test_numbers_and_fractions():
    fractions = {"disk": 3, "point_source": 1}
    simulator = GalaxySceneSimulator(shape=(200, 200), density="400 / arcmin2", class_fractions=fractions)
    drawn = [simulator._draw_sources(np.random.default_rng(seed)) for seed in range(40)]
    kinds = np.array([source.kind for _, _, sources in drawn for source in sources])
    expected = 40 * 400 * (260 * 0.06 / 60) ** 2
    assert len(kinds) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert set(kinds) == {"disk", "point_source"}
    assert np.mean(kinds == "disk") == pytest.approx(0.75, abs=4 * np.sqrt(0.19 / expected))
    magnitudes = np.array([s.magnitudes[0] for _, _, sources in drawn for s in sources if s.kind == "disk"])
    assert magnitudes.min() >= 18 and magnitudes.max() <= 26.5
    # counts rise by 10^0.32 per magnitude
    bright, faint = ((magnitudes > low) & (magnitudes <= low + 1) for low in (24.5, 25.5))
    assert faint.sum() / bright.sum() == pytest.approx(10**0.32, rel=0.2)


def test_empty():
    for shape in ((40, 50), (1, 1)):
        scene = GalaxySceneSimulator(density=0, shape=shape).sample(1, random_state=0)[0]
        assert (scene.labels[-1] == 1).all() and len(scene.segmap.labels) == 0
        assert len(scene.sources) == 0
    some = GalaxySceneSimulator(shape=(100, 100)).sample(1, random_state=0)[0]
    assert scene.sources.colnames == some.sources.colnames
    assert [scene.sources[name].dtype for name in ("label", "class", "snr")] == [
        some.sources[name].dtype for name in ("label", "class", "snr")
    ]
    assert len(some.sources.take([0])) == 1


def test_own_band():
    rare = replace(BANDS["F160W"], name="F140W", wavelength=1.39, limits=(1.2, 1.6), zero_point=26.45)
    scene = GalaxySceneSimulator(bands=("F606W", rare), shape=(50, 50)).sample(1, random_state=0)[0]
    assert list(scene.images) == ["F606W", "F140W"]
    lonely = replace(rare, camera=None)
    with pytest.raises(ValueError, match="the band F140W has no camera"):
        GalaxySceneSimulator(bands=(lonely,))
    own = np.zeros((3, 3))
    own[1, 1] = 1
    simulator = GalaxySceneSimulator(bands=(lonely,), psf={"F140W": own}, shape=(50, 50))
    source = draw_source("disk", 20.0, np.array([1.39]), 0.06, np.random.default_rng(0))
    assert simulator.observe([25], [25], [source], 0).sources["label"][0] == 1


@pytest.mark.parametrize("kind", CLASSES)
def test_morpheus_sees_the_same_classes(kind, shared_data):
    # the published network, which learned from classes that people gave to real galaxies, is asked about simulated ones
    path = shared_data / "morphology" / "morpheus_weights.npz"
    if not path.is_file():
        pytest.skip("needs the weights of Morpheus: morphology/morpheus_weights.npz in the folder of observations")
    network = Morpheus()
    network.load_state_dict(read_variables(path))
    simulator = GalaxySceneSimulator(shape=(40, 40), noise={b.name: b.noise for b in BANDS.values()})
    wavelengths = np.array([band.wavelength for band in BANDS.values()])
    rng = np.random.default_rng(0)
    sources = [draw_source(kind, magnitude, wavelengths, 0.06, rng) for magnitude in rng.uniform(20.5, 22.5, 30)]
    scenes = [simulator.observe([19.7], [20.2], [source], rng) for source in sources]
    windows = np.stack([[image.data for image in scene.images.values()] for scene in scenes])
    with torch.no_grad():
        probability = torch.softmax(network.eval()(torch.from_numpy(standardised(windows))), 1).numpy()
    weight = np.maximum(windows[:, :1], 0) * np.stack([scene.segmap.data > 0 for scene in scenes])[:, None]
    answer = (probability[:, :4] * weight).sum(axis=(2, 3)).argmax(axis=1)
    assert np.mean(answer == CLASSES.index(kind)) > 0.55


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": ("F160W", "F999W")}, "unknown band 'F999W'"),
        ({"bands": ("F160W", "F160W")}, "each once"),
        ({"bands": ()}, "at least one"),
        ({"shape": (0, 10)}, "shape=.0, 10. is not two positive integers"),
        ({"shape": 256}, "shape=256 is not two positive integers"),
        ({"noise": 0.004}, "noise of the type float is not a dict"),
        ({"psf": np.ones((3, 3))}, "psf of the type ndarray is not a dict"),
        ({"shape": (10.5, 10)}, "is not two positive integers"),
        ({"pixel_scale": 0}, "pixel_scale=0 is not positive"),
        ({"pixel_scale": "1 s"}, "pixel_scale has the unit"),
        ({"density": -1}, "density=-1 is negative"),
        ({"magnitudes": (26, 18)}, "magnitudes=.26, 18. is not a brighter and a fainter one"),
        ({"class_fractions": {"ring": 1}}, "class_fractions has .'ring'.: classes are spheroid"),
        ({"class_fractions": {"disk": -1}}, "must not be negative"),
        ({"class_fractions": {"disk": 0}}, "not all be zero"),
        ({"noise": {"F160W": 0.004}}, "noise is given for .'F160W'.; the bands are"),
        ({"bands": ("F160W",), "noise": {"F160W": 0}}, "the noise of F160W, 0.0, is not positive"),
        ({"psf": {"F140W": np.ones((3, 3))}}, "psf has bands that are not among"),
        ({"psf": {"F160W": np.ones((2, 2))}}, "the psf of F160W has the shape .2, 2."),
        ({"isophote": 0}, "isophote=0 is not positive"),
        ({"min_snr": -5}, "min_snr=-5 is not positive"),
        ({"min_pixels": 0}, "min_pixels=0 is not positive"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        GalaxySceneSimulator(**options)
