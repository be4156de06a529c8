"""HEALPix maps in FITS files, in the dialects of gamma-ray astronomy.

fermitools (``gtbin`` HPX, ``gtexpcube2``), gammapy (GADF), GALPROP and healpy agree that a map is a table with a column
per energy bin and disagree on nearly all names. Their conventions are listed in the "Data formats for gamma-ray
astronomy" (https://gamma-astro-data-formats.readthedocs.io, "HEALPix sky maps"). Files are written in the fermitools
form; what it has no place for goes to further extensions.
"""

import json
import re
import warnings
from io import BytesIO

import astropy.units as u
import healpy as hp
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits, registry
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning

from astrolearn.core.tables import SampleTable, atomic_write

from .fits_tools import column_unit, header_meta, open_fits, read_energies, read_table
from .psf import RadialPSF
from .skymap import SkyMap, frame_name

__all__ = ["healpix_hdu", "read_skymap", "write_skymap"]

_PIXEL_COLUMNS = {"PIX", "PIXEL", "INDEX", "IPIX"}
_BIN_COLUMN = re.compile(r"(?:CHANNEL|ENERGY|BIN)_?(\d+)$", re.IGNORECASE)
_CREATOR = "astrolearn"


def read_skymap(path, *, hdu=None, column=None, frame=None, energy_edges=None, unit=None):
    """
    Read a HEALPix map from FITS; also called as `SkyMap.read`.

    Understands fermitools counts and exposure cubes, GADF (gammapy; implicit, explicit and sparse), GALPROP and
    healpy's own files, in RING and NESTED order, of the whole sky and of parts: pixels that the file does not hold,
    and those that are UNSEEN or NaN, are masked. Energies at which values hold (exposure cubes have no bins) are
    ``meta["energies"]``.

    Parameters
    ----------
    path : path-like
        The file, may be compressed.
    hdu : str or int, optional
        The extension. Default: the first one with a HEALPix map.
    column : str or list of str, optional
        The column(s) with the energy bins. Default: CHANNELn, ENERGYn or Binn; else the only column; else the one that
        is named ``counts``, and then columns ``exposure`` (cm2 s) and ``background`` are read, too.
    frame : {"galactic", "icrs"}, optional
        Frame of the pixels, instead of what the file says. Files that do not say are taken to be Galactic, except for
        fermitools exposure cubes, which are then equatorial.
    energy_edges : `~astropy.units.Quantity`, optional
        Instead of what the file says.
    unit : unit, optional
        Instead of what the file says; counts if it says nothing.

    Returns
    -------
    SkyMap

    Raises
    ------
    OSError
        If the file cannot be read (FileNotFoundError if there is none).
    ValueError
        If it holds no HEALPix map, or one that is not understood.
    """
    with open_fits(path) as hdus:
        table = healpix_hdu(hdus, hdu)
        if table is None:
            raise ValueError("no HEALPix map in this file" if hdu is None else f"extension {hdu} is no HEALPix map")
        layout = _Layout(table)
        names, attached = _bin_columns(table, column, layout)
        is_exposure = table.name == "HPXEXPOSURES"
        own = table.header.get("CREATOR") == _CREATOR
        default = u.dimensionless_unscaled if own else u.cm**2 * u.s if is_exposure else u.ct
        if unit is None:
            text = table.columns[names[0]].unit if names else None
            unit = column_unit(text or table.header.get("BUNIT"), default, "the map")
        edges, energies = read_energies(hdus, table)
        if layout.sparse:
            data = layout.fill_sparse(table, 1 if edges is None else len(edges) - 1)
        else:
            data = layout.fill(table, names)
        meta = header_meta(hdus[0].header, table.header)
        if energies is not None:
            meta["energies"] = energies
        skymap = SkyMap(
            data, unit=unit, frame=frame or layout.frame or ("icrs" if is_exposure else "galactic"), nest=layout.nest,
            energy_edges=edges if energy_edges is None else energy_edges, meta=meta,
        )
        for name in attached:
            setattr(skymap, name.lower(), layout.fill(table, [name]))
        if own:
            _read_attached(hdus, skymap)
    return skymap


