"""Pictures of counts maps with the sources found in them, which is where a look tells most about a catalogue.

A map of the whole sky, a part of it and an image differ only in their projection: each is brought to an image with a
WCS, smoothed just enough to see more than single photons, and drawn on axes that know sky coordinates. Kinds of
sources differ in shape as well as in colour and brightness, so that pictures can be read in grey and by the
colour-blind.
"""

from dataclasses import dataclass
from io import BytesIO
from itertools import cycle
from pathlib import Path

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area, skycoord_to_pixel
from scipy.ndimage import gaussian_filter

from astrolearn.core.inputs import as_quantity
from astrolearn.sky import SkyMap, match, source_coords
from astrolearn.sky.energy import parse_edges

__all__ = ["plot_sky", "save_figure"]

_LOWEST_ENERGY = 1 * u.GeV  # photons below blur the picture: the PSF of the LAT is wider than 1 deg there
_FINEST_NSIDE = 256
_SKY_SHAPE = (1000, 2000)  # rows, columns of the whole sky
_PLANE_SHAPE = (360, 2000)  # of the inner Galactic plane
_PLANE_LENGTH = 100  # deg
_PART_SHAPE = (900, 900)  # of a map that covers a part of the sky
_PART_WITHIN = 50 * u.deg  # up to which radius that is
_FLUX_UNIT = 1 / u.cm**2 / u.s
# White, and colours that stand out from all of the map's; also the grey behind the legend
_FOUND, _MISSED, _FALSE, _DARK = "#ffffff", "#8ae2ff", "#a8ff3e", "#303030"
# Shape, colour, size, width and name of the classes of `SourceClassifier`, from the lowest layer up: the rarer, the
# more conspicuous. Classes that a user makes up get the others, in turn.
_CLASSES = {
    "fake": (".", "#b0b0b0", 4.4, 0.3, "fake"),
    "agn": ("o", _MISSED, 4.3, 0.5, "AGN"),
    "pwn_snr": ("s", _FALSE, 4.8, 0.9, "PWN or SNR"),
    "psr": ("D", _FOUND, 4.0, 0.9, "PSR"),
}
_OTHERS = (("^", _FOUND), ("v", _FALSE), ("p", _MISSED), ("h", _FOUND), ("*", _FALSE))


@dataclass(frozen=True)
class _Kind:
    """One kind of source, how it is drawn, and what the legend says; sizes in points, on the whole sky."""

    shape: str
    colour: str
    size: float
    width: float
    coords: SkyCoord
    significance: np.ndarray | None
    label: str


def plot_sky(skymap, catalogue, sources=None, *, min_flux=None, radius="0.3 deg", smoothing=None, title=None,
             figure=None):
    """
    Draw a counts map and the sources found in it.

    Where sources have a column ``significance``, stronger ones have larger marks. A catalogue with classes, that of
    `~astrolearn.SourceClassifier`, has marks of another shape and colour for each, and small grey dots for fakes.

    Parameters
    ----------
    skymap : SkyMap or `~astropy.nddata.CCDData`
        Counts. A HEALPix map is drawn in Galactic coordinates, in Hammer-Aitoff projection with the inner Galactic
        plane enlarged below; one that covers only a part of the sky (within 50 deg of a point) is drawn by itself. An
        image needs a celestial WCS. Energy bins are added, those below 1 GeV only where there are no others.
    catalogue : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
        The sources found; with a column ``class``, by class.
    sources : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`, optional
        The true sources: then sources are marked as found, missed or false, whatever their class.
    min_flux : `~astropy.units.Quantity`, str or float, optional
        True sources whose column ``flux`` is below this are not marked where they are missed. A bare number is in
        1 / (cm2 s). Default: all are marked.
    radius : `~astropy.units.Quantity`, str or float, optional
        A detection is true if it is within this radius of one of ``sources``; a bare number is in degrees.
    smoothing : `~astropy.units.Quantity`, str or float, optional
        Standard deviation of the Gaussian that smooths the counts; a bare number is in degrees. Default: 0.3 deg (but
        not less than 1.1 pixels) for HEALPix maps, 1.5 pixels for images.
    title : str, optional
        Text above the picture.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw. Default: a new figure, which pyplot knows nothing of.

    Returns
    -------
    `~matplotlib.figure.Figure`
        `save_figure` or ``figure.savefig`` write it.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an image has no celestial WCS, nothing of a map was observed, or ``min_flux`` is given and ``sources`` have
        no column ``flux``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "astrolearn[plot]"') from None
    bins, label = _energy_bins(skymap)
    kinds = _kinds(skymap, catalogue, sources, radius, min_flux)
    if isinstance(skymap, SkyMap):
        if smoothing is None:
            # a narrower beam would ring: it is not zero at the highest harmonics of the map
            smoothing = max(0.3 * u.deg, 1.1 * hp.nside2resol(skymap.nside) * u.rad)
        density = _smooth_map(skymap, bins, as_quantity(smoothing, u.deg, "smoothing").to_value(u.rad))
        views = _views(skymap)
        images = [density(wcs, shape) for wcs, shape in views]
        wcses = [wcs for wcs, _ in views]
    else:
        if skymap.wcs is None or not skymap.wcs.has_celestial:
            raise ValueError("the image has no celestial WCS, without which sources have no place on it")
        wcses = [skymap.wcs.celestial]
        images = [_smooth_image(skymap, bins, wcses[0], smoothing)]
    whole_sky = len(images) == 2
    if figure is None:
        rows, columns = images[0].shape
        height = 7.7 if whole_sky else np.clip(8 * rows / columns, 2, 6.5) + 2
        figure = Figure(figsize=(10, height), layout="constrained")
    _draw(figure, wcses, images, kinds, label)
    if title:
        figure.suptitle(title)
    return figure


def save_figure(figure, path, dpi=200):
    """
    Write a figure to a file.

    Parameters
    ----------
    figure : `~matplotlib.figure.Figure`
        The figure.
    path : path-like
        Its suffix is the format, one of those that matplotlib knows. A PNG gets a palette of 256 colours, made for
        `plot_sky`: noisy skies become three times smaller and look the same.
    dpi : int, optional
        Pixels per inch.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        figure.savefig(path, dpi=dpi)
        return
    from PIL import Image

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    picture = Image.open(buffer).convert("RGB").quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(path, optimize=True)


