"""Messages about runs, to receivers that are really there: what they say, that they arrive, and that nobody waits for them."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from servers.needs import free_port, need

from notify.sinks import Answer, Sink, black_hole, mailbox
from persistable import run, step
from persistable.errors import UndeliveredWarning
from persistable.events import Event, Failed, RunFinished, Started, emit, subscribe
from persistable.executors.resources import Retry
from persistable.notify import Apprise, Secret, Slack, Webhook
from persistable.records.key import Key

SOON = Retry(attempts=4, delay=0.02, backoff=2.0, jitter=0.5)
PATIENCE = 60.0
KEY = Key("clean", "0123456789abcdef" * 2)


@pytest.fixture(autouse=True, scope="module")
def _packages() -> None:
    need("apprise", "aiosmtpd")


def finished(*errors: str, **counts: int) -> RunFinished:
    failures = tuple((Key(f"node{number}", f"{number:032x}"), error) for number, error in enumerate(errors))
    return RunFinished(counts={"done": 3, "failed": len(errors), "skipped": 0, **counts}, failures=failures, seconds=83.2)


def delivered(hook: Any, *events: Event) -> list[str]:
    """Call the hook as a run does, wait, and say what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for event in events:
            hook(event)
        assert hook.flush(PATIENCE)
    return [str(warning.message) for warning in caught if issubclass(warning.category, UndeliveredWarning)]


# ------------------------------------------------------------------ what is said, and when


def test_a_failed_run_is_told_once_as_json() -> None:
    with Sink() as sink:
        assert (
            delivered(Webhook(f"{sink.url}/hook", headers={"X-Team": "blue"}), finished("ValueError: bad", "KeyError: 'x'", done=8)) == []
        )
    (one,) = sink.received
    assert one.path == "/hook"
    assert one.headers["Content-Type"] == "application/json"
    assert one.headers["X-Team"] == "blue"
    body = one.json
    assert body["event"] == "RunFinished"
    assert body["failed"] is True
    assert body["title"].startswith("Run failed on ") and body["title"].endswith(": 2 nodes")
    assert body["counts"] == {"done": 8, "failed": 2, "skipped": 0}
    assert body["failures"] == [
        {"key": f"node0/{0:032x}", "error": "ValueError: bad"},
        {"key": f"node1/{1:032x}", "error": "KeyError: 'x'"},
    ]
    assert body["more_failures"] == 0
    assert body["seconds"] == 83.2
    assert body["host"] and datetime.fromisoformat(body["time"]).tzinfo is not None


def test_a_real_run_that_fails_tells_once_and_only_if_it_fails(tmp_path: Path) -> None:
    @step
    def ratio(a: float, b: float) -> float:
        return a / b

    good, bad = ratio.step(a=1.0, b=2.0), ratio.step(a=1.0, b=0.0)
    with Sink() as sink:
        hook = Slack(sink.url)
        run(good, store=tmp_path, hooks=[hook])
        run(good, bad, store=tmp_path, hooks=[hook], errors="return")
        assert hook.flush(PATIENCE)
    (one,) = sink.received
    assert "ZeroDivisionError" in one.json["blocks"][0]["text"]["text"]


def test_by_default_only_a_failed_run_is_told_of() -> None:
    events = [Started(key=KEY, attempt=1), Failed(key=KEY, attempt=1, error="E", seconds=1.0), finished(), finished(cancelled=2)]
    with Sink() as sink:
        assert delivered(Webhook(sink.url), *events) == []
        assert sink.received == []
        assert delivered(Webhook(sink.url, on="always"), *events) == []
        assert [one.json["failed"] for one in sink.received] == [False, False]
        assert sink.received[1].json["counts"]["cancelled"] == 2
        assert sink.received[0].json["title"].startswith("Run finished on ")


def test_a_predicate_chooses_any_event() -> None:
    with Sink() as sink:
        hook = Webhook(sink.url, on=lambda event: isinstance(event, Failed))
        assert delivered(hook, Started(key=KEY, attempt=1), Failed(key=KEY, attempt=2, error="E: text", seconds=1.5), finished("E")) == []
    (one,) = sink.received
    assert one.json["event"] == "Failed"
    assert one.json["key"] == str(KEY)
    assert one.json["error"] == "E: text"
    assert one.json["attempt"] == 2


