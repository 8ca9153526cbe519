"""The value of a `Secret` leaves a process in no text: events, logs, results, failures, tracebacks, records; on no executor."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import subprocess
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from persistable import Retry, open_store, run, step
from persistable.errors import RemoteError, RunFailed
from persistable.events import Failed, Retried, RunFinished, Skipped, subscribe
from persistable.params.secret import Secret, clean, redact

VALUE = 's3cr3t/väl\'ue+"x" 42'
SECRET = Secret("TEST_OF_SECRETS")
WAYS = {
    "plain": str,
    "quoted": lambda value: quote(value, safe=""),
    "repr": repr,
    "repr of an error": lambda value: repr(ValueError(f"in {value}")),
    "json": json.dumps,
    "json in json": lambda value: json.dumps({"body": json.dumps({"token": value})}),
    "bytes": lambda value: repr(value.encode()),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "basic": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
    "basic of a longer name": lambda value: base64.b64encode(f"me-too:{value}:more".encode()).decode(),
    "urlsafe": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "hex": lambda value: value.encode().hex(),
    "lower": lambda value: re.sub("%..", lambda code: code[0].lower(), quote(value, safe="")),
}


@pytest.fixture(autouse=True)
def value(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TEST_OF_SECRETS", VALUE)
    return VALUE


def shows(text: str) -> list[str]:
    """In which ways the text shows the value."""
    return [way for way, spell in WAYS.items() if way != "repr of an error" and spell(VALUE).strip("'\"=") in text]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_however_it_is_spelled(way: str) -> None:
    SECRET.reveal()
    said = redact(f"before {WAYS[way](VALUE)} after")
    assert not shows(said) and "TEST_OF_SECRETS" in said and said.startswith("before ") and said.endswith(" after")


def test_the_lines_of_a_key_and_the_parts_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----")
    monkeypatch.setenv("TEST_DSN", "host=db password=hunter4hunter4 user=me")
    monkeypatch.setenv("TEST_JSON", json.dumps({"client": {"private_key": "abcdefghij\nklmnopqrst", "id": "my-own-service"}}))
    for name in ("TEST_KEY", "TEST_DSN", "TEST_JSON"):
        Secret(name)
    said = redact("  | MIIEvQIBADANBgkqhkiG\n  | hunter4hunter4 of my-own-service\n klmnopqrst")
    assert said == "  | <TEST_KEY>\n  | <TEST_DSN> of my-own-service\n <TEST_JSON>"


class Odd(Exception):
    """Its text comes from what cannot be changed."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        super().__init__()
        object.__setattr__(self, "_what", what)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_what":
            raise AttributeError(name)
        super().__setattr__(name, value)

    def __str__(self) -> str:
        return f"odd: {self._what}"


def errors() -> list[BaseException]:
    group = ExceptionGroup("several", [ValueError(VALUE), KeyError(VALUE)])
    noted = ValueError("noted")
    noted.add_note(f"with {VALUE}")
    caused = ValueError("caused")
    caused.__cause__ = ConnectionError(f"https://host/?token={quote(VALUE, safe='')}")
    return [
        ValueError(f"in {VALUE}"),
        KeyError(VALUE),
        FileNotFoundError(2, "absent", f"/tmp/{VALUE}"),
        subprocess.CalledProcessError(1, ["curl", VALUE], VALUE.encode(), VALUE),
        UnicodeEncodeError("ascii", VALUE, 0, 1, "bad"),
        group,
        noted,
        caused,
        Odd(VALUE),
    ]


@pytest.mark.parametrize("number", range(len(errors())))
def test_errors_are_told_without(number: int) -> None:
    SECRET.reveal()
    error = errors()[number]
    told = clean(error)
    assert isinstance(told, RemoteError if isinstance(error, Odd) else type(error))
    assert not shows("".join(traceback.format_exception(told)) + repr(told) + str(vars(told)))
    assert clean(told) is told


@step(retry=Retry(2, delay=0.0))
def calls(number: int, token: Secret) -> int:
    raise errors()[number]


@step
def follows(value: int) -> int:
    return value


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_tells_none(tmp_path: Path, executor: str, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    nodes = [calls.step(number, SECRET) for number in (0, 1, 3, 5, 7)]
    caplog.set_level(logging.INFO, "persistable")
    with subscribe(heard.append):
        result = run(*nodes, *[follows.step(node) for node in nodes[:1]], store=tmp_path, executor=executor, errors="return")
    assert {Failed, Retried, RunFinished, Skipped} <= {type(event) for event in heard}
    told = [
        repr(heard),
        caplog.text,
        repr(result),
        result._repr_html_(),
        repr(result.rows()),
        repr(result.failures),
        str(result.to_frame()),
    ]
    for failure in result.failures:
        told += [failure.traceback, str(failure.error), "".join(traceback.format_exception(failure.error)), failure.text, repr(failure)]
        told += [str(failure.node.explain()), failure.node._repr_html_()]
    told.append("".join(traceback.format_exception(result.failed())))
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(result.failures) == 5 and not [way for text in told for way in shows(text)]


def test_one_node_by_itself_tells_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="<TEST_OF_SECRETS>") as raised, open_store(tmp_path):
        calls.step(0, SECRET).payload
    assert not shows("".join(traceback.format_exception(raised.value)))
    with pytest.raises(RunFailed) as failed:
        run(calls.step(0, SECRET), store=tmp_path)
    assert not shows("".join(traceback.format_exception(failed.value)))


def test_what_a_node_logs(tmp_path: Path) -> None:
    SECRET.reveal()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("persistable").addHandler(handler)
    try:
        node = follows.step(1)
        node.logger.warning("with %s", VALUE)
    finally:
        logging.getLogger("persistable").removeHandler(handler)
    assert stream.getvalue() == "with <TEST_OF_SECRETS>\n"
