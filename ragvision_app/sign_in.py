"""The page that asks for the token, and the one that says that a token does not open pages. Plain HTML."""

from __future__ import annotations

from html import escape

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import Scope

_STYLE = (
    ":root{color-scheme:light dark;--text:light-dark(#1b1f27,#e6e9ee);--line:light-dark(#d9dce3,#353b46);"
    "--field:light-dark(#f3f4f6,#1f242c);--accent:light-dark(#2456c8,#7aa5ff);--paper:light-dark(#fff,#14171c)}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:23rem;margin:18vh auto;padding:0 1rem;color:var(--text);"
    "background:var(--paper)}main{padding:1.5rem;border:1px solid var(--line);border-radius:8px}"
    "h1{margin:0;font-size:1.25rem;font-weight:600}form{display:flex;gap:.5rem}input,button{font:inherit;"
    "min-height:2.4rem;padding:0 .75rem;border-radius:6px}input{flex:1;min-width:0;border:1px solid var(--line);"
    "background:var(--field);color:inherit}button{border:0;background:var(--accent);color:var(--paper)}"
    ":focus-visible{outline:2px solid var(--accent);outline-offset:1px}"
    ".problem{padding:.4rem .75rem;border-radius:6px;background:light-dark(#fbe3e1,#41201e)}"
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
    said = f"<p class=problem role=alert>{escape(problem)}</p>" if problem else ""
    body = (
        f"{said}<p>This workbench asks for its token. It is in the link that was printed when the server started, or "
        "was made for you by whoever runs it.</p>"
        "<form method=get><input name=token type=password autocomplete=current-password aria-label=Token "
        "placeholder=Token autofocus required> <button>Open</button></form>"
    )
    return _page(body, 401, head=again, headers={"WWW-Authenticate": "Bearer"})


def say(sentence: str, status: int, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page with one sentence."""
    return _page(f"<p>{escape(sentence)}</p>", status, headers=headers)


def _page(body: str, status: int, *, head: str = "", headers: dict[str, str] | None = None) -> HTMLResponse:
    page = (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>RAG Vision Workbench</title>{head}"
        f"<style>{_STYLE}</style></head><body><main><h1>RAG Vision Workbench</h1>{body}</main></body></html>"
    )
    fixed = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(page, status_code=status, headers=fixed | (headers or {}))
