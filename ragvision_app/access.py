"""Who a request speaks for, and what it may do: scopes, the one table of routes, and the tokens that are known."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CapacityLimiter, to_thread

from core.errors import RagVisionError
from core.store.tokens import PREFIX, USED_EVERY, proof_of

if TYPE_CHECKING:
    from core.store import Store, TokenRecord

log = logging.getLogger("ragvision.access")

SCOPE_KEY: Final = "ragvision.access"  # of the ASGI scope: the Access of a request
SCOPE_HEADER: Final = "x-ragvision-scope"  # set by the guard alone: tells a page what its browser's token may do
COOKIE_PREFIX: Final = "ragvision_"
_COOKIES_LOOKED_UP = 8  # of one request: a browser has one for each workbench that it signed in to

T = TypeVar("T")


class Scope(IntEnum):
    """What a token may do; each also what those before it may."""

    READ = 1
    LABEL = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As it is written on the command line and in the store."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Access:
    """Who a request speaks for. ``login``: the person that the browser is logged in as, where OIDC is configured;
    decisions of such a request can be made under that name only."""

    name: str
    scope: Scope
    token_id: int | None = None  # of a token that the command line made
    login: str | None = None


LOCAL: Final = Access("loopback", Scope.ADMIN)  # this machine, where no token is asked for
START: Final = Access("start", Scope.ADMIN)  # the token in the link that the server printed
NOBODY: Final = Access("nobody", Scope.READ)  # the open address: healthcheck

# --------------------------------------------------------------------------- what a route needs
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LABELLING = frozenset({"/api/queue", "/api/decisions", "/api/ragvision/invocations"})  # POST, and what is below
_HOT = ("/api/queue", "/api/decisions", "/api/items/", "/api/images/")  # what a page sends while keys are pressed


def needed_scope(kind: str, method: str, path: str) -> Scope:
    """The scope that a request needs; the one table of them.

    What is not named needs admin, so that a new route is closed until somebody thought about it. Paths are compared
    exactly as the router gets them (decoded): one that is spelled another way is no route of ours, and unknown.
    """
    if path != "/api" and not path.startswith("/api/"):
        # Pages can write, so read does not open them. With label only the Label page is there (state.session_scope).
        return Scope.ADMIN if path.startswith("/_stcore/agent") else Scope.LABEL
    if kind == "http" and method in _SAFE:
        return Scope.READ
    if kind == "http" and method == "POST" and any(path == each or path.startswith(f"{each}/") for each in _LABELLING):
        return Scope.LABEL
    return Scope.ADMIN


def is_hot(path: str) -> bool:
    """Whether the hot loop calls it, many times a second."""
    return path.startswith(_HOT)


# --------------------------------------------------------------------------- tokens
@dataclass(frozen=True, slots=True)
class Refused:
    """Why a credential opens nothing, as a sentence."""

    sentence: str
    code: str = "token_needed"


class Keyring:
    """Every token that opens this server: the one that it was started with, and those in the project's store.

    The store is asked at every request, in a thread: another process may have revoked a token a moment ago. That is
    one row by an index, some 50 microseconds.
    """

    def __init__(self, start: str | None, store: Callable[[], Awaitable[Store]] | None) -> None:
        self._start = None if start is None else start.encode()
        self._store = store
        self._threads: CapacityLimiter | None = None
        self._used: dict[int, float] = {}  # token id → when its use was noted, monotonic seconds
        self._notes: set[asyncio.Task[None]] = set()
        if self._start is not None:
            # The start token may be somebody's word, and a cookie can be tried without limit: deriving it has to be
            # slow. Derived from the token alone, so that the browser stays signed in when the server starts again.
            derived = hashlib.scrypt(self._start, salt=b"ragvision cookie", n=2**14, r=8, p=1, dklen=32)
            self.start_proof = derived.hex()

    @property
    def has_start(self) -> bool:
        """Whether the server was started with a token, so that all who come without one are refused."""
        return self._start is not None

    def is_start(self, token: str) -> bool:
        """Whether this is the token that the server was started with."""
        given = token.encode("utf-8", "surrogatepass")
        return self._start is not None and hmac.compare_digest(given, self._start)

    async def by_token(self, token: str) -> Access | Refused:
        """What a made token opens. Raises RagVisionError where the store cannot be read."""
        if not token.startswith(PREFIX):
            return Refused("That is not a token of this server.", "token_unknown")
        return await self._by_proof(proof_of(token))

    async def by_cookies(self, headers: Iterable[str]) -> Access | None:
        """What the browser's cookies open; None for nothing. A cookie that opens nothing is no failure: browsers send
        those of every other workbench on this machine, too."""
        best: Access | None = None
        for proof in _proofs(headers)[:_COOKIES_LOOKED_UP]:
            if self._start is not None and hmac.compare_digest(proof.encode(), self.start_proof.encode()):
                return START
            found = await self._by_proof(proof)
            if isinstance(found, Access) and (best is None or found.scope > best.scope):
                best = found
        return best

    def cookie_of(self, token: str, access: Access) -> tuple[str, str]:
        """(name, value) of the cookie that stands for a token. A name a token, so that two workbenches on one machine
        do not overwrite each other's."""
        proof = self.start_proof if access is START else proof_of(token)
        return _cookie_name(proof), proof

    async def in_force(self, access: Access) -> bool:
        """Whether what was admitted once would be admitted now."""
        token_id = access.token_id
        if token_id is None:
            return True
        return await self._ask(lambda store: store.token_in_force(token_id))

    async def _by_proof(self, proof: str) -> Access | Refused:
        found = await self._ask(lambda store: store.token_of(proof)) if self._store is not None else None
        if found is None:
            return Refused("That is not a token of this server.", "token_unknown")
        record, state = found
        if state != "active":
            return Refused(f"The token “{record.name}” is {state}. Ask for a new one.", f"token_{state}")
        self._note_use(record)
        return Access(record.name, Scope[record.scope.upper()], record.id)

    async def _ask(self, question: Callable[[Store], T]) -> T:
        assert self._store is not None
        store = await self._store()
        if self._threads is None:
            self._threads = CapacityLimiter(4)
        return await to_thread.run_sync(question, store, limiter=self._threads)

    def _note_use(self, record: TokenRecord) -> None:
        """Has the use written down, at most once a minute, without keeping the request waiting."""
        now = time.monotonic()
        if now - self._used.get(record.id, -USED_EVERY) < USED_EVERY:
            return
        self._used[record.id] = now

        async def write() -> None:
            try:
                await self._ask(lambda store: store.token_was_used(record.id))
            except RagVisionError as error:  # a full disk refuses nobody who may come in
                log.warning("the last use of token %d could not be noted: %s", record.id, error)

        task = asyncio.create_task(write())
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)


def _cookie_name(proof: str) -> str:
    return COOKIE_PREFIX + hashlib.sha256(proof.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _proofs(headers: Iterable[str]) -> list[str]:
    """The values of cookies that we may have set: their name follows from their value."""
    found = []
    for header in headers:
        try:
            cookies = SimpleCookie(header)
        except CookieError:
            continue  # a broken cookie is no cookie
        found += [each.value for name, each in cookies.items() if name == _cookie_name(each.value)]
    return found
