"""`persistable export`, `import` and `view`: write and read bundles, and make a tree of links with readable names."""

from __future__ import annotations

from typing import Any, Literal

from persistable.cli.options import COMMON, CommonOptions, Flag, TargetArgument
from persistable.cli.output import note, progress, write, write_json
from persistable.cli.target import CommandContext, resolve_all
from persistable.cli.usage import BadUsage
from persistable.records.key import Key
from persistable.records.units import size_in_words


def export(
    to: str,
    /,
    *payloads: TargetArgument,
    include: Literal["all", "sources", "none"] = "all",
    anonymous: Flag = False,
    name: str | None = None,
    description: str | None = None,
    author: str | None = None,
    license: str | None = None,  # noqa: A002 - the word of RO-Crate
    common: CommonOptions = COMMON,
) -> int:
    """Write payloads, their records and everything upstream into one zip archive, or a folder to be published.

    Parameters
    ----------
    to
        A path or URL: an archive if it ends in .zip, else a folder.
    payloads
        Targets, members of targets, stages, or keys; without them everything stored.
    include
        All payloads, only the sources (inputs, downloads, and payloads put in by hand), or records alone.
    anonymous
        Leave host, platform, project, untracked params, notes and folders out of the records.
    name
        The title of the export.
    description
        A description of the export.
    author
        The author of the export.
    license
        The URL of its license.
    """
    here = CommandContext(common)
    wanted = _selected(here, payloads) if payloads else None
    about = {"name": name, "description": description, "author": author, "license": license}
    done = here.catalog.export(to, wanted, payloads=include, anonymous=anonymous, progress=progress("exported", size_in_words), **about)
    if common.json:
        counts = {"to": done.to, "records": done.records, "files": done.files, "size": done.size}
        write_json({**counts, "missing": _texts(done.missing), "named": _texts(done.named)})
    else:
        write(repr(done))
        for key in done.missing:
            note(f"not stored, so without its payload: {key}")
    return 1 if done.missing else 0


def _selected(here: CommandContext, words: tuple[str, ...]) -> list[Any]:
    """The nodes or keys that the words name. Raises BadUsage for payloads in another store."""
    found: list[Any] = []
    for word in words:
        for member in resolve_all(here, word)[0]:
            if member.store.url != here.store.url:
                raise BadUsage(f"{word} is kept in {member.store.url}; name that by --store, and export from there")
            found.append(member.key if member.node is None else member.node)
    return found


def import_(source: str, /, *, replace: Flag = False, no_verify: Flag = False, sign: Flag = False, common: CommonOptions = COMMON) -> int:
    """Import everything of a bundle, a published folder or another store into the store. Payloads already there stay.

    Parameters
    ----------
    source
        A path or URL: of a zip archive, a folder, or any other store.
    replace
        Overwrite payloads there that have other bytes.
    no_verify
        Do not read everything once before anything is written; each payload is still verified as it is copied.
    sign
        Sign untrusted records with the key of the store.
    """
    here = CommandContext(common)
    done = here.catalog.import_(source, replace=replace, verify=not no_verify, sign=sign, progress=progress("imported", size_in_words))
    if common.json:
        write_json(
            {"imported": _texts(done.imported), "kept": _texts(done.kept), "conflicts": _texts(done.conflicts), "bare": _texts(done.bare)}
        )
    else:
        write(f"imported {len(done.imported)}, {len(done.kept)} there already")
        for key in done.bare:
            note(f"its record alone, as there is no payload of it: {key}")
        for key in done.conflicts:
            note(f"there with other bytes, so it stays: {key}; --replace takes the new")
    return 1 if done.conflicts else 0


def view(
    folder: str,
    name: str | None = None,
    /,
    *,
    by: str,
    where: str | None = None,
    dry_run: Flag = False,
    common: CommonOptions = COMMON,
) -> int:
    """Make a folder of links to payload files, named after their params. The same command updates it.

    Parameters
    ----------
    folder
        The folder of links: empty, or made by this command.
    name
        Only payloads of this name.
    by
        The path of each link, with params in braces: {alpha}/{upstream.points.n}
    where
        Only those for which this expression is true: n > 50 and seconds > 3
    dry_run
        Show the changes without making them.
    """
    here = CommandContext(common)
    done = here.catalog.view(folder, name, by=by, where=where, dry_run=dry_run)
    if common.json:
        links = {path: str(key) for path, key in done.links.items()}
        counts = {"made": done.made, "kept": done.kept, "removed": done.removed}
        write_json({"folder": str(done.folder), **counts, "missing": _texts(done.missing), "links": links})
    else:
        write(repr(done))
        if not done.links:
            note(f"nothing called {name} is stored in {here.store.url}" if name else f"nothing is stored in {here.store.url}")
    return 1 if done.missing else 0


def _texts(keys: list[Key]) -> list[str]:
    return [str(key) for key in keys]
