"""The text of a script: a Jinja2 template with known names only, and with every value quoted for the shell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any, cast

from persistable.errors import ParamsError, UnknownParam, need
from persistable.nodes.command.quoting import MARK, mark, written
from persistable.params.building import nearest


class Raw(str):
    """Text that goes into the script unquoted; also the filter ``raw``, which converts any value to it."""

    __slots__ = ()


class Script:
    """A template, parsed. Raises ParamsError if the text is not a template."""

    def __init__(self, template: str) -> None:
        if "\0" in template:
            raise ParamsError("the template of Command contains a zero byte, which no shell takes; leave it out")
        self._jinja: Any = need("jinja2", "jinja2", "command", "Command")
        self._text = template
        self._values: list[Any] = []
        # ${#array[@]} is a shell's way to count, so comments are {## ... ##}
        self._environment: Any = self._jinja.Environment(
            undefined=self._jinja.StrictUndefined,
            finalize=self._marked,
            keep_trailing_newline=True,
            comment_start_string="{##",
            comment_end_string="##}",
        )
        self._environment.filters.update(raw=Raw, tojson=partial(json.dumps, default=str))
        from jinja2 import meta

        try:
            names = meta.find_undeclared_variables(self._environment.parse(template))
        except self._jinja.TemplateError as error:
            raise ParamsError(f"the template of Command is no Jinja2 template: {error}\n{_shown(template)}") from error
        self.names = names - set(self._environment.globals)
        """The names that the template uses."""

    def check(self, known: Iterable[str]) -> None:
        """Raise UnknownParam, with the name, if the template uses a name that is not in `known`."""
        available = sorted(known)
        unknown = sorted(self.names.difference(available))
        if not unknown:
            return
        near = nearest(unknown[0], available)
        hint = f"did you mean {near}? " if near is not None else ""
        raise UnknownParam(
            f"the template of Command uses {', '.join(unknown)}, which {'is' if len(unknown) == 1 else 'are'} not given; {hint}"
            f"known are {', '.join(available)}; give {unknown[0]}=..., a value or a node",
            name=unknown[0],
            accepted=available,
        )

    def render(self, values: Mapping[str, Any]) -> str:
        """Render the script. Raises ParamsError for a value that has no form in a shell, is where a shell may run it, or is missing."""
        self._values = []  # also of constants, which are marked when the template is compiled
        try:
            text: str = self._environment.from_string(self._text).render(values)
        except (self._jinja.TemplateError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ParamsError(f"the template of Command cannot be filled in: {error}\n{_shown(self._text)}") from error
        return written(text, self._values)

    def _marked(self, value: Any) -> Any:
        """The mark of `value`, to be replaced once the whole script is rendered and shows its position."""
        if isinstance(value, Raw):
            return _without_zero(self._unmarked(str(value)))
        if isinstance(value, str | int | float | PurePath):
            plain = value if isinstance(value, int | float) else _without_zero(self._unmarked(str(value)))
            self._values.append(plain)
            return mark(len(self._values) - 1)
        if isinstance(value, list | tuple):
            return " ".join([self._marked(item) for item in cast("Iterable[Any]", value)])
        if type(value).__name__ == "StrictUndefined":
            return value  # raises, with its name, when it is rendered
        if value is None:
            raise ValueError("None has no form in a shell; write {{ x or '' }}, or {% if x is not none %}")
        if hasattr(value, "item") and not getattr(value, "shape", ()):  # a numpy scalar
            return self._marked(value.item())
        raise TypeError(f"a {type(value).__name__} has no form in a shell; name a part of it, or write {{{{ x | tojson }}}}")

    def _unmarked(self, text: str) -> str:
        """`text` with marks replaced by their values: the output of a block or macro may be a value in its turn."""
        return MARK.sub(lambda found: str(self._values[int(found[1])]) if int(found[1]) < len(self._values) else found[0], text)


def _without_zero(text: str) -> str:
    if "\0" in text:
        raise ValueError("a value contains a zero byte, which no shell takes; leave it out")
    return text


def _shown(template: str) -> str:
    lines = template.strip().splitlines()
    return "\n".join([*lines[:12], "..."] if len(lines) > 12 else lines)
