"""The walk from the generating code to all of the user's own code that it reaches.

Inspection runs no code of the objects: types are compared by identity, attributes read from ``__dict__`` only, nothing is called.
"""

from __future__ import annotations

import builtins
import functools
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from persistable.nodes.code import annotations as annotated
from persistable.nodes.code.bytecode import Uses, uses
from persistable.nodes.code.constants import FROZEN, SCALARS, exact_tuple, kind_of
from persistable.nodes.code.introspection import (
    ARGUED,
    BY_NAME,
    CONTAINERS,
    DESCRIPTORS,
    PROPERTY_PARTS,
    REGISTRIES,
    Watch,
    class_dict,
    class_mro,
    class_namespace,
    contents_of,
    fields_of,
    fitting,
    hold,
    instance_dict,
    is_at_home,
    is_called_by_libraries,
    is_member,
    is_node,
    is_wrapper,
    method_function,
    method_self,
    module_dict,
    names_read_by,
    partial_args,
    partial_func,
    partial_keywords,
    raw_function,
    strings_in,
    title,
)
from persistable.nodes.code.modules import Modules, UnimportedModule, absolute_name
from persistable.nodes.code.ownership import Namespace, Project, module_name
from persistable.nodes.code.param_code import Thing
from persistable.nodes.code.reference import closure_values
from persistable.params.unset import UNSET

_MOST_UNITS = 5000
_MOST_ITEMS = 1000
_MOST_ANNOTATIONS = 200
_NO_CODE = frozenset(annotated.MAKERS)
_BY_STRING = frozenset({"getattr", "globals", "vars", "attrgetter", "methodcaller"})
_OF_ENUMS = frozenset({"_missing_", "_generate_next_value_"})
_COMPILED = frozenset({"cython_function_or_method", "fused_cython_function", "nb_func", "nb_method"})
_CONSTRUCTION = frozenset({"__init__", "__new__", "__post_init__", "__getattr__", "__getattribute__", "__call__", "__attrs_post_init__"})

Chain = tuple[str, ...]
Origin = tuple[Namespace, str]


class Unit(NamedTuple):
    """One object to compare. `kind` is "function", "constant", "class", "attribute" or "import"; `owner` a namespace or class."""

    kind: str
    name: str
    value: Any
    owner: Any


