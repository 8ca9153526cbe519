"""What the code of pages and notebooks shows, run while the site is built.

A ```{picture} block of a page is Python like the blocks around it. The page's code runs once, from its first block on, in a process of its
own, and below the block stands what a notebook would show of its last line. A page that includes a notebook shows it with its outputs.
All of that runs beside Sphinx, which reads the other pages meanwhile, and only for pages that have changed, or when the package has.
What is not built for a browser shows the code alone.
"""

from __future__ import annotations

import html
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).resolve().parents[1]
RUNNER = DOCS.parent / "tests/docs/run_page.py"
HOME = "https://github.com/aloosley/persistable/blob/main/"
BROWSED = "howto/page"
"""The page whose results are exported as the static site that it shows."""
NOT_RUN = "not-run-here"
"""The tag of a cell that needs more than this build should start: it is shown without outputs. `make tests` runs it."""

_pool = ThreadPoolExecutor(os.cpu_count() or 1)
_pictures: dict[str, Future[list[str]]] = {}
_notebooks: dict[Path, Future[str]] = {}
_site: Future[Path] | None = None


def begin(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], _removed: set[str]) -> list[str]:
    """Begin to run the code of all pages that are to be read."""
    global _site
    if app.builder.format != "html":
        return []
    for page in sorted(added | changed):
        text = Path(env.doc2path(page)).read_text(encoding="utf-8")
        if page == BROWSED:
            _site = _pool.submit(browsed, page)
        if "```{picture}" in text:
            _pictures[page] = _pool.submit(pictures, page)
        for name in re.findall(r"^```\{include\} (\S+\.ipynb)$", text, re.MULTILINE):
            notebook = (DOCS / page).parent.joinpath(name).resolve()
            _notebooks[notebook] = _pool.submit(executed, notebook)
    return []


def run(command: Iterable[str | Path], folder: Path) -> None:
    """Run a command in a folder, with nothing of this user's; what it says is shown only if it fails."""
    environment = {**os.environ, "MPLBACKEND": "agg", "PERSISTABLE_CACHE": str(folder / ".cache")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExtensionError(f"{' '.join(map(str, command))} failed\n{done.stdout}\n{done.stderr}")


def neutral(text: str, folder: Path) -> str:
    """`text` without the name of the folder in which it was made."""
    return text.replace(str(folder), "/...")


def pictures(page: str) -> list[str]:
    """The HTML of each picture of a page."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name, "project"), Path(name, "pictures")
        folder.mkdir()
        found.mkdir()
        run([sys.executable, RUNNER, DOCS / f"{page}.md", folder / f"{Path(page).name}.py", found], folder)
        files = sorted(found.iterdir(), key=lambda file: int(file.stem))
        return [neutral(file.read_text(encoding="utf-8"), folder) for file in files]


def browsed(page: str) -> Path:
    """A folder with the static site of what the code of a page has stored."""
    folder = Path(tempfile.mkdtemp())
    run([sys.executable, RUNNER, DOCS / f"{page}.md", folder / "page.py"], folder)
    run([sys.executable, "-m", "persistable", "serve", "--store", "data", "--export", folder / "site"], folder)
    return folder / "site"


def copy_site(app: Sphinx, error: Exception | None) -> None:
    """Put that site beside the page that shows it."""
    if _site is not None:
        made = _site.result()
        if error is None and app.builder.format == "html":
            shutil.copytree(made, Path(app.outdir, "_static/page"), dirs_exist_ok=True)
        shutil.rmtree(made.parent)


class Picture(SphinxDirective):
    """A block of Python, and below it what a notebook would show of its last line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        page = self.env.docname
        depend_on_package(self.env)
        place = self.env.temp_data["pictures"] = self.env.temp_data.get("pictures", -1) + 1
        code = "\n".join(self.content)
        found: list[nodes.Node] = [nodes.literal_block(code, code, language="python")]
        if page in _pictures:
            found.append(nodes.raw("", framed(_pictures[page].result()[place]), format="html"))
        return found


def framed(fragment: str) -> str:
    """HTML that was shown, in a frame of the page."""
    return f'<div class="shown">{fragment}</div>'


def depend_on_package(env: BuildEnvironment) -> None:
    """Have the page read again when the package changes."""
    import persistable

    for file in Path(persistable.__file__).parent.rglob("*"):
        if file.suffix in (".py", ".css"):
            env.note_dependency(str(file))


def include(app: Sphinx, relative_path: Path, _parent: str, content: list[str]) -> None:
    """Put a notebook, as Markdown with its outputs, in the place of its JSON; have links of a README lead to the repository."""
    if relative_path.name == "README.md":
        folder = relative_path.parent.relative_to("..").as_posix()
        content[0] = re.sub(r"\]\((?!https?:|#|\.\./)([^)]+)\)", rf"]({HOME}{folder}/\1)", content[0])
    if relative_path.suffix == ".ipynb":
        depend_on_package(app.env)
        made = _notebooks.get((DOCS / relative_path).resolve())
        content[0] = made.result() if made is not None else as_markdown(content[0], {})


def executed(notebook: Path) -> str:
    """A notebook, executed in a folder of its own, as Markdown with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    logging.getLogger("traitlets").setLevel(logging.WARNING)
    quiet = ["--log-level=ERROR"]
    read = nbformat.read(notebook, as_version=4)
    read.cells = [cell for cell in read.cells if cell.cell_type != "code" or NOT_RUN not in cell.metadata.get("tags", [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        NotebookClient(read, extra_arguments=quiet, startup_timeout=240, timeout=240, resources={"metadata": {"path": name}}).execute()
        outputs = {cell.id: "\n\n".join(neutral(shown(each), folder) for each in cell.get("outputs", [])) for cell in read.cells}
    return as_markdown(notebook.read_text(encoding="utf-8"), outputs)


def as_markdown(notebook: str, outputs: Mapping[str, str]) -> str:
    """The text of a notebook as Markdown, with the outputs of cells by their ids."""
    parts: list[str] = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```\n\n{outputs.get(cell['id'], '')}" if cell["cell_type"] == "code" else source)
    return re.sub(r"\]\((\d\d-[\w-]+)\.ipynb\)", r"](\1.md)", "\n\n".join(parts))


def shown(output: Any) -> str:
    """One output of a cell, as Markdown."""
    data = output.get("data", {})
    if "text/html" in data:
        return _raw(framed(data["text/html"]))
    if "image/svg+xml" in data:
        return _raw(framed(data["image/svg+xml"]))
    if "image/png" in data:
        return _raw(framed(f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'))
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.get("text", "") or data.get("text/plain", ""))
    return _raw(f'<pre class="shown">{html.escape(text.rstrip())}</pre>') if text.strip() else ""


def _raw(fragment: str) -> str:
    return f"~~~~~~{{raw}} html\n{fragment}\n~~~~~~"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_directive("picture", Picture)
    app.connect("env-get-outdated", begin)
    app.connect("include-read", include)
    app.connect("build-finished", copy_site)
    app.add_css_file("shown.css")
    return {"parallel_read_safe": False, "parallel_write_safe": True}
