"""Sphinx configuration; everything is built from what is here, without the network."""

import sys
from pathlib import Path

import matplotlib
from sphinx_astropy.conf.v2 import *

import astrolearn

sys.path.insert(0, str(Path(__file__).parent))
from weight_cards import write_page

matplotlib.use("agg")

project = "astrolearn"
author = "The astrolearn developers"
copyright = f"2026, {author}"
version = release = astrolearn.__version__

extensions += ["sphinx_gallery.gen_gallery"]
templates_path = ["_templates"]
exclude_patterns += ["examples", "generated"]

# Links into other projects' documentation need their inventories from the network: sphinx-build -t online.
if tags.has("online"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "regions": ("https://astropy-regions.readthedocs.io/en/stable", None),
        "joblib": ("https://joblib.readthedocs.io/en/stable", None),
    }
else:
    intersphinx_mapping = {}

automodapi_inheritance_diagram = False
automodsumm_inherited_members = False
autoclass_content = "class"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
}

html_title = f"astrolearn {release}"
html_static_path = ["_static"]
html_last_updated_fmt = None
html_theme_options |= {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": {"**": ["page-toc"], "api": [], "index": []},
}
html_sidebars = {"index": [], "install": [], "point_sources": [], "weights": [], "changes": []}
toc_object_entries_show_parents = "hide"

write_page(Path(__file__).parent / "generated" / "weights.rst")
