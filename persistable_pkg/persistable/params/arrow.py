"""polars and pyarrow values: names, dtypes and items, independent of their chunks. Loaded when the first one is met."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from persistable.errors import ParamsError
from persistable.params.columns import masked
from persistable.params.reduced_values import Bulk, Parts, Refused, Tagged

if TYPE_CHECKING:
    from persistable.params.reduced_values import Reduce


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, a class of polars or pyarrow; None if there is none."""
    package = cls.__module__.partition(".")[0]
    if package not in ("polars", "pyarrow"):
        return None
    found = _EXACT.get(f"{package}:{cls.__name__}")
    if found is None and package == "polars" and issubclass(cls, _polars().DataType):
        return _polars_dtype
    if found is None and package == "pyarrow" and issubclass(cls, _pyarrow().Array):
        return _arrow_array
    if found is None and package == "pyarrow" and issubclass(cls, _pyarrow().DataType):
        return _arrow_dtype
    return found


def _polars() -> Any:
    return sys.modules["polars"]


def _pyarrow() -> Any:
    return sys.modules["pyarrow"]


# ------------------------------------------------------------------ polars


def _polars_frame(value: Any) -> Tagged:
    return Tagged("polars.DataFrame", Parts(names=list(value.columns), data=[_polars_column(series) for series in value.get_columns()]))


def _polars_dtype(value: Any) -> Tagged:
    return Tagged("polars.dtype", _describe(value))


_NUMBERS = (
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Date",
    "Datetime",
    "Duration",
    "Time",
)


def _polars_column(series: Any) -> Parts:
    dtype = _instance(series.dtype)
    described = _describe(dtype)
    name = type(dtype).__name__
    if name in _NUMBERS:
        items, missing = masked(series.to_physical().fill_null(0).to_numpy(), series.is_null().to_numpy())
        return Parts(dtype=described, items=items, missing=missing)
    if name == "Boolean":
        items, missing = masked(series.fill_null(value=False).to_numpy(), series.is_null().to_numpy())
        return Parts(dtype=described, items=items, missing=missing)
    if name == "Array":
        return Parts(dtype=described, items=_polars_column(series.arr.to_list()))
    if name == "List":
        lengths = series.list.len()
        inner = series.filter((lengths > 0).fill_null(value=False)).explode()
        return Parts(dtype=described, lengths=Bulk(lengths.to_list()), items=_polars_column(inner))
    if name == "Struct":
        fields = [_polars_column(series.struct.field(field.name)) for field in dtype.fields]
        return Parts(dtype=described, items=fields, missing=Bulk(series.is_null().to_list()))
    if name in ("String", "Binary", "Categorical", "Enum", "Decimal", "Null", "Object", "Int128", "UInt128"):
        return Parts(dtype=described, items=Bulk(series.to_list()))
    raise Refused(f"it has a column of dtype {dtype}, which is not known here", "convert the column with cast")


def _describe(dtype: Any) -> Any:
    """A polars dtype as plain values, in words that do not depend on how a version prints it."""
    name = type(dtype).__name__
    if name == "Struct":
        return [name, [[field.name, _describe(_instance(field.dtype))] for field in dtype.fields]]
    if name == "List":
        return [name, _describe(_instance(dtype.inner))]
    if name == "Array":
        return [name, _describe(_instance(dtype.inner)), dtype.size]
    if name == "Enum":
        return [name, dtype.categories.to_list()]
    details = [getattr(dtype, attribute) for attribute in ("time_unit", "time_zone", "precision", "scale") if hasattr(dtype, attribute)]
    return [name, *details]


def _instance(dtype: Any) -> Any:
    return dtype() if isinstance(dtype, type) else dtype


def _lazy(_: Any) -> Tagged:
    raise Refused("a LazyFrame is a query, and what it gives may change", "pass what collect() gives, or the query's own settings")


def _expression(_: Any) -> Tagged:
    raise Refused("a polars expression is written differently by each version", "pass what it is made from: names and numbers")


# ------------------------------------------------------------------ pyarrow


def _arrow_table(value: Any) -> Tagged:
    return Tagged("pyarrow.Table", Parts(names=list(value.schema.names), data=[arrow_column(column) for column in value.columns]))


def _arrow_array(value: Any) -> Tagged:
    return Tagged("pyarrow.Array", arrow_column(value))


def _arrow_dtype(value: Any) -> Tagged:
    return Tagged("pyarrow.dtype", arrow_type(value))


_ARROW_NAMES = {
    "null": "null",
    "boolean": "bool",
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "float16": "halffloat",
    "float32": "float",
    "float64": "double",
    "string": "string",
    "large_string": "large_string",
    "string_view": "string_view",
    "binary": "binary",
    "large_binary": "large_binary",
    "binary_view": "binary_view",
    "date32": "date32[day]",
    "date64": "date64[ms]",
    "interval": "month_day_nano_interval",
}
"""The types without parameters, by the names of the predicates in `pyarrow.types`."""


