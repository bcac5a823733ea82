"""One process, one port: Streamlit's pages, and the API beside them under ``/api``.

Only :mod:`ragvision_app.server` starts it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from anyio import to_thread
from starlette.middleware import Middleware
from starlette.routing import Mount

from ragvision_app import state
from ragvision_app.api import create_api
from ragvision_app.guard import Guard

if TYPE_CHECKING:
    from core.workbench import Workbench

APP = Path(__file__).resolve().parent / "app.py"


def create_app(workbench: Workbench, *, token: str | None = None, allowed_hosts: Iterable[str] = ()) -> st.App:
    """The whole application on ``workbench``: its worker runs while the application does.

    ``token`` None asks for none and answers to this machine's names and ``allowed_hosts`` only.
    """
    state.serve_workbench(workbench)

    @asynccontextmanager
    async def lifespan(app: st.App) -> AsyncIterator[dict[str, Any] | None]:
        workbench.start_worker()  # loads models in its own thread: pages do not wait for them
        try:
            yield None
        finally:
            await to_thread.run_sync(workbench.stop_worker)

    return st.App(
        APP,
        routes=[Mount("/api", app=create_api(workbench))],
        middleware=[Middleware(Guard, token=token, allowed_hosts=tuple(allowed_hosts))],
        lifespan=lifespan,
    )
