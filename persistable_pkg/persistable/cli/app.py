"""The command line as cyclopts reads it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from persistable.cli.usage import BadUsage, near
from persistable.cli.verbs import VERBS
from persistable.errors import MissingExtra

if TYPE_CHECKING:
    from cyclopts import App


def call(words: list[str]) -> int:
    """Parse `words` and call their verb; returns the exit status. Raises BadUsage and cyclopts' errors for what makes no sense."""
    names = [verb.name for verb in VERBS]
    if words[0] not in names and words[0] != "__complete":
        raise BadUsage(f"there is no verb {words[0]!r}; {near(words[0], names)} `persistable --help` lists all")
    done = application()(words)
    return done if isinstance(done, int) else 0


def application() -> App:
    """All verbs, none of them imported yet. Raises MissingExtra where cyclopts is not installed."""
    try:
        from cyclopts import App
    except ImportError as error:
        raise MissingExtra(
            f"the command line needs {error.name or 'cyclopts'}: {sys.executable} -m pip install 'persistable[cli]'",
            format="",
            package=error.name or "cyclopts",
            extra="cli",
        ) from error
    from persistable import __version__

    app = App(
        name="persistable",
        version=__version__,
        help_format="plaintext",
        help_formatter="plain",
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for verb in VERBS:
        app.command(verb.function, name=verb.name, help=verb.does)
    return app
