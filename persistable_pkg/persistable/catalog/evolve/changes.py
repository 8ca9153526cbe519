"""`Changes`: payload names, params and classes by their old and new names, applied to the trees in records."""

# Trees hold values of every type, so pyright may find unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from persistable.params.trees import fields_of, rewritten
from persistable.records.key import check_payload_name

ANY = "*"
"""The step of a path that matches every item of a list or dict."""


class ParamNameTaken(Exception):
    """Error for a new name of a param that another one has already, at this path."""


class Changes:
    """Names to be changed, independent of any store.

    name: payload name, old and new. params: dotted path to the new path, or the new name alone. classes: class names, ``module:Class``, or
    ``module:`` for all that a module has, to their new ones.

    Raises InvalidName for an invalid payload name, ValueError for a param that would move elsewhere.
    """

    def __init__(
        self,
        name: tuple[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        classes: Mapping[str, str] | None = None,
    ) -> None:
        pair: Any = name
        if pair is not None and (isinstance(pair, str) or len(pair) != 2):
            raise ValueError(f"name={name!r}: give the old name and the new one, name=(old, new)")
        self.name = (check_payload_name(name[0]), check_payload_name(name[1])) if name is not None else None
        self.params = dict(params or {})
        self.classes = dict(classes or {})
        self._paths = [_checked(old, new) for old, new in self.params.items()]
        for old, new in self.classes.items():
            if not old or not new or ((":" in old) and (old.endswith(":") != new.endswith(":") or ":" not in new)):
                raise ValueError(f"classes={{{old!r}: {new!r}}}: give both as a name, both as module:Class, or both as module:")

    def __bool__(self) -> bool:
        return bool(self.name or self.params or self.classes)

    def to_json(self) -> dict[str, Any]:
        """The changes as JSON, for a note."""
        return {"name": self.name and list(self.name), "params": self.params, "classes": self.classes}

    def lines(self) -> list[str]:
        """The names to be changed, in words."""
        found = [f"name {self.name[0]} -> {self.name[1]}"] if self.name else []
        found += [f"param {old} -> {new}" for old, new in self.params.items()]
        return found + [f"class {old} -> {new}" for old, new in self.classes.items()]

    # application

    def named(self, name: str) -> str:
        """A payload name after the changes."""
        return self.name[1] if self.name is not None and name == self.name[0] else name

    def fields(self, params: dict[str, Any]) -> dict[str, Any]:
        """The own params of a node after the changes. Raises Taken."""
        found = params
        for path, new in self._paths:
            found = _renamed(found, path, new)
        return self.refer(found) if self.classes else found

    def role(self, role: str) -> str:
        """A role, the name of an argument and the place in it, after the changes."""
        for path, new in self._paths:
            parts = role.split(".")
            if len(parts) >= len(path) and all(want in (ANY, have) for want, have in zip(path, parts, strict=False)):
                parts[len(path) - 1] = new
                role = ".".join(parts)
        return role

    def reference(self, text: str) -> str:
        """A reference ``module:qualname`` after the changes."""
        for old, new in self.classes.items():
            if ":" not in old:
                module, _, name = text.partition(":")
                if name.rpartition(".")[2] == old:
                    text = new if ":" in new else f"{module}:{name[: len(name) - len(old)]}{new}"
            elif text == old or text.startswith((f"{old}.", f"{old}#")) or (old.endswith(":") and text.startswith(old)):
                text = new + text[len(old) :]
        return text

    def class_name(self, name: str, reference: str) -> str:
        """The name of a params class, enum or named tuple in identity after the changes. reference: of the class, if known."""
        for old, new in self.classes.items():
            if name == old or (":" in old and reference == old and name == _last(old)):
                name = _last(new)
        return name

    def refer(self, data: Any) -> Any:
        """A tree in which every class and reference has its new name."""
        return rewritten(data, self._referred)

    def _referred(self, found: dict[str, Any]) -> dict[str, Any]:
        where = found.get("$class", "")
        if where:
            found["$class"] = self.reference(where)
        if isinstance(found.get("$reference"), str) and ":" in found["$reference"]:
            found["$reference"] = self.reference(found["$reference"])
        if "$object" in found:
            found["$object"] = self.class_name(found["$object"], where)
        for tag in ("$enum", "$flag"):
            if isinstance(found.get(tag), dict) and isinstance(found[tag].get("class"), str):
                found[tag]["class"] = self.class_name(found[tag]["class"], where)
        for tag in ("$namedtuple", "$registered"):
            content = found[tag].get("$tuple") if isinstance(found.get(tag), dict) else None
            if content and isinstance(content[0], str):
                content[0] = self.class_name(content[0], where)
        return found


def _last(text: str) -> str:
    return text.rpartition(":")[2].rpartition(".")[2]


def _checked(old: str, new: str) -> tuple[list[str], str]:
    path, to = old.split("."), new.split(".")
    if not all(path) or not all(to) or (len(to) > 1 and path[:-1] != to[:-1]) or path[-1] == ANY:
        raise ValueError(
            f"params={{{old!r}: {new!r}}}: a param gets another name where it is, so the paths differ in their last part alone"
        )
    return path, to[-1]


def _renamed(data: Any, path: list[str], new: str) -> Any:
    """`data` with the field at `path` renamed to `new`, if it has that field."""
    if len(path) == 1:
        return _with_name(data, path[0], new)
    return _inside(data, path[0], lambda item: _renamed(item, path[1:], new))


def _inside(data: Any, step: str, change: Callable[[Any], Any]) -> Any:
    """`data` with `change` applied to the items at `step`."""
    if isinstance(data, list):
        return [change(item) if step in (ANY, str(i)) else item for i, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if "$dict" in data or "$fields" in data:
        tag = "$dict" if "$dict" in data else "$fields"
        return {**data, tag: [[key, change(item) if step in (ANY, key) else item] for key, item in data[tag]]}
    for tag in ("$tuple", "$namedtuple", "$estimator"):
        if tag in data:
            return {**data, tag: _in_content(tag, data[tag], step, change)}
    if any(key.startswith("$") for key in data) and "$object" not in data:
        return data
    return {key: change(item) if not key.startswith("$") and step in (ANY, key) else item for key, item in data.items()}


def _in_content(tag: str, content: Any, step: str, change: Callable[[Any], Any]) -> Any:
    if tag == "$tuple":
        return _inside(content, step, change)
    if tag == "$estimator":
        return {**content, "params": _inside(content["params"], step, change)}
    name, pairs = content["$tuple"]
    inner = [
        {"$tuple": [field, change(item) if step in (ANY, field) else item]} for field, item in (pair["$tuple"] for pair in pairs["$tuple"])
    ]
    return {"$tuple": [name, {"$tuple": inner}]}


def _with_name(data: Any, old: str, new: str) -> Any:
    if not isinstance(data, dict):
        return data
    if "$namedtuple" in data:
        name, pairs = data["$namedtuple"]["$tuple"]
        inner = [{"$tuple": [new if pair["$tuple"][0] == old else pair["$tuple"][0], pair["$tuple"][1]]} for pair in pairs["$tuple"]]
        return {**data, "$namedtuple": {"$tuple": [name, {"$tuple": inner}]}}
    tag = "$dict" if "$dict" in data else "$fields" if "$fields" in data else None
    if tag is None and "$object" not in data and any(key.startswith("$") for key in data):
        return data
    pairs = data[tag] if tag is not None else fields_of(data)
    names = [key for key, _ in pairs]
    if old not in names:
        return data
    if new in names:
        raise ParamNameTaken(new)
    if tag is not None:
        return {**data, tag: [[new if key == old else key, item] for key, item in pairs]}
    return {new if key == old else key: item for key, item in data.items()}