def test_many_failures_and_long_errors_stay_a_message() -> None:
    event = finished(*[f"ValueError: {number} " + "x" * 5000 for number in range(200)])
    with Sink() as sink:
        assert delivered(Webhook(sink.url), event) == []
        assert delivered(Slack(sink.url), event) == []
    webhook, slack = (one.json for one in sink.received)
    assert len(webhook["failures"]) == 10
    assert webhook["more_failures"] == 190
    assert all(len(failure["error"]) <= 500 for failure in webhook["failures"])
    text = slack["blocks"][0]["text"]["text"]
    assert len(text) <= 3000
    assert text.endswith("and 190 more")


def test_slack_gets_what_people_can_read() -> None:
    with Sink() as sink:
        assert delivered(Slack(sink.url), finished("ValueError: 1 < 2 & `3`")) == []
        assert delivered(Slack(sink.url, on="always"), finished()) == []
    bad, good = (one.json for one in sink.received)
    assert "Run failed on" in bad["text"]
    (section,) = bad["blocks"]
    assert section["type"] == "section" and section["text"]["type"] == "mrkdwn"
    lines = section["text"]["text"].splitlines()
    assert lines[0].startswith(":x: *Run failed on ")
    assert lines[1] == "3 done, 1 failed in 1.4 min"
    assert lines[2] == "• `node0/00000000` ValueError: 1 &lt; 2 &amp; '3'"
    assert good["blocks"][0]["text"]["text"].startswith(":white_check_mark: *Run finished on ")


def test_e_mail_arrives() -> None:
    with mailbox() as (port, arrived):
        assert delivered(Apprise(f"mailto://127.0.0.1:{port}/?from=runs@example.org&to=me@example.org"), finished("ValueError: bad")) == []
    (mail,) = arrived
    assert "Run failed on" in mail["subject"]
    assert "me@example.org" in mail["to"]
    text = mail.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
    assert "3 done, 1 failed in 1.4 min" in text
    assert "- node0/00000000: ValueError: bad" in text


def test_each_url_of_apprise_is_a_receiver_of_its_own() -> None:
    with mailbox(refusals=1) as (port, arrived), Sink(500) as sink:
        urls = [f"mailto://127.0.0.1:{port}/?from=a@example.org&to={name}@example.org" for name in ("one", "two")]
        assert delivered(Apprise(*urls, f"json://127.0.0.1:{sink.port}/x", retry=SOON), finished("E")) == []
    assert sorted(mail["to"] for mail in arrived) == ["one@example.org", "two@example.org"]
    assert len(sink.received) == 2


# ------------------------------------------------------------------ retries


def test_a_receiver_that_stumbles_gets_the_message_in_the_end() -> None:
    with Sink(500, 0, Answer(429, {"Retry-After": "1"}), 200) as sink:
        assert delivered(Webhook(sink.url, retry=SOON), finished("E")) == []
    times = [one.at for one in sink.received]
    assert len(times) == 4
    assert times[3] - times[2] >= 0.95, "Retry-After is kept"
    assert len({one.body for one in sink.received}) == 1, "it is the same message, with the time of the event"


def test_retry_after_may_be_a_date() -> None:
    when = datetime.now(UTC) + timedelta(seconds=3)
    with Sink(Answer(503, {"Retry-After": format_datetime(when, usegmt=True)})) as sink:
        assert delivered(Webhook(sink.url, retry=SOON), finished("E")) == []
        assert len(sink.received) == 2
    assert datetime.now(UTC) >= when - timedelta(seconds=1.1)  # the date has whole seconds


@pytest.mark.parametrize(
    ("answer", "requests", "reason"),
    [
        (Answer(404), 1, "the receiver answered 404"),
        (Answer(302, {"Location": "/elsewhere"}), 1, "the receiver answered 302"),
        (Answer(429, {"Retry-After": "86400"}), 1, "the receiver answered 429"),
    ],
)
def test_what_no_retry_can_mend_is_reported_at_once(answer: Answer, requests: int, reason: str) -> None:
    with Sink(answer) as sink:
        (warning,) = delivered(Webhook(sink.url, retry=SOON), finished("E"))
    assert len(sink.received) == requests
    assert warning == f"a notification to Webhook(http://127.0.0.1) was not delivered: {reason}"


