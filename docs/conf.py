"""Sphinx's settings; `make docs` builds with warnings as errors."""

import sys
from pathlib import Path

import persistable

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "persistable"
author = "the persistable contributors"
version = release = persistable.__version__
html_title = "persistable"
html_show_copyright = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "executed"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing"]  # pages also link to files of the repository; tests/docs checks every link

html_theme = "furo"
html_static_path = ["_static"]
html_logo = html_favicon = "_static/logo.svg"
html_theme_options = {"sidebar_hide_name": False}

default_role = "code"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
