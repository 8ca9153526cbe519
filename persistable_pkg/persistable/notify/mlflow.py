"""Results as runs of MLflow."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, TypeVar

from persistable.errors import check_installed
from persistable.notify.delivery import NotSent
from persistable.notify.hook import shown
from persistable.notify.tracker import Each, Tracked, Tracker
from persistable.params.secret import Secret, redact, redacted_logs, revealed

ItemT = TypeVar("ItemT")
_UNNAMEABLE = re.compile(r"[^\w. :/-]")
_LONGEST_NAME = 250
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_AT_ONCE = 100
"""Params, or metrics, that a server accepts in one request."""
_QUIET = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
_LOGGERS = ("mlflow", "urllib3.connectionpool", "urllib3.util.retry")


class MLflow(Tracker):
    """A hook that keeps a run of MLflow for each target. Needs the extra ``mlflow``.

    Kept are params, upstream included, numbers of the payload as metrics, status, error, key and store.

    experiment: its name; created if it does not exist. url: of the tracking server, or a `Secret` that holds it; by default the one that
    MLflow is set up for (``MLFLOW_TRACKING_URI``), as are user, password and token, which its variables hold. each: ``"target"``, or
    ``"node"`` to keep upstream nodes, too. Payloads that a run finds stored are not reported again.
    """

    def __init__(self, experiment: str = "Default", *, url: str | Secret | None = None, each: Each = "target") -> None:
        check_installed("mlflow", "mlflow", "mlflow", "MLflow")
        self._experiment = experiment
        self._url = url
        super().__init__(each)

    def __repr__(self) -> str:
        return f"MLflow({self._experiment!r}{'' if self._url is None else f', url={shown(self._url)}'})"

    def _track(self, tracked: Tracked) -> None:
        import mlflow

        url = None if self._url is None else revealed(self._url)
        secret = (url,) if isinstance(self._url, Secret) and url else ()
        with redacted_logs(*_LOGGERS, more=secret):
            try:
                _keep(mlflow.MlflowClient(url), self._experiment, tracked)
            except Exception as error:  # noqa: BLE001 - the library's own, which may quote the URL
                raise NotSent(redact(f"{type(error).__name__}: {error}", *secret)) from None


def _keep(client: Any, experiment: str, tracked: Tracked) -> None:
    from mlflow.entities import Metric, Param

    tags = {
        **tracked.links,
        "persistable.run": tracked.group,
        "mlflow.note.content": tracked.note,
        "mlflow.source.name": tracked.links.get("persistable.class", tracked.name),
    }
    if tracked.error:
        tags["persistable.error"] = tracked.error
    if tracked.commit:
        tags["mlflow.source.git.commit"] = tracked.commit
    cut = {name: value[:_LONGEST_TAG] for name, value in tags.items()}
    began, ended = round(tracked.started * 1000), round((tracked.started + tracked.seconds) * 1000)
    run = client.create_run(_experiment_id(client, experiment), start_time=began, tags=cut, run_name=tracked.label).info.run_id
    try:
        for params in _in_parts([Param(_name(path), str(value)[:_LONGEST_PARAM]) for path, value in tracked.params.items()]):
            client.log_batch(run, params=params)
        for metrics in _in_parts([Metric(_name(path), value, ended, 0) for path, value in tracked.metrics.items()]):
            client.log_batch(run, metrics=metrics)
    finally:
        with _quiet():
            client.set_terminated(run, "FAILED" if tracked.failed else "FINISHED", ended)


def _experiment_id(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another process has just made it
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _name(path: str) -> str:
    """`path` as a name that MLflow accepts."""
    return _UNNAMEABLE.sub("_", path)[:_LONGEST_NAME]


def _in_parts(items: list[ItemT]) -> Iterable[list[ItemT]]:
    return (items[first : first + _AT_ONCE] for first in range(0, len(items), _AT_ONCE))


@contextmanager
def _quiet() -> Generator[None]:
    """Inside the block MLflow does not print the URL of a run that ends."""
    before = os.environ.get(_QUIET)
    os.environ[_QUIET] = "true"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_QUIET, None)
        else:
            os.environ[_QUIET] = before
