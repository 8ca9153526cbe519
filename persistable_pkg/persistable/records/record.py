"""A record: all known facts about one payload, in one JSON file beside it. Its appearance is the commit.

The file is one JSON object. Its first line has the members that a load needs, so that a hit parses only these; its last is a CRC-32 of
every byte before it, so that a flipped or missing byte anywhere is noticed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast, overload
from zlib import crc32

from persistable.errors import PayloadCorrupted, StoreTooNew
from persistable.records.key import SCHEME, Key
from persistable.records.package_versions import imported_versions
from persistable.stores.record_file import RECORD, SEAL, SEAL_BYTES

if TYPE_CHECKING:
    from persistable.stores.base import Store
    from persistable.stores.signing_keys import SigningKey

FORMAT = 1
"""The format of records that are written here, and the latest that can be read. In every later one the first member of the file is
``record``, the number of its format, and the last the checksum, as they are here."""
SUFFIX = RECORD
BY_HAND = ("put", "adopted")
"""The values of `Record.made` for payloads that no code here has made."""
OUTPUT_SUFFIX = ".output.txt"
"""The end of the name of the file with the text that the generating code printed and logged."""
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
_made = cast("Any", json.encoder.c_make_encoder)  # type: ignore[attr-defined]
# the encoder makes this anew for each call
_encode: Callable[[Any, int], Iterable[str]] = _made(
    None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, True
)


class FileFact(NamedTuple):
    """One file of a payload: its part name ("" where there is only one), path in the store, size in bytes and BLAKE3 (hexadecimal)."""

    part: str
    path: str
    size: int
    digest: str


FactT = TypeVar("FactT")


def _none() -> Any:
    return None


class Fact(Generic[FactT]):
    """A member of a record that is parsed at its first access. missing: makes the value of a missing member."""

    def __init__(self, missing: Callable[[], FactT] | None = None) -> None:
        self._missing = missing

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, record: None, owner: type) -> Fact[FactT]: ...
    @overload
    def __get__(self, record: Record, owner: type) -> FactT: ...
    def __get__(self, record: Record | None, owner: type) -> Any:
        if record is None:
            return self
        facts = record.facts()
        if self._missing is not None and self._name not in facts:
            return self._missing()
        return facts[self._name]


class Record:
    """The facts of one payload. Members that no load needs are parsed at their first access."""

    __slots__ = ("_all", "_output", "data", "head", "key")

    def __init__(self, data: bytes, head: dict[str, Any], key: Key, store: Store | None = None) -> None:
        self.data = data
        """The content of the file."""
        self._output: Store | str | None = store
        """The store with the output, or the output itself."""
        self._all: dict[str, Any] | None = None
        self.head = head
        """The members that a load needs: key, format, files, class and code among them."""
        self.key = key
        """The key of the payload."""

    @classmethod
    def parse(cls, data: bytes, key: Key | None = None, store: Store | None = None, *, lines: Literal[1, 2] = 1) -> Record:
        """The record in `data`, which was read in `store`. Raises PayloadCorrupted where a byte is wrong or missing, or it is not the
        record of `key`. lines: 2 where `head` shall hold the members of the second line as well.

        Raises StoreTooNew for a record of a later format, PayloadUntrusted where the store it was read from has refused it.
        """
        body = data[:-SEAL_BYTES]
        if data[-SEAL_BYTES:] != b'%b%08x"}\n' % (SEAL, crc32(body)):
            refused: BaseException | None = getattr(data, "refused", None)
            if refused is not None:  # a store has put this in its place
                raise refused
            shown = data[-SEAL_BYTES + len(SEAL) : -3].decode(errors="replace")
            raise PayloadCorrupted(
                f"the record of {key or 'a payload'} is damaged: its checksum is not that of its content; generate it again to replace it",
                key=key,
                expected=shown,
                found=f"{crc32(body):08x}",
            )
        try:  # the checksum shows accidents; a forged record may contain anything
            end = body.index(b"\n")
            if lines == 2:
                end = body.index(b"\n", end + 1)
            head = _scan(body[: end - 1].decode("utf-8", "surrogatepass") + "}", 0)[0]
            if head["record"] != FORMAT:
                raise _of_another_format(key or head.get("key"), head["record"])
            try:
                _check_head(head)
            except ValueError:
                _leave_out_unknown(head)
            record = cls(data, head, key if key is not None else Key.parse(head["key"]), store)
        except (ValueError, TypeError, LookupError, StopIteration, RecursionError) as error:
            later = _later_format(body)
            raise _malformed_error(key, error) if later is None else _of_another_format(key, later) from error
        if head["key"] != f"{record.key.name}/{record.key.digest}":
            # a filesystem that folds case or unicode, or a file moved by hand
            raise PayloadCorrupted(
                f"the record at {key} is that of {head['key']}; it was moved there by hand, remove it",
                key=key,
                expected=str(key),
                found=head["key"],
            )
        return record

    @classmethod
    def compose(cls, key: Key, head: dict[str, Any], details: Mapping[str, Any], *fixed: bytes, signer: SigningKey | None = None) -> Record:
        """Make the record of these facts; `fixed` are more members encoded by `members`. `signer`: the key of the store it is for."""
        first, rest = "".join(_encode(head, 0)), "".join(_encode(details, 0))
        body = b"".join((f"{first[:-1]},\n{rest[1:-1]}".encode("utf-8", "surrogatepass"), *fixed))
        if signer is not None:
            body = _signed(body, signer)
        return cls(b'%b%b%08x"}\n' % (body, SEAL, crc32(body)), head, key)

    def revise(self, head: Mapping[str, Any], details: Mapping[str, Any], signer: SigningKey | None = None) -> Record:
        """This record with some members replaced or added, signed by `signer` alone."""
        new_head = {**self.head, **head}
        rest = {name: fact for name, fact in self.facts().items() if name not in self.head and name not in ("signature", "checksum")}
        revised = Record.compose(self.key, new_head, {**rest, **details}, signer=signer)
        revised._output = self._output
        return revised

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return self.data

    def unsealed(self) -> bytes:
        """The bytes from which `sealed` makes the file."""
        return self.data[:-SEAL_BYTES]

    def to_dict(self) -> dict[str, Any]:
        """Every member, as in the JSON."""
        return dict(self.facts())

    def checked(self) -> Record:
        """Return itself, fully parsed. Raises PayloadCorrupted where a member is invalid."""
        self.facts()
        return self

    def facts(self) -> dict[str, Any]:
        """Every member, parsed at the first call; not to be changed."""
        if self._all is None:
            try:
                facts = json.loads(self.data.decode("utf-8", "surrogatepass"))
                _check_members(facts, self.data)
            except (ValueError, TypeError, LookupError, RecursionError) as error:
                raise _malformed_error(self.key, error) from error
            self._all = facts
            return cast("dict[str, Any]", facts)
        return self._all

    # members that a load needs

    @property
    def files(self) -> tuple[FileFact, ...]:
        """The payload's files; their paths are in the same store as the record."""
        return tuple([FileFact(*fact) for fact in self.head["files"]])

    @property
    def fileio(self) -> dict[str, Any]:
        """The format's name and options, enough to rebuild it."""
        spec: dict[str, Any] = self.head["io"]
        return spec

    @property
    def schema(self) -> dict[str, Any] | None:
        """Facts that the format could not put into the bytes, such as the dtypes of a CSV."""
        schema: dict[str, Any] | None = self.head.get("schema")
        return schema

    @property
    def class_reference(self) -> str:
        """``module:qualname`` of the class that made it."""
        reference: str = self.head["class"]
        return reference

    @property
    def code(self) -> dict[str, Any] | None:
        """The fingerprint of the generating code; None for a payload put in by hand."""
        code: dict[str, Any] | None = self.head["code"]
        return code

    @property
    def size(self) -> int:
        """Bytes of all files together, those of items as well."""
        items = self.head.get("items")
        own: int = sum(file[2] for file in self.head["files"])
        return own if items is None else own + int(items[2])

    @property
    def output_path(self) -> str | None:
        """The path, in the store of the record, of the file with the output; None where there was none."""
        found: Any = self.head.get("output")
        own = isinstance(found, str) and found.endswith(f".{self.attempt_token}{OUTPUT_SUFFIX}") and ".." not in found
        return found if own else None

    @property
    def output(self) -> str:
        """The end, 64 KiB at most, of the text that the generating code printed and logged; read at the first access.

        Empty where there was none, where `output=False` kept none, and where the file is gone.
        """
        store = self._output
        if isinstance(store, str):
            return store
        path = self.output_path
        text = ""
        if path is not None and store is not None:
            try:
                text = store.get(path).decode("utf-8", "replace")
            except FileNotFoundError:
                pass
        self._output = text
        return text

    @property
    def attempt_token(self) -> str:
        """The token of the attempt, different from that of any other commit of the same key."""
        token: str = self.head["token"]
        return token

    # the rest

    made: Fact[str] = Fact()
    """``"generated"``, ``"put"`` for a payload put in by hand, or ``"adopted"`` for a file that was made elsewhere."""

    @property
    def by_hand(self) -> bool:
        """True for a payload that was put in or adopted, so that no code here has made it."""
        return self.made in BY_HAND

    version: Fact[Any] = Fact()
    """The payload's version, part of its identity."""

    params: Fact[dict[str, Any]] = Fact()
    """The node's own params tree."""

    untracked: Fact[dict[str, Any]] = Fact(missing=dict)
    """Untracked params, as far as they can be shown."""

    @property
    def upstream(self) -> dict[str, Key]:
        """Role to key."""
        return {role: Key.parse(path) for role, path in self.facts().get("upstream", {}).items()}

    lineage: Fact[dict[str, Any]] = Fact(missing=dict)
    """Key to facts of every node upstream, each once; the nearest ones where there are very many."""

    call: Fact[dict[str, Any] | None] = Fact(missing=_none)
    """The call that built the node, where its class has an ``__init__`` of its own; nodes are replaced by keys."""

    code_parts: Fact[dict[str, str]] = Fact(missing=dict)
    """Fingerprint of each function the generation reached."""

    upstream_code: Fact[list[dict[str, Any]]] = Fact(missing=list)
    """The code of everything upstream, one entry for each class or function: class, names (of payloads), python, quick and parts."""

    upstream_content: Fact[dict[str, dict[str, str]]] = Fact(missing=dict)
    """Digests of the payloads it was made from, by key: ``direct``, and ``further`` upstream as far as it was known."""

    accepted_causes: Fact[list[str]] = Fact(missing=list)
    """Changes upstream when the code was accepted: keys, each with a mark of its code or bytes at that time."""

    versions: Fact[dict[str, str]] = Fact()
    """Versions of Python, this library and the packages that had been imported by then."""

    git_commit: Fact[str | None] = Fact()
    """The commit checked out where the class's source is, if that is a git work tree."""

    project: Fact[str | None] = Fact(missing=_none)
    """The project of the class: a name in pyproject.toml, of a git repository or of a folder; None where it is not known."""

    git_dirty: Fact[bool | None] = Fact(missing=_none)
    """True if tracked files differed from the commit when the process first checked; None where that is not known."""

    git_diff: Fact[str | None] = Fact(missing=_none)
    """A digest of these differences: equal for equal ones."""

    usage: Fact[dict[str, Any]] = Fact(missing=dict)
    """CPU time and memory of the generation, up to the writing of the payload. Empty where it was not measured: it took less than a
    millisecond, or the payload was in memory already.

    ``cpu_seconds``: of processors, for user and system together. ``of``: ``"process"``, all threads of the process and its ended
    children, where nothing else was generated there meanwhile, else ``"thread"``, its own thread alone. ``peak_memory``: the most
    bytes that were ever resident in the process by the end, so never less than the generation needed. ``memory_rise``: the rise
    of that by the generation; 0 where the process had needed as much before.
    """

    @property
    def cpu_seconds(self) -> float | None:
        """Seconds of processors that the generation took, see `usage`."""
        return self.usage.get("cpu_seconds")

    @property
    def peak_memory(self) -> int | None:
        """The most bytes ever resident in the process by its end, see `usage`."""
        return self.usage.get("peak_memory")

    host: Fact[str] = Fact()
    """Name of the machine."""

    started: Fact[float] = Fact()
    """The time at which the generation began, in seconds since the epoch."""

    seconds: Fact[float] = Fact()
    """Seconds from the start to the end of the payload's writing."""

    attempts: Fact[int] = Fact()
    """Tries up to and including the one that worked."""

    notes: Fact[dict[str, Any]] = Fact(missing=dict)
    """Facts that the generating code itself added, such as the exit status and output of a shell script."""

    signature: Fact[dict[str, str] | None] = Fact(missing=_none)
    """The public key ``by`` that it names as its signer, and the signature; None where it is not signed. Only a store with ``trust=``
    verifies it."""

    @property
    def trusted(self) -> bool:
        """True where it was read from a store with ``trust=``, which has verified the signature of a signer that it trusts."""
        from persistable.stores.signed import Verified

        return isinstance(self.data, Verified)

    source: Fact[dict[str, str]] = Fact(missing=dict)
    """The source of a class or step of a script or notebook, kept by ``source=True``, with the definitions in it that it uses: name to
    Python statement, in the order to execute them. It is code: `Catalog.node` executes it only if the record is trusted."""

    @property
    def checksum(self) -> str:
        """CRC-32 of everything before it, hexadecimal."""
        return self.data[-11:-3].decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"Record({self.key}, {self.size} bytes, {self.class_reference})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.data, self.output)


