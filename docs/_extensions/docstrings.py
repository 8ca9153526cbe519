"""Docstrings in the reference: params in a list, and attributes each with a text.

Docstrings tell of params and attributes in sentences, ``limit: entries at most. order: ...``. Here these become fields: of a function in a
list, of a class beside its attributes. An attribute that a class says nothing of has the text of its base class. What has no text is a
warning, and so an error of `make docs`.
"""

from __future__ import annotations

import inspect
import re
import sys
from types import FunctionType
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

from persistable.stores import Store

ATTRIBUTES = ("attribute", "data", "property")
SECTIONS = ("Parameters:", "Args:")
NO_TEXT = "Alias for field number"
"""The beginning of the text that a named tuple gives its fields by itself."""
_settings = Config()
_logger = logging.getLogger(__name__)


class Told(NamedTuple):
    """A docstring without what it says of some names, that, and what it raises."""

    text: list[str]
    names: dict[str, str]
    raises: list[str]


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText, in place."""
    if what in ATTRIBUTES:  # napoleon would read the first line as "type: text" where there is a colon in it
        lines[:] = inherited(name) if not lines or lines[0].startswith(NO_TEXT) else lines
        what = ""
    elif not any(line.strip() in SECTIONS for line in lines):
        declared = inspect.get_annotations(thing) if isinstance(thing, type) else {}
        told = split(lines, [*params_of(thing), *declared])
        fields = [f":param {each}: {meaning}" for each, meaning in told.names.items() if each not in declared]
        lines[:] = [*told.text, *fields, "", *told.raises]
    lines[:] = GoogleDocstring(lines, _settings, app, what, name, thing, options).lines()


def params_of(thing: Any) -> list[str]:
    """The names of the params of a function or class."""
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return []


def split(lines: list[str], names: list[str]) -> Told:
    """A docstring, taken apart: what it says of `names` in sentences that begin with one or several of them and a colon."""
    told = Told([], {}, [])
    one = f"`?(?:{'|'.join(map(re.escape, names))})`?"
    begins = re.compile(rf"(?:^|(?<=[.:;)]) )({one}(?:, {one})*): ")
    for paragraph in "\n".join(lines).split("\n\n"):
        found = begins.split(" ".join(paragraph.split())) if names else []
        if len(found) < 3 or paragraph.startswith((" ", "-", "*", ">>>", ".. ")):
            told.text.extend((*paragraph.split("\n"), ""))
            continue
        found[-1], raises, rest = found[-1].partition(" Raises ")
        told.text.extend((found[0], "") if found[0] else ())
        told.raises.extend((f"Raises {rest}", "") if raises else ())
        for several, meaning in zip(found[1::2], found[2::2], strict=True):
            first, *others = several.replace("`", "").split(", ")
            told.names[first] = meaning.rstrip(";")
            told.names.update(dict.fromkeys(others, f"see `{first}`."))
    return told


def inherited(name: str) -> list[str]:
    """The text of an attribute, given as ``package.module.Class.attribute``, in its class, a base class, or the protocol of stores."""
    owner, _, attribute = name.rpartition(".")
    module, _, cls = owner.rpartition(".")
    for base in (*getattr(sys.modules.get(module), cls, object).__mro__, Store):
        try:
            texts = ModuleAnalyzer.for_module(written_in(base)).find_attr_docs()
        except PycodeError:  # no source: a built-in
            continue
        if (text := texts.get((base.__qualname__, attribute))) is not None:
            return list(text)
        if isinstance(found := vars(base).get(attribute), property) and found.__doc__ and not found.__doc__.startswith(NO_TEXT):
            return found.__doc__.splitlines()
        told = split(inspect.cleandoc(base.__doc__ or "").split("\n"), [attribute, *inspect.get_annotations(base)]).names
        if (meaning := told.get(attribute)) is not None:
            return [meaning[:1].upper() + meaning[1:]]
    return []


def written_in(cls: type) -> str:
    """The module with the source of a class, which may call itself one of another module."""
    functions = [each for each in vars(cls).values() if isinstance(each, FunctionType) and each.__code__.co_filename != "<string>"]
    return functions[0].__module__ if functions else cls.__module__


def check(_app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
    """Warn of what is described without a word."""
    if domain == "py" and not content.children:
        (described,) = content.parent.children[:1]
        name = described.get("ids", ["?"])[0] if isinstance(described, nodes.Element) else "?"
        if not name.rpartition(".")[2].startswith("test_"):  # the tests of a contract are called by what they hold
            _logger.warning("the %s %s has no text", kind, name, location=content)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process)
    app.connect("object-description-transform", check)
    return {"parallel_read_safe": True}
