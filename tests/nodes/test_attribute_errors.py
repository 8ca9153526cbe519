"""An AttributeError in somebody's code is told as it is, and not as one of the node's own."""

import pytest

from persistable import Persistable, step
from persistable.errors import InputMissing


class Wrong(Persistable[int, None]):
    def _generate_payload(self) -> int:
        return "text".no_such_thing  # type: ignore[attr-defined, no-any-return]


@step(persist=False)
def plus(a: int, b: int = 1) -> int:
    return a + b


def test_what_the_generating_code_lacks_is_named(tmp_path: object) -> None:
    node = Wrong(str(tmp_path))
    for _ in range(2):
        with pytest.raises(AttributeError, match="no_such_thing") as caught:
            _ = node.payload
        assert any("while generating " in note for note in caught.value.__notes__)
    with pytest.raises(AttributeError, match="'Wrong' object has no attribute 'nothing'"):
        _ = node.nothing  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = plus.step(node).payload


def test_an_open_node_says_what_it_needs() -> None:
    with pytest.raises(InputMissing, match="still needs a"):
        _ = plus.step().payload
