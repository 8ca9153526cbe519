"""`where=`: an SQL expression over params and facts, parsed, checked, and rewritten with every value bound.

The text itself never reaches SQLite: each supported part of the parsed expression is written as SQL of our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from persistable.catalog.index.leaves import LONGEST
from persistable.errors import InvalidQuery, need
from persistable.params.building import did_you_mean

FACTS = {
    "key": "n.key",
    "name": "r.name",
    "status": "r.status",
    "size": "r.size",
    "seconds": "r.seconds",
    "created": "r.created",
    "host": "r.host",
    "class": "r.class",
    "made": "r.made",
}
"""Facts that can be queried, and their columns in an index. created: seconds since 1970 in UTC, compared with dates as text too."""
LEAVES = "coalesce({0}.leaves, {0}.params)"


class Condition(NamedTuple):
    """A condition as SQL, and the values for its question marks."""

    sql: str
    values: tuple[Any, ...] = ()
    few: bool = False
    """True if few descriptions match, so that SQLite should start with them: it has no statistics."""

    def __and__(self, other: Condition) -> Condition:
        return Condition(f"{self.sql} AND {other.sql}", self.values + other.values, self.few or other.few)

    @property
    def source(self) -> str:
        """The tables, joined so that SQLite starts with the descriptions if few match."""
        return "FROM nodes n CROSS JOIN records r ON r.node = n.id" if self.few else "FROM records r LEFT JOIN nodes n ON n.id = r.node"


class Columns(NamedTuple):
    """The known columns: params by their path, and roles. params: None where nothing is known of them."""

    params: frozenset[str] | None
    roles: frozenset[str]
    of_roles: Callable[[str], Columns]
    """The columns of the nodes upstream in a role."""
    of_all: Callable[[], Columns] | None = None
    """The columns of all records, if these are of some only: a column of other records is null, not an error."""


def parse(text: str, columns: Columns) -> Condition:
    """The condition of `text`. Raises InvalidQuery for text that cannot be parsed, names no column, or is no expression over one record."""
    sqlglot: Any = need("sqlglot", "sqlglot", "find", "where=")
    if not text.strip():
        raise InvalidQuery(f'where={text!r:.80}: give an expression, such as where="n > 50"', where=str(text), part="")
    try:
        found = sqlglot.parse("".join(_readable(part) for part in _QUOTED.split(text)), read="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        message = _MISSING.sub("something is missing", str(error).split("\n")[0])
        advice = "a param called like a word of SQL is written in double quotes, text in single ones"
        raise InvalidQuery(f"where={text!r:.200} cannot be read: {message} ({advice})", where=text, part="") from None
    if len(found) != 1 or found[0] is None:
        raise InvalidQuery(f"where={text!r:.200}: give one expression", where=text, part="")
    return _Writer(sqlglot.exp, text, columns).condition(found[0])


_MISSING = re.compile(r"Required keyword: '\w+' missing for <class '[\w.]+'>")
_QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""")
_DOTTED = re.compile(r"\b[A-Za-z_]\w*(?:\.\w+)+")
_NUMBERED = re.compile(r"(?<=[\w\"])\[(\d+)\]")


def _readable(text: str) -> str:
    """`text` with elements of lists, as in ``betas[1]`` or ``betas.1``, in the parser's syntax; quoted text stays."""
    if text[:1] in ("'", '"'):
        return text
    text = _DOTTED.sub(lambda name: ".".join(f'"{part}"' if part[0].isdigit() else part for part in name[0].split(".")), text)
    return _NUMBERED.sub(r'."\1"', text)


