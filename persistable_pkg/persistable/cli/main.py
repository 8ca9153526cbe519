"""The verbs of the command line, and the call of one of them from words to exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.cli import output
from persistable.cli.usage import BadUsage, suggestion
from persistable.errors import MissingExtra

if TYPE_CHECKING:
    from cyclopts import App


DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Execute one command and return its exit status. Errors are one message on standard error, or a traceback with ``--debug``."""
    words = list(sys.argv[1:] if words is None else words)
    output.be_tolerant()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            status = _dispatch(words)
        output.flush()
        return status
    except KeyboardInterrupt:
        _say("interrupted; finished payloads are kept")
        return INTERRUPTED
    except BrokenPipeError:
        output.abandon()  # the reader has closed the pipe
        return DONE
    except Exception as error:
        if "--debug" in words:
            raise
        _say(_message(error))
        return _status(error)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        sys.stdout.write(overview() + "\n")
        return DONE if words else MISUSED
    if words == ["--version"]:
        import persistable

        sys.stdout.write(f"persistable {persistable.__version__}\n")
        return DONE
    return call(words)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning without its source line, which is one of this package."""
    from persistable.params.secret import redact

    _say(f"warning: {output.printable(redact(str(message)), lines=True)}")


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"persistable: {text}\n")
    except (OSError, ValueError):
        pass  # standard error is closed


def _message(error: BaseException) -> str:
    from persistable.errors import PersistableError
    from persistable.params.secret import redact

    text = " ".join(str(error).split("\n")) if _is_usage(error) else str(error)
    if isinstance(error, OSError) and not isinstance(error, PersistableError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    if not isinstance(error, PersistableError | OSError) and not _is_usage(error):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    return output.printable(redact(text or type(error).__name__), lines=True)


def _status(error: BaseException) -> int:
    from persistable import errors

    misused: tuple[Any, ...] = (
        errors.ParamsError,
        errors.LineageError,
        errors.UnknownMember,
        errors.UnknownKey,
        errors.InvalidName,
        errors.InvalidQuery,
        errors.MissingExtra,
        errors.UnknownFormat,
        errors.NotEnforceable,
        errors.Infeasible,
    )
    return MISUSED if _is_usage(error) or isinstance(error, misused) else FAILED


def _is_usage(error: BaseException) -> bool:
    """Tell whether an error is about how the command was called, by class name, so that neither cyclopts nor the project is imported."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"BadUsage", "CycloptsError", "ConfigError"})


class Verb(NamedTuple):
    """A verb: its name, the path of its function, and its description in the overview."""

    name: str
    function: str
    does: str


VERBS = (
    Verb("init", "persistable.cli.init:init", "Write a persistable.toml to begin with."),
    Verb("demo", "persistable.cli.init:demo", "Run a small flow on a real data set."),
    Verb("run", "persistable.cli.run:run", "Generate missing payloads of targets and stages."),
    Verb("plan", "persistable.cli.run:plan", "Show what run would do, and why."),
    Verb("status", "persistable.cli.status:status", "Count payloads by name and state."),
    Verb("explain", "persistable.cli.status:explain", "Say why a payload is or is not there, upstream included."),
    Verb("ls", "persistable.cli.ls:ls", "List stored payloads."),
    Verb("show", "persistable.cli.show:show", "Show the record of a stored payload."),
    Verb("cat", "persistable.cli.show:cat", "Write a payload to standard output."),
    Verb("lineage", "persistable.cli.records:lineage", "List everything upstream or downstream of a payload."),
    Verb("diff", "persistable.cli.records:diff", "Show how two stored payloads differ."),
    Verb("reproduce", "persistable.cli.records:reproduce", "Generate a payload again from its record, and compare."),
    Verb("put", "persistable.cli.put:put", "Store a file as the payload of a target."),
    Verb("adopt", "persistable.cli.put:adopt", "Make a file that was made elsewhere the payload of a target."),
    Verb("rename", "persistable.cli.rename:rename", "Show the keys that new names change; with --apply, rename them."),
    Verb("accept", "persistable.cli.accept:accept", "Record that a change of code does not matter."),
    Verb("rm", "persistable.cli.rm:rm", "Remove payloads."),
    Verb("cp", "persistable.cli.cp:cp", "Copy payloads to another store."),
    Verb("gc", "persistable.cli.gc:gc", "Show removable payloads; with --apply, move them to the trash."),
    Verb("restore", "persistable.cli.gc:restore", "Restore payloads from the trash."),
    Verb("pin", "persistable.cli.pin:pin", "Protect a payload from being cleaned up."),
    Verb("verify", "persistable.cli.verify:verify", "Read everything and compare it with its records."),
    Verb("export", "persistable.cli.share:export", "Write payloads with records and lineage into a zip archive or a folder."),
    Verb("import", "persistable.cli.share:import_", "Import exported payloads."),
    Verb("view", "persistable.cli.share:view", "Make a folder of links with readable names."),
    Verb("rebuild", "persistable.cli.records:rebuild", "Make the index of the records anew."),
    Verb("keys", "persistable.cli.keys:keys", "Write down the keys of targets, or check that none moved."),
    Verb("serve", "persistable.cli.serve:serve", "Show stored payloads in a browser on this machine."),
    Verb("graph", "persistable.cli.graph:graph", "Draw the lineage of targets."),
    Verb("completion", "persistable.cli.init:completion", "Write a script that completes commands in a shell."),
)


def overview() -> str:
    """The help of the command itself."""
    width = max(len(verb.name) for verb in VERBS)
    lines = [
        "Usage: persistable VERB [ARGUMENTS] [OPTIONS]",
        "",
        "Name a result by what it came from; compute it once, load it ever after.",
        "",
        *(f"  {verb.name:<{width}}  {verb.does}" for verb in VERBS),
        "",
        "Targets and stages are those of the nearest persistable.toml. TARGET[label] is a member of a family or workspace,",
        "WORKSPACE[id].node a node in it, module:object something outside a project, and name/digest, or the beginning of a",
        "digest, a stored payload.",
        "",
        "persistable VERB --help tells more. Exit status: 0 done, 1 something failed, 2 the command makes no sense.",
    ]
    return "\n".join(lines)


def call(words: list[str]) -> int:
    """Parse `words`, call their verb, and return the exit status. Raises BadUsage and cyclopts' errors for invalid words."""
    names = [verb.name for verb in VERBS]
    if words[0] not in names and words[0] != "__complete":
        raise BadUsage(f"there is no verb {words[0]!r}; {suggestion(words[0], names)}; `persistable --help` lists all")
    done = application(words[0] if words[0] in names else "")(words)
    return done if isinstance(done, int) else 0


def application(verb: str = "") -> App:
    """The application of all verbs, or of one; none is imported yet. Raises MissingExtra if cyclopts is not installed."""
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
    for each in VERBS:
        if verb in ("", each.name):
            app.command(each.function, name=each.name, help=each.does)
    return app
