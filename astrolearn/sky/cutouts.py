"""Images of objects cut out of larger images, as a step of a pipeline that begins with coordinates."""

from collections.abc import Mapping
from numbers import Real

import astropy.units as u
import numpy as np
from astropy.nddata import Cutout2D, NDData, NoOverlapError
from astropy.wcs.utils import proj_plane_pixel_scales

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.transformers import StatelessTransformer
from astrolearn.sky.image_io import without_stray_sip

__all__ = ["CutoutExtractor"]

_FAR, _INEXACT = 2.0**31, 0.1  # pixels


class CutoutExtractor(StatelessTransformer):
    """
    Cuts square images of objects out of one image, or out of one in each band; it learns nothing from data.

    ``make_pipeline(CutoutExtractor(image, size=32), PhotoZRegressor())`` takes coordinates.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or `~astropy.nddata.CCDData`, or a list or dict of these
        Two-dimensional, each with a celestial ``wcs``; several are bands, with pixels of one size and direction. Masked
        pixels are NaN. SIP distortions that the CTYPE does not announce are leftovers: they are ignored, with a
        warning.
    size : int, `~astropy.units.Quantity` or str, optional
        Side: a whole number of pixels, or an angle such as ``"13 arcsec"``. Default: 64 pixels.
    """

    def __init__(self, image, *, size=64):
        self.image = image
        self.size = size

    def transform(self, X):
        """
        Cut out images, each centred on the pixel of its object.

        Parameters
        ----------
        X : `~astropy.coordinates.SkyCoord`, (n,)

        Returns
        -------
        images : `numpy.ndarray` or `~astropy.units.Quantity`, float32 (n, n_bands, side, side)
            In the unit of the image. NaN beyond its edge.

        Raises
        ------
        ValueError
            If an object is outside an image, or the image cannot be used.
        """
        bands, side = self._prepare()
        if getattr(X, "isscalar", True) or len(X) == 0:
            raise ValueError("X must be a SkyCoord of one or more positions in an array")
        unit = bands[0].unit
        out = np.empty((len(X), len(bands), side, side), np.float32)
        for j, band in enumerate(bands):
            values = to_float(band, unit, f"band {j} of the image", missing="keep")
            wcs = without_stray_sip(band.wcs, values.shape, f"band {j} of the image")
            pixels = np.stack(wcs.celestial.world_to_pixel(X), axis=1)
            # far from the image there may be no pixel at all, on the other side of the sky, say, or where the inversion
            # of distortions does not end
            near = np.isfinite(pixels).all(axis=1) & (np.abs(pixels) < _FAR).all(axis=1)
            back = wcs.celestial.pixel_to_world(*np.where(near[:, None], pixels, 0.0).T)
            scale = proj_plane_pixel_scales(wcs.celestial).mean() * u.deg
            near &= back.separation(X) < _INEXACT * scale
            for i, pixel in enumerate(pixels):
                try:
                    if not near[i]:
                        raise NoOverlapError
                    out[i, j] = Cutout2D(values, tuple(pixel), side, mode="partial", fill_value=np.nan).data
                except NoOverlapError as error:
                    where = X[i].to_string("decimal")
                    raise ValueError(f"X[{i}] at {where} is outside band {j} of the image") from error
        return out if unit is None else out * unit

    def _prepare(self):
        """The images of the bands, and the side in pixels."""
        image = self.image
        bands = list(image.values()) if isinstance(image, Mapping) else image if isinstance(image, list) else [image]
        for j, band in enumerate(bands):
            if not isinstance(band, NDData) or np.ndim(band.data) != 2:
                raise ValueError(f"band {j} of the image must be a two-dimensional CCDData or NDData")
            if band.wcs is None or not band.wcs.has_celestial:
                raise ValueError(f"band {j} of the image has no celestial WCS: nothing says where an object is on it")
        scales = [proj_plane_pixel_scales(band.wcs.celestial).mean() * 3600 for band in bands]
        if not np.allclose(scales, scales[0], rtol=0.01):
            sizes = ", ".join(f"{scale:.3f}" for scale in scales)
            raise ValueError(f"the bands differ in the size of their pixels: {sizes} arcsec")
        directions = [band.wcs.celestial.pixel_scale_matrix * 3600 for band in bands]
        if not np.allclose(directions, directions[0], rtol=0, atol=0.01 * scales[0]):
            raise ValueError("the bands differ in the direction of their pixels: reproject them to one grid")
        size = self.size
        if isinstance(size, Real) and size % 1:
            raise ValueError(f"size={size!r} is not a whole number of pixels; give an angle with its unit")
        if not isinstance(size, Real):
            size = int(np.round(as_quantity(size, u.arcsec, "size").value / scales[0]))
        if size < 1:
            raise ValueError(f"size={self.size!r} is less than a pixel")
        return bands, int(size)