def arrow_type(kind: Any) -> str:
    """An Arrow type as text: the text that Arrow prints, except for the names of the items of lists and maps."""
    types = _pyarrow().types
    for name, text in _ARROW_NAMES.items():
        tell = getattr(types, f"is_{name}", None)
        if tell is not None and tell(kind):
            return text
    if types.is_timestamp(kind):
        return f"timestamp[{kind.unit}{f', tz={kind.tz}' if kind.tz else ''}]"
    if types.is_time(kind) or types.is_duration(kind):
        name = "duration" if types.is_duration(kind) else f"time{kind.bit_width}"
        return f"{name}[{kind.unit}]"
    if types.is_decimal(kind):
        return f"decimal{kind.bit_width}({kind.precision}, {kind.scale})"
    if types.is_fixed_size_binary(kind):
        return f"fixed_size_binary[{kind.byte_width}]"
    if types.is_dictionary(kind):
        return f"dictionary<values={arrow_type(kind.value_type)}, indices={arrow_type(kind.index_type)}, ordered={int(kind.ordered)}>"
    return _nested_type(kind, types)


def _not_null(field: Any) -> str:
    return "" if field.nullable else " not null"


def _nested_type(kind: Any, types: Any) -> str:
    if types.is_map(kind):
        return f"map<{arrow_type(kind.key_type)}, {arrow_type(kind.item_type)}{', keys_sorted' if kind.keys_sorted else ''}>"
    for name in ("list", "large_list", "fixed_size_list", "list_view", "large_list_view"):
        tell = getattr(types, f"is_{name}", None)
        if tell is not None and tell(kind):
            size = f"[{kind.list_size}]" if name == "fixed_size_list" else ""
            return f"{name}<item: {arrow_type(kind.value_type)}{_not_null(kind.value_field)}>{size}"
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return f"struct<{', '.join(f'{each.name}: {arrow_type(each.type)}' + _not_null(each) for each in fields)}>"
    if isinstance(kind, _pyarrow().BaseExtensionType):
        return f"extension<{kind.extension_name}, {arrow_type(kind.storage_type)}>"
    raise Refused(f"the Arrow type {kind} is not known here", "convert it with cast")


def arrow_column(column: Any) -> Parts:
    """The items of an Arrow array, independent of chunks. Dictionary encoding is part of its type, the order of the dictionary is not."""
    arrow = _pyarrow()
    kind, described = column.type, arrow_type(column.type)
    types = arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        return Parts(dtype=described, items=arrow_column(_storage(column)))
    if types.is_dictionary(kind):
        return Parts(dtype=described, items=arrow_column(column.cast(kind.value_type)))
    if types.is_temporal(kind) and not types.is_interval(kind):
        column = column.cast(arrow.int32() if kind.bit_width == 32 else arrow.int64())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return Parts(dtype=described, items=_arrow_objects(column, kind))
    flat = _one(column)
    missing = flat.is_null().to_numpy(zero_copy_only=False)
    filled = flat.fill_null(arrow.scalar(0).cast(flat.type))
    items, mask = masked(filled.to_numpy(zero_copy_only=False), missing)
    return Parts(dtype=described, items=items, missing=mask)


def _one(column: Any) -> Any:
    """A column as one array."""
    arrow = _pyarrow()
    flat = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    if isinstance(flat, arrow.ChunkedArray):  # older versions return a single chunk as a chunked array
        flat = arrow.concat_arrays(flat.chunks) if flat.num_chunks else arrow.array([], column.type)
    return flat


def _storage(column: Any) -> Any:
    arrow = _pyarrow()
    if isinstance(column, arrow.ChunkedArray):
        return arrow.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    return column.storage


def _arrow_objects(column: Any, kind: Any) -> Any:
    """Items one by one, as Python objects; times inside lists and structs as integers, as versions make other objects of them."""
    plain = _without_times(kind)
    return Bulk((column if plain == kind else _one(column).cast(plain)).to_pylist())


def _without_times(kind: Any) -> Any:
    arrow = _pyarrow()
    types = arrow.types
    if types.is_temporal(kind) and not types.is_interval(kind):
        return arrow.int32() if kind.bit_width == 32 else arrow.int64()
    if types.is_list(kind):
        return arrow.list_(kind.value_field.with_type(_without_times(kind.value_type)))
    if types.is_large_list(kind):
        return arrow.large_list(kind.value_field.with_type(_without_times(kind.value_type)))
    if types.is_struct(kind):
        return arrow.struct([each.with_type(_without_times(each.type)) for each in (kind.field(i) for i in range(kind.num_fields))])
    return kind


_EXACT: dict[str, Reduce] = {
    "polars:DataFrame": _polars_frame,
    "polars:Expr": _expression,
    "polars:LazyFrame": _lazy,
    "polars:Series": lambda value: Tagged("polars.Series", Parts(name=value.name, data=_polars_column(value))),
    "pyarrow:ChunkedArray": _arrow_array,
    "pyarrow:RecordBatch": _arrow_table,
    "pyarrow:Schema": lambda value: Tagged("pyarrow.schema", [[field.name, arrow_type(field.type), field.nullable] for field in value]),
    "pyarrow:Table": _arrow_table,
}


