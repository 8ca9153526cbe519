"""Credentials in plain text are refused where they would be recorded, and what only sounds like one is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persistable import Project, Source
from persistable.errors import ConfigError, ParamsError
from persistable.nodes.command import Command
from persistable.nodes.transfer import HttpGet, Upload
from persistable.params.credentials import is_named_credential
from persistable.params.secret import Secret

PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----"


def words(text: str) -> list[str]:
    return text.split()


NAMES = words(
    """
    AWS_SECRET_ACCESS_KEY PGPASSWORD MYSQL_PWD GITHUB_PAT PRIVATE_KEY API_TOKEN MY_SECRET PASSPHRASE CREDENTIALS DB_PASSWORD SSHPASS
    SMTP_PASS STRIPE_KEY DJANGO_SECRET_KEY TOKEN2 AWS_SESSION_TOKEN RESTIC_PASSWORD GPG_PASSPHRASE SLACK_BOT_TOKEN OPENAI_API_KEY
    VAULT_SECRET_ID clientSecret api_key apiKey accessToken password HF_TOKEN FERNET_KEY ENCRYPTION_KEY JWT
    """
)
PLAIN = words(
    """
    TOKENIZER TOKENIZERS_PARALLELISM KEYBOARD MAX_TOKENS max_tokens SORT_KEY MONKEY PWD OLDPWD AUTHOR PUBLIC_KEY AWS_ACCESS_KEY_ID
    TOKEN_COUNT PAD_TOKEN EOS_TOKEN PRIMARY_KEY CACHE_KEY SECRET_NAME PASSWORD_FILE COMPASS BYPASS PASSAGE SECRETARY KEYWORD KEYS KEY
    LANG PASSENGER SSH_AUTH_SOCK N_TOKENS KEY_COLUMN NEXT_PAGE_TOKEN TOKEN_TYPE first_pass
    """
)


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_that_is_a_credential_by_its_name(name: str) -> None:
    assert is_named_credential(name)
    with pytest.raises(ParamsError, match=rf"{name}.*Secret") as refused:
        Command("true", env={name: "hunter2-plain"})
    assert "hunter2" not in str(refused.value)
    Command("true", env={name: Secret("SOME_VARIABLE")})
    Command("true", env={name: None})


@pytest.mark.parametrize("name", PLAIN)
def test_a_variable_that_only_sounds_like_one(name: str) -> None:
    assert not is_named_credential(name)
    Command("true", env={name: "some-value"})
    Command("echo {{ " + name + " }}", **{name: "some value"})


@pytest.mark.parametrize(
    "value",
    [
        "postgres://me:pass@host/db",
        "https://ghp_abcdefghijklmnopqrstuv@github.com/me/it",
        PEM,
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "Bearer abcdefgh",
        "Server=x;Password=hunter2;",
        "DefaultEndpointsProtocol=https;AccountKey=abcd",
    ],
)
def test_a_value_that_shows_it(value: str) -> None:
    with pytest.raises(ParamsError, match="Secret"):
        Command("true", env={"DATABASE": value})
    with pytest.raises(ParamsError, match="Secret"):
        Command("connect {{ to }}", to=value)


@pytest.mark.parametrize(
    "value", ["postgres://me@host/db", "https://host/x?page=2", "a=b;c=d", "the bearer of news", "/etc/ssl/key.pem", ""]
)
def test_a_value_that_shows_nothing(value: str) -> None:
    Command("connect {{ to }}", to=value, env={"DATABASE": value, "CLIENT_KEY": "/etc/ssl/key.pem", "TOKEN": ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [("password", "x"), ("api_key", "x"), ("token", "x"), ("settings", {"db": {"password": "x"}}), ("urls", ["https://a/?token=x"])],
)
def test_a_value_of_a_script(name: str, value: Any) -> None:
    with pytest.raises(ParamsError, match=r"env=.*Secret"):
        Command("echo {{ " + name + " | tojson }}", **{name: value})


@pytest.mark.parametrize(
    "script",
    [
        "PGPASSWORD=hunter2 psql",
        "export AWS_SECRET_ACCESS_KEY='hunter2'",
        "curl -H 'Authorization: Bearer hunter2' https://host/",
        "curl https://me:hunter2@host/x",
        "curl 'https://host/x?api_key=hunter2'",
    ],
)
def test_a_script_that_holds_one(script: str) -> None:
    with pytest.raises(ParamsError, match="credential in plain text") as refused:
        Command(script)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "script",
    [
        'PGPASSWORD="$PW" psql',
        'curl -H "Authorization: Bearer $TOKEN" "https://host/x?token=$TOKEN"',
        "awk '{token=1}' x; SORT_KEY=2 sort",
        "train --max_tokens=3 --tokenizer=bert",
        "TOKEN=$(cat token.txt); true",
    ],
)
def test_a_script_that_holds_none(script: str) -> None:
    Command(script)


@pytest.mark.parametrize(
    "query",
    words(
        "api_key=x apikey=x token=x access_token=x sig=x signature=x X-Amz-Signature=x&X-Amz-Date=2 n=1&auth=x password=x "
        "key=AIzaSyA1234567890abcdefghijk12345 n=1#access_token=x"
    ),
)
def test_a_url_that_holds_one(query: str) -> None:
    url = f"https://host/x?{query}"
    with pytest.raises(ParamsError, match="Secret"):
        HttpGet(url)
    with pytest.raises(ParamsError, match="Secret"):
        Source(url.replace("/x", "/{n}"), keys=["1"])
    with pytest.raises(ParamsError, match="Secret"):
        Upload(url)


@pytest.mark.parametrize(
    "query",
    ["tokenizer=bert", "sort_key=name", "max_tokens=3", "key=users", "page_token=ff", "nextToken=e", "q=token", "token=", "author=me"],
)
def test_a_url_that_holds_none(query: str) -> None:
    HttpGet(f"https://host/x?{query}")


def test_places_of_a_url_are_no_credentials() -> None:
    HttpGet("https://host/x?token={token}&sig={sig}", secrets={"token": Secret("A"), "sig": Secret("B")})


@pytest.mark.parametrize(
    ("header", "value"),
    [("Authorization", "Basic eDp5"), ("Cookie", "a=b"), ("X-Api-Key", "x"), ("X-Auth-Token", "x"), ("X-Custom", "Bearer abcdefgh")],
)
def test_a_header_that_is_one(header: str, value: str) -> None:
    with pytest.raises(ParamsError, match="Secret"):
        HttpGet("https://host/x", headers={header: value})
    HttpGet("https://host/x", headers={header: Secret("A")})


@pytest.mark.parametrize("header", ["Accept", "X-Sort-Key", "X-Max-Tokens", "X-Author", "User-Agent"])
def test_a_header_that_is_none(header: str) -> None:
    HttpGet("https://host/x", headers={header: "text/plain"})


@pytest.mark.parametrize(
    ("notify", "refused"),
    [
        ({"webhook": "https://host/hook?token=x"}, True),
        ({"webhook": "https://me:x@host/hook"}, True),
        ({"webhook": "https://discord.com/api/webhooks/1/abc"}, True),
        ({"webhook": "https://host/hook/0123abcdefgh4567ijklmnop"}, True),
        ({"webhook": {"url": "https://host/hook", "headers": {"Authorization": "Bearer x"}}}, True),
        ({"webhook": "https://host/hook?channel=runs"}, False),
        ({"webhook": {"secret": "HOOK_URL"}}, False),
    ],
)
def test_a_project_file_that_holds_one(tmp_path: Path, notify: dict[str, Any], refused: bool) -> None:
    if not refused:
        Project({}, store=str(tmp_path), notify=notify)
        return
    with pytest.raises(ConfigError, match="secret = "):
        Project({}, store=str(tmp_path), notify=notify)