def _restored(data: bytes, output: str) -> Record:
    record = Record.parse(data)
    record._output = output  # pyright: ignore[reportPrivateUsage]
    return record


def _check_head(head: Any) -> None:
    """Raise TypeError or LookupError unless the members that a load needs are there, with their types. Runs at every hit: must be fast."""
    texts = head["key"].__class__ is head["token"].__class__ is head["class"].__class__ is str
    code, items, files = head["code"], head.get("items"), head["files"]
    if not texts or head["io"].__class__ is not dict or files.__class__ is not list:
        raise TypeError("a member of its first line is of another type")
    if code is not None and not (code["quick"].__class__ is code["python"].__class__ is str):
        raise TypeError("its code is no fingerprint")
    for part, path, size, digest in files:
        if not (part.__class__ is path.__class__ is digest.__class__ is str) or size.__class__ is not int or size < 0:
            raise TypeError("its files are malformed")
    if items is not None and not (items[0].__class__ is str and items[1].__class__ is items[2].__class__ is int):
        raise TypeError("its items are malformed")


def _leave_out_unknown(head: Any) -> None:
    """Drop the facts about each file that this version does not know, and check again."""
    head["files"] = [file[:4] for file in head["files"]]
    _check_head(head)


_TYPES: dict[str, tuple[type, ...]] = {
    "made": (str,),
    "params": (dict,),
    "untracked": (dict,),
    "upstream": (dict,),
    "source": (dict,),
    "lineage": (dict,),
    "call": (dict, type(None)),
    "code_parts": (dict,),
    "versions": (dict,),
    "git_commit": (str, type(None)),
    "project": (str, type(None)),
    "git_dirty": (bool, type(None)),
    "git_diff": (str, type(None)),
    "usage": (dict,),
    "host": (str,),
    "started": (int, float),
    "seconds": (int, float),
    "attempts": (int,),
    "notes": (dict,),
    "accepted": (list,),
    "signature": (dict,),
}
_NEEDED = ("made", "version", "params", "versions", "git_commit", "host", "started", "seconds", "attempts")
_LAST = 253402300800.0
"""The end of the year 9999, after which there are no dates."""
_DEEPEST = 400