class Walk:
    """All code reached from some functions, in a fixed order.

    sources: the module `source`, with which the second, slower walk reads names that are evaluated outside of functions.
    """

    def __init__(self, project: Project, sources: Any = None) -> None:
        self.project = project
        self.sources = sources
        self.units: list[Unit] = []
        self.watches: list[Watch] = []
        self.stored: set[str] = set()
        self._imports = Modules(project, sources is not None)
        self.unseen = self._imports.unseen
        self.unread: dict[str, None] = {}  # code of the project without readable bytecode or source
        self.registered: dict[int, str] = {}  # functions that other modules put into containers, and those modules
        self.contents: list[tuple[Any, tuple[int, ...]]] = []  # containers of code, each with the ids of its members
        self.dispatched: list[Any] = []  # the keys of implementations in containers, such as the classes of a singledispatch
        self.blind = False  # whether an object could not be inspected: then only the source shows which names are used
        self._functions: dict[int, FunctionType] = {}
        self._queue: deque[FunctionType] = deque()
        self._classes: dict[type, str] = {}  # the classes reached; "owner", "own" or "declared"
        self._modules: dict[int, Namespace] = {}
        self._seen: dict[tuple[int, Any], object] = {}
        self._attributes: dict[str, None] = {}
        self._pairs: dict[tuple[str, str], None] = {}
        self._patterns: dict[str, None] = {}  # prefixes and suffixes of names built at run time
        self._uses_super = False
        self._roles: dict[str, type] = {}
        self._found_at: set[tuple[type, str]] = set()
        self._given: set[type] = set()  # classes of objects among the params: any of their methods may be called
        self._titled: set[type] = set()  # classes that are params themselves: named with their module, as in the key
        self._hooked: set[type] = set()  # classes with a base from a library, which calls methods that the project never names
        self._titles: dict[int, str] = {}  # names, with their module, of functions and classes among the params

    # Starting points

    def enter_class(self, owner: type, names: Iterable[str], below: tuple[type, ...]) -> None:
        """Start from the methods `names` of a class that are defined below the base classes `below`."""
        self._classes[owner] = "owner"
        own = [cls for cls in class_mro(owner) if cls not in below and self._owns_class(cls)]
        for name in names:
            for cls in own:
                if name in class_dict(cls):
                    self._class_attribute(cls, name)
                    break
        for cls in own:
            self._declared(cls, True)

    def enter_function(self, function: Any) -> None:
        """Start from a function, such as that of a step."""
        self.follow(function, "")

    def enter_given(self, given: Iterable[Thing]) -> None:
        """Start from functions and classes among the params, and from the classes of objects among them."""
        for how, thing in given:
            if issubclass(kind_of(thing), type):
                if not self._owns_class(thing):
                    continue
                bases = [base for base in class_mro(thing)[:-1] if self._owns_class(base)]
                self._given.update(bases)
                self._titled.update(bases if how == "value" else ())
                if how == "value" or not fields_of(thing):
                    self._class(thing)
                else:
                    self._classes.setdefault(thing, "declared")
            else:
                self._titles[id(thing)] = title(thing)
                self.follow(thing, title(thing))
                if type(thing) is FunctionType:
                    self._watch({"": thing}, "", thing)

    def run(self) -> None:
        """Follow all references. Attribute names in use are looked up on the classes reached until neither set grows."""
        while True:
            while self._queue and len(self.units) < _MOST_UNITS:
                function = self._queue.popleft()
                try:
                    self._visit(function)
                except Exception:  # noqa: BLE001  unknown instructions, or a value that raises: the others are still followed
                    self.blind = True
                    self.unread[function.__qualname__.rpartition("<locals>.")[2]] = None
            before = (len(self._seen), len(self._classes), len(self._attributes), len(self._modules))
            if "__subclasses__" in self._attributes:
                below: list[type] = []
                for cls in self._classes:
                    below += type.__subclasses__(cls)
                for cls in below:
                    self._class(cls)
            self._meet()
            if (len(self._seen), len(self._classes), len(self._attributes), len(self._modules)) == before and not self._queue:
                return
            if len(self.units) >= _MOST_UNITS:
                self.unread[f"all beyond the first {_MOST_UNITS} functions"] = None
                return

    # Functions

    def _visit(self, function: FunctionType) -> None:
        used = uses(function.__code__)
        self.stored.update(used.stored)
        self._take(used, function.__globals__)
        for name, value in closure_values(function).items():
            self.follow(value, name)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.follow(value, "")
        self._inside(function.__dict__)
        self._declare(annotated.of_function(function).values(), function.__globals__)
        if any(name in _BY_STRING for chain in used.names for name in chain):
            self._take_strings(function, ("globals",) in used.names or ("__name__",) in used.names)
        if self.sources is not None:
            for found in (self.sources.of_function(function), self.sources.assigned_to(function, function.__globals__)):
                self._take_names(found.names if found is not None else (), function.__globals__)

    def _take_strings(self, function: FunctionType, of_module: bool) -> None:
        """Add the strings of a function that reads attributes by string: ``getattr(self, f"fit_{kind}")`` reaches all names ``fit_...``."""
        for text in strings_in(function.__code__):
            if text.endswith("_") or text.startswith("_"):
                self._patterns[text] = None
            self._attributes[text] = None
            for name in [text, *fitting(function.__globals__, (text,))] if of_module else ():
                if name in function.__globals__:
                    self._resolve((name,), function.__globals__)

    def _take(self, used: Uses, namespace: Namespace) -> None:
        self._take_names(used.names, namespace)
        for before, name in used.attributes:
            self._attributes[name] = None
            self._pairs[before, name] = None
        for name, level, froms in used.imports:
            self._import(name, level, froms, namespace)

    def _take_names(self, chains: Iterable[Chain], namespace: Namespace) -> None:
        for chain in chains:
            if chain[0] == "super":
                self._uses_super = True
            self._resolve(chain, namespace)

    def _resolve(self, chain: Chain, namespace: Namespace) -> None:
        """Follow a global name and its attributes, through modules of the project."""
        place = namespace
        for depth, name in enumerate(chain):
            value = place.get(name, UNSET)
            value, place = self._imports.imported_later(value, place)
            if value is UNSET:
                if depth or name not in vars(builtins):
                    self._watch(place, name, value)
                break
            self._watch(place, name, value)
            if type(value) is UnimportedModule:
                place = value.namespace
                continue
            if not issubclass(kind_of(value), ModuleType):
                self.follow(value, name, (place, name))
                self._library(value, place, name)
                for rest in chain[depth + 1 :]:
                    self._attributes[rest] = None
                break
            below = module_dict(value)
            if not self.project.owns(below):
                self._library(value, place, name)
                break
            place = below
        else:
            self._modules[id(place)] = place

    def _library(self, value: Any, place: Namespace, name: str) -> None:
        """Add a module, function or class of a library, under the name that it has in a module of the project."""
        kind = kind_of(value)
        if issubclass(kind, type):
            owned = self._owns_class(value)
        elif kind is FunctionType:
            owned = self.project.owns(value.__globals__)
        else:
            owned = not issubclass(kind, ModuleType)  # other values are constants
        if not owned and self.project.owns(place) and (id(place), "^" + name) not in self._seen:
            self._seen[id(place), "^" + name] = place
            self.units.append(Unit("import", name, value, place))
            if self.sources is not None and issubclass(kind, type) and not is_at_home(value):  # `make_dataclass`, `types.new_class`
                self._take_names(getattr(self.sources.of_constant(place, name, value), "names", ()), place)

    def _import(self, name: str, level: int, froms: tuple[str, ...], namespace: Namespace) -> None:
        target = absolute_name(name, level, namespace)
        place = self._imports.find(target)
        if place is None:
            return
        for wanted in froms:
            if wanted in place:
                self._resolve((wanted,), place)
            elif (below := self._imports.find(f"{target}.{wanted}")) is not None:
                self._modules[id(below)] = below
        if not froms:
            self._modules[id(place)] = place
            parts = target.split(".")
            for end in range(1, len(parts)):
                if (above := self._imports.find(".".join(parts[:end]))) is not None:
                    self._modules[id(above)] = above

    # Values

    def follow(self, value: Any, label: str, origin: Origin | None = None, depth: int = 0) -> bool:
        """Follow the value of a name, and tell whether it contains code of the project.

        label: the name for a lambda. origin: the namespace and name of the value, if the name is a module-level one.
        """
        kind = kind_of(value)
        if kind is FunctionType:
            return self._function(value, label, origin)
        if issubclass(kind, type):
            return self._class(value)
        if issubclass(kind, ModuleType):
            if origin is None and self.project.owns(below := module_dict(value)):
                self._modules[id(below)] = below
            return False
        if (kind is BuiltinFunctionType or kind.__name__ in _COMPILED) and self._unwatched(value, label):
            return True
        key = (id(value), origin[1] if origin is not None else None)
        if depth > 3 or (key in self._seen and kind not in SCALARS):
            return False
        self._seen[key] = value
        found = False
        for part in self._parts(value, kind, origin):
            found |= self.follow(part, f"{label}.<lambda>" if kind in CONTAINERS and label else label, None, depth + 1)
        found |= self._instance(value)
        if kind in BY_NAME:
            self._attributes.update(dict.fromkeys(names_read_by(value)))
        if origin is not None and (not found or not is_wrapper(kind) or issubclass(kind, ARGUED)):
            self._constant(value, origin)
        return found

    def _unwatched(self, value: Any, label: str) -> bool:
        """Add a compiled function of the project to `unread`, since it has neither bytecode nor source, and tell whether it is one."""
        module = getattr(value, "__module__", None)
        if type(module) is not str or not self.project.owns_name(module):
            return False
        self.unread[str(getattr(value, "__qualname__", label)) or label] = None
        return True

    def _function(self, function: FunctionType, label: str, origin: Origin | None) -> bool:
        if id(function) in self._functions:
            return True
        code = function.__code__
        generated = code.co_qualname.startswith("__create_fn__") or code.co_filename.startswith("<attrs generated")
        if ("__name__" in function.__globals__ and not self.project.owns(function.__globals__)) or generated:
            self._functions[id(function)] = function
            return self._look_through(function)  # a library's decorator around code of the project
        self._functions[id(function)] = function
        name = label if code.co_name == "<lambda>" and label else self._titles.get(id(function), code.co_qualname)
        self.units.append(Unit("function", name.rpartition("<locals>.")[2], function, function.__globals__))
        self._queue.append(function)
        if origin is not None:
            self._factory(function, "")
        return True

    def _factory(self, function: FunctionType, around: str) -> None:
        """Follow the function that created this one, unless that only contains its definition and that of its class, `around`."""
        maker, nested, _ = function.__code__.co_qualname.partition(".<locals>.")
        if nested and "." not in maker and not around.startswith(f"{maker}.<locals>.") and self.project.owns(function.__globals__):
            self._resolve((maker,), function.__globals__)

    def _look_through(self, function: FunctionType) -> bool:
        found = self._inside(function.__dict__)
        for value in closure_values(function).values():
            if type(value) is FunctionType or is_wrapper(kind_of(value)):
                found |= self.follow(value, "", None, 1)
        return found

    def _inside(self, attributes: Mapping[str, Any]) -> bool:
        """Follow functions kept in the ``__dict__`` of a function or object, such as ``__wrapped__``."""
        found = False
        for value in list(attributes.values())[:50]:
            if type(value) is FunctionType or is_wrapper(kind_of(value)):
                found |= self.follow(value, "", None, 1)
            elif kind_of(value) in REGISTRIES:
                for item in self._registry(value):
                    found |= self.follow(item, "", None, 1)
        return found

    def _registry(self, held: Any) -> Iterator[Any]:
        """Functions and classes in a container of an object: implementations that decorators registered, looked up at run time."""
        self._watch_contents(held)
        items: list[Any] = list(held.values() if hasattr(held, "values") else held)[:_MOST_ITEMS]
        if hasattr(held, "keys"):
            self.dispatched += list(held)[:_MOST_ITEMS]
        for item in items:
            kind = kind_of(item)
            if kind is FunctionType or issubclass(kind, type) or is_wrapper(kind):
                yield item

    def _watch_contents(self, held: Any) -> None:
        if self.sources is None:
            self.contents.append((held, contents_of(held)))

    def _parts(self, value: Any, kind: type[Any], origin: Origin | None) -> Iterator[Any]:
        """The objects in a wrapper or plain container that can be code."""
        if issubclass(kind, functools.partial):
            yield partial_func(value)
            yield from partial_args(value)
            yield from partial_keywords(value).values()
        elif issubclass(kind, MethodType):
            self._instance(method_self(value))
            yield method_function(value)
        elif issubclass(kind, (staticmethod, classmethod)):
            yield raw_function(value)
        elif issubclass(kind, property):
            yield from (getter.__get__(value) for getter in PROPERTY_PARTS)
        elif kind in CONTAINERS:
            items: list[Any] = list(value.values() if kind is dict else value)[:_MOST_ITEMS]
            if kind not in FROZEN and any(type(item) not in SCALARS for item in items):
                self._watch_contents(value)
            for item in items:
                if type(item) not in SCALARS:
                    if kind not in FROZEN:
                        self._note_registered(item, origin)
                    yield item
        elif (members := annotated.members_of(value)) is not None:
            yield from members
        else:
            attributes = instance_dict(value)
            for item in list(attributes.values())[:50] if attributes is not None else ():
                if type(item) is FunctionType or (is_wrapper(kind_of(item)) and not self._owns_class(kind)):
                    yield item
                elif kind_of(item) in REGISTRIES:
                    yield from self._registry(item)

    def _note_registered(self, item: Any, origin: Origin | None) -> None:
        """Record a function that another module put into a container: it is there only once that module is imported."""
        if type(item) is FunctionType and origin is not None and item.__globals__ is not origin[0] and self.sources is not None:
            found = self.sources.of_constant(origin[0], origin[1], None)
            if not any(item.__name__ in chain for chain in getattr(found, "names", ())):
                self.registered[id(item)] = module_name(item.__globals__)

    def _instance(self, value: Any) -> bool:
        """Add the class of an object if it is of the project, and tell whether it is."""
        kind = kind_of(value)
        if kind not in SCALARS and self._owns_class(kind):
            self._class(kind)
            return True
        return False

    def _constant(self, value: Any, origin: Origin) -> None:
        namespace, name = origin
        if not self.project.owns(namespace) or (name.startswith("__") and name.endswith("__")) or (id(namespace), "=" + name) in self._seen:
            return
        self._seen[id(namespace), "=" + name] = namespace
        self.units.append(Unit("constant", name, value, namespace))
        if self.sources is not None:
            found = self.sources.of_constant(namespace, name, value)
            if getattr(found, "names", None):
                self._take_names(found.names, found.namespace)

    # Classes

    def _owns_class(self, cls: type) -> bool:
        module = type.__getattribute__(cls, "__module__")
        return type(module) is str and self.project.owns_name(module)

    def _class(self, cls: type) -> bool:
        known = self._classes.get(cls)
        if known in ("owner", "own"):
            return True
        if not self._owns_class(cls):
            return False
        self._classes[cls] = "own"
        hooked = is_called_by_libraries(cls, self._owns_class)
        for base in class_mro(cls)[:-1]:
            if self._owns_class(base) and (id(base), "header") not in self._seen:
                self._seen[id(base), "header"] = base
                if hooked:
                    self._hooked.add(base)
                name = type.__getattribute__(base, "__qualname__").rpartition("<locals>.")[2]
                namespace = class_namespace(base)
                self.units.append(Unit("class", name, base, namespace))
                if self.sources is not None:
                    for found in (self.sources.of_class(base, namespace, hooked), self.sources.assigned_to(base, namespace)):
                        self._take_names(found.names if found is not None else (), namespace)
        metaclass = type(cls)
        if self._owns_class(metaclass):
            self._class(metaclass)
        return True

    def _declared(self, cls: type, roles: bool) -> None:
        """Add the classes that a class declares: of params and payload (the arguments of its bases), and in its annotations."""
        attributes, namespace = class_dict(cls), class_namespace(cls)
        self._declare(exact_tuple(attributes.get("__orig_bases__")), namespace)
        if not roles and is_node(cls):
            return  # the upstream nodes of an upstream node have fingerprints of their own
        annotations = annotated.of_class(attributes, cls)
        self._declare(annotations.values(), namespace)
        for role, annotation in list(annotations.items())[:_MOST_ANNOTATIONS] if roles else ():
            found: Any = namespace.get(annotation) if type(annotation) is str else annotation
            if issubclass(kind_of(found), type) and type(role) is str and self._owns_class(found):
                self._roles[role] = found

    def _declare(self, annotations: Iterable[Any], namespace: Namespace) -> None:
        """Add the classes that annotations name, also those in a list or union: their instances arrive as params and payloads."""
        for cls in annotated.classes_in(list(annotations)[:_MOST_ANNOTATIONS], namespace):
            if self._owns_class(cls) and (current := self._today(cls)) not in self._classes:
                self._classes[current] = "declared"
                for base in class_mro(current)[:-1]:
                    if self._owns_class(base):
                        self._declared(base, False)

    def _today(self, cls: type) -> type:
        """The class that now has the name of `cls`: a notebook cell may have redefined it since an annotation named it."""
        name, home = type.__getattribute__(cls, "__qualname__"), class_namespace(cls)
        found = annotated.named(name, home)
        self._watch(home, name.partition(".")[0], home.get(name.partition(".")[0], UNSET))
        return found if issubclass(kind_of(found), type) else cls

    def _meet(self) -> None:
        """Look up the attribute names in use on the classes and modules reached."""
        for cls, standing in list(self._classes.items()):
            bases = [base for base in class_mro(cls)[:-1] if self._owns_class(base)]
            for base in bases:
                for name in list(class_dict(base)):
                    if (
                        type(name) is str
                        and (base, name) not in self._found_at
                        and self._wanted(name, standing, base)
                        and self._resolves(cls, name, base)
                    ):
                        self._class_attribute(base, name, standing == "declared" and (is_node(base) or name in fields_of(base)))
        for before, name in list(self._pairs):
            if before in self._roles:
                cls = self._roles[before]
                for base in class_mro(cls)[:-1]:
                    if name in class_dict(base):
                        if self._owns_class(base):
                            self._class_attribute(base, name, True)
                        break
        for place in list(self._modules.values()):
            for name in [*[name for name in self._attributes if name in place], *fitting(place, self._patterns)]:
                if (id(place), "." + name) not in self._seen:
                    self._seen[id(place), "." + name] = place
                    self._resolve((name,), place)

    def _wanted(self, name: str, standing: str, cls: type) -> bool:
        if name in self._attributes or (self._patterns and fitting((name,), self._patterns)):
            return True
        if name in _OF_ENUMS or ((cls in self._given or cls in self._hooked) and is_member(name, cls)):
            return True
        if not (name.startswith("__") and name.endswith("__")) or name in _NO_CODE:
            return False
        value = class_dict(cls)[name]
        if type(value) is not FunctionType and not issubclass(kind_of(value), (staticmethod, classmethod)):
            return False
        return name in _CONSTRUCTION or standing == "own" or (name != "__repr__" and not is_node(cls))

    def _resolves(self, cls: type, name: str, base: type) -> bool:
        """Tell whether `cls` finds `name` in `base`, or `super()` may reach it there."""
        if self._uses_super:
            return True
        return next((other for other in class_mro(cls) if name in class_dict(other)), None) is base

    def _class_attribute(self, cls: type, name: str, code_only: bool = False) -> None:
        if (cls, name) in self._found_at:
            return
        value = class_dict(cls)[name]
        self._watch_class(cls, name, value)
        self._found_at.add((cls, name))
        self._seen[id(cls), ":" + name] = cls
        kind = kind_of(value)
        qualified = f"{type.__getattribute__(cls, '__qualname__')}.{name}".rpartition("<locals>.")[2]
        if issubclass(kind, type):
            self.follow(value, qualified)
            return
        if cls in self._titled and kind is FunctionType:
            self._titles[id(value)] = title(value)
        if kind is FunctionType:
            self._factory(value, type.__getattribute__(cls, "__qualname__"))
        found = self.follow(value, qualified)  # cached_property and other descriptors keep their function in __dict__
        if (
            (not found or issubclass(kind, ARGUED))
            and not code_only
            and kind is not FunctionType
            and kind not in DESCRIPTORS
            and (id(cls), "header") not in self._seen
            and not (name.startswith("__") and name.endswith("__"))
        ):
            namespace = class_namespace(cls)
            self.units.append(Unit("attribute", qualified, value, cls))
            if self.sources is not None and (source := self.sources.of_attribute(cls, name, namespace)) is not None:
                self._take_names(source.names, namespace)

    # Conditions for this walk to stay valid

    def _watch(self, place: Namespace, name: str, value: Any) -> None:
        if self.sources is None and (id(place), "@" + name) not in self._seen:
            self._seen[id(place), "@" + name] = place
            self.watches.append(Watch(place, None, name, *hold(value)))

    def _watch_class(self, cls: type, name: str, value: Any) -> None:
        if self.sources is None:
            self.watches.append(Watch(None, weakref.ref(cls), name, *hold(value)))
