"""The connection to Ray, shared by all executors of this process, and the resources of the cluster."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from persistable.errors import Infeasible, RunError, need
from persistable.executors.resources import Resources

_FRESH = 5.0  # seconds for which the list of nodes is cached
_ANSWER = 30.0  # seconds within which a node performs a call
_STARTS = 3  # tries to start a local Ray
_PARTS = ("/ray/core/src/ray/", "/ray/dashboard/", "/ray/_private/", "/ray/autoscaler/")  # paths in the commands of Ray's own processes
_QUIET = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": False}

_lock = threading.Lock()
_ours: list[Cluster] = []


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, address: str | None, options: Mapping[str, Any]) -> None:
        self.ray = need("ray", "ray", "ray", "RayExecutor")
        self.asked = (address, dict(options))
        self._users = 0
        self._looked = -math.inf
        self._nodes: list[dict[str, Any]] = []

    @property
    def connected(self) -> bool:
        return bool(self.ray.is_initialized())

    def nodes(self, fresh: bool = False) -> list[dict[str, Any]]:
        """Return the living nodes, as Ray describes them."""
        if (fresh or time.monotonic() - self._looked > _FRESH or not self._nodes) and self.connected:
            self._nodes = [node for node in self.ray.nodes() if node["Alive"]]
            self._looked = time.monotonic()
        return self._nodes

    def total(self, name: str) -> float:
        return float(sum(node["Resources"].get(name, 0) for node in self.nodes()))

    def options(self, resources: Resources | None) -> dict[str, Any]:
        """Return `resources` as options of a Ray task. Raises Infeasible if no node has them."""
        if resources is None:
            resources = Resources()
        gpus = resources.gpus if resources.gpus < 1 else math.ceil(resources.gpus)  # Ray gives parts of one GPU only
        declared = {name for node in self.nodes() for name in node["Resources"]}
        wanted = {"CPU": resources.cpus, "GPU": gpus, "memory": resources.memory or 0}
        wanted |= {name: amount for name, amount in resources.counters.items() if name in declared}
        if not self._fits(wanted):
            self.nodes(fresh=True)
            if not self._fits(wanted):
                raise self._infeasible({name: amount for name, amount in wanted.items() if amount})
        options: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": gpus, "memory": resources.memory}
        own = {name: amount for name, amount in wanted.items() if name in resources.counters and amount}
        return {name: amount for name, amount in options.items() if amount or name == "num_cpus"} | ({"resources": own} if own else {})

    def slots(self, options: Mapping[str, Any]) -> float:
        """Return the number of tasks with these options that fit at the same time."""
        wanted = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus"), "memory": options.get("memory")}
        wanted |= options.get("resources", {})
        asked = {name: amount for name, amount in wanted.items() if amount}
        return sum(
            min((node["Resources"].get(name, 0) // amount for name, amount in asked.items()), default=math.inf) for node in self.nodes()
        )

    def _fits(self, wanted: Mapping[str, float]) -> bool:
        return any(all(node["Resources"].get(name, 0) >= amount for name, amount in wanted.items()) for node in self.nodes())

    def _infeasible(self, wanted: dict[str, float]) -> Infeasible:
        here = [{name: amount for name, amount in node["Resources"].items() if ":" not in name} for node in self.nodes()]
        names = {name for node in here for name in node} | set(wanted)
        most = {name: max((node.get(name, 0.0) for node in here), default=0.0) for name in sorted(names)}
        text = "; ".join(_told(node) for node in here[:8]) + ("; ..." if len(here) > 8 else "")
        return Infeasible(
            f"no node of the Ray cluster has {_told(wanted)}. Its {len(here)} nodes have: {text}. Ask for less, or start a larger node",
            wanted=wanted,
            available=most,
        )

    def call_on(self, node: str, function: Callable[..., None], *args: Any) -> None:
        """Call the function on one of the nodes, even if all its resources are in use."""
        affinity = need("ray.util.scheduling_strategies", "ray", "ray", "RayExecutor").NodeAffinitySchedulingStrategy
        remote = self.ray.remote(function).options(num_cpus=0, max_retries=2, scheduling_strategy=affinity(node, soft=False))
        self.ray.get(remote.remote(*args), timeout=_ANSWER)

    def is_here(self, node: str) -> bool:
        """Tell whether this process is on that node; False if it is connected from outside."""
        with contextlib.suppress(Exception):
            if not need("ray.util.client", "ray", "ray", "RayExecutor").ray.is_connected():
                return bool(self.ray.get_runtime_context().get_node_id() == node)
        return False

    def leave(self) -> None:
        """Remove a user of this connection; the last one shuts Ray down if it was started or connected here."""
        with _lock:
            self._users -= 1
            if self._users == 0 and self in _ours:
                _ours.remove(self)
                self.ray.shutdown()

    def enter(self) -> Cluster:
        """Add a user of this connection."""
        self._users += 1
        return self


def join(address: str | None, options: Mapping[str, Any]) -> Cluster:
    """Connect, or use the existing connection. Raises RuntimeError if that is to another cluster than requested."""
    cluster = Cluster(address, options)
    ray = cluster.ray
    with _lock:
        if ray.is_initialized():
            for ours in _ours:
                if ours.asked == cluster.asked:
                    return ours.enter()
            if not options and _same(ray, address):
                return _ours[0].enter() if _ours else cluster.enter()
            raise RuntimeError(
                f"this process is already connected to Ray at {_where(ray)}, and can be connected to one cluster at a time: RayExecutor() "
                f"without an address and options uses it; ray.shutdown() ends it"
            )
        _ours.clear()  # Ray was shut down elsewhere
        wanted = address or os.environ.get("RAY_ADDRESS") or "local"
        quiet = {**_QUIET, "include_dashboard": False} if wanted == "local" else dict(_QUIET)
        with _no_usage_stats():
            _init(ray, wanted, {**quiet, **options})
        _ours.append(cluster)
        return cluster.enter()


def _init(ray: Any, wanted: str, options: Mapping[str, Any]) -> None:
    """Connect, with retries: a start of Ray times out after 30 seconds, too few on a busy machine, and leaves processes behind."""
    psutil = need("psutil", "psutil", "ray", "RayExecutor")
    before = {child.pid for child in psutil.Process().children()}
    for left in reversed(range(_STARTS)):
        try:
            ray.init(wanted, **options)
            return
        except Exception as error:
            if wanted != "local" or "timed out" not in str(error):
                raise
            _clear(psutil, before)
            if not left:
                raise RunError(
                    f"Ray did not start on this machine, in {_STARTS} tries of half a minute: {error} Its own words are in "
                    f"its session folder: session_latest/logs in $RAY_TMPDIR or /tmp/ray"
                ) from error


def _clear(psutil: Any, before: set[int]) -> None:
    """End the processes that a failed start of Ray has left behind, and no others started meanwhile."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.pid not in before and any(part in word for word in child.cmdline() for part in _PARTS):
                child.kill()
                child.wait(_FRESH)


def _same(ray: Any, address: str | None) -> bool:
    return address in (None, "auto") or address == _where(ray)


def _where(ray: Any) -> str:
    with contextlib.suppress(Exception):
        found: str = ray.get_runtime_context().gcs_address
        return found
    return "ray://"


@contextlib.contextmanager
def _no_usage_stats() -> Generator[None]:
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("RAY_USAGE_STATS_ENABLED", None)


def _told(amounts: Mapping[str, float]) -> str:
    ordered = sorted(amounts.items(), key=lambda item: (item[0] not in ("CPU", "GPU", "memory"), item[0]))
    return ", ".join(f"{name} {_amount(name, amount)}" for name, amount in ordered if amount) or "nothing"


def _amount(name: str, amount: float) -> str:
    if "memory" not in name:
        return f"{amount:g}"
    return f"{amount / (1 << 30):.3g} GiB" if amount >= 1 << 27 else f"{amount / (1 << 20):.3g} MiB"
