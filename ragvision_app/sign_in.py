"""The page that asks for the token, and the one that says that a token does not open pages. Plain HTML."""

from __future__ import annotations

from html import escape

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import Scope

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:20vh auto;"
    "padding:0 1rem}input,button{font:inherit;padding:.4rem .6rem}input{width:16rem}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"


def ask_for_token(scope: Scope, headers: Headers, *, problem: str | None = None) -> HTMLResponse:
    """The sign-in page, 401; ``problem`` says what was wrong with the token that was given.

    A Strict cookie is not sent when a link on another site (a chat, a mail, a login page) was followed, so such a
    visit is asked to load the page once more, from here; then the browser sends the cookie it has.
    """
    again = ""
    if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and problem is None:
        query = scope.get("query_string", b"").decode("latin-1")
        address = "/" + scope["path"].lstrip("/\\") + (f"?{query}" if query else "")
        again = f'<meta http-equiv="refresh" content="0;url={escape(address)}">'
    said = problem or "This workbench asks for its token."
    body = (
        f"<p>{escape(said)} It is in the link that was printed when the server started.</p>"
        "<form method=get><input name=token type=password autocomplete=current-password aria-label=Token autofocus "
        "required> <button>Open</button></form>"
    )
    return _page(body, 401, head=again, headers={"WWW-Authenticate": "Bearer"})


def say(sentence: str, status: int, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page with one sentence."""
    return _page(f"<p>{escape(sentence)}</p>", status, headers=headers)


def _page(body: str, status: int, *, head: str = "", headers: dict[str, str] | None = None) -> HTMLResponse:
    page = (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>RAG Vision Workbench</title>{head}"
        f"<style>{_STYLE}</style></head><body><h1>RAG Vision Workbench</h1>{body}</body></html>"
    )
    fixed = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(page, status_code=status, headers=fixed | (headers or {}))
