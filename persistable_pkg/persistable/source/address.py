"""From what a user writes (a path or URL with fields) to a place and a template in it."""

from __future__ import annotations

import os
import re
from typing import Any

from persistable.errors import InvalidName
from persistable.masked import masked
from persistable.source.files import Files, Folders, Keys
from persistable.source.inputs import Inputs
from persistable.source.shelf import shelf_of
from persistable.stores.base import Store
from persistable.stores.open import open_store
from persistable.template import Template

_FIELD = re.compile(r"(?<!\{)(?:\{\{)*\{(?!\{)")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")


def inputs_at(where: str, store: str | os.PathLike[str] | Store | None, keys: Keys | None, options: dict[str, Any]) -> Inputs:
    """The inputs at a path or URL with fields, in `store` if one is given."""
    scheme = _URL.match(where)
    if store is not None:
        if scheme is not None:
            raise ValueError(f"{masked(where)} says where it is by itself; give the path in the store, or leave store= out")
        shelf, template = shelf_of(open_store(store, **options)), Template(where)
    elif scheme is not None and scheme[1].lower() in ("http", "https"):
        from persistable.source.pages import Pages

        return Pages(where, keys, **options)
    else:
        root, text = _split(where, scheme[0] if scheme is not None else "")
        shelf, template = shelf_of(open_store(root, **options)), Template(text)
    return (Folders if template.is_folder else Files)(shelf, template, keys)


def _split(where: str, scheme: str) -> tuple[str, str]:
    """The folder that all paths lie in, as a path or URL, and the template in it."""
    address, mark, query = where.partition("?") if scheme else (where, "", "")
    rest = address[len(scheme) :]
    first = _FIELD.search(rest)
    fixed = rest[: first.start()] if first is not None else rest
    if scheme == "memory://":
        root = rest.partition("/")[0]  # the name of the store; what follows is a path in it
        root = root if len(root) < len(fixed) else ""
    else:
        root = fixed.rpartition("/")[0]
        if not root and fixed.startswith("/"):
            root = "/"
    if scheme and not root and scheme != "memory://":
        shown = masked(where)
        raise InvalidName(f"{shown!r}: the field stands where the host or bucket is; write that out", name=shown)
    text = rest[len(root) :].lstrip("/")
    return f"{scheme}{_plain(root)}{mark}{query}" if scheme else os.path.expanduser(_plain(root)) or ".", text


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")
