"""Values read back from the trees that records hold."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.errors import ParamsError
from persistable.params.building import rebuild, restore
from persistable.params.reducers import dereference
from persistable.params.trees import COLLECTIONS, fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Reader:
    """Reads trees.

    Parameters:
        nodes: the value for each persistable in a tree, by its key; by default, a persistable in a tree is an error.
        untracked: values for fields that are not identity, by their dotted path, as `untracked_values` returns them.
    """

    def __init__(self, nodes: Mapping[str, Any] | None = None, untracked: Mapping[str, Any] | None = None) -> None:
        self._nodes = nodes or {}
        self._untracked = untracked or {}
        self._path: list[str] = []

    def read(self, data: Any) -> Any:
        """Return the value of a tree. Raises ParamsError, with the dotted place in it as ``path``, where the tree does not suffice."""
        if isinstance(data, list):
            return [self._at(str(i), item) for i, item in enumerate(data)]
        if not isinstance(data, dict):
            return data
        if "$object" in data:
            return self._guarded(lambda: self._object(data))
        tag = next((key for key in data if key.startswith("$")), None)
        if tag is None:
            return {key: self._at(key, item) for key, item in data.items()}
        return self._untag(tag[1:], data[tag], data.get("$class", ""))

    def params(self, params_class: type, data: Mapping[str, Any]) -> Any:
        """Return the params of a class whose fields have the trees `data`. Raises ParamsError as `read` and `restore` do."""
        return self._guarded(lambda: self._fields(params_class, data))

    def _at(self, step: str, data: Any) -> Any:
        self._path.append(step)
        found = self.read(data)
        self._path.pop()
        return found

    def _object(self, data: dict[str, Any]) -> Any:
        return self._fields(dereference(data["$class"]), dict(fields_of(data)))

    def _fields(self, params_class: type, fields: Mapping[str, Any]) -> Any:
        from persistable.params.fields import spec_of
        from persistable.params.reduced_values import Refused

        try:
            spec = spec_of(params_class)
        except Refused as refused:
            raise ParamsError(f"{refused.reason}; {refused.advice}") from None
        attrs = {field.name: field.attr for field in spec.fields if not field.markers.untracked} if spec is not None else {}
        given = {name: self._at(attrs.get(name, name), item) for name, item in fields.items()}
        others = [field.attr for field in spec.fields if field.markers.untracked] if spec is not None else []
        return restore(params_class, given, self._others(others) if others else None)

    def _others(self, attrs: list[str]) -> dict[str, Any]:
        """The untracked fields of the object that is being read, as far as their values are known."""
        found: dict[str, Any] = {}
        for attr in attrs:
            data = self._untracked.get(".".join([*self._path, attr]), _SHOWN)
            if isinstance(data, dict) and "$repr" in data:
                continue
            try:
                found[attr] = Reader().read(data)
            except ParamsError:
                continue  # it gets its default: its value affects no payload
        return found

    def _guarded(self, read: Any) -> Any:
        """Call `read` and add the place in the params to its errors."""
        depth = len(self._path)
        try:
            return read()
        except Exception as error:
            where = ".".join(self._path)
            del self._path[depth:]
            if isinstance(error, ParamsError) and "path" in error.__dict__:
                raise
            what = str(error) if isinstance(error, ParamsError) else f"{type(error).__name__}: {error}"
            raise ParamsError(f"{where}: {what}" if where else what, path=where) from error

    def _untag(self, tag: str, content: Any, where: str) -> Any:
        if tag in ("blob", "bulk", "bytes") and isinstance(content, dict):
            return self._guarded(lambda: _only_digest(content))
        if tag == "node":
            return self._guarded(lambda: self._node(content))
        if tag == "bytes":
            from binascii import a2b_base64

            return a2b_base64(content)
        if tag == "dict":
            return {self.read(key): self._at(str(key), item) for key, item in content}
        if tag in COLLECTIONS:
            return COLLECTIONS[tag]([self._at(str(i), item) for i, item in enumerate(content)])
        simple = _SIMPLE.get(tag)
        if simple is not None:
            return simple(content)
        return self._guarded(lambda: rebuild(tag, self._content(content), where))

    def _content(self, content: Any) -> Any:
        """Read the parts of a tagged value, which add no steps to the path in errors."""
        if isinstance(content, dict) and not any(key.startswith("$") for key in content):
            return {key: self.read(item) for key, item in content.items()}
        return [self.read(item) for item in content] if isinstance(content, list) else self.read(content)

    def _node(self, key: str) -> Any:
        if key not in self._nodes:
            raise ParamsError(f"the tree refers to {key}, which is a persistable of its own")
        return self._nodes[key]


def _only_digest(content: dict[str, Any]) -> Any:
    raise ParamsError(
        f"the value was too large to be kept in the record: only its digest is known ({content['blake3']}); "
        "make the node with the value itself"
    )


_SHOWN = {"$repr": ""}
_SIMPLE: dict[str, Any] = {
    "int": lambda content: int(content, 0),
    "float": float,
    "str": lambda content: bytes.fromhex(content).decode("utf-8", "surrogatepass"),
}
