"""GET over HTTP into a file: streamed, resumed after a cut, retried after transient errors; URLs are shown without secrets."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from persistable.errors import HttpFailed, ParamsError, UnknownParam, need
from persistable.params.credentials import find_url_credential, is_credential
from persistable.params.secret import Secret, redact, redacted_logs, revealed
from persistable.stores.retries import TRANSIENT_STATUSES, retried, retry_after

ResultT = TypeVar("ResultT")
LONGEST_WAIT = 60.0
"""The limit, in seconds, on the wait before a retry; if a server asks for more, there is none."""
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
_ADVICE = {
    401: "check the credentials, see headers= and secrets=",
    403: "check the credentials, see headers= and secrets=",
    404: "check the address",
    410: "check the address",
}


class Request(NamedTuple):
    """A request with secrets filled into its URL: never shown, logged or kept. `shown` is the URL without secrets."""

    url: str
    shown: str
    headers: Mapping[str, str | Secret]
    """Names in lower case; secrets are not sent to another host after a redirect."""
    timeout: float
    attempts: int
    auth: tuple[str, str] | None = None
    expect: tuple[int, ...] = (200,)
    content_type: tuple[str, ...] = ()
    max_bytes: int | None = None
    delay: float = 0.5

    def __repr__(self) -> str:
        return f"Request({self.shown})"


class Known(NamedTuple):
    """The validators of an earlier response, by which the server tells whether the content changed."""

    etag: str
    last_modified: str


class Got(NamedTuple):
    """The file with the body, or None if the server says that nothing changed, and facts of the response, for the record."""

    path: Path | None
    facts: dict[str, Any]


def fetch(request: Request, folder: Path, known: Known | None, progress: Callable[[float, float | None], None], client: Any = None) -> Got:
    """Download the body to a file in `folder`, resuming a partial body left there by an earlier call. Raises HttpFailed, MissingExtra.

    client: a client of `new_client`, whose connections are used; by default a new one for this call.
    """
    with _client(client) as used:
        return _retried(_Exchange(request, folder, known, progress, used), _Exchange.body)


def look(request: Request, client: Any = None) -> dict[str, Any]:
    """The facts of the response (``etag``, ``last_modified``...) that the server gives, without its body; otherwise as `fetch`."""
    with _client(client) as used:
        return _retried(_Exchange(request, Path(), None, lambda _done, _total: None, used), _Exchange.head)


def new_client() -> Any:
    """An HTTP client for many requests from any thread, which keeps its connections open; the caller closes it. Raises MissingExtra."""
    httpx: Any = need("httpx", "httpx", "http", "HttpGet")
    return httpx.Client(follow_redirects=True, event_hooks={"request": [_guarded]})


def _guarded(request: Any) -> None:
    request.extensions["guard"](request)


@contextmanager
def _client(given: Any) -> Generator[Any]:
    """Provide a client, `given` or new; inside the block its own logs show no secrets."""
    with redacted_logs(*_LOGGERS), nullcontext(given) if given is not None else new_client() as client:
        yield client


def _retried(exchange: _Exchange, ask: Callable[[_Exchange], ResultT]) -> ResultT:
    request, tries = exchange.request, 0

    def once() -> ResultT:
        nonlocal tries
        tries += 1
        return exchange.answered(ask)

    def again(error: Exception) -> bool | float:
        if not isinstance(error, HttpFailed) or not error.transient:
            return False
        return True if error.retry_after is None else error.retry_after

    try:
        return retried(once, again, attempts=request.attempts, first=request.delay, jitter=request.delay, longest=LONGEST_WAIT)
    except HttpFailed as error:
        if tries > 1:
            error.add_note(f"tried {tries} times")
        raise


class _Exchange:
    """The attempts at one request, and the partial body that they leave in the folder for each other."""

    def __init__(
        self, request: Request, folder: Path, known: Known | None, progress: Callable[[float, float | None], None], client: Any
    ) -> None:
        self.request = request
        self._known = known
        self._progress = progress
        self._headers = {"accept-encoding": "gzip", **{name: revealed(value) for name, value in request.headers.items()}}
        self._body = folder / "body"
        self._state = folder / "body.json"
        self._decoded = folder / "decoded"
        self._origin: tuple[str, str, int | None] | None = None
        self._client = client

    def _asked(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
        return self._client.stream(  # type: ignore[no-any-return]
            method,
            self.request.url,
            headers=headers,
            auth=self.request.auth,
            timeout=self.request.timeout,
            extensions={"guard": self._guard},  # extensions are kept after a redirect
        )

    def answered(self, ask: Callable[[_Exchange], ResultT]) -> ResultT:
        """The result of `ask`. Raises HttpFailed, without the library's own error attached: it quotes URLs and headers."""
        import httpx

        try:
            return ask(self)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            problem = self._failed_by(error)
        raise problem

    def _guard(self, request: Any) -> None:
        """Remove secret headers from a request redirected to another host. Raises HttpFailed for a redirect from https to plain http."""
        origin = (request.url.scheme, request.url.host, request.url.port)
        if self._origin is None:
            self._origin = origin
        if origin == self._origin:
            return
        if self._origin[0] == "https" and origin[0] != "https":
            raise self._failed(
                None, f"it redirects to {origin[0]}://{origin[1]}, which is not encrypted; ask for that address if you trust it"
            )
        for name, value in self.request.headers.items():
            if isinstance(value, Secret):
                request.headers.pop(name, None)

    def head(self) -> dict[str, Any]:
        """Request the headers of the body once; return their facts."""
        # a server that answers HEAD with another status is sent a GET, which is closed before its body
        for method in ("HEAD", "GET"):
            self._origin = None
            with self._asked(method, self._headers) as response:
                if method == "HEAD" and response.status_code not in self.request.expect:
                    continue
                self._check_status(response, resuming=False)
                if method == "HEAD":
                    response.read()  # the empty body, so that the connection can be used again
                return self._facts(response)
        raise AssertionError("the last of them returns or raises")

    def body(self) -> Got:
        """Request the body once, or the rest of it if a part is in the folder."""
        self._origin = None
        state = self._unfinished()
        headers, offset = dict(self._headers), 0
        if state is not None:
            offset = self._body.stat().st_size
            headers |= {"range": f"bytes={offset}-", "if-range": state["etag"]}
        elif self._known is not None:
            headers |= {"if-none-match": self._known.etag} if self._known.etag else {}
            headers |= {"if-modified-since": self._known.last_modified} if self._known.last_modified else {}
        with self._asked("GET", headers) as response:
            facts = self._facts(response)
            if response.status_code == 304 and state is None and self._known is not None:
                return Got(None, facts)
            self._check_status(response, resuming=state is not None)
            self._check_type(response)
            if state is not None and response.status_code == 206:
                self._check_range(response, offset, state)
            else:
                offset, state = 0, {"etag": _strong(response.headers.get("etag", "")), "encoding": _encoding(response)}
                self._begin(state)
            size = self._receive(response, offset)
        path = self._decode(state["encoding"])
        if response.status_code == 206:
            facts["status"] = 200
        return Got(path, {**facts, "transferred": size})

    # the files in the folder

    def _unfinished(self) -> dict[str, Any] | None:
        """The state of an interrupted attempt, if it can be resumed; else None."""
        try:
            state: dict[str, Any] = json.loads(self._state.read_bytes())
            return state if state["etag"] and self._body.stat().st_size else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _begin(self, state: dict[str, Any]) -> None:
        self._state.unlink(missing_ok=True)  # first: it must never describe another body
        self._body.write_bytes(b"")
        self._state.write_text(json.dumps(state))

    def _forget(self) -> None:
        self._state.unlink(missing_ok=True)

    def _receive(self, response: Any, offset: int) -> int:
        length = response.headers.get("content-length", "")
        total = offset + int(length) if length.isdecimal() else None
        self._check_size(total or 0)
        done, announced = offset, time.monotonic()
        with self._body.open("ab") as file:
            for piece in response.iter_raw():
                file.write(piece)
                done += len(piece)
                self._check_size(done)
                if time.monotonic() - announced > 0.2:
                    announced = time.monotonic()
                    self._progress(done, total)
        if total is not None and done != total:
            raise self._failed(response.status_code, f"the body was cut off after {done} of {total} bytes", transient=True)
        self._progress(done, total)
        return done

    def _decode(self, encoding: str) -> Path:
        if not encoding:
            return self._body
        import gzip
        import zlib

        size = 0
        try:
            with gzip.open(self._body) as source, self._decoded.open("wb") as target:
                while piece := source.read(1 << 20):
                    size += len(piece)
                    self._check_size(size)
                    target.write(piece)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self._forget()
            raise self._failed(None, "the body is not a complete gzip stream", transient=True) from None
        return self._decoded

    # the response

    def _facts(self, response: Any) -> dict[str, Any]:
        found = {
            "url": self.request.shown if not response.history else str(response.url.copy_with(query=None, fragment=None, userinfo=b"")),
            "etag": response.headers.get("etag", ""),
            "last_modified": response.headers.get("last-modified", ""),
            "content_type": response.headers.get("content-type", ""),
        }
        facts: dict[str, Any] = {name: redact(value) for name, value in found.items() if value}
        return {**facts, "status": response.status_code}

    def _check_status(self, response: Any, resuming: bool) -> None:
        status: int = response.status_code
        if status in self.request.expect or (resuming and status == 206 and 200 in self.request.expect):
            return
        if resuming and status in (206, 416):
            self._forget()
            raise self._failed(status, "the transfer could not be resumed", transient=True)
        wait = retry_after(response.headers.get("retry-after", ""))
        what = f"{status} {redact(response.reason_phrase)}".strip()
        if status in TRANSIENT_STATUSES and (wait is None or wait <= LONGEST_WAIT):
            raise self._failed(status, f"{what}; try again later", transient=True, retry_after=wait)
        if status in TRANSIENT_STATUSES:
            raise self._failed(status, f"{what}, and asks to wait for {wait:.0f} s; try again then", retry_after=wait)
        expected = ", ".join(map(str, self.request.expect))
        raise self._failed(status, f"{what}; {_ADVICE.get(status, f'expected is {expected}, see expect=')}")

    def _check_type(self, response: Any) -> None:
        from fnmatch import fnmatch

        wanted = self.request.content_type
        found = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if wanted and not any(fnmatch(found, kind.lower()) for kind in wanted):
            what = f"the answer is of type {redact(found) or 'unknown'}, expected is {', '.join(wanted)}"
            raise self._failed(response.status_code, f"{what}; it may be an HTML page; open it in a browser")
        if _encoding(response) not in ("", "gzip"):
            raise self._failed(response.status_code, f"the body is encoded as {redact(_encoding(response))}, which was not asked for")

    def _check_range(self, response: Any, offset: int, state: Mapping[str, Any]) -> None:
        same = _strong(response.headers.get("etag", state["etag"])) == state["etag"]
        if same and response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            return
        self._forget()
        raise self._failed(response.status_code, "the transfer was not resumed where it was cut", transient=True)

    def _check_size(self, size: int) -> None:
        limit = self.request.max_bytes
        if limit is not None and size > limit:
            raise self._failed(None, f"the body has more than the {limit} bytes that max_bytes allows")

    # errors

    def _failed(self, status: int | None, problem: str, *, transient: bool = False, retry_after: float | None = None) -> HttpFailed:
        return HttpFailed(
            f"GET {self.request.shown}: {problem}", status=status, url=self.request.shown, transient=transient, retry_after=retry_after
        )

    def _failed_by(self, error: Exception) -> HttpFailed:
        import httpx

        settled = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.ProxyError)
        transient = isinstance(error, httpx.TransportError) and not isinstance(error, settled)
        if isinstance(error, httpx.TimeoutException):
            return self._failed(None, f"nothing came for {self.request.timeout:g} s ({type(error).__name__}), see timeout=", transient=True)
        return self._failed(None, f"{type(error).__name__}: {redact(str(error))}".rstrip(": "), transient=transient)


