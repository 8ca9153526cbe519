"""One external input as a node, and the nodes of all inputs of a listing. They are read in place, and never stored."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from persistable.errors import PersistableError
from persistable.families.axis import Axis
from persistable.families.grid import Column, NodeFactory
from persistable.families.sources.inputs import Inputs, Unlocated, Values, naming
from persistable.families.view import View, view_of
from persistable.fileio.base import FileIO
from persistable.nodes.construction import Construction, RecordedFacts
from persistable.nodes.node import Persistable
from persistable.nodes.node_template import NodeTemplate
from persistable.stores.base import enclosing_store

PayloadT = TypeVar("PayloadT")


@dataclass(frozen=True)
class InputParams:
    """The identity of an input: its key by field, its content, and how it is read. Its path is no part of it."""

    key: dict[str, Any]
    content: str
    reads: dict[str, Any]


class Input(Persistable[PayloadT, InputParams]):
    """A member of a `Source`; made by it."""

    __module__ = "persistable"  # records name this path, independent of the defining module
    is_external = True
    is_persisted = False
    params: InputParams
    """The key of this input by field, the token of its content, and its format."""
    _inputs: Inputs
    _values: Values

    @classmethod
    def template(cls, inputs: Inputs, name: str, io: FileIO[Any] | None) -> NodeTemplate:
        """The template of the nodes of `inputs`, which differ in key, content and values."""
        model = cls(params=InputParams({}, "", io.spec() if io is not None else {}), payload_name=name, payload_io=io)
        model._inputs = inputs
        return NodeTemplate(model, ("key", "content"))

    @classmethod
    def recorded(cls, name: str, key: dict[str, Any], content: str, reads: dict[str, Any] | None = None) -> Input[Any]:
        """The input with the key in a record, of unknown location, so that it cannot be read."""
        made: Input[Any] = cls(params=InputParams(key, content, reads or {}), payload_name=name)
        made._inputs = Unlocated(f"{name} {', '.join(map(str, key.values()))}")
        made._values = tuple(key.values())
        return made

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        params: InputParams = recorded.params
        reads = {"reads": params.reads} if params.reads else {}
        return Construction("persistable:Input.recorded", (recorded.name, params.key, params.content), reads)

    def _generate_payload(self, **_: Any) -> Any:
        try:
            with naming(f"the input {self._inputs.shown(self._values)}"):
                return self._inputs.load(self._values, self.params.content, self._node_format())
        except PersistableError as error:
            if "key" not in error.__dict__:
                error.__dict__["key"] = self.key
            raise

    def _node_look(self) -> str:
        try:
            if self._inputs.content(self._values, None) == self.params.content:
                return ""
            return f"{self._inputs.shown(self._values)} has changed since this node was made"
        except FileNotFoundError:
            return f"{self._inputs.shown(self._values)} is not there any more"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_inputs": self._inputs.only(self._values)}

    def _node_shown_params(self) -> dict[str, Any]:
        return self.params.key

    def __repr__(self) -> str:
        return f"<input {self.payload_name}: {self._inputs.shown(self._values)} [{self.key.digest[:8]}]>"


class ListingSnapshot:
    """One listing, which stays unchanged, and the contents read since. Calling it with values makes the node of that input."""

    def __init__(self, inputs: Inputs, name: str, io: FileIO[Any] | None, stamps: Mapping[Values, Any]) -> None:
        self._inputs = inputs
        self._name = name
        self._io = io
        self.stamps = stamps
        self.is_uncertain = False
        """True once a content was read that may differ from that of the listing."""
        self._contents: dict[Values, str] = {}
        self._template = Input.template(inputs, name, io)
        self._every = list(stamps)

    @property
    def model(self) -> Input[Any]:
        """The node of the first input."""
        return self(self._every[0])

    def digests(self, members: Sequence[tuple[int, ...]]) -> list[str]:
        """The digests of the keys at these indices, computed without creating the nodes."""
        wanted = [self._every[index] for (index,) in members]
        self.prepare(wanted)
        return [self._template.digest(self._fields(values)) for values in wanted]

    def __call__(self, values: Values) -> Input[Any]:
        made: Input[Any] = self._template.node(self._fields(values), {}, {"_values": values, "_node_store": enclosing_store()})
        return made

    def _fields(self, values: Values) -> dict[str, Any]:
        return {"key": dict(zip(self._inputs.fields, values, strict=True)), "content": self._content(values)}

    def _content(self, values: Values) -> str:
        found = self._contents.get(values)
        if found is None:
            found = self._contents[values] = self._inputs.content(values, self.stamps[values])
            self.is_uncertain = self.is_uncertain or not self._is_sure(values)
        return found

    def _is_sure(self, values: Values) -> bool:
        is_sure = getattr(self._inputs, "is_sure", None)
        return is_sure is None or bool(is_sure(values, self.stamps[values]))

    def prepare(self, wanted: Iterable[Values]) -> None:
        """Read the contents of these inputs, several at a time if that is faster."""
        unknown = [values for values in wanted if values not in self._contents]
        contents = getattr(self._inputs, "contents", None)
        if contents is not None:  # which reads all of them in few requests
            self._contents.update(contents({values: self.stamps[values] for values in unknown}))
            self.is_uncertain = self.is_uncertain or not all(self._is_sure(values) for values in unknown)
            return
        if len(unknown) < 2 or self._inputs.at_once < 2:
            return  # each is read when its node is made
        together = getattr(self._inputs, "together", nullcontext)  # one client for all requests, if the inputs use clients
        with together():
            pool = ThreadPoolExecutor(min(self._inputs.at_once, len(unknown)), thread_name_prefix="persistable-source")
            try:
                for _ in pool.map(self._content, unknown):
                    pass
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def view(self) -> View:
        """The view of all inputs, on one axis."""
        every, fields = self._every, self._inputs.fields
        axis = Axis({field: [values[number] for values in every] for number, field in enumerate(fields)}, is_listed=True)
        return view_of(NodeFactory(self, self._name, [None], {}, [Column(0, 0, every)], [], [axis]))


class Listing:
    """The data source of a `Source`: its last listing, and the number of changes of it."""

    def __init__(self, inputs: Inputs, name: str, io: FileIO[Any] | None) -> None:
        self._inputs = inputs
        self._name = name
        self._io = io
        self._forget()

    def _forget(self) -> None:
        self._seen: ListingSnapshot | None = None
        self._version = 0
        self._lock = threading.RLock()

    def version(self) -> int:
        self._look()
        return self._version

    def refresh(self) -> None:
        with self._lock:
            if self._seen is None:
                return  # not listed yet; the first use does it
            stamps = self._inputs.stamps()
            same = list(stamps.items()) == list(self._seen.stamps.items())
            if not same or None in stamps.values() or self._seen.is_uncertain:
                self._seen = self._made(stamps)
                self._version += 1

    def view(self) -> View:
        """The view of the last listing."""
        return self._look().view()

    def _look(self) -> ListingSnapshot:
        seen = self._seen
        if seen is None:
            with self._lock:
                seen = self._seen
                if seen is None:
                    seen = self._seen = self._made(self._inputs.stamps())
        return seen

    def _made(self, stamps: Mapping[Values, Any]) -> ListingSnapshot:
        return ListingSnapshot(self._inputs, self._name, self._io, stamps)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_seen", "_version", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
