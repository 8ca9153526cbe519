"""Signature keys (Ed25519): a private key, given by value or by the place it is read from, and public keys as text.

A public key is ``ed25519:`` and 43 characters, a private one ``ed25519-private:`` and 43 characters, all of URL-safe base64. A private
key is shown as its public one. Its pickle holds the place it is read from; a key that was given as a value is pickled for processes of
this machine only, see `pickle_held_keys`.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self, cast

from persistable.errors import NotEnforceable, SecretMissing, need
from persistable.params.secret import Secret, add_secret

PUBLIC: Final = "ed25519:"
PRIVATE: Final = "ed25519-private:"
VARIABLE: Final = "env:"
TRUSTING: Final = "#trust="
"""Separator, at the end of a store's URL, before the public keys whose signatures count there, with commas between them."""
SUFFIX = ".pub"
"""Suffix of the file with the public key, beside that with the private one."""
_PUBLIC = re.compile(r"ed25519:[A-Za-z0-9_-]{43}")
_PRIVATE = re.compile(r"ed25519-private:[A-Za-z0-9_-]{43}")

_carrying: ContextVar[bool] = ContextVar("persistable_carrying_keys", default=False)


class SigningKey:
    """A private key: read from its file or environment variable each time it is needed, or held where it was given as a value.

    `of` makes one from the argument ``sign`` of `open_store`. Its repr and str show only the public key, or where it is read.
    """

    __slots__ = ("_held", "_public", "_where")

    def __init__(self, where: Secret | Path | None, held: str | None = None) -> None:
        self._where = where
        self._held = held
        self._public: str | None = None

    @classmethod
    def of(cls, sign: Any) -> SigningKey:
        """The key that `sign` is or names: a `SigningKey`, its text, a path, a `Secret`, or ``env:NAME``.

        Nothing is read before it is needed. Raises TypeError for anything else, ValueError for a text that begins as a key and is none.
        """
        kind: str = sign.__class__.__name__
        if isinstance(sign, SigningKey):
            return sign
        if isinstance(sign, Secret):
            return cls(sign)
        if isinstance(sign, str) and sign.startswith(VARIABLE):
            return cls(Secret(sign.removeprefix(VARIABLE)))
        if isinstance(sign, str) and sign.startswith(PRIVATE):
            return cls(None, _checked(sign, "sign"))
        if isinstance(sign, str) and sign.startswith(PUBLIC):
            raise ValueError(f"sign is {sign}, a public key, with which nothing can be signed; give the private one, or where it is read")
        if isinstance(sign, str | os.PathLike) and (path := os.fspath(cast("str | os.PathLike[str]", sign))):
            return cls(Path(os.path.abspath(os.path.expanduser(path))))
        raise TypeError(f"sign is a {kind}; give a private key, the path of its file, Secret('NAME') or 'env:NAME'")

    @property
    def by_value(self) -> bool:
        """True where it was given as a value, which is sent to processes of this machine only."""
        return self._held is not None

    @property
    def public(self) -> str:
        """The public key, as text. Raises as `reveal` does."""
        if self._public is None:
            self._public = PUBLIC + _text(self._key().public_key().public_bytes_raw())
        return self._public

    def reveal(self) -> str:
        """The private key, as text. Raises SecretMissing where its file or variable is missing, ValueError where that holds no key."""
        if self._held is not None:
            return self._held
        if isinstance(self._where, Path):
            return read_private(self._where)
        assert self._where is not None
        return _checked(self._where.reveal().strip(), f"the environment variable {self._where.name}")

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, as text of 86 characters."""
        return _text(self._key().sign(message)).encode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a new file that only this user may read, and the public key to a file beside it (``.pub``).

        Raises FileExistsError where either is there: a key that is lost cannot be made again.
        """
        target = Path(path)
        beside = target.with_name(target.name + SUFFIX)
        if beside.exists():
            raise FileExistsError(f"{beside} is there already; choose another name, or remove it if nothing is signed by that key")
        _write_new(target, self.reveal(), 0o600)
        _write_new(beside, self.public, 0o644)

    def _key(self) -> Any:
        return _private_key(self.reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and (other._where, other._held) == (self._where, self._held)

    def __hash__(self) -> int:
        return hash((self._where, self._held))

    def __repr__(self) -> str:
        if self._held is not None:
            return f"<SigningKey {self.public}>"
        return f"<SigningKey of {self._where.name}>" if isinstance(self._where, Secret) else f"<SigningKey in {self._where}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._held is not None and not _carrying.get():
            raise NotEnforceable(
                "a private key that was given as a value is not sent to other machines nor written to a file; give where it is read: "
                'sign="env:NAME", a Secret, or the path of a file that is there as well',
                executor="",
                wanted="sign",
            )
        return SigningKey, (self._where, self._held)


@contextmanager
def pickle_held_keys(allowed: bool) -> Generator[None]:
    """Pickle keys given as values within the block, in this thread, if `allowed`: for pickles sent to processes of this machine."""
    before = _carrying.set(allowed)
    try:
        yield
    finally:
        _carrying.reset(before)


def new_signing_key() -> tuple[SigningKey, str]:
    """Draw a new private key; return it and its public key, as text: ``open_store(url, sign=private, trust=[public])``.

    ``private.save(path)`` keeps it; ``private.reveal()`` is its text, for an environment variable. Raises MissingExtra without the package
    ``cryptography``.
    """
    private = SigningKey.of(PRIVATE + _text(_ed25519().Ed25519PrivateKey.generate().private_bytes_raw()))
    return private, private.public


def read_private(path: Path) -> str:
    """The private key in a file. Raises SecretMissing where there is no file, ValueError where it holds something else."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SecretMissing(
            f"the private key at {path} cannot be read in process {os.getpid()} ({error.strerror}); `persistable keys new --out {path}` "
            "makes one",
            name=str(path),
        ) from error
    return _checked(text.strip(), str(path))


def public_key(trusted: str | os.PathLike[str]) -> str:
    """The public key that `trusted` is, or whose file it names. Raises ValueError for anything else; a private key is not repeated."""
    if isinstance(trusted, str) and trusted.startswith(PRIVATE):
        raise ValueError("trust holds a private key; give the public one: `persistable keys show FILE`")
    if isinstance(trusted, str) and trusted.startswith(PUBLIC):
        if not _PUBLIC.fullmatch(trusted):
            raise ValueError(f"{trusted!r:.80} is no public key: after {PUBLIC} come 43 characters")
        return trusted
    path = Path(trusted).expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise ValueError(
            f"trust names {str(trusted)!r:.200}, which is neither a public key nor a file with one ({error.strerror})"
        ) from error
    if not _PUBLIC.fullmatch(text):
        raise ValueError(f"{path} holds no public key: one line, {PUBLIC} and 43 characters")
    return text


def public_keys(trust: Any) -> tuple[str, ...]:
    """All public keys that `trust` names: one, or several in a list."""
    several = cast("Iterable[Any]", (trust,) if isinstance(trust, str | os.PathLike) else trust)
    return tuple(dict.fromkeys(public_key(each) for each in several))


def is_signed(public: str, signature: str, message: bytes) -> bool:
    """Tell whether `signature`, as `SigningKey.sign` gives it, is one of `message` by the private key of `public`."""
    from cryptography.exceptions import InvalidSignature

    try:
        _public_key(public).verify(_bytes(signature), message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _public_key(text: str) -> Any:
    return _ed25519().Ed25519PublicKey.from_public_bytes(_bytes(text.removeprefix(PUBLIC)))


@lru_cache(maxsize=8)
def _private_key(text: str) -> Any:
    return _ed25519().Ed25519PrivateKey.from_private_bytes(_bytes(text.removeprefix(PRIVATE)))


def _ed25519() -> Any:
    return need("cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography", "sign", "a signature")


def _checked(text: str, source: str) -> str:
    """`text` itself, if it is a private key; from now on it is masked in messages. Raises ValueError for anything else."""
    if not _PRIVATE.fullmatch(text):
        raise ValueError(f"{source} holds no private key: one line, {PRIVATE} and 43 characters, as `persistable keys new` writes it")
    add_secret("signing key", text)
    return text


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _write_new(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
