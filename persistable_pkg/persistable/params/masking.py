"""Text without the passwords, tokens and signatures of the URLs in it, for all code that shows or stores a URL."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from persistable.errors import StoreError
from persistable.params.credentials import has_credential_look, is_credential, opaque

# a password may hold a slash, as in `s3://key:sec/ret@bucket`, where `host:80/a@b` has none; `zip://a::https://b` are two URLs
_PASSWORD = re.compile(r"(?<=://)([^/@\s:?#]*):(?!:)(?!\d{1,5}[/?#])(?:(?!://)[^@\s])*(?:@[^@/\s?#]+)*@(?=[^@/\s]*)")
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/@\s:?#]+)@")
_QUERY = re.compile(r"(?<=[?&;#])([\w.\-%\[\]]+)=([^&;#\s'\"<>]+)")
_ENCODED_URL = re.compile(r"(?i)%3A(?:%2F|/)(?:%2F|/)")


def masked(text: str) -> str:
    """`text` with the passwords, tokens and signatures of all URLs in it replaced by ``***``."""
    if "://" not in text:
        return text
    if "@" in text:
        text = _USER.sub(_without_token, _PASSWORD.sub(r"\1:***@", text))
    return _QUERY.sub(_without_value, text) if "=" in text else text


def unmasked(text: str) -> bool:
    """Tell whether `text` contains a secret that `masked` would replace."""
    return masked(text) != text


def _without_token(found: re.Match[str]) -> str:
    scheme, user = found.groups()
    # http has no users without a password; elsewhere a name may be there alone, and text that looks random is no name
    is_token = scheme.lower().endswith(("http", "https")) or has_credential_look(user) or opaque(user)
    return f"{scheme}://***@" if is_token else found[0]


def _without_value(found: re.Match[str]) -> str:
    name, value = found.groups()
    if is_credential(unquote(name), unquote(value), in_request=True) and value != "***":
        return f"{name}=***"
    if _ENCODED_URL.search(value):
        return f"{name}={_encoded(value)}"
    return found[0]


def _encoded(value: str) -> str:
    inner: Any = unquote(value)
    if not unmasked(inner):
        return value
    from urllib.parse import quote

    return quote(masked(inner), safe="*")


def check_user(url: str) -> None:
    """Raise StoreError for a user or password in front of a bucket: file systems do not support it, and take it as part of the name."""
    scheme, _, rest = url.rpartition("::")[2].partition("://")
    if scheme.lower() in _BUCKETS and "@" in rest.partition("/")[0]:
        shown = re.sub(r"(?<=://)[^/]*@", "***@", url)
        raise StoreError(
            f"{shown}: {scheme}:// takes no user or password in front of the bucket; pass key= and secret=, or token=, as options, or set "
            "the provider's environment variables",
            url=shown,
            path="",
        )


_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs"})
