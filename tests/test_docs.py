import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
CARD = """{
  "name": "fermi-lat", "number": 3, "estimator": "PointSourceFinder",
  "recipe": "astrolearn.recipes.fermi_lat", "seed": 1,
  "data": "simulated", "git_revision": "0123abc", "trained_on": "200 skies", "sha256": "ff00",
  "scores": {"purity": 0.95123, "skies": 20}, "baselines": {"TS map purity": 0.9}
}"""


@pytest.fixture
def write_page():
    return runpy.run_path(str(DOCS / "weight_cards.py"))["write_page"]


def test_page_about_weights(write_page, tmp_path):
    (tmp_path / "fermi-lat-3.json").write_text(CARD)
    write_page(tmp_path / "page" / "weights.rst", tmp_path)
    page = (tmp_path / "page" / "weights.rst").read_text()
    assert page.startswith("fermi-lat-3\n-----------\n")
    for fact in ("200 skies", "seed 1", "0123abc", "ff00", "* - purity\n     - 0.951", "* - TS map purity\n     - 0.9"):
        assert fact in page


def test_page_without_weights(write_page, tmp_path):
    write_page(tmp_path / "page" / "weights.rst", tmp_path)
    assert (tmp_path / "page" / "weights.rst").read_text() == "This version comes without weights.\n"
