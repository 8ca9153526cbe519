"""Comparison of two payloads by their type: arrays with a tolerance, tables by column, text line by line, all else by its parts."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false
from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence, Set
from contextlib import contextmanager
from difflib import SequenceMatcher
from types import FunctionType
from typing import Any, Literal, NamedTuple

from persistable.nodes.label import line

Outcome = Literal["identical", "equal", "different"]

MOST = 100
"""The most differences that are listed; all of them are counted."""
_DEEPEST = 200
_CHUNK = 1 << 22
_MOST_LINES = 5000


class Difference(NamedTuple):
    """One difference. path: where, as Python would reach it, such as ``['scores'][3]``. text: in words, first the one, then the other.

    outcome: ``"equal"`` where the values are the same within the tolerance, and only their types, dtypes or order are not.
    """

    path: str
    text: str
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class Comparison:
    """The differences of two payloads.

    outcome: ``"identical"`` where value, dtype and type are the same, ``"equal"`` where the values are, within the tolerance,
    ``"different"``. differences: the first `MOST` of them. number: of all differences.
    """

    def __init__(self, differences: list[Difference], number: int, different: bool) -> None:
        self.differences = differences
        self.number = number
        self.outcome: Outcome = "different" if different else "equal" if number else "identical"

    def __str__(self) -> str:
        if not self.number:
            return "identical"
        more = self.number - len(self.differences)
        return "\n".join([self.outcome, *(f"  {each}" for each in self.differences), *([f"  and {more} more"] if more else [])])

    def __repr__(self) -> str:
        return f"<Comparison: {self.outcome}{f', {self.number} differences' if self.number else ''}>"

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import card, code, listing

        rows = [(code(each.path), each.text) for each in self.differences]
        return card(self.outcome, listing(("where", "difference"), rows, self.number - len(rows)) if rows else "")


def compare(a: Any, b: Any, rtol: float = 0.0, atol: float = 0.0) -> Comparison:
    """The differences of `b` from `a`.

    Numbers are the same within ``atol + rtol * abs(a)``, and NaN is NaN. Composite values are compared part by part: arrays, frames of
    pandas, polars and Arrow, sparse matrices, labelled arrays, dicts, sequences, functions by their code, objects by their attributes
    (estimators, too, by params and fitted attributes). Figures are compared by the bytes they are saved as. Neither value is changed.
    """
    walk = _Walk(rtol, atol)
    walk.compare(a, b)
    return Comparison(walk.differences, walk.number, walk.different)


class _Walk:
    """One running comparison."""

    def __init__(self, rtol: float, atol: float) -> None:
        if not (rtol >= 0 and atol >= 0):
            raise ValueError(f"rtol is {rtol} and atol {atol}; give 0 or more")
        self.rtol = rtol
        self.atol = atol
        self.differences: list[Difference] = []
        self.number = 0
        self.different = False
        self._path: list[str] = []
        self._met: set[tuple[int, int]] = set()
        self._held: list[Any] = []

    def tell(self, text: str, equal: bool = False, path: str = "") -> None:
        """Note a difference at the current path, or at `path` below it."""
        self.number += 1
        self.different = self.different or not equal
        if len(self.differences) < MOST:
            self.differences.append(Difference("".join(self._path) + path, text, "equal" if equal else "different"))

    @contextmanager
    def at(self, step: str) -> Generator[None]:
        """Add `step` to the current path, while the block runs."""
        self._path.append(step)
        try:
            yield
        finally:
            self._path.pop()

    def part(self, step: str, a: Any, b: Any) -> None:
        """Compare the parts of both at `step`."""
        with self.at(step):
            self.compare(a, b)

    def compare(self, a: Any, b: Any) -> None:
        """Compare two values."""
        if a is b:
            return
        if _is_number(a) and _is_number(b):
            self._numbers(a, b)
            return
        if type(a) is not type(b) and not self._may_differ(a, b):
            self.tell(f"a {_type(a)}, a {_type(b)}: {_short(a)}, {_short(b)}")
            return
        if type(a) in _ATOMS:
            if a != b:
                _ATOMS[type(a)](self, a, b)
            return
        pair = (id(a), id(b))
        if pair in self._met:
            return
        if len(self._path) > _DEEPEST:
            self.tell("it is nested too deeply to be compared")
            return
        self._met.add(pair)
        self._held += (a, b)  # or another object might be at the same place in memory
        differ = next((differ for module, is_kind, differ in _KINDS if (not module or module in sys.modules) and is_kind(a)), _objects)
        try:
            differ(self, a, b)
        except Exception as error:  # noqa: BLE001 - code of other packages
            self.tell(f"it cannot be compared: {type(error).__name__}: {error}")

    def _may_differ(self, a: Any, b: Any) -> bool:
        """Tell whether values of two types are compared by content all the same: an array and a memory-mapped one are both arrays."""
        np = sys.modules.get("numpy")
        plain = (np.ndarray, np.memmap) if np is not None else ()
        return (type(a) in plain and type(b) in plain) or (_is_index(a) and _is_index(b))

    def _numbers(self, a: Any, b: Any) -> None:
        same = a == b or (a != a and b != b)
        if type(a) is type(b) and same and _sign(a) == _sign(b):
            return
        if (isinstance(a, bool) or isinstance(b, bool)) and type(a) is not type(b):
            self.tell(f"{a!r}, {b!r}")
            return
        close = bool(same) or self._close(a, b)
        text = f"{a!r}, {b!r}" if type(a) is type(b) else f"{a!r}, a {_type(a)}, and {b!r}, a {_type(b)}"
        self.tell(text, equal=close)

    def _close(self, a: Any, b: Any) -> bool:
        try:
            return bool(abs(a - b) <= self.atol + self.rtol * abs(a)) and not math.isinf(abs(a))
        except (TypeError, OverflowError, ArithmeticError):
            return False


def _is_number(value: Any) -> bool:
    if isinstance(value, int | float | complex):
        return type(value).__module__ in ("builtins", "numpy")
    np = sys.modules.get("numpy")
    return np is not None and isinstance(value, np.number)


def _sign(value: Any) -> Any:
    """The sign of a float, zeros too; None for NaN and other types."""
    return math.copysign(1, value) if isinstance(value, float) and value == value else None


def _type(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _short(value: Any) -> str:
    try:
        return line(repr(value)[:200], 60)
    except Exception:  # noqa: BLE001 - a value that cannot show itself
        return f"<{_type(value)}>"


# text and bytes


def _text(walk: _Walk, a: str, b: str) -> None:
    """Note the differences of two texts, by line where there are several."""
    mine, other = a.splitlines(keepends=True), b.splitlines(keepends=True)
    if (len(mine) <= 1 and len(other) <= 1) or max(len(mine), len(other)) > _MOST_LINES:
        first = _first_other(a, b)
        start = max(0, first - 20)
        before = "…" if start else ""
        walk.tell(f"{before}{_short(a[start : start + 60])}, {before}{_short(b[start : start + 60])} (from character {first} on)")
        return
    for how, i, j, k, m in SequenceMatcher(None, mine, other, autojunk=False).get_opcodes():
        if how == "equal":
            continue
        for number in range(max(j - i, m - k)):
            one = mine[i + number] if i + number < j else None
            two = other[k + number] if k + number < m else None
            if one is None:
                walk.tell(f"line {k + number + 1} is new: {_short(two)}")
            elif two is None:
                walk.tell(f"line {i + number + 1} is gone: {_short(one)}")
            else:
                walk.tell(f"line {i + number + 1}: {_short(one)}, {_short(two)}")


def _bytes(walk: _Walk, a: bytes, b: bytes) -> None:
    sizes = f"{len(a):,} bytes" if len(a) == len(b) else f"{len(a):,} and {len(b):,} bytes"
    walk.tell(f"{sizes}, from byte {_first_other(a, b):,} on other ones")


def _first_other(a: Any, b: Any) -> int:
    """The first place at which two sequences differ: halves are compared, since items one by one take minutes for 100 MB."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _plain(walk: _Walk, a: Any, b: Any) -> None:
    walk.tell(f"{_short(a)}, {_short(b)}")


