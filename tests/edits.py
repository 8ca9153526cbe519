"""A module whose source is edited while the tests run, as an editor and a restart would."""

from __future__ import annotations

import linecache
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import cloudpickle as _cloudpickle  # type: ignore[import-untyped]

from persistable.errors import StaleCodeWarning
from persistable.nodes import loading

_COUNT = [0]
cloudpickle: Any = _cloudpickle


def warned(act: Callable[[], object]) -> list[str]:
    """The warnings of stale code that `act` gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(each.message) for each in caught if issubclass(each.category, StaleCodeWarning)]


def edited(source: str, name: str = "edited_flow") -> Any:
    """The module `name` with this source, as a new process would import it; what was warned of before is warned of again."""
    loading._warned.clear()  # pyright: ignore[reportPrivateUsage]
    _COUNT[0] += 1
    file = f"<{name} {_COUNT[0]}>"
    module = types.ModuleType(name)
    module.__file__ = file
    if name in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.unregister_pickle_by_value(module)  # by its name: the one before may be gone
    sys.modules[name] = module
    cloudpickle.register_pickle_by_value(module)  # other processes have no file to import
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), module.__dict__)
    return module
