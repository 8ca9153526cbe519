"""Logging in to registries: by password and by token, from wherever credentials are kept, and never showing one."""

import base64
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from servers.answering import Answer, answering
from servers.oci_registry import Registry, running
from servers.token_server import PASSWORD, REFRESH, USER, TokenServer, token_server

from persistable import Secret
from persistable.errors import SecretMissing, StoreError, StoreReadOnly
from persistable.stores import OCIStore, open_store

# of PASSWORD, by bcrypt
_HTPASSWD = f"{USER}:$2b$05$UOIS.r8092.foPX6Zl1UjOdVaELBxHy5QggXrNWJD6271JCG3KBha\n"
_BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a password."""
    folder = tmp_path_factory.mktemp("passwords")
    (folder / "htpasswd").write_text(_HTPASSWD)
    with running(folder, auth={"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}) as registry:
        yield registry


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, TokenServer]]:
    """A registry that asks for a token, and the server that gives them."""
    folder = tmp_path_factory.mktemp("tokens")
    with token_server(folder) as server, running(folder, auth=server.auth) as registry:
        yield registry, server


@pytest.fixture(autouse=True)
def _no_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture(params=["password", "token"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "password":
        found: Registry = request.getfixturevalue("passwords")
        return found
    both: tuple[Registry, TokenServer] = request.getfixturevalue("tokens")
    both[1].actions = {"pull", "push", "delete"}
    return both[0]


def _works(store: OCIStore) -> None:
    store.put("a/x", b"1")
    assert store.create("a/y", b"2")
    assert store.get("a/x") == b"1"
    assert sorted(store.list()) == ["a/x", "a/y"]
    assert store.delete("a/x")
    assert list(store.list()) == ["a/y"]


def _opened(url: str, **options: object) -> OCIStore:
    store = open_store(url, **options)
    assert isinstance(store, OCIStore)
    return store


def _docker(tmp_path: Path, facts: object) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(json.dumps(facts))


def test_without_credentials_the_error_says_what_to_do(registry: Registry) -> None:
    store = _opened(registry.repository())
    for call in (lambda: store.get("a"), lambda: list(store.list()), lambda: store.stat("a"), lambda: store.put("a", b"")):
        with pytest.raises(StoreError, match="docker login"):
            call()


def test_the_variable_that_auth_names(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_LOGIN", f"{USER}:{PASSWORD}")
    url = registry.repository()
    _works(_opened(url, auth="env:REGISTRY_LOGIN"))
    assert list(_opened(url, auth=Secret("REGISTRY_LOGIN")).list()) == ["a/y"]
    monkeypatch.delenv("REGISTRY_LOGIN")
    with pytest.raises(SecretMissing, match="REGISTRY_LOGIN"):
        _opened(url, auth=Secret("REGISTRY_LOGIN"), timeout=59.0).get("a/x")


def test_the_login_of_docker(registry: Registry, tmp_path: Path) -> None:
    _docker(tmp_path, {"auths": {"elsewhere.example": {"auth": "eDp5"}, registry.host: {"auth": _BASIC}}})
    _works(_opened(registry.repository()))


def test_the_login_of_podman(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/auth.json").write_text(json.dumps({"auths": {registry.host: {"auth": _BASIC}}}))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    _works(_opened(registry.repository()))


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_credential_helper(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    _docker(tmp_path, {"credsStore": "of-tests"} if key == "credsStore" else {key: {registry.host: "of-tests"}})
    program = tmp_path / "docker-credential-of-tests"
    answer = json.dumps({"ServerURL": registry.host, "Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {registry.host}' ] && echo '{answer}'\n")
    program.chmod(0o755)
    with pytest.raises(StoreError, match="docker-credential-of-tests"):
        _opened(registry.repository()).get("a")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    _works(_opened(registry.repository()))


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"%s": {"auth": "***"}}}', '{"credsStore": "../x"}'])
def test_settings_that_cannot_be_read_are_an_error_that_names_the_file(passwords: Registry, tmp_path: Path, text: str) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(text.replace("%s", passwords.host))
    with pytest.raises(StoreError, match="settings of docker"):
        _opened(passwords.repository()).get("a")


def test_a_token_that_stands_for_a_password(tokens: tuple[Registry, TokenServer], tmp_path: Path) -> None:
    registry, server = tokens
    server.actions = {"pull", "push", "delete"}
    _docker(tmp_path, {"auths": {registry.host: {"auth": base64.b64encode(b"00000000:").decode(), "identitytoken": REFRESH}}})
    _works(_opened(registry.repository()))


def test_tokens_are_kept_until_they_end(
    tokens: tuple[Registry, TokenServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry, server = tokens
    server.actions = {"pull", "push", "delete"}
    monkeypatch.setenv("REGISTRY_LOGIN", f"{USER}:{PASSWORD}")
    url = registry.repository()
    store = _opened(url, auth="env:REGISTRY_LOGIN")
    server.asked.clear()
    for number in range(3):
        store.put(f"a/{number}", b"1")
        store.get(f"a/{number}")
    name = url.partition("/tests/")[2]
    # the registry names the actions in any order
    asked = [set(scope.removeprefix(f"repository:tests/{name}:").split(",")) for scope in server.asked]
    assert sorted(asked, key=len) == [{"pull"}, {"pull", "push"}]
    monkeypatch.setattr("persistable.stores.oci.login.time.monotonic", lambda: 1e12)  # long after they ended
    store.get("a/1")
    assert len(server.asked) == 3


def test_who_may_not_push_may_read(tokens: tuple[Registry, TokenServer], monkeypatch: pytest.MonkeyPatch) -> None:
    registry, server = tokens
    monkeypatch.setenv("REGISTRY_LOGIN", f"{USER}:{PASSWORD}")
    url = registry.repository()
    server.actions = {"pull", "push"}  # and not delete
    store = _opened(url, auth="env:REGISTRY_LOGIN")
    store.put("a/x", b"1")
    store.put("a/y", b"2")
    assert store.delete("a/x")
    assert list(store.list()) == ["a/y"]
    server.actions = {"pull"}
    store.close()
    assert store.get("a/y") == b"2"
    for call in (lambda: store.put("a/y", b"3"), lambda: store.create("a/z", b"3"), lambda: store.delete("a/y")):
        with pytest.raises(StoreReadOnly, match="may not be written"):
            call()
    assert dict(store.get_many(["a/y", "a/z"])) == {"a/y": b"2"}


def test_no_secret_is_shown(registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    url = registry.repository()
    shown: list[str] = []
    for password in (PASSWORD, "wrong-passw0rd"):
        monkeypatch.setenv("REGISTRY_LOGIN", f"{USER}:{password}")
        store = _opened(url, auth="env:REGISTRY_LOGIN", timeout=50.0 + len(password))
        try:
            _works(store)
        except StoreError as error:
            shown += ["".join(traceback.format_exception(error)), repr(vars(error))]
        shown += [store.url, repr(store), repr(store.info()), repr(pickle.dumps(store)), repr(vars(store))]
    assert any("credentials" in text or "may not" in text for text in shown)
    text = "\n".join([*shown, caplog.text])
    for secret in (PASSWORD, "wrong-passw0rd", _BASIC):
        assert secret not in text
    assert "eyJ" not in text  # how a token begins


@pytest.mark.parametrize("url", [f"oci://{USER}:{PASSWORD}@host/name", f"oci://{PASSWORD}@host/name"])
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="docker login") as caught:
        open_store(url)
    assert PASSWORD not in repr(caught.value) + str(caught.value.url)


def test_a_password_that_is_written_out_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="env:NAME") as caught:
        open_store("oci://host/name", auth=f"{USER}:{PASSWORD}")
    assert PASSWORD not in str(caught.value)


def test_no_password_goes_to_a_token_server_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_LOGIN", f"{USER}:{PASSWORD}")

    def challenge(_method: str, _path: str, _headers: Message) -> Answer:
        return 401, {"www-authenticate": 'Bearer realm="http://tokens.example/token",service="x"'}, b""

    with answering(challenge) as host, pytest.raises(StoreError, match="https"):
        _opened(f"oci://{host}/name", auth="env:REGISTRY_LOGIN").get("a")


def test_a_redirect_to_another_host_takes_no_credentials_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_LOGIN", f"{USER}:{PASSWORD}")
    seen: list[str | None] = []

    def storage(_method: str, _path: str, headers: Message) -> Answer:
        seen.append(headers["authorization"])
        return 404, {}, b""

    def redirect(_method: str, path: str, headers: Message) -> Answer:
        if headers["authorization"] is None:
            return 401, {"www-authenticate": 'Basic realm="x"'}, b""
        return 307, {"location": f"http://{other}{path}?X-Amz-Signature=abc"}, b""

    with answering(storage) as other, answering(redirect) as host, pytest.raises(FileNotFoundError):
        _opened(f"oci://{host}/name", auth="env:REGISTRY_LOGIN").get("a")
    assert seen == [None]