def _sky_colours(shares):
    """Colours (n, 3) of the map from dark to bright; not up to the brightest, so that marks stand out everywhere."""
    from matplotlib import colormaps

    return colormaps["inferno"](0.72 * np.asarray(shares))[:, :3]


def _palette():
    """The 256 colours of pictures: those of the map, greys, and those of marks with their blurred edges on the map."""
    from matplotlib.colors import to_rgb

    backgrounds = [*_sky_colours([0, 0.33, 0.67]), np.array(to_rgb(_DARK))]
    edges = [share * np.array(to_rgb(mark)) + (1 - share) * background for mark in (_FOUND, _MISSED, _FALSE)
             for share in (1, 0.8, 0.6, 0.4, 0.2) for background in backgrounds]
    greys = np.linspace(0, 1, 34)[:, None].repeat(3, axis=1)
    sky = _sky_colours(np.linspace(0, 1, 256 - len(edges) - len(greys)))
    return np.round(255 * np.concatenate([sky, greys, edges])).astype(np.uint8).tobytes()


def _energy_bins(skymap):
    """Which energy bins to add up (a bool array), and the label of their counts."""
    if isinstance(skymap, SkyMap):
        edges, n_energy = skymap.energy_edges, skymap.n_energy
    else:
        edges, n_energy = skymap.meta.get("energy_edges"), 1 if skymap.data.ndim == 2 else len(skymap.data)
    if edges is None:
        return np.ones(n_energy, dtype=bool), "photons per square degree"
    low = parse_edges(edges)[:-1].to(u.GeV)
    chosen = low >= _LOWEST_ENERGY * (1 - 1e-6)
    if not chosen.any():
        chosen[:] = True
    return chosen, f"photons above {low[chosen][0]:.3g} per square degree"


def _views(skymap):
    """Projections (WCS, shape) that show a HEALPix map: one of a part of the sky; or two, whole sky and plane."""
    observed = np.flatnonzero(skymap.observed.any(axis=0))
    if len(observed) == 0:
        raise ValueError("nothing of the map was observed")
    coords = skymap.pixel_coords(observed).galactic
    centre = SkyCoord(coords.cartesian.mean(), frame="galactic")
    reach = centre.separation(coords).max()
    if reach < _PART_WITHIN:
        width = 2.04 * np.rad2deg(2 * np.sin(reach.rad / 2))
        return [_view("ZEA", (centre.l.deg, centre.b.deg), width, _PART_SHAPE)]
    # the ellipse of the Hammer-Aitoff projection is 4 sqrt(2) by 2 sqrt(2) radians
    return [_view("AIT", (0, 0), np.rad2deg(4 * np.sqrt(2)), _SKY_SHAPE),
            _view("CAR", (0, 0), _PLANE_LENGTH, _PLANE_SHAPE)]


def _view(projection, centre, width, shape):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"GLON-{projection}", f"GLAT-{projection}"]
    wcs.wcs.crval = centre
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-width / shape[1], width / shape[1]]
    wcs.wcs.set()
    return wcs, shape


