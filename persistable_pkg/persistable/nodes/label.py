"""Nodes as text, for everything that users read: ``accuracy(fold=0, model=Svm(C=10.0))``."""

# Values of every type pass through here, so pyright may meet types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

# pyright: reportPrivateUsage=false

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from unicodedata import combining, east_asian_width

from persistable.nodes.construction import grouped
from persistable.nodes.types import Node, is_node
from persistable.params.credentials import is_credential
from persistable.params.encoding import fields_of
from persistable.params.fields import NO_PIN
from persistable.params.secret import redact
from persistable.params.unset import UNSET

COLUMNS = 100
"""Columns that a label takes at most."""
_VALUE = 40
_ITEMS = 6
_DEEPEST = 3
_COMPARED = 200
TIMES = "\N{MULTIPLICATION SIGN}"
_NONE: Mapping[str, Any] = MappingProxyType({})
# characters that XML 1.0 cannot hold, escaped or not, and halves of surrogate pairs, which no encoding can
_UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_BREAKS = re.compile(r"\s+")


def label(node: Node, columns: int = COLUMNS) -> str:
    """The payload name of `node`, its own params, and the nodes upstream, on one line of at most `columns` columns.

    Long text is cut, values first; secrets, and values that look like one, are masked. Never raises because of a value.
    """
    return line(redact(_node(node, columns, 0)), columns)


def name_node(error: BaseException, node: Node) -> None:
    """Add a note to `error` that names the generated node, once."""
    shown = f"({node.key})"
    if not any(note.startswith("while generating ") and note.endswith(shown) for note in getattr(error, "__notes__", ())):
        error.add_note(f"while generating {label(node)} {shown}")


def params_in_words(node: Node, columns: int = COLUMNS) -> str:
    """The own params of `node` as in its label; empty without any."""
    return redact(", ".join(_params(shown_fields(node), columns, 0)))


def params_by_name(node: Node, columns: int = 2 * _VALUE) -> dict[str, str]:
    """Each of the own params of `node` as in its label, with a higher limit."""
    return {name: redact(_given(name, value, columns, 0)) for name, value in shown_fields(node).items()}


def value_in_words(value: Any, columns: int = COLUMNS) -> str:
    """A param as in a label: ``Forest(trees=50)``; secrets are masked."""
    return line(redact(_value(value, columns, 0)), columns)


def _node(node: Node, columns: int, depth: int, others: Sequence[Node] = ()) -> str:
    """The text of `node`; with `others` like it, each differing param from its value to that of the last one."""
    left = columns - width(node.payload_name) - 2
    fields, theirs = shown_fields(node), [shown_fields(other) for other in others]
    differing = {name for name, value in fields.items() if not all(_same(value, each.get(name, UNSET)) for each in theirs)}
    parts = _params(fields, left, depth, {name: theirs[-1].get(name, "") for name in differing})
    left -= sum(width(part) + 2 for part in parts)
    for role, value in grouped(node._node_upstream).items():
        if role in fields:
            continue  # it was shown among the fields
        if left <= 0:
            parts.append("…")
            break
        nodes = [each for one in (node, *others) for each in _nodes_of(one, role)]
        parts.append(f"{role}={_upstream(nodes, isinstance(value, dict), min(left, 2 * _VALUE), depth + 1)}")
        left -= width(parts[-1]) + 2
    parts += [f"{name}=?" for name in node.__dict__.get("_node_open") or ()]
    return f"{node.payload_name}({', '.join(parts)})"


def _same(value: Any, other: Any) -> bool:
    try:
        return value is other or (value.__class__ is other.__class__ and bool(value == other))
    except Exception:  # noqa: BLE001 - arrays raise here, and so may a comparison by the user's code
        return False


def _nodes_of(node: Node, role: str) -> list[Any]:
    return [upstream for place, upstream in node._node_upstream.items() if place.partition(".")[0] == role]


def shown_fields(node: Node) -> dict[str, Any]:
    """The params in the identity of a node, by name, without those that hold only nodes: its roles show these."""
    try:
        shown = getattr(node, "_node_shown_params", None)
        found: dict[str, Any] = shown() if shown is not None else _tracked(node)
        return {name: value for name, value in found.items() if not _only_nodes(value)}
    except Exception:  # noqa: BLE001 - a class of the user's may raise any error
        return {}


def _tracked(node: Node) -> dict[str, Any]:
    params = node.__dict__.get("params")
    if params is None:
        return dict(node.__dict__.get("_node_arguments") or {})
    if params.__class__ is dict:
        return {str(name): value for name, value in params.items()}
    spec = fields_of(params.__class__)
    if spec is None:
        return {"params": params}
    found: dict[str, Any] = {}
    for field in spec.fields:
        value, pin = getattr(params, field.attr, None), field.markers.pin
        if not (field.markers.untracked or (pin is not NO_PIN and type(value) is type(pin) and bool(value == pin))):
            found[field.attr] = value
    return {**found, **((params.__pydantic_extra__ or {}) if spec.extras else {})}


def _only_nodes(value: Any) -> bool:
    """Tell whether a value is a node, or a collection with nodes in it and nothing else."""
    kind = value.__class__
    if kind in (list, tuple, dict):
        return bool(value) and all(map(_only_nodes, value.values() if kind is dict else value))
    return is_node(value)


