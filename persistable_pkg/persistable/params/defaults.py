"""Defaults of the fields of params classes."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from typing import Any


def default_of(cls: Any, name: str) -> Any:
    """The default of a field, made anew; None where there is none."""
    model = getattr(cls, "model_fields", {}).get(name)
    if model is not None:
        return model.get_default(call_default_factory=True)
    declared = getattr(cls, "__dataclass_fields__", {}).get(name)
    if declared is not None:
        missing = sys.modules["dataclasses"].MISSING
        if declared.default_factory is not missing:
            return declared.default_factory()
        return None if declared.default is missing else declared.default
    for attribute in getattr(cls, "__attrs_attrs__", ()):
        if attribute.name == name:
            factory = getattr(attribute.default, "factory", None)
            if factory is None:
                return attribute.default
            return None if attribute.default.takes_self else factory()
    return None