def _smooth_map(skymap, bins, sigma):
    """Smooth a HEALPix map: gives a function that makes images of counts per square degree, NaN where not observed."""
    skymap = skymap.to_order(nest=False)
    seen = skymap.observed[bins].all(axis=0)
    maps = [np.where(seen, skymap.data[bins].sum(axis=0), 0.0), seen.astype(float)]
    if skymap.nside > _FINEST_NSIDE:
        maps = [hp.ud_grade(values, _FINEST_NSIDE) for values in maps]
    counts, weight = (hp.smoothing(values, sigma=sigma, iter=1) for values in maps)
    density = np.maximum(counts, 0) / np.maximum(weight, 0.02) / hp.nside2pixarea(skymap.nside, degrees=True)
    observed = maps[1] > 0

    def image(wcs, shape):
        result = np.full(shape, np.nan)
        y, x = np.indices(shape)
        lon, lat = wcs.wcs_pix2world(np.column_stack([x.ravel(), y.ravel()]), 0).T
        inside = np.isfinite(lon)
        place = SkyCoord(lon[inside], lat[inside], unit="deg", frame="galactic").transform_to(skymap.frame).spherical
        angles = place.lon.deg, place.lat.deg
        values = hp.get_interp_val(density, *angles, lonlat=True)
        pixel = hp.ang2pix(hp.get_nside(density), *angles, lonlat=True)
        result.ravel()[inside] = np.where(observed[pixel], values, np.nan)
        return result

    return image


def _smooth_image(image, bins, wcs, smoothing):
    """Smoothed counts per square degree, NaN where not observed."""
    data = np.reshape(image.data, (len(bins), *image.data.shape[-2:]))[bins]
    seen = np.isfinite(data)
    if image.mask is not None:
        seen &= ~np.reshape(np.broadcast_to(image.mask, image.data.shape), (len(bins), *data.shape[1:]))[bins]
    seen = seen.all(axis=0)
    area = proj_plane_pixel_area(wcs)
    sigma = 1.5 if smoothing is None else as_quantity(smoothing, u.deg, "smoothing").value / np.sqrt(area)
    counts, weight = (gaussian_filter(values, sigma) for values in (np.where(seen, data.sum(axis=0), 0.0), seen * 1.0))
    return np.where(seen, counts / np.maximum(weight, 1e-9) / area, np.nan)


def _kinds(skymap, catalogue, sources, radius, min_flux):
    """The kinds of sources to mark; missed are only those where the map was observed."""
    found = _Marked(catalogue)
    if sources is None and "class" in getattr(catalogue, "colnames", ()) and len(catalogue):
        return _class_kinds(found, np.asarray(catalogue["class"], dtype=str))
    if sources is None:
        return [_Kind("o", _FOUND, 4.3, 0.45, *found.rows(slice(None)), f"{len(found.coords)} sources")]
    result, true = match(catalogue, sources, radius), _Marked(sources)
    missed, limit = ~result.found & _observed(skymap, true.coords), ""
    if min_flux is not None:
        if "flux" not in getattr(sources, "colnames", ()):
            raise ValueError("min_flux is given, but the true sources have no column 'flux'")
        min_flux = as_quantity(min_flux, _FLUX_UNIT, "min_flux")
        missed &= sources["flux"] >= min_flux
        power = int(np.floor(np.log10(min_flux.value)))
        limit = rf" above ${min_flux.value / 10**power:.1f} \times 10^{{{power}}}$ cm$^{{-2}}$ s$^{{-1}}$"
    return [
        _Kind("o", _FOUND, 4.3, 0.45, *found.rows(result.matched), f"{np.sum(result.matched)} found"),
        _Kind("s", _MISSED, 5.5, 0.9, *true.rows(missed), f"{np.sum(missed)} missed{limit}"),
        _Kind("x", _FALSE, 5.5, 1.1, *found.rows(~result.matched), f"{np.sum(~result.matched)} false"),
    ]


def _class_kinds(found, classes):
    """The kinds of sources of a classified catalogue, from the lowest layer up."""
    others = sorted(set(classes.tolist()) - set(_CLASSES))
    marks = _CLASSES | {name: (*mark, 5.2, 0.8, name) for name, mark in zip(others, cycle(_OTHERS), strict=False)}
    return [_Kind(*mark, *found.rows(classes == name), f"{np.sum(classes == name)} {label}")
            for name, (*mark, label) in marks.items() if name in classes]


class _Marked:
    """Positions and, where known, significances of sources."""

    def __init__(self, sources):
        self.coords = source_coords(sources)
        known = "significance" in getattr(sources, "colnames", ())
        self.significance = np.asarray(sources["significance"], float) if known else None

    def rows(self, chosen):
        return self.coords[chosen], None if self.significance is None else self.significance[chosen]


