"""Requests to a registry: pull, push, content discovery and management, as in the specification of OCI distribution."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from hashlib import sha256
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from persistable.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable, need
from persistable.params.secret import redact, redact_log_record
from persistable.stores.oci.address import Address
from persistable.stores.oci.login import Login
from persistable.stores.oci.manifest import MEDIA
from persistable.stores.retries import TRANSIENT_STATUSES, retried, retry_after

ResultT = TypeVar("ResultT")
TRIES = 5
PIECE = 16 << 20
"""Bytes of one request of an upload."""
_PAGE = 1000
_LONGEST_WAIT = 30.0
Action = Literal["pull", "push", "delete"]
_SCOPES: dict[Action, str] = {"pull": "pull", "push": "pull,push", "delete": "pull,push,delete"}


class _TransientError(Exception):
    """A transient failure. error: the one to raise when no try is left. wait: seconds that the server asks to wait, if it does."""

    def __init__(self, error: StoreError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


class Answer(NamedTuple):
    """Status, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Ask(NamedTuple):
    """A request. where: a URL, or a path below that of the repository. whole: False if a range of a blob is requested."""

    method: str
    where: str
    action: Action
    expected: set[int]
    headers: Mapping[str, str] | None = None
    content: bytes | None = None
    whole: bool = True