def _strong(etag: str) -> str:
    """`etag` if it is strong, so that equal etags mean equal bytes; else empty."""
    return "" if etag.startswith("W/") else etag


def _encoding(response: Any) -> str:
    found = str(response.headers.get("content-encoding", "")).strip().lower().removeprefix("x-")
    return "" if found == "identity" else found


_PLACE = re.compile(r"\{([^{}]*)\}")
_OURS = frozenset({"range", "if-range", "if-none-match", "if-modified-since", "host", "content-length"})


def check_address(user: str, url: Any, secrets: Mapping[str, Any]) -> None:
    """Raise unless every ``{place}`` of `url` after the host has its `Secret`, and every secret its place.

    Raises TypeError, ParamsError (a credential, or no URL), UnknownParam (an unmatched place or secret); no message repeats a credential.
    """
    if not isinstance(url, str):
        raise TypeError(f"{user} takes a URL as a string, not {type(url).__name__}")
    scheme, found, rest = url.partition("://")
    if not found or not scheme or not rest:
        raise ParamsError(f"{user} was given {_without_user(url)!r}, which is no URL; write it with its scheme, such as https://host/path")
    try:
        host = urlsplit(url).netloc
    except ValueError as error:
        raise ParamsError(f"{user} was given {_without_user(url)!r}, which is no URL: {error}") from None
    if "@" in host and (":" in host.rpartition("@")[0] or scheme in ("http", "https")):
        raise ParamsError(
            f"the URL {_without_user(url)} given to {user} holds a user or password in front of the host, which records and logs would "
            "show; put it into an environment variable and pass that as a Secret"
        )
    found_there = find_url_credential(url)
    if found_there is not None:
        raise ParamsError(
            f"{found_there} in the URL given to {user} is a credential in plain text, which keys, records and logs would show; "
            f"put it into an environment variable and pass Secret('NAME_OF_THE_VARIABLE'){_ways.get(user, '')}"
        )
    if _PLACE.search(host):
        raise ParamsError(f"the URL {_without_user(url)} has a place for a secret in its host; secrets go into the path, query or headers")
    for name, secret in secrets.items():
        if not isinstance(secret, Secret):
            raise TypeError(f"secrets[{name!r}] of {user} is a {type(secret).__name__}; pass Secret('NAME_OF_A_VARIABLE'), never the value")
    places = set(_PLACE.findall(url))
    for name in sorted(places - secrets.keys()):
        known = ", ".join(secrets) or "none"
        raise UnknownParam(
            f"the URL {url} has a place {{{name}}} that no secret fills (there are: {known}); "
            f"give secrets={{{name!r}: Secret(...)}}, or write braces as %7B and %7D",
            name=name,
            accepted=list(secrets),
        )
    for name in sorted(secrets.keys() - places):
        raise UnknownParam(f"the URL {url} has no place {{{name}}} for the secret of that name", name=name, accepted=sorted(places))


_ways = {
    "HttpGet": ", for which the URL has a place: ?token={token} and secrets={'token': Secret(...)}",
    "Source": " among headers=",
    "Upload": " among options=",
}


def filled(url: str, secrets: Mapping[str, Secret]) -> str:
    """`url` with the secrets in their places, for immediate use only. Raises SecretMissing."""
    return _PLACE.sub(lambda place: quote(secrets[place[1]].reveal(), safe=""), url)


def check_headers(user: str, headers: Mapping[str, Any]) -> None:
    """Raise ParamsError for a header that is a credential by its name but plain text, which records would show."""
    for name, value in headers.items():
        if not isinstance(value, str | Secret):
            raise TypeError(f"the header {name} of {user} is a {type(value).__name__}; give a string or a Secret")
        if name.lower() in _OURS:
            raise ParamsError(f"{user} sets the header {name} itself; leave it out")
        if isinstance(value, str) and is_credential(name, value, in_request=True):
            raise ParamsError(
                f"the header {name} of {user} is plain text, which records would show; put it into an environment variable "
                'and pass Secret("NAME"), or Secret("NAME", "Bearer {}")'
            )


def _without_user(url: str) -> str:
    scheme, found, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}" if found else "a string"
