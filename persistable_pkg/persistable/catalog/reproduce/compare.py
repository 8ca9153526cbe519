"""Two payloads compared by what they are: arrays with a tolerance, frames cell by cell, text line by line, all else to the leaf."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false
from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Set
from contextlib import contextmanager
from difflib import SequenceMatcher
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
    ``"different"``. differences: the first `MOST` of them. number: how many there are.
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

    Numbers are the same within ``atol + rtol * abs(a)``, and NaN is NaN. What has parts is compared part by part: arrays, frames of pandas,
    polars and Arrow, sparse matrices, labelled arrays, dicts, sequences, objects by their attributes (estimators, too, by params and
    what fitting has left). Figures are compared by the bytes they are saved as. Nothing of either is changed.
    """
    walk = _Walk(rtol, atol)
    walk.compare(a, b)
    return Comparison(walk.differences, walk.number, walk.different)


class _Walk:
    """One comparison under way."""

    def __init__(self, rtol: float, atol: float) -> None:
        if rtol < 0 or atol < 0:
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
        """Note a difference at the place that is looked at, or at `path` of it."""
        self.number += 1
        self.different = self.different or not equal
        if len(self.differences) < MOST:
            self.differences.append(Difference("".join(self._path) + path, text, "equal" if equal else "different"))

    @contextmanager
    def at(self, step: str) -> Generator[None]:
        """Inside the block, a part is looked at."""
        self._path.append(step)
        yield
        self._path.pop()

    def part(self, step: str, a: Any, b: Any) -> None:
        """Compare a part of each."""
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
        for module, tell, differ in _KINDS:
            if (not module or module in sys.modules) and tell(a) and tell(b):
                differ(self, a, b)
                return
        _objects(self, a, b)

    def _may_differ(self, a: Any, b: Any) -> bool:
        """Tell whether two types are compared by what they hold all the same: an array and one that is mapped are both arrays."""
        np = sys.modules.get("numpy")
        plain = (np.ndarray, np.memmap) if np is not None else ()
        return type(a) in plain and type(b) in plain

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
    """The sign of a float, zeros too; NaN has none that counts."""
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
    """Tell how two texts differ, by line where there are several."""
    mine, other = a.splitlines(keepends=True), b.splitlines(keepends=True)
    if (len(mine) <= 1 and len(other) <= 1) or max(len(mine), len(other)) > _MOST_LINES:
        first = next((i for i, (one, two) in enumerate(zip(a, b, strict=False)) if one != two), min(len(a), len(b)))
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
    first = next((i for i, (one, two) in enumerate(zip(a, b, strict=False)) if one != two), min(len(a), len(b)))
    sizes = f"{len(a):,} bytes" if len(a) == len(b) else f"{len(a):,} and {len(b):,} bytes"
    walk.tell(f"{sizes}, from byte {first:,} on other ones")


def _plain(walk: _Walk, a: Any, b: Any) -> None:
    walk.tell(f"{_short(a)}, {_short(b)}")


_ATOMS: dict[type, Callable[[_Walk, Any, Any], None]] = {
    str: _text, bytes: _bytes, bytearray: _bytes, bool: _plain, type(None): _plain, range: _plain, slice: _plain, type(...): _plain,
}  # fmt: skip


# what holds other things


def _mappings(walk: _Walk, a: Any, b: Any) -> None:
    _members(walk, a, b, lambda key: f"[{_short(key)}]")
    if len(a) == len(b) and all(key in b for key in a) and list(a) != list(b):
        walk.tell("the same keys in another order", equal=True)


def _members(walk: _Walk, a: Any, b: Any, step: Callable[[Any], str]) -> None:
    """Compare what two mappings hold. step: gives the way to what is under a key."""
    for key in a:
        if key not in b:
            walk.tell(f"is gone: {_short(a[key])}", path=step(key))
    for key in b:
        if key not in a:
            walk.tell(f"is new: {_short(b[key])}", path=step(key))
    for key in a:
        if key in b:
            walk.part(step(key), a[key], b[key])


