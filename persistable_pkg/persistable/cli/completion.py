"""Completion of commands in a shell: the scripts, and what they ask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from persistable.cli.main import VERBS, function_of
from persistable.cli.parse import Param, params_of

PLACES = {
    "bash": ".local/share/bash-completion/completions/persistable",
    "zsh": ".zsh/completions/_persistable",
    "fish": ".config/fish/completions/persistable.fish",
}
_BASH = """\
_persistable() {
    local IFS=$'\\n'
    COMPREPLY=($(persistable __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _persistable persistable
"""
_ZSH = """\
#compdef persistable
_persistable() {
    local -a verbs found
    verbs=(
%s
    )
    if (( CURRENT == 2 )); then
        _describe verb verbs
    else
        found=(${(f)"$(persistable __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
        if (( $#found )); then compadd -a found; else _files; fi
    fi
}
if [[ ${funcstack[1]} == _persistable ]]; then _persistable "$@"; else compdef _persistable persistable; fi
"""
_FISH = """\
%s
complete -c persistable -n 'not __fish_use_subcommand' \
-a '(persistable __complete (commandline -opc)[2..-1] (commandline -ct | string collect --allow-empty) 2>/dev/null)'
"""


def script(shell: str) -> str:
    """The script for one of `PLACES`."""
    if shell == "zsh":
        return _ZSH % "\n".join(f"        {_quoted(f'{verb.name}:{verb.does}')}" for verb in VERBS)
    if shell == "fish":
        return _FISH % "\n".join(
            f"complete -c persistable -n __fish_use_subcommand -a {verb.name} -d {_quoted(verb.does)}" for verb in VERBS
        )
    return _BASH


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def install(shell: str) -> Path:
    """Write the script to where that shell looks for such; returns the file."""
    file = Path.home() / PLACES[shell]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script(shell), encoding="utf-8")
    return file


def complete(words: Sequence[str]) -> list[str]:
    """Words that may stand for the last of `words`, of which only the beginning is written."""
    *before, begun = words or ("",)
    before, begun = [word for word in before if word != "="], begun.removeprefix("=")  # bash parts --sort=size into three
    if not before:
        known = [verb.name for verb in VERBS]
    else:
        function = function_of(before[0])
        known = [] if function is None else _known(params_of(function), before, begun)
    return [word for word in known if word.startswith(begun)]


def _known(params: list[Param], before: list[str], begun: str) -> list[str]:
    options = {name: param for param in params if not param.is_positional for name in param.names}
    last = options.get(before[-1])
    if last is not None and last.kind is not bool:
        return _values(last, before)
    if begun.startswith("-"):
        return [*options, "--help"]
    others = [param for param in params if param.is_positional]
    number = sum(
        not word.startswith("-") and (options.get(earlier) is None or options[earlier].kind is bool) for earlier, word in pairwise(before)
    )
    here = others[min(number, len(others) - 1)] if others else None
    return [] if here is None or (number >= len(others) and not here.is_many) else _values(here, before)


def _values(param: Param, before: Sequence[str]) -> list[str]:
    if not param.is_target:
        return list(param.choices)
    from persistable.project import Project

    given = [word for earlier, word in pairwise(before) if earlier == "--project"]
    project = Project.load(*given[-1:])
    return [*project.targets, *project.stages]
