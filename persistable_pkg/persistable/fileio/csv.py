"""pandas frames as CSV, with a schema so that they are loaded exactly."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from persistable.errors import need
from persistable.fileio.base import FileIO, Sink
from persistable.fileio.compare import difference
from persistable.fileio.json import encodable

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 2048
_PARSED = ("bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""Dtypes that the CSV parser of pandas reads exactly without help."""
_NULLABLE = ("boolean", "Float32", "Float64", *(f"{sign}nt{bits}" for sign in ("I", "UI") for bits in (8, 16, 32, 64)))
_CONVERTED = ("datetime64[", "timedelta64[")


class CsvFileIO(FileIO["pd.DataFrame"]):
    """A pandas DataFrame with unique string column names. Extra: pandas.

    `schema` keeps dtypes, index and column types; a file loaded without one (made by hand) reads as `pandas.read_csv` reads it.
    Takes bools, integers, floats (exact, written by repr), strings, dates, durations, their nullable kinds, and categories of strings.
    Missing values are empty fields; a column of strings that holds both missing and empty ones is refused, and so is any other
    kind of object. `index=False` leaves out a default RangeIndex, and refuses any other.
    """

    name: ClassVar[str] = "CsvFileIO"
    needs = (("pandas", "pandas", "pandas"),)
    suffix = ".csv"

    def __init__(self, index: bool = True) -> None:
        self.index = index
        self._schema: dict[str, Any] | None = None

    def check(self, payload: Any) -> None:
        pd = need("pandas", "pandas", "pandas", "CsvFileIO")
        if type(payload) is not pd.DataFrame:
            self._refuse(f"it is a {type(payload).__name__}, not a pandas DataFrame; a Series has to_frame()")
        self._check_shape(payload)
        for name in payload.columns:
            self._check_column(payload[name], f"column {name!r}")
        if self.index and not _is_range(payload.index):
            for level in range(payload.index.nlevels):
                self._check_column(_as_series(payload.index.get_level_values(level)), "the index")
        if payload.attrs or not payload.flags.allows_duplicate_labels:
            self._refuse("attrs and flags have no place in a CSV; clear them, or use ParquetFileIO")
        self._check_frame(payload.iloc[:0])
        objects = payload.loc[:, [dtype.name == "object" for dtype in payload.dtypes]]
        if len(payload) and not (objects.empty and _is_range(payload.index)):
            self._check_frame(payload.iloc[:, :1] if objects.empty else objects)

    def _check_frame(self, frame: Any) -> None:
        """Refuse a frame whose names, index, dtypes or objects would not be loaded exactly."""
        file = io.BytesIO()
        self.dump(frame, file)
        file.seek(0)
        if flaw := difference(frame, self.with_schema(self.schema(frame)).load(file)):
            self._refuse(f"{flaw}; use ParquetFileIO or PickleFileIO")

    def schema(self, payload: pd.DataFrame) -> dict[str, Any]:
        index: Any = payload.index
        facts: dict[str, Any] = {"columns": [_describe(payload[name]) for name in payload.columns], "names": list(payload.columns)}
        facts["object_names"] = bool(payload.columns.dtype == object)
        if _is_range(index):
            facts["range"] = [index.start, index.stop, index.step]
        else:
            facts["levels"] = [_describe(_as_series(index.get_level_values(level))) for level in range(index.nlevels)]
            facts["freq"] = getattr(index, "freqstr", None)
            facts["multi"] = index.nlevels > 1
        facts["index_names"] = list(index.names)
        facts["index_written"] = self.index
        return facts

    def with_schema(self, schema: dict[str, Any]) -> CsvFileIO:
        other = CsvFileIO(self.index)
        other._schema = schema
        return other

    def dump(self, payload: pd.DataFrame, file: BinaryIO) -> None:
        need("pandas", "pandas", "pandas", "CsvFileIO")
        sink = Sink(file)
        for first in range(0, max(1, len(payload)), _BLOCK):
            block = payload.iloc[first : first + _BLOCK].copy(deep=False)
            for name in block.columns:
                block[name] = _to_text(block[name])
            if self.index:
                block.index = _index_to_text(block.index)
            text = block.to_csv(index=self.index, header=first == 0, lineterminator="\n", na_rep="")
            sink.write(text.encode())

    def load(self, file: Any) -> Any:
        pandas = need("pandas", "pandas", "pandas", "CsvFileIO")
        binary: Any = file if isinstance(file, io.BufferedIOBase) else io.BytesIO(file.read())
        text = io.TextIOWrapper(binary, "utf-8", newline="")
        try:
            frame = pandas.read_csv(text) if self._schema is None else _read(text, self._schema)
        except pandas.errors.EmptyDataError as error:
            raise self._malformed(str(error)) from error
        finally:
            text.detach()
        return frame

    def _check_shape(self, frame: Any) -> None:
        import pandas as pd

        if not len(frame.columns):
            self._refuse("it has no columns, and CSV has no rows without them")
        if frame.columns.nlevels > 1 or frame.columns.name is not None or not all(type(name) is str for name in frame.columns):
            self._refuse("column names must be plain strings in one level, without a name of their own; use ParquetFileIO")
        if frame.columns.has_duplicates:
            self._refuse(f"column names are not unique: {list(frame.columns[frame.columns.duplicated()])}")
        if type(frame.index) not in (pd.RangeIndex, pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex, pd.MultiIndex, pd.CategoricalIndex):
            self._refuse(f"its index is a {type(frame.index).__name__}; use ParquetFileIO, or reset_index()")
        if not all(name is None or type(name) is str for name in frame.index.names):
            self._refuse(f"its index is named {list(frame.index.names)}, and names must be strings")
        if not self.index and not (_is_range(frame.index) and (frame.index.start, frame.index.step) == (0, 1) and frame.index.name is None):
            self._refuse("index=False leaves out its index, which is not the default one; use index=True, or reset_index()")
        for name in (*frame.columns, *frame.index.names):
            if name is not None and (flaw := _flaw(name)):
                self._refuse(f"the name {name!r} {flaw}")

    def _check_column(self, column: Any, label: str) -> None:
        import pandas as pd

        dtype = str(column.dtype)
        if isinstance(column.dtype, pd.CategoricalDtype):
            categories = column.dtype.categories
            if not all(type(value) is str for value in categories):
                self._refuse(f"{label} has categories that are not strings; use ParquetFileIO")
            self._check_strings(_as_series(categories), column.isna().any(), f"{label} (its categories)")
        elif column.dtype == object or isinstance(column.dtype, pd.StringDtype):
            missing = column.isna()
            present = column[~missing]
            for value in present:
                if type(value) is not str:
                    self._refuse(f"{label} holds {value!r}, and CSV keeps no other objects than strings; use ParquetFileIO or PickleFileIO")
            if column.dtype == object and len({type(value) for value in column[missing]}) > 1:
                self._refuse(f"{label} holds missing values of several kinds (None, NaN, NA); choose one")
            if column.dtype == object and not all(value is None or type(value) is float for value in column[missing]):
                self._refuse(f"{label} holds missing values other than None and NaN; use a string dtype")
            self._check_strings(present, missing.any(), label)
        elif dtype.startswith(_CONVERTED):
            try:
                exact = _from_text(_to_text(column), _describe(column)).equals(column)
            except (ValueError, NotImplementedError, OverflowError):  # years before 1 or after 9999
                exact = False
            if not exact:
                self._refuse(f"{label} holds times that text does not give back; use ParquetFileIO")
        elif dtype not in _PARSED and dtype not in _NULLABLE:
            self._refuse(f"{label} has the dtype {dtype}; use ParquetFileIO or PickleFileIO")

    def _check_strings(self, present: Any, missing: Any, label: str) -> None:
        for value in present:
            if flaw := _flaw(value):
                self._refuse(f"{label} holds {value!r}, which {flaw}")
            if missing and value == "":
                self._refuse(
                    f"{label} holds both missing values and empty strings, and CSV writes both as an empty field; use ParquetFileIO"
                )


