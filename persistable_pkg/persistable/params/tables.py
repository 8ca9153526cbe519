"""polars and pyarrow values: names, dtypes and items, however they are chunked. Loaded when the first one is met."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from persistable.params.columns import masked, values
from persistable.params.forms import Parts, Refused, Tagged

if TYPE_CHECKING:
    from persistable.params.forms import Reduce


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, a class of polars' or pyarrow's; None if nothing does."""
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


def _polars_series(value: Any) -> Tagged:
    return Tagged("polars.Series", Parts(name=value.name, data=_polars_column(value)))


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
    dtype = series.dtype
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
        return Parts(dtype=described, lengths=values(lengths.to_list()), items=_polars_column(inner))
    if name == "Struct":
        fields = [_polars_column(series.struct.field(field.name)) for field in dtype.fields]
        return Parts(dtype=described, items=fields, missing=values(series.is_null().to_list()))
    if name in ("String", "Binary", "Categorical", "Enum", "Decimal", "Null", "Object", "Int128", "UInt128"):
        return Parts(dtype=described, items=values(series.to_list()))
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
    return Tagged("pyarrow.dtype", str(value))


def _arrow_schema(value: Any) -> Tagged:
    return Tagged("pyarrow.schema", [[field.name, str(field.type), field.nullable] for field in value])


def arrow_column(column: Any) -> Parts:
    """The items of an Arrow array, however it is chunked. Dictionary encoding is part of its type, the order of the dictionary is not."""
    arrow = _pyarrow()
    kind, described = column.type, str(column.type)
    types = arrow.types
    if types.is_dictionary(kind):
        return Parts(dtype=described, items=arrow_column(column.cast(kind.value_type)))
    if types.is_temporal(kind) and not types.is_interval(kind):
        column = column.cast(arrow.int32() if kind.bit_width == 32 else arrow.int64())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return Parts(dtype=described, items=values(column.to_pylist()))
    flat = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    if isinstance(flat, arrow.ChunkedArray):  # older versions keep a single chunk so
        flat = arrow.concat_arrays(flat.chunks)
    missing = flat.is_null().to_numpy(zero_copy_only=False)
    filled = flat.fill_null(arrow.scalar(0).cast(flat.type))
    items, mask = masked(filled.to_numpy(zero_copy_only=False), missing)
    return Parts(dtype=described, items=items, missing=mask)


_EXACT: dict[str, Reduce] = {
    "polars:DataFrame": _polars_frame,
    "polars:Expr": _expression,
    "polars:LazyFrame": _lazy,
    "polars:Series": _polars_series,
    "pyarrow:ChunkedArray": _arrow_array,
    "pyarrow:RecordBatch": _arrow_table,
    "pyarrow:Schema": _arrow_schema,
    "pyarrow:Table": _arrow_table,
}
