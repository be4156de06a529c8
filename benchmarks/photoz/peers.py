"""
What people use today, on the same tables.

Every peer goes from training and test galaxies to points and, where it has them, densities on a grid. Those of
scikit-learn get magnitudes, colours of neighbouring bands and, where this is better, errors; what was not detected is
set to a faint magnitude. Their settings are chosen by cross-validation within the training galaxies, those of RAIL's by
a fifth of these, for the smallest sigma_MAD.
"""

import contextlib
import io
import tempfile
import warnings
from importlib import import_module

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astrolearn.photoz.metrics import sigma_mad, sigma_mad_scorer

__all__ = ["GRIDS", "PEERS", "TUNING", "features", "predict"]

TUNING = "the choice of their settings (and of the errors as features) within the training galaxies, and the prediction"
_GRID_SIZE = 301
_FAINT = 30.0

GRIDS = {
    "linear regression": (LinearRegression(), {}),
    "k nearest neighbours": (
        make_pipeline(StandardScaler(), KNeighborsRegressor(weights="distance")),
        {"kneighborsregressor__n_neighbors": [8, 15, 30]},
    ),
    "random forest": (
        RandomForestRegressor(300, random_state=0, n_jobs=2),
        {"min_samples_leaf": [1, 3, 5], "max_features": [0.33, 0.66, 1.0]},
    ),
    "gradient boosting": (
        HistGradientBoostingRegressor(random_state=0),
        {"learning_rate": [0.03, 0.1], "max_leaf_nodes": [15, 31], "max_iter": [300]},
    ),
}
_RAIL = {
    "FlexZBoost (RAIL)": ("flexzboost", "FlexZBoost", [{"max_basis": 20}, {"max_basis": 35}, {"max_basis": 50}]),
    "GPz (RAIL)": ("gpz", "GPz", [{"n_basis": 50}, {"n_basis": 100}]),
}
PEERS = (*GRIDS, *_RAIL)


def features(table, with_errors=True):
    """Magnitudes, colours of neighbouring bands, and errors: an array (n, n_features)."""
    bands, errors = _columns(table)
    magnitudes = np.stack([table[name].value for name in bands], axis=1)
    magnitudes = np.where(np.isnan(magnitudes) | (magnitudes > 90), _FAINT, magnitudes)
    columns = [magnitudes, magnitudes[:, :-1] - magnitudes[:, 1:]]
    if errors and with_errors:
        values = np.stack([table[name].value for name in errors], axis=1)
        columns.append(np.where((values > 0) & (values < 90), values, 1.0))
    return np.hstack(columns)


def predict(name, table, redshift, test):
    """
    Choose the settings of a peer, train it and predict.

    Parameters
    ----------
    name : str
        One of `PEERS`.
    table, redshift
        Training galaxies.
    test
        Galaxies to predict.

    Returns
    -------
    points : `numpy.ndarray` (n,), or None
        `None` for a peer that cannot do this table, because it needs errors.
    densities : tuple of `numpy.ndarray` (n, n_z) and (n_z,), or None
    """
    redshift = redshift.value
    if name in _RAIL:
        return _rail(*_RAIL[name], table, redshift, test)
    estimator, grid = GRIDS[name]
    searches = []
    for with_errors in (False, True) if _columns(table)[1] else (False,):
        search = GridSearchCV(estimator, grid, scoring=sigma_mad_scorer, cv=3)
        searches.append((search.fit(features(table, with_errors), redshift), with_errors))
    search, with_errors = max(searches, key=lambda one: one[0].best_score_)
    return search.predict(features(test, with_errors)), None


def _columns(table):
    """Names of the bands and of their errors."""
    return tuple([name for name in table.colnames if ("err" in name) == wanted] for wanted in (False, True))


def _rail(module, name, choices, table, redshift, test):
    if module == "gpz" and not _columns(table)[1]:
        return None, None
    train, held = train_test_split(np.arange(len(table)), test_size=0.2, random_state=0)
    widths = []
    for options in choices:
        try:
            points, _ = _run_rail(module, name, options, table[train], redshift[train], table[held])
            widths.append(sigma_mad(redshift[held], points))
        except np.linalg.LinAlgError:  # of more basis functions than so few galaxies can hold
            widths.append(np.inf)
    if not np.isfinite(widths).any():
        return None, None
    return _run_rail(module, name, choices[int(np.argmin(widths))], table, redshift, test)


def _run_rail(module, name, options, table, redshift, test):
    """RAIL's stages with their defaults, but for the names of the bands, the range of redshifts and the options."""
    stages = import_module(f"rail.estimation.algos.{module}")
    bands, errors = _columns(table)
    high = float(redshift.max() * 1.05)
    options = options | {
        "hdf5_groupname": "", "bands": bands, "err_bands": errors, "ref_band": bands[len(bands) // 2],
        "mag_limits": {band: float(np.nanmax(_detected(table[band]))) for band in bands}, "nondetect_val": 99.0,
        "redshift_col": "redshift", "zmin": 0.0, "zmax": high, "nzbins": _GRID_SIZE, "output_mode": "return",
        "replace_error_vals": [0.1] * len(bands), "include_mag_err": bool(errors),
    }  # fmt: skip
    silent = contextlib.redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), silent, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002 (GPz draws from the global generator)
        informer = _stage(getattr(stages, f"{name}Informer"), "inform", options)
        model = informer.inform(_plain(table) | {"redshift": redshift})
        estimator = _stage(getattr(stages, f"{name}Estimator"), "estimate", options | {"model": model})
        ensemble = estimator.estimate(_plain(test) | {"redshift": np.zeros(len(test))}).data
        grid = np.linspace(0.0, high, _GRID_SIZE)
        return np.ravel(ensemble.median()), (ensemble.pdf(grid), grid)


def _stage(kind, name, options):
    known = set(kind.config_options) | {"model", "output_mode"}
    return kind.make_stage(name=name, **{key: value for key, value in options.items() if key in known})


def _detected(column):
    values = np.asarray(column.value, dtype=float)
    return np.where(values < 90, values, np.nan)


def _plain(table):
    return {name: np.asarray(table[name].value, dtype=float) for name in table.colnames}
