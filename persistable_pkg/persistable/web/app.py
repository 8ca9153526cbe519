"""The application: routes of pages, each as HTML or as JSON, and of the images of previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from persistable.errors import InvalidQuery, PayloadNotFound, PersistableError, UnknownKey, need
from persistable.params.secret import redact
from persistable.web.images import image_of
from persistable.web.links import INDEX, Address, ServerLinks
from persistable.web.listing import catalog_page
from persistable.web.overview import running_page, storage_page, targets_page
from persistable.web.page import Maker, Page, PageRequest, Site
from persistable.web.payloads import diff_page, explain_page, lineage_page, payload_page
from persistable.web.render import as_html, as_json, assets
from persistable.web.sweeps import sweep_page

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PAGES: dict[str, tuple[Maker, int]] = {
    INDEX: (catalog_page, 0),
    "payload": (payload_page, 2),
    "lineage": (lineage_page, 2),
    "explain": (explain_page, 2),
    "diff": (diff_page, 0),
    "sweep": (sweep_page, 0),
    "running": (running_page, 0),
    "storage": (storage_page, 0),
    "targets": (targets_page, 0),
}
"""The maker of a page and the number of words after the first, by the first word of its address."""


def page_at(site: Site, path: str, query: Mapping[str, str]) -> Page:
    """The page at an address; an error is a page too."""
    first, *words = (path or INDEX).split("/")
    maker, number = PAGES.get(first, (None, 0))
    if maker is None or len(words) != number:
        return _wrong(404, f"there is no page {path!r:.100}")
    try:
        made = maker(site, PageRequest(words, query))
        return made._replace(shown={**made.shown, "has_project": site.project is not None})
    except (UnknownKey, PayloadNotFound) as error:
        return _wrong(404, str(error))
    except InvalidQuery as error:
        return _wrong(400, str(error))
    except (PersistableError, OSError) as error:
        return _wrong(500, f"{type(error).__name__}: {error}")


def _wrong(status: int, why: str) -> Page:
    return Page("Not found" if status == 404 else "Error", "error.html", {"error": redact(why)}, {"has_project": False}, status)


def application(site: Site) -> Starlette:
    """The application, without its guard."""
    need("starlette", "starlette", "serve", "the local page")
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    files = assets()

    def asset(request: Request) -> Response:
        kind, data = files.get(request.path_params["name"], ("", b""))
        return Response(data, media_type=kind) if kind else Response("there is no such file\n", 404)

    def image(request: Request) -> Response:
        found = image_of(site, [request.path_params["name"], request.path_params["digest"]])
        if found is None:
            return Response("there is no such image\n", 404, media_type="text/plain")
        kind, data = found
        return Response(
            data, media_type=kind, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
        )

    def page(request: Request) -> Response:
        path: str = request.path_params["path"]
        accepted = request.headers.get("accept", "")
        wants_json = path.endswith(".json") or ("application/json" in accepted and "text/html" not in accepted)
        query = {name: value for name, value in request.query_params.items() if name != "token"}
        path = path.removesuffix(".json")
        made = page_at(site, path, query)
        if wants_json:
            return Response(as_json(made), made.status, media_type="application/json")
        return Response(as_html(made, ServerLinks(Address.of(path or INDEX, **query))), made.status, media_type="text/html")

    return Starlette(
        routes=[
            Route("/static/{name}", asset, methods=["GET"]),
            Route("/image/{name}/{digest}", image, methods=["GET"]),
            Route("/{path:path}", page, methods=["GET"]),
        ]
    )