def write_skymap(skymap, path, overwrite=False):
    """
    Write a map to FITS; also called as `SkyMap.write`.

    The counts follow the fermitools convention for HEALPix counts cubes (table SKYMAP with columns CHANNEL1, ...;
    EBOUNDS in keV), where pixels that are masked and 0 are UNSEEN. Mask, background, exposure, PSF, the table of true
    sources and ``meta`` have extensions of their own, and `read_skymap` gives all of it back.

    Parameters
    ----------
    skymap : SkyMap
        The map.
    path : path-like
        The file; ``.gz`` compresses it. It appears complete or not at all.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and must not be replaced.
    OSError
        If it cannot be written.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If entries of ``meta`` are not numbers, strings, Quantities, or lists and dicts of them, and so are left out.
    """
    data = skymap.data
    if skymap.mask is not None:
        data = np.where(~skymap.observed & (data == 0), data.dtype.type(hp.UNSEEN), data)
    table = _bin_table("SKYMAP", data, str(skymap.unit.to_string("fits")))
    table.header.update({
        "PIXTYPE": "HEALPIX", "ORDERING": "NESTED" if skymap.nest else "RING", "NSIDE": skymap.nside,
        "COORDSYS": "GAL" if skymap.frame == "galactic" else "CEL", "INDXSCHM": "IMPLICIT", "FIRSTPIX": 0,
        "LASTPIX": skymap.n_pix - 1, "HPX_CONV": "FGST-CCUBE", "CREATOR": _CREATOR,
    })
    if hp.isnsideok(skymap.nside, nest=True):
        table.header["ORDER"] = hp.nside2order(skymap.nside)
    hdus = fits.HDUList([fits.PrimaryHDU(), table])
    if skymap.energy_edges is not None:
        hdus.append(_energy_table(skymap.energy_edges))
    # the attached arrays as they are stored, not repeated over the sky where they are constant
    for name, array in (("MASK", skymap.mask), ("BACKGROUND", skymap._background), ("EXPOSURE", skymap._exposure)):
        if array is not None:
            hdus.append(_bin_table(name, np.atleast_2d(array), "cm2 s" if name == "EXPOSURE" else None))
    if skymap.psf is not None:
        theta, profile = skymap.psf.theta.value, skymap.psf.profile.value
        hdus.append(fits.BinTableHDU.from_columns(
            [fits.Column("Psf", f"{len(theta)}D", unit="sr-1", array=profile)], name="PSF"))
        hdus.append(fits.BinTableHDU.from_columns([fits.Column("Theta", "D", unit="deg", array=theta)], name="THETA"))
    if skymap.sources is not None:
        sources = skymap.sources
        hdus.append(_source_table(QTable({"coord": sources}) if isinstance(sources, SkyCoord) else sources))
    if skymap.meta:
        hdus.append(_meta_table(skymap.meta))
    atomic_write(hdus.writeto, path, overwrite=overwrite)


def healpix_hdu(hdus, hdu=None):
    """
    Find the table with a HEALPix map.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    hdu : str or int, optional
        The extension. Default: the first one with a map.

    Returns
    -------
    `~astropy.io.fits.BinTableHDU` or None
        None if there is no map.
    """
    for table in hdus if hdu is None else [hdus[hdu]]:
        header = table.header
        if isinstance(table, fits.BinTableHDU) and ("HPX_CONV" in header or header.get("PIXTYPE") == "HEALPIX"):
            return table
    return None


