"""The API's reference as one page of plain HTML, made from its own OpenAPI description."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2rem 0 .25rem; font-size: 1rem; }
h2 code { font-size: 1rem; }
pre { overflow: auto; padding: .75rem; border: 1px solid #8885; border-radius: 6px; font-size: 13px; }
p { margin: .25rem 0; }
"""


def docs_router(api: FastAPI) -> APIRouter:
    """``/docs``; the machine's version of it is ``/openapi.json``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        return HTMLResponse(_page(api.openapi()), headers={"Content-Security-Policy": policy})

    return router


def _page(spec: dict[str, Any]) -> str:
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(spec['info']['title'])}: HTTP API</title>",
        f"<style>{_STYLE}</style><h1>{escape(spec['info']['title'])}: HTTP API</h1>",
        "<p>Every failure is <code>{&quot;error&quot;: {&quot;code&quot;: …, &quot;message&quot;: …}}</code>, but at "
        "<code>/api/ragvision/invocations</code>, which keeps the reference system's form. "
        "The same as OpenAPI: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in spec["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{method.upper()} /api{escape(path)}</code></h2><p>{escape(route['summary'])}</p>")
            for parameter in route.get("parameters", ()):
                need = "needed" if parameter.get("required") else "optional"
                about = escape(parameter.get("description", ""))
                parts.append(f"<p><code>{escape(parameter['name'])}</code> ({parameter['in']}, {need}) {about}</p>")
            for kind, body in route.get("requestBody", {}).get("content", {}).items():
                parts.append(f"<p>Body, {escape(kind)}</p>{_example(body['example'])}")
            for status, answer in route["responses"].items():
                for content in answer.get("content", {}).values():
                    if "example" in content:
                        parts.append(f"<p>Answer, {escape(status)}</p>{_example(content['example'])}")
    return "".join(parts)


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"
