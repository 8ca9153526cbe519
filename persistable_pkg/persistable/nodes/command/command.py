"""`Command`: a shell script whose output is a payload."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast, overload

from persistable.errors import CommandFailed, ParamsError, UnknownParam
from persistable.fileio.base import FileIO
from persistable.nodes.command.outputs import Outputs
from persistable.nodes.command.process import run
from persistable.nodes.command.template import Script
from persistable.nodes.compose import Open
from persistable.nodes.construction import Construction, RecordedFacts, collection, grouped, set_given
from persistable.nodes.lineage import holds_nodes, nodes_in, replace_nodes
from persistable.nodes.loading import format_of
from persistable.nodes.node import Persistable
from persistable.nodes.types import Node
from persistable.params.credentials import credential_names, find_script_credential, is_credential
from persistable.params.fields import omit_when, untracked
from persistable.params.secret import Secret, redact
from persistable.records.files import ExistingFile, verified_local_path
from persistable.records.record_access import find_record

if TYPE_CHECKING:
    from persistable.executors.resources import Resources, Retry
    from persistable.stores.base import Store

PayloadT = TypeVar("PayloadT")
KEPT = 64 << 10
"""The limit, in characters, on the end of stdout, and of stderr, that a record keeps."""
_INHERITED = re.compile(r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|LD_LIBRARY_PATH|DYLD_\w+|SSL_CERT_\w+|VIRTUAL_ENV|CONDA_\w+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPEN = ("input", "inputs")


@dataclass(frozen=True)
class CommandParams:
    """The script, which is identity, and the options of its execution, which are not. Built by `Command`, which documents each field."""

    template: str
    values: Annotated[dict[str, Any], omit_when({})] = field(default_factory=dict[str, Any])
    outputs: Annotated[Any, omit_when(None)] = None
    env: Annotated[dict[str, str], omit_when({})] = field(default_factory=dict[str, str])
    secrets: Annotated[dict[str, Secret], untracked] = field(default_factory=dict[str, Secret])
    inherited: Annotated[tuple[str, ...], untracked] = ()
    shell: Annotated[str, untracked] = "/bin/bash"
    cwd: Annotated[str | None, untracked] = None


class Command(Persistable[PayloadT, CommandParams]):
    """A shell script as a node: ``Command("sort {{ text }} | head -n {{ n }} > {{ output }}", text=node, n=10)``.

    `template` is Jinja2 over the values and nodes given by keyword, and ``output``. A node renders as the path of its payload's file (of
    the folder, for formats of several files), a list of nodes as their paths, ``output`` as the path that the script must write its
    result to, ``output.name`` as that of one of several. If the script does not use it, its stdout is the result. All values are
    quoted for the shell, unless written ``{{ x | raw }}``. Unknown names raise here.
    ``input``, or ``inputs`` for any number, may be left open: ``node >> Command("wc -l < {{ input }} > {{ output }}")``.

    The script runs in a private folder, in its own process group, and ends at the first command that fails (``set -eu -o pipefail``).
    The whole group is killed when the generation is interrupted or the process that runs it dies. Its exit status and the ends of its
    stdout and stderr are kept in ``record.notes``, of the payload's record or the failure's.

    Identity is the template, values, upstream, outputs and the variables in `env`, without secrets.

    Parameters:
        outputs: None for one file, a file name such as ``"table.csv"``, ``"folder"``, or a mapping of names to any of these.
        io: the format of the output: a FileIO, or one per name. Default: that of the suffix of the file name, else bytes.
        env: further variables. A `Secret` is revealed to the script only; None passes on the value in this process.
            Of the other variables the script sees PATH, HOME, the user, the language, and the like.
        shell: another shell, by path or name.
        cwd: a folder to run in instead of the private one.
        persist: False for a side effect, performed at each run and never stored.
        retry, resources, version: default to those of the class. payload_name: as for any node.

    The constructor raises UnknownParam, ParamsError; generation raises CommandFailed. Needs ``persistable[command]``.
    """

    __module__ = "persistable"  # records keep this name, so it must not change if the class moves
    _node_by_payload = True
    params: CommandParams

    @overload
    def __init__(
        self: Command[dict[str, Any]],
        template: str,
        *,
        outputs: Mapping[str, Any],
        io: Mapping[str, FileIO[Any]] | None = None,
        **inputs_and_params: Any,
    ) -> None: ...

    @overload
    def __init__(self, template: str, *, outputs: str | None = None, io: FileIO[PayloadT], **inputs_and_params: Any) -> None: ...

    @overload
    def __init__(self: Command[bytes], template: str, *, outputs: None = None, io: None = None, **inputs_and_params: Any) -> None: ...

    @overload
    def __init__(self: Command[Any], template: str, *, outputs: str, io: None = None, **inputs_and_params: Any) -> None: ...

    def __init__(
        self,
        template: str,
        *,
        outputs: Any = None,
        io: Any = None,
        env: Mapping[str, str | Secret | None] | None = None,
        shell: str = "/bin/bash",
        cwd: str | os.PathLike[str] | None = None,
        persist: bool = True,
        retry: Retry | None = None,
        resources: Resources | None = None,
        version: Any = None,
        persist_data_dir: str | os.PathLike[str] | Store | None = None,
        data_dir: str | os.PathLike[str] | Store | None = None,
        payload_name: str | None = None,
        verbose: bool = False,
        logger: Any = None,
        **inputs_and_params: Any,
    ) -> None:
        if not isinstance(template, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Command takes the script as a string, not {type(template).__name__}")
        nodes, values = _sorted(inputs_and_params)
        _check_credentials(template, values)
        self._outputs = Outputs(outputs, io)
        script = Script(template)
        self._node_open = tuple([name for name in _OPEN if name in script.names and name not in inputs_and_params])
        script.check({*nodes, *values, *self._node_open, "output"})
        self._uses_stdout = outputs is None and "output" not in script.names
        if outputs is not None and "output" not in script.names:
            raise ParamsError(f"outputs of Command is {outputs!r}, but the template puts nothing there: it does not use output")
        unused = sorted(values.keys() - script.names)
        if unused:
            raise UnknownParam(
                f"the template of Command does not use {', '.join(unused)}; it uses {', '.join(sorted(script.names)) or 'no name at all'}",
                name=unused[0],
                accepted=sorted(script.names),
            )
        stand_ins = replace_nodes(nodes, lambda _: Path("/upstream"))
        script.render(
            {**values, **stand_ins, **dict.fromkeys(self._node_open, Path("/upstream")), "output": self._outputs.paths(Path("/output"))}
        )
        plain, secrets, inherited = _environment(env or {})
        self.__dict__["is_persisted"] = persist  # of this node, not of the class
        set_given(self, retry=retry, resources=resources, version=version)
        super().__init__(
            params=CommandParams(template, values, self._outputs.spec(), plain, secrets, inherited, shell, _absolute(cwd)),
            persist_data_dir=persist_data_dir,
            data_dir=data_dir,
            payload_name=payload_name,
            payload_io=self._outputs.io,
            verbose=verbose,
            logger=logger,
            **nodes,
        )

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        params: CommandParams = recorded.params
        outputs, io = _outputs_of(params.outputs, recorded.format)
        env = {**params.env, **params.secrets, **dict.fromkeys(params.inherited)}
        options = {"outputs": outputs, "io": io, "env": env or None, "cwd": params.cwd}
        options |= {"shell": params.shell} if params.shell != "/bin/bash" else {}
        options |= {"version": recorded.version} if recorded.version != 1 else {}
        options |= {"payload_name": recorded.name} if recorded.name != "command" else {}
        nodes = {name: collection(value) for name, value in grouped(recorded.upstream).items()}
        given = {name: value for name, value in options.items() if value is not None}
        return Construction("persistable:Command", (params.template,), {**params.values, **nodes, **given})

    def replace(self, **changes: Any) -> Self:
        values = {name: changes.pop(name) for name in list(changes) if name in self.params.values}
        return super().replace(**({"values": {**self.params.values, **values}} if values else {}), **changes)

    def _node_identify(self) -> None:
        if not self._node_open:
            super()._node_identify()

    def _node_open_inputs(self) -> list[Open]:
        return [Open(name, int(name == "inputs")) for name in self._node_open]

    def _generate_payload(self, **_: Any) -> Any:
        running = self._node_running("scratch")
        scratch = self.scratch
        if running.claim is not None:  # without a claim, another process may be running the same script
            for left in scratch.glob("run-*"):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=scratch))
        try:
            return ExistingFile(self._run(folder, running))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _run(self, folder: Path, running: Any) -> Path:
        params = self.params
        for name in ("inputs", "work", "tmp"):
            (folder / name).mkdir()
        self._outputs.prepare(folder / "outputs")
        given = replace_nodes({name: self.__dict__[name] for name in self._inputs()}, partial(_file_of, running, folder / "inputs"))
        text = Script(params.template).render({**params.values, **given, "output": self._outputs.paths(folder / "outputs")})
        (folder / "script").write_text(text, encoding="utf-8", errors="surrogateescape")
        untouched = _stamps(given)
        exitcode = run(
            [*_shell(params.shell), str(folder / "script")],
            Path(params.cwd) if params.cwd else folder / "work",
            self._environment(folder / "tmp"),
            folder / "stdout",
            folder / "stderr",
        )
        output_ends = {
            name: _end_of(folder / name) for name in ("stdout", "stderr") if exitcode or name == "stderr" or not self._uses_stdout
        }
        running.notes.update({"exitcode": exitcode, **output_ends})
        for name, text in output_ends.items():
            running.add_subprocess_output(name, text)
        if exitcode != 0:
            raise _failed(exitcode, output_ends["stdout"], output_ends["stderr"], params.shell)
        if _stamps(given) != untouched:
            raise CommandFailed(
                "the script wrote into one of its inputs, which is stored and belongs to others: that payload is corrupt now and will be "
                "generated again; copy an input before changing it",
                exitcode=exitcode,
                **output_ends,
            )
        return folder / "stdout" if self._uses_stdout else self._outputs.collect(folder / "outputs")

    def _inputs(self) -> list[str]:
        """The names of the keywords with nodes."""
        return list(dict.fromkeys(role.partition(".")[0] for role in self._node_upstream))

    def _environment(self, temporary: Path) -> dict[str, str]:
        found = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name) or name in self.params.inherited}
        secrets = {name: secret.reveal() for name, secret in self.params.secrets.items()}
        return {**found, "TMPDIR": str(temporary), **self.params.env, **secrets}


def _outputs_of(spec: Any, format_of: Any) -> tuple[Any, Any]:
    """The arguments `outputs` and `io` whose form in the params is `spec`."""
    if spec is None:
        return None, None
    if isinstance(spec, list):
        named: list[Any] = spec  # pyright: ignore[reportUnknownVariableType] - of a name and a dict, as `Outputs.spec` made it
        return named[0], format_of(named[1])
    parts = cast("dict[str, list[Any]]", spec)
    return {name: file for name, (file, _) in parts.items()}, {name: format_of(io) for name, (_, io) in parts.items()}


def _absolute(folder: str | os.PathLike[str] | None) -> str | None:
    return None if folder is None else os.path.abspath(os.path.expanduser(folder))


def _sorted(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the keyword arguments into nodes (also in lists and dicts) and values. Raises UnknownParam, ParamsError."""
    nodes: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name == "output":
            raise UnknownParam("output is where the script puts its result, and cannot be given; see outputs=", name=name, accepted=[])
        if isinstance(value, Secret):
            raise ParamsError(f"{name} of Command is a Secret, which scripts get by their environment: env={{{name.upper()!r}: {value!r}}}")
        (nodes if holds_nodes(value) else values)[name] = value
    return nodes, values