def test_a_receiver_that_keeps_failing_is_reported_by_one_warning() -> None:
    with Sink(*[503] * 10) as sink:
        (warning,) = delivered(Webhook(sink.url, retry=SOON), finished("E"))
    assert len(sink.received) == 4
    assert warning.endswith("was not delivered: the receiver answered 503 (4 tries)")


def test_a_refused_connection_is_tried_again_and_reported() -> None:
    (warning,) = delivered(Webhook(f"http://127.0.0.1:{free_port()}/", retry=SOON), finished("E"))
    assert "no answer: ConnectionRefusedError (Connection refused) (4 tries)" in warning


def test_after_a_message_that_was_lost_the_next_one_arrives() -> None:
    with Sink(404) as sink:
        assert len(delivered(Webhook(sink.url, retry=SOON), finished("one"), finished("two"))) == 1
    assert sink.received[1].json["failures"][0]["error"] == "two"


def test_where_warnings_are_errors_it_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with Sink(404) as sink, warnings.catch_warnings():
        warnings.simplefilter("error", UndeliveredWarning)
        hook = Webhook(sink.url)
        hook(finished("E"))
        assert hook.flush(PATIENCE)
    assert "was not delivered: the receiver answered 404" in caplog.text


# ------------------------------------------------------------------ nobody waits


def test_a_receiver_that_never_answers_delays_nobody() -> None:
    """Asking it takes a minute of silence each time; telling of five runs takes next to nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with black_hole() as url:
            hook = Webhook(url, timeout=60, retry=Retry(attempts=1))
            with subscribe(hook):
                begun = time.monotonic()
                for number in range(5):
                    emit(finished(f"E: {number}"))
                took = time.monotonic() - begun
            assert took < 30
            assert not hook.flush(0), "it is still being tried"
        assert hook.flush(PATIENCE)  # the receiver is gone, so the minute is not waited for
    assert len([warning for warning in caught if "no answer: Connection" in str(warning.message)]) == 5


def test_the_queue_is_bounded_and_what_is_dropped_is_reported() -> None:
    gate = threading.Event()
    with Sink(Answer(200, gate=gate)) as sink, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hook = Webhook(sink.url)
        for number in range(150):
            hook(finished(f"E: {number}"))
        gate.set()
        assert hook.flush(PATIENCE)
    assert [one.json["failures"][0]["error"] for one in sink.received] == [f"E: {number}" for number in range(100)]
    told = [each for each in caught if issubclass(each.category, UndeliveredWarning)]
    dropped = [str(each.message) for each in told if "to Webhook(http://127.0.0.1) were dropped" in str(each.message)]
    assert sum(int(text.split()[0]) for text in dropped) == 50  # in one report, or in several where this takes long


def test_one_receiver_that_hangs_does_not_hold_up_another() -> None:
    gate = threading.Event()
    with Sink(Answer(200, gate=gate)) as slow, Sink() as quick:
        hanging, other = Webhook(slow.url, timeout=PATIENCE), Webhook(quick.url)
        hanging(finished("E"))
        assert delivered(other, finished("E")) == []
        assert len(quick.received) == 1
        gate.set()
        assert hanging.flush(PATIENCE)


def test_no_thread_is_left_when_there_is_nothing_to_do() -> None:
    with Sink() as sink:
        assert delivered(Webhook(sink.url), finished("E")) == []
        deadline = time.monotonic() + PATIENCE
        while any(thread.name == "persistable-notify" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def script(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    file = folder / "script.py"
    file.write_text(
        "import sys, os\n"
        "from persistable.events import RunFinished\n"
        "from persistable.records.key import Key\n"
        "from persistable.notify import *\n"
        "from persistable.executors.resources import Retry\n"
        "def finished(error):\n"
        "    return RunFinished(counts={'failed': 1}, failures=((Key('n', '0' * 32), error),), seconds=1.0)\n" + text
    )
    path = os.pathsep.join(part for part in sys.path if part)
    return subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, "PYTHONPATH": path, **environment}
    )


def test_the_end_of_the_process_waits_for_what_is_under_way(tmp_path: Path) -> None:
    with Sink(500) as sink:
        done = script(tmp_path, "Webhook(sys.argv[1] if 0 else os.environ['SINK'])(finished('last words'))", SINK=sink.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [one.json["failures"][0]["error"] for one in sink.received] == ["last words"] * 2


def test_the_end_of_the_process_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A minute's silence per try, four tries: it ends all the same, and says what was lost."""
    with black_hole() as url:
        done = script(
            tmp_path,
            "hook = Webhook(Secret('HOOK'), timeout=60)\nhook(finished('one'))\nhook(finished('two'))",
            HOOK=f"{url}very-secret-path",
        )
    assert done.returncode == 0
    assert "UndeliveredWarning: 2 notifications to Webhook(Secret('HOOK')) did not arrive before the process ended" in done.stderr
    assert "very-secret" not in done.stderr


