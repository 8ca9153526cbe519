"""The API of a Kubernetes cluster as this library uses it: JSON in and out, with retries of temporary failures."""

# the client is not typed
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

from persistable.errors import ExecutorUnavailable, need
from persistable.stores.retries import TRANSIENT_STATUSES, retry_after

Json: TypeAlias = Mapping[str, Any]
"""An object of the API, such as a pod."""

_TRIES = 6
_DELAY = 0.2  # seconds before the second try; doubled for each that follows
_TIMEOUT = (10.0, 60.0)  # seconds to connect, and to wait for more data
_SILENT = 600.0  # seconds without a line after which a log is requested again
_WATCHED = 240  # seconds of one watch
_WORDS = {"ConfigMap": "config_map", "Secret": "secret", "Job": "job"}  # kinds of objects, as in the names of calls


class Refused(Exception):
    """The server refused a request. `status` is that of HTTP, `reason` the term of the API."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unreachable(Exception):
    """The server did not answer."""


class API:
    """Connection to a cluster, and to one namespace of it. All methods may be called by several threads.

    Raises `Refused` or `Unreachable` if the last retry fails.
    """

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        client, configuration, of_context = _configured(kubeconfig, context)
        configuration.retries = False
        configuration.connection_pool_maxsize = 64
        api = client.ApiClient(configuration)
        self.place = str(configuration.host)
        """URL of the server."""
        self.namespace = namespace or of_context or "default"
        self._client = api
        self._core = client.CoreV1Api(api)
        self._batch = client.BatchV1Api(api)
        self._rights = client.AuthorizationV1Api(api)
        self._version = client.VersionApi(api)
        self.clock_offset = 0.0
        """Seconds by which the clock of the server is ahead of this machine's."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def version(self) -> tuple[int, int]:
        """Return the version of the server."""
        found = re.match(r"v?(\d+)\.(\d+)", str(self._ask(self._version.get_code).get("gitVersion", "")))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def is_allowed(self, verb: str, resource: str, group: str = "") -> bool:
        """Tell whether the user may do that in the namespace."""
        resource, _, part = resource.partition("/")
        attributes = {
            "namespace": self.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            **({"subresource": part} if part else {}),
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        return bool(self._ask(self._rights.create_self_subject_access_review, review)["status"].get("allowed"))

    def create(self, body: Json) -> None:
        """Create a ConfigMap, Secret or Job; harmless if an earlier try did, whose answer was lost."""
        create, tries = self._call("create", body["kind"]), list[None]()

        def once(*args: Any, **kwargs: Any) -> Any:
            tries.append(None)
            return create(*args, **kwargs)

        try:
            self._ask(once, self.namespace, body)
        except Refused as refused:
            if refused.status != 409 or len(tries) == 1:
                raise

    def patch_map(self, name: str, body: Json) -> Json:
        """Merge `body` into a ConfigMap; with a resourceVersion in it, only if that is still the current one."""
        found: Json = self._ask(self._core.patch_namespaced_config_map, name, self.namespace, body)
        return found

    def listed(self, kind: str, selector: str) -> list[Json]:
        """Return the ConfigMaps, Secrets or Jobs with these labels."""
        return list(self._ask(self._call("list", kind), self.namespace, label_selector=selector)["items"])

    def job(self, name: str) -> Json | None:
        """Return a Job; None if there is none."""
        try:
            found: Json = self._ask(self._batch.read_namespaced_job, name, self.namespace)
            return found
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def delete(self, kind: str, name: str) -> None:
        """Delete a ConfigMap, Secret or Job, and all objects that it owns."""
        self._delete(self._call("delete", kind), name, propagation_policy="Background")

    def delete_pod(self, name: str, grace: int) -> None:
        """Delete a pod, whose processes have `grace` seconds to exit."""
        self._delete(self._core.delete_namespaced_pod, name, grace_period_seconds=grace)

    def _call(self, verb: str, kind: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self._batch if kind == "Job" else self._core, f"{verb}_namespaced_{_WORDS[kind]}")
        return call

    def _delete(self, delete: Callable[..., Any], name: str, **options: Any) -> None:
        try:
            self._ask(delete, name, self.namespace, **options)
        except Refused as refused:
            if refused.status != 404:
                raise

    def messages(self, name: str) -> list[str]:
        """Return the events of a Job or pod as text, the newest last; nothing without the right to read them."""
        try:
            found = self._ask(self._core.list_namespaced_event, self.namespace, field_selector=f"involvedObject.name={name}")
        except Refused:
            return []
        events = sorted(found["items"], key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        return [f"{event.get('reason', '')}: {event.get('message', '')}" for event in events]

    # --- streams

    @contextmanager
    def log(self, pod: str, follow: bool) -> Generator[Any]:
        """Open the log of a pod; with `follow` it ends when the pod does. Has `stream(size)` and `shutdown()`."""
        answer = self._try(
            lambda: self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                follow=follow,
                _preload_content=False,
                _request_timeout=(_TIMEOUT[0], _SILENT if follow else _TIMEOUT[1]),
            )
        )
        try:
            yield answer
        finally:
            answer.close()

    def pods(self, selector: str) -> tuple[list[Json], str]:
        """Return the pods with these labels, and the version of that list."""
        found = self._ask(self._core.list_namespaced_pod, self.namespace, label_selector=selector)
        return list(found["items"]), str(found["metadata"]["resourceVersion"])

    @contextmanager
    def watch(self, selector: str, version: str) -> Generator[Any]:
        """Open a watch of the pods with these labels since a version of their list: lines of JSON. See `log`."""
        answer = self._try(
            lambda: self._core.list_namespaced_pod(
                self.namespace,
                label_selector=selector,
                resource_version=version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=_WATCHED,
                _preload_content=False,
                _request_timeout=(_TIMEOUT[0], _WATCHED + 30.0),
            ),
            tries=1,
        )
        try:
            yield answer
        finally:
            answer.close()

    # --- tries

    def _ask(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def ask() -> Any:
            answer = function(*args, **kwargs, _preload_content=False, _request_timeout=_TIMEOUT)
            self._see(answer.headers.get("Date"))
            return json.loads(answer.data)

        return self._try(ask)

    def _see(self, date: str | None) -> None:
        if date is not None:
            with suppress(ValueError):
                self.clock_offset = parsedate_to_datetime(date).timestamp() - time.time()

    def _try(self, ask: Callable[[], Any], tries: int = _TRIES) -> Any:
        for number in range(tries):
            try:
                return self._once(ask)
            except _TransientError as passing:
                if number == tries - 1:
                    raise passing.error from passing.__cause__
                time.sleep(passing.wait if passing.wait is not None else _DELAY * 2**number * (0.5 + random.random()))
        raise AssertionError("unreachable")

    def _once(self, ask: Callable[[], Any]) -> Any:
        """Try once. Raises _TransientError for failures that may be temporary."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return ask()
        except ApiException as error:
            refused = _refused(error)
            if refused.status in TRANSIENT_STATUSES:
                wait = retry_after((error.headers or {}).get("Retry-After") or "")
                raise _TransientError(refused, None if wait is None else min(wait, 30.0)) from error
            raise refused from error
        except (HTTPError, OSError, json.JSONDecodeError) as error:
            raise _TransientError(Unreachable(f"{type(error).__name__}: {error}"), None) from error


class _TransientError(Exception):
    def __init__(self, error: Refused | Unreachable, wait: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


def _refused(error: Any) -> Refused:
    try:
        status = json.loads(error.body)
        reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    except (TypeError, ValueError, AttributeError):
        reason, message = str(error.reason or ""), str(error.body or "")[:500]
    return Refused(int(error.status or 0), reason, message or f"HTTP {error.status} {error.reason}")


def _configured(kubeconfig: str | None, context: str | None) -> tuple[Any, Any, str | None]:
    """Return the module of the client, its configuration and the namespace of the context."""
    client, config = (need(f"kubernetes.{part}", "kubernetes", "kubernetes", "KubernetesExecutor") for part in ("client", "config"))
    configuration = client.Configuration()
    try:
        if kubeconfig is None and context is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
                return client, configuration, _namespace_of_this_pod()
            except config.ConfigException:
                pass  # this process is not in a pod
        config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False)
        contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)
    except (config.ConfigException, OSError, ValueError, TypeError) as error:
        place = kubeconfig or "~/.kube/config"
        raise ExecutorUnavailable(
            f"no cluster: {str(error).rstrip('.')} ({place}); name the file and the context of a cluster by kubeconfig= and context=, or "
            "set KUBECONFIG",
            key=None,
            executor="kubernetes",
            place=place,
        ) from error
    named = next((each for each in contexts if each["name"] == context), active) if context else active
    return client, configuration, (named or {}).get("context", {}).get("namespace")


def _namespace_of_this_pod() -> str | None:
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as file:
            return file.read().strip() or None
    except OSError:
        return None
