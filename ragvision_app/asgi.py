"""One process, one port: Streamlit's pages, and the API beside them under ``/api``.

Only :mod:`ragvision_app.server` starts it. The first page does not wait for what it does not need: the
project is opened and the API is built in a thread of their own, while pages are served already.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from anyio import to_thread
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import RagVisionError
from ragvision_app import login, state
from ragvision_app.guard import Guard
from ragvision_app.ratelimit import Rate, RateLimit
from ragvision_app.request_log import RequestLog

if TYPE_CHECKING:
    from core.store import Store
    from core.workbench import Workbench

log = logging.getLogger("ragvision.pages")

APP = Path(__file__).resolve().parent / "app.py"


class _LateApi:
    """The API, from the moment on at which it begins to be built: requests wait for it."""

    opening: Future[Workbench]
    building: Future[ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        api = self.building.result() if self.building.done() else await asyncio.wrap_future(self.building)
        await api(scope, receive, send)


def _build_api(opening: Future[Workbench]) -> ASGIApp:
    workbench = opening.result()
    from ragvision_app.api import create_api

    api = create_api(workbench)
    workbench.start_worker()  # loads models in its own thread
    return api


def show_script_error(error: Exception) -> bool:
    """Says in the page what failed: the core's own sentence, else where the log has the details."""
    if isinstance(error, RagVisionError):
        st.error(str(error), icon=":material/error:")
    else:
        number = secrets.token_hex(4)
        log.error("page error %s", number, exc_info=error)
        st.error(f"This page failed; the server's log has the details under {number}. Reload to try again.")
    return True  # shown: Streamlit adds nothing of its own


def create_app(
    open_workbench: Callable[[], Workbench],
    *,
    token: str | None = None,
    allowed_hosts: Iterable[str] = (),
    rate: Rate | None = None,
    on_ready: Callable[[BaseException | None], None] = lambda failure: None,
) -> st.App:
    """The whole application on the Workbench that ``open_workbench`` gives.

    That is called in a thread once pages are served, and ``on_ready`` after it, with what it raised or
    None. The Workbench is open, and its worker runs, while the application does. ``token`` None asks for
    none and answers to this machine's names and ``allowed_hosts`` only; ``rate`` None limits nobody.
    """
    api = _LateApi()

    async def store() -> Store:
        """The store that knows the tokens; a request that brings one waits for it while the project opens."""
        opening = api.opening
        return (opening.result() if opening.done() else await asyncio.wrap_future(opening)).store

    @asynccontextmanager
    async def lifespan(app: st.App) -> AsyncIterator[dict[str, Any] | None]:
        with ThreadPoolExecutor(1, thread_name_prefix="open-project") as pool:
            opening = pool.submit(open_workbench)
            state.serve_workbench(opening)
            api.opening = opening
            api.building = pool.submit(_build_api, opening)
            api.building.add_done_callback(lambda building: on_ready(building.exception()))
            try:
                yield None
            finally:
                await to_thread.run_sync(pool.shutdown)
                state.serve_workbench(None)
                if opening.exception() is None:
                    await to_thread.run_sync(opening.result().close)

    return st.App(
        APP,
        routes=[Route("/api", lambda request: RedirectResponse("/api/docs")), Mount("/api", app=api)],
        middleware=[
            Middleware(RequestLog),  # the first is the outermost: what the guard refuses has an id and a line, too
            Middleware(
                Guard,
                token=token,
                allowed_hosts=tuple(allowed_hosts),
                store=store,
                login=login.name_in if login.is_configured() else None,
                limit=None if rate is None else RateLimit(rate),
            ),
        ],
        lifespan=lifespan,
        on_script_error=show_script_error,
    )
