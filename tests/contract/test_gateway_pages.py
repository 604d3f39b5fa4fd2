"""The pages: open, whole without a network, and where errors say they are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
import pytest
from pharos.push.v1 import types_pb2

from gateway.errors import every_error
from tests.contract.gateway_upstream import Upstream, rest

PAGES = ["/docs", "/docs/errors"]
OPEN = [*PAGES, "/openapi.json", "/docs/assets/style.css"]
_LOADED = {("link", "href"), ("script", "src"), ("a", "href"), ("img", "src")}


class Page(HTMLParser):
    """What a page refers to, and what it has anchors for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.anchors: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.urls += [value or "" for name, value in attrs if (tag, name) in _LOADED]
        self.anchors += [given["id"] or ""] if "id" in given else []
        self.inline += [name for name in given if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("path", OPEN)
async def test_they_need_no_credentials(client: httpx.AsyncClient, path: str) -> None:
    whole = await client.get(path, auth=httpx.Auth(), headers={"X-Request-Id": "mine"})
    head = await client.head(path, auth=httpx.Auth())
    refused = await client.post(path)
    assert (whole.status_code, head.status_code, refused.status_code) == (200, 200, 405)
    assert whole.headers["X-Request-Id"] == "mine"
    assert head.headers["X-Request-Id"]
    assert head.content == b""
    assert head.headers["Content-Length"] == str(len(whole.content))
    assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD"}
    assert refused.json()["errors"][0]["code"] == 20405


@pytest.mark.parametrize("public_url", ["", "https://push.example/api"])
@pytest.mark.parametrize("page", PAGES)
async def test_all_that_a_page_loads_or_leads_to_is_on_the_gateway(
    upstream: Upstream, page: str, public_url: str
) -> None:
    async with rest(upstream.target, public_url=public_url) as client:
        response = await client.get(page)
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert '<meta charset="utf-8">' in response.text
        found = [url for url in Page(response.text).urls if url != "data:,"]
        assert found
        for url in found:
            assert not urlsplit(url).scheme, url
            assert not urlsplit(url).netloc, url
            assert not url.startswith("/"), "it would leave the path that a proxy gives the gateway"
            there = await client.get(urldefrag(urljoin(f"http://push.test{page}", url)).url)
            assert there.status_code == 200, url


@pytest.mark.parametrize("page", PAGES)
async def test_a_browser_may_load_nothing_from_elsewhere(client: httpx.AsyncClient, page: str) -> None:
    response = await client.get(page)
    policy = dict(each.split(" ", 1) for each in response.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    allowed = {word for sources in policy.values() for word in sources.split()}
    assert allowed == {"'none'", "'self'", "'unsafe-inline'", "data:"}
    assert "<script>" not in response.text
    assert Page(response.text).inline == []


async def test_swagger_ui_is_served_as_what_it_is(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    for name, kind in (("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")):
        assert f"docs/assets/{name}" in page
        asset = await client.get(f"/docs/assets/{name}")
        assert asset.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert asset.headers["X-Content-Type-Options"] == "nosniff"
        assert "max-age" in asset.headers["Cache-Control"]
        if kind == "text/css":
            assert "@import" not in asset.text
            assert set(re.findall(r"url\([\"']?(\w+:?)", asset.text)) == {"data:"}
    start = (await client.get("/docs/assets/api.js")).text
    assert "validatorUrl: null" in start
    assert "://" not in start


@pytest.mark.parametrize("path", [*OPEN, "/docs/assets/swagger-ui-bundle.js"])
async def test_what_a_browser_has_it_does_not_get_again(client: httpx.AsyncClient, path: str) -> None:
    tag = (await client.get(path)).headers["ETag"]
    same = await client.get(path, headers={"If-None-Match": f'"old", W/{tag}'})
    other = await client.get(path, headers={"If-None-Match": '"old"'})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "options", "code"),
    [
        ("POST", "/v1/PushNotifications", {"json": {"x": 1}}, 20001),
        ("GET", "/v1/PushNotifications", {"auth": httpx.Auth()}, 20003),
        ("GET", "/v1/nothing", {}, 20404),
        ("PUT", "/v1/PushNotifications", {}, 20405),
        ("POST", "/docs", {}, 20405),
        ("POST", "/v1/PushNotifications", {"content": b"x"}, 20415),
    ],
)
async def test_the_info_url_of_an_error_leads_to_its_explanation(
    client: httpx.AsyncClient, method: str, path: str, options: dict[str, object], code: int
) -> None:
    error = (await client.request(method, path, **options)).json()["errors"][0]  # type: ignore[arg-type]
    assert error["code"] == code
    url, anchor = urldefrag(error["infoUrl"])
    page = await client.get(url, auth=httpx.Auth())
    assert page.status_code == 200
    assert anchor == str(code)
    assert anchor in Page(page.text).anchors


async def test_every_error_and_every_reason_is_explained_once(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs/errors")
    codes = [str(error.code) for error in every_error()]
    reasons = [value for value in types_pb2.DeliveryReason.DESCRIPTOR.values if value.number]
    expected = [*codes, *(str(21000 + value.number) for value in reasons)]
    numbered = [anchor for anchor in Page(page.text).anchors if anchor.isdecimal()]
    assert numbered == sorted(expected, key=int)
    assert len(set(numbered)) == len(numbered)
    for value in reasons:
        assert value.name.removeprefix("DELIVERY_REASON_") in page.text
    assert "The provider does not know the token" in page.text
    assert "`" not in page.text


async def test_the_examples_lead_to_the_public_url(upstream: Upstream) -> None:
    async with rest(upstream.target, public_url="https://p.example") as client:
        page = (await client.get("/docs/errors")).text
    assert "https://p.example/docs/errors#20503" in page