class Registry:
    """A repository of a registry, over connections of this process. Raises errors of stores, whose `path` the caller sets."""

    def __init__(self, place: Address, login: Callable[[Callable[[], Any]], Login], timeout: float) -> None:
        need("httpx", "httpx", "oci", place.url)
        import httpx

        self.url = place.url
        self._base = f"{place.api}/v2/{place.repository}"
        self._scope = f"repository:{place.repository}"
        # a registry on this machine needs no proxy of the environment
        self._client: Any = httpx.Client(timeout=timeout, trust_env=not place.is_loopback, headers={"user-agent": "persistable"})
        self._login = login(lambda: self._client)
        weakref.finalize(self, _close, self._client, os.getpid())
        for name in ("httpx", "httpcore.http11", "httpcore.connection"):
            logging.getLogger(name).addFilter(redact_log_record)  # these loggers get URLs, which may be signed

    # manifests

    def manifest(self, reference: str, accept: str = MEDIA) -> bytes | None:
        """The manifest of a tag or digest, as it was put; None where there is none."""
        answer = self._ask(Ask("GET", f"manifests/{reference}", "pull", {200, 404}, {"accept": accept}))
        return answer.body if answer.status == 200 else None

    def put_manifest(self, tag: str, manifest: bytes) -> bool:
        """Set a tag to a manifest, replacing another; False where the registry lacks a blob that it names."""
        headers = {"content-type": MEDIA}
        answer = self._ask(Ask("PUT", f"manifests/{tag}", "push", {201, 400, 404}, headers, manifest))
        if answer.status == 201:
            return True
        if b"BLOB_UNKNOWN" in answer.body:
            return False
        raise self._failed("PUT", answer.status, answer.body, "push")

    def delete_manifest(self, digest: str) -> Literal["deleted", "absent", "refused"]:
        """Delete the manifest of that digest, and the tag that points to it."""
        answer = self._ask(Ask("DELETE", f"manifests/{digest}", "delete", {200, 202, 401, 403, 404, 405, 501}))
        if answer.status == 404:
            return "absent"
        return "deleted" if answer.status in (200, 202) else "refused"

    def tags(self) -> Iterator[str]:
        """Every tag of the repository, a page at a time; none where there is no such repository yet."""
        page = f"{self._base}/tags/list?n={_PAGE}"
        while page:
            answer = self._ask(Ask("GET", page, "pull", {200, 404}))
            if answer.status == 404:
                return
            yield from _tags(answer.body, self.url)
            page = self._next(answer.headers.get("link", ""), page)

    def _next(self, link: str, page: str) -> str:
        place, _, relation = link.partition(">")
        return urljoin(page, place.strip().removeprefix("<")) if "next" in relation else ""

    # blobs

    def blob_size(self, digest: str) -> int | None:
        """The size in bytes of a blob, -1 where it is unknown; None where there is no such blob."""
        answer = self._ask(Ask("HEAD", f"blobs/{digest}", "pull", {200, 404}))
        return int(answer.headers.get("content-length", "-1")) if answer.status == 200 else None

    def blob_into(self, digest: str, begin: Callable[[], Callable[[bytes], object]]) -> bool | None:
        """Pass the bytes of a blob, piece by piece, to the function that `begin` returns. `begin` is called anew for each try.

        True if they have that digest, None where there is no such blob.
        """
        return self._retried(lambda: self._received(digest, begin()))

    def _received(self, digest: str, accept: Callable[[bytes], object]) -> bool | None:
        seen = sha256()
        with self._sent(Ask("GET", f"blobs/{digest}", "pull", {200, 404})) as response:
            if response.status_code == 404:
                return None
            for piece in self._pieces(response):
                seen.update(piece)
                accept(piece)
        return f"sha256:{seen.hexdigest()}" == digest

    def blob_range(self, digest: str, first: int, last: int) -> bytes | None:
        """A range of the bytes of a blob; None where there is no such blob, or the registry supports no ranges."""
        answer = self._ask(Ask("GET", f"blobs/{digest}", "pull", {200, 206, 404, 416}, {"range": f"bytes={first}-{last - 1}"}, whole=False))
        return answer.body if answer.status == 206 else b"" if answer.status == 416 else None

    def push(self, digest: str, size: int, open_source: Callable[[], BinaryIO]) -> None:
        """Upload a blob; restarted where an answer is lost, since the progress of the upload is then unknown."""
        self._retried(lambda: self._pushed(digest, size, open_source()))

    def _pushed(self, digest: str, size: int, source: BinaryIO) -> None:
        headers = {"content-type": "application/octet-stream"}
        place = self._location(self._once(Ask("POST", "blobs/uploads/", "push", {202})), f"{self._base}/blobs/uploads/")
        try:
            for first in range(0, size, PIECE) if size > PIECE else ():
                piece = source.read(PIECE)
                ranged = {**headers, "content-range": f"{first}-{first + len(piece) - 1}"}
                place = self._location(self._once(Ask("PATCH", place, "push", {202}, ranged, piece)), place)
            ended = f"{place}{'&' if '?' in place else '?'}digest={quote(digest, safe='')}"
            self._once(Ask("PUT", ended, "push", {201}, headers, source.read()))
        except BaseException:
            self._cancel(place)
            raise

    def _cancel(self, place: str) -> None:
        try:
            self._once(Ask("DELETE", place, "push", {204, 404}))
        except Exception:  # noqa: BLE001 - the registry removes unfinished uploads
            pass

    def _location(self, answer: Answer, asked: str) -> str:
        place = urljoin(asked, answer.headers.get("location", ""))
        if urlsplit(place).scheme != urlsplit(self._base).scheme:
            raise StoreError(
                f"{self.url} wants an upload sent to {urlsplit(place).scheme}://, and is reached by {urlsplit(self._base).scheme}://; "
                "its proxy has to pass on X-Forwarded-Proto",
                url=self.url,
                path="",
            )
        return place

    # one request

    def _ask(self, ask: Ask) -> Answer:
        return self._retried(lambda: self._once(ask))

    def _retried(self, call: Callable[[], ResultT]) -> ResultT:
        def again(error: Exception) -> bool | float:
            return isinstance(error, _TransientError) and (error.wait if error.wait else True)

        try:
            return retried(call, again, attempts=TRIES, first=0.05, jitter=0.2, longest=_LONGEST_WAIT)
        except _TransientError as passing:
            error = passing.error
        raise error

    def _once(self, ask: Ask) -> Answer:
        with self._sent(ask) as response:
            if not ask.whole and response.status_code == 200:
                return Answer(200, response.headers, b"")  # only a range was wanted, not the whole blob
            return Answer(response.status_code, response.headers, b"".join(self._pieces(response)))

    def _sent(self, ask: Ask) -> AbstractContextManager[Any]:
        """The answer, its body not read yet. Raises `_TransientError`, StoreError."""
        method, where, action, expected, headers, content, _ = ask
        url = where if "://" in where else f"{self._base}/{where}"
        scope = f"{self._scope}:{_SCOPES[action]}"
        response = self._with_header(method, url, headers, content, self._login.header(scope))
        if response.status_code == 401:
            self._through(response.read)
            challenges = response.headers.get_list("www-authenticate")
            header = self._through(lambda: self._login.answer(challenges, scope))
            if header is not None:
                response = self._with_header(method, url, headers, content, header)
        if response.status_code in expected:
            return closing(response)
        with closing(response):
            body = b"" if method == "HEAD" else b"".join(self._pieces(response))
        error = self._failed(method, response.status_code, body, action)
        if response.status_code in TRANSIENT_STATUSES and not isinstance(error, StoreFull):
            wait = retry_after(response.headers.get("retry-after", ""))
            raise _TransientError(error, None if wait is None else min(wait, _LONGEST_WAIT))
        if method in ("PATCH", "PUT") and response.status_code in (404, 416):
            raise _TransientError(error)  # the server's progress of the upload is not that of this side
        raise error

    def _with_header(self, method: str, url: str, headers: Mapping[str, str] | None, content: bytes | None, header: str | None) -> Any:
        own = urlsplit(url)[:2] == urlsplit(self._base)[:2]  # an upload may be sent to another host, which gets no credentials
        sent = {**(headers or {}), **({"authorization": header} if header is not None and own else {})}
        request = self._client.build_request(method, url, headers=sent, content=content)
        response = self._through(lambda: self._client.send(request, stream=True, follow_redirects=method in ("GET", "HEAD")))
        if response.url.scheme == "http" and self._base.startswith("https:"):
            response.close()
            raise StoreError(f"{self.url} redirects to an unencrypted address; ask its administrator", url=self.url, path="")
        return response

    def _through(self, call: Callable[[], ResultT]) -> ResultT:
        """The result of `call`. Raises `_TransientError`, without the library's own errors attached: they quote URLs and headers."""
        import httpx

        try:
            return call()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            kind = type(error).__name__
        raise _TransientError(
            StoreUnavailable(
                f"{self.url} cannot be reached ({kind}); check the address and the network, then try again", url=self.url, path=""
            )
        )

    def _pieces(self, response: Any) -> Iterator[bytes]:
        pieces = response.iter_bytes(1 << 20)
        while (piece := self._through(lambda: next(pieces, None))) is not None:
            yield piece

    def _failed(self, method: str, status: int, body: bytes, action: Action) -> StoreError:
        about = {"url": self.url, "path": ""}
        reason = redact(f"{status} {body[:300].decode(errors='replace')}".strip())
        if status in (401, 403):
            what, kind = ("read", StoreError) if action == "pull" else ("written", StoreReadOnly)
            return kind(
                f"{self.url} may not be {what} ({status}); log in with `docker login`, or give auth=, and ask for permission", **about
            )
        if status in (413, 507) or b"no space left" in body or b"quota" in body.lower():
            return StoreFull(f"no room in {self.url} ({reason}); free some space or raise the quota", **about)
        if status >= 500 or status in TRANSIENT_STATUSES:
            return StoreUnavailable(f"{self.url} cannot be had now: it answers {reason}; try again later", **about)
        return StoreError(f"{method} in {self.url} failed: {reason}", **about)


def _tags(body: bytes, url: str) -> list[str]:
    import json

    try:
        facts: Any = json.loads(body)
        return [str(tag) for tag in facts.get("tags") or ()]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise StoreError(f"{url} gives no list of tags; is it a registry?", url=url, path="") from None


def _close(client: Any, pid: int) -> None:
    if os.getpid() == pid:  # a fork has the sockets of its parent
        client.close()
