"""The picture of source counts shows the numbers of the table, and what was measured apart from what was not."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from astrolearn.counts import CountModel, ReferenceCounts, read_counts
from astrolearn.counts.plots import plot_counts

DENSITY = 1 / (u.Jy * u.sr)


@pytest.fixture
def table():
    """Five bins of which the first two are the prior's, 0.1 dex off the reference."""
    log_flux = np.arange(-6, -3.5, 0.5)
    n = ReferenceCounts(frequency="944 MHz")(10**log_flux * u.Jy) * 10**0.1
    sigma = np.array([0.4, 0.35, 0.1, 0.02, 0.01])
    return QTable({
        "S_lo": 10 ** (log_flux - 0.25) * u.Jy, "S_mid": 10**log_flux * u.Jy, "S_hi": 10 ** (log_flux + 0.25) * u.Jy,
        "n": n, "n_q16": n * 10**-sigma, "n_q84": n * 10**sigma, "prior_width": np.full(5, 0.4),
        "prior_driven": sigma > 0.29,
    }, meta={"frequency": 944 * u.MHz, "area": 3.8e-3 * u.sr, "noise": 25 * u.uJy / u.beam})  # fmt: skip


def drawn(figure):
    """What is drawn, by its label in the legend."""
    axes, = figure.axes
    handles, labels = axes.get_legend_handles_labels()
    return axes, dict(zip(labels, handles, strict=True))


def points(container):
    return container.lines[0].get_xydata()


def test_numbers_and_labels(table):
    axes, things = drawn(plot_counts(table))
    assert list(things) == ["prior, 68 %", "middle of the prior", "measured, 68 %", "driven by the prior, 68 %"]
    flux = table["S_mid"].to_value(u.Jy)
    euclidean = (table["n"] * table["S_mid"] ** 2.5).to_value(u.Jy**1.5 / u.sr)
    expected = np.column_stack([flux, euclidean])
    np.testing.assert_allclose(points(things["measured, 68 %"]), expected[2:], rtol=1e-6)
    np.testing.assert_allclose(points(things["driven by the prior, 68 %"]), expected[:2], rtol=1e-6)
    assert to_hex(things["measured, 68 %"].lines[0].get_markerfacecolor()) == "#0072b2"
    assert to_hex(things["driven by the prior, 68 %"].lines[0].get_markerfacecolor()) == "#ffffff"
    middle = things["middle of the prior"].get_xydata()
    np.testing.assert_allclose(middle[:, 1] * 10**0.1, euclidean, rtol=1e-6)
    band = things["prior, 68 %"].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((middle[:, 1] * 10**0.4).max())
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_xlabel() == "flux density S (Jy)"
    assert axes.get_ylabel() == r"$S^{2.5}\,n(S)$  (Jy$^{1.5}$ sr$^{-1}$)"
    assert axes.get_title() == "944 MHz, 12.47 deg$^2$, 25 µJy/beam"
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [pytest.approx(125e-6)]


def test_bands_between_bins(table):
    """A stretch is solid where both of its ends are measured, hatched elsewhere."""
    axes, _ = drawn(plot_counts(table))
    stretches = [band for band in axes.collections if band.get_zorder() == 2]
    flux = table["S_mid"].to_value(u.Jy)
    hatched = {bool(band.get_hatch()): set() for band in stretches}
    for band in stretches:
        start = int(np.argmin(np.abs(flux - band.get_paths()[0].vertices[:, 0].min())))
        hatched[bool(band.get_hatch())].add(start)
    assert hatched == {False: {2, 3}, True: {0, 1}}


def test_published_points_are_scaled(table, tmp_path):
    path = tmp_path / "published.txt"
    path.write_text("-5.0 4.0 0.5 0.4\n-4.0 8.0 - -\n")
    published = read_counts(path)
    _, things = drawn(plot_counts(table, published=published))
    np.testing.assert_allclose(points(things["published"]), [[1e-5, 4], [1e-4, 8]], rtol=1e-6)
    segments = things["published"].lines[2][0].get_segments()
    np.testing.assert_allclose(segments[0][:, 1], [3.6, 4.5], rtol=1e-6)
    # sources of S at 1.4 GHz are brighter by f at 944 MHz; as many as before lie in a range wider by f
    f = (944 / 1400) ** -0.7
    _, things = drawn(plot_counts(table, published=published, published_frequency="1.4 GHz"))
    expected = [[1e-5 * f, 4 * f**1.5], [1e-4 * f, 8 * f**1.5]]
    np.testing.assert_allclose(points(things["published"]), expected, rtol=1e-6)
    scaled = ReferenceCounts(path, frequency="944 MHz").euclidean(10**-4.5 * f * u.Jy).value
    assert scaled == pytest.approx(np.sqrt(32) * f**1.5)
    _, things = drawn(plot_counts(table, published=published["S", "n"]))
    assert not things["published"].has_yerr


@pytest.mark.parametrize("as_model", [True, False])
def test_truth_and_reference(table, as_model):
    model = CountModel([1e-7, 1], [1e14, 1e3])
    true = model if as_model else model(table["S_mid"])
    axes, things = drawn(plot_counts(table, true=true, reference=model))
    line = things["truth"].get_xydata()
    np.testing.assert_allclose(line[:, 1], model.euclidean(line[:, 0] * u.Jy).value, rtol=1e-6)
    np.testing.assert_allclose(line[[0, -1], 0], table["S_mid"][[0, -1]].value)
    middle = things["middle of the prior"].get_xydata()
    np.testing.assert_allclose(middle[:, 1], model.euclidean(middle[:, 0] * u.Jy).value, rtol=1e-6)
    low, high = axes.get_ylim()
    assert low < middle[:, 1].min() * 10**-0.4 < middle[:, 1].max() * 10**0.4 < high


def test_all_or_nothing_measured(table):
    for driven, missing in ((True, "measured, 68 %"), (False, "driven by the prior, 68 %")):
        table["prior_driven"] = np.full(5, driven)
        assert missing not in drawn(plot_counts(table))[1]


def test_what_is_not_known_is_left_out(table):
    table.meta = {"noise": np.nan * u.Jy / u.beam, "area": [1, 2] * u.sr}
    axes, _ = drawn(plot_counts(table, reference=ReferenceCounts()))
    assert axes.get_title() == ""
    assert not [line for line in axes.lines if line.get_linestyle() == ":"]
    with pytest.raises(ValueError, match=r"meta\['frequency'\] of the table is needed"):
        plot_counts(table)


def test_figure_and_file(table, tmp_path):
    figure = Figure()
    table["group"] = np.zeros(5, int)
    assert plot_counts(table, figure=figure) is figure
    figure.savefig(tmp_path / "counts.png")
    assert (tmp_path / "counts.png").stat().st_size > 10000


def test_tables_that_cannot_be_drawn(table):
    with pytest.raises(ValueError, match="no column n_q16, prior_width; it has S_lo"):
        plot_counts(table["S_lo", "S_mid", "S_hi", "n", "n_q84", "prior_driven"])
    with pytest.raises(ValueError, match=r"counts have the shape \(4,\); expected \(5,\)"):
        plot_counts(table, true=table["n"][:4])
    with pytest.raises(u.UnitConversionError, match="the counts has the unit 'Jy'"):
        plot_counts(table, true=table["S_mid"])
    table["group"] = [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="several skies: select one"):
        plot_counts(table)