def _check_members(facts: Any, data: bytes) -> None:
    """Raise TypeError, LookupError or ValueError unless all members are there, and of their types."""
    for name in _NEEDED:
        facts[name]
    for name, kinds in _TYPES.items():
        if name in facts and facts[name].__class__ not in kinds:
            raise TypeError(f"{name} is a {facts[name].__class__.__name__}")
    if not (0 <= facts["started"] < _LAST and 0 <= facts["seconds"] < _LAST and 0 < facts["attempts"] < 1 << 31):
        raise ValueError("a number in it is none that it can be")
    for name in ("upstream", "code_parts", "versions", "source"):
        for value in facts.get(name, {}).values():
            if value.__class__ is not str:
                raise TypeError(f"{name} holds a {value.__class__.__name__}")
    for path in facts.get("upstream", {}).values():
        Key.parse(path)
    for row in facts.get("lineage", {}).values():
        if row["class"].__class__ is not str or row["params"].__class__ is not dict or row["upstream"].__class__ is not dict:
            raise TypeError("a row of its lineage is none")
    if data.count(b"[") + data.count(b"{") > _DEEPEST:
        _check_depth(facts)


def _check_depth(facts: Any) -> None:
    """Raise ValueError if it is nested deeper than params can be: code that walks it would run out of stack."""
    level: list[Any] = [facts]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for value in level:
            if value.__class__ is dict:
                inner += value.values()
            elif value.__class__ is list:
                inner += value
        level = inner
        if not level:
            return
    raise ValueError("it is nested too deeply")


