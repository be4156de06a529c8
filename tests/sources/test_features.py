"""Background, significance and channels against what Poisson statistics demand."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import NDData
from scipy.special import ndtri
from scipy.stats import poisson
from toy import R68, toy_image, toy_sky

from astrolearn.sky import RadialPSF, SkyMap
from astrolearn.sources.background import fit_background
from astrolearn.sources.features import (
    CHANNELS,
    bin_levels,
    extract_features,
)
from astrolearn.sources.filters import significances
from astrolearn.sources.observation import observe


def test_a_flat_background_is_found_without_a_template():
    observation = observe(toy_sky(n_sources=0, template=False))
    background = fit_background(observation)
    np.testing.assert_allclose(background.mean(axis=1), observation.counts.mean(axis=1), rtol=0.01)
    assert np.std(background / 3.0) < 0.11  # about 150 photons under the smallest smoothing kernel


def test_a_wrongly_normalised_template_is_put_right():
    skymap = toy_sky(n_sources=0)
    skymap.background = np.asarray(skymap.background) * 2
    np.testing.assert_allclose(fit_background(observe(skymap)).mean(axis=1), 3.0, rtol=0.02)


def test_sources_do_not_leak_into_the_background():
    skymap = toy_sky(1, n_sources=20, counts=(2000, 5000))
    with_sources = fit_background(observe(skymap))
    assert np.median(with_sources) == pytest.approx(3.0, rel=0.05)
    assert np.asarray(skymap.data).mean() > 3 * 1.2  # they are a good part of the light
    assert with_sources.mean() < 3.0 * 1.25


def test_background_follows_a_bright_plane():
    skymap = toy_sky(n_sources=0, template=False)
    shape = 3 + 40 * np.exp(-np.abs(skymap.pixel_coords().b.deg) / 8)
    data = np.random.default_rng(5).poisson(shape, skymap.data.shape).astype(np.float32)
    plane = SkyMap(data, nest=True, energy_edges=skymap.energy_edges, psf=skymap.psf)
    ratio = fit_background(observe(plane)) / shape
    assert np.std(ratio) < 0.12 and np.mean(ratio) == pytest.approx(1, abs=0.03)


FIRST = [[1.0, 0.0]]  # photons in the first bin only


def square(observation):
    """Sum of k^2 of the first bin, by integration over a Gaussian: 1 / (4 pi sigma^2), pixels included."""
    sigma2 = (R68[0].to_value("rad") / 1.5096) ** 2 + observation.lattice.pixel_size**2 / 12
    return observation.lattice.pixel_size**2 / (4 * np.pi * sigma2)


@pytest.mark.parametrize("background", [0.05, 3.0, 100.0])
def test_significance_is_standard_normal_without_sources(background):
    """Narrower where photons are so many that the background's own 3 % error counts, as the weights demand."""
    skymap = toy_sky(7, nside=64, n_sources=0, background=background)
    observation = observe(skymap)
    truth = np.full(observation.counts.shape, background, np.float32)
    z = significances(observation, truth, FIRST)[0]
    expected = 1 / np.sqrt(1 + 0.03**2 * background / square(observation))
    assert abs(np.mean(z)) < 0.25
    assert np.std(z) == pytest.approx(expected, rel=0.2)
    if background > 1:
        assert np.mean(z > 3) < 0.004


def k_around(observation, pixel):
    """Share of a source's photons in every pixel."""
    lattice = observation.lattice
    distance = lattice.positions(np.arange(lattice.shape[0])).separation(lattice.positions(np.array([pixel]))[0])
    k = observation.pixel_psf.evaluate(distance.rad, 0)
    return k / k.sum()


def test_significance_of_a_known_excess():
    """A source of s photons at a pixel's centre on b per pixel: s sqrt(sum k^2 / b) standard deviations."""
    observation = observe(toy_sky(nside=64, n_sources=0, background=50.0))
    truth = np.full(observation.counts.shape, 50.0, np.float32)
    pixel, k = 20000, k_around(observe(toy_sky(nside=64, n_sources=0)), 20000)
    observation.counts[:] = 50.0
    observation.counts[0] += 100 * k
    z = significances(observation, truth, FIRST)[0, pixel]
    systematic = 1 + 0.03**2 * 50 / np.sum(k**2)
    assert z == pytest.approx(100 * np.sqrt(np.sum(k**2) / 50 / systematic), rel=0.05)


