"""`Node`: the type of a node, and functions for the few facts about one that other packages need and that have no public name."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any, Final, Protocol

from persistable.stores.base import Store

if TYPE_CHECKING:
    from typing import Self

    from persistable.executors.resources import Resources, Retry
    from persistable.fileio.base import FileIO
    from persistable.nodes.code import CodeOf, SentFingerprint
    from persistable.nodes.compose import Open
    from persistable.params.snapshots import Snapshot
    from persistable.records.key import Key, Place
    from persistable.records.record import Record


class PayloadMark(Enum):
    """A value in place of a payload; None is a payload."""

    ABSENT = "absent"
    FAILED = "failed"
    GONE = "gone"
    UNREAD = "unread"

    def __repr__(self) -> str:
        return str(self.value)


ABSENT: Final = PayloadMark.ABSENT
"""Mark of a node that holds no payload in memory."""
FAILED: Final = PayloadMark.FAILED
"""Mark of an upstream node that failed, and so has no payload."""
GONE: Final = PayloadMark.GONE
"""Mark of a payload that was waited for and is missing: to be tried again."""
UNREAD: Final = PayloadMark.UNREAD
"""Mark of a payload that has just been committed, and may be larger than memory."""


class NodeBase:
    """The base class of every node; modules that `Persistable` is made of recognize a node by it."""


class Node(Protocol):
    """A node: `Persistable`, of any payload and params. Names that begin with an underscore are for `persistable.nodes`."""

    key: Key
    payload_name: str
    params: Any
    version: Any
    io: Any
    retry: Retry | None
    resources: Resources | None
    is_persisted: bool
    is_external: bool

    @property
    def place(self) -> Place: ...
    @property
    def label(self) -> str: ...
    @property
    def upstream(self) -> Mapping[str, Node]: ...
    @property
    def payload(self) -> Any: ...
    @property
    def payload_io(self) -> FileIO[Any]: ...
    @property
    def store(self) -> Store: ...
    @property
    def record(self) -> Record | None: ...
    @property
    def params_tree(self) -> dict[str, Any]: ...
    def load(self, warn_if_validation_fails: bool = False, verify: bool = True) -> Self: ...
    def load_generate(self) -> Self: ...
    def generate(self, persist: bool = True) -> Self: ...
    def persist(self) -> Self: ...
    def put(self, payload: Any) -> Self: ...
    def reset_payload(self) -> None: ...

    _node_is_node: bool
    _node_is_family: bool
    _node_needs: str
    _node_by_payload: bool
    _node_captured: str
    _node_store: Store | None
    _node_remembered: Store | None
    _node_custom_path: str | None
    _node_logger: Any
    _node_call: Any
    _node_upstream: dict[str, Any]
    _node_snapshot: Snapshot
    _node_open: tuple[str, ...]
    _node_payload: Any
    _node_single_use: bool
    _node_generation: Any
    _node_reader: Any
    _node_given_code: Any
    _node_given_facts: dict[str, Any]
    _node_given_table: Any
    _node_given_origin: Any

    def _node_use(self) -> Store: ...
    def _node_format(self) -> FileIO[Any]: ...
    def _node_identify(self) -> None: ...
    def _node_check_params(self) -> None: ...
    def _node_call_hook(self, name: str, untracked: dict[str, Any]) -> Any: ...
    def _generate_payload(self) -> Any: ...
    def _validate_payload(self, payload: Any) -> None: ...
    def _node_validates(self) -> bool: ...
    def _node_own_code(self) -> CodeOf | SentFingerprint: ...
    def _node_generating_function(self) -> Any: ...
    def _node_declared_payloads(self) -> list[Any]: ...
    def _node_payload_type(self) -> Any: ...
    def _node_look(self) -> str: ...
    def _node_stands_for(self) -> Sequence[Any]: ...
    def _node_made_by(self) -> Any: ...
    def _node_open_inputs(self) -> list[Open]: ...
    def _node_fill(self, given: dict[str, Any]) -> Any: ...


own_store: Callable[[Any], Store | None] = attrgetter("_node_store")
"""The store that a node or family names itself; None if it uses the enclosing or the default one."""
upstream_of: Callable[[Node], Mapping[str, Node]] = attrgetter("_node_upstream")
"""The upstream nodes by role, for the library: `Node.upstream` is for the node's own code while it runs."""
given_logger: Callable[[Node], Any] = attrgetter("_node_logger")
"""The `logger` that a node was made with; None for that of the library."""
needs_of: Callable[[Node], str] = attrgetter("_node_needs")
"""The upstream payloads that a node needs: ``"all"``, ``"any"``, or those that do not fail (``"optional"``)."""
is_by_payload: Callable[[Node], bool] = attrgetter("_node_by_payload")
"""Tell whether the type of a node's payload tells its kind, and not its class."""
open_inputs_of: Callable[[Node], tuple[str, ...]] = attrgetter("_node_open")
"""The names of the open inputs of a node."""
check_unchanged: Callable[[Node], None] = methodcaller("_node_check_params")
"""Raise ParamsMutated if params of a node have been changed since it was made."""
validates: Callable[[Node], bool] = methodcaller("_node_validates")
"""Tell whether the class of a node overrides `_validate_payload`."""
why_absent: Callable[[Node], str] = methodcaller("_node_look")
"""The reason why an input from elsewhere is missing; empty if it is there."""


def holds_payload(node: Node) -> bool:
    """Tell whether `node` has a payload in memory."""
    return node._node_payload is not ABSENT


def hold(node: Node, payload: Any) -> None:
    """Set the payload that `node` holds in memory."""
    node._node_payload = payload


def is_node(thing: Any) -> bool:
    """Tell whether `thing` is a node."""
    return isinstance(thing, NodeBase)


def is_family(thing: Any) -> bool:
    """Tell whether `thing` is a family of nodes."""
    return getattr(thing.__class__, "_node_is_family", False) is True
