"""The words after a verb, taken apart: its function's signature says which there may be, its docstring tells what they mean."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from shutil import get_terminal_size
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from persistable.cli.usage import BadUsage, near

INDENT = " " * 6


class Option(NamedTuple):
    """Beside a type, in `Annotated`. names: the words of an option, unless its name with hyphens. is_target: its value names a target."""

    names: tuple[str, ...] = ()
    is_target: bool = False


@dataclass(frozen=True, eq=False)
class Param:
    """One thing that a verb takes. path: its name, or that of a dataclass and of a field. kind: makes the value of a word; bool: a flag."""

    path: tuple[str, ...]
    names: tuple[str, ...]
    kind: Callable[[str], Any]
    default: Any
    help: str
    is_positional: bool = False
    is_many: bool = False
    is_target: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_needed(self) -> bool:
        """Tell whether the verb makes no sense without it."""
        return self.default is inspect.Parameter.empty and not (self.is_positional and self.is_many)

    def value(self, word: str) -> Any:
        """`word` as the verb takes it. Raises BadUsage."""
        if self.choices and word not in self.choices:
            raise BadUsage(f"{self.names[0]} cannot be {word!r}; {near(word, self.choices)}")
        try:
            return self.kind(word)
        except ValueError:
            raise BadUsage(f"{self.names[0]} cannot be {word!r}; give {_KINDS.get(self.kind, 'another')}") from None


_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


def params_of(function: Callable[..., Any]) -> list[Param]:
    """All that a verb takes, the fields of a dataclass each by itself."""
    told = _told(function)
    hints = get_type_hints(function, include_extras=True)
    found: list[Param] = []
    for each in inspect.signature(function).parameters.values():
        hint = hints[each.name]
        if is_dataclass(hint):
            told_of_fields, inner = _told(hint), get_type_hints(hint, include_extras=True)
            found += [_param((each.name, field.name), inner[field.name], field.default, told_of_fields) for field in fields(hint)]
        else:
            found.append(_param((each.name,), hint, each.default, told, each.kind))
    return found


def _param(path: tuple[str, ...], hint: Any, default: Any, told: dict[str, str], kind: Any = inspect.Parameter.KEYWORD_ONLY) -> Param:
    option, is_many = Option(), kind is inspect.Parameter.VAR_POSITIONAL
    while True:
        if get_origin(hint) is Annotated:
            option = next((each for each in hint.__metadata__ if isinstance(each, Option)), option)
            hint = hint.__origin__
        elif get_origin(hint) in (Union, types.UnionType):
            (hint,) = (each for each in get_args(hint) if each is not types.NoneType)
        elif get_origin(hint) is tuple:
            hint, is_many = get_args(hint)[0], True
        else:
            break
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    is_positional = kind is not inspect.Parameter.KEYWORD_ONLY
    word = path[-1].strip("_").replace("_", "-")
    names = (word.upper(),) if is_positional else option.names or (f"--{word}",)
    kind = str if choices else hint
    return Param(path, names, kind, default, told.get(path[-1], ""), is_positional, is_many, option.is_target, choices)


def _told(thing: Any) -> dict[str, str]:
    """What a docstring says of each param, and under "" what it says of the whole."""
    whole, _, rest = inspect.cleandoc(thing.__doc__ or "").partition("\n\nParameters\n----------\n")
    lines = re.findall(r"^(\w+)\n((?:    .*\n?)+)", rest, re.MULTILINE)
    return {"": whole, **{name: " ".join(text.split()) for name, text in lines}}


def asks_for_help(words: Sequence[str]) -> bool:
    """Tell whether ``--help`` is among the options."""
    before = words[: words.index("--")] if "--" in words else words
    return "--help" in before or "-h" in before


def arguments(verb: str, function: Callable[..., Any], words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """What to call `function` with. Raises BadUsage for words that it does not take."""
    params = params_of(function)
    given, rest = _sorted(verb, {name: param for param in params if not param.is_positional for name in param.names}, words)
    positional = [param for param in params if param.is_positional]
    for param in positional:
        given[param] = [rest.pop(0) for _ in range(len(rest) if param.is_many else min(1, len(rest)))]
    if rest:
        raise BadUsage(f"{rest[0]!r} is too much: {usage(verb, params)}")
    if missing := [param.names[0] for param in params if param.is_needed and not given.get(param)]:
        raise BadUsage(f"{', '.join(missing)} missing: {usage(verb, params)}")
    before = [param.value(word) for param in positional for word in given.pop(param)]
    return before, _by_name(given, function)


def _sorted(verb: str, options: dict[str, Param], words: Sequence[str]) -> tuple[dict[Param, list[Any]], list[str]]:
    """The words of each option that is given, and those of none."""
    given: dict[Param, list[Any]] = {}
    rest: list[str] = []
    coming = iter(words)
    for word in coming:
        if word == "--":
            rest += coming
        elif not word.startswith("-") or word == "-":
            rest.append(word)
        else:
            name, sign, value = word.partition("=")
            param = options.get(name)
            if param is None:
                raise BadUsage(f"persistable {verb} has no option {name}; {near(name, options)}")
            if param in given and not param.is_many:
                raise BadUsage(f"{name} is given twice")
            given.setdefault(param, []).append(_of_option(param, name, value if sign else None, coming, options))
    return given, rest


def _of_option(param: Param, name: str, value: str | None, coming: Iterator[str], options: dict[str, Param]) -> Any:
    if param.kind is bool:
        if value is not None:
            raise BadUsage(f"{name} takes no value")
        return True
    if value is None:
        value = next(coming, None)
        if value is None or value in options:
            raise BadUsage(f"{name} needs a value" + (f"; is it {value}? write {name}={value}" if value else ""))
    return param.value(value)


def _by_name(given: dict[Param, list[Any]], function: Callable[..., Any]) -> dict[str, Any]:
    """Keyword arguments; those for a dataclass as one of it."""
    found: dict[str, Any] = {}
    for param, values in given.items():
        inner = found if len(param.path) == 1 else found.setdefault(param.path[0], {})
        inner[param.path[-1]] = tuple(values) if param.is_many else values[0]
    defaults = inspect.signature(function).parameters
    return {name: type(defaults[name].default)(**value) if isinstance(value, dict) else value for name, value in found.items()}


def usage(verb: str, params: Sequence[Param]) -> str:
    """``persistable diff A B [OPTIONS]``."""
    words = [_shape(param) for param in params if param.is_positional]
    needed = [f"{param.names[0]} {_placeholder(param)}" for param in params if param.is_needed and not param.is_positional]
    return " ".join(["persistable", verb, *words, *needed, "[OPTIONS]"])


def _shape(param: Param) -> str:
    name = param.names[0]
    return f"[{name} ...]" if param.is_many else name if param.is_needed else f"[{name}]"


def _placeholder(param: Param) -> str:
    """The value of an option, in its usage."""
    return "|".join(param.choices) or ("NUMBER" if param.kind in _KINDS else param.path[-1].strip("_").upper())


def help_of(verb: str, function: Callable[..., Any]) -> str:
    """What ``persistable VERB --help`` says."""
    import textwrap

    params = params_of(function)
    width = min(100, get_terminal_size().columns)
    lines = [f"Usage: {usage(verb, params)}", "", textwrap.fill(_told(function)[""], width)]
    for title, is_positional in (("Arguments", True), ("Options", False)):
        those = [param for param in params if param.is_positional is is_positional]
        lines += ["", f"{title}:"] if those else []
        for param in those:
            value = "" if is_positional or param.kind is bool else f" {_placeholder(param)}"
            shown = not is_positional and bool(param.default) and not param.is_needed
            text = param.help + (f" Default: {param.default}." if shown else "")
            lines += [f"  {', '.join(param.names)}{value}", textwrap.fill(text, width, initial_indent=INDENT, subsequent_indent=INDENT)]
    return "\n".join(lines)
