"""matplotlib figures as PDF, SVG or PNG, with the same bytes for the same figure."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

from persistable.errors import need
from persistable.fileio.base import FileIO, Sink

_FORMATS = ("pdf", "svg", "png")
_STARTS = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n"}
_ENDS = {"pdf": b"%%EOF", "svg": b"</svg>", "png": b"IEND\xaeB`\x82"}
_NO_METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


@dataclass(frozen=True, slots=True, repr=False)
class SavedFigure:
    """A saved figure: its bytes and format. Immutable; displayed by notebooks."""

    data: bytes
    """The content of the figure's file."""
    format: str
    """The format: ``png``, ``svg`` or ``pdf``."""

    def save(self, path: str | Path) -> None:
        """Write the figure's file to `path`."""
        from persistable.fileio.plain import BytesFileIO

        BytesFileIO().save(self.data, path)

    def __repr__(self) -> str:
        return f"SavedFigure({self.format}, {len(self.data)} bytes)"

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedFigure, (self.data, self.format)

    def _repr_png_(self) -> bytes | None:
        return self.data if self.format == "png" else None

    def _repr_svg_(self) -> str | None:
        return self.data.decode() if self.format == "svg" else None

    def _repr_html_(self) -> str | None:
        if self.format != "pdf":
            return None
        from base64 import b64encode

        source = html.escape(f"data:application/pdf;base64,{b64encode(self.data).decode()}")
        return f'<embed src="{source}" type="application/pdf" width="640" height="480">'


class FigureFileIO(FileIO[Any]):
    """A matplotlib Figure, loaded as a SavedFigure (which it takes too): a Figure cannot be rebuilt from a PDF.

    `format` is "pdf", "svg" or "png"; `dpi` is dots per inch for pixels (None: the figure's own).
    No dates, versions or random ids are written: equal figures give equal bytes with one version of matplotlib. Extra: figure.
    """

    name: ClassVar[str] = "FigureFileIO"
    needs = (("matplotlib", "matplotlib", "figure"),)

    def __init__(self, format: Literal["pdf", "svg", "png"] = "pdf", dpi: float | None = None) -> None:  # noqa: A002 - matplotlib's word
        if format not in _FORMATS:
            raise ValueError(f"format is one of {', '.join(_FORMATS)}, not {format!r}")
        self.format = format
        self.dpi = dpi
        self.suffix = f".{format}"

    def check(self, payload: Any) -> None:
        if isinstance(payload, SavedFigure):
            if payload.format != self.format:
                self._refuse(f"it was saved as {payload.format}, not {self.format}")
            return
        figure = need("matplotlib.figure", "matplotlib", "figure", "FigureFileIO")
        if not isinstance(payload, figure.FigureBase):
            self._refuse(f"it is a {type(payload).__name__}, not a matplotlib Figure; for axes give their .figure")

    def dump(self, payload: Any, file: BinaryIO) -> None:
        if isinstance(payload, SavedFigure):
            file.write(payload.data)
            return
        matplotlib = need("matplotlib", "matplotlib", "figure", "FigureFileIO")
        options: dict[str, Any] = {} if self.dpi is None else {"dpi": self.dpi}
        with matplotlib.rc_context({"svg.hashsalt": "persistable"}):
            payload.savefig(Sink(file), format=self.format, metadata=_NO_METADATA[self.format], **options)

    def load(self, file: Any) -> SavedFigure:
        data = bytes(file.read())
        if not data.startswith(_STARTS[self.format]) or _ENDS[self.format] not in data[-64:]:
            raise self._malformed(f"it does not start and end as a {self.format} file does")
        return SavedFigure(data, self.format)
