"""A bucket (S3, moto on this machine, a server for each contender) beside the bare client that makes the same requests."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from harness import HERE, LIMIT, MORE, OURS, Goal, Job, Line
from lines.arrays import MEGABYTE, array_of, label, payload_class

_AT_ONCE = 32
_FAMILY: dict[str, Any] = {
    "unit": "s",
    "sizes": (1_000,),
    "sizes_quick": (200,),
    "size_label": lambda size: f"{size:,} items",
    "rounds": 5,
    "rounds_quick": 2,
    "calls": 1,
}
_LARGE: dict[str, Any] = {
    **_FAMILY,
    "sizes": (256 * MEGABYTE,),
    "sizes_quick": (64 * MEGABYTE,),
    "size_label": label,
    "goals": (Goal("<= 1.1 x the bare client", 1.1, "limit"),),
}
RUN = Line(
    name="bucket-run",
    title="run of a family of 1,000 small members on S3",
    loop="from the values to all payloads stored, under a new prefix; stores open",
    goals=(Goal("<= 1.25 x the bare client", 1.25, "limit"),),
    **{**_FAMILY, "sizes_quick": (500,)},  # fewer go the other road
)
RUN_LOOP = Line(
    name="bucket-run-loop",
    title="run of small members that the loop schedules one by one, on S3",
    loop="from the values to all payloads stored, under a new prefix: members made from a node that is generated first; stores open",
    goals=(Goal("<= 1.25 x the bare client", 1.25, "limit"),),
    **{**_FAMILY, "sizes": (300, 1_000)},
)
AGAIN = Line(
    name="bucket-again",
    title="the same family asked again",
    loop="from the values to knowing that all are there; new objects each time, stores open",
    **_FAMILY,
)
LOAD = Line(
    name="bucket-load",
    title="payloads of 1,000 small members on S3",
    loop="from the values to all payloads, each verified; no record is known on this machine before",
    goals=(Goal("<= 1.1 x the bare client", 1.1, "limit"),),
    **_FAMILY,
)
SAVE_LARGE = Line(name="bucket-save-large", title="save 256 MiB to S3", loop="from the array to the object", **_LARGE)
LOAD_LARGE = Line(name="bucket-load-large", title="load 256 MiB from S3", loop="from the key to the array, verified", **_LARGE)
LINES = [RUN, RUN_LOOP, AGAIN, LOAD, SAVE_LARGE, LOAD_LARGE]
OPTIONS = {"key": "testing", "secret": "testing"}


def endpoint(job: Job) -> str:
    """The endpoint of a server of this contender's own, with an empty bucket ``bench``; it ends with this process."""
    sys.path.insert(0, str(HERE.parent / "tests" / "servers"))
    import boto3
    from processes import serving

    os.environ["PERSISTABLE_CACHE"] = f"{job.folder}/cache"
    running = ExitStack()
    endpoint = f"http://127.0.0.1:{running.enter_context(serving('s3_server.py', Path(job.folder)))}"
    atexit.register(running.close)
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="bench")
    return endpoint


def _client(job: Job) -> Any:
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=endpoint(job), use_listings_cache=False, config_kwargs={"max_pool_connections": 64}, **OPTIONS)


def _put_family(client: Any, size: int, number: int) -> list[str]:
    """The requests that a run makes: claims, payloads and records, and the claims deleted at once."""
    keys = [f"bench/{number}/{member:032x}" for member in range(size)]
    for ending, data in (".claim", b"c" * 300), (".token.pickle", b"p" * 150), (".record.json", b"r" * 1800):
        client.pipe({key + ending: data for key in keys}, batch_size=_AT_ONCE)
    client.rm([f"{key}.claim" for key in keys])
    return [key + ending for key in keys for ending in (".token.pickle", ".record.json")]


@RUN_LOOP.add("s3fs", "pipe() of as many claims, payloads and records, 32 at once, and rm() of the claims", LIMIT)
@RUN.add("s3fs", "pipe() of as many claims, payloads and records, 32 at once, and rm() of the claims", LIMIT)
def bare_run(job: Job) -> Any:
    client, numbers = _client(job), count()
    return lambda: _put_family(client, job.size, next(numbers)), lambda: None


