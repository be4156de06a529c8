"""Set-up shared by all tests."""

import os
import sys
from pathlib import Path

import pytest
import torch

# The benchmarks are a folder of the checkout, not of the installed package.
sys.path.append(str(Path(__file__).parents[1]))

# Several test processes with several threads each would fight for the same cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data():
    """The folder with real observations that some tests need; these tests are skipped where it is absent."""
    beside_checkout = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ASTROLEARN_DATA", beside_checkout))
    if not folder.is_dir():
        pytest.skip("needs real observations: set ASTROLEARN_DATA to their folder")
    return folder