class _Layout:
    """Which pixel each row of a map's table is."""

    def __init__(self, table):
        header = table.header
        ordering = str(header.get("ORDERING", "RING")).strip().upper()
        if ordering not in {"RING", "NEST", "NESTED"}:
            raise ValueError(f"ORDERING is {ordering!r}, neither RING nor NESTED")
        self.nest = ordering != "RING"
        frame = str(header.get("COORDSYS", header.get("COORDTYPE", ""))).strip()
        self.frame = frame_name(frame) if frame else None
        self.pixel_column = next((name for name in table.columns.names if name.upper() in _PIXEL_COLUMNS), None)
        scheme = str(header.get("INDXSCHM", "EXPLICIT" if self.pixel_column else "IMPLICIT")).strip().upper()
        if scheme not in {"IMPLICIT", "EXPLICIT", "SPARSE"}:
            raise ValueError(f"INDXSCHM is {scheme!r}; only IMPLICIT, EXPLICIT and SPARSE are understood")
        self.sparse = scheme == "SPARSE"
        if scheme == "IMPLICIT":
            self.pixel_column = None
        elif self.pixel_column is None:
            there = ", ".join(table.columns.names)
            raise ValueError(f"INDXSCHM is {scheme}, but there is no column PIX; there are {there}")
        if "NSIDE" in header:
            self.nside = int(header["NSIDE"])
        elif "ORDER" in header:
            self.nside = 2 ** int(header["ORDER"])
        elif self.pixel_column is None:
            self.nside = hp.npix2nside(np.size(table.data[table.columns.names[0]]))
        else:
            raise ValueError("the header has neither NSIDE nor ORDER")
        if not hp.isnsideok(self.nside, nest=self.nest):
            raise ValueError(f"NSIDE is {self.nside}, which no {ordering} map has")
        self.n_pix = hp.nside2npix(self.nside)
        self.pixels = None if self.pixel_column is None else self._check(np.ravel(table.data[self.pixel_column]))
        self.region = str(header.get("HPX_REG", header.get("HPXREGION", ""))).strip().upper()

    def _check(self, pixels):
        pixels = pixels.astype(np.int64)
        if pixels.size and (pixels.min() < 0 or pixels.max() >= self.n_pix):
            raise ValueError(f"{self.pixel_column} has pixels beyond those of NSIDE {self.nside}")
        return pixels

    def fill(self, table, names):
        """Map (n_energy, n_pix) from columns of the table; UNSEEN where it holds nothing."""
        # healpy puts 1024 pixels in a row
        columns = [np.ravel(table.data[name]) for name in names]
        n_row = self.n_pix if self.pixels is None else len(self.pixels)
        if len(columns[0]) != n_row:
            raise ValueError(f"column {names[0]} has {len(columns[0])} values for {n_row} pixels")
        dtype = np.float64 if columns[0].dtype.itemsize > 4 else np.float32
        filled = np.full((len(names), self.n_pix), hp.UNSEEN, dtype=dtype)
        for row, values in zip(filled, columns, strict=True):
            row[slice(None) if self.pixels is None else self.pixels] = values
        return filled

    def fill_sparse(self, table, n_energy):
        """Map (n_energy, n_pix) from rows of pixel, channel, value: the rest of the file's region is 0."""
        values = table.data["VALUE"]
        channel = table.data["CHANNEL"].astype(int) if "CHANNEL" in table.columns.names else np.zeros(len(values), int)
        if channel.size and not 0 <= channel.min() <= channel.max() < n_energy:
            raise ValueError(f"the sparse map has channels up to {channel.max()} for {n_energy} energy bins")
        filled = np.zeros((n_energy, self.n_pix), np.float64 if values.itemsize > 4 else np.float32)
        filled[channel, self.pixels] = values
        if self.region:
            disk = re.fullmatch(r"DISK\(([^,]+),([^,]+),([^,]+)\)", self.region)
            if not disk:
                raise ValueError(f"the region {self.region} of a sparse map is not DISK(lon,lat,radius)")
            lon, lat, radius = map(float, disk.groups())
            centre = hp.ang2vec(lon, lat, lonlat=True)
            outside = np.ones(self.n_pix, dtype=bool)
            outside[hp.query_disc(self.nside, centre, np.deg2rad(radius), nest=self.nest)] = False
            filled[:, outside] = hp.UNSEEN
        return filled