@LOAD.add("s3fs", "all payloads and records by get_object, 32 at once", LIMIT)
def bare_load(job: Job) -> Any:
    client = _client(job)

    async def get(path: str) -> bytes:
        bucket, _, key = path.partition("/")
        answer = await client._call_s3("get_object", Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            data: bytes = await body.read()
            return data

    return _load_by(client, job, get)


@LOAD.add("s3fs, _cat_file()", "all payloads and records by _cat_file(), 32 at once; it asks twice for each", MORE)
def bare_load_cat(job: Job) -> Any:
    client = _client(job)
    return _load_by(client, job, client._cat_file)


def _load_by(client: Any, job: Job, get: Callable[[str], Awaitable[bytes]]) -> Any:
    from fsspec.asyn import sync

    paths = _put_family(client, job.size, 0)

    async def load() -> list[bytes]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(path: str) -> bytes:
            async with gate:
                return await get(path)

        return await asyncio.gather(*map(one, paths))

    return lambda: sync(client.loop, load), lambda: None


def _families(job: Job, client: str = "s3fs", upstream: bool = False) -> Callable[[int], Any]:
    from lines.steps import begin, scaled, twice
    from persistable import open_store

    options = {**OPTIONS, "endpoint_url": endpoint(job), "client": client}

    def family(number: int) -> Any:
        made: Any = scaled.over(n=range(job.size), by=begin.step(2)) if upstream else twice.over(n=range(job.size))
        return made.bind(open_store(f"s3://bench/{number}", **options))

    return family


def _run_on(job: Job, executor: str, client: str = "s3fs", upstream: bool = False) -> Any:
    from persistable import run

    family, numbers = _families(job, client, upstream), count()
    return lambda: run(family(next(numbers)), executor=executor), lambda: None


@RUN.add("persistable", "run(twice.over(n=range(size)))", OURS)
def ours_run(job: Job) -> Any:
    return _run_on(job, "inline")


@RUN.add("persistable, obstore", "the same, client='obstore'", MORE)
def ours_run_obstore(job: Job) -> Any:
    return _run_on(job, "inline", "obstore")


@RUN.add("persistable, threads", "the same, executor='threads'", MORE)
def ours_run_threads(job: Job) -> Any:
    return _run_on(job, "threads")


@RUN.add("persistable, processes", "the same, executor='processes', which are started each time", MORE)
def ours_run_processes(job: Job) -> Any:
    return _run_on(job, "processes")


@RUN_LOOP.add("persistable", "run(scaled.over(n=range(size), by=begin.step(2)))", OURS)
def ours_loop(job: Job) -> Any:
    return _run_on(job, "inline", upstream=True)


@RUN_LOOP.add("persistable, threads", "the same, executor='threads'", MORE)
def ours_loop_threads(job: Job) -> Any:
    return _run_on(job, "threads", upstream=True)


@RUN_LOOP.add("persistable, processes", "the same, executor='processes', which are started each time", MORE)
def ours_loop_processes(job: Job) -> Any:
    return _run_on(job, "processes", upstream=True)


def _stored(job: Job, client: str = "s3fs") -> Callable[[int], Any]:
    from persistable import run

    family = _families(job, client)
    run(family(0))
    return family


@AGAIN.add("persistable", "run(twice.over(n=range(size))): records known by their stamps", OURS)
def ours_again(job: Job) -> Any:
    from persistable import run

    family = _stored(job)
    run(family(0))
    return lambda: run(family(0)), lambda: None


@AGAIN.add("persistable, cold", "the same, no record known on this machine", MORE)
def ours_again_cold(job: Job) -> Any:
    from persistable import run

    family = _stored(job)
    return lambda: run(family(0)), lambda: shutil.rmtree(os.environ["PERSISTABLE_CACHE"], ignore_errors=True)


@LOAD.add("persistable", "list(family.payloads())", OURS)
def ours_load(job: Job) -> Any:
    return _load(job, "s3fs")


@LOAD.add("persistable, obstore", "the same, client='obstore'", MORE)
def ours_load_obstore(job: Job) -> Any:
    return _load(job, "obstore")


def _load(job: Job, client: str) -> Any:
    family = _stored(job, client)
    return lambda: list(family(0).payloads()), lambda: shutil.rmtree(os.environ["PERSISTABLE_CACHE"], ignore_errors=True)


def _node(job: Job, client: str = "s3fs") -> Callable[[int], Any]:
    from persistable import open_store

    options, kind = {**OPTIONS, "endpoint_url": endpoint(job), "client": client}, payload_class()
    kind.given = array_of(job.size)
    return lambda number: kind(open_store("s3://bench/large", **options), n=number)


@SAVE_LARGE.add("s3fs", "pipe_file() of the pickled array", LIMIT)
def bare_save(job: Job) -> Any:
    import pickle

    client, data = _client(job), pickle.dumps(array_of(job.size), 5)
    return lambda: client.pipe_file("bench/large", data), lambda: None


@SAVE_LARGE.add("persistable", "node.generate()", OURS)
def ours_save(job: Job) -> Any:
    node, numbers = _node(job), count()
    return lambda: node(next(numbers) % 2).generate(), lambda: None


@SAVE_LARGE.add("persistable, obstore", "the same, client='obstore'", MORE)
def ours_save_obstore(job: Job) -> Any:
    node, numbers = _node(job, "obstore"), count()
    return lambda: node(next(numbers) % 2).generate(), lambda: None


@LOAD_LARGE.add("s3fs", "cat_file()", LIMIT)
def bare_load_large(job: Job) -> Any:
    client = _client(job)
    client.pipe_file("bench/large", array_of(job.size).tobytes())
    return lambda: client.cat_file("bench/large"), lambda: None


@LOAD_LARGE.add("persistable", "node.load()", OURS)
def ours_load_large(job: Job) -> Any:
    node = _node(job)
    node(0).generate()
    return lambda: node(0).load(), lambda: None


@LOAD_LARGE.add("persistable, obstore", "the same, client='obstore'", MORE)
def ours_load_large_obstore(job: Job) -> Any:
    node = _node(job, "obstore")
    node(0).generate()
    return lambda: node(0).load(), lambda: None
