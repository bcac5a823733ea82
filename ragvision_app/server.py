"""Starts the server, in the one tested way: ``python -m ragvision_app run``, make and Docker all come here."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn

from core.errors import InvalidInput
from ragvision_app import login, request_log
from ragvision_app.origin import is_loopback
from ragvision_app.ratelimit import configured_rate

if TYPE_CHECKING:
    from core.workbench import Workbench

TOKEN_VARIABLE = "RAGVISION_TOKEN"
HOSTS_VARIABLE = "RAGVISION_ALLOWED_HOSTS"  # names by which a proxy reaches a server on loopback, with commas between
ROOT = Path(__file__).resolve().parent.parent  # holds .streamlit/config.toml
WS_LIMIT = 200 * 1024 * 1024  # bytes of one websocket message, as Streamlit's server.maxMessageSize
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # every address of this machine → the one that is shown
SHUTDOWN_SECONDS = 3  # open browser tabs hold websockets that never end by themselves


def choose_token(host: str, token: str | None) -> str | None:
    """The token to ask for: the one given (argument, else ``RAGVISION_TOKEN``), one made up where the server
    is reachable from other machines, none on loopback."""
    chosen = token or os.environ.get(TOKEN_VARIABLE, "")
    if chosen:
        if not chosen.isascii() or not chosen.isprintable() or " " in chosen:
            raise InvalidInput("The token may hold ASCII letters, digits and signs only, and no spaces.")
        return chosen
    return None if is_loopback(host) else secrets.token_urlsafe(24)


def allowed_hosts() -> list[str]:
    """The names in ``RAGVISION_ALLOWED_HOSTS``."""
    return [name.strip() for name in os.environ.get(HOSTS_VARIABLE, "").split(",") if name.strip()]


def address(host: str, port: int, token: str | None = None) -> str:
    """The link to open; a wildcard address is shown as this machine's."""
    name = WILDCARDS.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/label" + (f"?token={quote(token, safe='')}" if token else "")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises InvalidInput with a sentence where the address cannot be had."""
    if not 0 <= port <= 65535:
        raise InvalidInput(f"There is no port {port}: a port is between 0 and 65535.")
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(where[:2], family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"Port {port} is taken by another program. Choose another: --port 8600, or make run PORT=8600."
            ) from error
        raise InvalidInput(f"The server cannot listen on {host} port {port}: {error.strerror}.") from error
    # connections inherit it. asyncio sets it only on sockets that name their protocol, and without it every
    # answer waits 40 ms for the client's delayed acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def check_address(host: str, port: int, token: str | None, log_requests: bool | None = None) -> None:
    """Raises what :func:`serve` would raise of its address and settings, before long work is done for nothing."""
    choose_token(host, token)
    configured_rate()
    request_log.wanted(log_requests, loopback=is_loopback(host))
    bind(host, port).close()


def configure_streamlit(host: str, port: int) -> None:
    """Makes Streamlit read our ``.streamlit/config.toml``, from whatever folder the server was started."""
    from streamlit import config

    config._main_script_path = str(ROOT / "app")  # its folder is where the file is looked for
    given = {"server.address": host, "server.port": port, "server.headless": True}
    config.get_config_options(force_reparse=True, options_from_flags=given)


def serve(
    project: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    token: str | None = None,
    log_requests: bool | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serves one project until it is interrupted.

    ``announce`` is called once, with the link to open, when pages and API answer; port 0 takes any free
    one. ``log_requests`` None: as ``RAGVISION_LOG_REQUESTS`` says, else where other machines reach the server.
    Raises InvalidInput (address, token, settings) and ProjectError (the project cannot be opened).
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    chosen = choose_token(host, token)
    rate = configured_rate()
    request_log.log_to_stderr(request_log.wanted(log_requests, loopback=is_loopback(host)))
    with bind(host, port) as listener:
        port = listener.getsockname()[1]
        configure_streamlit(host, port)
        from ragvision_app.asgi import create_app

        login.check()
        failures: list[BaseException] = []

        def on_ready(failure: BaseException | None) -> None:
            if failure is None:
                announce(address(host, port, chosen))
            else:
                failures.append(failure)
                server.should_exit = True

        app = create_app(
            lambda: _open(project), token=chosen, allowed_hosts=allowed_hosts(), rate=rate, on_ready=on_ready
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,  # addresses may hold a token
                server_header=False,
                ws="websockets-sansio",
                ws_max_size=WS_LIMIT,
                ws_ping_interval=30,
                ws_ping_timeout=30,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        server.run(sockets=[listener])
        if failures:
            raise failures[0]


def _open(project: Path) -> Workbench:
    from core.workbench import Workbench  # heavy: not before the first page

    return Workbench.open(project)
