"""Hooks that report runs: by a webhook, Slack, the services of Apprise, MLflow, Weights & Biases. Each is imported when first used.

    run(report, hooks=[Slack(Secret("SLACK_URL"))])

A hook only queues its messages: a slow or failing receiver neither slows nor fails a run.
"""

from persistable import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from persistable.notify.apprise import Apprise
    from persistable.notify.mlflow import MLflow
    from persistable.notify.wandb import WandB
    from persistable.notify.webhook import Slack, Webhook
    from persistable.params.secret import Secret

__all__ = ["Apprise", "MLflow", "Secret", "Slack", "WandB", "Webhook"]

_HOMES = {"apprise": ("Apprise",), "hook": ("Secret",), "mlflow": ("MLflow",), "wandb": ("WandB",), "webhook": ("Slack", "Webhook")}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _HOMES)
