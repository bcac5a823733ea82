"""Ends a websocket whose token was revoked or has expired: before its next message, and soon without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import Message, Receive, Send

from core.errors import RagVisionError

log = logging.getLogger("ragvision.access")

EVERY_SECONDS = 15.0
_POLICY = 1008  # the close code for "not allowed"


def watched(
    receive: Receive, send: Send, in_force: Callable[[], Awaitable[bool]], *, every: float | None = None
) -> tuple[Receive, Send]:
    """``receive`` and ``send`` of one websocket that ends once ``in_force`` says no.

    The application then gets a disconnect, as if the client had gone, and what it still sends goes nowhere.
    """
    period = EVERY_SECONDS if every is None else every
    pending: asyncio.Task[Message] | None = None
    ended = False

    async def end() -> Message:
        nonlocal ended
        ended = True
        if pending is not None:
            pending.cancel()
            with suppress(asyncio.CancelledError):
                await pending
        await send({"type": "websocket.close", "code": _POLICY, "reason": "The token is no longer valid."})
        return {"type": "websocket.disconnect", "code": _POLICY}

    async def allowed() -> bool:
        try:
            return await in_force()
        except RagVisionError as error:  # the store cannot be read: nothing is shown, but nobody is locked out
            log.warning("a token could not be checked again: %s", error)
            return True

    async def watched_receive() -> Message:
        nonlocal pending
        if ended:
            return {"type": "websocket.disconnect", "code": _POLICY}
        if pending is None:
            pending = asyncio.ensure_future(receive())
        while True:
            try:
                done, _ = await asyncio.wait({pending}, timeout=period)
            except asyncio.CancelledError:
                pending.cancel()
                raise
            if done and pending.result()["type"] != "websocket.receive":
                break
            if not await allowed():
                return await end()
            if done:
                break
        message, pending = pending.result(), None
        return message

    async def watched_send(message: Message) -> None:
        if not ended:
            await send(message)

    return watched_receive, watched_send
