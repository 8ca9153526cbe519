"""A file that grows by blocks, with a journal of complete blocks beside it: after a kill, the incomplete tail is cut off."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zlib import crc32

_PIECE = 1 << 24


class Appending(Protocol):
    """A payload that is appended to, block by block, in a folder of its own; the complete blocks of an earlier attempt are kept."""

    @property
    def rows(self) -> int:
        """The number of rows in complete blocks."""
        ...

    def append(self, block: Any) -> None:
        """Add rows. Raises PayloadNotRepresentable for a block that does not match those before."""
        ...

    def seal(self) -> Path:
        """Complete the file of the format; its path. The blocks stay until the folder is removed."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class _Block(NamedTuple):
    rows: int
    end: int
    check: int


class Journal:
    """The file ``data`` in `folder`, and its journal ``blocks``: a line of facts, then a line for each block, each
    with a checksum of itself.

    facts: the state that the format needs to continue, JSON-like; None before `begin`; ``start`` in it is the start of the first block:
    bytes before it may change. rows: of all complete blocks. end: the end of the last of them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "data"
        self._blocks = folder / "blocks"
        self.facts: dict[str, Any] | None = None
        self.rows = 0
        self.end = 0
        self._read()

    def _read(self) -> None:
        """Find the complete blocks, by their checksums, and cut off the rest."""
        try:
            first, *lines = self._blocks.read_bytes().split(b"\n")[:-1]  # a line without its end was cut short
            facts = json.loads(sound(first) or b"")
        except (OSError, ValueError):
            self.forget()
            return
        kept = [first]
        self.end = facts.get("start", 0)
        with self.path.open("rb", buffering=0) if self.path.exists() else io.BytesIO() as file:
            file.seek(self.end)
            for line in lines:
                block = _parsed(line)
                if block is None or _checksum(file, block.end - self.end) != block.check:
                    break
                kept.append(line)
                self.rows += block.rows
                self.end = block.end
        if len(kept) == 1:
            self.forget()
            return
        self.facts = facts
        os.truncate(self.path, self.end)
        os.truncate(self._blocks, sum(map(len, kept)) + len(kept))

    def begin(self, facts: dict[str, Any]) -> None:
        """Start a new file, with `facts` in its journal."""
        self.facts = facts
        self.end = facts.get("start", 0)
        self.path.write_bytes(b"\0" * self.end)
        temporary = self._blocks.with_suffix(".new")
        temporary.write_bytes(checked(json.dumps(facts).encode()))
        temporary.replace(self._blocks)

    def add(self, rows: int, end: int, check: int) -> None:
        """Note that the file is complete up to `end`; `check` is the CRC-32 of the new block."""
        with self._blocks.open("ab", buffering=0) as file:
            file.write(checked(b"%d %d %08x" % (rows, end, check)))
        self.rows += rows
        self.end = end

    def forget(self) -> None:
        """Remove the file and its journal."""
        for path in (self._blocks, self.path):
            if path.is_dir() and not path.is_symlink():
                import shutil

                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.facts, self.rows, self.end = None, 0, 0


def checked(text: bytes) -> bytes:
    """A line of `text` and its CRC-32."""
    return b"%b %08x\n" % (text, crc32(text))


def sound(line: bytes) -> bytes | None:
    """The text in a line from `checked`, given without its end of line; None where it is damaged."""
    text, _, check = line.rpartition(b" ")
    return text if check == b"%08x" % crc32(text) else None


def _parsed(line: bytes) -> _Block | None:
    try:
        rows, end, check = (sound(line) or b"").split()
        return _Block(int(rows), int(end), int(check, 16))
    except ValueError:
        return None


def _checksum(file: Any, size: int) -> int | None:
    """CRC-32 of the next `size` bytes; None where there are fewer."""
    check = 0
    while size > 0:
        piece = file.read(min(size, _PIECE))
        if not piece:
            return None
        check = crc32(piece, check)
        size -= len(piece)
    return check


class Growing(io.RawIOBase):
    """The journal's file as a write-only stream that counts the bytes and computes their checksum.

    at: the position to write from. Bytes up to `there` are in the file already: they are compared instead of written, and `Differs` is
    raised if they differ.
    """

    def __init__(self, path: Path, there: int = 0, at: int = 0) -> None:
        self._file = path.open("r+b", buffering=0)
        self._file.seek(at)
        self._there = there
        self._at = at
        self._check = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        whole = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        old = max(0, min(whole.nbytes, self._there - self._at))
        if old and self._file.read(old) != whole[:old]:
            raise Differs
        rest = whole[old:]
        while rest.nbytes:
            rest = rest[self._file.write(rest[:_PIECE]) or 0 :]
        self._check = crc32(whole[old:], self._check)
        self._at += whole.nbytes
        return whole.nbytes

    def checked(self) -> int:
        """The CRC-32 of the bytes written since the last call."""
        check, self._check = self._check, 0
        return check

    def close(self) -> None:
        self._file.close()
        super().close()


class Differs(Exception):
    """Raised where the same rows give other bytes than before."""