def _sequences(walk: _Walk, a: Any, b: Any) -> None:
    if len(a) != len(b):
        walk.tell(f"{len(a):,} and {len(b):,} items")
    for i, (one, two) in enumerate(zip(a, b, strict=False)):
        if one is not two:
            walk.part(f"[{i}]", one, two)


def _sets(walk: _Walk, a: Any, b: Any) -> None:
    gone, new = [each for each in a if each not in b], [each for each in b if each not in a]
    if gone or new:
        words = [f"{_shown(some)} {'is' if len(some) == 1 else 'are'} {how}" for some, how in ((gone, "gone"), (new, "new")) if some]
        walk.tell("; ".join(words))


def _shown(some: list[Any]) -> str:
    texts = sorted(map(_short, some))
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def _objects(walk: _Walk, a: Any, b: Any) -> None:
    """Compare two objects by attributes; without any, by what pickling would keep; and else by being equal."""
    if isinstance(a, type) or hasattr(a, "__code__") or type(a).__module__ in _BY_EQUALITY or _is_enum(a):
        if not _equal(a, b):
            walk.tell(f"{_short(a)}, {_short(b)}")
        return
    mine, other = _attributes(a), _attributes(b)
    if mine is None or other is None:
        mine, other = _reduced(a), _reduced(b)
    if mine is None or other is None:
        if not _equal(a, b):
            walk.tell(f"{_short(a)}, {_short(b)}")
        return
    _members(walk, mine, other, lambda name: f".{name}" if name.isidentifier() else f".<{name}>")


_BY_EQUALITY = ("datetime", "decimal", "fractions", "uuid", "pathlib", "zoneinfo", "re", "ipaddress")


def _is_enum(value: Any) -> bool:
    return any(base.__module__ == "enum" for base in type(value).__mro__)


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except Exception:  # noqa: BLE001 - code of somebody else's
        return False


def _attributes(value: Any) -> dict[str, Any] | None:
    """The attributes of an object, those in slots too; None for one that has none."""
    found: dict[str, Any] = {}
    for base in type(value).__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        found.update(own)
    return found or None


def _reduced(value: Any) -> dict[str, Any] | None:
    """The state that pickling would keep of an object, such as one written in C."""
    try:
        kept = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - what cannot be pickled
        return None
    if isinstance(kept, str):
        return None
    return {"arguments": kept[1], "state": kept[2] if len(kept) > 2 else None}


# arrays


def _arrays(walk: _Walk, a: Any, b: Any) -> None:
    if a.shape != b.shape:
        walk.tell(f"shapes {a.shape} and {b.shape}")
        return
    if a.dtype != b.dtype:
        if (a.dtype.names is None) != (b.dtype.names is None) or a.dtype.names != b.dtype.names:
            walk.tell(f"dtypes {a.dtype} and {b.dtype}")
            return
        walk.tell(f"dtypes {a.dtype} and {b.dtype}", equal=_are_numbers(a.dtype, b.dtype))
    if a.dtype.names is not None:
        for name in a.dtype.names:
            with walk.at(f"[{name!r}]"):
                _arrays(walk, a[name], b[name])
        return
    if a.dtype.hasobject or b.dtype.hasobject:
        _items(walk, a.reshape(-1).tolist(), b.reshape(-1).tolist(), lambda i: _index(a.shape, i))
        return
    _values(walk, a, b, lambda i: _index(a.shape, i))


def _are_numbers(*dtypes: Any) -> bool:
    return all(dtype.kind in "biufcmM" for dtype in dtypes)


def _index(shape: Any, flat: int) -> str:
    import numpy as np

    return f"[{', '.join(str(int(i)) for i in np.unravel_index(flat, shape))}]" if shape else ""