_ATOMS: dict[type, Callable[[_Walk, Any, Any], None]] = {
    str: _text, bytes: _bytes, bytearray: _bytes, bool: _plain, type(None): _plain, type(...): _plain,
}  # fmt: skip


# composite values

Part = tuple[str, Any]
"""The path of a part, as Python would write it, and the part."""


class Parts(NamedTuple):
    """The parts of a value.

    parts: by an id that the same part of another value shares. form: in words; where forms differ, parts are not compared. notes: facts by
    name, such as a frequency: values that differ in these alone are equal. ordered: True where the order of parts is such a fact.
    """

    parts: dict[Hashable, Part]
    form: str = ""
    notes: Mapping[str, Any] = {}
    ordered: bool = False


def _by_parts(parts_of: Callable[[Any], Parts]) -> Callable[[_Walk, Any, Any], None]:
    """A function that compares values by the parts that `parts_of` returns."""

    def differ(walk: _Walk, a: Any, b: Any) -> None:
        one, two = parts_of(a), parts_of(b)
        if one.form != two.form:
            walk.tell(f"{one.form}, {two.form}")
            return
        for what, note in one.notes.items():
            if note != two.notes[what]:
                walk.tell(f"{what} {note} and {two.notes[what]}", equal=True)
        for how, mine, others in (("gone", one.parts, two.parts), ("new", two.parts, one.parts)):
            for name, (step, part) in mine.items():
                if name not in others:
                    walk.tell(f"is {how}: {_short(part)}", path=step)
        for name, (step, part) in one.parts.items():
            if name in two.parts:
                walk.part(step, part, two.parts[name][1])
        if one.ordered and one.parts.keys() == two.parts.keys() and list(one.parts) != list(two.parts):
            walk.tell("the same parts in another order", equal=True)

    return differ


