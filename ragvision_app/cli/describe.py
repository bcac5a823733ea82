"""``openapi``: the HTTP API's description, for ``docs/openapi.json``."""

from __future__ import annotations

import sys


def openapi() -> None:
    """Write the HTTP API's OpenAPI document to stdout."""
    from ragvision_app.api import openapi_json

    sys.stdout.write(openapi_json())