def _observed(skymap, coords):
    """Which positions lie on pixels of a map that were observed."""
    if isinstance(skymap, SkyMap):
        return skymap.observed.any(axis=0)[skymap.coord_to_pixel(coords)]
    x, y = skycoord_to_pixel(coords, skymap.wcs.celestial, mode="wcs")
    inside = _within(x, y, skymap.data.shape[-2:])
    if skymap.mask is not None:
        masked = np.reshape(skymap.mask, (-1, *skymap.data.shape[-2:])).all(axis=0)
        inside[inside] = ~masked[np.round(y[inside]).astype(int), np.round(x[inside]).astype(int)]
    return inside


def _within(x, y, shape):
    """Which pixel positions lie in an image; those that are NaN, for having no place in its projection, do not."""
    return (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)


def _draw(figure, wcses, images, kinds, label):
    """Draw each image on axes of its own, with marks; one legend and colour bar for all."""
    from matplotlib.colors import AsinhNorm, ListedColormap
    from matplotlib.lines import Line2D

    colours = ListedColormap(_sky_colours(np.linspace(0, 1, 256)))
    low, middle, high = np.nanpercentile(images[0], [1, 50, 99.9])
    norm = AsinhNorm(max(middle / 2, high / 300, 1e-9), vmin=low, vmax=max(high, low + 1e-6))
    whole_sky = len(images) == 2
    grid = figure.add_gridspec(len(images), 1, height_ratios=[2.75, 1] if whole_sky else None)
    for number, (wcs, image) in enumerate(zip(wcses, images, strict=True)):
        ellipse = whole_sky and number == 0
        axes = _sky_axes(figure, grid[number], wcs, ellipse)
        picture = axes.imshow(image, origin="lower", cmap=colours, norm=norm)
        for kind in kinds:
            _mark(axes, wcs, image.shape, kind, 1 if ellipse else 2)
    handles = [Line2D([], [], linestyle="", marker=kind.shape, markersize=8, markeredgewidth=2 * kind.width,
                      markerfacecolor=kind.colour if kind.shape == "." else "none", color=kind.colour,
                      label=kind.label) for kind in kinds]
    figure.axes[0].legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=len(handles),
                          facecolor=_DARK, labelcolor="white", framealpha=1, borderpad=0.6)
    figure.colorbar(picture, ax=figure.axes, label=label, extend="max", orientation="horizontal", shrink=0.6, aspect=50)


def _sky_axes(figure, place, wcs, ellipse):
    """Axes with a grid and labels of sky coordinates."""
    from astropy.visualization.wcsaxes.frame import EllipticalFrame, RectangularFrame

    axes = figure.add_subplot(place, projection=wcs, frame_class=EllipticalFrame if ellipse else RectangularFrame)
    axes.set_facecolor("#606060")  # not observed
    axes.coords.grid(color="white", alpha=0.25, linewidth=0.5)
    lon, lat = axes.coords
    if ellipse:
        lon.set_ticks(spacing=60 * u.deg)
        lon.set_ticklabel_visible(False)
        lon.set_ticks_visible(False)
        for degrees in (120, 60, 0, 300, 240):
            axes.text(degrees, -14, f"{degrees}°", transform=axes.get_transform("world"), color="white", fontsize=9,
                      ha="center", va="center", zorder=5,
                      bbox={"facecolor": "black", "alpha": 0.7, "linewidth": 0, "pad": 1.5})
        return axes
    names = {"glon": ("Galactic longitude", "Galactic latitude"), "ra": ("Right ascension", "Declination")}
    kind = next((kind for kind in names if wcs.wcs.lngtyp.strip().lower() == kind), None)
    for coordinate, name in zip((lon, lat), names.get(kind, ()), strict=False):
        coordinate.set_axislabel(name)
    if kind == "glon":
        lon.set_major_formatter("d")
        lat.set_major_formatter("d")
    return axes


def _mark(axes, wcs, shape, kind, scale):
    """Mark the sources of one kind that lie within the image."""
    x, y = skycoord_to_pixel(kind.coords, wcs, mode="wcs") if len(kind.coords) else np.zeros((2, 0))
    inside = _within(x, y, shape)
    grade = np.full(len(x), 0.7)
    if kind.significance is not None and kind.shape != ".":
        grade = 0.45 + 0.55 * np.clip(np.log10(np.maximum(kind.significance, 3) / 3) / 1.2, 0, 1.3)
    area = (scale * kind.size * grade[inside]) ** 2
    colour = {"color": kind.colour} if kind.shape in "x." else {"facecolors": "none", "edgecolors": kind.colour}
    axes.scatter(x[inside], y[inside], s=area, marker=kind.shape, linewidths=kind.width * scale**0.6, **colour)