def test_a_forked_child_sends_its_own_messages_and_not_its_parents(tmp_path: Path) -> None:
    text = (
        "hook = Webhook(os.environ['SINK'], timeout=30)\n"
        "hook(finished('before'))\n"
        "assert hook.flush(30)\n"  # what a thread is importing during a fork stays half imported in the child
        "hook(finished('parent'))\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    hook(finished('child'))\n"
        "    os._exit(0 if hook.flush(30) else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert hook.flush(30)\n"
    )
    with Sink() as sink:
        done = script(tmp_path, text, SINK=sink.url)
    assert done.returncode == 0, done.stderr
    assert sorted(one.json["failures"][0]["error"] for one in sink.received) == ["before", "child", "parent"]


# ------------------------------------------------------------------ secrets


@pytest.fixture
def everything_said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that reached standard output, standard error, or a log, of every logger at every level but that of the mail server's own."""
    caplog.set_level(logging.CRITICAL, logger="mail.log")
    caplog.set_level(1)
    for name in ("apprise", "urllib3", "urllib3.connectionpool", "persistable", "requests"):
        caplog.set_level(1, logger=name)

    def said() -> str:
        logging.getLogger("urllib3").debug("a canary that %s", "sings")
        out, err = capfd.readouterr()
        assert "a canary that sings" in caplog.text
        return caplog.text + out + err

    return said


TOKEN = "xoxb-0123456789-token"


@pytest.mark.parametrize("script_of_statuses", [[200], [500, 200], [404], [500] * 10, [0] * 10])
def test_secrets_reach_the_receiver_and_nobody_else(
    script_of_statuses: list[int], monkeypatch: pytest.MonkeyPatch, everything_said: Callable[[], str]
) -> None:
    with Sink(*script_of_statuses) as sink:
        monkeypatch.setenv("TEST_HOOK_URL", f"{sink.url}/services/T0123/{TOKEN}")
        monkeypatch.setenv("TEST_HOOK_TOKEN", "bearer-token-value")
        hook = Webhook(Secret("TEST_HOOK_URL"), headers={"Authorization": Secret("TEST_HOOK_TOKEN", "Bearer {}")}, retry=SOON)
        slack = Slack(Secret("TEST_HOOK_URL"), retry=SOON)
        event = finished(f"ValueError: could not reach /services/T0123/{TOKEN} with bearer-token-value", "E: " + "x" * 490 + TOKEN)
        told = delivered(hook, event) + delivered(slack, event)
    assert {one.path for one in sink.received} == {f"/services/T0123/{TOKEN}"}
    assert sink.received[0].headers["Authorization"] == "Bearer bearer-token-value"
    bodies = "".join(one.body.decode() for one in sink.received)
    assert "TEST_HOOK_URL" in bodies and "TEST_HOOK_TOKEN" in bodies, "a name stands where the value was"
    hooks = [hook, slack]
    shown = [
        *told,
        everything_said(),
        bodies,
        *map(repr, hooks),
        repr([vars(hook) for hook in hooks]),
        pickle.dumps(hooks).decode("latin1"),
    ]
    for text in shown:
        assert "xoxb" not in text
        assert "bearer-token-value" not in text


