"""`Project`: named targets with a store, an executor and stages, from ``persistable.toml`` or from Python."""

from __future__ import annotations

from persistable.project.project import Project

__all__ = ["Project"]
