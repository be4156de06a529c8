"""Pictures of redshifts: what is drawn is what was given."""

import numpy as np
import pytest
from scipy.stats import norm

from astrolearn.photoz.plots import plot_pit, plot_redshifts

matplotlib = pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)
Z = RNG.uniform(0.02, 0.3, 1000)


def test_redshifts():
    figure = plot_redshifts(Z, Z + 0.01 * (1 + Z) * RNG.normal(size=1000))
    upper, lower = figure.axes[:2]
    assert "1000 galaxies" in upper.get_title()
    assert "0.0" in upper.get_title()
    assert lower.get_xlabel() == "spectroscopic redshift"
    assert lower.get_ylim() == pytest.approx((-0.15, 0.15))
    assert sum(collection.get_array().sum() for collection in upper.collections) == 1000


def test_outliers_do_not_blur_the_errors_of_the_others():
    far = Z.copy()
    far[:20] = 3.0
    lower = plot_redshifts(Z, far).axes[1]
    heights = np.ptp(lower.collections[0].get_paths()[0].vertices[:, 1])
    assert heights < 0.1 * np.ptp(lower.get_ylim())


def test_pit_of_densities_that_are_right_is_flat():
    grid = np.linspace(-0.2, 0.5, 400)
    centre = Z + 0.03 * RNG.normal(size=1000)
    figure = plot_pit(Z, norm(centre[:, None], 0.03).pdf(grid), grid)
    (axes,) = figure.axes
    (steps,) = (patch.get_xy()[:, 1] for patch in axes.patches if not isinstance(patch, matplotlib.patches.Rectangle))
    counts = steps[steps > 0]
    assert counts.sum() >= 1000
    assert np.abs(counts - 50).max() < 4.5 * np.sqrt(50)
    narrow = plot_pit(Z, norm(centre[:, None], 0.01).pdf(grid), grid).axes[0]
    (steps,) = (patch.get_xy()[:, 1] for patch in narrow.patches if not isinstance(patch, matplotlib.patches.Rectangle))
    assert steps.max() > 2 * counts.max()
    assert axes.get_xlim() == (0, 1)
    assert axes.get_ylabel() == "galaxies"
    given = matplotlib.figure.Figure()
    assert plot_pit(Z, norm(centre[:, None], 0.03).pdf(grid), grid, figure=given) is given
