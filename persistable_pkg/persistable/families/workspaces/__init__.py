"""Workflows by id: classes of seeds and steps, and workspaces with the storage path of each of them."""

from persistable.families.workspaces.layout import Stored, stored
from persistable.families.workspaces.overview import Overview
from persistable.families.workspaces.seeds import Seed, seed
from persistable.families.workspaces.workflow import Workflow
from persistable.families.workspaces.workspace import Workspace
from persistable.fileio.plain import ScalarFileIO

__all__ = ["Overview", "ScalarFileIO", "Seed", "Stored", "Workflow", "Workspace", "seed", "stored"]