def _items(walk: _Walk, a: Iterable[Any], b: Iterable[Any], where: Callable[[int], str]) -> None:
    """Items one by one."""
    for i, (one, two) in enumerate(zip(a, b, strict=True)):
        if one is not two and not (type(one) is type(two) and type(one) in (str, int, bool) and one == two):
            walk.part(where(i), one, two)


def _values(walk: _Walk, a: Any, b: Any, where: Callable[[int], str]) -> None:
    """Numbers, times and text of two arrays of one shape; told in one line: how many, by how much, and the first."""
    import numpy as np

    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    count, far, first, signs = 0, 0, -1, 0
    largest = relative = 0.0
    for start in range(0, max(1, flat_a.size), _CHUNK):
        one, two = np.asarray(flat_a[start : start + _CHUNK]), np.asarray(flat_b[start : start + _CHUNK])
        if _differ_in_bytes(one, two):
            same = _same(one, two)
            other = np.flatnonzero(~same)
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


def _differ_in_bytes(one: Any, two: Any) -> bool:
    if one.dtype != two.dtype or one.dtype.kind in "OT":
        return True
    try:
        return bool(one.tobytes() != two.tobytes())
    except (TypeError, ValueError):
        return True


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
    """Tell which values are within the tolerance, and the largest distance, absolute and relative to the first."""
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


def _masked(walk: _Walk, a: Any, b: Any) -> None:
    import numpy as np

    if a.shape != b.shape:
        walk.tell(f"shapes {a.shape} and {b.shape}")
        return
    with walk.at(".mask"):
        _arrays(walk, np.ma.getmaskarray(a), np.ma.getmaskarray(b))
    with walk.at(".data"):
        _arrays(walk, a.filled(np.zeros((), a.dtype)[()]), b.filled(np.zeros((), b.dtype)[()]))


def _sparse(walk: _Walk, a: Any, b: Any) -> None:
    if a.shape != b.shape or a.format != b.format:
        walk.tell(f"{a.format} of {a.shape}, {b.format} of {b.shape}")
        return
    if a.dtype != b.dtype:
        walk.tell(f"dtypes {a.dtype} and {b.dtype}", equal=_are_numbers(a.dtype, b.dtype))
    one, two = a.tocoo(), b.tocoo()
    places = [list(zip(*(each.tolist() for each in _places(matrix)), strict=True)) for matrix in (one, two)]
    mine, other = (dict(zip(some, matrix.data.tolist(), strict=True)) for some, matrix in zip(places, (one, two), strict=True))
    if mine.keys() != other.keys():
        walk.tell(f"{len(mine):,} and {len(other):,} entries, {len(mine.keys() ^ other.keys()):,} of them only in one")
    for place in mine.keys() & other.keys():
        walk.part(f"[{', '.join(map(str, place))}]", mine[place], other[place])


def _places(matrix: Any) -> tuple[Any, ...]:
    coords = getattr(matrix, "coords", None)
    return tuple(coords) if coords is not None else (matrix.row, matrix.col)


def _labelled(walk: _Walk, a: Any, b: Any) -> None:
    """Labelled arrays of xarray."""
    if hasattr(a, "data_vars"):
        _mappings(walk, {str(name): each for name, each in a.data_vars.items()}, {str(name): each for name, each in b.data_vars.items()})
    else:
        if a.dims != b.dims:
            walk.tell(f"dimensions {a.dims} and {b.dims}")
            return
        _arrays(walk, a.to_numpy(), b.to_numpy())
    if hasattr(a, "coords"):
        with walk.at(".coords"):
            _mappings(walk, *({str(name): each.variable for name, each in one.coords.items()} for one in (a, b)))
    walk.part(".attrs", dict(a.attrs), dict(b.attrs))


# frames


