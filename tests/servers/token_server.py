"""A token server for registries, as distribution's specification has it: it signs what its one user may do."""

import base64
import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from servers.listening import Quiet, listening
from servers.needs import need

USER, PASSWORD, REFRESH = "ann", "pass-w0rd-of-tests", "refresh-token-of-tests"
ISSUER, SERVICE = "tests", "registry-of-tests"


class TokenServer:
    """Where it is, the certificate that its tokens are checked with, and the scopes that it was asked for."""

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.realm = ""
        self.asked: list[str] = []
        self.actions = {"pull", "push", "delete"}
        self.seconds = 300
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
        now = dt.datetime.now(dt.UTC)
        built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        built = built.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        certificate = built.sign(self._key, hashes.SHA256())
        self._der = certificate.public_bytes(serialization.Encoding.DER)
        self.certificate = folder / "certificate.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def token(self, user: str, scopes: list[str]) -> dict[str, Any]:
        """The answer for these scopes."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        self.asked += scopes
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": sorted(set(actions.split(",")) & self.actions)})
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": user, "aud": SERVICE, "nbf": now - 10, "iat": now, "exp": now + self.seconds, "access": access}
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self._der).decode()]}
        signed = f"{_encoded(header)}.{_encoded({**claims, 'jti': uuid.uuid4().hex})}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {"token": f"{signed}.{_base64(signature)}", "expires_in": self.seconds}

    @property
    def auth(self) -> dict[str, object]:
        """The configuration of a registry that believes it."""
        return {"token": {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.certificate)}}


def _encoded(facts: dict[str, Any]) -> str:
    return _base64(json.dumps(facts).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    """A running token server that keeps its certificate in `folder`."""
    need("cryptography")
    tokens = TokenServer(folder)
    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            self._give(self.headers.get("authorization") == basic and asked.get("service") == [SERVICE], asked)

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            self._give(asked.get("grant_type") == ["refresh_token"] and asked.get("refresh_token") == [REFRESH], asked)

        def _give(self, known: bool, asked: dict[str, list[str]]) -> None:
            body = json.dumps(tokens.token(USER, asked["scope"]) if known else {"details": "no"}).encode()
            self.send_response(200 if known else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as port:
        tokens.realm = f"http://127.0.0.1:{port}/token"
        yield tokens
