"""Pages behind URLs as inputs."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import quote

from persistable.errors import HttpFailed, InvalidName
from persistable.families.sources.content import digest_of
from persistable.families.sources.files import Keys, given
from persistable.families.sources.inputs import Values, changed, vanished
from persistable.fileio.base import FileIO
from persistable.nodes.connections import connection
from persistable.nodes.transfer.client import Request, check_address, check_headers, fetch, look, new_client
from persistable.params.masking import masked
from persistable.params.secret import Secret

_GONE = (404, 410)


class Pages:
    """A URL with fields in braces, and the keys of the existing pages: HTTP has no listing.

    Content is identified by the ETag, else by the date of last change, else by the digest of the bytes.
    """

    at_once = 16

    def __init__(
        self, url: str, keys: Keys | None, *, headers: Mapping[str, str | Secret] | None = None, timeout: float = 60.0, attempts: int = 5
    ) -> None:
        check_address("Source", url.replace("{", "%7B").replace("}", "%7D"), {})
        self.fields = _fields(url)
        if keys is None:
            url = masked(url)
            raise TypeError(f"{url} cannot be listed, as HTTP has no listing; say what there is: Source({url!r}, keys=[...])")
        check_headers("Source", headers or {})
        self._url = url
        self._keys: Keys = keys
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._timeout = timeout
        self._attempts = attempts
        self._client = _Shared()
        self._in_run = connection(new_client)

    def stamps(self) -> Mapping[Values, Any]:
        return dict.fromkeys(given(self._keys, self.fields))

    def together(self) -> AbstractContextManager[Any]:
        """Share one client among all requests inside the block, also those of other threads."""
        return self._client.used()

    def content(self, values: Values, stamp: Any) -> str:
        try:
            with self.together() as client:
                return self._validator(look(self._request(values), client), values) or self._fetched(values, client)
        except HttpFailed as error:
            if error.status in _GONE:
                raise vanished(self.shown(values)) from None
            raise

    def _validator(self, facts: Mapping[str, Any], values: Values) -> str:
        """The validator of this content, with the URL, since the same tag may mean other content at another URL. Empty if there is none."""
        for name in ("etag", "last_modified"):
            if facts.get(name):
                return f"{name.replace('_', '-')} {facts[name]} of {self.shown(values)}"
        return ""

    def _fetched(self, values: Values, client: Any) -> str:
        with tempfile.TemporaryDirectory(prefix="persistable-") as folder:
            got = fetch(self._request(values), Path(folder), None, _quietly, client)
            assert got.path is not None
            with got.path.open("rb") as file:
                return digest_of(file)

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        with tempfile.TemporaryDirectory(prefix="persistable-") as folder:
            try:
                got = fetch(self._request(values), Path(folder), None, _quietly, self._open_client())
            except HttpFailed as error:
                if error.status in _GONE:
                    raise vanished(self.shown(values)) from None
                raise
            assert got.path is not None
            with got.path.open("rb") as file:
                if content != self._validator(got.facts, values):
                    if content != digest_of(file):
                        raise changed(self.shown(values))
                    file.seek(0)
                return io.load(file)

    def _open_client(self) -> Any:
        """The client of the run or generation in progress, which closes it; None outside of both."""
        try:
            return self._in_run.open()
        except RuntimeError:
            return None

    def _request(self, values: Values) -> Request:
        url = self.shown(values)
        return Request(
            url=url,
            shown=url,
            headers=self._headers,
            timeout=self._timeout,
            attempts=self._attempts,
        )

    def shown(self, values: Values) -> str:
        filled = {field: _quoted(field, value) for field, value in zip(self.fields, values, strict=True)}
        return self._url.format(**filled)

    def only(self, values: Values) -> Pages:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_keys": (), "_client": None}  # reading one input needs no others

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._client = _Shared()


class _Shared:
    """A client shared by all users, closed with the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._open: Any = None

    @contextmanager
    def used(self) -> Generator[Any]:
        with self._lock:
            if not self._users:
                self._open = new_client()
            self._users += 1
            client = self._open
        try:
            yield client
        finally:
            with self._lock:
                self._users -= 1
                ended = not self._users
            if ended:
                client.close()


def _quietly(_done: float, _total: float | None) -> None:
    return None


def _fields(url: str) -> tuple[str, ...]:
    try:
        parsed = list(Formatter().parse(url))
    except ValueError as error:
        raise InvalidName(
            f"{masked(url)!r} is no template: {error}; a brace that is meant as such is written twice", name=masked(url)
        ) from None
    fields = [field for _, field, _, _ in parsed if field is not None]
    plain = all(field.isidentifier() for field in fields) and not any(spec or conversion for _, _, spec, conversion in parsed)
    host = url.partition("://")[2].partition("/")[0]
    if not fields or not plain or "{" in host:
        url = masked(url)
        raise InvalidName(f"{url!r}: a source takes a URL with fields behind its host, plain names in braces, such as {{name}}", name=url)
    return tuple(dict.fromkeys(fields))


def _quoted(field: str, value: Any) -> str:
    text = str(value)
    if not isinstance(value, str | int) or isinstance(value, bool) or not text or text in (".", "..") or "/" in text or "\\" in text:
        raise InvalidName(f"{field}={value!r:.60} cannot be part of a URL: only text and whole numbers, without separators", name=text)
    return quote(text, safe="")
