"""The README and the docs: every Python block runs, every shown result is the real one, every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
PICTURE = ROOT / "docs/_static/plan.svg"
WITH_CODE = [page for page in PAGES if re.search(r"^```python$", page.read_text(encoding="utf-8"), re.MULTILINE)]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_every_python_block_of_a_page_runs_and_shows_the_real_result(
    page: Path, tmp_path: Path, s3_environment: dict[str, str], postgres_environment: dict[str, str]
) -> None:
    script = tmp_path / f"{page.stem}.py"
    runner = Path(__file__).with_name("run_page.py")
    environment = {**os.environ, **s3_environment, **postgres_environment, "PYTHONPATH": str(ROOT / "persistable_pkg"), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, str(runner), str(page), str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{name(page)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_file_or_heading_of_this_project_leads_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = (
        re.findall(r"\]\(([^)\s]+)\)", text)
        + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
        + re.findall(r'(?:src|href)="([^"]+)"', text)
    )
    broken = [target for target in targets if not _leads_somewhere(page, target)]
    assert broken == []


HOME = "https://github.com/aloosley/persistable/blob/main/"


def _leads_somewhere(page: Path, target: str) -> bool:
    if target.startswith(HOME):
        page, target = ROOT / "README.md", target.removeprefix(HOME)
    if re.match(r"[a-z]+:", target):
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    return not anchor or anchor in {_slug(heading) for heading in re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)}


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_the_readme_reads_the_same_on_a_package_index() -> None:
    """Where nothing of the repository lies beside it: links and the picture say where they lead, and each reference is defined."""
    text = re.sub(r"^```.*?^```$|`[^`]*`", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    used, defined = set(re.findall(r"\]\[([^\]]+)\]", text)), set(re.findall(r"^\[([^\]]+)\]:", text, re.MULTILINE))
    assert used == defined


def test_the_picture_of_the_readme_is_what_its_code_makes(tmp_path: Path) -> None:
    """`make pictures` writes it anew. Where a box lies is Graphviz's affair, and may differ by a pixel from machine to machine."""
    command = [sys.executable, str(Path(__file__).with_name("readme_picture.py")), str(ROOT / "README.md"), "plan.svg"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg")}, check=True, timeout=120)
    made, kept = (re.sub(r' (d|x|y|width|height|viewBox)="[^"]*"', "", path.read_text()) for path in (tmp_path / "plan.svg", PICTURE))
    assert made == kept


def test_the_runner_notices_a_result_that_is_not_the_real_one(tmp_path: Path) -> None:
    """The tests above can fail: a wrong value, a wrong print-out and an exception each end the run."""
    runner = Path(__file__).with_name("run_page.py")
    pages = {
        "value": "```python\n1 + 1  # => 3\n```\n",
        "print": "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "raise": "```python\n1 / 0\n```\n",
        "picture": "```{picture}\n1\n```\n",
    }
    for title, text in pages.items():
        page = tmp_path / f"{title}.md"
        page.write_text(text)
        done = subprocess.run(
            [sys.executable, str(runner), str(page), str(tmp_path / "script.py")], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1, title
        assert f"{title}" in done.stderr or "script.py" in done.stderr


def test_the_runner_writes_what_a_notebook_would_show_of_each_picture(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nfrom persistable import step\n\n\n@step\ndef total(n: int) -> int:\n    return n\n```\n\n"
        "```{picture}\ntotal.step(7).lineage()\n```\n\n```{picture}\ntotal.step(8)\n```\n"
    )
    (tmp_path / "pictures").mkdir()
    command = [sys.executable, str(Path(__file__).with_name("run_page.py")), "page.md", "script.py", "pictures"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "persistable_pkg")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    first, second = [(tmp_path / "pictures" / name).read_text() for name in ("0.html", "1.html")]
    assert "<svg" in first and "n=7" in first
    assert "absent" in second and ">8<" in second
