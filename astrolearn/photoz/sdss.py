"""
Galaxies of the Sloan Digital Sky Survey with spectroscopic redshifts, from SkyServer.

``TOP n`` of a query is one stripe of the sky, because rows lie in the order of the plates. Here the rows are drawn by
the remainder of their identifiers, which is the same everywhere on the sky. Identifiers stay 64-bit integers, and an
object that stands there twice, by identifier or by position, is taken once: redshifts of galaxies that a network has
seen in training are no test of it.
"""

import time
import warnings
from importlib.util import find_spec

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table, unique, vstack
from astropy.utils.exceptions import AstropyWarning

from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.photoz.duplicates import grouped_positions

__all__ = ["fetch_sdss_galaxies", "retried"]

BANDS = "ugriz"
_PARTS = 997  # a prime: the remainders of identifiers are in no step with how these are made
_ROWS, _PARTS_AT_ONCE = 50_000, 250  # of one query: what a server gives within minutes, and a URL can hold
# conditions, and about how many galaxies of data release 17 meet them
SELECTIONS = {
    "main": (
        "s.class = 'GALAXY' AND s.zWarning = 0 AND s.sciencePrimary = 1 AND p.clean = 1 "
        "AND p.petroMag_r - p.extinction_r < 17.8 AND s.z BETWEEN 0.005 AND 0.4",
        700_000,
    ),
    "menko2024": (
        "s.class = 'GALAXY' AND s.zWarning = 0 AND s.zOffset = 0 AND s.zErr > 0 AND s.z > 1e4 * s.zErr "
        "AND s.velDispErr > 0 AND s.velDisp > 10 * s.velDispErr",
        19_584,
    ),
}
_COLUMNS = (
    "s.specObjID", "p.objID", "p.ra", "p.dec", "s.z AS redshift", "s.zErr AS redshift_err",
    "p.run", "p.rerun", "p.camcol", "p.field",
    *(f"p.modelMag_{b} - p.extinction_{b} AS {b}" for b in BANDS), *(f"p.modelMagErr_{b} AS {b}_err" for b in BANDS),
    "p.petroMag_r - p.extinction_r AS r_petro", "p.extinction_r",
)  # fmt: skip
_NAMES = [column.split(" AS ")[-1].split(".")[-1] for column in _COLUMNS]
_WHOLE = "specObjID", "objID"  # integers of 64 bits, of which a float would lose the last digits
# the last column, too: of a line that was cut off it is missing
_NEEDED = *_WHOLE, "ra", "dec", "redshift", "run", "rerun", "camcol", "field", _NAMES[-1]
_SAME_PLACE = 2 * u.arcsec


def fetch_sdss_galaxies(
    n=5000, *, selection="main", data_release=17, random_state=0, timeout=300, retries=3, query=None
):
    """
    Fetch galaxies with spectroscopic redshifts, spread over the whole survey.

    Parameters
    ----------
    n : int, optional
        How many; fewer come if there are no more.
    selection : {"main", "menko2024"} or str, optional
        ``"main"`` (default): the Main Galaxy Sample (Strauss et al. 2002), r < 17.8 after extinction, 0.005 < z < 0.4.
        ``"menko2024"``: the small errors of redshift and velocity dispersion of Menkó's talk, 19,584 objects. Or
        conditions in SQL on ``s`` (SpecObj) and ``p`` (PhotoObj).
    data_release : int, optional
        Default: 17.
    random_state : int, Generator or None, optional
        Which of the galaxies that meet the conditions. Default: 0, the same ones every time.
    timeout : float, optional
        In s, for each query.
    retries : int, optional
        How often a query that failed is sent again, each time after a longer wait.
    query : callable, optional
        ``query(sql, data_release, timeout)`` gives a `~astropy.table.Table` or `None`. Default: that of
        astroquery.sdss, which the extra ``sdss`` installs.

    Returns
    -------
    table : SampleTable
        ``specObjID``, ``objID`` (uint64), ``coord``, ``redshift``, ``redshift_err``, the magnitudes ``u`` to ``z`` less
        extinction with errors ``u_err`` to ``z_err``, ``r_petro``, ``extinction_r`` (mag) and ``run``, ``rerun``,
        ``camcol``, ``field``; -9999 are NaN. ``meta["n_duplicates"]`` is how many rows were dropped.

    Raises
    ------
    ImportError
        If astroquery is needed and not there.
    OSError
        If the server does not answer, or not with a table.
    ValueError
        If no galaxy meets the conditions.
    """
    if n < 1:
        raise ValueError(f"n={n} must be 1 or more")
    conditions, expected = SELECTIONS.get(selection, (selection, 100_000))
    query = query or _astroquery
    rng = make_rng(random_state)
    found, n_rows, parts = [], 0, list(rng.permutation(_PARTS))
    while parts and n_rows < n:
        wanted = min(1.2 * (n - n_rows), _ROWS) * _PARTS / expected
        share = min(max(int(wanted), 1), _PARTS_AT_ONCE, len(parts))
        now, parts = parts[:share], parts[share:]
        answer = retried(lambda now=now: _ask(query, conditions, now, data_release, timeout), retries, "SkyServer")
        if answer is not None:
            found.append(answer)
        n_rows = len(_deduplicated(vstack(found, metadata_conflicts="silent"))) if found else 0
        # what came tells how many there are in a part
        expected = max((n_rows / (_PARTS - len(parts))) * _PARTS, 1) if n_rows else expected / 4
    if not found:
        raise ValueError(f"no galaxy of data release {data_release} meets the conditions: {conditions}")
    every = vstack(found, metadata_conflicts="silent")
    rows = _deduplicated(every)
    chosen = np.sort(rng.permutation(len(rows))[:n])
    table = _with_units(rows[chosen])
    table.meta = {"selection": conditions, "data_release": data_release, "n_duplicates": len(every) - len(rows)}
    return table


