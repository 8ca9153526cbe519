"""A readable message in a Slack channel."""

from __future__ import annotations

from typing import Any

from persistable.notify.hook import RETRY, On
from persistable.notify.message import Message
from persistable.notify.webhook import Webhook
from persistable.resources import Retry
from persistable.secret import Secret

_LONGEST = 2900  # characters; Slack refuses a section of more than 3000


class Slack(Webhook):
    """A hook that writes to a Slack channel when a run has failed. Needs the extra ``notify``.

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