_FIRST = re.compile(rb'\{"record":([0-9]{1,9})[,}]')


def _later_format(data: bytes) -> int | None:
    """The number of a later format with which a record begins; None for all other data."""
    found = _FIRST.match(data)
    return int(found[1]) if found is not None and int(found[1]) > FORMAT else None


def _of_another_format(key: Any, found: Any) -> StoreTooNew | PayloadCorrupted:
    """Return the error for a record of another format than the one known here."""
    if found.__class__ is not int or found < FORMAT:
        return _malformed_error(None if key is None else cast("Key", key), ValueError(f"its format is {found!r:.40}"))
    path = f"{key}{SUFFIX}" if key else ""
    return StoreTooNew.of(f"the record of {key or 'a payload'} has format {found}", found, FORMAT, path=path)


def _malformed_error(key: Key | None, error: BaseException) -> PayloadCorrupted:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return PayloadCorrupted(
        f"the record of {key or 'a payload'} means nothing ({what[:200]}); generate it again to replace it",
        key=key,
        expected="a record",
        found=what,
    )


def sealed(body: bytes, signer: SigningKey | None = None) -> bytes:
    """Return a record, given all of it but the signature by `signer` and the checksum."""
    if signer is not None:
        body = _signed(body, signer)
    return b'%b%b%08x"}\n' % (body, SEAL, crc32(body))


