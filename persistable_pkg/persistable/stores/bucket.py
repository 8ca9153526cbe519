"""The base of buckets, S3 and GCS: their servers decide which `create` succeeds, and answer many requests at once."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from persistable.stores.base import Bytes, Stat
from persistable.stores.filesystem import Page, Remote, Result, Stamped
from persistable.stores.remote_errors import facts, kind_of

CREATION = "persistable-creation"
"""The name of the metadata whose value is unique to each creation."""
_TRIES = 5


class Bucket(Remote):
    """A bucket. Uploads are atomic; the server decides which `create` succeeds."""

    exclusive = True
    has_root = True
    batches = True

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(fs, root)
        self.bucket = root.partition("/")[0]

    def key_of(self, place: str) -> str:
        return place[len(self.bucket) + 1 :]

    @abstractmethod
    async def _fetch(self, key: str) -> Stamped:
        """The bytes of an object, with their stamp."""

    @abstractmethod
    async def _head(self, key: str) -> Stat:
        """The facts of an object. Raises FileNotFoundError."""

    @abstractmethod
    async def _send_new(self, key: str, data: bytes, mark: Mapping[str, str]) -> object:
        """Put an object with that metadata, in one request. Raises FileExistsError, or an error of status 412, where there is one."""

    @abstractmethod
    async def _metadata(self, key: str) -> Mapping[str, str]:
        """The metadata of an object."""

    @abstractmethod
    def _pages(self, prefix: str, delimiter: str = "", after: str = "") -> Iterator[Page]:
        """The objects whose keys begin with `prefix`, by key, and as folders the prefixes up to a delimiter; only keys `after` that one."""

    @abstractmethod
    def _look(self) -> None:
        """Send a request to the bucket. Raises FileNotFoundError where there is no such bucket."""

    def get_many(self, places: Sequence[str]) -> list[Stamped | BaseException]:
        return self.gather(self._fetch, [(self.key_of(place),) for place in places])

    def info(self, place: str) -> Stat | None:
        try:
            return self.wait_for(self._head(self.key_of(place)))
        except FileNotFoundError:
            return None

    def info_many(self, places: Sequence[str]) -> list[Stat | BaseException | None]:
        found = self.gather(self._head, [(self.key_of(place),) for place in places])
        return [None if isinstance(each, FileNotFoundError) else each for each in found]

    def scan(self, folder: str) -> Iterator[tuple[str, Stat]]:
        prefix = self.key_of(folder)
        for page in self._pages(prefix + "/" if prefix else ""):
            yield from page.files.items()

    def pages(self, folder: str, after: str) -> Iterator[Page]:
        return self._pages(self.key_of(folder) + "/", "/", self.key_of(after))

    def create(self, place: str, data: Bytes) -> bool:
        return self.wait_for(self._create(self.key_of(place), bytes(data)))

    def create_many(self, items: Mapping[str, Bytes]) -> list[bool | BaseException]:
        return self.gather(self._create, [(self.key_of(place), bytes(data)) for place, data in items.items()])

    async def _create(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one; True if this call did it."""
        mark = {CREATION: os.urandom(16).hex()}
        try:
            await self._send_new(key, data, mark)
        except Exception as error:
            found = facts(error)
            if isinstance(error, FileExistsError) or found.status == 412 or found.code == "PreconditionFailed":
                return await self._created(key, mark)
            raise
        return True

    async def _created(self, key: str, mark: Mapping[str, str]) -> bool:
        """Tell whether this call created the object there: a request whose answer is lost is sent again, and refused for its own object."""
        try:
            found = await self._metadata(key)
        except Exception as error:
            if kind_of(error) not in ("missing", "denied"):
                raise
            return False  # deleted since, or writing is permitted but not reading: then only the refusal is known
        return {name.lower(): value for name, value in found.items()}.items() >= mark.items()

    def root_exists(self) -> bool:
        try:
            self._look()
        except FileNotFoundError:
            return False
        except Exception as error:
            if kind_of(error) != "denied":  # then only the lack of permission is known
                raise
        return True


async def again(
    request: Callable[[], Awaitable[Result]], passes: Callable[[Exception], bool], pause: Callable[[], float] = lambda: 0.1
) -> Result:
    """The answer to a request, which is retried after a transient error; `pause` gives seconds, doubled each time."""
    for attempt in range(_TRIES - 1):
        try:
            return await request()
        except Exception as error:
            if not passes(error):
                raise
            await asyncio.sleep(pause() * 2**attempt)
    return await request()
