"""Galaxies: light profiles against their definitions, spectra, and the classes as populations."""

import astropy.units as u
import numpy as np
import pytest
from astropy.constants import c
from astropy.modeling.models import BlackBody, Sersic2D
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from astrolearn.morphology.galaxies import CLASSES, Knots, Sersic, Spiral, blackbody, draw_source, stellar_light

WAVELENGTHS = np.array([1.537, 1.249, 0.592, 0.903])


def place(pixels):
    """Coordinates of the columns and rows of an image."""
    height, width = pixels.image.shape
    return pixels.column + np.arange(width)[None, :], pixels.row + np.arange(height)[:, None]


@settings(max_examples=60, deadline=None)
@given(
    r_e=st.floats(0.5, 12), n=st.floats(0.4, 6), q=st.floats(0.15, 1), angle=st.floats(0, np.pi),
    x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5),
)  # fmt: skip
def test_flux_is_conserved(r_e, n, q, angle, x, y):
    pixels = Sersic(r_e, n, q, angle).render(x, y)
    assert pixels.image.dtype == np.float32
    assert (pixels.image >= 0).all()
    # 99 % is within, but for the largest with high indices, whose images end at 200 pixels
    assert 0.96 < pixels.image.sum(dtype=float) < 1.001


@pytest.mark.parametrize("n", [0.8, 1, 2.5, 4, 6])
@pytest.mark.parametrize("q", [1, 0.5])
def test_half_the_light_is_within_the_effective_radius(n, q):
    sersic = Sersic(20.0, n, q, 0.4)
    assert sersic.enclosed(20) == pytest.approx(0.5)
    pixels = sersic.render(0.3, 100.2)
    column, row = place(pixels)
    dx, dy = column - 0.3, row - 100.2
    along, across = dx * np.cos(0.4) + dy * np.sin(0.4), dy * np.cos(0.4) - dx * np.sin(0.4)
    inside = np.hypot(along, across / q) < 20
    assert pixels.image[inside].sum() == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("n", [1, 4])
def test_brightness_is_that_of_astropy(n):
    pixels = Sersic(8.0, n, 0.6, 0.7).render(10.2, -3.4)
    column, row = place(pixels)
    model = Sersic2D(amplitude=1, r_eff=8, n=n, x_0=10.2, y_0=-3.4, ellip=0.4, theta=0.7)(column, row)
    ratio = pixels.image / model
    radius = np.hypot(column - 10.2, row + 3.4)
    far = (radius > 6) & (radius < 25)
    assert ratio[far] == pytest.approx(np.full(far.sum(), ratio[far].mean()), rel=0.02)


def test_centre_between_pixels():
    for sersic in (Sersic(2.0, 3.0, 0.8, 0.3), Sersic(1.0, 1.0, 0.5, 1.0, x=3.2, y=-1.1)):
        pixels = sersic.render(5.3, 7.4)
        column, row = place(pixels)
        total = pixels.image.sum()
        assert (pixels.image * column).sum() / total == pytest.approx(5.3 + sersic.x, abs=0.03)
        assert (pixels.image * row).sum() / total == pytest.approx(7.4 + sersic.y, abs=0.03)


def test_knots_are_integrated_exactly():
    knots = Knots(np.array([0.0, 8.0]), np.array([0.0, 3.0]), np.array([0.8, 2.0]), np.array([0.25, 0.75]))
    pixels = knots.render(0.5, 0.2)
    column, row = place(pixels)
    assert pixels.image.sum() == pytest.approx(1, abs=1e-3)
    assert (pixels.image * column).sum() == pytest.approx(0.5 + 6, abs=0.01)
    assert (pixels.image * row).sum() == pytest.approx(0.2 + 2.25, abs=0.01)


