"""Simulated star fields: the truth is what is in the image."""

import astropy.units as u
import numpy as np
import pytest

from astrolearn.sources.optical import Artefacts, MoffatPSF, StarFieldSimulator
from astrolearn.sources.optical.fields import effective_area
from astrolearn.sources.optical.psf import SIGMA_OF_FWHM

PLAIN = StarFieldSimulator((200, 240), n_stars=60, significance=(5, 500))


def star(significance, **settings):
    """Image of a single star, whose position is random."""
    options = {"shape": (101, 101), "n_stars": 1, "significance": (significance, significance * 1.0001)} | settings
    (image,) = StarFieldSimulator(**options).sample(random_state=2)
    return image, image.meta["sources"][0]


def test_flux_and_position_are_those_of_the_light():
    image, truth = star(20000.0, psf=MoffatPSF(3.0, np.inf), sky=100.0)
    light = image.data - 100 - 100 / 1.5
    y, x = np.indices(light.shape)
    near = np.hypot(x - truth["x_centroid"], y - truth["y_centroid"]) < 8
    assert light[near].sum() == pytest.approx(truth["flux"].to_value(u.adu), rel=5e-3)
    assert (light * x)[near].sum() / light[near].sum() == pytest.approx(truth["x_centroid"], abs=0.02)
    assert (light * y)[near].sum() / light[near].sum() == pytest.approx(truth["y_centroid"], abs=0.02)


def test_significance_is_that_of_the_best_filter():
    """Flux over the error of a matched filter; 4 pi sigma^2 pixels of noise for a wide Gaussian (King 1983)."""
    _, truth = star(50.0, psf=MoffatPSF(6.0, np.inf), sky=300.0, read_noise=0.0, gain=2.0)
    area = 4 * np.pi * (6 * SIGMA_OF_FWHM) ** 2
    assert truth["flux"].value * 2.0 / np.sqrt(300 * area) == pytest.approx(50.0, rel=0.02)
    assert effective_area(MoffatPSF(6.0, np.inf)) == pytest.approx(area, rel=0.02)


def test_numbers_and_seeds():
    images = PLAIN.sample(2, random_state=1)
    assert [len(image.meta["sources"]) for image in images] == [60, 60]
    assert not np.array_equal(images[0].data, images[1].data)
    again = PLAIN.sample(2, random_state=1)
    np.testing.assert_array_equal(again[1].data, images[1].data)
    sources = images[0].meta["sources"]
    assert sources.colnames == ["x_centroid", "y_centroid", "flux", "significance", "kind"]
    assert sources["flux"].unit == u.adu and images[0].unit == u.adu and images[0].data.dtype == np.float32
    assert np.all((sources["x_centroid"] > -0.5) & (sources["x_centroid"] < 239.5))
    assert np.all((sources["significance"] >= 5) & (sources["significance"] <= 500))


def test_fluxes_follow_the_power_law():
    sources = StarFieldSimulator(n_stars=20000, significance=(1, 1000), flux_index=2.0, shape=(64, 64))
    (image,) = sources.sample(random_state=0)
    share = np.mean(image.meta["sources"]["significance"] > 10)
    assert share == pytest.approx((1 / 10 - 1 / 1000) / (1 - 1 / 1000), abs=0.007)


def test_noise_is_that_of_photons_and_readout():
    (image,) = StarFieldSimulator((300, 300), n_stars=0, sky=400, read_noise=10, gain=2.0).sample(random_state=1)
    assert np.std(image.data) == pytest.approx(np.sqrt(500) / 2, rel=0.02)
    assert np.mean(image.data) == pytest.approx(300, abs=0.2)
    (smooth,) = StarFieldSimulator((300, 300), n_stars=0, correlation=0.7).sample(random_state=1)
    lag = np.corrcoef(smooth.data[:, 1:].ravel(), smooth.data[:, :-1].ravel())[0, 1]
    assert lag > 0.3
    (known,) = StarFieldSimulator((300, 300), n_stars=0, uncertainty=True).sample(random_state=1)
    assert np.median(known.uncertainty.array) == pytest.approx(np.std(known.data), rel=0.02)


def test_clusters_hold_their_share():
    field = StarFieldSimulator((500, 500), n_stars=4000, n_clusters=1, clustered=0.75, cluster_radius=20)
    sources = field.sample(random_state=4)[0].meta["sources"]
    x, y = sources["x_centroid"], sources["y_centroid"]
    distance = np.hypot(x - np.median(x), y - np.median(y))
    assert np.mean(distance < 20) == pytest.approx(0.375, abs=0.06)


def test_diffuse_light():
    tilted, cloudy = (
        StarFieldSimulator((256, 256), n_stars=0, **setting).sample(random_state=1)[0].data
        for setting in ({"gradient": 20}, {"nebulosity": 5})
    )
    (flat,) = StarFieldSimulator((256, 256), n_stars=0).sample(random_state=1)
    assert np.std(tilted) > 4 * np.std(flat.data) and np.std(cloudy) > 4 * np.std(flat.data)
    rows = cloudy.reshape(8, 32, 8, 32).mean(axis=(1, 3))
    assert np.std(rows) > 0.7 * np.std(cloudy)  # large scales dominate


def test_kinds_of_sources():
    settings = {"n_galaxies": 25, "artefacts": Artefacts(full_well=100), "significance": (5, 3000)}
    (image,) = StarFieldSimulator((300, 300), n_stars=300, **settings).sample(random_state=3)
    sources = image.meta["sources"]
    kinds = dict(zip(*np.unique(sources["kind"], return_counts=True), strict=True))
    assert kinds["galaxy"] == 25 and 3 < kinds["saturated"] < 100
    stars = sources[sources["kind"] != "galaxy"]
    assert np.min(stars["significance"][stars["kind"] == "saturated"]) < np.max(stars["significance"])
    brightest = stars[np.argmax(stars["significance"])]
    assert brightest["kind"] == "saturated"
    at = int(np.rint(brightest["y_centroid"])), int(np.rint(brightest["x_centroid"]))
    assert image.data[at] > image.meta["SATURATE"] > np.percentile(image.data, 95)
    faint = stars[(stars["kind"] == "star")]
    inside = tuple(np.clip(np.rint(faint[c]).astype(int), 0, 299) for c in ("y_centroid", "x_centroid"))
    assert np.mean(image.data[inside] < 1.02 * image.meta["SATURATE"]) == 1
