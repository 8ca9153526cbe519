"""Results as runs of Weights & Biases."""

from __future__ import annotations

import os
from typing import Any, Literal

from persistable.errors import check_installed
from persistable.notify.delivery import NotSent
from persistable.notify.tracker import Each, Tracked, Tracker
from persistable.params.secret import Secret, redact, redacted_logs

Mode = Literal["online", "offline"]
_LOGGERS = ("wandb", "urllib3.connectionpool", "urllib3.util.retry")
_LONGEST_NAME = 128


class WandB(Tracker):
    """A hook that keeps a run of Weights & Biases for each target. Needs the extra ``wandb``.

    Kept are params, upstream included, as the run's config, numbers of the payload, status, error, key and store; nothing else of this
    process or machine leaves it.

    project, entity: of the runs; by default as W&B is set up. each: ``"target"``, or ``"node"`` to keep upstream nodes, too. mode:
    ``"offline"`` writes files for ``wandb sync``; by default as ``WANDB_MODE`` says. folder: for its files; by default as ``WANDB_DIR``
    says. api_key: a `Secret`; by default that of ``wandb login`` or ``WANDB_API_KEY``. Payloads found stored are not reported again.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        entity: str | None = None,
        each: Each = "target",
        mode: Mode | None = None,
        folder: str | None = None,
        api_key: Secret | None = None,
    ) -> None:
        check_installed("wandb", "wandb", "wandb", "WandB")
        if mode not in (None, "online", "offline"):  # pyright: ignore[reportUnnecessaryContains]
            raise ValueError(f"mode={mode!r} is unknown; give 'online' or 'offline'")
        if isinstance(api_key, str):
            raise TypeError('api_key is a Secret, the name of the variable that holds it: Secret("WANDB_API_KEY")')
        self._project = project
        self._entity = entity
        self._mode = mode
        self._folder = folder
        self._api_key = api_key
        super().__init__(each)

    def __repr__(self) -> str:
        place = "/".join(part for part in (self._entity, self._project) if part)
        return f"WandB({place!r})" if place else "WandB()"

    def _track(self, tracked: Tracked) -> None:
        import wandb

        key = None if self._api_key is None else self._api_key.reveal()
        with redacted_logs(*_LOGGERS, more=(key,) if key else ()):
            try:
                self._keep(wandb, tracked, key)
            except NotSent:
                raise
            except Exception as error:  # noqa: BLE001 - the library's own
                raise NotSent(redact(f"{type(error).__name__}: {error}", *([key] if key else []))) from None

    def _keep(self, wandb: Any, tracked: Tracked, key: str | None) -> None:
        # nothing is printed, measured or collected: params, numbers and links are all that leaves the process
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            api_key=key,
        )
        mode = self._mode or os.environ.get("WANDB_MODE", "online")
        if mode in ("online", "run", "shared") and key is None and not wandb.login(prompt=False):
            raise NotSent('it has no API key: call `wandb login` once, set WANDB_API_KEY, or give mode="offline"')
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            mode=self._mode,
            dir=self._folder,
            name=tracked.label[:_LONGEST_NAME],
            group=tracked.group,
            job_type=tracked.name,
            notes=tracked.note,
            config={**nested(tracked.params), "persistable": _facts(tracked)},
            reinit="create_new",  # a run that the user's own code has open is not changed
            settings=settings,
        )
        try:
            if tracked.metrics:
                run.log(tracked.metrics)
        finally:
            run.finish(exit_code=int(tracked.failed))


def _facts(tracked: Tracked) -> dict[str, Any]:
    facts: dict[str, Any] = {name.partition(".")[2]: value for name, value in tracked.links.items()}
    facts |= {"status": tracked.status, "started": tracked.started, "seconds": tracked.seconds}
    return facts | {name: value for name, value in (("error", tracked.error), ("commit", tracked.commit)) if value}


def nested(params: dict[str, Any]) -> dict[str, Any]:
    """Params by dotted path as a tree, as W&B shows configs; a value that has others below it is stored as ``class``."""
    tree: dict[str, Any] = {}
    for path, value in params.items():
        *above, last = path.split(".")
        place = tree
        for name in above:
            found = place.get(name)
            if not isinstance(found, dict):
                place[name] = {} if found is None else {"class": found}
            place = place[name]
        place[last] = value
    return tree
