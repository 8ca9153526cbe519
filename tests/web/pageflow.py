"""Payloads of every kind that a page previews. It is run in a process of its own: the process of the tests never imports it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from persistable import step
from persistable.fileio import BytesFileIO, CsvFileIO, JsonFileIO, NumpyFileIO, ParquetFileIO, TextFileIO

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


@dataclass(frozen=True)
class Forest:
    trees: int = 50
    depth: tuple[int, int] = (4, 8)


@step(io=NumpyFileIO())
def points(n: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


@step
def noisy(points: Any, scale: float = 0.5) -> np.ndarray:
    print("scaled by", scale, "<b>")
    return points * scale


@step(io=ParquetFileIO())
def features(points: Any, window: int = 3) -> pd.DataFrame:
    frame = pd.DataFrame({"value": np.asarray(points)})
    return frame.assign(mean=frame.value.rolling(window, min_periods=1).mean(), sign=np.where(frame.value > 0, "up", "down"))


@step(io=JsonFileIO())
def score(features: pd.DataFrame, C: float = 1.0, model: Forest = Forest()) -> dict[str, float]:  # noqa: N803 - as scikit-learn has it
    return {"accuracy": round(0.8 + 0.02 * C - 0.0004 * model.trees, 4), "loss": round(float(features["mean"].abs().mean()) / C, 4)}


@step(io=TextFileIO())
def report(scores: list[Any], title: str = "scores") -> str:
    return f"# {title}\n\n" + "\n".join(f"- {each}" for each in scores) + "\n"


@step(io=BytesFileIO())
def picture(points: Any) -> bytes:
    wide, high = 240, 90
    rows = [b"\0" + bytes(min(255, int(abs(points[x % len(points)]) * y)) for x in range(wide)) for y in range(high)]
    parts = ((b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@step(io=CsvFileIO(index=False))
def hostile(text: str = HOSTILE) -> pd.DataFrame:
    return pd.DataFrame({text: [text], "n": [1]})


@step
def table(n: int = 3) -> pd.DataFrame:
    return pd.DataFrame({"n": range(n)})


@step(name="a_name_of_a_payload_that_is_as_long_as_names_of_payloads_may_well_be_and_has_no_break")
def long_names(a_param_whose_name_is_rather_long_and_has_no_place_to_break_it_at: str, points: Any) -> dict[str, Any]:
    return {"n" * 90: "w" * 500, "items": list(range(100))}


@step
def broken(points: Any, why: str = "no samples") -> int:
    raise ValueError(f"{why} <b>here</b>")


def targets() -> list[Any]:
    """Everything, with a sweep of scores."""
    made = points.step(n=400)
    frame = features.step(made)
    scores = [score.step(frame, C=c, model=Forest(trees)) for c in (0.1, 1.0, 10.0) for trees in (50, 100, 200)]
    return [
        *scores, report.step(scores), picture.step(made), noisy.step(made), hostile.step(), table.step(), points.step(n=100),
        long_names.step("x" * 700, made),
        broken.step(made),
        broken.step(made, why="a reason that is rather long, as reasons of real errors mostly are: shapes (3, 4) and (4,)"),
    ]  # fmt: skip
