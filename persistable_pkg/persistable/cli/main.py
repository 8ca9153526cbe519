"""`persistable`: from the words of a command line to an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from persistable.cli import output

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Carry out one command; returns its exit status. Errors are one message on standard error, or a traceback with ``--debug``."""
    words = list(sys.argv[1:] if words is None else words)
    output.be_tolerant()
    try:
        status = _dispatch(words)
        output.flush()
        return status
    except KeyboardInterrupt:
        _say("interrupted; what was finished is kept")
        return INTERRUPTED
    except BrokenPipeError:
        output.abandon()  # whoever read us has seen enough
        return DONE
    except Exception as error:
        if "--debug" in words:
            raise
        _say(_message(error))
        return _status(error)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        from persistable.cli.verbs import overview

        sys.stdout.write(overview() + "\n")
        return DONE if words else MISUSED
    if words == ["--version"]:
        import persistable

        sys.stdout.write(f"persistable {persistable.__version__}\n")
        return DONE
    from persistable.cli.app import call

    return call(words)


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"persistable: {text}\n")
    except (OSError, ValueError):
        pass  # nobody is there to hear it


def _message(error: BaseException) -> str:
    from persistable.errors import PersistableError
    from persistable.secret import redact

    text = " ".join(str(error).split("\n")) if _is_usage(error) else str(error)
    if not isinstance(error, PersistableError | OSError) and not _is_usage(error):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    return output.printable(redact(text or type(error).__name__), lines=True)


def _status(error: BaseException) -> int:
    from persistable import errors

    misused: tuple[Any, ...] = (
        errors.ParamsError,
        errors.LineageError,
        errors.UnknownMember,
        errors.InvalidName,
        errors.MissingExtra,
        errors.UnknownFormat,
        errors.NotEnforceable,
        errors.Infeasible,
    )
    return MISUSED if _is_usage(error) or isinstance(error, misused) else FAILED


def _is_usage(error: BaseException) -> bool:
    """By name: neither cyclopts nor the project is imported to ask."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"BadUsage", "CycloptsError", "ConfigError"})