# ------------------------------------------------------------------ and back


def rebuild(tag: str, content: Any) -> Any:
    """The value that was reduced to `content` under `tag`. Its blobs must hold their bytes."""
    if tag == "polars.DataFrame":
        series = map(_polars_back, content["names"], content["data"])
        return import_module("polars").DataFrame(list(series))
    if tag == "polars.Series":
        return _polars_back(content["name"], content["data"])
    if tag == "polars.dtype":
        return _polars_type(content)
    pyarrow = import_module("pyarrow")
    if tag == "pyarrow.Table":
        return pyarrow.table(list(map(column_back, content["data"])), names=content["names"])
    if tag == "pyarrow.Array":
        return column_back(content)
    if tag == "pyarrow.schema":
        return pyarrow.schema([pyarrow.field(name, _arrow_type_back(kind), nullable) for name, kind, nullable in content])
    return _arrow_type_back(content)


def _polars_type(described: Any) -> Any:
    polars = import_module("polars")
    name, *details = described
    if name == "Struct":
        return polars.Struct([polars.Field(field, _polars_type(inner)) for field, inner in details[0]])
    if name in ("List", "Array"):
        return getattr(polars, name)(_polars_type(details[0]), *details[1:])
    kind = getattr(polars, name)
    if not issubclass(kind, polars.DataType):
        raise ValueError(f"{name} is no dtype")
    return kind(*details)


def _polars_back(name: str, column: Any) -> Any:
    polars = import_module("polars")
    dtype, items = _polars_type(column["dtype"]), column["items"]
    kind = column["dtype"][0]
    if "missing" in column and isinstance(items, bytes):
        physical = {"Boolean": "?", "Date": "i4", "Datetime": "i8", "Duration": "i8", "Time": "i8"}.get(kind, kind.lower())
        made = polars.Series(name, np.frombuffer(items, physical)).cast(dtype)
        missing = np.frombuffer(column["missing"], "?")
    elif kind == "Array":
        return _polars_back(name, items).cast(dtype)
    elif kind == "List":
        inner, start, rows = _polars_back("", items), 0, []
        for length in column["lengths"]:
            rows.append(None if length is None else inner.slice(start, length))
            start += length or 0
        return polars.Series(name, rows, dtype=dtype)
    elif kind == "Struct":
        names = [field for field, _ in column["dtype"][1]]
        rows = polars.DataFrame(list(map(_polars_back, names, items))).to_dicts()
        return polars.Series(name, [None if gone else row for gone, row in zip(column["missing"], rows, strict=True)], dtype=dtype)
    else:
        return polars.Series(name, items, dtype=dtype, strict=True)
    if missing.any():
        made = made.scatter(np.flatnonzero(missing), None)
    return made


def _arrow_type_back(text: str) -> Any:
    """The type that `arrow_type` wrote as `text`. Raises ParamsError for maps, structs and extensions."""
    pyarrow = import_module("pyarrow")
    predicate = next((name for name, known in _ARROW_NAMES.items() if known == text), None)
    if predicate is not None:
        return getattr(pyarrow, {"boolean": "bool_", "interval": "month_day_nano_interval"}.get(predicate, predicate))()
    found = re.fullmatch(r"(timestamp|duration|time32|time64|decimal\d+|fixed_size_binary)[\[(]([^,]+?)(?:, (?:tz=)?(.+))?[\])]", text)
    if found is not None:
        name, first, second = found.groups()
        make = getattr(pyarrow, {"fixed_size_binary": "binary"}.get(name, name))
        given = [int(each) if each.isdigit() else each for each in (first, second) if each is not None]
        return make(*given)
    found = re.fullmatch(r"(list|large_list)<item: (.+)>", text)
    if found is not None and not found[2].endswith(" not null"):
        return getattr(pyarrow, found[1] if found[1] != "list" else "list_")(_arrow_type_back(found[2]))
    found = re.fullmatch(r"dictionary<values=(.+), indices=(\w+), ordered=([01])>", text)
    if found is not None:
        return pyarrow.dictionary(_arrow_type_back(found[2]), _arrow_type_back(found[1]), found[3] == "1")
    raise ParamsError(f"the Arrow type {text} cannot be made again from a record; make the node with the value itself")


def column_back(column: Any) -> Any:
    """The array that `arrow_column` described."""
    pyarrow = import_module("pyarrow")
    kind, items = _arrow_type_back(column["dtype"]), column["items"]
    types = pyarrow.types
    if types.is_dictionary(kind):
        return column_back(items).dictionary_encode().cast(kind)
    if "missing" in column:
        temporal = types.is_temporal(kind)
        physical = f"i{kind.bit_width // 8}" if temporal else "?" if types.is_boolean(kind) else kind.to_pandas_dtype()
        made = pyarrow.array(np.frombuffer(items, physical), mask=np.frombuffer(column["missing"], "?"))
        return made.cast(kind) if temporal else made
    plain = _without_times(kind)
    made = pyarrow.array(items, plain)
    return made if plain == kind else made.cast(kind)
