"""The local page over many records: the first page, as a browser gets it."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

from harness import MORE, OURS, Goal, Job, Line

LINE = Line(
    name="page-catalog",
    title="50 rows of the catalog in the local page",
    loop="one request to the server: index looked at, records found, rows written as HTML",
    unit="ms",
    sizes=(20_000, 100_000),
    sizes_quick=(20_000,),
    size_label=lambda size: f"{size:,} records",
    rounds=9,
    seconds=0.05,
    many_files=True,
    goals=(Goal("<= 50 ms", 50.0),),
)


def _asked(path: str) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        from lines.catalog import catalog_of
        from persistable.web import serve

        server = serve(catalog_of(job, f"{job.folder}/store"))
        token = server.url.partition("token=")[2]

        def request() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            assert answer.status == 200 and text.count(b"<tr>") == 51, text[:500]

        return request

    return setup


LINE.add("persistable", "GET /", OURS)(_asked("/"))
LINE.add("persistable, one name", "GET /?name=fit", MORE)(_asked("/?name=fit"))
LINE.add("persistable, largest first", "GET /?sort=size", MORE)(_asked("/?sort=size"))
LINE.add("persistable, an expression", "GET /?where=n > 500", MORE)(_asked("/?where=n+%3E+500"))
