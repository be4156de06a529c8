"""What the network sees of a detection: its photons, each once, and the same sky whatever form the maps come in."""

import copy
from functools import partial

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from estimator_checks import assert_same
from toy import YEAR_EDGES, toy_years

from astrolearn.sky import SkyMap, stack_maps
from astrolearn.sources.classes.detections import DetectionDataset, Detections, n_features, prepare, same_edges
from astrolearn.sources.classes.features import feature_names, without_years
from astrolearn.sources.fermi import LATSkySimulator, SourcePopulation

look = partial(prepare, psf=None)
MAPS, CATALOGUE, CLASSES = toy_years(0, n_years=3, n_each=5, n_fake=5, nside=32)
COORDS = CATALOGUE["coord"]


def remade(skymap, **changed):
    names = ("nest", "energy_edges", "psf", "exposure", "background", "mask")
    options = {name: getattr(skymap, name) for name in names}
    return SkyMap(changed.pop("data", skymap.data), **options | changed)


@pytest.fixture(scope="module")
def seen():
    return look(MAPS, COORDS, CATALOGUE["probability"])


def test_shapes(seen):
    assert len(seen) == 20
    assert seen.counts.shape == (20, 3, 3, 7, 7)
    assert seen.counts.dtype == np.uint16
    assert seen.background.shape == (20, 3, 7, 7)
    assert seen.features.shape == (20, n_features(3))
    assert seen.features.dtype == np.float32
    assert np.all(np.isfinite(seen.features))
    assert seen.pixel_size == pytest.approx(hp.nside2resol(32))
    np.testing.assert_allclose(seen.exposure, 3e11)
    assert np.all(seen.energy_edges == YEAR_EDGES)


def test_every_photon_is_counted_once(seen):
    """Cutouts by hand: the 7 x 7 pixels of HEALPix around that of the detection, in one of its base faces."""
    x, y, face = hp.pix2xyf(32, MAPS[0].coord_to_pixel(COORDS), nest=True)
    within = (x >= 3) & (x < 29) & (y >= 3) & (y < 29)
    assert within.sum() > 8
    for row in np.flatnonzero(within):
        dy, dx = np.mgrid[-3:4, -3:4]
        pixels = hp.xyf2pix(32, x[row] + dx, y[row] + dy, face[row], nest=True)
        for year, skymap in enumerate(MAPS):
            np.testing.assert_array_equal(seen.counts[row, year], skymap.data[:, pixels])


def test_at_the_edges_of_base_faces_nothing_is_counted_twice():
    """Every pixel holds as many photons as its number, so that each number may occur once."""
    coords = SkyCoord([45, 0.0, 90, 45, 1], [0.0, 41.8, 41.8, 89.9, 41], unit="deg", frame="galactic")
    numbers = np.tile(np.arange(1, MAPS[0].n_pix + 1), (3, 1))
    counts = look(remade(MAPS[0], data=numbers), coords).counts[:, 0, 0].reshape(5, 49)
    np.testing.assert_array_equal(counts[:, 24], MAPS[0].coord_to_pixel(coords) + 1)
    for one in counts:
        assert len(np.unique(one[one > 0])) == np.sum(one > 0) >= 40


def test_years_add_up(seen):
    whole = look(stack_maps(MAPS), COORDS, CATALOGUE["probability"])
    assert whole.counts.shape == (20, 1, 3, 7, 7)
    np.testing.assert_array_equal(whole.counts[:, 0], seen.counts.sum(axis=1))
    np.testing.assert_array_equal(whole.background, seen.background)
    differ = np.flatnonzero(np.any(np.abs(whole.features - seen.features) > 1e-5, axis=0))
    assert all("year" in name or "light_curve" in name or name in
               ("variability_significance", "excess_variance", "persistence")
               for name in np.array(feature_names(3))[differ])  # fmt: skip
    np.testing.assert_allclose(without_years(seen.features, 3), whole.features, atol=1e-5)


