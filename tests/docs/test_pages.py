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


def test_the_runner_notices_a_result_that_is_not_the_real_one(tmp_path: Path) -> None:
    """The tests above can fail: a wrong value, a wrong print-out and an exception each end the run."""
    runner = Path(__file__).with_name("run_page.py")
    pages = {
        "value": "```python\n1 + 1  # => 3\n```\n",
        "print": "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "raise": "```python\n1 / 0\n```\n",
    }
    for title, text in pages.items():
        page = tmp_path / f"{title}.md"
        page.write_text(text)
        done = subprocess.run(
            [sys.executable, str(runner), str(page), str(tmp_path / "script.py")], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1, title
        assert f"{title}" in done.stderr or "script.py" in done.stderr
