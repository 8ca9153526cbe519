"""What type checkers see of steps and classes that yield items."""

from collections.abc import Generator, Iterator
from typing import Any, assert_type

from persistable import Collected, Persistable, PersistableParams, step
from persistable.families import Family
from persistable.nodes.node import Persistable as Node


@step
def pages(n: int) -> Iterator[tuple[str, bytes]]:
    yield str(n), b""


@step
def numbers(n: int) -> Generator[tuple[int, float], None, None]:
    yield n, 2.0


@step
def plain(n: int) -> list[int]:
    return [n]


class Params(PersistableParams):
    pass


class Words(Persistable[Collected[str], Params]):
    def _generate_payload(self, **_: Any) -> Iterator[tuple[int, str]]:
        yield 1, "word"


assert_type(pages.step(1).payload, Collected[bytes])
assert_type(numbers.step(1).payload[1], float)
assert_type(plain.step(1).payload, list[int])
assert_type(Words().payload[1], str)
assert_type(pages.step(1).members, Family[Any])
assert_type(pages.step(1).members["1"], Node[Any, Any])