def retried(call, retries, whom, wait=1.0):
    """
    Call something that may fail for a while: again after 1, 2, 4 ... seconds.

    Parameters
    ----------
    call : callable
    retries : int
        Calls after the first.
    whom : str
        Whose fault it is, for the message.
    wait : float, optional
        First wait, in s.

    Raises
    ------
    OSError
        If it failed each time.
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except FileNotFoundError:  # it will not be there the next time either
            raise
        except (OSError, TimeoutError) as error:  # those of requests are OSErrors
            if attempt == retries:
                raise OSError(f"{whom} gave no usable answer in {retries + 1} attempts: {error}") from error
            time.sleep(wait * 2**attempt)


def _sql(what, conditions, parts):
    remainders = ", ".join(str(part) for part in sorted(parts))
    return (
        f"SELECT {what} FROM SpecObj AS s JOIN PhotoObj AS p ON p.objID = s.bestObjID "
        f"WHERE ({conditions}) AND s.specObjID % {_PARTS} IN ({remainders})"
    )


def _ask(query, conditions, parts, data_release, timeout):
    """Rows of some parts, or None for none; everything that is not a table is an OSError."""
    answer = _answer(query, _sql(", ".join(_COLUMNS), conditions, parts), data_release, timeout)
    if answer is not None and len(answer):
        return _checked(answer)
    # astroquery also calls it no answer when a page of one line came in place of a table: a count says zero or fails
    counted = _answer(query, _sql("COUNT(*) AS n", conditions, parts), data_release, timeout)
    if counted is None or list(counted.colnames) != ["n"] or len(counted) != 1 or counted["n"][0] != 0:
        raise OSError("no rows came, but the server does not say either that there are none")
    return None


def _answer(query, sql, data_release, timeout):
    """What the query gives; an OSError for everything that may be better the next time."""
    try:
        return query(sql, data_release, timeout)
    except (FileNotFoundError, IsADirectoryError) as error:  # its parsers took a short page for the name of a file
        raise OSError(f"the answer is not a table, but {error}") from error
    except (OSError, TimeoutError, ImportError):
        raise
    except Exception as error:  # astroquery passes on whatever its parsers meet in an error page
        if "error_message" in str(error) or "RemoteServiceError" in type(error).__name__:
            raise ValueError(f"SkyServer refuses the query: {error}") from error
        raise OSError(f"the answer is not a table ({type(error).__name__}: {error})") from error


def _checked(answer):
    """The rows, with NaN where there is nothing; an OSError if they are not those that were asked for, or not whole."""
    spelling = {name.lower(): name for name in _NAMES}
    names = [spelling.get(name.lower(), name) for name in answer.colnames]
    if set(_NAMES) - set(names):
        raise OSError(f"the answer is not the table that was asked for, but begins with {answer.colnames[0][:40]!r}")
    rows = Table()
    for name, own in zip(names, answer.colnames, strict=True):
        column = np.ma.asarray(answer[own])
        if column.dtype.kind not in "iuf":
            raise OSError(f"the column {name} is not of numbers: the answer may have been cut off")
        if name in _WHOLE:
            if column.dtype.kind not in "iu":
                raise OSError(f"the identifiers {name} came as {column.dtype}, which cannot hold them")
            column = column.astype(np.uint64)
        else:
            column = column.astype(float).filled(np.nan)
        if name in _NEEDED and (np.ma.getmaskarray(column).any() or not np.isfinite(column).all()):
            raise OSError(f"the column {name} has gaps: the answer may have been cut off")
        rows[name] = np.ma.getdata(column)
    return rows


def _deduplicated(rows):
    """Rows of which no two have an identifier or a place in the sky in common: the first of each."""
    rows = unique(unique(rows, "specObjID"), "objID")
    coord = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    return rows[np.unique(grouped_positions(coord, _SAME_PLACE), return_index=True)[1]]


def _with_units(rows):
    table = SampleTable()
    table["specObjID"], table["objID"] = rows["specObjID"], rows["objID"]
    table["coord"] = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    for name in ("redshift", "redshift_err"):
        table[name] = np.asarray(rows[name], dtype=float)
    for name in (*BANDS, *(f"{b}_err" for b in BANDS), "r_petro", "extinction_r"):
        values = np.asarray(rows[name], dtype=float)
        table[name] = np.where(values <= -999, np.nan, values) * u.mag
    for name in ("run", "rerun", "camcol", "field"):
        table[name] = np.asarray(rows[name], dtype=int)
    return table


def _astroquery(sql, data_release, timeout):
    if find_spec("astroquery") is None:
        raise ImportError('SDSS needs astroquery: pip install "astrolearn[sdss]"')
    from astroquery.sdss import SDSS

    with warnings.catch_warnings():
        # identifiers beyond 2^63 are read as text first; astroquery then makes them unsigned integers, all digits kept
        warnings.filterwarnings("ignore", "OverflowError converting to IntType", AstropyWarning)
        return SDSS.query_sql(sql, data_release=data_release, timeout=timeout, cache=False)
