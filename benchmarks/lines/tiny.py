"""The same tiny job, declared as each library wants it: params n and k make the payload {"a": 1}."""

from __future__ import annotations

from typing import Any


def ours() -> Any:
    """A class of persistable's, new or released."""
    from dataclasses import dataclass

    from persistable import Persistable, PersistableParams

    @dataclass
    class P(PersistableParams):
        n: int
        k: float = 1.0

    class Tiny(Persistable[dict, P]):
        def _generate_payload(self, **_: Any) -> dict[str, int]:
            return {"a": 1}

    Tiny.params_class = P
    return Tiny


def plain(n: int, k: float = 1.0) -> dict[str, int]:
    """The function that joblib, diskcache and pipefunc wrap."""
    return {"a": 1}


def joblib_function(folder: str) -> Any:
    """A memoized function."""
    import joblib

    return joblib.Memory(folder, verbose=0).cache(plain)


def diskcache_cache(folder: str) -> Any:
    """An open cache."""
    import diskcache

    return diskcache.Cache(folder)


def exca_task(folder: str) -> Any:
    """A function (n) -> a configured task, new each time."""
    from lines.exca_tasks import Tiny

    infra = {"folder": folder}
    return lambda n: Tiny(n=n, infra=infra)


def labtech_runner(folder: str) -> Any:
    """A function (n) -> result."""
    from lines import labtech_tasks

    return labtech_tasks.runner(folder, labtech_tasks.Tiny)


def pipefunc_pipeline(folder: str) -> Any:
    """A pipeline whose one function is cached on disk only."""
    from pipefunc import PipeFunc, Pipeline

    kwargs = {"cache_dir": folder, "with_lru_cache": False, "lru_shared": False}
    return Pipeline([PipeFunc(plain, "payload", cache=True)], cache_type="disk", cache_kwargs=kwargs)
