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

# What the reference shows is validated, and with -W a fault fails the build. Not asked for:
numpydoc_validation_checks = {
    "all",
    "ES01",  # an extended summary where there is no more to say
    "EX01",  # examples everywhere: the user guide has them
    "GL01",  # a summary on the second line: one-line docstrings have one line
    "GL08",  # docstrings: ruff finds those missing, and knows property setters
    "PR04",  # types of parameters that refer to the base class
    "PR07",  # descriptions where name and type say all
    "RT01",  # a Returns section where the summary says what is returned
    "RT02",  # returned values without names
    "RT03",  # as PR07
    "SA01",  # see-also sections everywhere
    "SS05",  # summaries in the infinitive: properties are described by what they are
    "SS06",  # summaries of one line
    "YD01",  # a Yields section of context managers
}
numpydoc_validation_exclude = {
    r"\.[gs]et_params$",  # scikit-learn's
    r"\.SampleTable$",  # has the arguments of astropy's QTable
    r"\.SkyMap\.(read|write)$",  # have those of astropy's registry
    r"\.Match$",  # is returned, and has attributes; nobody makes one
}

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
html_last_updated_fmt = None
html_theme_options |= {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": {"**": ["page-toc"], "api": [], "index": []},
}
html_sidebars = {"index": [], "install": [], "point_sources": [], "weights": [], "changes": []}
toc_object_entries_show_parents = "hide"

write_page(Path(__file__).parent / "generated" / "weights.rst")