def _attributes(**parts: Any) -> dict[Hashable, Part]:
    return {(".", name): (f".{name}", part) for name, part in parts.items()}


def _itself(part: Any) -> dict[Hashable, Part]:
    return {"": ("", part)}


def _mapping(value: Mapping[Any, Any]) -> Parts:
    own = _extras(value) if isinstance(value, dict) else {}
    return Parts({("[]", _same_nan(key)): (f"[{_short(key)}]", part) for key, part in value.items()} | own, ordered=True)


def _extras(value: Any) -> dict[Hashable, Part]:
    """The attributes of a container of a custom class, besides its items."""
    found = _attributes(**{name: getattr(value, name) for name in ("default_factory", "maxlen") if hasattr(type(value), name)})
    return found if type(value).__module__ in ("builtins", "collections", "numpy") else found | _own(value)


_differ_in_extras = _by_parts(lambda value: Parts(_extras(value)))


def _same_nan(value: Any) -> Hashable:
    """`value`, with each NaN replaced by a value that is equal for every NaN of its type, also in tuples and frozen sets."""
    if type(value) is tuple or type(value) is frozenset:
        return type(value)(map(_same_nan, value))
    return value if value == value else (type(value), repr(value))


def _bounds(value: Any) -> Parts:
    """The parts of a range or slice, since Python calls all empty ranges equal."""
    return Parts(_attributes(start=value.start, stop=value.stop, step=value.step))