def _bin_columns(table, column, layout):
    """Names of the columns with energy bins, and of those that belong to them as exposure or background."""
    names = [name for name in table.columns.names if name != layout.pixel_column]
    if layout.sparse:
        return [], []
    if column is not None:
        wanted = [column] if isinstance(column, str) else list(column)
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}; there are {', '.join(names)}")
        return wanted, []
    numbered = {int(match[1]): name for name in names if (match := _BIN_COLUMN.match(name))}
    if numbered:
        return [numbered[number] for number in sorted(numbered)], []
    if len(names) == 1:
        return names, []
    counts = [name for name in names if name.lower() == "counts"]
    if len(counts) != 1:
        raise ValueError(f"which column is the map? Choose one with column=...; there are {', '.join(names)}")
    return counts, [name for name in names if name.lower() in {"exposure", "background"}]


def _bin_table(name, array, unit):
    """Table with a column per row of the array."""
    code = {"b": "L", "f": "E" if array.dtype.itemsize == 4 else "D"}[array.dtype.kind]
    columns = [fits.Column(f"CHANNEL{number}", code, unit=unit, array=row) for number, row in enumerate(array, start=1)]
    return fits.BinTableHDU.from_columns(columns, name=name)


def _read_bin_table(hdu):
    return np.array([hdu.data[name] for name in hdu.columns.names])


def _energy_table(edges):
    energies = edges.to_value(u.keV)
    table = fits.BinTableHDU.from_columns([
        fits.Column("CHANNEL", "J", array=np.arange(1, len(energies))),
        fits.Column("E_MIN", "D", unit="keV", array=energies[:-1]),
        fits.Column("E_MAX", "D", unit="keV", array=energies[1:]),
    ], name="EBOUNDS")
    table.header["EUNIT"] = (edges.unit.to_string("fits"), "unit in which the bins were chosen")
    return table


def _source_table(sources):
    """Table HDU through astropy's own writer, which alone knows how to store coordinates."""
    buffer = BytesIO()
    sources.write(buffer, format="fits")
    buffer.seek(0)
    table = fits.open(buffer)[1]
    table.name = "SOURCES"
    return table


def _meta_table(meta):
    rows, left_out = [], []
    for key, value in meta.items():
        try:
            rows.append((str(key), json.dumps(value, default=_encode)))
        except TypeError:
            left_out.append(str(key))
    if left_out:
        warnings.warn(f"meta entries that cannot be written to FITS are left out: {', '.join(left_out)}",
                      AstropyUserWarning, stacklevel=4)
    keys, values = zip(*rows, strict=True) if rows else ((), ())
    return fits.BinTableHDU.from_columns([
        fits.Column(name, f"{max(map(len, texts), default=1)}A", array=np.array(texts, dtype=str))
        for name, texts in (("KEY", keys), ("VALUE", values))
    ], name="META")


def _encode(value):
    if isinstance(value, u.Quantity):
        return {"__quantity__": value.value.tolist(), "unit": str(value.unit)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value)} has no JSON form")


def _decode(pairs):
    return u.Quantity(pairs["__quantity__"], pairs["unit"]) if "__quantity__" in pairs else pairs


def _read_attached(hdus, skymap):
    """Read the extensions that `write_skymap` adds to the counts."""
    if "MASK" in hdus:
        skymap.mask = _read_bin_table(hdus["MASK"])
    if "BACKGROUND" in hdus:
        skymap.background = _read_bin_table(hdus["BACKGROUND"])
    if "EXPOSURE" in hdus:
        skymap.exposure = _read_bin_table(hdus["EXPOSURE"])
    if "PSF" in hdus:
        skymap.psf = RadialPSF(*read_table(hdus, "THETA", {"Theta": u.deg}), *read_table(hdus, "PSF", {"Psf": None}))
    if "SOURCES" in hdus:
        skymap.sources = SampleTable.read(hdus["SOURCES"], format="fits")
    if "META" in hdus:
        rows = hdus["META"].data
        skymap.meta = {key: json.loads(value, object_hook=_decode)
                       for key, value in zip(rows["KEY"], rows["VALUE"], strict=True)}
    else:
        skymap.meta = {}


registry.register_reader("fits", SkyMap, read_skymap)
registry.register_writer("fits", SkyMap, write_skymap)
