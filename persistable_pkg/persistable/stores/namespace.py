"""A namespace: a store of one project or person beside the stores of others, in the same folder, database or bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, cast

from persistable.params.masking import masked

TABLE = "persistable"
"""The table, where the URL of a database names none."""
_DATABASES = ("postgresql", "postgres")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}", re.ASCII)


def namespaced(where: Any, namespace: Any) -> Any:
    """The path, URL or layers of a namespace beside the store at `where`.

    It is a separate store, named after the other: ``data.ann``, ``runs.ann.db``, ``s3://bucket/results.ann``, ``?table=results.ann``,
    ``mongodb://host/database/results.ann``; where the store is a whole bucket, the folder ``ann`` in it.

    Raises ValueError for a name that is no word and for an archive, TypeError for a store that is open.
    """
    if not isinstance(namespace, str) or not _NAME.fullmatch(namespace):
        raise ValueError(f"namespace is {namespace!r}; give a word of letters, digits, _ and -, such as {'ann'!r}")
    if isinstance(where, list | tuple):
        return [namespaced(each, namespace) for each in cast("Sequence[Any]", where)]
    if isinstance(where, dict):
        layer = cast("dict[str, Any]", where)
        return {**layer, "url": namespaced(layer.get("url"), namespace)}
    if hasattr(where, "__fspath__") and not hasattr(where, "storage_options"):
        where = os.fspath(cast("os.PathLike[str]", where))
    if not isinstance(where, str) or where.startswith("layered://"):
        raise TypeError(f"a namespace is of a path or URL, and was given {where!r:.80}; open the store in its namespace by its path or URL")
    from persistable.stores.zip import is_zip

    if is_zip(where):
        raise ValueError(f"namespace is of stores that can be written, and {masked(where)!r:.80} is an archive; open it without")
    scheme, sign, rest = where.partition("://")
    if not sign:
        path = os.path.expanduser(where)
        return f"{os.path.abspath(path) if os.path.basename(path.rstrip(os.sep)) in ('', '.', '..') else path.rstrip(os.sep)}.{namespace}"
    if scheme == "sqlite":
        stem, ending = os.path.splitext(rest)
        return f"{scheme}://{stem}.{namespace}{ending}"
    rest, mark, query = rest.partition("?")
    if scheme in _DATABASES:
        pairs = [pair for pair in query.split("&") if pair]
        table = next((pair.partition("=")[2] for pair in pairs if pair.startswith("table=")), TABLE)
        others = [pair for pair in pairs if not pair.startswith("table=")]
        return f"{scheme}://{rest}?{'&'.join([*others, f'table={table}.{namespace}'])}"
    rest = rest.rstrip("/")
    if scheme.startswith("mongodb") and rest.count("/") == 1:
        rest = f"{rest}/{TABLE}"
    return f"{scheme}://{rest}{'/' if rest and '/' not in rest and scheme != 'memory' else '.' if rest else ''}{namespace}{mark}{query}"
