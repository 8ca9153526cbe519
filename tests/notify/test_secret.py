"""Secret: read where it is used, and nowhere to be found."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import persistable
from persistable import Persistable
from persistable.errors import SecretMissing
from persistable.notify import Secret
from persistable.params.secret import redact, redacted_logs

VALUE = "s3cr3t/value+with spaces&'quotes'"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("TEST_SECRET", VALUE)
    found = Secret("TEST_SECRET")
    assert found.reveal() == VALUE
    return found


def test_it_is_known_by_its_name_only(secret: Secret) -> None:
    forms = [repr(secret), str(secret), f"{secret}", pickle.dumps(secret).decode("latin1"), repr(copy.deepcopy(secret))]
    assert forms[:3] == ["Secret('TEST_SECRET')"] * 3
    assert not [form for form in forms if VALUE in form]
    assert pickle.loads(pickle.dumps(secret)) == secret == copy.deepcopy(secret) == Secret("TEST_SECRET")
    assert hash(secret) == hash(Secret("TEST_SECRET"))
    assert secret != Secret("OTHER")
    assert not hasattr(secret, "__dict__")


def test_it_is_read_each_time_it_is_used(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", "another one")
    assert secret.reveal() == "another one"
    assert redact(f"{VALUE} and another one") == "<TEST_SECRET> and <TEST_SECRET>"


def test_a_template_says_where_it_goes(secret: Secret) -> None:
    bearer = Secret("TEST_SECRET", "Bearer {}")
    assert bearer.reveal() == f"Bearer {VALUE}"
    assert repr(bearer) == "Secret('TEST_SECRET', 'Bearer {}')"
    assert pickle.loads(pickle.dumps(bearer)) == bearer != secret
    for wrong in ("Bearer", "{} {}"):
        with pytest.raises(ValueError, match="write one"):
            Secret("TEST_SECRET", wrong)


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_ABSENT", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_ABSENT", value)
    with pytest.raises(SecretMissing, match=r"the environment variable TEST_ABSENT is (not set|empty)") as caught:
        Secret("TEST_ABSENT").reveal()
    assert caught.value.name == "TEST_ABSENT"
    assert pickle.loads(pickle.dumps(caught.value)).name == "TEST_ABSENT"


def test_the_value_given_in_place_of_the_name_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="takes the name of an environment variable") as caught:
        Secret("https://hooks.example.org/T000/B000/XXXX")
    assert "hooks" not in str(caught.value)


# ------------------------------------------------------------------ as a param


@dataclass
class FetchParams:
    url: str
    token: Secret


class Fetched(Persistable[str, FetchParams]):
    def _generate_payload(self, **untracked: Any) -> str:
        return f"{len(self.params.token.reveal())} characters"


def test_as_a_param_its_name_is_identity_and_its_value_is_nowhere(secret: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Fetched(tmp_path, url="u", token=secret)
    assert first.payload == f"{len(VALUE)} characters"
    assert first.params_tree["token"]["name"] == "TEST_SECRET"
    monkeypatch.setenv("TEST_SECRET", "rotated")
    again = Fetched(tmp_path, url="u", token=Secret("TEST_SECRET"))
    assert again.key == first.key
    assert again.payload == first.payload
    assert Fetched(tmp_path, url="u", token=Secret("OTHER")).key != first.key
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"TEST_SECRET" in kept
    assert VALUE.encode() not in kept
    assert json.dumps(VALUE)[1:-1].encode() not in kept
    assert VALUE not in repr(first) + str(first.record) + repr(again.explain())


# ------------------------------------------------------------------ redaction


def test_values_are_taken_out_in_every_spelling(secret: Secret) -> None:
    spelled = [VALUE, quote(VALUE, safe=""), json.dumps(VALUE), repr([VALUE]), f"GET /x?k={quote(VALUE, safe='')}"]
    for text in spelled:
        assert "s3cr3t" not in redact(text), text
        assert "<TEST_SECRET>" in redact(text)
    assert redact("nothing to hide") == "nothing to hide"


def test_of_a_url_the_parts_are_taken_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOOK", "https://me:pa%20ss@hooks.example.org/services/T0001/abcdef012345?key=verysecret")
    Secret("TEST_HOOK")  # named is enough: the error may come from a process that read it
    text = redact("failed: /services/T0001/abcdef012345?key=verysecret at hooks.example.org, pa ss, abcdef012345, key verysecret")
    assert text == "failed: <TEST_HOOK> at hooks.example.org, <TEST_HOOK>, <TEST_HOOK>, key <TEST_HOOK>"


def test_a_value_within_another_does_not_leave_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SHORT", "abcd")
    monkeypatch.setenv("TEST_LONG", "abcdefgh")
    Secret("TEST_SHORT"), Secret("TEST_LONG")
    assert redact("xabcdefghx abcd") == "x<TEST_LONG>x <TEST_SHORT>"
    assert redact("plain word", "word", "") == "plain ***"


def test_logs_of_libraries_are_cleaned_inside_the_block(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.library")
    with caplog.at_level(logging.DEBUG), redacted_logs("some.library"):
        logger.debug("POST %s %d", VALUE, 200)
        try:
            raise ValueError(VALUE)
        except ValueError:
            logger.exception("it failed")
    logger.info("after %s", "all")
    assert VALUE not in caplog.text
    assert "POST <TEST_SECRET> 200" in caplog.text
    assert "ValueError: <TEST_SECRET>" in caplog.text
    assert not logger.filters


def test_importing_notify_imports_none_of_what_it_may_use() -> None:
    code = (
        "import sys, persistable.notify as n; n.Webhook; n.Slack; n.Apprise; n.Secret\n"
        "print([name for name in ('apprise', 'httpx', 'requests', 'numpy') if name in sys.modules])"
    )
    path = str(Path(persistable.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == "[]\n"
