"""Shell scripts as nodes: `Command`."""

from persistable.nodes.command.command import Command, CommandParams

__all__ = ["Command", "CommandParams"]
