"""Hooks that tell others of runs: a webhook, Slack, whatever Apprise knows, MLflow, Weights & Biases. Each is imported when first used.

    run(report, hooks=[Slack(Secret("SLACK_URL"))])

A hook only queues what it tells: a slow or failing receiver neither slows nor fails a run.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.notify.apprise import Apprise
    from persistable.notify.mlflow import MLflow
    from persistable.notify.wandb import WandB
    from persistable.notify.webhook import Slack, Webhook
    from persistable.params.secret import Secret

_HOME = {
    "Apprise": "persistable.notify.apprise",
    "MLflow": "persistable.notify.mlflow",
    "Secret": "persistable.params.secret",
    "Slack": "persistable.notify.webhook",
    "WandB": "persistable.notify.wandb",
    "Webhook": "persistable.notify.webhook",
}
__all__ = ["Apprise", "MLflow", "Secret", "Slack", "WandB", "Webhook"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> "Any":
        if name not in _HOME:
            raise AttributeError(f"module 'persistable.notify' has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(_HOME[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
