"""Workflows by id: classes of seeds and steps, and workspaces that say where each of them lies."""

from persistable.fileio.scalar import ScalarFileIO
from persistable.workspace.base import Workspace
from persistable.workspace.layout import Stored, stored
from persistable.workspace.overview import Overview
from persistable.workspace.seeds import Seed, seed
from persistable.workspace.workflow import Workflow

__all__ = ["Overview", "ScalarFileIO", "Seed", "Stored", "Workflow", "Workspace", "seed", "stored"]
