"""Source is parsed the same in a process of many threads."""

from __future__ import annotations

import ast
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persistable import step
from persistable.params import syntax

TEXT = Path(syntax.__file__).read_text(encoding="utf-8") * 5


@pytest.fixture
def _busy() -> Iterator[None]:
    """The collector runs Python code often, so that threads change in the middle of whatever makes objects."""
    threshold, look = gc.get_threshold(), lambda *_: None
    gc.callbacks.append(look)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*threshold)
    gc.callbacks.remove(look)


@pytest.mark.usefixtures("_busy")
def test_threads_that_parse_at_once_are_all_answered() -> None:
    failed: list[BaseException] = []

    def parse() -> None:
        try:
            for _ in range(100):
                assert len(syntax.parse(TEXT).body) == 40
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=parse) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed


def test_what_another_thread_disturbs_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a node has its fingerprint, and no warning says that it has none."""
    seen: set[Any] = set()
    parse = ast.parse

    def disturbed(text: Any, *given: Any, **more: Any) -> ast.AST:
        if text not in seen:
            seen.add(text)
            raise SystemError("AST constructor recursion depth mismatch (before=114, after=110)")
        return parse(text, *given, **more)

    namespace: dict[str, Any] = {"__name__": "once_disturbed", "__file__": str(tmp_path / "once_disturbed.py")}
    text = "from math import floor\n\n\ndef half(n: int) -> int:\n    return floor(n / 2)\n"
    (tmp_path / "once_disturbed.py").write_text(text)
    exec(compile(text, namespace["__file__"], "exec"), namespace)
    node = step(namespace["half"]).step(5).bind(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(ast, "parse", disturbed)
        assert node.payload == 2
    assert node.record is not None and node.record.code is not None
    assert node.record is not None
    parts = node.record.code_parts
    assert seen and parts.keys() == {"half", "floor"} and not {"-", "?"} & {*parts.values()}, parts
