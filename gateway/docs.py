"""What the gateway says about itself: /openapi.json, /docs and /docs/errors, and the files that these pages need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata, resources
from pathlib import Path
from typing import Final

import msgspec
from starlette.routing import Route

from gateway.contract import Rpc
from gateway.error_page import render_errors
from gateway.errors import ERROR_PAGE
from gateway.openapi import describe
from gateway.pages import HTML, Page

_ASSETS: Final = "/docs/assets"
_CSS: Final = "text/css; charset=utf-8"
_JAVASCRIPT: Final = "text/javascript; charset=utf-8"


def docs_routes(contract: Iterable[Rpc], public_url: str) -> list[Route]:
    """All of it, open to everybody. Raises FileNotFoundError if Swagger UI's files are not installed."""
    document = msgspec.json.encode(describe(contract, public_url))
    return [
        Page(lambda: document, "application/json").route("/openapi.json"),
        Page(partial(_own, "api.html"), HTML).route("/docs"),
        Page(partial(render_errors, public_url), HTML).route(ERROR_PAGE),
        Page(partial(_own, "style.css"), _CSS).route(f"{_ASSETS}/style.css"),
        Page(partial(_own, "api.js"), _JAVASCRIPT).route(f"{_ASSETS}/api.js"),
        Page(_swagger_ui("swagger_style.css"), _CSS, keep=True).route(f"{_ASSETS}/swagger-ui.css"),
        Page(_swagger_ui("swagger_bundle.js"), _JAVASCRIPT, keep=True).route(f"{_ASSETS}/swagger-ui-bundle.js"),
    ]


def _own(name: str) -> bytes:
    return resources.files("gateway").joinpath("assets", name).read_bytes()


def _swagger_ui(name: str) -> Callable[[], bytes]:
    """A file of Swagger UI, as offapi has it. Importing offapi would read all its 9 MB, so its files are looked up."""
    path = Path(str(metadata.distribution("offapi").locate_file(f"offapi/{name}")))
    if not path.is_file():
        raise FileNotFoundError(path)
    return path.read_bytes