def _frames(walk: _Walk, a: Any, b: Any) -> None:
    """DataFrames of pandas, cell by cell."""
    mine, other = list(a.columns), list(b.columns)
    _names(walk, mine, other)
    if len(a) != len(b):
        walk.tell(f"{len(a):,} and {len(b):,} rows")
        return
    _indexes(walk, a.index, b.index)
    for name in mine:
        if mine.count(name) == other.count(name) == 1:
            with walk.at(f"[{_short(name)}]"):
                _columns(walk, a[name], b[name], a.index)
    walk.part(".attrs", dict(a.attrs), dict(b.attrs))


def _names(walk: _Walk, mine: list[Any], other: list[Any]) -> None:
    for name in mine:
        if name not in other:
            walk.tell("the column is gone", path=f"[{_short(name)}]")
    for name in other:
        if name not in mine:
            walk.tell("the column is new", path=f"[{_short(name)}]")
    if mine != other and {*map(repr, mine)} == {*map(repr, other)}:
        walk.tell("the same columns in another order", equal=True)


def _series(walk: _Walk, a: Any, b: Any) -> None:
    if a.name != b.name:
        walk.tell(f"names {a.name!r} and {b.name!r}")
    if len(a) != len(b):
        walk.tell(f"{len(a):,} and {len(b):,} rows")
        return
    _indexes(walk, a.index, b.index)
    _columns(walk, a, b, a.index)
    walk.part(".attrs", dict(a.attrs), dict(b.attrs))


def _indexes(walk: _Walk, a: Any, b: Any) -> None:
    with walk.at(".index"):
        if list(a.names) != list(b.names):
            walk.tell(f"names {list(a.names)} and {list(b.names)}")
        if type(a) is not type(b):
            walk.tell(f"a {type(a).__name__}, a {type(b).__name__}", equal=True)
        if len(a) == len(b) and a.nlevels == b.nlevels:
            for level in range(a.nlevels):
                _columns(walk, a.get_level_values(level), b.get_level_values(level), range(len(a)))
        else:
            walk.tell(f"{len(a):,} and {len(b):,} labels")


def _columns(walk: _Walk, a: Any, b: Any, labels: Any) -> None:
    """Two columns of one length."""
    import numpy as np

    if a.dtype != b.dtype:
        known = all(isinstance(dtype, np.dtype) for dtype in (a.dtype, b.dtype))
        walk.tell(f"dtypes {a.dtype} and {b.dtype}", equal=not known or _are_numbers(a.dtype, b.dtype))

    def where(i: int) -> str:
        return f"[{_short(labels[i])}]"

    if isinstance(a.dtype, np.dtype) and isinstance(b.dtype, np.dtype) and a.dtype.kind in "biufcmM" and b.dtype.kind in "biufcmM":
        _values(walk, a.to_numpy(), b.to_numpy(), where)
        return
    missing_a, missing_b = np.asarray(a.isna()), np.asarray(b.isna())
    for i in np.flatnonzero(missing_a != missing_b)[:MOST].tolist():
        walk.tell("is missing in the second" if missing_b[i] else "is missing in the first", path=where(i))
    there = np.flatnonzero(~missing_a & ~missing_b)
    mine, other = a.to_numpy(dtype=object)[there].tolist(), b.to_numpy(dtype=object)[there].tolist()
    _items(walk, mine, other, lambda i: where(int(there[i])))


def _tables(walk: _Walk, a: Any, b: Any) -> None:
    """Tables of polars and Arrow, column by column, and columns by themselves."""
    mine, other = _columns_in(a), _columns_in(b)
    if mine is None or other is None:
        if getattr(a, "name", None) != getattr(b, "name", None):
            walk.tell(f"names {a.name!r} and {b.name!r}")
        _of_lists(walk, a, b)
        return
    _names(walk, list(mine), list(other))
    if len(a) != len(b):
        walk.tell(f"{len(a):,} and {len(b):,} rows")
        return
    for name in mine:
        if name in other:
            with walk.at(f"[{name!r}]"):
                _of_lists(walk, mine[name], other[name])


