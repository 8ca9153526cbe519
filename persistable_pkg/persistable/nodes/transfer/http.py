"""`HttpGet`: the body at a URL as a payload."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar, Unpack, overload
from urllib.parse import urlsplit

from persistable.errors import ParamsError, PayloadCorrupted, PayloadUntrusted, UnknownParam
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.plain import BytesFileIO
from persistable.nodes.construction import Construction, RecordedFacts, set_given
from persistable.nodes.node import Persistable
from persistable.nodes.transfer.client import Known, Request, check_address, check_headers, fetch, filled
from persistable.params.building import did_you_mean
from persistable.params.fields import omit_when, untracked
from persistable.params.secret import Secret
from persistable.params.streams import digest_rest
from persistable.records.files import ExistingFile
from persistable.records.key import Key
from persistable.records.record_access import find_record, missing_file

if TYPE_CHECKING:
    import os

    from persistable.executors.resources import Resources, Retry
    from persistable.records.record import Record
    from persistable.stores.base import Store

PayloadT = TypeVar("PayloadT")
Header = str | Secret
_NEGOTIATED = ("accept", "accept-language")
_REMEMBERED = 8


@dataclass(frozen=True)
class HttpGetParams:
    """The request, which is identity, and the options of its transfer, which are not. Built by `HttpGet`, which documents each field."""

    url: str
    as_of: Any = None
    accept: Annotated[dict[str, str], omit_when({})] = field(default_factory=dict[str, str])
    reads: Annotated[dict[str, Any], omit_when({})] = field(default_factory=dict[str, Any])
    headers: Annotated[dict[str, Header], untracked] = field(default_factory=dict[str, str | Secret])
    secrets: Annotated[dict[str, Secret], untracked] = field(default_factory=dict[str, Secret])
    auth: Annotated[tuple[str, Secret] | None, untracked] = None
    expect: Annotated[tuple[int, ...], untracked] = (200,)
    content_type: Annotated[tuple[str, ...], untracked] = ()
    max_bytes: Annotated[int | None, untracked] = None
    timeout: Annotated[float, untracked] = 60.0
    attempts: Annotated[int, untracked] = 5
    delay: Annotated[float, untracked] = 0.5


class GetOptions(TypedDict, total=False):
    """The keywords of `HttpGet`, for type checkers."""

    headers: Mapping[str, Header] | None
    secrets: Mapping[str, Secret] | None
    auth: tuple[str, Secret] | None
    expect: Sequence[int]
    content_type: str | Sequence[str] | None
    max_bytes: int | None
    timeout: float
    attempts: int
    delay: float
    retry: Retry | None
    resources: Resources | None
    persist_data_dir: str | os.PathLike[str] | Store | None
    data_dir: str | os.PathLike[str] | Store | None
    payload_name: str | None
    verbose: bool
    logger: Any


class HttpGet(Persistable[PayloadT, HttpGetParams]):
    """The body of a GET of `url`, streamed into the store; `io` reads the payload from it.

    Identity is the URL as written, `as_of`, the format `io`, and the headers ``Accept`` and ``Accept-Language``. Without `as_of` the
    URL is assumed to be immutable. A new `as_of` (such as a date) requests it again; if the server says by ETag or Last-Modified
    that nothing changed, the payload stored earlier is copied.

    Parameters:
        url: http or https. ``{name}`` is replaced by the secret of that name.
        as_of: any param, such as a date.
        headers: further headers; a `Secret` is sent to the URL's own host only, and credentials must be secrets.
        secrets: the secrets for the places of the URL, by name.
        auth: user and password for basic authentication.
        io: the format of the body: a FileIO, a suffix such as ``".csv"``, or ``"auto"`` for that of the URL. Default: bytes.
        expect: the HTTP statuses that are a success.
        content_type: the media types that are a success, such as ``image/*``; by default all.
        max_bytes: larger bodies are refused.
        timeout: seconds without data after which the connection is given up. `Resources.time` limits the whole generation.
        attempts: attempts in all, if the connection fails, the body is cut off (it is resumed if the server can), or the status
            says that a later attempt may succeed.
        delay: seconds before the second attempt, doubled for each further one; a server's Retry-After of up to a minute replaces them.
        retry, resources: as for any node; each retry makes `attempts` anew.

    Raises HttpFailed; a body that `io` cannot read raises MalformedFile and is not stored. Needs ``persistable[http]``.
    """

    __module__ = "persistable"  # records keep this name, so it must not change if the class moves
    _node_by_payload = True
    params: HttpGetParams

    @overload
    def __init__(self: HttpGet[bytes], url: str, as_of: Any = None, *, io: None = None, **options: Unpack[GetOptions]) -> None: ...

    @overload
    def __init__(self, url: str, as_of: Any = None, *, io: FileIO[PayloadT], **options: Unpack[GetOptions]) -> None: ...

    @overload
    def __init__(self: HttpGet[Any], url: str, as_of: Any = None, *, io: str, **options: Unpack[GetOptions]) -> None: ...

    def __init__(
        self,
        url: str,
        as_of: Any = None,
        *,
        headers: Mapping[str, Header] | None = None,
        secrets: Mapping[str, Secret] | None = None,
        auth: tuple[str, Secret] | None = None,
        io: FileIO[Any] | str | None = None,
        expect: Sequence[int] = (200,),
        content_type: str | Sequence[str] | None = None,
        max_bytes: int | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
        delay: float = 0.5,
        retry: Retry | None = None,
        resources: Resources | None = None,
        **settings: Any,
    ) -> None:
        check_address("HttpGet", url, secrets or {})
        scheme = url.partition("://")[0].lower()
        if scheme not in ("http", "https"):
            raise ParamsError(f"HttpGet was given a URL of {scheme}://, and gets http:// and https:// only; Source reads other places")
        for name in settings.keys() - GetOptions.__annotations__.keys():
            known = ["url", "as_of", "io", *GetOptions.__annotations__]
            raise UnknownParam(
                f"HttpGet takes no {name!r}{did_you_mean(name, known)} (it takes {', '.join(known)})", name=name, accepted=known
            )
        check_headers("HttpGet", headers or {})
        if auth is not None and not isinstance(auth[1], Secret):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError('auth of HttpGet takes a user and a Secret: ("me", Secret("NAME_OF_A_VARIABLE"))')
        if attempts < 1 or timeout <= 0 or delay < 0:
            raise ValueError("HttpGet takes attempts of 1 or more, a timeout above 0 and a delay of 0 or more")
        format_ = _format(io, url)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        params = HttpGetParams(
            url=url,
            as_of=as_of,
            accept={name: str(given[name]) for name in _NEGOTIATED if name in given},
            reads={} if format_ == BytesFileIO() else format_.spec(),
            headers=given,
            secrets=dict(secrets or {}),
            auth=auth,
            expect=tuple(expect),
            content_type=(content_type,) if isinstance(content_type, str) else tuple(content_type or ()),
            max_bytes=max_bytes,
            timeout=timeout,
            attempts=attempts,
            delay=delay,
        )
        set_given(self, retry=retry, resources=resources)
        super().__init__(params=params, payload_io=format_, **settings)

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        params: HttpGetParams = recorded.params
        options: dict[str, Any] = {
            each.name: getattr(params, each.name)
            for each in fields(params)
            if each.name not in ("url", "accept", "reads") and getattr(params, each.name) != _default(each)
        }
        if params.accept:
            options["headers"] = {**params.headers, **params.accept}
        if params.reads:
            options["io"] = recorded.format(params.reads)
        if recorded.name != "http_get":
            options["payload_name"] = recorded.name
        return Construction("persistable:HttpGet", (params.url,), options)

    def _generate_payload(self, **_: Any) -> Any:
        running = self._node_running("notes")
        store, notes = running.store, running.notes
        for record in _earlier(store, self.params):
            known = Known(str(record.notes.get("etag", "")), str(record.notes.get("last_modified", "")))
            if not any(known):
                continue
            got = fetch(self._request(), self.scratch, known, self.progress)
            path = got.path
            if path is None:
                path = _taken_over(store, record, self.scratch / "taken")
                if path is None:
                    continue  # the stored payload is damaged: request the body after all
                got = got._replace(facts={**record.notes, **got.facts, "transferred": 0, "taken_from": str(record.key)})
            break
        else:
            got = fetch(self._request(), self.scratch, None, self.progress)
            path = got.path
        notes.update(got.facts)
        if running.claim is not None:
            _remember(store, self.params, self.key)
        assert path is not None
        return ExistingFile(path)

    def _request(self) -> Request:
        params = self.params
        return Request(
            url=filled(params.url, params.secrets),
            shown=params.url,
            headers=params.headers,
            auth=(params.auth[0], params.auth[1].reveal()) if params.auth else None,
            expect=params.expect,
            content_type=params.content_type,
            max_bytes=params.max_bytes,
            timeout=params.timeout,
            attempts=params.attempts,
            delay=params.delay,
        )


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _format(io: FileIO[Any] | str | None, url: str) -> FileIO[Any]:
    from persistable.fileio import fileio_for

    if io is None:
        return BytesFileIO()
    if isinstance(io, str):
        io = fileio_for(urlsplit(url).path.rpartition("/")[2] if io == "auto" else io)
    if isinstance(io, PartsFileIO):
        name = type(io).__name__
        raise TypeError(f"HttpGet gets one file, and {name} keeps several; get it as bytes and unpack it in a step")
    if not isinstance(io, FileIO):  # pyright: ignore[reportUnnecessaryIsInstance] - not every caller is type checked
        raise TypeError(f'io of HttpGet is {io!r}; give a FileIO, a suffix such as ".csv", or "auto"')
    return io


# earlier payloads of the same URL: a hint file in the store lists their keys, their records have the facts


def _hint(params: HttpGetParams) -> str:
    from blake3 import blake3

    asked = json.dumps([params.url, params.accept, params.reads], sort_keys=True)
    return f".persistable/http/{blake3(asked.encode()).hexdigest(16)}.json"


def _hinted(store: Store, params: HttpGetParams) -> list[str]:
    try:
        return [str(key) for key in json.loads(store.get(_hint(params)))["keys"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _remember(store: Store, params: HttpGetParams, key: Key) -> None:
    earlier = [name for name in _hinted(store, params) if name != str(key)]
    store.put(_hint(params), json.dumps({"keys": [*earlier[1 - _REMEMBERED :], str(key)]}).encode())


def _earlier(store: Store, params: HttpGetParams) -> Iterator[Record]:
    """Records of payloads fetched from the same URL whose files exist, newest first."""
    for name in reversed(_hinted(store, params)):
        try:
            record = find_record(store, Key.parse(name))
        except (PayloadCorrupted, PayloadUntrusted):
            continue
        if record is not None and record.made == "generated" and missing_file(store, record) is None:
            yield record


def _taken_over(store: Store, record: Record, target: Path) -> Path | None:
    """Copy the stored body to the file `target`; None if it is missing or does not match the digest in its record."""
    fact = record.files[0]
    try:
        with store.read(fact.path) as source, target.open("wb") as copy:
            digest, _ = digest_rest(source, copy)
    except FileNotFoundError:
        return None
    return target if digest == fact.digest else None