def _sequences(walk: _Walk, a: Any, b: Any) -> None:
    if len(a) != len(b):
        walk.tell(f"{len(a):,} and {len(b):,} items")
    for i, (one, two) in enumerate(zip(a, b, strict=False)):
        if one is not two:
            walk.part(f"[{i}]", one, two)
    _differ_in_extras(walk, a, b)


def _sets(walk: _Walk, a: Any, b: Any) -> None:
    mine, other = ({_same_nan(each): each for each in some} for some in (a, b))
    gone, new = [mine[each] for each in mine if each not in other], [other[each] for each in other if each not in mine]
    if gone or new:
        words = [f"{_shown(some)} {'is' if len(some) == 1 else 'are'} {how}" for some, how in ((gone, "gone"), (new, "new")) if some]
        walk.tell("; ".join(words))
    _differ_in_extras(walk, a, b)


def _shown(some: list[Any]) -> str:
    texts = sorted(map(_short, some))
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def _function(value: Any) -> Parts:
    """The parts of a function: one pickled by value is another object in each process, with the same code."""
    closure = [cell.cell_contents for cell in value.__closure__ or ()]
    parts = _attributes(__code__=value.__code__, __defaults__=value.__defaults__, __kwdefaults__=value.__kwdefaults__, __closure__=closure)
    return Parts(parts | _own(value), f"{value.__module__}.{value.__qualname__}")


def _objects(walk: _Walk, a: Any, b: Any) -> None:
    """Compare two objects by attributes and pickled state; those without either by equality."""
    by_equality = isinstance(a, type) or type(a).__module__ in _BY_EQUALITY or any(base.__module__ == "enum" for base in type(a).__mro__)
    mine, other = (None if by_equality else _state(value) for value in (a, b))
    if mine is not None and other is not None:
        _by_parts(lambda value: Parts(mine if value is a else other))(walk, a, b)
    elif not (a == b or (a != a and b != b)):
        walk.tell(f"{_short(a)}, {_short(b)}")
    elif type(a).__module__ in _BY_EQUALITY and repr(a) != repr(b):  # one moment in two zones, or 1.0 and 1.00
        walk.tell(f"{_short(a)}, {_short(b)}", equal=True)


_BY_EQUALITY = ("datetime", "decimal", "fractions", "uuid", "pathlib", "zoneinfo", "re", "ipaddress")


def _own(value: Any) -> dict[Hashable, Part]:
    """The attributes of an object, those in slots too."""
    found: dict[str, Any] = {}
    for base in type(value).__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        found.update(own)
    return {(".", name): (f".{name}" if name.isidentifier() else f".<{name}>", part) for name, part in found.items()}


def _state(value: Any) -> dict[Hashable, Part] | None:
    """The attributes of an object, and its state in C according to pickling; None where there is neither."""
    own = _own(value)
    try:
        kept = value.__reduce_ex__(4)
        if isinstance(kept, str):  # the name of a global
            return own or None
        return (own or _attributes(state=kept[2] if len(kept) > 2 else None)) | _attributes(arguments=kept[1])
    except Exception:  # noqa: BLE001 - an object that cannot be pickled
        return own or None


# arrays


def _arrays(walk: _Walk, a: Any, b: Any) -> None:
    if a.shape != b.shape or a.dtype.names != b.dtype.names:
        same = a.shape == b.shape
        walk.tell(f"dtypes {a.dtype} and {b.dtype}" if same else f"shapes {a.shape} and {b.shape}")
        return
    if a.dtype.names is not None:
        for name in a.dtype.names:
            walk.part(f"[{name!r}]", a[name], b[name])
        return
    if a.dtype != b.dtype:
        walk.tell(f"dtypes {a.dtype} and {b.dtype}", equal=True)
    kinds = {a.dtype.kind, b.dtype.kind}
    if a.dtype.hasobject or b.dtype.hasobject or (len(kinds) > 1 and not kinds <= {*"biufc"}):
        _items(walk, a.reshape(-1).tolist(), b.reshape(-1).tolist(), lambda i: _index(a.shape, i))
    else:
        _values(walk, a, b, lambda i: _index(a.shape, i))
    _differ_in_extras(walk, a, b)


