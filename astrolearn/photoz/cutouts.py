"""
Images of galaxies from the Sloan Digital Sky Survey: JPGs of the cutout service, or FITS frames in five bands.

Both are slow (about one image a second) and fail now and then, so every image is kept in a folder as soon as it is
there, whole; a call that was interrupted goes on where it ended. The JPG service answers a position outside the survey
with a black image and no error, which is recognised and marked; what is not a whole image is asked for again.
"""

import bz2
import hashlib
import io
import time
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from scipy.ndimage import maximum_filter

from astrolearn.core.inputs import as_quantity
from astrolearn.core.progress import progress
from astrolearn.core.tables import SampleTable, atomic_write
from astrolearn.photoz.sdss import BANDS, retried

__all__ = ["fetch_sdss_cutouts"]

_JPG = (
    "https://skyserver.sdss.org/dr{release}/SkyServerWS/ImgCutout/getjpeg"
    "?ra={ra:.6f}&dec={dec:.6f}&scale={scale:.4f}&width={size}&height={size}"
)
_FRAME = (
    "https://data.sdss.org/sas/dr{release}/{survey}/photoObj/frames/{rerun}/{run}/{camcol}/"
    "frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
)
_PIXEL = 0.396  # arcsec, of the survey's cameras
# folder of the frames, from a data release on
_SURVEYS = {18: "prior-surveys/sdss4-dr17-eboss", 13: "eboss", 0: "boss"}
_SIZES = (64, 2048)  # of the JPG service
_FLAT = 3  # of 255: even an empty sky has more noise between the darkest and the brightest hundredth
# Pixels around which nine by nine are black. In 400 pictures within the survey their share is 1.4 % at most.
_BLACK, _BLACK_SHARE = 9, 0.05
_ABSENT = "not on the server"


def fetch_sdss_cutouts(
    galaxies, size=64, scale="0.396 arcsec", *, kind="jpg", folder, bands=BANDS, data_release=17, wait=0.5, timeout=60,
    retries=3, verbose=0, download=None,
):
    """
    Fetch an image of each galaxy.

    Parameters
    ----------
    galaxies : `~astropy.coordinates.SkyCoord` (n,) or `~astropy.table.Table`
        Where they are. A table has a column ``coord``, and for FITS also ``run``, ``rerun``, ``camcol`` and ``field``,
        as those of `fetch_sdss_galaxies` have.
    size : int, optional
        Side in pixels; of JPGs 64 at least, 2048 at most. Default: 64.
    scale : `~astropy.units.Quantity`, str or float, optional
        Size of a pixel; plain numbers are arcsec. Default: 0.396 arcsec, that of the cameras, which FITS images have.
    kind : {"jpg", "fits"}, optional
        ``"jpg"`` (default): the colour pictures of the cutout service, from the bands g, r and i. ``"fits"``: the bands
        in nanomaggies, cut out of whole frames, of about 3 MB each, which are fetched once for all galaxies on them;
        the bands are aligned to the nearest pixel.
    folder : path-like
        Where images are kept, and looked for before they are asked for. It is made if there is none.
    bands : sequence of str, optional
        For FITS. Default: all five.
    data_release : int, optional
        Default: 17.
    wait : float, optional
        Pause before each request, in s: servers shut out who asks too often. Default: 0.5.
    timeout : float, optional
        In s, for each request.
    retries : int, optional
        How often a request that failed is repeated.
    verbose : int, optional
        With 1, a progress bar.
    download : callable, optional
        ``download(url, timeout)`` gives the bytes, or raises `FileNotFoundError` for what is not on the server, which
        is not asked for again. Default: that of requests.

    Returns
    -------
    table : SampleTable
        ``coord``, ``image`` (n, size, size, 3) of uint8, or (n, len(bands), size, size) in nanomaggies; ``ok``, and
        ``problem``, why it is not: outside the survey, cut by its edge, or not on the server. Images that are not there
        are black, or NaN.

    Raises
    ------
    OSError
        If the server fails ``retries + 1`` times, or has none of the images; what was fetched before is kept.
    ValueError
        If a parameter or the table cannot be used.
    """
    size, pixel = int(size), as_quantity(scale, u.arcsec, "scale").value
    table = None if isinstance(galaxies, SkyCoord) else galaxies
    coord = galaxies if table is None else _column(table, "coord")
    if coord.isscalar or len(coord) == 0:
        raise ValueError("galaxies must be one or more positions in an array")
    if kind == "jpg" and not _SIZES[0] <= size <= _SIZES[1]:
        raise ValueError(f"size={size}: the JPG service makes images of {_SIZES[0]} to {_SIZES[1]} pixels")
    if kind == "fits" and not np.isclose(pixel, _PIXEL, rtol=2e-3):
        raise ValueError(f"scale={scale}: FITS images have pixels of {_PIXEL} arcsec")
    if kind not in ("jpg", "fits"):
        raise ValueError(f"kind={kind!r} is not 'jpg' or 'fits'")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fetch = _Fetcher(folder, download or _requests, wait, timeout, retries, verbose)
    if kind == "jpg":
        empty = np.zeros((size, size, 3), np.uint8)
        urls = [_JPG.format(release=data_release, ra=one.ra.deg, dec=one.dec.deg, scale=pixel, size=size)
                for one in coord.icrs]
        images, problems = fetch.pictures(urls, size)
    else:
        empty = np.full((len(bands), size, size), np.nan, np.float32)
        urls = _frame_urls(table, bands, data_release)
        images, problems = fetch.frames(urls, coord.icrs, size)
    if set(problems) == {_ABSENT}:
        raise OSError(f"the server has none of the {len(coord)} images; the first would be {np.ravel(urls[0])[0]}")
    images = [empty if image is None else image for image in images]
    columns = {
        "coord": coord, "image": np.stack(images) * (u.nmgy if kind == "fits" else 1),
        "ok": np.array([not problem for problem in problems]), "problem": problems,
    }  # fmt: skip
    return SampleTable(columns, meta={"scale": pixel * u.arcsec, "kind": kind, "data_release": data_release})


