"""Words after a verb: what is taken, in which forms, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from persistable.cli.completion import complete
from persistable.cli.main import VERBS, function_of
from persistable.cli.options import COMMON, WANTED, Common, Wanted
from persistable.cli.parse import Option, arguments, help_of, params_of
from persistable.cli.usage import BadUsage


def verb(
    first: str,
    second: Path | None = None,
    /,
    *others: str,
    to: str,
    number: int | None = None,
    ratio: float = 0.5,
    kind: Literal["one", "two"] = "one",
    class_: tuple[str, ...] = (),
    output: Annotated[Path | None, Option(("--output", "-o"))] = None,
    dry_run: bool = False,
    wanted: Wanted = WANTED,
    common: Common = COMMON,
) -> int:
    """Do it.

    Parameters
    ----------
    first
        The first of them,
        in two lines.
    to
        Where to.
    """
    raise NotImplementedError


def parsed(*words: str) -> tuple[list[Any], dict[str, Any]]:
    return arguments("verb", verb, words)


def test_every_form_of_an_option() -> None:
    assert parsed("a", "--to", "x") == parsed("--to=x", "a") == (["a"], {"to": "x"})
    assert parsed("a", "b", "--to=x", "c", "--number", "-3", "d") == (["a", Path("b"), "c", "d"], {"to": "x", "number": -3})
    assert parsed("a", "--to=x", "--ratio=2", "--kind", "two", "--dry-run")[1] == {"to": "x", "ratio": 2.0, "kind": "two", "dry_run": True}
    assert parsed("a", "--to=", "-o", "f", "--class", "a", "--class=b")[1] == {"to": "", "output": Path("f"), "class_": ("a", "b")}
    assert parsed("a", "--to=x", "--store", "s", "--json")[1]["common"] == Common(store="s", json=True)
    assert parsed("a", "--to=x", "--set", "-n=1", "--set=p.n=a b")[1]["wanted"] == Wanted(changes=("-n=1", "p.n=a b"))
    assert parsed("--to=x", "--", "--json", "-") == (["--json", Path("-")], {"to": "x"})
    assert parsed("-", "--to=x")[0] == ["-"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to=x"], "FIRST missing: persistable verb FIRST [SECOND] [OTHERS ...] --to TO [OPTIONS]"),
        (["a"], "--to missing"),
        (["a", "--to"], "--to needs a value"),
        (["a", "--to", "--json"], "write --to=--json"),
        (["a", "--to=x", "--to=y"], "--to is given twice"),
        (["a", "--to=x", "--json=yes"], "--json takes no value"),
        (["a", "--to=x", "--number=1.5"], "give a whole number"),
        (["a", "--to=x", "--ratio=half"], "give a number"),
        (["a", "--to=x", "--kind=to"], "did you mean two?"),
        (["a", "--to=x", "--jsno"], "did you mean --json?"),
        (["a", "--to=x", "--no-json"], "no option --no-json"),
    ],
)
def test_what_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(BadUsage) as caught:
        parsed(*words)
    assert told in str(caught.value)


def test_too_many_words() -> None:
    function = function_of("show")
    assert function is not None
    with pytest.raises(BadUsage, match="'b' is too much: persistable show PAYLOAD"):
        arguments("show", function, ["a", "b"])


def test_help_says_all_there_is() -> None:
    shown = " ".join(help_of("verb", verb).split())
    told = ("Do it.", "FIRST The first of them, in two lines.", "--to TO Where to.", "--kind one|two Default: one.", "-o OUTPUT", "--set")
    assert all(part in shown for part in told)
    assert "Default: 0.5." in shown and "Default: None" not in shown


@pytest.mark.parametrize("name", [each.name for each in VERBS])
def test_every_param_of_every_verb_is_told_of(name: str) -> None:
    function = function_of(name)
    assert function is not None
    params = params_of(function)
    assert all(param.help for param in params), [param.path for param in params if not param.help]
    words = [word for param in params for word in param.names]
    assert len(set(words)) == len(words)


def test_completion() -> None:
    assert complete(["sta"]) == ["status"] and "ls" in complete([""])
    assert complete(["nothing", ""]) == []
    assert complete(["ls", "--sort", ""]) == ["name", "size", "age"] == complete(["ls", "--sort", "=", ""])
    assert complete(["ls", "--sort", "="]) == ["name", "size", "age"]
    assert complete(["ls", "--so"]) == ["--sort"] and complete(["ls", "--where", ""]) == []
    assert complete(["completion", ""]) == ["bash", "zsh", "fish"] and complete(["completion", "bash", ""]) == []
