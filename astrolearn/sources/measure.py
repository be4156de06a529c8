"""How bright each source is and how significant, with its neighbours accounted for.

At given positions the counts are a linear model: each source's PSF times its counts, and the background times a factor
for every block of 16 x 16 pixels (the background that served to find sources holds some of their light: here the two
are told apart). All are fitted together, bin by bin, by Fisher scoring of the Poisson likelihood (iteratively
reweighted least squares), on pixels matched to the bin's PSF. Sources interact only through shared pixels, so the
matrices are sparse, and the variance of one source is that of a small system: itself and the neighbours it overlaps
with.

Light curves come from the same fit: with the weights of the whole, counts are linear in the photons, so those of each
year are one more right-hand side of the same factorised system, and they add up to the counts of the whole. Nothing in
it supposes that a source, its neighbours or the background keep their brightness.
"""

import numpy as np
from scipy.sparse import csr_array, diags_array, hstack
from scipy.sparse.linalg import splu
from scipy.special import gammaln, ndtri_exp
from scipy.stats import chi2

from astrolearn.core.progress import progress
from astrolearn.sources.features import LEVELS, bin_levels

__all__ = ["Photometry", "local_variances", "measure"]

_REACH = 4  # pixels to each side of a source that take part
_SUB = 3  # sub-pixels along a pixel next to a source
_ROUNDS = 4
_OVERLAP = 0.03  # correlation of two sources' counts below which they do not blur each other's errors
_NEIGHBOURS = 10  # that enter the error of one source


class Photometry:
    """
    Fitted counts.

    Attributes
    ----------
    counts, counts_error : arrays, shape (n_source, n_energy)
        Photons of each source over the whole PSF; 0 for sources outside the map.
    significance : array, shape (n_source,)
        In standard deviations.
    yearly_counts : array, shape (n_source, n_year, n_energy)
        Photons of each year, which add up to ``counts``; the error of one of n equally long years of a steady source
        among steady neighbours is ``counts_error / sqrt(n)``. Without years, the second axis has length 0.
    surroundings : array, shape (n_source, n_energy)
        Photons per sr that the fit ascribes to everything else, background and neighbours, averaged with the PSF; 0
        for sources outside the map.
    misfit : array, shape (n_source, n_energy)
        Squared deviation of the pixels from the fit in units of its variance, averaged with the PSF. Of the right model
        it is one, less what the fitted counts follow of the scatter, which is most where the PSF lies within a pixel or
        two; with few photons it scatters much. 0 for sources outside the map.
    """

    def __init__(self, counts, counts_error, significance, yearly_counts, surroundings, misfit):
        self.counts, self.counts_error, self.significance = counts, counts_error, significance
        self.yearly_counts, self.surroundings, self.misfit = yearly_counts, surroundings, misfit


def measure(observation, background, coords, verbose=0, yearly=None):
    """
    Counts and significance of sources at known positions.

    The significance is that of the likelihood ratio with and without the source, its counts free in every bin: the
    test statistic is compared with a chi-squared distribution of as many degrees of freedom as bins, halved because
    only positive counts are sources.

    Parameters
    ----------
    observation : Observation
    background : array, shape (n_energy, *lattice.shape)
        Expected counts without sources.
    coords : `~astropy.coordinates.SkyCoord`, shape (n_source,)
    verbose : int, optional
        With 1, a progress bar.
    yearly : array, shape (n_year, n_energy, *lattice.shape), optional
        Counts of each year, of which those of the observation are the sum.

    Returns
    -------
    Photometry

    Raises
    ------
    ValueError
        If the years have another shape than the observation, or do not add up to it.
    """
    n_source, n_energy = len(coords), observation.n_energy
    if yearly is None:
        yearly = np.zeros((0, *observation.counts.shape), np.float32)
    else:
        _check_years(yearly, observation.counts)
    counts, error, statistic, surroundings, misfit = (np.zeros((n_source, n_energy)) for _ in range(5))
    yearly_counts = np.zeros((n_source, len(yearly), n_energy))
    if n_source:
        levels = bin_levels(observation) - observation.undersampled  # relative to the map's own pixels
        view = observation
        bar = progress(None, "measuring sources", total=n_energy, verbose=verbose)
        for level in range(LEVELS):
            here = np.flatnonzero(levels == level)
            footprints = _Footprints(view, coords) if len(here) else None
            for i in here:
                fit = _fit_bin(view, background[i], i, footprints.fractions(i), yearly[:, i])
                counts[:, i], error[:, i], statistic[:, i], yearly_counts[:, :, i] = fit[:4]
                surroundings[:, i], misfit[:, i] = fit[4] / view.lattice.pixel_size**2, fit[5]
                bar.update()
            if level < LEVELS - 1 and (levels > level).any():
                background, yearly = view.lattice.sum_children(background), view.lattice.sum_children(yearly)
                view = view.coarsened()
        bar.close()
    significance = _standard_deviations(statistic.sum(axis=1), n_energy)
    return Photometry(counts, error, significance, yearly_counts, surroundings, misfit)