class _Writer:
    """Writes the SQL of one expression."""

    def __init__(self, exp: Any, text: str, columns: Columns) -> None:
        self._exp = exp
        self._text = text
        self._columns = columns
        self._kinds: dict[Any, Callable[[Any, int], Condition]] = {
            exp.Paren: lambda expr, depth: self._around("(", self._write(expr.this, depth), ")"),
            exp.Not: lambda expr, depth: self._around("(NOT ", self._write(expr.this, depth), ")"),
            exp.Neg: lambda expr, depth: self._around("(- ", self._write(expr.this, depth), ")"),
            exp.Column: self._column,
            exp.Dot: self._column,
            exp.Bracket: self._column,
            exp.Literal: self._literal,
            exp.Boolean: lambda expr, _: Condition("1" if expr.this else "0"),
            exp.Null: lambda _node, _depth: Condition("NULL"),
            exp.Between: self._between,
            exp.In: self._in,
            exp.Like: partial(self._binary, sign="LIKE"),
            exp.Glob: partial(self._binary, sign="GLOB"),
        }
        self._kinds.update({exp.And: partial(self._chain, sign="AND"), exp.Or: partial(self._chain, sign="OR")})
        binary = {
            exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.Is: "IS",
            exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.DPipe: "||",
        }  # fmt: skip
        self._kinds.update({kind: partial(self._binary, sign=sign) for kind, sign in binary.items()})
        functions = {exp.Abs: "abs", exp.Lower: "lower", exp.Upper: "upper", exp.Length: "length", exp.Round: "round"}
        self._kinds.update({kind: partial(self._call, name=name) for kind, name in functions.items()})

    def condition(self, expr: Any) -> Condition:
        """The whole expression, preceded by the conditions that the index of values answers."""
        whole = self._around("(", self._write(expr, 0), ")")
        return all_of([*self._indexed(expr), whole])

    def _indexed(self, expr: Any) -> Iterator[Condition]:
        """Conditions that follow from `expr`, and that the index of values answers."""
        exp = self._exp
        while isinstance(expr, exp.Paren):
            expr = expr.this
        if isinstance(expr, exp.And):
            for part in _joined(expr):
                yield from self._indexed(part)
            return
        sign = {exp.EQ: "=", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}.get(type(expr))
        parts = self._name(expr.this) if sign is not None else None
        if sign is None or parts is None or not isinstance(expr.expression, exp.Literal):
            return
        value = self._literal(expr.expression, 0).values[0]
        if isinstance(value, str) and (sign != "=" or len(value) > LONGEST):
            return  # longer texts are not in the index
        inner = self._named(expr.this, parts, self._columns, "n")
        paths = [each[3:-1] for each in inner.values if each.startswith('$."')]
        if len(paths) != 1 or len(inner.values) > 2:
            return
        found = Condition(
            f"SELECT node FROM params WHERE path = (SELECT id FROM paths WHERE path = ?) AND value {sign} ?", (paths[0], value)
        )
        role = inner.values[1:]
        if not role:
            yield Condition(f"n.id IN ({found.sql})", found.values, sign == "=")
        else:
            upstream = f"SELECT e.node FROM nodes u JOIN edges e ON e.target = u.key WHERE e.role = ? AND u.id IN ({found.sql})"
            yield Condition(f"n.id IN ({upstream})", (*role, *found.values), sign == "=")

    def _write(self, expr: Any, depth: int) -> Condition:
        write = self._kinds.get(type(expr))
        more = {name for name, value in expr.args.items() if value} - _ARGUMENTS
        if write is None or more or depth > 100:
            raise self._refusal(expr, "is not supported in where=")
        written = write(expr, depth + 1)
        return self._around("(NOT ", written, ")") if expr.args.get("negate") else written

    def _around(self, before: str, inner: Condition, after: str) -> Condition:
        return Condition(f"{before}{inner.sql}{after}", inner.values)

    def _binary(self, expr: Any, depth: int, sign: str) -> Condition:
        left, right = self._dated(expr.this, expr.expression), self._dated(expr.expression, expr.this)
        one, other = self._write(left, depth), self._write(right, depth)
        found = Condition(f"{one.sql} {sign} {other.sql}", one.values + other.values)
        if sign in _ORDERS:
            return self._around("(", all_of([self._of_kind(one, right), self._of_kind(other, left), found]), ")")
        return self._around("(", found, ")")

    def _chain(self, expr: Any, depth: int, sign: str) -> Condition:
        """The parts of a chain of ANDs or ORs in one pair of brackets: SQLite allows a hundred nested ones."""
        parts = [self._write(each, depth) for each in _joined(expr)]
        return self._around("(", Condition(f" {sign} ".join(part.sql for part in parts), _values(parts)), ")")

    def _of_kind(self, value: Condition, bound: Any) -> Condition:
        """The condition that a number is compared with a number, text with text: in SQLite all text sorts above all numbers."""
        while isinstance(bound, self._exp.Neg | self._exp.Paren):
            bound = bound.this
        if not isinstance(bound, self._exp.Literal):
            return Condition("1")
        return Condition(f"typeof({value.sql}) {'=' if bound.is_string else '<>'} 'text'", value.values)

    def _between(self, expr: Any, depth: int) -> Condition:
        parts = [self._write(each, depth) for each in (expr.this, *(self._dated(expr.args[end], expr.this) for end in ("low", "high")))]
        found = Condition(f"{parts[0].sql} BETWEEN {parts[1].sql} AND {parts[2].sql}", _values(parts))
        return self._around("(", all_of([self._of_kind(parts[0], self._dated(expr.args["low"], expr.this)), found]), ")")

    def _in(self, expr: Any, depth: int) -> Condition:
        if not expr.expressions or expr.args.get("query") is not None:
            raise self._refusal(expr, "is no list of values")
        parts = [self._write(each, depth) for each in (expr.this, *expr.expressions)]
        listed = ", ".join(part.sql for part in parts[1:])
        return Condition(f"({parts[0].sql} IN ({listed}))", _values(parts))

    def _call(self, expr: Any, depth: int, name: str) -> Condition:
        arguments = [expr.this, *([expr.args["decimals"]] if expr.args.get("decimals") is not None else [])]
        parts = [self._write(each, depth) for each in arguments]
        if name == "abs":  # SQLite's own fails at the least integer
            return Condition(f"max({parts[0].sql}, - {parts[0].sql})", parts[0].values * 2)
        return Condition(f"{name}({', '.join(part.sql for part in parts)})", _values(parts))

    def _literal(self, expr: Any, _: int) -> Condition:
        if expr.is_string:
            return Condition("?", (expr.this,))
        try:
            value = float(expr.this) if any(sign in expr.this for sign in ".eE") else int(expr.this)
        except ValueError:
            raise self._refusal(expr, "is no number") from None
        return Condition("?", (value if isinstance(value, float) or -(1 << 63) <= value < 1 << 63 else float(value),))

    def _dated(self, expr: Any, other: Any) -> Any:
        """`expr`, or its seconds if it is the text of a date that `created` is compared with."""
        if not (isinstance(expr, self._exp.Literal) and expr.is_string and self._name(other) == ["created"]):
            return expr
        from datetime import datetime

        try:
            return self._exp.Literal.number(datetime.fromisoformat(expr.this).timestamp())
        except ValueError:
            raise self._refusal(expr, "is no date; write it as '2026-01-31' or '2026-01-31T12:00'") from None

    def _column(self, expr: Any, _: int) -> Condition:
        parts = self._name(expr)
        if parts is None:
            raise self._refusal(expr, "is no column")
        return self._named(expr, parts, self._columns, "n")

    def _named(self, expr: Any, parts: list[str], columns: Columns, table: str) -> Condition:
        """The column of these parts, of the description in `table`."""
        name = ".".join(parts)
        if parts[0] == "params" and len(parts) > 1 and not _has(columns.params, name):
            return self._param(expr, ".".join(parts[1:]), columns, table)
        if len(parts) == 1 and name in FACTS and table == "n":
            return Condition(FACTS[name])
        if parts[0] == "upstream" and len(parts) > 1 and not _has(columns.params, name):
            return self._upstream(expr, parts[1:], columns, table)
        return self._param(expr, name, columns, table)

    def _param(self, expr: Any, path: str, columns: Columns, table: str) -> Condition:
        unknown = columns.params is not None and path not in columns.params
        if unknown and columns.of_all is not None and '"' not in path and _has(columns.of_all().params, path):
            return Condition("NULL")
        if unknown or '"' in path:
            known = sorted({*(columns.params or ()), *(FACTS if table == "n" else ()), *(f"upstream.{role}" for role in columns.roles)})
            quoted = isinstance(expr, self._exp.Column) and expr.this.args.get("quoted")
            hint = f"; text is written in single quotes: '{path}'" if quoted else did_you_mean(path, known)
            raise self._refusal(expr, f"is no column{hint} (there are {', '.join(known[:30])}{' ...' if len(known) > 30 else ''})")
        return Condition(f"json_extract({LEAVES.format(table)}, ?)", (f'$."{path}"',))

    def _upstream(self, expr: Any, parts: list[str], columns: Columns, table: str) -> Condition:
        role = _role(parts, columns)
        if role is None and columns.of_all is not None and _role(parts, columns.of_all()) is not None:
            return self._upstream(expr, parts, columns.of_all(), table)
        if role is None:
            known = ", ".join(sorted(columns.roles)) or "none"
            raise self._refusal(expr, f"names no role; there are {known}" + did_you_mean(parts[0], columns.roles))
        target = f"(SELECT target FROM edges WHERE node = {table}.id AND role = ?)"
        rest = parts[role.count(".") + 1 :]
        if not rest:
            return Condition(target, (role,))
        inner = self._named(expr, rest, columns.of_roles(role), f"{table}u")
        return Condition(f"(SELECT {inner.sql} FROM nodes {table}u WHERE {table}u.key = {target})", (*inner.values, role))

    def _name(self, expr: Any) -> list[str] | None:
        """The parts of a column's name; None for an expression that is no column."""
        exp = self._exp
        if isinstance(expr, exp.Column):
            return [part.name for part in expr.parts]
        if isinstance(expr, exp.Identifier):
            return [expr.name]
        if isinstance(expr, exp.Dot):
            before, after = self._name(expr.this), self._name(expr.expression)
            return None if before is None or after is None else before + after
        if isinstance(expr, exp.Bracket) and len(expr.expressions) == 1 and isinstance(expr.expressions[0], exp.Literal):
            before = self._name(expr.this)
            return None if before is None else [*before, expr.expressions[0].name]
        return None

    def _refusal(self, expr: Any, why: str) -> InvalidQuery:
        try:
            part = expr.sql(dialect="sqlite")[:200]
        except Exception:  # noqa: BLE001 - writing fails for some trees that are no SQL
            part = type(expr).__name__
        return InvalidQuery(f"where={self._text!r:.200}: {part} {why}", where=self._text, part=part)


