"""The verbs: where each is, and what it does in a line. The module of a verb is imported when it is called."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb: its name, where its function lies, and what it does."""

    name: str
    function: str
    does: str


VERBS = (
    Verb("init", "persistable.cli.start:init", "Write a persistable.toml to begin with."),
    Verb("demo", "persistable.cli.start:demo", "Run a small flow on a real data set."),
    Verb("run", "persistable.cli.running:run", "Generate what is missing of targets and stages."),
    Verb("plan", "persistable.cli.running:plan", "Show what run would do, and why."),
    Verb("status", "persistable.cli.states:status", "Count payloads by name and state."),
    Verb("explain", "persistable.cli.states:explain", "Say why a payload is or is not there, upstream included."),
    Verb("ls", "persistable.cli.listing:ls", "List what is stored."),
    Verb("show", "persistable.cli.facts:show", "Show what is known of a stored payload."),
    Verb("cat", "persistable.cli.facts:cat", "Write a payload to standard output."),
    Verb("put", "persistable.cli.putting:put", "Store a file as the payload of a target."),
    Verb("accept", "persistable.cli.accepting:accept", "Record that code changed in nothing that matters."),
    Verb("rm", "persistable.cli.moving:rm", "Remove payloads, and what was made from them."),
    Verb("cp", "persistable.cli.moving:cp", "Copy payloads to another store."),
    Verb("keys", "persistable.cli.keys:keys", "Write down the keys of targets, or check that none moved."),
    Verb("graph", "persistable.cli.drawing:graph", "Draw what targets are made from."),
    Verb("completion", "persistable.cli.start:completion", "Write a script that completes commands in a shell."),
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
