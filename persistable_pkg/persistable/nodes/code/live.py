"""The code of a class or function as it is in this process: fingerprinted once, then checked within a microsecond."""

from __future__ import annotations

import functools
import marshal
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, NewType, ParamSpec, TypeVar, TypeVarTuple, cast

from persistable.nodes.code.annotations import maker_of, members_of
from persistable.nodes.code.constants import SCALARS, code_facts, digest, exact_dict, kind_of, plain_bytes
from persistable.nodes.code.fingerprint import IMPORT, LIBRARY, REGISTERED, UNKNOWN, UNREADABLE, Fingerprint, python_tag, unwatched
from persistable.nodes.code.introspection import (
    LRU,
    Watch,
    captured_bytes,
    class_dict,
    class_mro,
    class_namespace,
    contents_of,
    given_namespace,
    innermost,
    instance_dict,
    module_dict,
    raw_function,
)
from persistable.nodes.code.ownership import Project, is_installed
from persistable.nodes.code.param_code import Thing
from persistable.nodes.code.reference import class_reference
from persistable.nodes.code.scripts import MARK
from persistable.nodes.code.walk import Unit, Walk
from persistable.params.reducers import MAINS
from persistable.params.unset import UNSET

_class_bases: Callable[[type], tuple[type, ...]] = type.__dict__["__bases__"].__get__
_PYTHON = python_tag()

Key = tuple[tuple[str, ...], tuple[type, ...], tuple[Thing, ...]]
_MOST_KEPT = 64  # fingerprints per class or function, for different code among the params
_kept: weakref.WeakKeyDictionary[type | Callable[..., Any], dict[Key, CodeOf]] = weakref.WeakKeyDictionary()


Code = type | Callable[..., Any]
"""A class or function whose code is fingerprinted."""


def code_of(target: Code, names: Sequence[str] = (), below: tuple[type, ...] = (), given: tuple[Thing, ...] = ()) -> CodeOf:
    """The generating code of a class (its methods `names`, defined below the bases `below`) or of a function. given: code among its params.

    Kept for each class or function, and checked against the namespaces it was read from at every call: a redefined helper,
    a rebound constant or a replaced ``__code__`` gives a new one. Never raises because of an object it inspects, calls no
    user code and reads no source; `CodeOf.parts` reads it.
    """
    key = (tuple(names), below, given)
    try:
        kept = _kept.get(target)
        code = kept.get(key) if kept is not None else None
        if code is None or not code.is_current():
            code = CodeOf(weakref.ref(target), key)
            if kept is not None and len(kept) >= _MOST_KEPT:
                kept.clear()
            _kept.setdefault(target, {})[key] = code
        return code
    except Exception:  # noqa: BLE001  not hashable, no weak references, or its own ``__hash__`` fails
        return CodeOf(lambda: target, key)


