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
    models = spec["components"]["schemas"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(spec['info']['title'])}: HTTP API</title>",
        f"<style>{_STYLE}</style><h1>{escape(spec['info']['title'])}: HTTP API</h1>",
        "<p>Every failure is <code>{&quot;error&quot;: {&quot;code&quot;: …, &quot;message&quot;: …}}</code>. "
        "The same as OpenAPI: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in spec["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{method.upper()} /api{escape(path)}</code></h2><p>{escape(route['summary'])}</p>")
            for parameter in route.get("parameters", ()):
                need = "needed" if parameter.get("required") else "optional"
                about = escape(parameter.get("description", ""))
                parts.append(f"<p><code>{escape(parameter['name'])}</code> ({parameter['in']}, {need}) {about}</p>")
            body = route.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                parts.append(f"<p>Body</p>{_example(body['schema'], models)}")
            for status, answer in route["responses"].items():
                model = answer.get("content", {}).get("application/json", {}).get("schema")
                if status.startswith("2") and model:
                    parts.append(f"<p>Answer, {escape(status)}</p>{_example(model, models)}")
    return "".join(parts)


def _example(schema: dict[str, Any], models: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(_sample(schema, models), indent=1, ensure_ascii=False))}</pre>"


def _sample(schema: dict[str, Any], models: dict[str, Any]) -> Any:
    """An example value: the one given, else made from the schema's parts."""
    if "$ref" in schema:
        return _sample(models[schema["$ref"].rpartition("/")[2]], models)
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema or "enum" in schema:
        return schema.get("const", "|".join(map(str, schema.get("enum", ()))))
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0], models)
    if "properties" in schema:
        return {name: _sample(part, models) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        several = schema.get("prefixItems") or [schema.get("items", {})]
        return [_sample(part, models) for part in several]
    return {"integer": 0, "number": 0.0, "boolean": False, "string": "…", "object": {}}.get(schema.get("type", ""))
