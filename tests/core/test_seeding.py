import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from astrolearn.core.seeding import make_rng, seeded_torch, torch_generator


@given(st.integers(0, 2**64))
def test_same_seed_same_numbers(seed):
    assert make_rng(seed).integers(2**63) == make_rng(seed).integers(2**63)


def test_generator_is_used_as_it_is():
    rng = np.random.default_rng(0)
    assert make_rng(rng) is rng


def test_legacy_generator_gives_the_seed():
    first, second = (make_rng(np.random.RandomState(5)).random() for _ in range(2))
    assert first == second
    legacy = np.random.RandomState(5)
    assert make_rng(legacy).random() != make_rng(legacy).random()


def test_none_is_fresh_entropy():
    assert make_rng().random() != make_rng().random()


@pytest.mark.parametrize("random_state", [-1, 1.5, "0", True, [1]])
def test_what_is_no_seed_is_refused(random_state):
    with pytest.raises(ValueError, match="random_state=.* is not a non-negative integer"):
        make_rng(random_state)


def test_torch_generator_is_seeded():
    first, second, other = (torch.rand(3, generator=torch_generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_seeded_weights_leave_the_global_state_alone():
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    weights = []
    for seed in (1, 1, 2):
        with seeded_torch(seed):
            weights.append(torch.nn.Linear(3, 2).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_state_is_put_back_after_an_error():
    torch_state = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded_torch(1):
        torch.rand(1)
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), torch_state)
