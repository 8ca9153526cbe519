"""Messages posted to a URL: JSON of any shape, and to Slack."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib import error, parse, request

from persistable.executors.resources import Retry
from persistable.notify.delivery import NotSent
from persistable.notify.hook import RETRY, Notifier, On
from persistable.notify.message import Message
from persistable.params.secret import Secret, revealed
from persistable.stores.retries import retry_after


class Webhook(Notifier):
    """A hook that posts JSON to a URL when a run has failed.

    url: http or https, or a `Secret` that holds it. on: ``"failure"``, ``"always"`` (each run) or a predicate on events. headers: further
    headers, whose values may be secrets: ``{"Authorization": Secret("TOKEN", "Bearer {}")}``. retry: how often and at which intervals to
    try again after 408, 425, 429, a status of 500 or more, or no answer (its `on` is not used); a ``Retry-After`` of up to a minute is
    respected. timeout: longest silence of the receiver, in seconds.

    The body: ``event``, ``title``, ``host``, ``time``; of a run ``failed``, ``counts``, ``seconds``, ``failures`` (the first ten, each with
    ``key`` and ``error``) and ``more_failures``; of other events their facts. A message may arrive twice, if an answer was lost.
    """

    def __init__(
        self,
        url: str | Secret,
        *,
        on: On = "failure",
        headers: Mapping[str, str | Secret] | None = None,
        retry: Retry = RETRY,
        timeout: float = 5.0,
    ) -> None:
        if isinstance(url, str):
            check_url(url)
        super().__init__((url,), on, retry)
        self._headers = dict(headers or {})
        self._timeout = timeout

    def _send(self, receiver: str | Secret, message: Message) -> None:
        url = revealed(receiver)
        headers = {name: revealed(value) for name, value in self._headers.items()}
        post(url, headers, self._body(message), self._timeout)

    def _body(self, message: Message) -> dict[str, Any]:
        return message.data


def check_url(url: str) -> None:
    """Raise ValueError, without repeating the URL, unless it can be posted to."""
    try:
        parts = parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        personal = parts.username is not None
    except ValueError:
        usable = personal = False
    if not usable:
        raise ValueError("this is no http or https URL")
    if personal:
        raise ValueError("the URL carries a user name; give an Authorization header instead")


class _NoRedirects(request.HTTPRedirectHandler):
    """Refuses redirects: a redirected POST becomes a GET, and its headers would go to another server."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, headers: Mapping[str, str], body: Any, timeout: float) -> None:
    """POST `body` as JSON. Raises NotSent; the libraries' own errors are not passed on, since they quote URLs and headers."""
    try:
        check_url(url)
    except ValueError as refused:
        raise NotSent(str(refused)) from None
    data = json.dumps(body).encode()
    try:
        asked = request.Request(url, data, {"Content-Type": "application/json", "User-Agent": "persistable", **headers}, method="POST")
        with request.build_opener(_NoRedirects).open(asked, timeout=timeout) as answer:
            answer.read(1 << 16)
        return
    except error.HTTPError as answer:
        problem = _refused(answer)
    except (OSError, http.client.HTTPException) as failure:
        cause = failure.reason if isinstance(failure, error.URLError) and isinstance(failure.reason, OSError) else failure
        what = type(cause).__name__ + (f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else "")
        hopeless = isinstance(cause, http.client.InvalidURL | ssl.CertificateError)
        problem = NotSent(f"no answer: {what}", again=not hopeless)
    raise problem


def _refused(answer: error.HTTPError) -> NotSent:
    with answer:
        status = answer.code
        wait = retry_after(answer.headers.get("Retry-After", ""))
        if status in (408, 425, 429) or status >= 500:
            return NotSent(f"the receiver answered {status}", again=True, wait=wait)
        return NotSent(f"the receiver answered {status}")


_LONGEST = 2900  # characters; Slack refuses a section of more than 3000


class Slack(Webhook):
    """A hook that writes to a Slack channel when a run has failed.

    url: that of an incoming webhook, which is a credential: give a `Secret` that holds it. The other arguments are those of `Webhook`.
    """

    def __init__(self, url: str | Secret, *, on: On = "failure", retry: Retry = RETRY, timeout: float = 5.0) -> None:
        super().__init__(url, on=on, retry=retry, timeout=timeout)

    def _body(self, message: Message) -> dict[str, Any]:
        lines = [f"{':x:' if message.failed else ':white_check_mark:'} *{_escaped(message.title)}*", _escaped(message.summary)]
        lines += [f"• `{_escaped(failure.short)}` {_escaped(failure.error)}" for failure in message.failures]
        text = "\n".join(lines)
        if len(text) > _LONGEST:
            text = text[: text.rindex("\n", 0, _LONGEST)] + "\n…"
        if message.more:
            text += f"\nand {message.more} more"
        return {"text": _escaped(message.title), "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")
