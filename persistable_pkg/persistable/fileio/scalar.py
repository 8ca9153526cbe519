"""One number, truth value or text as a file that people write and read."""

from __future__ import annotations

from typing import Any, BinaryIO, ClassVar

from persistable.fileio.base import FileIO

_TRUTH = {"true": True, "false": False}


class ScalarFileIO(FileIO[Any]):
    """One ``int``, ``float``, ``bool`` or ``str`` as text, with a newline at the end: what ``echo 3 > factor`` writes.

    `kind` is the name of the type. Numbers are read as Python reads them, with spaces around them; truth values are ``true`` and ``false``
    in any case. Of a text the last newline is not a part. Exact; refuses any other type.
    """

    name: ClassVar[str] = "ScalarFileIO"
    suffix = ".txt"

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}")
        self.kind = kind

    def check(self, payload: Any) -> None:
        if type(payload) is not KINDS[self.kind]:
            self._refuse(f"it is a {type(payload).__name__}, not a plain {self.kind}; convert it: {self.kind}(value)")

    def dump(self, payload: Any, file: BinaryIO) -> None:
        text = payload if self.kind == "str" else str(payload).lower() if self.kind == "bool" else repr(payload)
        file.write(f"{text}\n".encode())

    def load(self, file: Any) -> Any:
        text: str = bytes(file.read()).decode()
        if self.kind == "str":
            return text.removesuffix("\n")
        word = text.strip()
        try:
            return _TRUTH[word.lower()] if self.kind == "bool" else KINDS[self.kind](word)
        except (ValueError, KeyError):
            raise self._malformed(f"{word[:60]!r} is no {self.kind}") from None


KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