def _columns_in(table: Any) -> dict[str, Any] | None:
    """The columns of a table by name; None for what is a column itself."""
    if hasattr(table, "get_columns"):
        return {column.name: column for column in table.get_columns()}
    return dict(zip(table.schema.names, table.columns, strict=True)) if hasattr(table, "schema") else None


def _of_lists(walk: _Walk, a: Any, b: Any) -> None:
    """Columns of polars and Arrow: numbers without gaps as arrays, all others item by item."""
    dtype_a, dtype_b = (column.dtype if hasattr(column, "dtype") else column.type for column in (a, b))
    if dtype_a != dtype_b:
        walk.tell(f"dtypes {dtype_a} and {dtype_b}", equal=True)
    if len(a) != len(b):
        walk.tell(f"{len(a):,} and {len(b):,} items")
        return
    plain = [_numbers_of(column) for column in (a, b)]
    if plain[0] is not None and plain[1] is not None:
        _values(walk, plain[0], plain[1], lambda i: f"[{i}]")
        return
    mine, other = ((each.to_pylist() if hasattr(each, "to_pylist") else each.to_list()) for each in (a, b))
    _items(walk, mine, other, lambda i: f"[{i}]")


def _numbers_of(column: Any) -> Any:
    count: Any = column.null_count
    if count() if callable(count) else count:
        return None
    try:
        found = column.to_numpy()
    except Exception:  # noqa: BLE001 - types that numpy does not have
        return None
    return found if found.dtype.kind in "biufcmM" else None


# figures and the like


def _figures(walk: _Walk, a: Any, b: Any) -> None:
    from persistable.fileio.figure import FigureFileIO

    mine, other = (FigureFileIO("svg").dumps(figure) for figure in (a, b))
    if mine != other:
        walk.tell(f"drawn, the figures differ ({len(mine):,} and {len(other):,} bytes of SVG)")


def _tensors(walk: _Walk, a: Any, b: Any) -> None:
    if a.dtype != b.dtype or a.shape != b.shape:
        walk.tell(f"{a.dtype} of {tuple(a.shape)}, {b.dtype} of {tuple(b.shape)}")
        return
    plain = [tensor.detach().cpu() for tensor in (a, b)]
    try:
        arrays = [each.numpy() for each in plain]
    except TypeError:  # types that numpy does not have, such as bfloat16
        arrays = [each.float().numpy() for each in plain]
    _arrays(walk, arrays[0], arrays[1])


def _of(module: str, *names: str) -> Callable[[Any], bool]:
    def tell(value: Any) -> bool:
        return any(base.__module__.partition(".")[0] == module and base.__name__ in names for base in type(value).__mro__)

    return tell


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocoo")


_KINDS: list[tuple[str, Callable[[Any], bool], Callable[[_Walk, Any, Any], None]]] = [
    ("numpy", _of("numpy", "MaskedArray"), _masked),
    ("numpy", _of("numpy", "ndarray"), _arrays),
    ("pandas", _of("pandas", "DataFrame"), _frames),
    ("pandas", _of("pandas", "Series"), _series),
    ("pandas", _of("pandas", "Index"), _indexes),
    ("polars", _of("polars", "DataFrame", "Series"), _tables),
    ("pyarrow", _of("pyarrow", "Table", "RecordBatch", "Array", "ChunkedArray"), _tables),
    ("xarray", _of("xarray", "DataArray", "Dataset", "Variable"), _labelled),
    ("scipy", _is_sparse, _sparse),
    ("torch", _of("torch", "Tensor"), _tensors),
    ("matplotlib", _of("matplotlib", "Figure"), _figures),
    ("", lambda value: isinstance(value, Mapping), _mappings),
    ("", lambda value: isinstance(value, list | tuple) or type(value).__name__ == "deque", _sequences),
    ("", lambda value: isinstance(value, Set), _sets),
]