def test_few_photons_are_weighed_by_the_likelihood():
    """On nearly no background the filter is the root of the exact likelihood ratio, up to a nearly constant factor."""
    observation = observe(toy_sky(nside=64, n_sources=0, background=0.01))
    pixel, b = 20000, 0.01
    k = k_around(observation, pixel)
    rng = np.random.default_rng(3)
    for photons in (6, 12, 25):
        ratios = []
        for _ in range(12):
            n = rng.poisson(b, k.size) + rng.poisson(photons * k)
            observation.counts[:] = 0
            observation.counts[0] = n
            z = significances(observation, np.full(observation.counts.shape, b, np.float32), FIRST)[0, pixel]
            s = np.geomspace(0.1, 100, 400)[:, None]
            exact = 2 * (n * np.log1p(s * k / b) - s * k).sum(axis=1).max()
            ratios.append(z / np.sqrt(exact))
        assert np.mean(ratios) == pytest.approx(1, abs=0.12) and np.std(ratios) < 0.02


def test_single_photons_are_not_discoveries():
    """One photon where 0.0004 were expected: 3.3 sigma; a linear score would say 70."""
    skymap = toy_sky(n_sources=0, background=0.0)
    data = np.zeros_like(skymap.data)
    data[:, 5000] = 1, 0
    alone = SkyMap(data, nest=True, energy_edges=skymap.energy_edges, psf=skymap.psf)
    observation = observe(alone)
    b = np.full(data.shape, 1e-4, np.float32)
    z = significances(observation, b, FIRST)[0]
    expected = 1e-4 * 4 * np.pi * (R68[0].to_value("rad") / 1.5096 / observation.lattice.pixel_size) ** 2
    poisson_z = -ndtri(poisson.sf(0, expected))
    assert poisson_z < z.max() < 2 * poisson_z


def test_wide_pixels_are_searched_at_their_quarters():
    skymap = toy_sky(nside=32, n_sources=20, counts=(300, 600))
    skymap.psf = [0.6, 0.4] * u.deg  # pixels of 1.8 deg
    observation = observe(skymap)
    assert observation.undersampled and observation.search_lattice.nside == 64
    features = extract_features(observation)
    assert features.lattices[0].nside == 64 and list(bin_levels(observation)) == [1, 1]
    # the map's own pixels enter at the second level, with nothing lost
    counts = np.expm1(features.channels[1][1].astype(float))
    assert counts.sum() == pytest.approx(skymap.data.sum(), rel=0.01)
    assert not features.channels[0][4].any()


def test_each_bin_goes_to_the_level_of_its_psf():
    observation = observe(toy_sky(nside=64))
    levels = bin_levels(observation)
    assert list(levels) == sorted(levels, reverse=True)
    sharp = toy_sky(nside=32)
    sharp.psf = [1.5, 1.3] * u.deg
    assert list(bin_levels(observe(sharp))) == [0, 0]


@pytest.mark.parametrize("n_energy", [1, 2, 5])
def test_channels_do_not_depend_on_the_number_of_bins(n_energy):
    data = np.random.default_rng(0).poisson(2.0, (n_energy, 12 * 32**2)).astype(np.float32)
    skymap = SkyMap(
        data,
        nest=True,
        energy_edges=np.geomspace(1, 100, n_energy + 1) * u.GeV,
        psf=np.geomspace(3, 1, n_energy) * u.deg,
    )
    features = extract_features(observe(skymap))
    assert [c.shape[0] for c in features.channels] == [len(CHANNELS[level]) for level in range(3)]
    assert all(np.isfinite(c).all() for c in features.channels)