def _flaw(text: str) -> str:
    if "\0" in text:
        return "contains a NUL character, where CSV readers stop"
    if "\r" in text:
        return "contains a carriage return, which CSV readers take for the end of a line"
    return "" if encodable(text) else "contains half a surrogate pair, which UTF-8 cannot hold"


def _is_range(index: Any) -> bool:
    import pandas as pd

    return isinstance(index, pd.RangeIndex)


def _as_series(index: Any) -> Any:
    """The values of `index` with their dtype: its own `to_series` turns objects into times."""
    import pandas as pd

    return pd.Series(index.array, dtype=index.dtype)


def _describe(column: Any) -> dict[str, Any]:
    """The facts that `_from_text` needs to rebuild this column."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = column.dtype.categories
        return {
            "dtype": "category",
            "categories": list(categories),
            "ordered": bool(column.dtype.ordered),
            "of": _describe(_as_series(categories)),
        }
    facts: dict[str, Any] = {"dtype": str(column.dtype)}
    if column.dtype == object:
        facts["missing"] = "none" if not column.isna().any() else "None" if column[column.isna()].iloc[0] is None else "NaN"
    elif isinstance(column.dtype, pd.StringDtype):
        # two string dtypes share a name and differ in their missing value and storage
        facts.update(
            dtype="string",
            storage=column.dtype.storage,
            nan=column.dtype.na_value is not pd.NA,
            missing="none" if not column.isna().any() else "NA",
        )
    return facts


def _to_text(column: Any) -> Any:
    """Times and durations as text with all their digits; any other column unchanged, for pandas to write."""
    dtype = str(column.dtype)
    if not dtype.startswith(_CONVERTED):
        return column
    if dtype.startswith("datetime64"):
        if "," in dtype:  # in UTC: historical local offsets have seconds, which no parser takes
            column = column.dt.tz_convert("UTC")
        text = column.map(lambda time: time.isoformat(), na_action="ignore")
    else:
        text = column.astype("int64").map(str)
    return text.astype(object).where(column.notna(), None)


def _index_to_text(index: Any) -> Any:
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        return index
    levels = [_to_text(_as_series(index.get_level_values(level))) for level in range(index.nlevels)]
    if index.nlevels == 1:
        return pd.Index(levels[0].array, dtype=levels[0].dtype, name=index.name)
    return pd.MultiIndex.from_arrays([level.array for level in levels], names=index.names)


def _from_text(column: Any, facts: dict[str, Any]) -> Any:
    """Rebuild a column from its fields, by the facts of `_describe`."""
    import pandas as pd

    dtype = facts["dtype"]
    if dtype in _PARSED:
        return column
    if dtype == "category":
        values = _from_text(pd.Series(facts["categories"], dtype=object), facts["of"])
        categories = pd.Index(values, dtype=values.dtype)
        codes = {value: code for code, value in enumerate(facts["categories"])}
        numbers = [codes[value] if value in codes else _no_code(value) for value in column]
        kind = pd.CategoricalDtype(categories, facts["ordered"])
        return pd.Series(pd.Categorical.from_codes(numbers, dtype=kind), index=column.index, name=column.name)
    if facts.get("missing", "none") != "none":
        column = column.astype(object).where(column != "", None)
    if dtype == "object":
        return column.astype(object).where(column.notna(), float("nan")) if facts["missing"] == "NaN" else column.astype(object)
    if dtype == "string":
        return column.astype(pd.StringDtype(facts["storage"], na_value=float("nan") if facts["nan"] else pd.NA))
    blank = column.isna() | (column == "")
    if dtype.startswith("datetime64"):
        zoned = "," in dtype
        times = pd.to_datetime(column.where(~blank, None), format="ISO8601", utc=zoned)
        return times.astype(dtype)
    if dtype.startswith("timedelta64"):
        counts = column.where(~blank, str(-(2**63))).astype("int64")
        return counts.astype(dtype)
    present = column.where(~blank, None)
    if dtype == "boolean":
        present = present.map({"True": True, "False": False, None: None}, na_action="ignore")
        return pd.Series(pd.array(list(present.where(~blank, None)), dtype="boolean"), index=column.index, name=column.name)
    number = float if dtype.startswith("Float") else int
    values = [None if empty else number(value) for value, empty in zip(column, blank, strict=True)]
    return pd.Series(pd.array(values, dtype=dtype), index=column.index, name=column.name)


def _no_code(value: str) -> int:
    if value != "":
        raise ValueError(f"{value!r} is none of its column's categories")
    return -1


def _read(text: Any, schema: dict[str, Any]) -> Any:
    import pandas as pd

    ranged = "range" in schema
    levels = [{"dtype": "int64"}] if ranged else schema["levels"]
    columns = [*(levels if schema["index_written"] else []), *schema["columns"]]
    keys = list(range(len(columns)))
    parsed = {key: facts["dtype"] if facts["dtype"] in _PARSED else "str" for key, facts in zip(keys, columns, strict=True)}
    floats = {key: [""] for key in keys if parsed[key].startswith("float")}
    _check_header(text, schema, len(columns))
    # strings stay objects of Python until `_from_text` converts them
    options: dict[str, Any] = {"dtype": {key: object if kind == "str" else kind for key, kind in parsed.items()}}
    options.update(header=None, names=keys, keep_default_na=False, na_values=floats, skip_blank_lines=False)
    if int(pd.__version__.partition(".")[0]) < 3:  # later versions are exact by default, and warn about the option
        options["float_precision"] = "round_trip"
    try:
        frame = pd.read_csv(text, **options)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame({key: pd.Series([], dtype=kind) for key, kind in options["dtype"].items()})
    except OverflowError as error:
        raise ValueError(str(error)) from error
    if not _is_range(frame.index):
        raise ValueError(f"it has rows of more than {len(columns)} fields")
    made = {key: _from_text(frame[key], facts) for key, facts in zip(keys, columns, strict=True)}
    count = len(levels) if schema["index_written"] else 0
    result = pd.DataFrame({key: made[key] for key in keys[count:]})
    result.columns = pd.Index(schema["names"], dtype=object) if schema["object_names"] else pd.Index(schema["names"], dtype="str")
    result.index = _index(schema, [made[key] for key in keys[:count]], len(frame))
    return result


def _check_header(text: Any, schema: dict[str, Any], count: int) -> None:
    """Read the line of names. Raises ValueError for columns moved or added by hand, which would get the values of others."""
    header = text.readline()
    while header.count('"') % 2 and (more := text.readline()):  # a name may span lines
        header += more
    found = next(csv.reader(io.StringIO(header, newline="")), [])
    names = schema["names"]
    if len(found) != count or found[-len(names) :] != names:
        raise ValueError(f"its columns are {found}, its schema names {names}; delete the schema to read it as it is")


def _index(schema: dict[str, Any], levels: list[Any], rows: int) -> Any:
    import pandas as pd

    names = schema["index_names"]
    if "range" in schema:
        start, stop, step = schema["range"]
        index: Any = pd.RangeIndex(start, stop, step, name=names[0])
        if len(index) != rows:
            raise ValueError(f"it has {rows} rows, its schema names {len(index)}")
        return index
    if schema["multi"]:
        return pd.MultiIndex.from_arrays([level.array for level in levels], names=names)
    index = pd.Index(levels[0].array, dtype=levels[0].dtype, name=names[0])
    if schema["freq"] is not None:
        index.freq = schema["freq"]
    return index