def _index(shape: Any, flat: int) -> str:
    import numpy as np

    return f"[{', '.join(str(int(i)) for i in np.unravel_index(flat, shape))}]" if shape else ""


def _items(walk: _Walk, a: Iterable[Any], b: Iterable[Any], where: Callable[[int], str]) -> None:
    """Compare items one by one."""
    for i, (one, two) in enumerate(zip(a, b, strict=True)):
        if one is not two and not (type(one) is type(two) and type(one) in (str, int, bool) and one == two):
            walk.part(where(i), one, two)


def _values(walk: _Walk, a: Any, b: Any, where: Callable[[int], str]) -> None:
    """Compare numbers, times and text of two arrays of one shape; note in one line the number, the size and the first of differences."""
    import numpy as np

    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    count, far, first, signs = 0, 0, -1, 0
    largest = relative = 0.0
    for start in range(0, max(1, flat_a.size), _CHUNK):
        one, two = np.asarray(flat_a[start : start + _CHUNK]), np.asarray(flat_b[start : start + _CHUNK])
        if one.dtype == two.dtype and one.tobytes() == two.tobytes():
            continue
        other = np.flatnonzero(~_same(one, two))
        signs += _signs(one, two)
        if other.size:
            close, by, share = _distance(walk, one[other], two[other])
            count += int(other.size)
            far += int(np.count_nonzero(~close))
            if first < 0:
                first = start + int(other[0])
            largest, relative = max(largest, by), max(relative, share)
    if count:
        size = f", by up to {largest:.3g}{f' (relatively {relative:.3g})' if relative else ''}" if largest == largest and largest else ""
        shown = f"{_scalar(flat_a[first])}, {_scalar(flat_b[first])}"
        walk.tell(f"{count:,} of {flat_a.size:,} values differ{size}; first at {where(first) or 'it'}: {shown}", equal=not far)
    elif signs:
        walk.tell(f"{signs:,} zeros have another sign", equal=True)


def _same(one: Any, two: Any) -> Any:
    import numpy as np

    same = np.asarray(one == two)
    if one.dtype.kind in "fcmM" and two.dtype.kind in "fcmM":
        missing = np.isnat if one.dtype.kind in "mM" else np.isnan
        same = same | (missing(one) & missing(two))
    return same


def _signs(one: Any, two: Any) -> int:
    import numpy as np

    if one.dtype.kind != "f" or two.dtype.kind != "f":
        return 0
    return int(np.count_nonzero((one == 0) & (two == 0) & (np.signbit(one) != np.signbit(two))))


def _distance(walk: _Walk, one: Any, two: Any) -> tuple[Any, float, float]:
    """The mask of values within the tolerance, the largest distance, and the largest relative to the first value."""
    import numpy as np

    if one.dtype.kind not in "biufc" or two.dtype.kind not in "biufc":
        return np.zeros(one.shape, bool), 0.0, 0.0
    wide = np.complex128 if "c" in one.dtype.kind + two.dtype.kind else np.longdouble
    with np.errstate(all="ignore"):
        mine, other = one.astype(wide), two.astype(wide)
        distance, size = np.abs(other - mine), np.abs(mine)
        close = (distance <= walk.atol + walk.rtol * size) & np.isfinite(distance)
        share = distance[size > 0] / size[size > 0]
    finite, shares = distance[np.isfinite(distance)], share[np.isfinite(share)]
    return close, float(finite.max()) if finite.size else 0.0, float(shares.max()) if shares.size else 0.0


def _scalar(value: Any) -> str:
    return _short(
        value.item() if hasattr(value, "item") and getattr(value, "dtype", None) is not None and value.dtype.kind in "biufcSU" else value
    )


