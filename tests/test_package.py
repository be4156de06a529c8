import subprocess
import sys

import pytest

import astrolearn

HEAVY = ("torch", "skorch", "sklearn", "healpy", "photutils", "matplotlib", "astroquery", "dask", "gammapy")


def test_import_is_light():
    code = f"import sys, astrolearn; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_load_on_first_use():
    assert dir(astrolearn) == sorted(astrolearn.__all__)
    for name in astrolearn.__all__:
        assert getattr(astrolearn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'SourceFinder'"):
        astrolearn.SourceFinder
