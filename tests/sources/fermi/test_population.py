"""Numbers, places and spectra of simulated sources against 4FGL-DR2."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from numpy.testing import assert_allclose

from astrolearn.sources.fermi import SourcePopulation
from astrolearn.sources.fermi.population import CATALOGUE_THRESHOLD

AGN = ("bll", "fsrq")


@pytest.fixture(scope="module")
def many():
    """Ten skies in one table."""
    skies = [SourcePopulation(flux_min=1e-10).sample(seed) for seed in range(10)]
    return {"b": np.abs(np.concatenate([s["coord"].b.deg for s in skies])),
            "l": np.concatenate([s["coord"].l.wrap_at("180d").deg for s in skies]),
            "flux": np.concatenate([s["flux"].value for s in skies]),
            "class": np.concatenate([s["class"] for s in skies]), "n": len(skies),
            "extension": np.concatenate([s["extension"].to_value(u.deg) for s in skies]),
            **{name: np.concatenate([s[name] for s in skies]) for name in ("index", "beta", "expfactor")}}


def test_table():
    table = SourcePopulation().sample(1)
    assert isinstance(table, QTable)
    assert isinstance(table["coord"], SkyCoord)
    assert table["coord"].frame.name == "galactic"
    assert table["flux"].unit == 1 / u.cm**2 / u.s
    assert np.all(np.diff(table["flux"].value) <= 0)
    assert table["flux"].min() >= 2e-11 / u.cm**2 / u.s
    assert set(table["class"]) == {"bll", "fsrq", "psr", "pwn", "snr", "spp", "unk"}
    assert table["pivot_energy"].unit == u.GeV
    assert table["extension"].unit == u.deg
    pulsar = table["class"] == "psr"
    assert np.all(pulsar == (table["spectrum_type"] == "PLSuperExpCutoff2"))
    assert np.all((table["extension"] > 0) == (table["extended_shape"] != ""))


def test_agn_counts_at_high_latitude(many):
    # 4FGL-DR2: 1329, 405 and 64 brighter than these; 2832 above 1e-10, where it is incomplete
    mine = np.isin(many["class"], AGN) & (many["b"] > 10)
    for flux, number, tolerance in ((3e-10, 1329, 0.1), (1e-9, 405, 0.1), (5e-9, 64, 0.2)):
        assert_allclose((mine & (many["flux"] > flux)).sum() / many["n"], number, rtol=tolerance)
    assert (mine & (many["flux"] > 1.0001e-10)).sum() / many["n"] > 2832


def test_number_follows_the_faint_slope():
    deep, shallow = (len(SourcePopulation(flux_min=f, galactic=0).sample(1)) for f in (2e-11, 2e-10))
    assert_allclose(deep / shallow, 10, rtol=0.1)


def test_density_near_the_plane(shared_data, many):
    catalogue = Table.read(shared_data / "gamma/4fgl_dr2_north.fits.gz", hdu=1)
    b, flux = np.array(catalogue["GLAT"]), np.array(catalogue["Flux1000"])
    for low, high, faintest in ((0, 2, 1e-9), (2, 5, 1e-9), (5, 10, 5e-10), (10, 20, 3e-10), (20, 90, 3e-10)):
        real = np.sum((b >= low) & (b < high) & (flux > faintest))
        ours = np.sum((many["b"] >= low) & (many["b"] < high) & (many["flux"] > faintest)) / 2 / many["n"]
        assert abs(ours - real) < 0.2 * real + 2 * np.sqrt(real)


def test_spectra_follow_the_catalogue(many):
    for name, low, median, high in (("bll", 1.70, 1.95, 2.20), ("fsrq", 2.20, 2.39, 2.63)):
        index = many["index"][many["class"] == name]
        assert_allclose(np.percentile(index, [16, 50, 84]), [low, median, high], atol=0.06)
    pulsar = many["class"] == "psr"
    assert_allclose(np.percentile(many["index"][pulsar], [16, 50, 84]), [0.34, 1.01, 1.54], atol=0.12)
    assert_allclose(np.percentile(many["expfactor"][pulsar], [16, 50, 84]), [0.0069, 0.0114, 0.0188], rtol=0.1)


def test_pulsars_and_nebulae_keep_to_the_plane(many):
    bright = many["flux"] > 1e-9
    for name, scale in (("psr", 2.9), ("unk", 0.9), ("spp", 0.5)):  # medians of 4FGL-DR2
        mine = bright & (many["class"] == name)
        assert 0.4 * scale < np.median(many["b"][mine]) < 1.6 * scale
    psr = bright & (many["class"] == "psr")
    assert_allclose(np.mean(np.abs(many["l"][psr]) < 60), 0.55, atol=0.12)
    assert_allclose(np.mean(many["b"][np.isin(many["class"], AGN)] > 30), 0.5, atol=0.02)


def test_number_of_extended_sources(many):
    assert 40 < np.sum(many["extension"] > 0) / many["n"] < 110
    assert np.all(many["extension"] <= 2.5)


def test_unresolved_intensity_is_the_flux_of_the_faint(many):
    population = SourcePopulation()
    edges = np.array([1.0, 2000.0])
    table = population.sample(3)
    faint = np.isin(table["class"], AGN) & (table["flux"].value < CATALOGUE_THRESHOLD)
    assert_allclose(population.unresolved_intensity(edges)[0] * 4 * np.pi, table["flux"][faint].sum().value, rtol=0.05)
    assert population.unresolved_intensity(edges)[0] == population.unresolved_intensity(edges)[0]
    assert np.all(SourcePopulation(flux_min=2e-10).unresolved_intensity(edges) == 0)


def test_seeds_and_factors():
    population = SourcePopulation(flux_min=1e-9)
    first, again, other = (population.sample(seed) for seed in (1, 1, 2))
    assert np.array_equal(first["flux"], again["flux"])
    assert len(other) != len(first) or not np.array_equal(first["flux"], other["flux"])
    assert len(SourcePopulation(flux_min=1e-9, agn=2, galactic=0).sample(1)) > len(
        SourcePopulation(flux_min=1e-9, galactic=0).sample(1))
    empty = SourcePopulation(agn=0, galactic=0).sample(1)
    assert len(empty) == 0
    assert "coord" in empty.colnames


def test_bad_input():
    with pytest.raises(u.UnitConversionError):
        SourcePopulation(flux_min=1 * u.Jy)
    with pytest.raises(ValueError, match="flux_min"):
        SourcePopulation(flux_min=1.0)
    with pytest.raises(ValueError, match="negative"):
        SourcePopulation(agn=-1)
    assert SourcePopulation(flux_min=1e-6 / u.m**2 / u.s).flux_min == 1e-10