def test_probability_of_the_finder():
    p = np.ma.masked_array([0.95, 0.5, 1.0, np.nan, 0.3], mask=[0, 0, 0, 0, 1])
    features = look(MAPS, COORDS[:5], p).features
    np.testing.assert_allclose(features[:, -2], [np.log(19), 0, 7, 0, 0], atol=1e-5)
    assert features[:, -1].tolist() == [1, 1, 1, 0, 0]
    assert np.all(look(MAPS, COORDS[:5]).features[:, -2:] == 0)
    assert np.all(np.isfinite(features))


def test_order_of_pixels_and_bytes_does_not_matter(seen):
    for maps in (
        [skymap.to_order(nest=False) for skymap in MAPS],
        [MAPS[0].to_order(nest=False), *MAPS[1:]],
        [remade(skymap, data=skymap.data.astype(">f8")) for skymap in MAPS],
        [remade(skymap, data=skymap.data.astype(np.int32)) for skymap in MAPS],
        tuple(MAPS),
    ):
        assert_same(look(maps, COORDS, CATALOGUE["probability"]), seen)


def test_masked_pixels_are_empty():
    mask = MAPS[0].pixel_coords().b > 45 * u.deg
    kept = COORDS[~mask[MAPS[0].coord_to_pixel(COORDS)]]
    masked = [remade(skymap, mask=mask) for skymap in MAPS]
    hidden = look(masked, kept)
    blank = [remade(skymap, data=np.where(mask, np.nan, skymap.data)) for skymap in MAPS]
    assert_same(look(blank, kept), hidden)
    # in one year is enough, and in any order of pixels
    mixed = [masked[0], MAPS[1].to_order(nest=False), MAPS[2]]
    assert_same(look(mixed, kept), hidden)
    at_the_rim = SkyCoord([30], [44.0], unit="deg", frame="galactic")
    assert np.any(look(masked, at_the_rim).background == 0)
    with pytest.raises(ValueError, match=rf"{len(COORDS) - len(kept)} of 20 positions are not on the map, the first"):
        look(masked, COORDS)


def test_finer_pixels_and_bins_are_summed():
    """Both give the same photons, hence nearly the same features."""
    maps, catalogue, _ = toy_years(3, n_years=2, n_each=5, n_fake=5, nside=128, background=0.15)
    summed = []
    for skymap in maps:
        data = skymap.data.reshape(3, -1, 4).sum(axis=2)
        background = skymap.background.reshape(3, -1, 4).sum(axis=2)
        summed.append(remade(skymap, data=data, background=background, exposure=skymap.exposure[:, ::4]))
    fine = look(maps, catalogue["coord"], pixel_size=hp.nside2resol(64))
    coarse = look(summed, catalogue["coord"])
    np.testing.assert_array_equal(fine.counts, coarse.counts)
    assert fine.pixel_size == coarse.pixel_size
    np.testing.assert_allclose(fine.features, coarse.features, atol=0.15)


def test_finer_bins_are_merged():
    edges = [0.5, 1.5, 20] * u.GeV
    merged = look(MAPS, COORDS, energy_edges=edges)
    whole = look(MAPS, COORDS)
    assert same_edges(merged.energy_edges, edges)
    np.testing.assert_array_equal(merged.counts[:, :, 0], whole.counts[:, :, 0])
    np.testing.assert_array_equal(merged.counts[:, :, 1], whole.counts[:, :, 1:].sum(axis=2))
    again = look(MAPS, COORDS, energy_edges=YEAR_EDGES.to(u.MeV) * (1 + 1e-6))
    assert_same(again.counts, whole.counts)


