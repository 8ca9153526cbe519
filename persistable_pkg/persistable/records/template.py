"""`Template`: a path with fields in braces, such as ``computed/mean-{workflow_id}.csv``, filled in and read back without loss."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property
from string import Formatter
from typing import Any

from persistable.errors import InvalidName
from persistable.stores.base import HIDDEN, check_path


class _Token(Enum):
    """The token for the text of a field, among tokens of single characters."""

    ONE_OR_MORE = "one or more"
    """Any characters but separators, at least one."""


class Template:
    """A relative path with named fields, none of which spans a separator.

    `format` and `match` invert each other: values that could be read back from the path as other values are refused, so that two of
    them never share a path. A template that ends in ``/`` names folders. Raises InvalidName for a text that can be no such path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: list[tuple[str, str | None]] = list(_parts(text))
        """Literal text and the field that follows it, None at the end."""
        self.fields: tuple[str, ...] = tuple(dict.fromkeys(field for _, field in self.parts if field is not None))
        """The names of the fields, each once."""
        self.is_folder = text.endswith("/")
        self._frame = text.rstrip("/")
        check_path(self.filled(dict.fromkeys(self.fields, "x")))

    @property
    def prefix(self) -> str:
        """The folder of all its paths, without a separator at its end; empty for the root."""
        return self.parts[0][0].rpartition("/")[0] if self.parts else ""

    def format(self, **values: object) -> str:
        """Return the path of these values, text or numbers; without a separator at its end.

        Raises InvalidName for a value that cannot be part of a path, would leave its folder, or would be read back as another; TypeError
        where fields are missing or unknown.
        """
        if values.keys() != set(self.fields):
            raise TypeError(f"{self.text!r} takes {', '.join(self.fields) or 'no fields'}; it was given {', '.join(values) or 'none'}")
        texts = {name: self._checked(name, value) for name, value in values.items()}
        path = check_path(self.filled(texts))
        if path.partition("/")[0].casefold() == HIDDEN:  # also on a file system that ignores case
            raise InvalidName(f"{path!r} is in {HIDDEN}, which is kept for records; choose another name", name=path)
        again = texts if self.is_certain else self.match(path)
        if again != texts:
            raise InvalidName(
                f"{_shown(texts)} in {self.text!r} gives {path!r}, which would also be the path of {_shown(again or {})}; "
                "put a separator between the fields, or choose other names",
                name=path,
            )
        return path

    def filled(self, texts: Mapping[str, str]) -> str:
        """The path for these values, unchecked."""
        return self._frame.format_map(texts)

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the fields in `path`; None where it is no path of this template."""
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found is not None else None

    def match_greedily(self, path: str) -> dict[str, str] | None:
        """The values of another reading of `path`, where there is one: its first fields are as long as they can be."""
        found = self._greedy.fullmatch(path)
        return found.groupdict() if found is not None else None

    def overlaps(self, other: Template) -> bool:
        """Tell whether a path could match both templates, ignoring case."""
        mine, others = _tokens(self), _tokens(other)
        seen = {(0, 0)}
        stack = [(0, 0)]
        while stack:
            here = stack.pop()
            if here == (len(mine), len(others)):
                return True
            for step in _steps(mine, others, *here):
                if step not in seen:
                    seen.add(step)
                    stack.append(step)
        return False

    @cached_property
    def is_certain(self) -> bool:
        """Tell whether each part of a path has one field at most, so that there is only one way to read it."""
        return all(part.count("{") < 2 for part in self.text.replace("{{", "").split("/"))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        known: set[str] = set()
        parts: list[str] = []
        for literal, field in self._without_end():
            parts.append(re.escape(literal))
            if field is not None:
                parts.append(f"(?P={field})" if field in known else f"(?P<{field}>[^/]+?)")
                known.add(field)
        return re.compile("".join(parts), re.DOTALL)

    @cached_property
    def _greedy(self) -> re.Pattern[str]:
        return re.compile(self._pattern.pattern.replace("[^/]+?)", "[^/]+)"), re.DOTALL)

    def _without_end(self) -> Iterator[tuple[str, str | None]]:
        for literal, field in self.parts:
            yield (literal.rstrip("/") if field is None else literal), field

    def _checked(self, name: str, value: object) -> str:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise InvalidName(
                f"{name} in {self.text!r} is {value!r:.60}; only text and whole numbers can be part of a path", name=str(value)
            )
        text = str(value)
        if not text or "/" in text or "\\" in text or text in (".", ".."):
            why = "it is empty" if not text else "it would leave its folder" if text in (".", "..") else "it contains a separator"
            raise InvalidName(f"{name}={text!r} cannot be part of {self.text!r}: {why}", name=text)
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise InvalidName(f"{text!r} is no template: {error}; a brace that is meant as such is written twice", name=text) from None
    before: str | None = None
    for literal, field, spec, conversion in parsed:
        if before is not None and field is not None and not literal:
            raise InvalidName(f"{text!r}: nothing parts {{{before}}} from {{{field}}}, so they cannot be told apart", name=text)
        if field is not None and (not field.isidentifier() or spec or conversion):
            raise InvalidName(f"{text!r}: a field is a plain name in braces, such as {{subject}}", name=text)
        before = field
        yield literal, field


def _shown(values: Mapping[str, object]) -> str:
    return ", ".join([f"{name}={value!r}" for name, value in values.items()])


def _tokens(template: Template) -> list[Any]:
    tokens: list[Any] = []
    for literal, field in template._without_end():  # pyright: ignore[reportPrivateUsage] - of the same class
        tokens.extend(literal.casefold())
        if field is not None:
            tokens.append(_Token.ONE_OR_MORE)
    return tokens


def _steps(mine: list[Any], others: list[Any], i: int, j: int) -> Iterator[tuple[int, int]]:
    """The pairs of positions after one more character, or the end of a field, from `i` in one row of tokens and `j` in the other."""
    # each step reads one character on both sides; a field may stay where it is and read the next one as well
    a = mine[i] if i < len(mine) else None
    b = others[j] if j < len(others) else None
    if a is None or b is None:
        return
    if a is _Token.ONE_OR_MORE or b is _Token.ONE_OR_MORE:
        if "/" in (a, b):
            return
        yield i + 1, j + 1
        if a is _Token.ONE_OR_MORE:
            yield i, j + 1
        if b is _Token.ONE_OR_MORE:
            yield i + 1, j
    elif a == b:
        yield i + 1, j + 1
