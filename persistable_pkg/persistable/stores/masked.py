"""URLs without what is secret in them."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/\s]*@")
_TOKEN = re.compile(r"(?<=http://|ttps://)[^/@\s:]+@")
_QUERY = re.compile(
    r"([?&][\w.\-]*(?:token|secret|sig|signature|api_?-?key|access_?-?key|password|passwd|pwd|credential|auth)[\w.\-]*=)[^&#\s'\"]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """`text` with the passwords, tokens and signatures of all URLs in it replaced by ``***``."""
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1***", _TOKEN.sub("***@", _PASSWORD.sub(r"\1:***@", text)))
