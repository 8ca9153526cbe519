"""Notifications that a project sends, to receivers that are really there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.notify.sinks import Sink, mailbox

from persistable import Project, Secret
from persistable.errors import ConfigError

Load = Callable[..., Project]
FAILING = '[targets.bad]\nuse = "FLOWS:failing"\nupstream = { points = "points" }\n[targets.points]\nuse = "FLOWS:Points"\n'


def hooks(project: Project) -> list[Any]:
    return project._hooks


def test_a_failed_run_is_told_once_and_a_good_one_only_if_asked(load: Load) -> None:
    with Sink() as always, Sink() as failure:
        text = f'[notify]\nwebhook = [{{ url = "{always.url}/a", on = "always" }}, "{failure.url}/f"]\n' + FAILING
        project = load(text)
        project.run("points")
        result = project.run(errors="return")
        assert len(result.failures) == 1
        assert all(hook.flush(60) for hook in hooks(project))
    assert [request.json["failed"] for request in always.received] == [False, True]
    assert [request.path for request in failure.received] == ["/f"]
    assert "it always fails" in failure.received[0].json["failures"][0]["error"]


def test_secrets_come_from_the_environment_and_never_stand_in_the_file(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sink() as sink:
        monkeypatch.setenv("SLACK_URL", f"{sink.url}/services/T0/hidden")
        monkeypatch.setenv("TOKEN", "let-me-in")
        token = '{ secret = "TOKEN", template = "Bearer {}" }'
        webhook = f'{{ url = "{sink.url}/hook", timeout = 20, headers = {{ Authorization = {token} }} }}'
        text = f'[notify]\nslack = {{ secret = "SLACK_URL" }}\nwebhook = {webhook}\n'
        project = load(text + FAILING)
        assert "hidden" not in repr(hooks(project)) and repr(hooks(project)[0]) == "Slack(Secret('SLACK_URL'))"
        project.run(errors="return")
        assert all(hook.flush(60) for hook in hooks(project))
    by_path = {request.path: request for request in sink.received}
    assert by_path.keys() == {"/services/T0/hidden", "/hook"}
    assert by_path["/hook"].headers["Authorization"] == "Bearer let-me-in" and "blocks" in by_path["/services/T0/hidden"].json


def test_mail(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    with mailbox() as (port, arrived):
        monkeypatch.setenv("MAIL_PASSWORD", "pa55word")
        template = f"mailto://me:{{}}@127.0.0.1:{port}?from=me@example.org&to=you@example.org&mode=insecure"
        project = load(f'[notify]\napprise = {{ secret = "MAIL_PASSWORD", template = "{template}" }}\n' + FAILING)
        project.run(errors="return")
        assert all(hook.flush(60) for hook in hooks(project))
    assert len(arrived) == 1 and arrived[0]["To"] == "you@example.org"


@pytest.mark.parametrize(
    "entry",
    [
        'slack = "https://hooks.slack.com/services/T0/B0/hidden"',
        'slack = { url = "https://hooks.slack.com/services/T0/B0/hidden" }',
        'webhook = "https://me:hidden@example.org/hook"',
        'apprise = "mailto://me:hidden@example.org"',
        'apprise = ["tgram://hidden@chat"]',
        'slack = { secret = "https://hooks.slack.com/services/hidden" }',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(load: Load, entry: str) -> None:
    with pytest.raises(ConfigError, match=r"persistable.toml: notify\.") as caught:
        load(f"[notify]\n{entry}\n")
    assert "hidden" not in str(caught.value) and "variable" in str(caught.value)


def test_hooks_in_python_come_beside_those_of_the_table() -> None:
    events: list[Any] = []
    with Sink() as sink:
        project = Project({}, hooks=[events.append], notify={"webhook": {"url": sink.url, "on": "always"}}, store="memory://hooks")
        project.run(hooks=[events.append])
        assert hooks(project)[1].flush(60)
    assert len(sink.received) == 0 or sink.received[0].json["failed"] is False
    assert isinstance(Secret("X"), Secret) and len(events) == 2 * len(set(map(id, events)))