def test_arms():
    spiral = Spiral(12.0, 1.0, 0.0, 2, np.deg2rad(20), 0.0, 2.0)
    pixels = spiral.render(0, 0)
    assert pixels.image.sum() == pytest.approx(1, abs=1e-4)
    # two arms: unchanged by half a turn, changed by a quarter
    np.testing.assert_allclose(pixels.image, pixels.image[::-1, ::-1], atol=1e-6)
    assert np.abs(pixels.image - np.rot90(pixels.image)).max() > 0.3 * pixels.image.max()
    # along an arm, the angle grows by ln(r) / tan(pitch)
    theta = np.linspace(-np.pi / 2, np.pi / 2, 721)
    middle = pixels.image.shape[0] // 2
    peaks = []
    for radius in (8, 12):
        column, row = (np.rint(middle + radius * part).astype(int) for part in (np.cos(theta), np.sin(theta)))
        light = pixels.image[row, column].astype(float)
        peaks.append(0.5 * np.angle((light * np.exp(2j * theta)).sum()))
    turn = (peaks[1] - peaks[0]) % np.pi
    assert turn == pytest.approx((np.log(12 / 8) / np.tan(np.deg2rad(20))) % np.pi, abs=0.15)


def test_spectra():
    old, young = (-2.5 * np.log10(stellar_light(np.array([0.35, 0.42, 0.8]), age)) for age in (1.0, 0.0))
    assert old[0] - old[1] > 1.0 > 0.3 > young[0] - young[1]  # the break
    assert old[1] - old[2] > young[1] - young[2]
    dimmed = -2.5 * np.log10(stellar_light(np.array([0.55, 1.1]), 0.3, 1.0) / stellar_light(np.array([0.55, 1.1]), 0.3))
    assert dimmed == pytest.approx([1.0, 2**-0.7])
    # Wien: the maximum of B_nu is at 5.879e10 Hz / K
    peak = brentq(lambda um: blackbody(um * 1.001, 5000) - blackbody(um * 0.999, 5000), 0.5, 3)
    assert c.to_value(u.um / u.s) / peak == pytest.approx(5.879e10 * 5000, rel=1e-3)
    astropy = BlackBody(temperature=3000 * u.K)(WAVELENGTHS * u.um).value
    mine = blackbody(WAVELENGTHS, 3000)
    np.testing.assert_allclose(mine / mine[0], astropy / astropy[0], rtol=1e-5)


@pytest.fixture(scope="module")
def populations():
    rng = np.random.default_rng(0)
    return {kind: [draw_source(kind, 21.5, WAVELENGTHS, 0.06, rng) for _ in range(300)] for kind in CLASSES}


def test_magnitudes(populations):
    for kind, sources in populations.items():
        for source in sources:
            assert source.kind == kind
            assert source.magnitudes[0] == pytest.approx(21.5, abs=1e-6)
            assert np.isfinite(source.magnitudes).all()


def test_spheroids_are_redder_than_disks_and_those_than_irregulars(populations):
    colour = {kind: [s.magnitudes[2] - s.magnitudes[0] for s in sources] for kind, sources in populations.items()}
    medians = [np.median(colour[kind]) for kind in ("spheroid", "disk", "irregular")]
    assert medians[0] > medians[1] + 0.3 > medians[2] + 0.3
    # but colour alone does not tell them apart
    assert np.mean(np.array(colour["disk"]) > medians[0]) > 0.05
    assert np.mean(np.array(colour["irregular"]) > medians[1]) > 0.05


def test_bulges_are_redder_than_arms(populations):
    compared = 0
    for source in populations["disk"]:
        arms = [m for profile, m in source.parts if isinstance(profile, Spiral)]
        bulges = [m for profile, m in source.parts if isinstance(profile, Sersic) and profile.r_e < 0.31 * source.r_e]
        if arms and bulges and source.bulge_to_total > 0.01:
            compared += 1
            assert bulges[0][2] - bulges[0][0] > arms[0][2] - arms[0][0]
    assert compared > 20


def test_shapes(populations):
    sizes = {kind: np.median([s.r_e for s in sources]) * 0.06 for kind, sources in populations.items()}
    assert 0.15 < sizes["spheroid"] < sizes["irregular"] < sizes["disk"] < 0.7
    assert all(2.5 <= s.n <= 6 and 0.5 <= s.q <= 1 for s in populations["spheroid"])
    assert all(0.8 <= s.n <= 1.3 and s.bulge_to_total <= 0.4 for s in populations["disk"])
    assert min(s.q for s in populations["disk"]) < 0.3  # edge-on, but of finite thickness
    assert min(s.q for s in populations["disk"]) >= 0.12
    assert all(s.parts[0][0] is None and s.r_e == 0 and np.isnan(s.q) for s in populations["point_source"])