def test_much_finer_pixels_are_summed_first():
    skymap = toy_sky(nside=128)
    observation = observe(skymap)
    assert observation.lattice.nside == 64
    assert observation.factor == 2
    assert observation.search_lattice.core == 64  # patches of full size, as of any other map
    assert observation.counts.sum() == pytest.approx(skymap.data.sum())


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("make", [toy_sky, toy_image])
def test_masked_pixels_hold_nothing(make, template):
    skymap = make()
    if not template:
        skymap.background = None
        skymap.meta["background"] = None
    mask = np.zeros(skymap.data.shape[1:], bool)
    mask[: len(mask) // 3] = True
    skymap.mask = np.broadcast_to(mask, skymap.data.shape).copy()
    observation = observe(skymap)
    features = extract_features(observation)
    hidden = ~observation.valid
    assert hidden.any()
    assert not observation.counts[:, hidden].any() and not features.background[:, hidden].any()
    assert np.all(features.background[:, observation.valid] > 0)
    assert all(np.isfinite(c).all() for c in features.channels)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda m: setattr(m, "psf", None) or m, "no PSF"),
        (lambda m: SkyMap(-np.asarray(m.data) - 1, nest=True, psf=m.psf), "negative counts"),
        (lambda m: SkyMap(m.data, unit=u.Jy, nest=True, psf=m.psf), "counts"),
        (lambda m: SkyMap(m.data, nest=True, psf=m.psf, mask=np.ones(m.n_pix, bool)), "no valid pixels"),
        (lambda m: SkyMap(m.data, nest=True, psf=RadialPSF.gaussian([1, 1, 1] * u.deg)), "3"),
        (lambda m: NDData(np.asarray(m.data)[:, :1024].reshape(2, 32, 32)), "WCS"),
    ],
)
def test_maps_that_cannot_be_used(break_it, message):
    with pytest.raises((ValueError, u.UnitConversionError), match=message):
        observe(break_it(toy_sky()))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exposure", [np.nan, 1e10] * u.cm**2 * u.s, "exposure must be finite"),
        ("exposure", [-1, 1e10] * u.cm**2 * u.s, "not negative"),
        ("exposure", [1, 1] * u.s, "exposure.*does not convert"),
        ("background", np.ones((2, 96, 128)) * u.Jy, "background.*does not convert"),
        ("energy_edges", [1, 10] * u.GeV, "2 edges for an image of 2"),
        ("energy_edges", "1, 3, 10 m", "does not convert"),
    ],
)
def test_images_whose_pieces_are_wrong(name, value, message):
    image = toy_image()
    image.meta[name] = value
    with pytest.raises((ValueError, u.UnitConversionError), match=message):
        observe(image)


def test_energy_edges_of_an_image_may_be_text():
    image = toy_image()
    image.meta["energy_edges"] = "1, 3, 10 GeV"
    assert observe(image).energy_edges.to_value("GeV").tolist() == [1, 3, 10]


def test_data_under_a_mask_may_be_anything():
    skymap = toy_sky()
    data = np.array(skymap.data)
    data[:, 7] = -1
    mask = np.zeros(data.shape[1], bool)
    mask[7] = True
    assert observe(SkyMap(data, nest=True, psf=skymap.psf, mask=mask)).counts.min() == 0


def test_pixels_observed_in_part():
    """Coarse pixels across a border are given up; where that would cost much, pixels stay as they are."""
    skymap = toy_sky(nside=128)
    north = skymap.pixel_coords().b.deg < 0
    skymap.mask = north
    observation = observe(skymap)
    assert observation.factor == 2
    assert observation.lattice.coords.galactic.b.deg[observation.valid].min() > 0
    np.testing.assert_allclose(observation.exposure[:, observation.valid], 1e10)
    skymap.mask = np.random.default_rng(0).random(skymap.n_pix) < 0.2
    observation = observe(skymap)
    assert observation.factor == 1
    coarser = observation.coarsened()
    assert coarser.counts.sum() == observation.counts.sum()
    assert coarser.coverage.mean() == pytest.approx(observation.valid.mean())
    np.testing.assert_allclose(coarser.exposure[:, coarser.valid], 1e10, rtol=1e-6)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="list"):
        observe([1, 2])
