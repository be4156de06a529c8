"""Which networks see which galaxies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.photoz.galaxies import Galaxies
from astrolearn.photoz.mixture import MixtureLoss
from astrolearn.photoz.splits import ALL, assign_folds, held_by, held_out, seen


def galaxies(values):
    return Galaxies(values=np.asarray(values, dtype=float).reshape(len(values), -1))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(2, 8), st.integers(1, 30), st.integers(0, 5))
def test_groups_stay_together_and_folds_are_even(n, n_folds, n_groups, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(n_groups, size=n)
    if len(set(groups)) == 1:
        with pytest.raises(ValueError, match="nothing can be held out"):
            assign_folds(galaxies(np.arange(n)), groups, n_folds, rng)
        return
    fold = assign_folds(galaxies(np.arange(n)), groups, n_folds, rng)
    for group in set(groups):
        assert len(set(fold[groups == group])) == 1
    present = sorted(set(fold) - {-1})
    assert present == list(range(len(present)))
    assert 1 <= len(present) <= n_folds
    assert (fold >= 0).any()
    # rows are left to train on, whatever fold is held out
    for k in present:
        assert (fold != k).any()


def test_folds_of_single_galaxies():
    fold = assign_folds(galaxies(np.arange(1000)), None, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(fold), [200] * 5)


def test_equal_rows_are_one_group_and_large_groups_are_in_no_fold():
    rows = np.r_[np.zeros(60), np.arange(1, 41)]
    fold = assign_folds(galaxies(rows), None, 5, np.random.default_rng(0))
    assert (fold[:60] == -1).all()
    assert set(fold[60:]) == set(range(5))


def test_codes_say_which_networks_count():
    fold, networks = np.array([-1, 0, 1, 4]), held_by(3, 5)
    np.testing.assert_array_equal(networks, [0, 1, 2])
    output = torch.tensor(np.random.default_rng(0).normal(size=(4, 3, 6)))
    loss = MixtureLoss((-3.0, 3.0), networks)
    target = np.array([0.1, 0.2, -0.3, 0.4])

    def of(code):
        return loss.of_rows(output, torch.tensor(np.column_stack([target, code]))).numpy()

    every = np.full(4, ALL)
    targets = torch.tensor(np.column_stack([target, every]))
    alone = MixtureLoss((-3.0, 3.0), [0])
    single = np.stack([alone.of_rows(output[:, k : k + 1], targets) for k in range(3)], axis=1)
    np.testing.assert_allclose(of(every), single.sum(axis=1))
    # trained on by all but the network that holds the row out; of fold 4 there is none
    np.testing.assert_allclose(of(seen(fold)), [single[0].sum(), single[1, [1, 2]].sum(), single[2, [0, 2]].sum(),
                                                single[3].sum()])
    np.testing.assert_allclose(of(held_out(fold, 3)), [single[0].sum(), single[1, 0], single[2, 1], single[3].sum()])
