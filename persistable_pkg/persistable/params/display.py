"""Trees of params in words: as Python would show the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from persistable.params.credentials import is_credential
from persistable.params.trees import absent, children, leaves_of

LONGEST = 60
MASK = "***"
"""The text in place of a credential."""


def in_words(tree: Any, name: str = "") -> str:
    """A tree as Python would show the value, as far as that is known: ``Svm(C=10.0)``, ``(1, 2)``, ``2026-01-31``.

    A credential, recognized by its look or by the `name` of its param, is masked.
    """
    return _words(without_credentials(tree, name))


_PLAIN = frozenset({int, float, bool, type(None)})


def params_in_words(params: Mapping[str, Any]) -> str:
    """Params trees in one line, without those of nodes: ``n=100, scale='one two'``."""
    shown: list[str] = []
    for name, tree in params.items():
        kind = tree.__class__
        if kind in _PLAIN:
            text = repr(tree)
        elif kind is str:
            text = _text(tree, name)
        elif is_of_nodes(tree):
            continue
        else:
            text = in_words(tree, name)
        shown.append(f"{name}={text if len(text) <= LONGEST else cut(text)}")
    return ", ".join(shown)


@lru_cache(1024)
def _text(text: str, name: str) -> str:
    """`in_words` of a text; cached, since lists of thousands have few different ones."""
    return MASK if is_credential(name, text) else repr(text)


def without_credentials(tree: Any, name: str = "") -> Any:
    """`tree` with each text masked that is a credential, by its look or by the name of its param."""
    kind = tree.__class__
    if kind is str:
        return MASK if is_credential(name, tree) else tree
    if kind is list:
        return [without_credentials(each, name) for each in tree]
    if kind is dict:
        return {
            key: each if key == "$object" else without_credentials(each, name if key[:1] == "$" else key) for key, each in tree.items()
        }  # the name of a class is no credential
    return tree


def is_of_nodes(tree: Any) -> bool:
    """Tell whether a tree consists of nodes, which are upstream, and of collections of them."""
    if tree.__class__ is list:
        return bool(tree) and all(map(is_of_nodes, tree))
    if tree.__class__ is not dict or not tree:
        return False
    return "$node" in tree or all(map(is_of_nodes, tree.values()))


def leaves_in_words(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted path and value of each value in the params: plain values as they are, all others in words; credentials masked."""
    for path, tree in leaves_of(params):
        if not is_of_nodes(tree):
            shown = without_credentials(tree, path.rpartition(".")[2])
            yield path, _words(shown) if shown.__class__ in (dict, list) else shown


def _words(tree: Any) -> str:
    if tree.__class__ is str and tree == MASK:
        return MASK
    if tree is absent:
        return "nothing"
    if tree.__class__ is list:
        return f"[{', '.join(map(_words, tree))}]"
    if tree.__class__ is not dict:
        return repr(tree)
    tag = next((name for name in tree if name[:1] == "$"), "")
    if not tag:
        return f"{{{', '.join(f'{name!r}: {_words(each)}' for name, each in tree.items())}}}"
    if "$object" in tree:
        found = children(tree)
        fields = {} if found is None else found[1]
        return f"{tree['$object']}({', '.join(f'{name}={_words(each)}' for name, each in fields.items())})"
    content = tree[tag]
    try:
        known = _TAGS.get(tag)
        return f"{tag[1:]}({_words(content)})" if known is None else known(content)
    except (TypeError, ValueError, LookupError):
        return str(content)


def cut(text: str, longest: int = LONGEST) -> str:
    """`text`, cut to `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _set(content: Any) -> str:
    return f"{{{', '.join(map(_words, content))}}}"


def _estimator(content: Any) -> str:
    return f"{_words(content['class'])}({', '.join(f'{name}={_words(each)}' for name, each in content['params'].items())})"


def _large(content: Any) -> str:
    size = f"{content['size']} bytes" if "size" in content else f"{content['length']} items"
    return f"({size}, BLAKE3 {content['blake3'][:12]})"


def _first(content: Any) -> str:
    return str(content["$tuple"][0])


_TAGS: dict[str, Callable[[Any], str]] = {
    "$tuple": lambda content: f"({', '.join(map(_words, content))}{',' if len(content) == 1 else ''})",
    "$set": _set,
    "$frozenset": _set,
    "$dict": lambda content: f"{{{', '.join(f'{_words(name)}: {_words(each)}' for name, each in content)}}}",
    "$reference": lambda content: str(content).rpartition(":")[2],
    "$estimator": _estimator,
    "$enum": lambda content: f"{content['class']}.{content['member']}",
    "$blob": _large,
    "$bulk": _large,
    "$bytes": lambda content: _large(content) if isinstance(content, dict) else f"bytes({content!r})",
    "$datetime": _first,
    "$time": _first,
    "$float": str,
    "$int": str,
    "$date": str,
    "$uuid": str,
    "$ipaddress": str,
    "$node": str,
}
