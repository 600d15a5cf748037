"""Who is let in: whoever the host's page lets in, from the page itself or with the API's password."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

OpensTo = Callable[[Request], bool]
_COOKIES = ("access-token", "access-token-unsecure")


def login_of(app: Any, api_auth: str = "") -> OpensTo:
    """A test whether a request comes from someone the host would let in.

    ``app``: gradio's application, of gradio 3, 4 or 5; its sessions count, read anew each time. ``api_auth``: the
    host's ``--api-auth``, ``user:password`` with commas between several: it lets a program in that has no session.
    Where nothing but the API has a password, a request that the page itself sends needs none, as the page needs none.
    """
    accounts = _accounts(api_auth)

    def opens_to(request: Request) -> bool:
        if _has_session(app, request) or _has_password(accounts, request.headers.get("authorization", "")):
            return True
        if _asks_for_login(app):
            return False
        return not accounts or is_from_page(request.headers)

    return opens_to


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site's page sent this. Programs that are no browser say nothing of it."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and not _is_ours(origin, headers)


def is_from_page(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that our own page sent this."""
    if headers.get("sec-fetch-site") is not None:
        return headers["sec-fetch-site"] == "same-origin"
    sender = headers.get("origin") or headers.get("referer")
    return sender is not None and _is_ours(sender, headers)


def _asks_for_login(app: Any) -> bool:
    return getattr(app, "auth", None) is not None or getattr(app, "auth_dependency", None) is not None


def _has_session(app: Any, request: Request) -> bool:
    """As gradio's own login check: the cookie of gradio 3, or that of gradio 4 and 5, which has the app's id in it."""
    dependency = getattr(app, "auth_dependency", None)
    if dependency is not None:
        return dependency(request) is not None
    cookie_id = getattr(app, "cookie_id", None)
    names = [f"{name}-{cookie_id}" for name in _COOKIES] if cookie_id else _COOKIES
    tokens: Mapping[str, Any] = getattr(app, "tokens", None) or {}
    return any(tokens.get(request.cookies.get(name, "")) is not None for name in names)


def _accounts(api_auth: str) -> dict[str, str]:
    pairs = (pair.partition(":") for pair in (api_auth or "").split(","))
    return {user: password for user, colon, password in pairs if colon}


def _has_password(accounts: Mapping[str, str], header: str) -> bool:
    kind, _, coded = header.partition(" ")
    if not accounts or kind.lower() != "basic":
        return False
    try:
        user, colon, password = base64.b64decode(coded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    known = accounts.get(user)
    return bool(colon) and known is not None and secrets.compare_digest(password.encode(), known.encode())


def _is_ours(address: str, headers: Mapping[str, str]) -> bool:
    """Whether ``address`` names the server that was asked. A proxy may have renamed it; another site's page can't set
    its header."""
    sender = _server(urlsplit(address).netloc)
    asked = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")]
    return bool(sender) and sender in {_server(name.strip()) for name in asked}


def _server(netloc: str) -> str:
    name = netloc.rpartition("@")[2].lower()
    for port in (":80", ":443"):
        name = name.removesuffix(port)
    return name