def _frame_urls(table, bands, data_release):
    """A list for each galaxy, of the frames in all bands."""
    survey = next(survey for first, survey in _SURVEYS.items() if data_release >= first)
    where = [_column(table, name) for name in ("run", "rerun", "camcol", "field")]
    return [
        [_FRAME.format(release=data_release, survey=survey, run=int(run), rerun=int(rerun), camcol=int(camcol),
                       field=int(number), band=band) for band in bands]
        for run, rerun, camcol, number in zip(*where, strict=True)
    ]  # fmt: skip


class _Fetcher:
    """Images from the folder, or else from the server."""

    def __init__(self, folder, download, wait, timeout, retries, verbose):
        self.folder, self.download, self.wait, self.timeout, self.retries = folder, download, wait, timeout, retries
        self.verbose = verbose

    def pictures(self, urls, size):
        """Images, or None, and what is wrong with each."""
        found = []
        for url in progress(urls, "fetching images", total=len(urls), verbose=self.verbose):
            try:
                found.append(self._picture(url, size))
            except FileNotFoundError:
                found.append((None, _ABSENT))
        return zip(*found, strict=True)

    def _picture(self, url, size):
        path = self._path(url, ".jpg")
        image = _decode(self._content(url, path, lambda content: _decode(content, size)), size)
        low, high = np.quantile(image, (0.01, 0.99))
        if high - low < _FLAT:
            return None, "blank: outside the survey"
        black = (maximum_filter(image.max(axis=2), _BLACK) == 0).mean()
        return image, "partly black: at the edge of the survey" if black > _BLACK_SHARE else ""

    def frames(self, urls, coord, size):
        """
        Images, or None, and what is wrong with each.

        Every frame is fetched once, and all galaxies on it are cut out of it.
        """
        paths = [[self._path(f"{url} {one.ra.deg:.6f} {one.dec.deg:.6f} {size}", ".fits") for url in own]
                 for own, one in zip(urls, coord, strict=True)]
        needed = {}
        for i, (own, kept) in enumerate(zip(urls, paths, strict=True)):
            for url, path in zip(own, kept, strict=True):
                if _read_cutout(path) is None:
                    needed.setdefault(url, []).append((i, path))
        absent = set()
        for url, cutouts in progress(needed.items(), "fetching frames", total=len(needed), verbose=self.verbose):
            try:
                data, wcs = retried(lambda url=url: self._frame(url), self.retries, "SDSS")
            except FileNotFoundError:
                absent.update(i for i, _ in cutouts)
                continue
            for i, path in cutouts:
                hdu = fits.PrimaryHDU(_cut(data, wcs, coord[i], size))
                hdu.header["BUNIT"] = "nmgy"
                atomic_write(hdu.writeto, path, overwrite=True)
        found = [(None, _ABSENT) if i in absent else _judged(np.stack([_read_cutout(path) for path in kept]))
                 for i, kept in enumerate(paths)]
        return zip(*found, strict=True)

    def _frame(self, url):
        """A whole frame, which is as large as a thousand cutouts and not kept, and its WCS."""
        content = self._request(url)
        try:
            with fits.open(io.BytesIO(bz2.decompress(content))) as hdus:
                return np.array(hdus[0].data, dtype=np.float32), WCS(hdus[0].header)
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise OSError(f"{url} is not a whole FITS file ({error})") from error

    def _path(self, what, suffix):
        return self.folder / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}{suffix}"

    def _content(self, url, path, check):
        if path.is_file():
            content = path.read_bytes()
            try:
                check(content)
                return content
            except OSError:  # damaged since it was written: it is fetched again
                path.unlink()

        def read():
            content = self._request(url)
            check(content)
            return content

        content = retried(read, self.retries, "SDSS")
        atomic_write(lambda partial: partial.write_bytes(content), path)
        return content

    def _request(self, url):
        time.sleep(self.wait)
        return self.download(url, self.timeout)


def _cut(data, wcs, coord, size):
    """The pixels around a position; NaN outside of the frame."""
    try:
        return Cutout2D(data, coord, size, wcs, mode="partial", fill_value=np.nan).data
    except NoOverlapError:
        return np.full((size, size), np.nan, np.float32)


def _read_cutout(path):
    """An image that was kept, or None if there is none, or a damaged one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # truncated: no data, and so cut again
            return fits.getdata(io.BytesIO(path.read_bytes())).astype(np.float32)
    except (OSError, TypeError, ValueError, AttributeError):
        return None


def _judged(image):
    """The image, or None, and what is wrong with it."""
    if np.isnan(image).all():
        return None, "outside the frame"
    return image, "cut by the edge of the frame" if np.isnan(image).any() else ""


def _decode(content, size):
    """A whole JPG of the size that was asked for; anything else is an OSError."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            image = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:  # pillow's words for truncated and for foreign
        raise OSError(f"the answer is not a whole JPG, but begins with {content[:40]!r}") from error
    if image.shape != (size, size, 3):
        raise OSError(f"the image has the shape {image.shape}, not {(size, size, 3)}")
    return image


def _column(table, name):
    if table is None or name not in table.colnames:
        raise ValueError(f"galaxies must be a table with the column {name!r}, as fetch_sdss_galaxies gives it")
    return table[name]


def _requests(url, timeout):
    import requests

    answer = requests.get(url, timeout=timeout)
    if answer.status_code == 404:
        raise FileNotFoundError(f"{url} does not exist")
    answer.raise_for_status()
    return answer.content
