"""Shell scripts as nodes: `Command`."""

from persistable.command.node import Command, CommandParams

__all__ = ["Command", "CommandParams"]