def test_images():
    """A cube of the simulator, its photons shared out to years: by hand the cutout is a slice of the array."""
    population = SourcePopulation(agn=0, galactic=0)
    simulator = LATSkySimulator([1, 3, 10] * u.GeV, nside=64, population=population, perturb=None)
    centre = SkyCoord(30, 50, unit="deg", frame="galactic")
    image = simulator.simulate_image(centre, (32, 48), 0.5 * u.deg, random_state=1)
    rng = np.random.default_rng(2)
    parts = rng.multinomial(image.data.astype(int), [0.25] * 4)
    years = [
        CCDData(np.float32(parts[..., year]), unit=u.ct, wcs=image.wcs, meta={
            "energy_edges": image.meta["energy_edges"], "psf": image.meta["psf"],
            "exposure": image.meta["exposure"] / 4, "background": image.meta["background"] / 4})
        for year in range(4)
    ]  # fmt: skip
    coords = image.wcs.pixel_to_world([10, 30.3, 1, 47], [12.2, 20, 16, 31])
    before = copy.deepcopy(years)
    seen = look(years, coords)
    assert_same([(one.data, one.meta, one.mask) for one in years], [(one.data, one.meta, one.mask) for one in before])
    np.testing.assert_array_equal(seen.counts[0], parts[:, 9:16, 7:14].transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(seen.counts[1], parts[:, 17:24, 27:34].transpose(3, 0, 1, 2))
    assert np.all(seen.counts[2][..., :2] == 0)
    np.testing.assert_array_equal(seen.counts[3][..., :4, :4].ravel(), parts[:, 28:, 44:].transpose(3, 0, 1, 2).ravel())
    np.testing.assert_array_equal(look(image, coords).counts[:, 0], seen.counts.sum(axis=1))
    off = image.wcs.pixel_to_world([10, -3], [12, 5])
    with pytest.raises(ValueError, match="1 of 2 positions are not on the map, the first in row 1: leave them out"):
        look(years, off)


def test_years_of_unequal_exposure():
    """Up to a tenth is taken as equal, up to one half as nearly so; a year twice as long makes every source vary."""
    def years(factor, exposed=True):
        longer = remade(MAPS[0], exposure=MAPS[0].exposure * factor if exposed else None,
                        data=MAPS[0].data * np.float32(1 if exposed else factor))  # fmt: skip
        return [longer, *(one if exposed else remade(one, exposure=None) for one in MAPS[1:])]

    options = {"exposure": np.full(3, 3e11)}
    look(years(1.05), COORDS)
    for exposed, word in ((True, "exposure"), (False, "number of photons")):
        with pytest.warns(UserWarning, match=f"the {word} of year [1-9] is 0.8.* of that of year 0: a steady source"):
            look(years(1.2, exposed), COORDS, **options)
        with pytest.raises(ValueError, match=f"the {word} of year [1-9] is 0.[45].*give years of equal exposure"):
            look(years(2.0, exposed), COORDS, **options)


def test_what_cannot_be_looked_at():
    def refused(message, maps=MAPS, coords=COORDS, error=ValueError, **options):
        with pytest.raises(error, match=message):
            look(maps, coords, **options)

    refused("there are no maps: give one", maps=[])
    refused("no energy_edges, without which", maps=remade(MAPS[0], energy_edges=None))
    refused("no exposure, without which", maps=[remade(one, exposure=None) for one in MAPS])
    refused("map 2 has nside 64, the first one 32", maps=[MAPS[0], toy_years(0, n_years=1, n_each=1)[0][0]])
    refused(r"pixels of the maps, 1.8 deg, are too large: the classifier was trained on 0.46 deg",
            pixel_size=hp.nside2resol(128))  # fmt: skip
    refused("2 of 3 positions are not finite, the first in row 0",
            coords=SkyCoord([np.nan, 1, 1], [1, 1, np.nan], unit="deg"))  # fmt: skip
    refused("the map is in Jy", maps=[remade(one, unit=u.Jy, background=None) for one in MAPS],
            error=u.UnitConversionError)  # fmt: skip
    refused("energy", energy_edges=[0.7, 20] * u.GeV)
    given = look([remade(one, exposure=None) for one in MAPS], COORDS, exposure=np.full(3, 3e11))
    assert given.exposure is None
    np.testing.assert_allclose(given.features, look(MAPS, COORDS).features, atol=1e-4)


def test_no_detections():
    empty = look(MAPS, COORDS[:0])
    assert empty.counts.shape == (0, 3, 3, 7, 7)
    assert empty.background.shape == (0, 3, 7, 7)
    assert empty.features.shape == (0, n_features(3))
    assert empty.exposure is None
    assert len(look(MAPS[0], COORDS[:0], [])) == 0


def test_maps_are_not_changed():
    before = copy.deepcopy(MAPS)
    look(MAPS, COORDS, pixel_size=hp.nside2resol(32), energy_edges=[0.5, 20] * u.GeV)
    assert_same(MAPS, before)


def test_many_photons_fit():
    bright = look([remade(skymap, data=skymap.data * 1000) for skymap in MAPS], COORDS)
    assert bright.counts.dtype == np.float32
    np.testing.assert_array_equal(bright.counts[:, 0].max(), 1000.0 * look(MAPS, COORDS).counts[:, 0].max())


# -- samples of the training ------------------------------------------------------------------------------------------
def make_dataset(parts, seed=0):
    n = sum(map(len, parts))
    return DetectionDataset(parts, np.arange(2 * n, dtype=np.float32).reshape(n, 2), np.random.default_rng(seed))


def test_samples_keep_their_photons(seen):
    dataset = make_dataset([seen.take(np.arange(20) < 8), seen.take(np.arange(20) >= 8)])
    assert len(dataset) == 20
    known, given, orientations = [], [], set()
    for _ in range(100):
        rows = [3, 11, 19]
        batch, target = dataset.__getitems__(rows)
        assert all(values.dtype == torch.float32 for values in batch.values())
        np.testing.assert_array_equal(target, dataset.targets[rows])
        np.testing.assert_array_equal(batch["counts"].sum(dim=(3, 4)), seen.counts[rows].sum(axis=(3, 4)))
        np.testing.assert_array_equal(batch["counts"][..., 3, 3], seen.counts[rows][..., 3, 3])
        np.testing.assert_allclose(batch["background"].sum(), seen.background[rows].sum(), rtol=1e-5)
        orientations.add(batch["counts"].numpy().tobytes())
        known.append(batch["years_known"].numpy())
        given.append(batch["features"][:, -1].numpy())
        features = np.where(known[-1][:, None] > 0, dataset.features[rows], dataset.steady[rows])
        np.testing.assert_array_equal(batch["features"][:, :-2], features[:, :-2])
        assert np.all(batch["features"][:, -2].numpy()[given[-1] == 0] == 0)
    assert len(orientations) == 8
    # withheld of 15 % of 300: within 4 standard deviations
    assert np.mean(known) == pytest.approx(0.85, abs=0.085)
    assert np.mean(given) == pytest.approx(0.85, abs=0.085)


def test_samples_are_seeded(seen):
    def batches(seed):
        dataset = make_dataset([seen], seed)
        return [dataset.__getitems__([1, 2, 3])[0] for _ in range(8)]

    assert_same(batches(1), batches(1))
    with pytest.raises(AssertionError):
        assert_same(batches(1), batches(2))


def test_samples_without_years(seen):
    whole = look(stack_maps(MAPS), COORDS)
    batch, _ = make_dataset([whole]).__getitems__([0, 1])
    assert not batch["years_known"].any()
    assert not whole.rows(np.arange(2))["years_known"].any()
    assert seen.rows(np.arange(2))["years_known"].all()
    with pytest.raises(ValueError, match="have 1 and 3 years: train on equal numbers"):
        make_dataset([seen, whole])


def test_some_of_the_detections(seen):
    some = seen.take(np.arange(20) % 2 == 1)
    assert isinstance(some, Detections)
    assert len(some) == 10
    np.testing.assert_array_equal(some.counts, seen.counts[1::2])
    rows = some.rows(np.array([2, 0]))
    assert {values.dtype for values in rows.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(rows["features"], seen.features[[5, 1]])
