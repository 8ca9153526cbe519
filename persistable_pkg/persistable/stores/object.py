"""Bytes at paths in a bucket, or on any other file system of fsspec."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from textwrap import shorten
from typing import Any, BinaryIO, cast

from persistable.errors import MissingExtra, PersistableError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.params.masking import check_user, masked, unmasked
from persistable.params.url import check_exact
from persistable.stores.base import Bytes, Stat, check_path, check_prefix, in_folder, is_path
from persistable.stores.batched import BatchedStore
from persistable.stores.connections import ConnectionRegistry, PickledWithoutConnections
from persistable.stores.filesystem import Ranges, Remote, Result, foreign
from persistable.stores.options import check_filesystem_options, check_options
from persistable.stores.remote_errors import Kind, kind_of

_S3 = {"s3", "s3a"}
_GCS = {"gs", "gcs"}
_OBSTORE, _OBSTORE_MODULE = "obstore", "persistable.stores.obstore"
_CLIENTS = {"s3": ("s3fs", _OBSTORE), "s3a": ("s3fs", _OBSTORE), "gs": ("gcsfs",), "gcs": ("gcsfs",)}
"""The libraries that may be chosen for a scheme by ``client=``; the first is used unless another is named, even if it is not installed."""
_OBJECTS = {"abfs", "abfss", "az", "oci", "oss", "cos", "hf", "http", "https", "github"}
# file systems of this process, by class and options: connecting takes a tenth of a second, and a node per item makes thousands
_connected = ConnectionRegistry[Any](16)
PATIENCE = 20.0
"""Seconds to wait for a server behind SSH that is no longer reachable."""


class ObjectStore(PickledWithoutConnections, BatchedStore):
    """A folder of an fsspec file system: S3, GCS, Azure, sftp, smb, webdav and so on.

    ``url_or_fs`` is a URL such as ``s3://bucket/folder``, with ``?endpoint_url=`` of a server that is not the provider's, or an fsspec file
    system, then with ``root`` as the folder in it. Options go to the file system (``endpoint_url``, ``key``, ``secret``, ``token``,
    ``client_kwargs``). They are pickled with the store, so give secrets here only if other processes may get them; secrets in the
    environment or the provider's own files are looked up anew in each process. `url` names the endpoint but never a secret. Connections
    are made at first use and shared by stores with equal options.
    ``client="obstore"`` reaches S3 through that library instead of s3fs; options are then ``endpoint_url``, ``key``, ``secret``,
    ``token``, ``anon`` and ``region``.

    ``exclusive`` tells whether at most one of several simultaneous `create` calls succeeds. So it is for S3 (``If-None-Match``), GCS
    (generation 0), sftp, smb and local folders; elsewhere two callers may both succeed. Unfinished uploads to S3 that a killed process
    leaves are invisible; let a lifecycle rule of the bucket remove them.
    """

    poll = 3.0
    not_pickled = ("_held", "_root_seen")

    def __init__(self, url_or_fs: str | Any, root: str = "", **options: Any) -> None:
        fsspec = foreign("fsspec")
        self._args: tuple[Any, ...] = ()
        self._class: Any
        self._options: dict[str, Any]
        chain = ""  # zip://::s3://bucket/a.zip: kept as it is, only fsspec can read it
        if isinstance(url_or_fs, str):
            check_user(url_or_fs)
            url, options = _endpoint_from(url_or_fs, options)
            if "::" in url:
                chain = url
                url_or_fs, place = fsspec.core.url_to_fs(url, **options)
                root = f"{place.rstrip('/')}/{root}".rstrip("/")
            else:
                self._scheme = url.partition("://")[0].lower()
                client = _client_of(self._scheme, options.pop("client", None)) if self._scheme in _CLIENTS else None
                if client == _OBSTORE:
                    self._class = _obstore(url).Client
                    check_options("s3:// with client='obstore'", self._class, options)
                    self._options, place = options, url.partition("://")[2].rstrip("/")
                else:
                    self._class = fsspec.get_filesystem_class(self._scheme)
                    check_filesystem_options(self._scheme, self._class, options)
                    if issubclass(self._class, foreign("fsspec.archive").AbstractArchiveFileSystem) and not options.get("fo"):
                        shown = masked(url)
                        raise StoreError(f"{shown} names no archive; write {self._scheme}://::URL of the archive", url=shown, path="")
                    self._options = {**self._class._get_kwargs_from_urls(url), **options}
                    place = str(self._class._strip_protocol(url)).rstrip("/")
                check_exact(url, place)
                self._root = f"{place}/{root}".rstrip("/") if root else place
        if not isinstance(url_or_fs, str):
            protocol = url_or_fs.protocol
            self._scheme = protocol if isinstance(protocol, str) else protocol[0]
            self._class, self._args = cast(Any, type(url_or_fs)), tuple(url_or_fs.storage_args)
            self._options = {**url_or_fs.storage_options, **options}
            self._root = str(url_or_fs._strip_protocol(root)).rstrip("/")
        self.batches = self._scheme in _S3 | _GCS
        self._reached = False
        """True once there was a connection, in this process or the one that pickled the store."""
        self._url = masked(chain or _shown(self._scheme, self._root, self._options))
        if self._scheme in _S3 | _GCS and not self._root:
            raise StoreError(f"{self._url} names no bucket; write {self._scheme}://bucket/folder", url=self._url, path="")
        self._reset()

    @property
    def url(self) -> str:
        return self._url

    @property
    def client(self) -> str:
        """The package through which it is reached."""
        module = str(self._class.__module__)
        return _OBSTORE if module == _OBSTORE_MODULE else module.partition(".")[0]

    def info(self) -> dict[str, Any]:
        return {**super().info(), "client": self.client}

    def __repr__(self) -> str:
        return f"<ObjectStore {self.url} through obstore>" if self.client == _OBSTORE else super().__repr__()

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        """Tell whether the bytes are in the memory of this process only, directly or behind other file systems."""
        return _is_in_memory(self._class, self._args, self._options)

    @property
    def exclusive(self) -> bool:
        """Tell whether at most one of several simultaneous `create` calls can return True."""
        return self.ask("", lambda remote: remote.exclusive)

    def _reset(self) -> None:
        self._held: tuple[int, Remote] | None = None
        self._root_seen = False

    # --- reading

    def get(self, path: str) -> bytes:
        place = self._place(path)
        return self.ask(path, lambda remote: remote.get(place))

    def read(self, path: str) -> BinaryIO:
        place = self._place(path)
        file = self.ask(path, lambda remote: remote.reader(place))
        raw = getattr(file, "raw", None)
        if isinstance(raw, Ranges):
            raw.guard = lambda: self._reading_on(path)
        return file

    def read_range(self, path: str, first: int, last: int) -> bytes:
        place = self._place(path)
        return self.ask(path, lambda remote: remote.get_range(place, first, last)) if last > first else b""

    @contextmanager
    def _reading_on(self, path: str) -> Generator[None, None, None]:
        try:
            with self.errors(path, writing=False):
                yield
        except FileNotFoundError as error:  # it was there when the stream was opened
            raise self._replaced(path) from error

    def _replaced(self, path: str) -> StoreError:
        return StoreError(f"{self.url}/{path} was replaced or deleted while it was being read; read it again", url=self.url, path=path)

    def stat(self, path: str) -> Stat | None:
        place = self._place(path)
        found = self.ask(path, lambda remote: remote.info(place))
        if found is None:
            self._check_root(path)
        return found

    def modified(self, path: str) -> float | None:
        place = self._place(path)
        try:
            with self.errors(path, writing=False):
                return self.remote.modified(place)
        except FileNotFoundError:
            return None

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        folder = f"{self._root}/{prefix}" if prefix and self._root else prefix or self._root
        try:
            with self.errors(prefix, writing=False):
                for place, found in self.remote.scan(folder):
                    path = place[self._skipped :]
                    if in_folder(path, prefix) and is_path(path):  # the marker of a folder is none
                        yield path, found
        except FileNotFoundError:
            return

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        place = self._place(path)
        stamp = self.ask(path, lambda remote: remote.put(place, data), writing=True)
        self._written({path: (data, stamp)})

    def create(self, path: str, data: Bytes) -> bool:
        place = self._place(path)
        tries = count()

        def create(remote: Remote) -> bool:
            is_asked_again = next(tries) > 0
            if remote.create(place, data):
                return True
            # a retry: its own first request may have created it, whose answer was lost
            found = remote.get_many([place])[0] if is_asked_again else None
            return isinstance(found, tuple) and found[0] == data

        return self.ask(path, create, writing=True)

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._write(path, self._place(path))

    @contextmanager
    def _write(self, path: str, place: str) -> Generator[BinaryIO]:
        upload = self.ask(path, lambda remote: remote.writer(place), writing=True)
        upload.guard = lambda: self.errors(path, writing=True)
        with upload.sending() as file:
            yield file

    def delete(self, path: str) -> bool:
        place = self._place(path)
        if self.ask(path, lambda remote: remote.delete(place), writing=True, absent_is_error=False):
            return True
        self._check_root(path)
        return False

    def close(self) -> None:
        """Forget the connections; they close when no other store uses them."""
        _connected.drop(self._identity())
        self._reset()

    def clear_temporary(self, path: str) -> None:
        place = self._place(path)
        self.ask(path, lambda remote: remote.clear_temporary(place), writing=True)

    # --- the server

    def _is_useless_after(self, kind: Kind) -> bool:
        """Tell whether the connection is useless after such an error: one over SSH that broke, credentials that expired."""
        if self._is_ssh:
            return kind == "unreachable"
        return kind in ("denied", "no credentials") and self._scheme in _S3 | _GCS | _OBJECTS

    def _disconnect(self) -> None:
        """Drop the connection, so that the next call connects again, with the credentials found then."""
        held = self._held
        if held is not None:
            _connected.drop(self._identity(), held[1].fs)
        self._reset()

    def _place(self, path: str) -> str:
        check_path(path)
        return self._placed(path)

    @property
    def remote(self) -> Remote:
        """The connection of this process to the server."""
        held = self._held
        if held is None or held[0] != os.getpid():
            _connected.keep(held)
            held = self._held = (os.getpid(), self._connect())
            self._reached = True
        return held[1]

    def _identity(self) -> tuple[Any, ...]:
        # credentials and endpoints also come from the environment
        environment = tuple(
            sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "GOOGLE_", "STORAGE_EMULATOR", "AZURE_")))
        )
        return self._class, foreign("fsspec.utils").tokenize(self._args, self._options), environment

    def _connect(self) -> Remote:
        return _remote_for(self._scheme, _connected.get(self._identity(), self._connected), self._root)

    def _connected(self) -> Any:
        if self.client != _OBSTORE:
            return self._class(*self._args, **self._connecting(), skip_instance_cache=True)
        client = self._class(**self._options)
        return client.as_s3fs(**_connections()) if _obstore(self.url).is_of_parent() else client

    def _connecting(self) -> dict[str, Any]:
        options: dict[str, Any] = {**self._options, "use_listings_cache": False}
        if self._scheme in _S3:
            options["config_kwargs"] = {**_connections(), **options.get("config_kwargs", {})}
        if self._is_ssh:
            options.setdefault("known_hosts", ())  # else it would trust any host; this checks the user's own known_hosts file
            options.setdefault("keepalive_interval", 30)  # else an idle connection may be cut, or never end
            options.pop("use_listings_cache")  # it passes unknown options on
        return options

    def _check_root(self, path: str) -> None:
        """Raise StoreError where the bucket does not exist, which must never read as a missing payload. Asked once."""
        if self._root_seen:
            return
        self._root_seen = True  # set before asking, whose errors come back here
        try:
            with self.errors(path, writing=False):
                remote = self.remote
                if remote.has_root and not remote.root_exists():
                    raise self._no_root(path)
        except BaseException:
            self._root_seen = False
            raise

    def _no_root(self, path: str) -> StoreError:
        bucket = self._root.partition("/")[0]
        return StoreError(f"{self.url}: there is no bucket {bucket!r} here; make it, or correct the name", url=self.url, path=path)

    @property
    def _is_ssh(self) -> bool:
        return str(self._class.__module__).startswith("sshfs")

    def ask(self, path: str, act: Callable[[Remote], Result], *, writing: bool = False, absent_is_error: bool = True) -> Result:
        """Call `act` with the remote, whose errors are raised as those of stores.

        A server behind SSH that was reached before is retried for `PATIENCE`; the clients of other servers do that themselves.
        """
        deadline, pause = 0.0, 0.05
        while True:
            try:
                with self.errors(path, writing, absent_is_error):
                    return act(self.remote)
            except StoreUnavailable:
                now = time.monotonic()
                deadline = deadline or now + PATIENCE
                if not (self._is_ssh and self._reached) or now + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    @contextmanager
    def errors(self, path: str, writing: bool, absent_is_error: bool = True) -> Generator[None, None, None]:
        """A block in which an error of the client becomes one of this store."""
        try:
            yield
        except PersistableError:
            raise
        except Exception as error:  # noqa: BLE001 - any error of a library is raised as one of ours
            kind = kind_of(error)
            if kind == "missing" and not (writing and absent_is_error):
                self._check_root(path)
                raise FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url}/{path}") from None
            if self._is_useless_after(kind):
                self._disconnect()
            explained = self._explained(error, kind, path, writing)
            # where the server is unreachable, the libraries' own tracebacks are a hundred lines without more facts
            quiet = isinstance(explained, StoreUnavailable) or unmasked(f"{error} {error!r}")
            raise explained from (None if quiet else error)

    def _explained(self, error: Exception, kind: str, path: str, writing: bool) -> StoreError:
        about = {"url": self.url, "path": path}
        reason = masked(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        reason = shorten(reason, 300, placeholder="...")
        where = f"{self.url}/{path}" if path else self.url
        if kind == "no root" or (kind == "missing" and self.remote.has_root and not self.remote.root_exists()):
            return self._no_root(path)
        if kind == "full":
            return StoreFull(f"no room for {where} ({reason}); free some space or raise the quota", **about)
        if kind == "no credentials":
            return StoreError(f"{self.url}: no credentials were found ({reason}); set them up, or pass them to open_store", **about)
        if kind == "denied" and writing:
            return StoreReadOnly(f"{where} may not be written with these credentials ({reason}); ask for write permission", **about)
        if kind == "denied":
            hint = "; without s3:ListBucket the server says so of absent objects too" if self._scheme in _S3 else ""
            return StoreError(f"{where} may not be read with these credentials ({reason}); ask for read permission{hint}", **about)
        if kind == "unreachable":
            return StoreUnavailable(f"{self.url} cannot be reached ({reason}); check the address and the network, then try again", **about)
        if kind == "changed":
            return self._replaced(path)
        if kind == "unsupported":
            return StoreReadOnly(f"{self.url} cannot do this ({reason}); {self._scheme}:// may be for reading only", **about)
        # SFTP has one answer for a full disk, a read-only one and much else
        hint = "; the server says no more: see whether its disk is full or read-only" if type(error).__name__ == "SFTPFailure" else ""
        return StoreError(f"{where} failed: {reason}{hint}", **about)


def _remote_for(scheme: str, fs: Any, root: str) -> Remote:
    if scheme in _S3:
        if type(fs).__module__ == _OBSTORE_MODULE:
            return cast(Remote, _obstore(root).Obstore(fs, root))
        from persistable.stores.s3 import S3

        return S3(fs, root)
    if scheme in _GCS:
        from persistable.stores.gcs import GCS

        return GCS(fs, root)
    from persistable.stores.filesystem import Files, Memory

    if scheme == "memory":
        return Memory(fs, root)
    return Remote(fs, root) if scheme in _OBJECTS else Files(fs, root, scheme)


def _client_of(scheme: str, named: object) -> str:
    known = _CLIENTS[scheme]
    if named is not None and named not in known:
        raise ValueError(f"client is {named!r}, of {scheme}://; give one of {', '.join(map(repr, known))}, or nothing")
    return known[0] if named is None else str(named)


def _obstore(url: str) -> Any:
    """The module that uses obstore. Raises MissingExtra where that is not installed."""
    try:
        return foreign(_OBSTORE_MODULE)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != _OBSTORE:
            raise
        message = f"{masked(url)} with client='obstore' needs obstore, which is not installed: pip install 'persistable[obstore]'"
        raise MissingExtra(message, package=_OBSTORE, extra=_OBSTORE, format="") from error


def _is_in_memory(kind: Any, args: Iterable[Any], options: Mapping[str, Any]) -> bool:
    """Tell whether a file system, or one below it, is the memory file system of fsspec."""
    fsspec = foreign("fsspec")
    if issubclass(kind, foreign("fsspec.implementations.memory").MemoryFileSystem):
        return True
    if options.get("target_protocol"):
        target = fsspec.get_filesystem_class(options["target_protocol"])
        return _is_in_memory(target, (), options.get("target_options") or {})
    below = [each for each in (*args, *options.values()) if isinstance(each, fsspec.AbstractFileSystem)]
    return any(_is_in_memory(type(each), each.storage_args, each.storage_options) for each in below)


def _connections() -> dict[str, Any]:
    """Options of the connections of s3fs, with few retries unless the environment sets them: no long wait for an absent server.

    After a SlowDown of the server s3fs itself retries.
    """
    if "AWS_MAX_ATTEMPTS" in os.environ or "AWS_RETRY_MODE" in os.environ:
        return {"max_pool_connections": 64}
    return {"max_pool_connections": 64, "retries": {"mode": "standard", "total_max_attempts": 3}}


def _endpoint_from(url: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    from urllib.parse import parse_qs

    place, _, query = url.partition("?")
    found = parse_qs(query, keep_blank_values=True)
    if "endpoint_url" not in found:
        return url, options
    if len(found) > 1:
        url = masked(url)
        raise StoreError(f"{url}: only endpoint_url may follow the question mark, give other options as keywords", url=url, path="")
    return place, {"endpoint_url": found["endpoint_url"][0], **options}


def _shown(scheme: str, root: str, options: dict[str, Any]) -> str:
    from urllib.parse import quote, urlsplit

    if "host" in options:  # sftp and its like: the root is a path on that host
        user = f"{options['username']}@" if options.get("username") else ""
        port = f":{options['port']}" if options.get("port") else ""
        return f"{scheme}://{user}{options['host']}{port}/{root.lstrip('/')}"
    endpoint = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
    if root.startswith(f"{scheme}://"):
        return root  # http: its paths are URLs
    if not endpoint:
        return f"{scheme}://{root.lstrip('/') if scheme == 'memory' else root}"
    parts = urlsplit(str(endpoint))
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return f"{scheme}://{root}?endpoint_url={quote(bare, safe=':/')}"