def test_secrets_of_apprise_stay_with_it(monkeypatch: pytest.MonkeyPatch, everything_said: Callable[[], str]) -> None:
    with Sink(*[404] * 8) as sink, mailbox(refusals=4) as (port, _):
        monkeypatch.setenv("TEST_MAIL", f"mailto://sender:hunter2hunter2@127.0.0.1:{port}/?from=a@example.org&to=b@example.org")
        monkeypatch.setenv("TEST_JSON", f"127.0.0.1:{sink.port}/{TOKEN}")
        monkeypatch.setenv("TEST_WRONG", f"nosuchservice://{TOKEN}/x")
        plain = f"json://127.0.0.1:{sink.port}/{TOKEN}/2"
        hook = Apprise(Secret("TEST_MAIL"), Secret("TEST_JSON", "json://{}"), Secret("TEST_WRONG"), plain, retry=SOON)
        told = delivered(hook, finished(f"E: {TOKEN} hunter2hunter2"))
    assert len(told) == 4
    assert len([text for text in told if "could not deliver it" in text]) == 3
    assert len([text for text in told if "does not know this kind of URL" in text]) == 1
    assert {one.path for one in sink.received} == {f"/{TOKEN}", f"/{TOKEN}/2"}
    said = everything_said()
    assert "JSON" in said, "the library did log"
    for text in [*told, said, repr(hook), *(one.body.decode() for one in sink.received)]:
        assert "xoxb" not in text
        assert "hunter2" not in text


def test_a_missing_secret_is_named_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_UNSET", raising=False)
    (warning,) = delivered(Slack(Secret("TEST_UNSET")), finished("E"))
    assert "Slack(Secret('TEST_UNSET')) was not delivered: the environment variable TEST_UNSET is not set" in warning


def test_a_secret_that_is_no_url_or_no_header_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sink() as sink:
        for value in ("not-a-url-but-secret", "ftp://secret.example.org/secret", "http://secret:secret@127.0.0.1/", "http://[secret/"):
            monkeypatch.setenv("TEST_BAD", value)
            (warning,) = delivered(Webhook(Secret("TEST_BAD"), retry=SOON), finished("E"))
            assert "secret" not in warning
        monkeypatch.setenv("TEST_BAD", "secret\r\nX-Injected: secret")
        (warning,) = delivered(Webhook(sink.url, headers={"X": Secret("TEST_BAD")}, retry=SOON), finished("E"))
        assert "secret" not in warning
        assert sink.received == []


def test_hooks_travel_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sink() as sink:
        monkeypatch.setenv("TEST_HOOK_URL", f"{sink.url}/{TOKEN}")
        hook = Slack(Secret("TEST_HOOK_URL"), on="always")
        assert delivered(hook, finished()) == []
        copied = pickle.loads(pickle.dumps(hook))
        assert repr(copied) == "Slack(Secret('TEST_HOOK_URL'))"
        assert delivered(copied, finished()) == []
        assert len(sink.received) == 2


def test_of_a_plain_url_only_the_host_is_shown() -> None:
    assert repr(Webhook(f"https://hooks.example.org/{TOKEN}")) == "Webhook(https://hooks.example.org)"
    assert repr(Apprise(f"slack://{TOKEN}/B/C", Secret("X"))) == "Apprise(slack://…, Secret('X'))"


@pytest.mark.parametrize("url", ["hooks.example.org/x", "file:///etc/passwd", "https://user:xoxb@example.org", "http://[half"])
def test_a_url_that_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        Webhook(url)
    assert "xoxb" not in str(caught.value)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="on='sometimes'"):
        Webhook("http://127.0.0.1", on="sometimes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one URL"):
        Apprise()


def test_a_predicate_that_raises_harms_nothing(tmp_path: Path) -> None:
    def on(event: Event) -> bool:
        raise ZeroDivisionError

    with subscribe(Webhook("http://127.0.0.1:9", on=on)), pytest.warns(UserWarning, match="Webhook.*ZeroDivisionError"):
        emit(finished("E"))


def test_json_holds_no_surprises() -> None:
    """Whatever text an error has, the receiver gets JSON in UTF-8."""
    with Sink() as sink:
        assert delivered(Webhook(sink.url), finished("E: \udc80 \x00 ünï 🙂", "E: " + "\n" * 3)) == []
    assert json.loads(sink.received[0].body)["failures"][0]["error"] == "E: \udc80 \x00 ünï 🙂"
