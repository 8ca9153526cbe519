"""Messages by e-mail and the other services of Apprise."""

from __future__ import annotations

from typing import Any

from persistable.errors import check_installed
from persistable.executors.resources import Retry
from persistable.notify.delivery import NotSent
from persistable.notify.hook import RETRY, Notifier, On
from persistable.notify.message import Message
from persistable.params.secret import Secret, redacted_logs, revealed

_LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


class Apprise(Notifier):
    """A hook that sends e-mail, or a message by any other service of Apprise, when a run has failed. Needs the extra ``notify``.

    urls: as Apprise writes them, each a receiver of its own: ``mailto://…``, ``tgram://…``, ``ntfy://…``. Most carry credentials: give a
    `Secret` that holds the URL, or the part of it that is secret: ``Secret("MAIL_PASSWORD", "mailto://me:{}@example.org")``; the value
    is inserted as is, so it must be percent-encoded. on: ``"failure"``, ``"always"`` (each run) or a predicate on events. retry: how often
    and at which intervals to try again (its `on` is not used).
    """

    def __init__(self, *urls: str | Secret, on: On = "failure", retry: Retry = RETRY) -> None:
        if not urls:
            raise ValueError("Apprise needs at least one URL to send to")
        check_installed("apprise", "apprise", "notify", "Apprise")
        super().__init__(urls, on, retry)

    def _send(self, receiver: str | Secret, message: Message) -> None:
        import apprise

        library: Any = apprise
        url = revealed(receiver)
        with redacted_logs(*_LOGGERS, more=(url,)):
            service = library.Apprise(asset=library.AppriseAsset(app_id="persistable", async_mode=False))
            if not service.add(url):
                raise NotSent("Apprise does not know this kind of URL, or finds it incomplete")
            kind = library.NotifyType.FAILURE if message.failed else library.NotifyType.SUCCESS
            done = service.notify(
                title=message.title, body="\n".join(message.lines), notify_type=kind, body_format=library.NotifyFormat.TEXT
            )
        if not done:
            raise NotSent("Apprise could not deliver it; its log says why", again=True)
