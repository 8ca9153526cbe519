"""Opening of stores by a path, a URL, a UPath or a store; and the default store."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from persistable.errors import MissingExtra, StoreError, missing
from persistable.params import extensions
from persistable.params.masking import masked
from persistable.params.url import check_slashes
from persistable.stores.base import COMMON_OPTIONS, EVERYWHERE, BaseStore, Store, extended
from persistable.stores.local import LocalStore

if TYPE_CHECKING:
    from persistable.stores.layered.layer import Layer


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)(?:::[^/]*)?://")  # one letter before the colon is a Windows drive
_FACTORIES: dict[str, str] = {
    "file": "persistable.stores.local:LocalStore.from_url",
    "http": "persistable.stores.http:HTTPStore",
    "https": "persistable.stores.http:HTTPStore",
    "layered": "persistable.stores.layered.store:LayeredStore.from_url",
    "local": "persistable.stores.local:LocalStore.from_url",
    "memory": "persistable.stores.memory:MemoryStore.from_url",
    "mongodb": "persistable.stores.mongo.store:MongoStore",
    "mongodb+srv": "persistable.stores.mongo.store:MongoStore",
    "oci": "persistable.stores.oci.store:OCIStore",
    "postgres": "persistable.stores.postgres.store:PostgresStore",
    "postgresql": "persistable.stores.postgres.store:PostgresStore",
    "sqlite": "persistable.stores.sqlite:SQLiteStore.from_url",
}
# the packages behind common schemes, and the extra that installs each (empty: there is no extra, the package is named)
_PACKAGES: dict[str, tuple[str, str]] = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "sftp": ("sshfs", "sftp"),
    "ssh": ("sshfs", "sftp"),
    "az": ("adlfs", ""),
    "abfs": ("adlfs", ""),
    "abfss": ("adlfs", ""),
    "smb": ("smbprotocol", ""),
    "webdav": ("webdav4", ""),
}
_TRUSTING = "#trust="
_CACHE_LIMIT = 1024
_opened: dict[object, Store] = {}


def open_store(
    where: str | os.PathLike[str] | Store | Sequence[str | os.PathLike[str] | Store | Mapping[str, Any] | Layer], **options: Any
) -> Store:
    """Open the store at `where`; nothing is created or contacted before it is used.

    ``where`` is a path (``~`` is expanded, a relative one counts from the current folder), a `UPath`, ``file://``, ``memory://name``,
    ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a zip archive (``paper.zip``, also behind a URL) or an ``https://`` URL (both
    written by `Catalog.export`, and read only), any URL of fsspec (``s3://bucket/folder``, ``gs://``, ``sftp://``, ``az://``),
    a scheme given to `register_store`, or a store, which is returned as it is, with the calls of `BaseStore` added if its class has only
    the protocol. A list of these is a `LayeredStore`, fast to slow; a layer in it may be a mapping, such as
    ``{"url": "s3://team", "readonly": True}``. Options go to the store, from there to fsspec (``endpoint_url``, ``key``, ``secret``,
    ``token``, ``client_kwargs``); ``client="obstore"`` reaches S3 through that library instead of s3fs; ``readonly=True`` gives a store
    that refuses to write, and
    ``claim_ttl=300`` one in which a generation of another host counts as dead after 300 seconds without a heartbeat (default: 60): give
    the same wherever that store is opened. ``claim_beat=30`` sets the seconds between two heartbeats (default: a sixth of that).
    ``mmap=False`` reads large payloads that would be mapped otherwise, ``mmap=True`` maps them on network file systems too.
    ``sign=key`` signs every record that is written: a private key of `new_signing_key`, the path of its file, a `Secret` or ``"env:NAME"``.
    ``trust=[public]`` refuses every record that is signed by none of these keys (nor by that of ``sign``) as PayloadUntrusted, before it is
    read; without ``sign`` nothing can be written then. A URL that ends in ``#trust=`` and keys, with commas between, does the same.
    Both apply to each layer that has no ``sign`` or ``trust`` of its own.
    ``namespace="ann"`` opens a store of that name beside this one (``data.ann``), without the payloads of other projects.

    Raises StoreError for an unknown scheme, MissingExtra where the package behind a scheme is absent.
    """
    if (options and not options.keys().isdisjoint(EVERYWHERE)) or (isinstance(where, str) and _TRUSTING in where):
        return _with_common(open_store, where, options)
    if not options and isinstance(where, (str, PurePath)):
        path = str(where)
        cached = _opened.get(path if path[:1] == "/" else (path, os.getcwd()))
        if cached is not None:
            return cached
    if isinstance(where, BaseStore):
        return _unchanged(cast(Store, where), options)
    if isinstance(where, list | tuple):
        return _layers(cast("Sequence[Any]", where), options)
    if not isinstance(where, str):
        if not isinstance(where, os.PathLike) and not hasattr(where, "storage_options"):
            if isinstance(where, Store):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
                return _unchanged(cast(Store, extended(where)), options)
            hint = "; give a node by the name of its role, role=node" if getattr(type(where), "_node_is_node", False) else ""
            raise TypeError(f"a store is a path, a URL or a Store, not {type(where).__name__}: {where!r:.80}{hint}")
        where, options = _from_path_object(where, options)
    if options.get("readonly") and where[:10].lower() == "layered://":
        return _made_by(_FACTORIES["layered"], where, options)
    if options.pop("readonly", False):
        from persistable.stores.readonly import ReadOnlyStore

        return ReadOnlyStore(open_store(where, **options))
    return (_zip(where, options) if ".zip" in where.lower() else None) or _at(where, options)


def _at(where: str, options: dict[str, Any]) -> Store:
    """The store of a path or URL."""
    found = _SCHEME.match(where)
    if found is None:
        return _local(where, options)
    scheme = found[1].lower() if "::" not in found[0] else ""
    factory: Any = _FACTORIES.get(scheme)
    if factory is None and scheme and scheme not in _PACKAGES:
        factory = extensions.load("stores", scheme)
    if factory is not None:
        return _made_by(factory, where, options)
    return _remote(scheme, where, options)


def _with_common(opened: Callable[..., Store], where: Any, options: dict[str, Any]) -> Store:
    """The store with the options that every store takes."""
    if isinstance(where, str) and _TRUSTING in where:
        where, _, keys = where.partition(_TRUSTING)
        options = {"trust": keys.split(",") if keys else [], **options}
    if options.get("namespace") is not None:
        from persistable.stores.namespace import namespaced

        where = namespaced(where, options["namespace"])
    made: Any = opened(where, **{name: option for name, option in options.items() if name not in EVERYWHERE})
    if options.get("sign") is not None or options.get("trust") is not None:
        from persistable.stores.signed import with_signatures

        made = with_signatures(made, options.get("sign"), options.get("trust"))
    common = {name: _checked(name, options[name]) for name in COMMON_OPTIONS if options.get(name) is not None}
    made = copy.copy(made) if common else made  # other callers share the cached store
    for name, option in common.items():
        setattr(made, name, option)
    if made.claim_ttl and made.claim_beat and made.claim_beat > made.claim_ttl / 2:
        raise ValueError(f"claim_beat is {made.claim_beat}, with claim_ttl={made.claim_ttl}; give half of that at most")
    return cast(Store, made)


def _checked(name: str, option: Any) -> float | bool:
    if name == "mmap":
        if not isinstance(option, bool):
            raise ValueError(f"mmap is {option!r}; give True or False")
        return option
    seconds = option
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise ValueError(f"{name} is {seconds!r}; give a number of seconds, such as 60")
    return float(seconds)


def register_store(scheme: str, factory: str, *, replace: bool = False) -> None:
    """Make `open_store` open URLs that start with ``scheme://``.

    ``factory`` names a callable ``(url, **options) -> Store``, such as
    ``"package.module:Class.from_url"``; it is imported at its first use. Worker processes of this one get it too. An installed
    package can register by an entry point of the group ``persistable.stores``, whose name is the scheme.

    Raises RegistrationError where another factory is registered, unless `replace`.
    """
    module, _, name = factory.partition(":")
    if not module or not name or len(scheme) < 2 or not _SCHEME.fullmatch(f"{scheme}://"):
        raise ValueError(f"cannot register {scheme!r} -> {factory!r}: expected a scheme of two letters or more and 'module:callable'")
    extensions.register("stores", scheme.lower(), factory, replace)
    _FACTORIES[scheme.lower()] = factory


def _unchanged(store: Store, options: dict[str, Any]) -> Store:
    if options == {"readonly": True}:
        from persistable.stores.readonly import ReadOnlyStore

        return ReadOnlyStore(store)
    if options and options != {"readonly": False}:
        raise TypeError(f"{store!r} is open already and takes no options: {', '.join(sorted(options))}")
    return store


def _layers(layers: Sequence[Any], options: dict[str, Any]) -> Store:
    from persistable.stores.layered.store import LayeredStore

    if options.keys() - {"readonly"}:
        names = ", ".join(sorted(options.keys() - {"readonly"}))
        raise TypeError(f"layers take no options together: {names}; give each layer its own, as {{'url': ..., 'options': {{...}}}}")
    # the same layers are one store, which remembers its reports and which layer is down
    same = (repr(layers), os.getcwd()) if all(isinstance(each, str | dict) for each in layers) and not options else None
    store = _opened.get(same) if same is not None else None
    if store is not None:
        return store
    made = LayeredStore(*layers)
    if options.get("readonly"):
        made = made.as_readonly()
    if same is not None:
        _keep(same, made)
    return made


def _from_path_object(where: Any, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    protocol = getattr(where, "protocol", "")
    if protocol in ("", "file", "local"):
        return os.fsdecode(where if hasattr(where, "__fspath__") else where.path), options
    return str(where), {**getattr(where, "storage_options", {}), **options}


def _local(where: str, options: dict[str, Any]) -> LocalStore:
    if not where:
        raise StoreError("an empty string names no store; write '.' for the current folder", url=where, path="")
    check_slashes(where)
    store = LocalStore(where, **options)
    if not options and where[:1] != "~":
        _keep(where if where[:1] == "/" else (where, os.getcwd()), store)
    return store


def _zip(where: str, options: dict[str, Any]) -> Store | None:
    """The store of a zip archive; None where the name is not that of one."""
    from persistable.stores.zip import ZipStore, is_zip

    if not is_zip(where):
        return None
    store = ZipStore(where, **options)
    if not options and "://" not in where and where[:1] != "~":
        _keep(where if where[:1] == "/" else (where, os.getcwd()), store)
    return store


def _keep(name: object, store: Store) -> None:
    if len(_opened) >= _CACHE_LIMIT:
        _opened.clear()
    _opened[name] = store


def _made_by(factory: Any, url: str, options: dict[str, Any]) -> Store:
    made: Any = factory
    if isinstance(factory, str):
        module, _, name = factory.partition(":")
        made = import_module(module)
        for part in name.split("."):
            made = getattr(made, part)
    if options:
        from persistable.stores.options import check_options

        check_options(masked(url), made, options)
    return cast(Store, extended(made(url, **options)))


def _remote(scheme: str, url: str, options: dict[str, Any]) -> Store:
    try:
        from fsspec.registry import known_implementations, registry  # type: ignore[import-untyped]

        known = {*known_implementations, *registry}
        if scheme and scheme not in known:
            raise _unknown(scheme, url, known)
        from persistable.stores.object import ObjectStore

        store: Store = ObjectStore(url, **options)
        return store
    except MissingExtra:
        raise
    except ImportError as error:
        unknown = (
            ("fsspec", "s3") if (error.name or "").partition(".")[0] == "fsspec" else (error.name or f"the package for {scheme}://", "")
        )
        raise missing(*_PACKAGES.get(scheme, unknown), masked(url)) from error


def _unknown(scheme: str, url: str, known: set[str]) -> StoreError:
    from difflib import get_close_matches

    url = masked(url)
    names = sorted({*known, *_FACTORIES, *extensions.entries("stores")})
    near = get_close_matches(scheme, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}://? The" if near else "the"
    usual = sorted({*_FACTORIES, *_PACKAGES, *extensions.entries("stores")})
    return StoreError(
        f"{url}: no store is known for {scheme}://; {hint} usual ones are {', '.join(usual)}; register_store adds more",
        url=url,
        path="",
        known=names,
    )


VARIABLE = "PERSISTABLE_STORE"
PROJECT_FILE = "persistable.toml"
FOLDER = "persistable-data"
_RELATIVE = "sqlite:///"


def default_url() -> str | list[Any]:
    """``$PERSISTABLE_STORE``, else the ``store`` of the nearest ``persistable.toml`` upward, else ``./persistable-data``.

    In the file it is one URL or path, or a list of layers, fast to slow, each a URL, a path or a table; ``namespace`` beside it is as in
    `open_store`. A relative path in the file is relative to the file. Raises ValueError for a file that is not valid TOML.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    file = nearest_file(os.getcwd())
    while file is not None:
        store = _store_in(file)
        folder = os.path.dirname(file)
        if store is not None:
            return absolute_beside(folder, store)
        parent = os.path.dirname(folder)
        file = nearest_file(parent) if parent != folder else None
    return FOLDER


def nearest_file(folder: str) -> str | None:
    """The ``persistable.toml`` in `folder`, else in the nearest folder above it; None without one."""
    while True:
        file = os.path.join(folder, PROJECT_FILE)
        if os.path.isfile(file):
            return file
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def absolute_beside(folder: str, store: str | list[Any]) -> str | list[Any]:
    """The URL, path or layers that a file in `folder` names, with relative paths made absolute."""
    return _from(folder, store) if isinstance(store, str) else [_from(folder, layer) for layer in store]


def _from(folder: str, layer: Any) -> Any:
    """A URL or path in a file of that folder, with a relative path made absolute; for a table, its ``url``."""
    if isinstance(layer, dict):
        facts = _with_keys(folder, cast("dict[str, Any]", layer))
        return {**facts, "url": _from(folder, facts["url"])} if isinstance(facts.get("url"), str) else facts
    if layer.startswith(_RELATIVE) and layer[len(_RELATIVE) : len(_RELATIVE) + 1] not in ("", "/"):
        return _RELATIVE + os.path.join(folder, layer.removeprefix(_RELATIVE))
    return layer if "://" in layer else os.path.join(folder, os.path.expanduser(layer))


def _with_keys(folder: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The table of a layer, with paths of key files relative to `folder`. Raises ValueError for a private key that is written out."""
    found = dict(facts)
    sign, trust = facts.get("sign"), facts.get("trust")
    if isinstance(sign, str):
        if sign.startswith("ed25519-private:"):
            raise ValueError(
                'a layer has its private key written out as `sign`; write where it is read, sign = "env:NAME" or the path of its file, and '
                "draw another key, for this one is no secret any more: `persistable keys new`"
            )
        found["sign"] = sign if sign.startswith("env:") else _beside(folder, sign)
    if isinstance(trust, str):
        found["trust"] = _key_beside(folder, trust)
    elif isinstance(trust, list):
        found["trust"] = [_key_beside(folder, each) for each in cast("Sequence[Any]", trust)]
    return found


def _key_beside(folder: str, key: Any) -> Any:
    return _beside(folder, key) if isinstance(key, str) and not key.startswith("ed25519") else key


def _beside(folder: str, path: str) -> str:
    return os.path.join(folder, os.path.expanduser(path))


def _store_in(file: str) -> str | list[Any] | None:
    import tomllib

    with open(file, "rb") as toml:
        try:
            facts = tomllib.load(toml)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file} is not valid TOML: {error}") from error
    store, namespace = facts.get("store"), facts.get("namespace")
    if store is None or isinstance(store, str) or _are_layers(store):
        return cast("str | list[Any] | None", in_namespace(store, namespace))
    raise ValueError(f"`store` in {file} is {store!r}; give one URL or path as a string, or a list of layers")


def in_namespace(store: Any, namespace: Any) -> Any:
    """A store in the namespace that a file names; `store` itself where that is None. Raises ValueError for an invalid namespace."""
    if namespace is None:
        return store
    from persistable.stores.namespace import namespaced

    return namespaced(store if store is not None else FOLDER, namespace)


def _are_layers(store: Any) -> bool:
    if not isinstance(store, list):
        return False
    layers = cast("Sequence[Any]", store)
    return len(layers) > 0 and all(isinstance(layer, str | dict) for layer in layers)
