"""Previews of payloads, by type: the head of a table, a histogram, an image, text, a value."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from persistable.catalog.entry import Entry
from persistable.errors import FormatError, PayloadUntrusted, PersistableError
from persistable.fileio.base import FileIO
from persistable.fileio.figure import SavedFigure
from persistable.params.display import cut
from persistable.params.secret import redact
from persistable.records import files
from persistable.records.items import Collected
from persistable.records.record import Record
from persistable.records.units import size_in_words
from persistable.web.images import kind_of
from persistable.web.page import Site
from persistable.web.trust import TooLarge, payload_of, safe_format

ROWS = 10
COLUMNS = 20
BINS = 30
CHARACTERS = 4000
VALUES = 40
COUNTED = 5_000_000
"""Most elements of an array that its histogram counts."""


def preview(site: Site, entry: Entry, record: Record, by_class: bool = False) -> dict[str, Any]:
    """The preview of a stored payload: a dict whose ``kind`` decides the display; no payload makes it raise."""
    try:
        try:
            return {"part": False, **shown(payload_of(site, entry, record, by_class))}
        except TooLarge:
            return _large(site, record)
    except (PayloadUntrusted, FormatError) as error:
        note = "It is read by its class, which would be imported from " + record.class_reference.partition(":")[0] + "."
        return {"kind": "closed", "note": note, "why": redact(str(error)), "class": record.class_reference}
    except (PersistableError, OSError) as error:
        return {"kind": "error", "note": redact(f"{type(error).__name__}: {error}")}
    except Exception as error:  # noqa: BLE001 - classes of users are imported and called
        return {"kind": "error", "note": redact(f"it cannot be shown: {type(error).__name__}: {error}")}


def _large(site: Site, record: Record) -> dict[str, Any]:
    """The first rows of a payload that is too large to be read as a whole, if its format can read them; else a note."""
    if len(record.files) == 1:
        try:
            io: FileIO[Any] = safe_format(record)
            part = files.read_part(site.catalog.store, record.key, record.head["files"], io, slice(0, ROWS), None, verify=False)
            return {**shown(part), "part": True}
        except FormatError:
            pass
    return {"kind": "note", "note": "It is too large to be read for a preview."}


def shown(value: Any) -> dict[str, Any]:
    """The preview of a value."""
    if isinstance(value, SavedFigure):
        return {"kind": "image", "format": value.format}
    if isinstance(value, str):
        return {"kind": "text", "text": redact(value[:CHARACTERS]), "length": len(value), "cut": len(value) > CHARACTERS}
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, Collected):
        return _collected(value)
    table = _table(value)
    if table is not None:
        return table
    if _is_from("numpy", value, "ndarray"):
        return _array(value)
    return _value(value)


def _is_from(module: str, value: Any, *names: str) -> bool:
    """Tell whether a value is of one of these classes of a package, without importing it."""
    home = sys.modules.get(module)
    return home is not None and isinstance(value, tuple([getattr(home, name) for name in names]))


def _bytes(data: bytes) -> dict[str, Any]:
    if (kind := kind_of(data)) is not None:
        return {"kind": "image", "format": kind}
    lines = [f"{at:08x}  {data[at : at + 16].hex(' ')}" for at in range(0, min(len(data), 256), 16)]
    return {"kind": "text", "text": "\n".join(lines), "length": len(data), "cut": len(data) > 256}


# tables


def _table(value: Any) -> dict[str, Any] | None:
    if _is_from("pandas", value, "Series"):
        value = value.to_frame(str(value.name) if value.name is not None else "value")
    if _is_from("pandas", value, "DataFrame"):
        return _pandas(value)
    if _is_from("polars", value, "DataFrame"):
        names = value.columns[:COLUMNS]
        rows = value.head(ROWS).select(names).rows()
        return _rows(value.shape, [(name, str(value[name].dtype)) for name in names], rows)
    if _is_from("pyarrow", value, "Table"):
        head = value.slice(0, ROWS).to_pylist()
        fields = list(value.schema)[:COLUMNS]
        rows = [[row.get(field.name) for field in fields] for row in head]
        return _rows(value.shape, [(field.name, str(field.type)) for field in fields], rows)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value[:ROWS]):
        names = list(dict.fromkeys(name for row in value[:ROWS] for name in row))
        return _rows(
            (len(value), len(names)), [(str(n), "") for n in names[:COLUMNS]], [[row.get(n) for n in names] for row in value[:ROWS]]
        )
    return None


def _pandas(frame: Any) -> dict[str, Any]:
    head = frame.iloc[:ROWS, :COLUMNS]
    columns = [("", "index"), *((str(name), str(dtype)) for name, dtype in zip(head.columns, head.dtypes, strict=True))]
    found = _rows(frame.shape, columns, list(head.itertuples()))
    numbers = [str(name) for name, dtype in zip(head.columns, head.dtypes, strict=True) if dtype.kind in "iuf"]
    if len(frame.columns) == 1 and numbers:
        found["histogram"] = _histogram(frame.iloc[:, 0].to_numpy())
    return found


def _rows(shape: Sequence[int], columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {
        "kind": "table",
        "histogram": None,
        "shape": list(shape),
        "columns": [{"name": name, "dtype": dtype} for name, dtype in columns],
        "rows": [[_cell(each) for each in row[: len(columns)]] for row in rows],
        "cut": shape[0] > len(rows) or shape[1] > COLUMNS,
    }


def _cell(value: Any) -> Any:
    if value is None or value.__class__ is bool:
        return value
    number = _number(value)
    return number if number is not None else cut(redact(hex(value) if isinstance(value, int) else str(value)), 80)


def _number(value: Any) -> float | int | None:
    """A number for JSON; None for other values, for numbers that are not finite, and for integers beyond the range of floats."""
    if isinstance(value, bool) or not (isinstance(value, int | float) or _is_from("numpy", value, "integer", "floating")):
        return None
    scalar: Any = value
    number = scalar.item() if hasattr(scalar, "item") else scalar
    try:
        return number if isinstance(number, int | float) and math.isfinite(number) else None
    except OverflowError:  # an int that is no float
        return None


# arrays


def _array(array: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "array",
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "bytes": int(array.nbytes),
        "histogram": None,
        "rows": [],
    }
    if array.dtype.kind in "biuf" and array.size:
        found["histogram"] = _histogram(array)
    if array.ndim == 2 and array.size:
        head = array[:ROWS, :COLUMNS]
        found["rows"] = [[_cell(each) for each in row] for row in head.tolist()]
        found["cut"] = array.shape[0] > ROWS or array.shape[1] > COLUMNS
    else:
        first = array.reshape(-1)[:VALUES] if array.flags.c_contiguous else array.flat[:VALUES]
        found["values"] = [_cell(each) for each in first.tolist()]
        found["cut"] = array.size > VALUES
    return found


def _histogram(array: Any) -> dict[str, Any] | None:
    """Counts in bins of equal width, with smallest, largest and mean; of a large array, of elements at equal distances."""
    import numpy as np

    flat = array.reshape(-1)
    step = max(1, -(-flat.size // COUNTED))
    some = flat[::step]
    finite = some[np.isfinite(some)] if some.dtype.kind == "f" else some
    if not finite.size:
        return None
    numbers = finite.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    if not math.isfinite(high - low):
        return None
    whole = finite.dtype.kind in "biu" and high - low < BINS
    bins = int(high - low) + 1 if whole else BINS
    limits = (low - 0.5, high + 0.5) if whole else (low, high) if high > low else (low - 0.5, high + 0.5)
    try:
        counts, _ = np.histogram(numbers, bins=bins, range=limits)
    except ValueError:  # there are fewer numbers between these two than bins
        return None
    return {
        "min": low,
        "max": high,
        "mean": float(numbers.mean()),
        "std": float(numbers.std()),
        "counts": counts.tolist(),
        "from": limits[0],
        "to": limits[1],
        "sampled": step > 1,
        "not_finite": int(some.size - finite.size),
    }


# everything else


def _collected(items: Collected[Any]) -> dict[str, Any]:
    """The names of the items and their sizes; none is read."""
    some = list(islice(items.sizes.items(), VALUES))
    rows = [{"name": cut(str(name), 80), "value": size, "text": size_in_words(size)} for name, size in some]
    return {"kind": "items", "length": len(items), "items": rows, "cut": len(items) > VALUES}


def _value(value: Any) -> dict[str, Any]:
    number = _number(value)
    if number is not None or isinstance(value, bool) or value is None:
        return {"kind": "value", "value": value if number is None else number, "text": repr(value)}
    if isinstance(value, Mapping) and value and all(isinstance(name, str) for name in islice(value, VALUES)):
        some = list(islice(value.items(), VALUES))
        items = [{"name": cut(name, 80), "value": _cell(each), "text": _text(each, 200)} for name, each in some]
        return {"kind": "items", "length": len(value), "items": items, "cut": len(value) > VALUES}
    return {"kind": "text", "text": _text(value, CHARACTERS), "length": None, "cut": False, "type": type(value).__name__}


def _text(value: Any, longest: int) -> str:
    import reprlib

    if isinstance(value, int) and value.bit_length() > 1023:  # that may have more digits than Python writes
        return hex(value)[:longest]
    short = reprlib.Repr()
    short.maxlist = short.maxtuple = short.maxset = short.maxdict = short.maxdeque = VALUES
    short.maxstring = short.maxother = longest
    return redact(short.repr(value)[:longest])
