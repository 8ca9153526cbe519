"""A stand-in for a Kubernetes cluster: its API over HTTP, and pods that are processes of this machine.

What is sent is checked against the OpenAPI description of Kubernetes, unknown fields refused, and so is what is sent back. It has watches
that can be cut off or made to forget (410), logs that are followed, faults on demand (429, 500, cut connections), Jobs, Indexed Jobs,
deadlines, missing images and Secrets, evictions, deletions, and a garbage collector. It has no scheduler, no resources and no rights.
"""

from __future__ import annotations

import base64
import copy
import http.server
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from servers.kubernetes.forks import MODULE, Forked, Forks
from servers.kubernetes.schemas import complaints
from servers.processes import unmeasured

Json = dict[str, Any]
KINDS = {"secrets": "Secret", "configmaps": "ConfigMap", "pods": "Pod", "jobs": "Job", "events": "Event"}
TOKEN = "stand-in-token"
INDEX = "batch.kubernetes.io/job-completion-index"


class StandIn:
    """The cluster. `folder` is for its logs and mounted Secrets. version: what it says it is, and so what it can do."""

    def __init__(self, folder: Path, version: tuple[int, int] = (1, 31), namespace: str = "work") -> None:
        self.folder = folder
        self.version = version
        self.namespace = namespace
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects: dict[tuple[str, str], Json] = {}
        self.history: list[tuple[int, str, str, Json]] = []
        self.number = 0
        self.oldest = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.faults: deque[tuple[str, int | str]] = deque()
        """Faults to come: a pattern of ``METHOD path``, and a status, or ``"cut"`` to close the connection without an answer."""
        self.forbidden: set[str] = set()
        """What may not be done: ``"create jobs"``."""
        self.images: dict[str, str] = {}
        """Images that cannot be had, and the word for why."""
        self.cut_watches_after: int | None = None
        """Events after which the connection of a watch is cut."""
        self.pods: dict[str, _Kubelet] = {}
        self.closing = False
        self.forks = Forks(_environment())
        self._names = itertools.count()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.standin = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="stand-in", daemon=True).start()

    def kubeconfig(self, token: str = TOKEN, namespace: str | None = None) -> Path:
        """A new kubeconfig for it."""
        path = self.folder / f"kubeconfig-{next(self._names)}"
        context = {"cluster": "c", "user": "u", "namespace": namespace or self.namespace}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                    "users": [{"name": "u", "user": {"token": token}}],
                    "contexts": [{"name": "test", "context": context}],
                    "current-context": "test",
                }
            )
        )
        return path

    def close(self) -> None:
        with self.lock:
            self.closing = True
            self.changed.notify_all()
            running = list(self.pods.values())
        for kubelet in running:
            kubelet.kill()
        self.forks.close()
        self._server.shutdown()
        self._server.server_close()

    # --- objects

    def all(self, resource: str) -> list[Json]:
        with self.lock:
            return [copy.deepcopy(each) for (kind, _), each in self.objects.items() if kind == resource]

    def put(self, resource: str, thing: Json, event: str) -> Json:
        """Store an object and tell those who watch."""
        with self.lock:
            self.number += 1
            thing["metadata"]["resourceVersion"] = str(self.number)
            key = (resource, thing["metadata"]["name"])
            if event == "DELETED":
                self.objects.pop(key, None)
            else:
                self.objects[key] = thing
            for wrong in complaints(_without_empty(thing), KINDS[resource]):
                self.complaints.append(f"the stand-in itself: {resource} {wrong}")
            self.history.append((self.number, resource, event, copy.deepcopy(thing)))
            self.changed.notify_all()
            return thing

    def create(self, resource: str, thing: Json) -> Json:
        thing = copy.deepcopy(thing)
        thing.setdefault("apiVersion", "batch/v1" if resource == "jobs" else "v1")
        thing.setdefault("kind", KINDS[resource])
        thing["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "namespace": self.namespace}
        self.put(resource, thing, "ADDED")
        if resource == "jobs":
            self._begin(thing)
        return thing

    def secret(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.create("secrets", {"metadata": {"name": name}, "type": "Opaque", "data": encoded})

    def delete(self, resource: str, name: str, grace: float | None = None) -> None:
        with self.lock:
            thing = self.objects.get((resource, name))
            if thing is None:
                return
            if resource == "pods":
                if "deletionTimestamp" not in thing["metadata"]:
                    thing["metadata"] |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": int(30 if grace is None else grace)}
                    self.put("pods", thing, "MODIFIED")
                self.pods[name].end(30 if grace is None else grace)
                return
            self.put(resource, thing, "DELETED")
            uid = thing["metadata"]["uid"]
            owned = [
                (kind, each)
                for (kind, each), other in self.objects.items()
                if any(owner["uid"] == uid for owner in other["metadata"].get("ownerReferences", ()))
            ]
        for kind, each in owned:
            self.delete(kind, each)

    # --- the controller of Jobs

    def _begin(self, job: Json) -> None:
        job["status"] = {"startTime": _now()}
        for index in range(job["spec"].get("completions", 1)):
            self._pod(job, index if job["spec"].get("completionMode") == "Indexed" else None)

    def _pod(self, job: Json, index: int | None) -> None:
        name = job["metadata"]["name"]
        template = copy.deepcopy(job["spec"]["template"])
        metadata: Json = template.get("metadata", {})
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        labels = metadata.get("labels", {}) | {"job-name": name, "batch.kubernetes.io/job-name": name}
        pod: Json = {
            "metadata": {"name": f"{name}-{uuid.uuid4().hex[:5]}", "labels": labels, "annotations": {}, "ownerReferences": [owner]},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        if index is not None:
            pod["metadata"]["annotations"] = {INDEX: str(index)}
            for container in pod["spec"]["containers"]:
                container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        with self.lock:
            pod = self.create("pods", pod)
            kubelet = self.pods[pod["metadata"]["name"]] = _Kubelet(self, pod)
        threading.Thread(target=kubelet.run, name="stand-in-kubelet", daemon=True).start()

    def pod_ended(self, pod: Json, deleted: bool) -> None:
        """What the controller of Jobs does about it."""
        with self.lock:
            job = self.objects.get(("jobs", pod["metadata"]["labels"]["job-name"]))
            if job is None:
                return
            index = pod["metadata"]["annotations"].get(INDEX)
            if (
                deleted
                and pod["status"]["phase"] in ("Pending", "Running")
                and index is None
                and self.version < (1, 26)
                and not self.closing
            ):
                self._pod(job, None)  # it does not count as a failure there
                return
            status = job["status"]
            word = "succeeded" if pod["status"]["phase"] == "Succeeded" else "failed"
            status[word] = status.get(word, 0) + 1
            if word == "failed" and "backoffLimitPerIndex" not in job["spec"]:
                status["conditions"] = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}]
            elif status.get("succeeded", 0) == job["spec"].get("completions", 1):
                status["conditions"] = [{"type": "Complete", "status": "True"}]
            self.put("jobs", job, "MODIFIED")

    # --- what happens to pods

    def evict(self, name: str) -> None:
        """What a kubelet does whose node runs out of something."""
        self.pods[name].fail("Evicted", "The node was low on resource: memory.")

    def out_of_memory(self, name: str) -> None:
        """What the kernel does with a container over its limit."""
        self.pods[name].oom()

    def running(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.all("pods") if pod["status"]["phase"] == "Running"]

    def forget_history(self) -> None:
        """Have the server forget all events so far: who watches since then is told so (410)."""
        with self.lock:
            self.number += 1
            self.oldest = self.number
            self.changed.notify_all()


class _Kubelet:
    """One pod as a process of this machine."""

    def __init__(self, standin: StandIn, pod: Json) -> None:
        self.standin = standin
        self.pod = pod
        self.name = pod["metadata"]["name"]
        self.folder = standin.folder / self.name
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.failure: tuple[str, str] | None = None
        self.over = threading.Event()
        self.ending = threading.Event()
        self.was_oom = False

    def run(self) -> None:
        self.folder.mkdir(parents=True)
        try:
            self._live()
        finally:
            self.over.set()
            with self.standin.lock:
                deleted = "deletionTimestamp" in self.pod["metadata"]
                if deleted and ("pods", self.name) in self.standin.objects:
                    self.standin.put("pods", self.pod, "DELETED")
                self.standin.pod_ended(self.pod, deleted)
                self.standin.pods.pop(self.name, None) if deleted else None
            if deleted:
                shutil.rmtree(self.folder, ignore_errors=True)
        if not deleted:
            self.ending.wait()
            with self.standin.lock:
                self.standin.put("pods", self.pod, "DELETED")
                self.standin.pods.pop(self.name, None)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _live(self) -> None:
        spec, container = self.pod["spec"], self.pod["spec"]["containers"][0]
        if spec.get("nodeSelector"):
            message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
            self._set(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}])
            self._wait_for_end()
            return
        self._set(conditions=[{"type": "PodScheduled", "status": "True"}], startTime=_now())
        self._state({"waiting": {"reason": "ContainerCreating"}})
        why = self.standin.images.get(container["image"])
        if why is not None:
            self._state({"waiting": {"reason": why, "message": f'Back-off pulling image "{container["image"]}"'}})
            self._wait_for_end()
            return
        try:
            environment, mounts = self._environment(container), self._mounts(spec, container)
        except LookupError as missing:
            self._state({"waiting": {"reason": "CreateContainerConfigError", "message": f'secret "{missing.args[0]}" not found'}})
            self._wait_for_end()
            return
        command = [self._expanded(word, environment, mounts) for word in container["command"]]
        began = _now()
        try:
            self.process = self._begun(command, environment)
        except OSError as error:
            ended = {
                "exitCode": 128,
                "reason": "StartError",
                "message": str(error),
                "startedAt": "1970-01-01T00:00:00Z",
                "finishedAt": _now(),
            }
            self._state({"terminated": ended}, phase="Failed")
            return
        self._state({"running": {"startedAt": began}}, phase="Running")
        deadline = spec.get("activeDeadlineSeconds")
        end = None if deadline is None else time.monotonic() + deadline
        while True:
            try:
                code = self.process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                if end is not None and time.monotonic() > end:
                    self.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
                    end = None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the first process of a container takes all others along
        code = code if code >= 0 else 128 - code
        reason = "OOMKilled" if self.was_oom else "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": _now()}
        if (self.folder / "begun").exists():
            ended["message"] = (self.folder / "begun").read_text()
        if self.failure is not None:
            self._set(reason=self.failure[0], message=self.failure[1])
        self._state({"terminated": ended}, phase="Failed" if code or self.failure else "Succeeded")

    def _begun(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes] | Forked:
        if command[:3] == ["python", "-m", MODULE]:
            return self.standin.forks.begin(command, environment, self.log, self.folder)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )

    def _set(self, **status: Any) -> None:
        with self.standin.lock:
            self.pod["status"] |= status
            self.standin.put("pods", self.pod, "MODIFIED")

    def _state(self, state: Json, **status: Any) -> None:
        container = self.pod["spec"]["containers"][0]
        facts = {"name": container["name"], "image": container["image"], "imageID": "", "ready": "running" in state, "restartCount": 0}
        self._set(containerStatuses=[facts | {"state": state}], **status)

    def _wait_for_end(self) -> None:
        self.ending.wait()

    def _environment(self, container: Json) -> dict[str, str]:
        found = _environment()
        for source in container.get("envFrom", ()):
            found |= {key: self._secret(source["secretRef"]["name"])[key].decode() for key in self._secret(source["secretRef"]["name"])}
        for each in container.get("env", ()):
            if "value" in each:
                found[each["name"]] = each["value"]
            else:
                place = each["valueFrom"]["secretKeyRef"]
                found[each["name"]] = self._secret(place["name"])[place["key"]].decode()
        return found

    def _mounts(self, spec: Json, container: Json) -> dict[str, str]:
        sources = {volume["name"]: volume for volume in spec.get("volumes", ())}
        found: dict[str, str] = {}
        for mount in container.get("volumeMounts", ()):
            source = sources[mount["name"]]
            if "hostPath" in source:
                found[mount["mountPath"]] = source["hostPath"]["path"]
                continue
            content = self._secret(source["secret"]["secretName"])
            folder = self.folder / mount["name"]
            for item in source["secret"]["items"]:
                file = folder / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content[item["key"]])
            found[mount["mountPath"]] = str(folder)
        if "terminationMessagePath" in container:
            found[container["terminationMessagePath"]] = str(self.folder / "begun")
        return found

    def _secret(self, name: str) -> dict[str, bytes]:
        for _ in range(100):  # a Secret may come a moment later
            with self.standin.lock:
                found = self.standin.objects.get(("secrets", name))
            if found is not None:
                return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}
            if self.ending.wait(0.002):
                break
        raise LookupError(name)

    @staticmethod
    def _expanded(word: str, environment: dict[str, str], mounts: dict[str, str]) -> str:
        word = re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), word)
        for path, folder in mounts.items():
            word = word.replace(path, folder)
        return word

    # --- called by others

    def end(self, grace: float) -> None:
        """Delete the pod: its process is asked, and then made, to end."""
        self.ending.set()
        process = self.process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            timer = threading.Timer(max(grace, 0.05), self.kill)
            timer.daemon = True
            timer.start()

    def kill(self) -> None:
        self.ending.set()
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def fail(self, reason: str, message: str) -> None:
        self.failure = (reason, message)
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def oom(self) -> None:
        self.was_oom = True
        self.fail_quietly()

    def fail_quietly(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    standin: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they like; anything else is a fault of the stand-in."""
        if not isinstance(sys.exception(), OSError):
            self.standin.complaints.append(f"the stand-in itself: {traceback.format_exc()}")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(6, 1, True)  # TCP_NODELAY

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that the base class looks for

    def _serve(self) -> None:
        standin = self.server.standin
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[-1] for key, values in urllib.parse.parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        word = f"{self.command} {url.path}"
        with standin.lock:
            standin.requests.append(f"{word}?watch" if "watch" in query else word)
            for fault in list(standin.faults):
                if re.search(fault[0], standin.requests[-1]):
                    standin.faults.remove(fault)
                    if fault[1] == "cut":
                        self.close_connection = True
                        return
                    self._fail(int(fault[1]), "Fault", "a fault on demand", {"Retry-After": "0"} if fault[1] == 429 else {})
                    return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._fail(401, "Unauthorized", "Unauthorized")
            return
        try:
            self._route(url.path, query, body)
        except _Refusal as refusal:
            self._fail(*refusal.args)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, path: str, query: dict[str, str], body: Json) -> None:
        standin = self.server.standin
        if path.rstrip("/") == "/version":
            major, minor = standin.version
            self._answer({"major": str(major), "minor": f"{minor}+", "gitVersion": f"v{major}.{minor}.0"})
        elif path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            self._check(body, "SelfSubjectAccessReview")
            asked = body["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            allowed = f"{asked['verb']} {resource}" not in standin.forbidden
            self._answer(body | {"status": {"allowed": allowed}}, 201)
        elif match := re.fullmatch(r"/(?:api/v1|apis/batch/v1)/namespaces/([^/]+)/(\w+)(?:/([^/]+)(?:/(log))?)?", path):
            namespace, resource, name, part = match.groups()
            if namespace != standin.namespace:
                raise _Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
            if part == "log":
                self._log(name, query)
            elif name is None:
                self._collection(resource, query, body)
            else:
                self._object(resource, name, query, body)
        else:
            raise _Refusal(404, "NotFound", f"no such path: {path}")

    def _check(self, body: Json, kind: str) -> None:
        wrong = complaints(body, kind)
        if wrong:
            self.server.standin.complaints += wrong
            raise _Refusal(422, "Invalid", "; ".join(wrong))

    def _collection(self, resource: str, query: dict[str, str], body: Json) -> None:
        standin = self.server.standin
        if self.command == "POST":
            self._check(body, KINDS[resource])
            self._may("create", resource)
            with standin.lock:
                if (resource, body["metadata"]["name"]) in standin.objects:
                    raise _Refusal(409, "AlreadyExists", f'{resource} "{body["metadata"]["name"]}" already exists')
                size = sum(len(value) for value in body.get("data", {}).values()) * 3 // 4
                if resource == "secrets" and size > 1 << 20:
                    raise _Refusal(422, "Invalid", "data: Too long: must have at most 1048576 bytes")
            self._answer(standin.create(resource, body), 201)
        elif query.get("watch") in ("true", "True"):
            self._watch(resource, query)
        else:
            with standin.lock:
                found = [each for each in standin.all(resource) if _selected(each, query)]
                answer = {
                    "apiVersion": "v1",
                    "kind": f"{KINDS[resource]}List",
                    "metadata": {"resourceVersion": str(standin.number)},
                    "items": found,
                }
            self._answer(answer)

    def _may(self, verb: str, resource: str) -> None:
        if f"{verb} {resource}" in self.server.standin.forbidden:
            raise _Refusal(403, "Forbidden", f"{resource} is forbidden: User cannot {verb} resource")

    def _object(self, resource: str, name: str, query: dict[str, str], body: Json) -> None:
        standin = self.server.standin
        with standin.lock:
            thing = standin.objects.get((resource, name))
            if thing is None:
                raise _Refusal(404, "NotFound", f'{resource} "{name}" not found')
            if self.command == "PATCH":
                version = body["metadata"].pop("resourceVersion", None)
                if version not in (None, thing["metadata"]["resourceVersion"]):
                    raise _Refusal(409, "Conflict", "the object has been modified")
                thing["metadata"]["annotations"] = thing["metadata"].get("annotations", {}) | body["metadata"].get("annotations", {})
                standin.put(resource, thing, "MODIFIED")
            answer = copy.deepcopy(thing)
        if self.command == "DELETE":
            self._check(body, "DeleteOptions")
            grace = query.get("gracePeriodSeconds")
            standin.delete(resource, name, None if grace is None else float(grace))
        self._answer(answer)

    def _watch(self, resource: str, query: dict[str, str]) -> None:
        standin = self.server.standin
        since = int(query["resourceVersion"])
        end = time.monotonic() + float(query.get("timeoutSeconds", 60))
        self._begin_chunks()
        sent = 0
        while time.monotonic() < end and not standin.closing:
            with standin.lock:
                forgotten = since < standin.oldest
                events = [] if forgotten else [event for event in standin.history if event[0] > since and event[1] == resource]
                if not forgotten and not events:
                    standin.changed.wait(min(1.0, end - time.monotonic()))
                    continue
            if forgotten:
                status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
                self._chunk(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                break
            for _, _, kind, thing in events:
                if _selected(thing, query):
                    line = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
                    self._chunk(line[:7])  # an event may come in pieces
                    self._chunk(line[7:])
                    sent += 1
            since = events[-1][0]
            if standin.cut_watches_after is not None and sent >= standin.cut_watches_after:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
        if query.get("allowWatchBookmarks") in ("true", "True"):
            mark = {"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": str(since)}}
            self._chunk(json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n")
        self._chunk(b"")

    def _log(self, name: str, query: dict[str, str]) -> None:
        standin = self.server.standin
        with standin.lock:
            kubelet = standin.pods.get(name)
        if kubelet is None:
            raise _Refusal(404, "NotFound", f'pods "{name}" not found')
        if kubelet.process is None:
            raise _Refusal(400, "BadRequest", "container is waiting to start")
        try:
            log = kubelet.log.open("rb")
        except FileNotFoundError:
            raise _Refusal(404, "NotFound", "no log") from None
        self._begin_chunks()
        with log:
            while True:
                over = kubelet.over.is_set()
                if data := log.read(1 << 16):
                    self._chunk(data)
                elif over or query.get("follow") not in ("true", "True"):
                    break
                else:
                    kubelet.over.wait(0.02)
        self._chunk(b"")

    # --- answers

    def _begin_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _answer(self, body: Json, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _fail(self, status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        body = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
        self._answer(body, status, headers)


class _Refusal(Exception):
    """Status, reason and message of an answer that refuses."""


def _selected(thing: Json, query: dict[str, str]) -> bool:
    labels = thing["metadata"].get("labels", {})
    if match := re.fullmatch(r"involvedObject\.name=(.+)", query.get("fieldSelector", "")):
        return bool(thing["involvedObject"]["name"] == match[1])
    selector = query.get("labelSelector", "")
    if match := re.fullmatch(r"(\S+) in \((.*)\)", selector):
        return labels.get(match[1]) in match[2].replace(" ", "").split(",")
    name, equals, value = selector.partition("=")
    return not selector or (labels.get(name) == value if equals else name in labels)


def _without_empty(thing: Json) -> Json:
    return {key: value for key, value in thing.items() if value != {}}


def _environment() -> dict[str, str]:
    """What every pod has: where the interpreter of the tests is, and what it can import."""
    return {**unmeasured(), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def standing_in(folder: Path, **options: Any) -> Iterator[StandIn]:
    """A stand-in that is closed at the end of the block; what was wrong in what it was sent is raised."""
    folder.mkdir(exist_ok=True)
    standin = StandIn(folder, **options)
    try:
        yield standin
    finally:
        standin.close()
    assert not standin.complaints, standin.complaints


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until something is there, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found
