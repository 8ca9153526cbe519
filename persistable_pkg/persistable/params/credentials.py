"""Signs of a credential: the name it is given under, its own look, or its place in a URL or a script.

Names are judged word by word, so that `AWS_SECRET_ACCESS_KEY`, `apiKey` and `X-Amz-Signature` are found, and `tokenizer`, `max_tokens`,
`KEYBOARD` and `sort_key` are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CREDENTIALS = _set(
    """
    password passwd passphrase passcode secret secrets token credential credentials creds auth authorization authorisation bearer
    jwt apikey otp totp
    """
)
_IN_REQUESTS = _set("sig signature hmac cookie cookies pass pwd pw")
_ABBREVIATED = frozenset({"pat", "pwd", "pass", "pw"})  # credentials only with another word before them
_BEFORE_PASS = _set(
    """
    account admin auth db email ftp http ldap login mail mongo mysql pg postgres proxy redis root service smtp ssh sudo user
    """
)
_RUN_TOGETHER = re.compile(
    r"\w*(?:password|passwd|passphrase|secretkey|accesskey|apikey|privatekey|authtoken|accesstoken)|(?:pg|my|db|user|root|admin|ssh)pass(?:wd)?"
)
_PLURAL = frozenset({"tokens", "passwords"})
_BEFORE_TOKENS = _set("access api auth bearer bot deploy id refresh secret security session")
# a last word that makes a name a fact about a credential, not a credential
_METADATA_WORDS = _set(
    """
    algorithm arn count date dir dirs enabled endpoint expiration expires expiry file filename folder format header host id ids
    index kind len length level limit max method min mode name names num path paths policy port prefix provider required scheme
    scope server size store suffix time timeout ttl type uri url user username var version
    """
)
_TOKENIZER_WORDS = _set(
    """
    begin blank bos class cls continuation cursor delta end eos eof first k last mask max min n next num pad page pagination per
    prompt resume special start stop sync unk unknown
    """
)
# keys of another kind: of tables, caches and the like
_PLAIN_KEYS = _set(
    """
    answer arrow attribute bucket cache column composite config context data default dedup dict dictionary event feature field
    filter first foreign group hash head hot index item job join json label last lookup map match metadata metric name node
    object order params parent part partition path primary project public ref result root routing row s3 sample search set shard
    sort sorting split store table tag target task time translation tree unique value
    """
)
_SECRET_KEYS = _set(
    """
    access account admin api auth authentication client consumer deploy encryption fernet gpg hmac license master mapbox openai
    anthropic private rsa sas secret security sendgrid service session shared signing ssh storage stripe subscription wandb
    webhook
    """
)
_TELLING_VALUES = re.compile(
    r"(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk-|sk_live_|rk_live_|hf_|npm_|pypi-|dop_v1_|AIza|ya29\.|AGE-SECRET-KEY-|ed25519-private:)[\w.-]{16,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*|(?:Bearer|Basic)\s+[\w.~+/=-]{6,}",
)
_SHORTEST = 20  # shorter values of letters and digits alone are no credential
_PAIRS = re.compile(r"(?i)(?:^|[;\s])(password|pwd|passwd|accountkey|sharedaccesskey)=([^;\s]+)")  # in a connection string
_OPAQUE = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`|]+")


def is_named_credential(name: str, in_request: bool = False) -> bool:
    """Tell whether this is the name of a credential: of a variable or a param, or, in a request, of a header or a part of the URL."""
    words = _words(name)
    if not words:
        return False
    last, before = words[-1], words[:-1]
    if in_request and last in _IN_REQUESTS:
        return True
    if last in _METADATA_WORDS:
        return words[-2:] == ("secret", "id")
    if last == "key":
        return bool(_SECRET_KEYS.intersection(before)) and "public" not in before
    if last in _PLURAL:
        return bool(_BEFORE_TOKENS.intersection(before)) or last == "passwords"
    if last == "token":
        return not _TOKENIZER_WORDS.intersection(before)
    if last in _ABBREVIATED:
        return bool(before) and (last in ("pat", "pwd") or bool(_BEFORE_PASS.intersection(before)))
    return last in _CREDENTIALS or _RUN_TOGETHER.fullmatch(last) is not None


@lru_cache(256)
def _words(name: str) -> tuple[str, ...]:
    words = [word.lower() for word in _WORD.findall(name)]
    while words and words[-1].isdecimal():  # TOKEN2
        del words[-1]
    return tuple(words)


def is_credential(name: str, value: str, in_request: bool = False) -> bool:
    """Tell whether `value`, given as plain text under `name`, is a credential: by the name, by its look, or by both together."""
    if not value or value.isspace():
        return False
    if is_named_credential(name, in_request):
        return not (_words(name)[-1] in ("key", "credentials", "token") and _PATH.fullmatch(value))
    return has_credential_look(value) or (_is_some_key(name) and opaque(value))


_PATH = re.compile(r"(?:~|\.{0,2})/[\w./ -]{1,200}")


def _is_some_key(name: str) -> bool:
    words = _words(name)
    return words[-1:] == ("key",) and not _PLAIN_KEYS.intersection(words[:-1])


def has_credential_look(value: str) -> bool:
    """Tell whether `value` is a credential by its own look: a well-known kind of token, a private key, a URL with a password in it."""
    if len(value) < _SHORTEST and value.isalnum():
        return False
    if "PRIVATE KEY-----" in value or _TELLING_VALUES.fullmatch(value.strip()) or any(_is_given(pair[1]) for pair in _PAIRS.findall(value)):
        return True
    return any(find_url_credential(url) is not None for url in _URL.findall(value)) if "://" in value else False


def opaque(value: str) -> bool:
    """Tell whether `value` looks random: long, and letters and digits mixed within one word."""
    runs = re.findall(r"[A-Za-z0-9]{12,}", value) if _OPAQUE.fullmatch(value) else []
    return any(sum(map(str.isdigit, run)) >= 3 and sum(map(str.isalpha, run)) >= 3 for run in runs)


def find_url_credential(url: str) -> str | None:
    """The credential in `url`, in words, such as ``the parameter `token```; None without one. A ``{place}`` is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if _is_given(password) or _TELLING_VALUES.fullmatch(user) or opaque(user):
        return "the user or password in front of the host"
    for text in (parts.query, parts.fragment):
        for name, value in parse_qsl(text.replace(";", "&")):
            if _is_given(value) and is_credential(name, value, in_request=True):
                return f"the parameter `{name}`"
    return None