class CodeOf:
    """The generating code of a class or function; has `python`, `quick` and `parts` like a `Fingerprint`."""

    __slots__ = ("__weakref__", "_blind", "_contents", "_key", "_parts", "_target", "_watched", "quick")
    python = _PYTHON
    """The bytecode flavour of this process."""

    def __init__(self, target: Callable[[], Any], key: Key) -> None:
        self._target = target
        self._key = key
        self._parts: dict[str, str] | None = None
        self._watched: list[_Watched] = []
        self._contents: list[tuple[Any, tuple[int, ...]]] = []
        self._blind = True
        self.quick = ""
        try:
            walk = _walked(target(), key)
            self._blind = walk.blind
            self.quick = _quick(walk)
            self._contents = walk.contents
            self._watched = _by_namespace([watch for watch in walk.watches if watch.name not in walk.stored or watch.namespace is None])
        except Exception:  # noqa: BLE001  objects that raise when inspected: the parts decide, or are unknown
            self.quick = ""

    @property
    def parts(self) -> dict[str, str]:
        """Hashes by name, as in `Fingerprint.parts`. Reads and parses source the first time: some milliseconds a file."""
        if self._parts is None:
            try:
                self._parts = _read_parts(self._target(), self._key)
            except Exception:  # noqa: BLE001  as above
                self._parts = {class_reference(self._target()).rpartition(":")[2]: UNKNOWN}
        return self._parts

    @property
    def unknown(self) -> tuple[str, ...]:
        """Code that the generating code reaches and that has no hash: compiled functions, objects without a source. Reads `parts`."""
        return unwatched(self.parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a class that holds it is pickled without it, and fingerprinted anew elsewhere

    def fingerprint(self) -> Fingerprint:
        """The facts that a record keeps."""
        return Fingerprint(_PYTHON, self.quick, dict(self.parts))

    def is_current(self) -> bool:
        """Tell whether every name that was read still resolves to the same object with the same code."""
        if self._blind:
            return False
        for container, before in self._contents:
            if contents_of(container) != before:
                return False
        for namespace, cls, watches in self._watched:
            if cls is not None:
                live = cls()
                if live is None:
                    return False
                namespace = class_dict(live)  # noqa: PLW2901
            for name, weak, held, code in watches:
                value = namespace.get(name, UNSET)
                if weak is None:
                    if value is not held:
                        return False
                elif value is not weak() or (code is not None and (value is None or value.__code__ is not code)):
                    return False
        return True


_Watched = tuple[Mapping[str, Any], weakref.ref[type] | None, list[tuple[Any, ...]]]
"""A namespace, or a class instead of one, and the other fields of each `Watch` of it."""


def _by_namespace(watches: list[Watch]) -> list[_Watched]:
    """Group the watches by namespace or class, so that each is looked up once per check: a check runs at every hit."""
    found: dict[int, _Watched] = {}
    for namespace, cls, *rest in watches:
        place = id(namespace if cls is None else cls())
        found.setdefault(place, ({} if namespace is None else namespace, cls, []))[2].append(tuple(rest))
    return list(found.values())


def _walked(target: Code, key: Key, sources: Any = None) -> Walk:
    names, below, given = key
    brought = [namespace for _, thing in given if (namespace := given_namespace(thing))]
    if issubclass(kind_of(target), type):
        cls = cast("type", target)
        own = [base for base in class_mro(cls) if base not in below]
        where = [namespace for base in own for name in names if name in class_dict(base) and (namespace := class_namespace(base))]
        walk = Walk(Project([class_namespace(cls), *where, *brought]), sources)
        walk.enter_given(given)
        walk.enter_class(cls, names, below)
    else:
        function = innermost(target)
        walk = Walk(Project([*([function.__globals__] if function is not None else []), *brought]), sources)
        walk.enter_given(given)
        walk.enter_function(target)
    walk.run()
    return walk


# The quick digest


def _quick(walk: Walk) -> str:
    """A digest over everything reached, or "" if an object has no value that can represent its source."""
    if walk.unseen or walk.blind:
        return ""
    pieces: list[bytes] = [_PYTHON.encode()]
    for unit in walk.units:
        raw = _raw(unit, walk)
        if raw is None:
            return ""
        pieces.append(unit.name.encode("utf-8", "surrogatepass"))
        pieces.append(raw)
    pieces += [_value_bytes(key, "") or b"-" for key in walk.dispatched]
    return digest(b"".join(len(piece).to_bytes(4, "little") + piece for piece in pieces))


def _raw(unit: Unit, walk: Walk) -> bytes | None:
    if unit.kind == "function":
        attached = _attached_bytes(unit.value)
        captured = captured_bytes(unit.value, walk.stored)
        return None if attached is None else marshal.dumps(code_facts(unit.value.__code__, _constant), 2) + (captured or b"") + attached
    if unit.kind == "class":
        return _class_bytes(unit.value)
    if unit.kind == "import":
        return _library_name(unit.value)
    return _value_bytes(unit.value, unit.name)


def _attached_bytes(function: FunctionType) -> bytes | None:
    """Encode the defaults that are not scalars, and the attributes of a function; None if only its source identifies them."""
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    given = [(name, value) for name, value in function.__dict__.items() if not name.startswith("__")]
    if not given and all(kind_of(value) in SCALARS for value in defaults):
        return b""
    pieces = [b"-" if kind_of(value) is object else _value_bytes(value, "") for value in [*defaults, *(value for _, value in given)]]
    return None if None in pieces else marshal.dumps((pieces, [name for name, _ in given]), 2)


def _library_name(value: Any) -> bytes | None:
    """The name of a module, function or class in its library; None for an object made by a call, which only the source identifies."""
    kind = kind_of(value)
    if issubclass(kind, ModuleType):
        return f"import {module_dict(value).get('__name__')}".encode()
    read: Any = type.__getattribute__ if issubclass(kind, type) else getattr
    module, name = read(value, "__module__"), read(value, "__qualname__")
    found = sys.modules.get(module)
    there = vars(found).get(name.partition(".")[0], UNSET) if type(found) is ModuleType else UNSET
    return f"import {module}.{name}".encode() if there is value or ("." in name and "<locals>" not in name and there is not UNSET) else None


def _constant(item: Any) -> Any:
    """A constant in a form that `marshal` accepts."""
    return ("slice", item.start, item.stop, item.step) if type(item) is slice else item


def _value_bytes(value: Any, name: str, depth: int = 0) -> bytes | None:
    """Encode a constant: its plain value, or the identity of a library's object; None if only its source identifies it."""
    plain = plain_bytes(value, mutable=True)
    if plain is not None:
        return b"=" + plain
    kind = kind_of(value)
    if kind is FunctionType or kind is BuiltinFunctionType:
        return f"def {_installed(value.__module__)}{value.__qualname__}".encode()
    if issubclass(kind, type):
        return f"class {_installed(type.__getattribute__(value, '__module__'))}{_qualname(value)}".encode()
    if depth < 4 and (held := _held(value, kind)) is not None and len(held) <= _MOST_HELD:
        pieces = [_value_bytes(item, "", depth + 1) for item in held]
        return None if None in pieces else marshal.dumps((kind.__name__, pieces), 2)
    library = type.__getattribute__(kind, "__module__")
    if type(library) is not str:
        return None
    if library == "logging":
        return f"logger {(instance_dict(value) or {}).get('name')!r}".encode()
    if library == "re":
        return b"re" + (plain_bytes((value.pattern, value.flags)) or b"")
    home = sys.modules.get(library.partition(".")[0])
    of_library = library not in MAINS and _installed(library) != ""  # objects of the user's own classes are compared by source
    if kind in _NAMED or (of_library and isinstance(home, ModuleType) and vars(home).get(name, UNSET) is value):
        return f"{library}.{name}".encode()
    return None


def _installed(module: object) -> str:
    """The name of a library's module with a dot; "" for a module of the user, which may be moved."""
    file = getattr(sys.modules.get(str(module)), "__file__", None)
    return f"{module}." if not isinstance(file, str) or is_installed(file) else ""


_MOST_HELD = 200


def _held(value: Any, kind: type[Any]) -> list[Any] | None:
    """The members of an ordered container, function and arguments of a partial, or parts of a type alias; None for other values."""
    if kind is dict:
        return [part for item in value.items() for part in item]
    if kind is list or kind is tuple:
        return list(value)
    if kind in (functools.partial, functools.partialmethod):
        return [value.func, value.args, value.keywords]
    if kind is SimpleNamespace:
        return _held(vars(value), dict)
    if kind is MappingProxyType:
        return _held(dict(value), dict)
    if (members := members_of(value)) is not None:
        return members
    return [value.__supertype__] if kind is NewType else None


_NAMED = frozenset({TypeVar, ParamSpec, TypeVarTuple})  # typing only: no running code depends on their content


_SKIPPED = frozenset(
    [
        "__module__",
        "__doc__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__qualname__",
        "__static_attributes__",
        "__firstlineno__",
        "_abc_impl",
        "__dataclass_params__",
        "__dataclass_fields__",
        "__parameters__",
        "__orig_bases__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__conditional_annotations__",
        "__abstractmethods__",
        "__hash__",
        "__classcell__",
        "__classdictcell__",
        MARK,
    ]
)


def _class_bytes(cls: type) -> bytes | None:
    """Encode a class without its methods; None if only its source identifies it."""
    attributes = class_dict(cls)
    pieces: list[Any] = [[_qualname(base) for base in _class_bases(cls)], _annotations(attributes)]
    raw: bytes | None
    members = exact_dict(attributes.get("_member_map_"))
    if members is not None:  # an enum: its members are all of its body
        for name, member in members.items():
            raw = plain_bytes((instance_dict(member) or {}).get("_value_", UNSET))
            if raw is None:
                return None
            pieces.append((name, raw))
        return marshal.dumps(pieces, 2)
    fields = exact_dict(attributes.get("__dataclass_fields__"))
    if fields is not None:
        pieces.append(repr(attributes.get("__dataclass_params__")))
        for name, field in fields.items():
            raw = _field_bytes(field)
            if raw is None:
                return None
            pieces.append((name, raw))
    for name, value in attributes.items():
        if name in _SKIPPED or type(value) is FunctionType or issubclass(kind_of(value), property):
            continue
        if issubclass(kind_of(value), (staticmethod, classmethod)):
            inner = raw_function(value)
            raw = b"" if type(inner) is FunctionType else _value_bytes(inner, name)
        else:
            raw = b"slot" if (kind := kind_of(value)) in _SLOTS or kind.__name__ == _FIELD else _value_bytes(value, name)
        if raw is None:
            return None
        pieces.append((name, raw))
    return marshal.dumps(pieces, 2)


# descriptors of fields, and wrappers whose function is followed
_SLOTS = (type(FunctionType.__globals__), type(FunctionType.__code__), functools.cached_property, functools.singledispatchmethod, LRU)
_FIELD = "_tuplegetter"  # of a named tuple


def _qualname(cls: type) -> str:
    return str(type.__getattribute__(cls, "__qualname__"))


def _annotations(attributes: Mapping[str, Any]) -> Any:
    made = exact_dict(attributes.get("__annotations__"))
    if made is None and (maker := maker_of(attributes)) is not None:
        return code_facts(maker.__code__, _constant)
    return [(name, _value_bytes(value, "") or _qualname(kind_of(value))) for name, value in (made or {}).items() if type(name) is str]


def _field_bytes(field: Any) -> bytes | None:
    """A dataclass field: its default, its factory by name, and its switches."""
    absent = sys.modules["dataclasses"].MISSING
    default = b"-" if field.default is absent else _value_bytes(field.default, "")
    factory = b"-" if field.default_factory is absent else _value_bytes(field.default_factory, "")
    if default is None or factory is None:
        return None
    return default + b"|" + factory + repr((field.init, field.repr, field.compare, field.hash, field.kw_only)).encode()


# The parts


def _read_parts(target: Code, key: Key) -> dict[str, str]:
    from persistable.nodes.code import source

    walk = _walked(target, key, source)
    parts: dict[str, str] = {f"{IMPORT}{name}": UNKNOWN for name in walk.unseen}
    parts.update(dict.fromkeys(walk.unread, UNREADABLE))
    for unit in walk.units:
        try:
            part = _part(unit, walk)
        except Exception:  # noqa: BLE001  one odd object hides nothing else
            part = UNREADABLE
        if part is None:
            continue
        name, number = unit.name, 1
        while name in parts and not _repeats(parts[name], part, unit.kind):
            number += 1
            name = f"{unit.name}#{number}"
        parts.setdefault(name, part)
    return parts


def _repeats(known: str, part: str, kind: str) -> bool:
    """Tell whether `part` repeats the known part of the same name: a constant reached through an import is the same by its source."""
    source = known.partition(" ")[0]
    return known == part or (kind == "constant" and source.startswith("s:") and part.startswith(source))


def _part(unit: Unit, walk: Walk) -> str | None:
    from persistable.nodes.code.normal import bytecode_text

    sources, found = walk.sources, None
    fallback: bytes | None
    pieces: list[str] = []
    if unit.kind == "import":
        return _imported(unit, sources)
    if unit.kind == "function":
        found, fallback = sources.of_function(unit.value), bytecode_text(unit.value.__code__).encode("utf-8", "surrogatepass")
    elif unit.kind == "class":
        found, fallback = sources.of_class(unit.value, unit.owner, False), _class_bytes(unit.value)
    elif unit.kind == "attribute":
        name = unit.name.rpartition(".")[2]
        found, fallback = sources.of_attribute(unit.owner, name, class_namespace(unit.owner)), plain_bytes(unit.value)
    else:
        found = sources.of_constant(unit.owner, unit.name, unit.value)
        fallback = plain_bytes(unit.value) if unit.name not in walk.stored else None
        if isinstance(found, ModuleType):
            return _imported(unit, sources)
    if found is not None:
        pieces.append(f"s:{found.hash}")
    if fallback is not None:
        pieces.append(f"b:{digest(fallback)}")
    if unit.kind == "function" and (captured := captured_bytes(unit.value, walk.stored)) is not None:
        pieces.append(f"v:{digest(captured)}")
    if unit.kind == "attribute" and fallback is not None and getattr(found, "names", None) and "<locals>" in _qualname(unit.owner):
        pieces.append(f"v:{digest(fallback)}")  # the enclosing function computes it: source alone is not enough
    if unit.kind in ("function", "class") and (later := sources.assigned_to(unit.value, unit.owner)) is not None:
        pieces.append(f"a:{later.hash}")
    if unit.kind == "function" and id(unit.value) in walk.registered:
        pieces.append(f"{REGISTERED}{walk.registered[id(unit.value)]}")
    return " ".join(pieces) or UNREADABLE


def _imported(unit: Unit, sources: Any) -> str | None:
    found = sources.library_of(unit.owner, unit.name)
    return f"{LIBRARY}{found}" if found is not None else None
