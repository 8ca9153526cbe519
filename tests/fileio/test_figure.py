"""Figures: saved with reproducible bytes, given back as they were saved."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from matplotlib.figure import Figure

from persistable.errors import PayloadNotRepresentable
from persistable.fileio import FigureFileIO, SavedFigure
from persistable.testing.fileio import FileIOContract


def drawing(height: int = 1) -> Figure:
    figure = Figure(figsize=(2, 1))
    axes = figure.subplots()
    axes.plot([0, 1], [0, height], label="a")
    axes.fill_between([0, 1], [0, 1], hatch="/")
    axes.legend()
    return figure


class TestPdf(FileIOContract):
    format = "pdf"

    def io(self) -> FigureFileIO:
        return FigureFileIO(format=self.format)  # type: ignore[arg-type]

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.integers(1, 3).map(lambda height: self.io().loads(self.io().dumps(drawing(height))))

    def refused(self) -> list[Any]:
        other = "png" if self.format != "png" else "svg"
        return [None, b"x", drawing().axes[0], SavedFigure(b"x", other)]


class TestSvg(TestPdf):
    format = "svg"


class TestPng(TestPdf):
    format = "png"


@pytest.mark.parametrize("format_", ["pdf", "svg", "png"])
def test_equal_figures_give_equal_bytes_in_every_process(format_: Any) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_figure import drawing; from persistable.fileio import FigureFileIO\n"
        "sys.stdout.buffer.write(FigureFileIO(sys.argv[2]).dumps(drawing()))"
    )
    run = [sys.executable, "-c", code, str(Path(__file__).parent), format_]
    assert subprocess.run(run, check=True, capture_output=True).stdout == FigureFileIO(format_).dumps(drawing())


def test_dpi_is_that_of_the_pixels() -> None:
    sizes = [int.from_bytes(FigureFileIO("png", dpi=dpi).dumps(drawing())[16:20], "big") for dpi in (50, 100)]
    assert sizes == [100, 200]


def test_a_saved_figure_is_shown_and_does_not_change(tmp_path: Path) -> None:
    saved = {kind: FigureFileIO(kind).loads(FigureFileIO(kind).dumps(drawing())) for kind in ("pdf", "svg", "png")}  # type: ignore[arg-type]
    assert saved["png"]._repr_png_() == saved["png"].data
    assert "<svg" in (saved["svg"]._repr_svg_() or "")
    assert "application/pdf" in (saved["pdf"]._repr_html_() or "")
    assert saved["pdf"]._repr_png_() is saved["pdf"]._repr_svg_() is saved["png"]._repr_html_() is None
    assert pickle.loads(pickle.dumps(saved["png"])) == saved["png"]
    assert len({saved["png"], saved["svg"], saved["pdf"], SavedFigure(saved["png"].data, "png")}) == 3
    with pytest.raises(AttributeError):
        saved["png"].data = b""
    saved["png"].save(tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes() == saved["png"].data


def test_axes_are_refused_with_a_hint() -> None:
    with pytest.raises(PayloadNotRepresentable, match=r"\.figure"):
        FigureFileIO().check(drawing().axes[0])
    with pytest.raises(ValueError, match="format"):
        FigureFileIO("gif")  # type: ignore[arg-type]