def _upstream(nodes: list[Any], many: bool, columns: int, depth: int) -> str:
    """The nodes of one role, `many` if it takes several; nodes that differ only in a few params are shown as one."""
    first = nodes[0]
    if depth >= _DEEPEST:
        text = f"{first.payload_name}(…)"
    elif len(nodes) == 1 or len(nodes) > _COMPARED or len({node.payload_name for node in nodes}) > 1:
        text = line(_node(first, columns, depth), columns)
    else:
        different = list({node.key: node for node in nodes}.values())
        text = line(_node(first, columns, depth, different[1:]), columns)
        return f"[{len(nodes):,} {TIMES} {text}]" if many else text
    return (f"[{text}, … {len(nodes):,} nodes]" if len(nodes) > 1 else f"[{text}]") if many else text


def _params(fields: dict[str, Any], columns: int, depth: int, last: Mapping[str, Any] = _NONE) -> list[str]:
    """The texts of the fields; if several nodes differ in one, with the `last` value too."""
    parts: list[str] = []
    left = columns
    for name, value in fields.items():
        if left <= 0:
            parts.append("…")
            break  # the rest would be cut off
        end = f" … {_given(name, last[name], min(left, _VALUE), depth)}" if name in last else ""
        parts.append(f"{name}={_given(name, value, min(left, _VALUE), depth)}{end}")
        left -= width(parts[-1]) + 2
    return parts


def _given(name: str, value: Any, columns: int, depth: int) -> str:
    """The text of a value, masked if its name shows that it is a credential."""
    try:
        if value.__class__ is str and is_credential(name, value):
            return "***"
        return line(_value(value, columns, depth), columns)
    except Exception:  # noqa: BLE001 - a value that cannot show itself is shown by its type
        return f"<{type(value).__name__}>"


def _value(value: Any, columns: int, depth: int) -> str:
    """The text of a value, cut early so that large values cost little."""
    kind: Any = value.__class__
    if kind is str or kind is bytes:
        return repr(value[: columns + 1])
    if kind is int and value.bit_length() > 4 * columns + 64:
        return f"<int of {value.bit_length():,} bits>"
    if is_node(value):
        return f"{value.payload_name}(…)" if depth >= _DEEPEST else _node(value, columns, depth + 1)
    if kind in (list, tuple, set, frozenset, dict):
        return _items(value, columns, depth + 1)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"<{kind.__name__} {' × '.join(map(str, shape))}>"  # noqa: RUF001 - as it is written
    fields = fields_of(kind) if not isinstance(value, type) and depth <= _DEEPEST and _has_usual_repr(kind) else None
    if fields is not None:
        names = [field.attr for field in fields.fields if not field.markers.untracked and _is_shown(kind, field.attr)]
        each = [(name, getattr(value, name)) for name in names]
        return f"{kind.__name__}({', '.join(f'{name}={_given(name, item, columns, depth + 1)}' for name, item in each[:_ITEMS])})"
    named = getattr(value, "__qualname__", None)
    if isinstance(named, str) and callable(value):
        return named
    if hasattr(value, "as_posix"):
        return repr(str(value))
    return repr(value)[: 8 * columns]


def _has_usual_repr(kind: Any) -> bool:
    """Tell whether the ``repr`` of a params class is generated from its fields, not written by its author."""
    own = kind.__repr__
    code = getattr(getattr(own, "__wrapped__", own), "__code__", None)
    file = getattr(code, "co_filename", "")
    return file == "<string>" or file.startswith("<attrs") or str(getattr(own, "__module__", "")).startswith("pydantic")


def _is_shown(kind: Any, name: str) -> bool:
    """Tell whether a field is shown, which its class can deny by ``repr=False``."""
    for table in ("__dataclass_fields__", "__pydantic_fields__"):
        found = getattr(kind, table, {}).get(name)
        if found is not None:
            return bool(found.repr)
    return all(each.name != name or bool(each.repr) for each in getattr(kind, "__attrs_attrs__", ()))


def _items(value: Any, columns: int, depth: int) -> str:
    kind, number = value.__class__, len(value)
    if depth > _DEEPEST:
        return f"<{kind.__name__} of {number:,}>" if number else repr(value)
    shown: list[str] = []
    left = columns
    for item in value.items() if kind is dict else value:
        if left <= 0 or len(shown) == _ITEMS:
            shown.append(f"… {number:,} in all")
            break
        text = (
            f"{_given('', item[0], left, depth)}: {_given(str(item[0]), item[1], left, depth)}"
            if kind is dict
            else _given("", item, left, depth)
        )
        shown.append(text)
        left -= width(text) + 2
    before, after = ("[", "]") if kind is list else ("(", ")") if kind is tuple else ("{", "}")
    inner = ", ".join(shown) + ("," if kind is tuple and number == 1 else "")
    if kind is set and not number:
        return "set()"
    return f"frozenset({before}{inner}{after})" if kind is frozenset else f"{before}{inner}{after}"


# lines


def line(text: str, columns: int) -> str:
    """Put `text` on one line of at most `columns` columns, without characters that cannot be written."""
    text = _BREAKS.sub(" ", _UNSAYABLE.sub("\ufffd", text)).strip()
    if width(text) <= columns:
        return text
    kept, used = 0, 1
    for char in text:
        used += width(char)
        if used > columns:
            break
        kept += 1
    return text[:kept] + "…"


def width(text: str) -> int:
    """The columns `text` takes; Chinese, Japanese, Korean and emoji take two each."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(char) in "WF" else not combining(char) for char in text)