def _masked(value: Any) -> Parts:
    import numpy as np

    nothing = np.zeros((), value.dtype)[()]
    return Parts(_attributes(mask=np.ma.getmaskarray(value), data=value.filled(nothing), fill_value=value.fill_value), str(value.shape))


def _sparse(value: Any) -> Parts:
    entries = value.tocoo(copy=True)
    entries.sum_duplicates()
    places = getattr(entries, "coords", None) or (entries.row, entries.col)
    return Parts(_attributes(coords=tuple(places), data=entries.data), f"{value.format} of {value.shape}")


def _tensor(value: Any) -> Parts:
    plain = value.detach().cpu()
    try:
        array = plain.numpy()
    except TypeError:  # types that numpy does not have, such as bfloat16
        array = plain.float().numpy()
    return Parts(_itself(array), f"{value.dtype} of {tuple(value.shape)}")


def _variable(value: Any) -> Parts:
    return Parts(_itself(value.to_numpy()) | _attributes(attrs=dict(value.attrs)), f"dimensions {value.dims}")


def _data_array(value: Any) -> Parts:
    coords = {name: each.variable for name, each in value.coords.items()}
    return Parts(_itself(value.variable) | _attributes(name=value.name, coords=coords))


def _dataset(value: Any) -> Parts:
    coords = {name: each.variable for name, each in value.coords.items()}
    variables = _mapping({name: each.variable for name, each in value.data_vars.items()})
    return variables._replace(parts=variables.parts | _attributes(coords=coords, attrs=dict(value.attrs)))


# tables


class _Column(NamedTuple):
    """A column of pandas, polars or Arrow, and the labels of its items."""

    column: Any
    labels: Sequence[Any]

    @property
    def dtype(self) -> Any:
        return self.column.dtype if hasattr(self.column, "dtype") else self.column.type

    def numbers(self) -> Any:
        """The numbers and times in the column as an array; None where it has anything else, or gaps."""
        import numpy as np

        gaps: Any = getattr(self.column, "null_count", 0)
        if gaps() if callable(gaps) else gaps:
            return None
        found = np.asarray(self.column)
        return found if found.dtype.kind in "biufcmM" else None

    def items(self) -> list[Any]:
        """The items as Python objects; None for a gap, also for those of pandas."""
        if hasattr(self.column, "isna"):
            return [None if gap else item for item, gap in zip(self.column.to_list(), self.column.isna().tolist(), strict=True)]
        return list(self.column.to_pylist() if hasattr(self.column, "to_pylist") else self.column.to_list())


def _columns(walk: _Walk, a: _Column, b: _Column) -> None:
    """Compare two columns of one length: numbers without gaps as arrays, all others item by item."""
    if a.dtype != b.dtype:
        walk.tell(f"dtypes {a.dtype} and {b.dtype}", equal=True)

    def where(i: int) -> str:
        return f"[{_short(a.labels[i])}]"

    mine, other = a.numbers(), b.numbers()
    if (
        mine is not None
        and other is not None
        and (mine.dtype.kind == other.dtype.kind or {mine.dtype.kind, other.dtype.kind} <= {*"biufc"})
    ):
        _values(walk, mine, other, where)
    else:
        _items(walk, a.items(), b.items(), where)


def _table(names: Iterable[Any], columns: Iterable[Any], labels: Sequence[Any]) -> Parts:
    """The parts of a table. Columns of the same name are distinguished by their order."""
    number: Counter[Any] = Counter()
    parts: dict[Hashable, Part] = {}
    for name, column in zip(names, columns, strict=True):
        parts["[]", name, number[name]] = f"[{_short(name)}]", _Column(column, labels)
        number[name] += 1
    return Parts(parts, f"{len(labels):,} rows", ordered=True)


def _frame(value: Any) -> Parts:
    table = _table(value.columns, (value.iloc[:, i] for i in range(value.shape[1])), value.index)
    own = _attributes(index=value.index, names=list(value.columns.names), **_of_pandas(value))
    return table._replace(parts=own | table.parts)


