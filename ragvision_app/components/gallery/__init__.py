"""The support board: a gallery a class, where images are dragged, dropped, moved and removed.

One v2 component. The browser sends batches of actions, one at a time, and goes on only when the server
has named the batch as applied (``data["applied"]``); until then it shows its own changes on top of what
the server said. What an action does is decided in :mod:`ragvision_app.components.support_board`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

_FOLDER = Path(__file__).parent
_SCRIPTS = ("channel.js", "model.js", "gallery.js", "interact.js")


def _read(*names: str) -> str:
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


_mount = st.components.v2.component(
    "ragvision.gallery", css=_read("gallery.css"), js=_read(*_SCRIPTS), isolate_styles=False
)
_grid = st.components.v2.component(
    "ragvision.image_grid", css=_read("grid.css"), js=_read("grid.js"), isolate_styles=False
)


def gallery(data: dict[str, Any], *, key: str, on_batch: Callable[[dict[str, Any]], None]) -> None:
    """Draws the board of ``data`` (:func:`support_board.board_data`); ``on_batch`` gets what was done."""

    def arrived() -> None:
        batch = st.session_state[key].get("actions")
        if batch:
            on_batch(batch)

    _mount(key=key, data=data, on_actions_change=arrived)


def image_grid(images: list[dict[str, Any]], *, key: str, api_base: str = "/api") -> None:
    """Draws thumbnails of ``images`` (image, name, note, colour), loaded as they come into view."""
    _grid(key=key, data={"images": images, "api_base": api_base})