def _check_credentials(template: str, values: dict[str, Any]) -> None:
    """Raise ParamsError for a credential in plain text: the template and the values are identity, so records would show it."""
    found = find_script_credential(template)
    if found is None:
        name = next(credential_names(values), None)
        found = f"{name}=..." if name is not None else None
    if found is not None:
        raise ParamsError(
            f"{found} given to Command is a credential in plain text, which keys, records and logs would show; put it into an environment "
            "variable, pass env={'NAME': Secret('NAME')}, and write \"$NAME\" in the script"
        )


def _environment(env: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Secret], tuple[str, ...]]:
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            raise ParamsError(f"{name!r} in env of Command cannot be the name of an environment variable")
        if not isinstance(value, str | Secret | None):
            raise TypeError(
                f"env[{name!r}] of Command is a {type(value).__name__}; give a string, a Secret, or None to pass on what is set"
            )
        if isinstance(value, str) and is_credential(name, value):
            raise ParamsError(
                f"env[{name!r}] of Command is plain text, which records would show; put it into an environment variable "
                "and pass Secret('NAME')"
            )
    return (
        {name: value for name, value in env.items() if isinstance(value, str)},
        {name: value for name, value in env.items() if isinstance(value, Secret)},
        tuple([name for name, value in env.items() if value is None]),
    )