def _check_years(yearly, counts):
    if yearly.shape[1:] != counts.shape:
        raise ValueError(f"the years have the shape {yearly.shape}, but should have (n_year, *{counts.shape})")
    if not np.allclose(np.sum(yearly, axis=0), counts):
        raise ValueError("the counts of the years do not add up to those of the observation: give all its years")


def _standard_deviations(statistic, n_free):
    """One-sided Gaussian equivalent of a test statistic with ``n_free`` free counts."""
    # beyond this the tail probability underflows, and the leading terms of both tails are exact to 1e-3
    far = statistic > 600
    z = np.maximum(-ndtri_exp(chi2.logsf(np.where(far, 0, statistic), n_free) - np.log(2)), 0)
    half = statistic[far] / 2
    log_p = -half + (n_free / 2 - 1) * np.log(half) - gammaln(n_free / 2) - np.log(2)
    deviation = np.sqrt(-2 * log_p)
    for _ in range(3):
        deviation = np.sqrt(-2 * (log_p + np.log(deviation * np.sqrt(2 * np.pi))))
    z[far] = deviation
    return z


def _fit_bin(view, background, i, footprint, yearly):
    """Counts, errors, test statistics, yearly counts, surroundings per pixel and misfits of all sources in one bin."""
    n_source = footprint.shape[1]
    seen = np.flatnonzero(background.ravel() > 0)
    n, b = view.counts[i].ravel()[seen].astype(float), background.ravel()[seen].astype(float)
    cell = np.unique(view.lattice.cells()[seen], return_inverse=True)[1]
    blocks = csr_array((b, (np.arange(len(seen)), cell)))
    k = footprint[seen]
    design = hstack([k, blocks], format="csr")
    fitted = np.concatenate([np.zeros(n_source), np.ones(blocks.shape[1])])
    for _ in range(_ROUNDS):
        model = blocks @ fitted[n_source:] + k @ np.maximum(fitted[:n_source], 0)
        weight = 1 / np.maximum(model, 0.1 * b)
        information = (design.T @ (design * weight[:, None])).tocsr()
        # sources outside of the map have no pixels; two sources at one place share theirs: keep the matrix regular
        diagonal = information.diagonal()
        information = information + diags_array(np.where(diagonal > 0, 1e-6 * diagonal, 1.0))
        # the matrix is symmetric and positive: it needs no pivoting
        solver = splu(
            information.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        fitted = solver.solve(design.T @ (n * weight))
    positive = np.maximum(fitted[:n_source], 0)
    model = np.maximum(blocks @ fitted[n_source:], 0.1 * b) + k @ positive
    pairs = k.tocoo()
    light = pairs.data * positive[pairs.col]
    with_source = model[pairs.row]
    without = np.maximum(with_source - light, 1e-12)
    gain = 2 * (n[pairs.row] * np.log(with_source / without) - light)
    statistic = np.maximum(np.bincount(pairs.col, gain, minlength=n_source), 0)
    parts = yearly.reshape(len(yearly), background.size)[:, seen].T * weight[:, None]
    by_year = solver.solve(np.asarray(design.T @ parts))[:n_source]

    def mean(values):
        total = np.bincount(pairs.col, pairs.data, minlength=n_source)
        return np.bincount(pairs.col, pairs.data * values, minlength=n_source) / np.maximum(total, 1e-12)

    variances = local_variances(information, n_source)
    misfit = mean((n[pairs.row] - with_source) ** 2 / with_source)
    observed = np.maximum(view.coverage.ravel()[seen][pairs.row], 1e-6)  # where nothing was, the weight is zero
    surroundings = mean(without / observed)
    return fitted[:n_source], np.sqrt(variances), statistic, by_year, surroundings, misfit


class _Footprints:
    """The pixels around each source, and from their distances the fraction of its photons in each."""

    def __init__(self, view, coords):
        lattice = view.lattice
        pixel = lattice.offsets(coords)[0]
        around, dx, dy, _ = lattice.around(np.maximum(pixel, 0), _REACH)
        centre = _vectors(coords.transform_to(lattice.frame))
        inside = (around >= 0) & (pixel >= 0)[:, None]
        # next to the source the PSF changes within a pixel, and pixels of a sphere are neither square nor alike
        near = np.maximum(np.abs(dx), np.abs(dy)) <= 1
        self.parts, self.view, self.n_source = [], view, len(coords)
        for chosen, n_sub in ((near, _SUB), (~near, 1)):
            source, slot = np.nonzero(inside & chosen)
            where = around[source, slot]
            fine = (np.arange(n_sub) + 0.5) / n_sub - 0.5
            used, row = np.unique(where, return_inverse=True)
            points = np.stack([_vectors(lattice.positions(used, x, y)) for x in fine for y in fine], axis=1)
            chord = np.linalg.norm(points[row] - centre[source, None], axis=2)
            self.parts.append((where, source, chord, view.psf.pixelised(lattice.pixel_size / n_sub)))

    def fractions(self, i):
        """Sparse (n_pixel, n_source) of one bin."""
        where, source = (np.concatenate([part[axis] for part in self.parts]) for axis in (0, 1))
        share = np.concatenate([psf.evaluate(chord, i).mean(axis=1) for _, _, chord, psf in self.parts])
        share *= self.view.lattice.pixel_size**2 * self.view.coverage.ravel()[where]
        return csr_array((share, (where, source)), shape=(self.view.coverage.size, self.n_source))


def _vectors(coords):
    return coords.cartesian.xyz.value.T


def local_variances(information, n_source):
    """Diagonal of the inverse for the first rows, each element from the source and what it overlaps with most."""
    diagonal = information.diagonal()
    scaled = information.multiply(1 / np.sqrt(diagonal)[:, None]).multiply(1 / np.sqrt(diagonal)[None]).tocoo()
    strong = (np.abs(scaled.data) > _OVERLAP) & (scaled.row != scaled.col)
    row, col, value = scaled.row[strong], scaled.col[strong], np.abs(scaled.data[strong])
    order = np.lexsort((-value, row))
    row, col = row[order], col[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    near = np.full((n_source, _NEIGHBOURS + 1), -1)
    near[:, 0] = np.arange(n_source)
    close = (rank < _NEIGHBOURS) & (row < n_source)
    near[row[close], rank[close] + 1] = col[close]
    dense = scaled.tocsr()
    pairs = np.asarray(dense[np.repeat(near, near.shape[1], axis=1).ravel(), np.tile(near, near.shape[1]).ravel()])
    systems = pairs.reshape(len(near), near.shape[1], near.shape[1])
    absent = near < 0
    systems[absent[:, :, None] | absent[:, None, :]] = 0
    systems[:, np.arange(near.shape[1]), np.arange(near.shape[1])] = 1 + 1e-6
    return np.linalg.inv(systems)[:, 0, 0] / diagonal[:n_source]
