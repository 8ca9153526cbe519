"""Sphinx's settings; `make docs` builds with warnings as errors."""

import persistable

project = "persistable"
author = "the persistable contributors"
version = release = persistable.__version__
html_title = "persistable"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"


def setup(app):
    """Have the pages of `howto/page` written beside it, from the code of that page as it runs."""
    app.connect("build-finished", _write_page)


def _write_page(app, error):
    if error is None and app.builder.format == "html":
        import subprocess
        import sys
        import tempfile
        from pathlib import Path

        here = Path(__file__).parent
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, here.parent / "tests/docs/run_page.py", here / "howto/page.md", Path(folder, "page.py")]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            target = Path(app.outdir, "_static", "page")
            subprocess.run([sys.executable, "-m", "persistable", "serve", "--store", "data", "--export", target], cwd=folder, check=True)
