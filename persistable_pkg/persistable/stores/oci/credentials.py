"""The user and password for a registry: named by the caller, or from the files of docker and podman."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from persistable.errors import StoreError
from persistable.params.secret import Secret, add_secret

_HELPER_SECONDS = 30
_TOKEN_USER = "<token>"
_DOCKER_HUB = "https://index.docker.io/v1/"


class Credentials(NamedTuple):
    """A user and password, or a token in place of both. Never shown."""

    user: str
    password: str
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials(***)"


def secret_of(auth: object) -> Secret | None:
    """The `Secret` that ``auth=`` names. Raises ValueError for credentials that are written out, which it does not repeat."""
    if auth is None or isinstance(auth, Secret):
        return auth
    if isinstance(auth, str) and auth.startswith("env:"):
        return Secret(auth.removeprefix("env:"))
    raise ValueError(
        'auth names the environment variable that holds user:password: "env:NAME" or Secret("NAME"), never the password itself'
    )


def find_credentials(host: str, secret: Secret | None) -> Credentials | None:
    """The credentials for a registry: those of `secret`, else those that docker or podman have for it; None where there are none.

    Raises StoreError for unreadable settings, SecretMissing for a variable that is not set.
    """
    if secret is not None:
        user, colon, password = secret.reveal().partition(":")
        if not colon:
            raise StoreError(f"{secret!r} is to hold user:password, and has no colon; set it so", url=f"oci://{host}", path="")
        add_secret(secret.name, password)
        return Credentials(user, password)
    names = [_DOCKER_HUB, host] if host in ("docker.io", "index.docker.io") else [host, f"https://{host}"]
    for file in _files():
        for name in names:
            found = _in_file(file, name)
            if found is not None:
                add_secret(f"login of {host}", found.password or found.token)
                return found
    return None


def _files() -> Iterator[Path]:
    folder = os.environ.get("DOCKER_CONFIG")
    if os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(os.environ["REGISTRY_AUTH_FILE"])
    if os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(os.environ["XDG_RUNTIME_DIR"], "containers", "auth.json")
    yield Path(folder, "config.json") if folder else Path.home() / ".docker" / "config.json"


def _in_file(file: Path, name: str) -> Credentials | None:
    try:
        facts: Any = json.loads(file.read_bytes())
        helper = facts.get("credHelpers", {}).get(name) or facts.get("credsStore")
        entry = facts.get("auths", {}).get(name)
        if helper:
            return _of_helper(str(helper), name)
        if not entry:
            return None
        user, _, password = b64decode(entry.get("auth", ""), validate=True).decode().partition(":")
        return Credentials(user, password, str(entry.get("identitytoken", "")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, AttributeError, PermissionError) as error:
        raise StoreError(
            f"{file} cannot be read as the settings of docker ({type(error).__name__}); mend it, or log in anew with `docker login`",
            url=f"oci://{name}",
            path="",
        ) from None


def _of_helper(helper: str, name: str) -> Credentials | None:
    """The credentials from a credential helper of docker; None where it has none for that registry."""
    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError("no helper has such a name")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, "get"], check=False, input=name.encode(), capture_output=True, timeout=_HELPER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(
            f"{program}, which docker's settings name for {name}, does not run ({type(error).__name__}); install it, or give "
            'auth=Secret("NAME")',
            url=f"oci://{name}",
            path="",
        ) from None
    if done.returncode:
        return None
    facts = cast("dict[str, str]", json.loads(done.stdout))
    user, secret = facts["Username"], facts["Secret"]
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)