def _values(parts: Iterable[Condition]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(part.values for part in parts))


def _joined(expr: Any) -> list[Any]:
    """The parts of ``a AND b AND c``, or of a chain of OR, which the parser nests to the left."""
    parts, left = list[Any](), expr
    while type(left) is type(expr):
        parts.append(left.expression)
        left = left.this
    return [left, *reversed(parts)]


_ORDERS = ("<", "<=", ">", ">=")
_ARGUMENTS = {
    "this", "expression", "expressions", "negate", "low", "high", "decimals", "quoted", "is_string", "table", "db", "catalog", "offset",
    "typed", "safe", "query",
}  # fmt: skip
"""The arguments that parts of an expression may have. Those that are not rewritten here do not change the meaning of the rest."""


def _role(parts: list[str], columns: Columns) -> str | None:
    """The longest role at the beginning of a column's name."""
    return next((name for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in columns.roles), None)


def _has(params: frozenset[str] | None, path: str) -> bool:
    return params is not None and path in params


def all_of(conditions: Iterable[Condition]) -> Condition:
    """The condition that all of these hold."""
    whole = Condition("1")
    for condition in conditions:
        whole &= condition
    return whole


def first_layer_only(condition: Condition, layered: bool) -> Condition:
    """`condition`, and where several layers have a record, that it is the one of the first."""
    if not layered:
        return condition
    return condition & Condition(
        "NOT EXISTS (SELECT 1 FROM records o JOIN folders p ON p.id = o.folder, folders f WHERE f.id = r.folder AND p.path = f.path "
        "AND o.file = r.file AND p.part < f.part)"
    )