def _is_given(value: str) -> bool:
    """Tell whether `value` is written out: no placeholder, no variable of a shell, not masked."""
    return bool(value) and re.search(r"^\$|[{}]|^(?:\*+|[xX]{3,}|\.{3})$", value) is None


_ASSIGNED = re.compile(r"(?<![\w$%{./-])([A-Z][A-Z0-9_]*)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'`;|&()<>]+)")
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization|cookie|x-[\w-]*(?:key|token|auth|secret)[\w-]*|private-token)\s*:\s*([^\"'\n\\]+)")


def find_script_credential(text: str) -> str | None:
    """The credential written out in a script, in words; None without one. `text`: the template."""
    for name, given in _ASSIGNED.findall(text):
        value = given.strip("\"'")
        if "$" not in value and "`" not in value and _is_given(value) and is_credential(name, value):
            return f"the value of `{name}`"
    for name, value in _HEADER.findall(text):
        if "$" not in value and "{{" not in value and _is_given(value.strip()):
            return f"the header `{name}`"
    for url in _URL.findall(text):
        if "$" not in url and (found := find_url_credential(url)) is not None:
            return f"{found} of a URL"
    return None


def credential_names(value: Any, name: str = "") -> Iterator[str]:
    """The names under which credentials are given as plain text in `value`, which may hold others in lists and mappings."""
    if isinstance(value, str):
        if is_credential(name, value):
            yield name
        return
    several: Any = value
    if isinstance(value, Mapping):
        for key in several:
            yield from credential_names(several[key], str(key))
    elif isinstance(value, list | tuple):
        for item in several:
            yield from credential_names(item, name)
