"""Docstrings in the reference: attributes as they are written, each with a text.

Napoleon reads an attribute's first line as "type: text" where there is a colon in it; here it is a sentence. An attribute that a class says
nothing of has the text of its base class. What has none is a warning, and so an error of `make docs`.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

from persistable.stores import Store

ATTRIBUTES = ("attribute", "data", "property")
_settings = Config()
_logger = logging.getLogger(__name__)


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText, in place."""
    if what in ATTRIBUTES:
        lines[:] = lines or inherited(name)
    kind = "" if what in ATTRIBUTES else what
    lines[:] = GoogleDocstring(lines, _settings, app, kind, name, thing, options).lines()


def inherited(name: str) -> list[str]:
    """The text that a base class has for an attribute, given as ``package.module.Class.attribute``, or the protocol of stores."""
    owner, _, attribute = name.rpartition(".")
    module, _, cls = owner.rpartition(".")
    for base in (*getattr(sys.modules.get(module), cls, object).__mro__, Store):
        try:
            texts = ModuleAnalyzer.for_module(written_in(base)).find_attr_docs()
        except PycodeError:  # no source: a built-in
            continue
        if (text := texts.get((base.__qualname__, attribute))) is not None:
            return list(text)
        if isinstance(found := vars(base).get(attribute), property) and found.__doc__:
            return found.__doc__.splitlines()
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
