"""`persistable rename`: rename payloads, params and classes in stored records."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from persistable.catalog.evolve.renaming import RenameResult, Renaming, in_words, why
from persistable.cli.options import COMMON, CommonOptions, Flag, Texts
from persistable.cli.output import Column, note, progress, table, write, write_json
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage, as_bad_usage
from persistable.errors import UnknownKey

_SHOWN = 20


def rename(
    name: str | None = None,
    /,
    *,
    to: str | None = None,
    param: Texts = (),
    class_: Annotated[Texts, Parameter(name="--class")] = (),
    where: str | None = None,
    undo: str | None = None,
    apply: Flag = False,
    common: CommonOptions = COMMON,
) -> int:
    """Show the keys that a renaming of payloads, params or classes would change; with --apply, do it.

    Keys downstream change with them. Payloads are not read.

    Parameters
    ----------
    name
        Only payloads of this name.
    to
        Their new name.
    param
        A param and its new name: n_rows=size, optimizer.rate=optimizer.lr. May be given several times.
    class_
        A class named in params or records, and its new name or path: Svm=SupportVectors, old.module:Svm=new.module:Svm,
        old.module:=new.module: May be given several times.
    where
        Only those for which this expression is true: n_rows > 50 and seconds > 3
    undo
        Instead of all these, the stamp of a renaming to undo.
    apply
        Do it.
    """
    catalog = CommandContext(common).catalog
    if undo is not None and (name or to or param or class_ or where):
        raise BadUsage("--undo takes no other option than --apply: it gives everything its old key back")
    if to is not None and name is None:
        raise BadUsage(f"--to {to} needs the name that payloads have now: persistable rename OLD --to {to}")
    with as_bad_usage(UnknownKey, ValueError):
        if undo is not None:
            planned = catalog.rename(undo=undo)
        else:
            planned = catalog.rename(
                name if to is None else None,
                name=None if to is None or name is None else (name, to),
                params=_pairs(param, "param"),
                classes=_pairs(class_, "class"),
                where=where,
            )
    if not apply:
        _show(planned, common)
        return 0
    done = planned.apply(progress("renamed"))
    _answer(done, common)
    return 1 if done.left else 0


def _pairs(words: tuple[str, ...], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        old, sign, new = word.partition("=")
        if not (old and sign and new):
            raise BadUsage(f"--{option} {word}: give the old and the new one, as in --{option} old=new")
        found[old] = new
    return found


def _show(planned: Renaming, common: CommonOptions) -> None:
    if common.json:
        left = [{"key": str(each.key), "why": each.why} for each in planned.left]
        rows = [_row(move.old, move.new, follows=move.follows) for move in planned]
        write_json({"would_rename": rows, "left": left, "renamed": [], "stamp": None})
        return
    if planned:
        cells = [(move.label, f"{move.old.name}/{move.old.digest[:8]}", _new(move.old, move.new)) for move in planned[:_SHOWN]]
        table([Column("payload", long=True), Column("key"), Column("new key")], cells)
        if len(planned) > _SHOWN:
            note(f"and {len(planned) - _SHOWN} more")
    write(in_words(planned))
    for line in why(planned.left):
        note(line)
    if planned:
        note("nothing was touched; --apply does it")


def _new(old: Any, new: Any) -> str:
    return "the same" if old == new else f"{new.name}/{new.digest[:8]}"


def _row(old: Any, new: Any, **more: Any) -> dict[str, Any]:
    return {"key": str(old), "new_key": str(new), **more}


def _answer(done: RenameResult, common: CommonOptions) -> None:
    if common.json:
        left = [{"key": str(each.key), "why": each.why} for each in done.left]
        write_json({"renamed": [_row(*pair) for pair in done.moved], "left": left, "stamp": done.stamp or None})
        return
    undo = f"; `persistable rename --undo {done.stamp} --apply` undoes it" if done.stamp else ""
    write(f"renamed {len(done.moved)}{undo}")
    for each in done.left:
        note(f"stays: {each.key}: {each.why}")
