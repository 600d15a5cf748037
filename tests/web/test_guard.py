"""Who is let in: tried from outside against a real gradio server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from lora_forge.web.exposure import WARNING, is_exposed
from lora_forge.web.guard import is_foreign, is_from_page, login_of
from tests.web.conftest import Served, basic

GETS = ("status", "projects", "picture?path=anna/images/photos/secret.png")
POSTS = ("command", "start", "upload?name=x.png", "import")


@pytest.mark.parametrize("route", GETS)
@pytest.mark.parametrize(
    "cookie", ["", "access-token=x", "access-token-unsecure=None", "access-token-unsecure-x=y", "access-token="]
)
def test_without_a_session_nothing_is_told(locked_server: Served, route: str, cookie: str) -> None:
    got = locked_server.get(f"/lora_forge/{route}", cookie=cookie)
    assert got.status == 401
    assert got.json["error"]["what"] == "Not logged in."
    assert b"anna" not in got.body


@pytest.mark.parametrize("route", POSTS)
def test_without_a_session_nothing_is_done(locked_server: Served, route: str) -> None:
    before = sorted(locked_server.desk.root.rglob("*"))
    assert locked_server.post(f"/lora_forge/{route}", {"command": "stop"}).status == 401
    assert sorted(locked_server.desk.root.rglob("*")) == before


def test_a_session_opens_every_route_and_ends_with_the_logout(locked_server: Served) -> None:
    cookie = locked_server.login("me", "pass")
    for route in GETS:
        assert locked_server.get(f"/lora_forge/{route}", cookie=cookie).status == 200
    assert locked_server.post("/lora_forge/command", {"command": "stop"}, cookie=cookie).status == 409
    name, _, token = cookie.partition("=")
    assert locked_server.get("/lora_forge/status", cookie=f"{name}={token[:-1]}").status == 401
    if name != "access-token-unsecure":  # the name of gradio 3's
        assert locked_server.get("/lora_forge/status", cookie=f"access-token-unsecure={token}").status == 401
    locked_server.app.tokens.clear()
    assert locked_server.get("/lora_forge/status", cookie=cookie).status == 401


@pytest.mark.parametrize(("user", "password"), [("robot", "b:eep"), ("小红", "密")])
def test_the_password_of_the_api_lets_a_program_in(locked_server: Served, user: str, password: str) -> None:
    assert locked_server.get("/lora_forge/status", authorization=basic(user, password)).status == 200


@pytest.mark.parametrize(
    "header",
    [basic("robot", "boop"), basic("robot", ""), basic("", ""), basic("me", "pass"), "Basic !!!", "Basic /w==", "Basic",
     "Bearer b:eep", "Basic cm9ib3Q="],
)  # fmt: skip
def test_a_wrong_password_does_not(locked_server: Served, header: str) -> None:
    assert locked_server.get("/lora_forge/status", authorization=header).status == 401


def test_without_a_login_the_page_and_programs_are_let_in(open_server: Served) -> None:
    assert open_server.get("/lora_forge/status").status == 200
    assert open_server.get("/lora_forge/status", sec_fetch_site="same-origin").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:{port}"},
        {"origin": "http://evil.example", "x_forwarded_host": "nice.example"},
    ],
)
@pytest.mark.parametrize("route", POSTS)
def test_another_sites_page_can_do_nothing(open_server: Served, headers: dict[str, str], route: str) -> None:
    sent = {name: value.format(port=open_server.port) for name, value in headers.items()}
    got = open_server.post(f"/lora_forge/{route}", {"command": "stop"}, **sent)
    assert got.status == 403
    assert "Another site" in got.json["error"]["what"]


@pytest.mark.parametrize("route", GETS)
def test_another_sites_page_can_show_no_picture(open_server: Served, route: str) -> None:
    assert open_server.get(f"/lora_forge/{route}", sec_fetch_site="cross-site").status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:{port}"},
        {"origin": "https://my.example", "x_forwarded_host": "my.example, inner"},
        {"origin": "https://my.example", "host": "my.example:443"},
        {"sec_fetch_site": "same-origin", "origin": "https://behind.a.proxy"},
        {"sec_fetch_site": "none"},
    ],
)
def test_our_own_page_can_whatever_the_proxy_calls_it(open_server: Served, headers: dict[str, str]) -> None:
    sent = {name: value.format(port=open_server.port) for name, value in headers.items()}
    assert open_server.post("/lora_forge/command", {"command": "stop"}, **sent).status == 409


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("route", POSTS)
def test_what_a_plain_form_can_send_is_refused(open_server: Served, route: str, kind: str) -> None:
    got = open_server.post(f"/lora_forge/{route}", '{"command": "stop"}', content_type=kind)
    assert got.status == 415


def request(headers: dict[str, str]) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "method": "GET", "path": "/"})


class TestLoginOf:
    """The three kinds of application that gradio makes, by what its login looks at."""

    def test_gradio_3_has_plain_cookies(self) -> None:
        app = SimpleNamespace(auth={"me": "pass"}, tokens={"t0": "me"})
        opens_to = login_of(app)
        assert opens_to(request({"cookie": "access-token=t0"}))
        assert opens_to(request({"cookie": "access-token-unsecure=t0"}))
        assert not opens_to(request({"cookie": "access-token=t1"}))
        assert not opens_to(request({}))

    def test_gradio_4_has_its_id_in_them(self) -> None:
        app = SimpleNamespace(
            auth=lambda user, password: True, tokens={"t0": "me"}, cookie_id="Q", auth_dependency=None
        )
        opens_to = login_of(app)
        assert opens_to(request({"cookie": "access-token-Q=t0"}))
        assert opens_to(request({"cookie": "access-token-unsecure-Q=t0"}))
        assert not opens_to(request({"cookie": "access-token=t0"}))
        assert not opens_to(request({"cookie": "access-token-R=t0"}))

    def test_an_outer_login_is_asked(self) -> None:
        def who(asked: Request) -> str | None:
            return asked.headers.get("x-user")

        app = SimpleNamespace(auth=None, tokens={}, cookie_id="Q", auth_dependency=who)
        assert login_of(app)(request({"x-user": "me"}))
        assert not login_of(app)(request({"cookie": "access-token-Q="}))

    def test_with_a_password_for_the_api_alone_the_page_needs_none_and_programs_do(self) -> None:
        opens_to = login_of(SimpleNamespace(auth=None, tokens={}), "robot:beep")
        host = {"host": "ai.local:7860"}
        assert opens_to(request({**host, "referer": "http://ai.local:7860/?x"}))
        assert opens_to(request({**host, "sec-fetch-site": "same-origin"}))
        assert opens_to(request({**host, "authorization": basic("robot", "beep")}))
        assert not opens_to(request(host))
        assert not opens_to(request({**host, "referer": "http://evil.example/ai.local:7860"}))
        assert not opens_to(request({**host, "authorization": basic("robot", "no")}))


@pytest.mark.parametrize(
    ("headers", "foreign", "from_page"),
    [
        ({"host": "a:1"}, False, False),
        ({"host": "a:1", "origin": "http://a:1"}, False, True),
        ({"host": "A:1", "origin": "http://a:1"}, False, True),
        ({"host": "a", "origin": "https://a:443"}, False, True),
        ({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, False, True),
        ({"host": "a:1", "origin": "http://a:1@evil"}, True, False),
        ({"host": "a:1", "origin": "http://evil@a:2"}, True, False),
        ({"host": "", "origin": "null"}, True, False),
        ({"origin": ""}, True, False),
    ],
)
def test_origins_are_compared_by_server_and_port(headers: dict[str, str], foreign: bool, from_page: bool) -> None:
    assert (is_foreign(headers), is_from_page(headers)) == (foreign, from_page)


@pytest.mark.parametrize(
    ("page", "is_warned"),
    [
        ({"server_name": "127.0.0.1", "share": False, "auth": None}, False),
        ({"server_name": "::1", "share": False, "auth": None}, False),
        ({"server_name": "localhost", "share": False, "auth": None}, False),
        ({"server_name": "0.0.0.0", "share": False, "auth": None}, True),
        ({"server_name": "::", "share": False, "auth": None}, True),
        ({"server_name": "ai.example", "share": False, "auth": None}, True),
        ({"server_name": "127.0.0.1", "share": True, "auth": None}, True),
        ({"server_name": "0.0.0.0", "share": True, "auth": [("me", "pass")]}, False),
        ({}, False),
    ],
)
def test_a_page_that_strangers_reach_without_a_login_is_warned_of(page: dict[str, Any], is_warned: bool) -> None:
    assert is_exposed(SimpleNamespace(**page)) == (WARNING if is_warned else "")
    assert is_exposed(None) == ""


def test_the_warning_is_of_the_page_that_is_served_now(open_server: Served) -> None:
    from lora_forge import web

    web.protect(open_server.page, open_server.desk.data_root())
    assert web.exposure_warning() == ""
    open_server.page.server_name = "0.0.0.0"
    try:
        assert web.exposure_warning() == WARNING
    finally:
        open_server.page.server_name = "127.0.0.1"
