"""Integrals of source spectra against closed forms and direct quadrature."""

from itertools import pairwise

import numpy as np
from numpy.testing import assert_allclose
from scipy.integrate import quad

from astrolearn.sources.fermi.spectra import bin_integrals, log_parabola, normalised_counts, plec

EDGES = np.array([0.3, 0.5, 1, 2, 7, 20, 1000])


def spectra(**columns):
    base = {"index": [2.0], "beta": [0.0], "expfactor": [0.0], "exp_index": [2 / 3], "pivot_energy": [1.0]}
    return {name: np.atleast_1d(np.asarray(columns.get(name, value), dtype=float)) for name, value in base.items()}


def test_power_law_has_the_analytic_flux():
    index = np.array([1.5, 2.0, 2.7])
    table = spectra(index=index, **{k: np.ones(3) * v for k, v in (("beta", 0), ("expfactor", 0), ("exp_index", 1),
                                                                   ("pivot_energy", 3.0))})
    counts = normalised_counts(table, EDGES, np.ones_like)

    def integral(low, high):
        return (low ** (1 - index) - high ** (1 - index)) / (index - 1)

    expected = np.array([integral(a, b) for a, b in pairwise(EDGES)]).T
    assert_allclose(counts, expected / integral(1, 2000)[:, None], rtol=1e-6)


def test_curved_spectra_match_direct_quadrature():
    parabola = spectra(index=2.3, beta=0.3, pivot_energy=1.7)
    pulsar = spectra(index=1.0, expfactor=0.0114, pivot_energy=1.5)
    for table, function in ((parabola, lambda e: log_parabola(e, 2.3, 0.3, 1.7)),
                            (pulsar, lambda e: plec(e, 1.0, 0.0114, 2 / 3, 1.5))):
        flux = quad(function, 1, 100)[0] + quad(function, 100, 2000)[0]
        expected = [quad(lambda e: function(e) * e**0.1, a, b, limit=200)[0] / flux  # noqa: B023
                    for a, b in pairwise(EDGES)]
        assert_allclose(normalised_counts(table, EDGES, lambda e: e**0.1)[0], expected, rtol=1e-4)


def test_pulsar_cutoff_counts_energies_in_mev():
    # a catalogue's Expfactor 0.0114 with Exp_Index 2/3 turns over at a few GeV: e-folding at 0.0114^-1.5 MeV = 0.8 GeV
    ratio = plec(10.0, 1.0, 0.0114, 2 / 3, 1.0) / plec(1.0, 1.0, 0.0114, 2 / 3, 1.0)
    assert_allclose(ratio, 0.1 * np.exp(0.0114 * (1000 ** (2 / 3) - 10000 ** (2 / 3))))


def test_many_sources_are_integrated_in_blocks():
    index = np.random.default_rng(0).uniform(1.5, 3, size=9000)
    table = {k: np.broadcast_to(v, 9000) for k, v in spectra().items()} | {"index": index}
    counts = normalised_counts(table, EDGES, np.ones_like)
    assert counts.shape == (9000, 6)
    single = {k: v[[8500]] for k, v in table.items()}
    assert_allclose(counts[8500], normalised_counts(single, EDGES, np.ones_like)[0])
    empty = {k: v[:0] for k, v in table.items()}
    assert normalised_counts(empty, EDGES, np.ones_like).shape == (0, 6)


def test_bins_add_up():
    total = bin_integrals(lambda e: e**-2.2, np.array([0.3, 1000]))
    assert_allclose(bin_integrals(lambda e: e**-2.2, EDGES).sum(), total[0], rtol=1e-6)
