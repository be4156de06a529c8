import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, vstack

from astrolearn.sources.recovery import FLUX_BINS, complete_above, flux_above, recover

FLUX = 1 / u.cm**2 / u.s


@pytest.fixture
def truth():
    """Sources far from each other on a grid, of fluxes from 1e-10 to 1e-8."""
    lon, lat = np.meshgrid(np.arange(0, 360, 10), np.arange(-60, 61, 10))
    coord = SkyCoord(lon.ravel(), lat.ravel(), unit="deg", frame="galactic")
    return QTable({"coord": coord, "flux": np.geomspace(1e-10, 1e-8, coord.size) * FLUX})


def catalogue(coord, flux):
    """What a finder says of sources with these fluxes above 1 GeV, in bins that begin below."""
    bins = flux[:, None] * [5.0, 0.7, 0.3]
    table = QTable({"coord": coord, "bin_flux": bins})
    table.meta["energy_edges"] = ([300, 1000, 10000, 1e6] * u.MeV).to_string()
    return table


def test_flux_above(truth):
    found = catalogue(truth["coord"], truth["flux"])
    np.testing.assert_allclose(flux_above(found, "1 GeV"), truth["flux"])
    np.testing.assert_allclose(flux_above(found, 0.3), 6 * truth["flux"])
    with pytest.raises(ValueError, match=r"2 GeV is not the lower edge of one of the energy bins"):
        flux_above(found, 2 * u.GeV)
    with pytest.raises(ValueError, match="no fluxes in energy bins"):
        flux_above(truth, 1)


def test_complete_above():
    rng = np.random.default_rng(3)
    flux = 10 ** rng.uniform(-11, -8, 20000)
    chance = 1 / (1 + (flux / 3e-10) ** -2)  # 90 % at 3 x 3e-10
    limit = complete_above(flux * FLUX, rng.random(flux.size) < chance)
    assert limit.unit == FLUX
    assert 8e-10 < limit.value < 10e-10
    assert np.isnan(complete_above(flux * FLUX, np.zeros(flux.size, bool)))
    assert np.isnan(complete_above([] * FLUX, []))


def test_recover(truth):
    strong = truth["flux"] > 1e-9 * FLUX
    away = QTable({"coord": SkyCoord([5, 15], [75, 5], unit="deg", frame="galactic"), "flux": [3e-10, 3e-10] * FLUX})
    listed = vstack([truth[strong], away])
    found = catalogue(listed["coord"], listed["flux"])
    columns = list(found.colnames)
    whole = recover(found, truth, "0.3 deg")
    assert found.colnames == columns
    assert whole.match.purity == strong.sum() / (strong.sum() + 2)
    assert whole.match.completeness == strong.mean()
    np.testing.assert_allclose(whole.complete_above, truth["flux"][strong][0])
    assert u.allclose(whole.by_flux["low"], FLUX_BINS[:-1])
    np.testing.assert_array_equal(whole.by_flux["n_detected"][:3], [0, 0, 2])
    assert whole.by_flux["purity"][2] == 0
    assert whole.by_flux["completeness"][-1] == 1
    assert whole.by_flux["n_reference"].sum() == len(truth)
    high = recover(found, truth, "0.3 deg", min_latitude=20)
    assert high.match.purity == pytest.approx(1 - 1 / len(high.match.catalogue))
    assert np.all(np.abs(high.match.reference["coord"].b) >= 20 * u.deg)