def _signed(body: bytes, signer: SigningKey) -> bytes:
    from persistable.stores.signed import signed

    return signed(body, signer)


def members(facts: Mapping[str, Any]) -> bytes:
    """Encode `facts`, at least one, as further members of a record, on a line of their own."""
    return b",\n" + encoded(facts)[1:-1]


def text_of(fact: Any) -> str:
    """`fact` as JSON, as compact as in records."""
    return "".join(_encode(fact, 0))


def encoded(fact: Any) -> bytes:
    """`fact` as JSON bytes, as in records."""
    return "".join(_encode(fact, 0)).encode("utf-8", "surrogatepass")


@cache
def host_name() -> str:
    """The name of this machine."""
    import socket

    return socket.gethostname()


@cache
def environment_members() -> bytes:
    """Members that are the same for every record of this process."""
    import os

    system = os.uname() if hasattr(os, "uname") else None
    return members({"scheme": SCHEME, "host": host_name(), "platform": f"{system.sysname}-{system.machine}" if system else os.name})


_packages: tuple[int, bytes] = (0, b"")


def package_versions() -> bytes:
    """The member that names the versions of Python and of all installed packages imported so far."""
    global _packages
    seen, encoded = _packages
    if seen != len(sys.modules):
        encoded = members({"versions": {"python": sys.version.split()[0], **imported_versions()}})
        _packages = (len(sys.modules), encoded)
    return encoded