def _shell(shell: str) -> list[str]:
    pipes = ["-o", "pipefail"] if os.path.basename(shell) in ("bash", "zsh", "ksh") else []
    return [shell, "-eu", *pipes]


def _file_of(running: Any, folder: Path, node: Node) -> Path:
    """The file, or folder, with the payload of an upstream node: the committed one if it is on this machine, else one in `folder`."""
    own = Path(tempfile.mkdtemp(dir=folder))
    store = node._node_store or running.store
    record = find_record(store, node.place) if node.is_persisted else None
    if record is not None:
        return verified_local_path(store, node.key, record.files, format_of(node, record), own)
    io = node._node_format()
    target = own / f"{node.payload_name}{io.suffix}"
    io.save(node.payload, target)
    return target


def _stamps(given: Any) -> Any:
    """The stat of each file, to detect writes to it."""
    files = [file for _, path in nodes_in(given, Path) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [(str(file), status.st_ino, status.st_size, status.st_mtime_ns) for file, status in found]


def _end_of(path: Path) -> str:
    """The last `KEPT` characters of a file, with secrets redacted."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * KEPT))  # more than is kept, so that no secret is cut in two before it is redacted
        text = redact(file.read().decode("utf-8", "replace"))
    return text if len(text) <= KEPT else "..." + text[-KEPT:]


def _failed(exitcode: int, stdout: str, stderr: str, shell: str) -> CommandFailed:
    import signal

    if exitcode < 0:
        names = {each.value: each.name for each in signal.Signals}
        what = f"was killed by {names.get(-exitcode, f'signal {-exitcode}')}"
    elif exitcode in (126, 127) and f"{shell}: " in stderr:
        what = f"could not be run by {shell} (exit status {exitcode})"
    else:
        what = f"ended with exit status {exitcode}"
    last = "\n".join((stderr.strip() or stdout.strip()).splitlines()[-10:])
    return CommandFailed(
        f"the script {what}{': ' + last if last else ' and printed nothing'}", exitcode=exitcode, stdout=stdout, stderr=stderr
    )
