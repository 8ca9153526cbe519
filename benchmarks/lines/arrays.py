"""The same large array, declared as each library wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MEGABYTE = 1 << 20


def array_of(size: int) -> Any:
    """A float64 array of `size` bytes, all of them touched."""
    import numpy as np

    return np.arange(size // 8, dtype=np.float64)


def label(size: int) -> str:
    """Bytes, readably."""
    return f"{size / MEGABYTE:g} MiB" if size < 1 << 30 else f"{size / (1 << 30):g} GiB"


def payload_class() -> Any:
    """A class of persistable's, new or released, whose payload is whatever lies in `Given.payload`."""
    from dataclasses import dataclass

    from persistable import Persistable, PersistableParams

    @dataclass
    class P(PersistableParams):
        n: int = 0

    class Given(Persistable[Any, P]):
        given: Any = None

        def _generate_payload(self, **_: Any) -> Any:
            return type(self).given

    Given.params_class = P
    return Given


def exca_map(folder: str, make: Callable[[], Any]) -> Any:
    """A new configured object each time; arrays are stored as npy and mapped when loaded."""
    from lines import exca_tasks

    exca_tasks.make.append(make)
    infra = {"folder": folder, "keep_in_ram": False}
    return lambda n: next(iter(exca_tasks.Given(infra=infra).process([n])))


def labtech_lab(folder: str, array: Any) -> Any:
    """A function (n) -> result."""
    from lines import labtech_tasks

    labtech_tasks.given.append(array)
    return labtech_tasks.runner(folder, labtech_tasks.Given)


def pipefunc_pipeline(folder: str, array: Any) -> Any:
    """A pipeline whose one function is cached on disk only."""
    from pipefunc import PipeFunc, Pipeline

    def given(n: int) -> Any:
        return array

    kwargs = {"cache_dir": folder, "with_lru_cache": False, "lru_shared": False}
    return Pipeline([PipeFunc(given, "payload", cache=True)], cache_type="disk", cache_kwargs=kwargs)
