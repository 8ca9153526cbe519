"""Reads what Weights & Biases writes in its offline mode: blocks of 32 KiB, in them pieces of protobuf messages."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 1 << 15
_HEADER = 7


@dataclass
class OfflineRun:
    """A run as it would be uploaded. data: all bytes that would be."""

    data: bytes
    name: str = ""
    group: str = ""
    kind: str = ""
    project: str = ""
    notes: str = ""
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


def offline_runs(folder: Path, seconds: float = 60.0) -> list[OfflineRun]:
    """All runs below `folder`, oldest first, once the process that writes them has written their ends."""
    deadline = time.monotonic() + seconds
    while True:
        files = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
        found = [_run(file.read_bytes()) for file in files]
        if (found and all(run.exit_code is not None for run in found)) or time.monotonic() > deadline:
            return sorted(found, key=lambda run: run.config.get("persistable", {}).get("started", 0.0))
        time.sleep(0.05)


def _run(data: bytes) -> OfflineRun:
    from wandb.proto import wandb_internal_pb2

    found = OfflineRun(data)
    for message in _messages(data):
        record: Any = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(message)
        if record.HasField("run"):
            run = record.run
            found.name, found.group, found.kind = run.display_name, run.run_group, run.job_type
            found.project, found.notes = run.project, run.notes
            found.config.update({item.key: json.loads(item.value_json) for item in run.config.update})
        elif record.HasField("history"):
            found.metrics.update({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item})
        elif record.HasField("exit"):
            found.exit_code = record.exit.exit_code
    return found


def _messages(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    pending, place = b"", _HEADER
    while place + _HEADER <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER:
            place += _BLOCK - place % _BLOCK  # the rest of a block is empty where no header fits
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        pending += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # whole, or the last piece
            found.append(pending)
            pending = b""
    return found