def _series(value: Any) -> Parts:
    parts = _itself(_Column(value, value.index)) | _attributes(name=value.name, index=value.index, **_of_pandas(value))
    return Parts(parts, f"{len(value):,} rows")


def _of_pandas(value: Any) -> dict[str, Any]:
    """The attributes of a frame or series, including those that a subclass declares."""
    declared = {name: getattr(value, name, None) for name in type(value)._metadata if name != "_name"}
    return {"attrs": dict(value.attrs), **declared}


def _labels(value: Any) -> Parts:
    columns = [_Column(value.get_level_values(i), range(len(value))) for i in range(value.nlevels)]
    levels = _itself(columns[0]) if len(columns) == 1 else _attributes(levels=columns)
    notes = {"types": type(value).__name__, "frequencies": getattr(value, "freq", None)}
    return Parts(levels | _attributes(names=list(value.names)), f"{len(value):,} labels of {value.nlevels} levels", notes)


def _polars_frame(value: Any) -> Parts:
    return _table(value.columns, value.get_columns(), range(len(value)))


def _arrow_table(value: Any) -> Parts:
    return _table(value.schema.names, value.columns, range(len(value)))


def _array(value: Any) -> Parts:
    """The parts of a column by itself, of polars or Arrow."""
    return Parts(_itself(_Column(value, range(len(value)))) | _attributes(name=getattr(value, "name", None)), f"{len(value):,} items")


def _figure(value: Any) -> Parts:
    from persistable.fileio.figure import FigureFileIO

    return Parts(_attributes(svg=FigureFileIO("svg").dumps(value)))


def _of(module: str, *names: str) -> Callable[[Any], bool]:
    def is_kind(value: Any) -> bool:
        return any(base.__module__.partition(".")[0] == module and base.__name__ in names for base in type(value).__mro__)

    return is_kind


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocoo")


_is_index = _of("pandas", "Index")
_KINDS: list[tuple[str, Callable[[Any], bool], Callable[[_Walk, Any, Any], None]]] = [
    ("", lambda value: type(value) is _Column, _columns),
    ("numpy", _of("numpy", "MaskedArray"), _by_parts(_masked)),
    ("numpy", _of("numpy", "ndarray"), _arrays),
    ("pandas", _of("pandas", "DataFrame"), _by_parts(_frame)),
    ("pandas", _of("pandas", "Series"), _by_parts(_series)),
    ("pandas", _is_index, _by_parts(_labels)),
    ("polars", _of("polars", "DataFrame"), _by_parts(_polars_frame)),
    ("polars", _of("polars", "Series"), _by_parts(_array)),
    ("pyarrow", _of("pyarrow", "Table", "RecordBatch"), _by_parts(_arrow_table)),
    ("pyarrow", _of("pyarrow", "Array", "ChunkedArray"), _by_parts(_array)),
    ("xarray", _of("xarray", "Variable"), _by_parts(_variable)),
    ("xarray", _of("xarray", "DataArray"), _by_parts(_data_array)),
    ("xarray", _of("xarray", "Dataset"), _by_parts(_dataset)),
    ("scipy", _is_sparse, _by_parts(_sparse)),
    ("torch", _of("torch", "Tensor"), _by_parts(_tensor)),
    ("matplotlib", _of("matplotlib", "Figure"), _by_parts(_figure)),
    ("", lambda value: isinstance(value, FunctionType), _by_parts(_function)),
    ("", lambda value: isinstance(value, range | slice), _by_parts(_bounds)),
    ("", lambda value: isinstance(value, Mapping), _by_parts(_mapping)),
    ("", lambda value: isinstance(value, list | tuple) or type(value).__name__ == "deque", _sequences),
    ("", lambda value: isinstance(value, Set), _sets),
]
