"""Quoting of values by their position in a shell script, so that each arrives unchanged and is never run.

The script is parsed as a shell parses quoting. A value in the position of a word is written in single quotes. Inside quotes,
here-documents, backticks, ``${...}``, ``[[ ]]``, arithmetic, or after a command that evaluates its arguments, the effect of a value
depends on its content, so it is refused there, unless it is a number. It is also refused where the parse is not certain.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from persistable.errors import ParamsError

_OWN = os.urandom(8).hex()  # random, so that no value can contain a mark
MARK = re.compile(f"\0{_OWN}:([0-9]+)\0")
"""The mark of a value in the text, with the number of the value."""


def mark(number: int) -> str:
    """The placeholder in the text for the value of this number, until its position in the script is known."""
    return f"\0{_OWN}:{number}\0"


class _Construct(NamedTuple):
    """An open construct: the text that closes it, and the reason to refuse values directly in it ("" if they are allowed)."""

    end: str
    refused: str


_TOP = _Construct("", "")
_SUBSTITUTION = _Construct(")", "")
_DOUBLE = _Construct('"', "inside double quotes")
_BRACES = _Construct("}", "inside ${...}")
_ARITHMETIC = _Construct(")", "inside arithmetic")
_OLD_ARITHMETIC = _Construct("]", "inside arithmetic")
_TEST = _Construct("]]", "inside [[ ]], which may evaluate it")
_INERT = re.compile(r"[^\\'\"`$#<()\[\]{};&|\s\0]+")
_INERT_IN_DOUBLE = re.compile(r'[^\\"`$\0]+')
_BLANK = " \t"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# words in front of a command
_OPENING = _set("if then else elif do while until time ! { command builtin exec nohup env sudo coproc")
_EVALUATES = _set("eval let unset read getopts mapfile readarray trap alias integer")
_DECLARES = _set("declare typeset local readonly export")
_SUBSCRIPT = re.compile(r"\w*\[[^\]]*")


def written(text: str, values: Sequence[Any]) -> str:
    """`text` with the values in the places of their marks. Raises ParamsError for a value in a place where it could be run."""
    return _Reading(text, values).script()


class _Reading:
    def __init__(self, text: str, values: Sequence[Any]) -> None:
        self._text = text
        self._values = values
        self._at = 0
        self._out: list[str] = []
        self._around = [_TOP]
        self._documents: list[tuple[str, bool, bool]] = []  # delimiter, whether it was quoted, whether tabs are stripped
        self._unsure = ""
        self._word = ""
        self._words: list[str] = []  # of the simple command so far
        self._outer: list[tuple[str, list[str]]] = []  # word and words of the commands around each open parenthesis

    def script(self) -> str:
        while self._at < len(self._text):
            self._next()
        return "".join(self._out)

    # moving on

    def _take(self, length: int, word: bool = True) -> str:
        taken = self._text[self._at : self._at + length]
        self._at += len(taken)
        self._out.append(taken)
        if word:
            self._word += taken
        return taken

    def _starts(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _open(self, around: _Construct, length: int) -> None:
        self._take(length)
        self._around.append(around)
        if around.end == ")":
            self._outer.append((self._word, self._words))
            self._word, self._words = "", []

    def _close(self) -> None:
        if self._around.pop().end == ")":
            self._end_command()
            if self._documents:
                self._unsure = "after a here-document in parentheses"
            self._word, self._words = self._outer.pop()

    def _end_word(self) -> None:
        if self._word:
            self._words.append(self._word)
            if len(self._words) == 1 and (self._word in _OPENING or re.fullmatch(r"\w+=.*", self._word, re.DOTALL)):
                self._words = []  # the command follows
            if self._word == "case" and any(each.end == ")" for each in self._around):
                self._unsure = "after a `case` inside parentheses"
            self._word = ""

    def _end_command(self) -> None:
        self._end_word()
        self._words = []

    def _next(self) -> None:
        here, double = self._text[self._at], self._around[-1] is _DOUBLE
        inert = (_INERT_IN_DOUBLE if double else _INERT).match(self._text, self._at)
        if inert is not None:
            self._take(len(inert[0]))
        elif here == "\0":
            self._value()
        elif here == "\\":
            self._escape()
        elif here == "`":
            self._backticks()
        elif here == "$":
            self._dollar()
        elif here == '"' and double:
            self._take(1)
            self._close()
        elif here == '"':
            self._nested_quote()
            self._open(_DOUBLE, 1)
        elif here == "'":
            self._single()
        elif here == "#" and not self._word and self._around[-1].end not in ("}", "]"):
            self._comment()
        elif here in "\n;&|" or here in _BLANK:
            self._separator(here)
        elif here == "<" and self._starts("<<") and not self._starts("<<<") and self._around[-1].refused != _ARITHMETIC.refused:
            self._document()
        else:
            self._bracket(here)

    def _separator(self, here: str) -> None:
        if self._around[-1].end in ("}", "]"):
            self._take(1)
        elif here in _BLANK:
            self._end_word()
            self._take(1, word=False)
        elif here == "\n" and self._documents:
            self._end_command()
            self._take(1, word=False)
            self._bodies()
        else:
            if self._around[-1] is not _TEST:
                self._end_command()
            self._take(1, word=False)

    def _bracket(self, here: str) -> None:
        if here == "(":
            arithmetic = self._starts("((") or self._around[-1].refused == _ARITHMETIC.refused
            self._open(_ARITHMETIC if arithmetic else _SUBSTITUTION, 1)
        elif here == self._around[-1].end:
            self._take(1, word=here != ")")
            self._close()
            if here == ")" and self._starts("#"):
                self._unsure = "after a # behind a parenthesis, which shells read differently"
        elif here == ")":  # of a `case`
            self._end_command()
            self._take(1, word=False)
        elif here == "<" and self._starts("<<<"):
            self._end_word()
            self._take(3, word=False)
        elif self._starts("[[") and not self._word and self._text[self._at + 2 : self._at + 3].isspace():
            self._open(_TEST, 2)
        elif self._starts("]]") and not self._word and self._around[-1] is _TEST:
            self._take(2)
            self._close()
        else:
            self._take(1, word=here not in "<>")

    def _escape(self) -> None:
        if self._text[self._at + 1 : self._at + 2] == "\0":
            self._refuse("behind a backslash")
        joined = self._starts("\\\n")
        self._take(2, word=not joined)

    def _single(self) -> None:
        self._nested_quote()
        self._through(r"'[^']*'?", "inside single quotes")

    def _ansi(self) -> None:
        """``$'...'``, which is one string to bash and a dollar sign and a string to others."""
        self._nested_quote()
        start = self._at
        self._through(r"\$'(?:[^'\\]|\\.)*\\?'?", "inside $'...'")
        if "\\'" in self._text[start : self._at]:
            self._unsure = "after a $'...' that shells read differently"

    def _through(self, pattern: str, where: str) -> None:
        """Go on to the end of the match of `pattern` here, and refuse values inside it."""
        found = re.compile(pattern, re.DOTALL).match(self._text, self._at)
        assert found is not None
        self._until(found.end(), where)

    def _until(self, end: int, where: str, word: bool = True) -> None:
        while self._at < end:
            mark = self._text.find("\0", self._at, end)
            self._take((end if mark < 0 else mark) - self._at, word)
            if mark >= 0:
                self._value(where)

    def _nested_quote(self) -> None:
        if self._around[-1] is _BRACES and _DOUBLE in self._around:
            self._unsure = "after quotes inside a quoted ${...}, which shells read differently"

    def _backticks(self) -> None:
        self._through(r"`(?:[^`\\]|\\.)*\\?`?", "inside backticks; write $(...) for them")

    def _dollar(self) -> None:
        double = self._around[-1] is _DOUBLE
        if self._starts("$\0"):
            self._refuse("behind a dollar sign")
            self._take(1)
        elif self._starts("$(("):
            self._take(1)
            self._open(_ARITHMETIC, 1)
        elif self._starts("$("):
            self._open(_SUBSTITUTION, 2)
        elif self._starts("${"):
            self._open(_BRACES, 2)
        elif self._starts("$["):
            self._open(_OLD_ARITHMETIC, 2)
        elif self._starts("$'") and not double:
            self._ansi()
        else:
            self._take(2 if self._starts("$#") or self._starts("$$") else 1)

    def _comment(self) -> None:
        while self._at < len(self._text) and not self._starts("\n"):
            if self._starts("\0"):
                self._value_in_comment()
            else:
                self._take(1, word=False)

    # here-documents

    def _document(self) -> None:
        self._end_word()
        found = re.compile(r"<<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n]*\"|\\.|[^\s;&|<>()'\"\\])+)").match(self._text, self._at)
        if found is None or "\0" in found[0]:
            self._unsure = "in or after a here-document whose end cannot be told"
            self._take(2, word=False)
            return
        delimiter = re.sub(r"\\(.)|['\"]", r"\1", found[2])
        self._documents.append((delimiter, delimiter != found[2], bool(found[1])))
        self._take(len(found[0]), word=False)

    def _bodies(self) -> None:
        for delimiter, quoted, strip in self._documents:
            joined = False
            while self._at < len(self._text):
                end = self._text.find("\n", self._at)
                line = self._text[self._at : end if end >= 0 else len(self._text)]
                until = self._at + len(line)
                last = not joined and (line.lstrip("\t") if strip else line) == delimiter
                self._until(until, "inside a here-document; write it to a file with printf, or give <<< {{ x }}", word=False)
                self._take(1, word=False)
                if last:
                    break
                joined = not quoted and (len(line) - len(line.rstrip("\\"))) % 2 == 1
        self._documents = []

    # values

    def _value(self, where: str = "") -> None:
        value = self._marked()
        refused = where or self._unsure or next((each.refused for each in reversed(self._around) if self._shows(each)), "")
        refused = refused or self._evaluated()
        if refused and not _is_number(value):
            self._refuse(refused)
        follows = self._text[self._at : self._at + 1]
        plain = _is_number(value) and (refused or not (follows and follows in "<>"))
        self._out.append(_text(value) if plain else _single_quoted(_text(value)))
        self._word += "\0"

    def _shows(self, around: _Construct) -> bool:
        """Tell whether `around` refuses values at this place: double quotes do so only if they are the innermost open construct."""
        return around.refused != "" and (around is not _DOUBLE or around is self._around[-1])

    def _value_in_comment(self) -> None:
        value = self._marked()
        if re.search(r"[\n\r]", _text(value)):
            self._refuse("inside a comment, which its second line would leave")
        self._out.append(_text(value))

    def _marked(self) -> Any:
        found = MARK.match(self._text, self._at)
        if found is None or int(found[1]) >= len(self._values):
            raise ParamsError("a value of Command contains a zero byte, which no shell takes; leave it out")
        self._at = found.end()
        return self._values[int(found[1])]

    def _evaluated(self) -> str:
        """The reason to refuse a value here if the current command evaluates its arguments, else ""."""
        command = self._words[0] if self._words else ""
        if command in _EVALUATES:
            return f"behind `{command}`, which evaluates it"
        if command in _DECLARES and (not self._word or any(re.fullmatch(r"[-+]\w*[in]\w*", word) for word in self._words)):
            return f"behind `{command}`, which evaluates it"
        if command in ("[", "test", "printf") and self._words[-1] in ("-v", "-R"):
            return f"behind `{command} {self._words[-1]}`, which evaluates it"
        if _SUBSCRIPT.fullmatch(self._word) and not (self._word == "[" and self._words):
            return "inside the subscript of an array, which is evaluated"
        return ""

    def _refuse(self, where: str) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        raise ParamsError(
            f"line {line} of the template of Command has a value {where}, where a shell may run what is in it; values are quoted by "
            "themselves, so let it stand as a word: close the quotes before it and open them again behind it, or put it into a variable "
            'first (x={{ x }}, then "$x"). A value that is a piece of script on purpose is written {{ x | raw }}'
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _text(value: Any) -> str:
    return str(value)


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
