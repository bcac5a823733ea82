"""Tokens of the HTTP API: made once, kept as a hash, revoked at once.

A token has 256 random bits, so there is nothing to guess and a fast hash is right; a slow one protects what
people make up. What is stored is one step further away than the token's own hash::

    token  →  proof = HMAC-SHA256(token, "ragvision cookie")  →  stored = SHA256(proof)

A browser that signed in keeps the proof as its cookie. A copy of the project therefore gives neither a token nor
a cookie, and a stolen cookie is not the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Final, Literal

from core.errors import InvalidInput, NotFound
from core.store.access import Access
from core.store.checks import a_name, a_time, an_integer

PREFIX: Final = "rvw_"  # by which scanners of repositories and logs find a token that got lost
SCOPES: Final = ("read", "label", "admin")  # each may do what those before it may
USED_EVERY: Final = 60  # seconds; a token's last use is written no more often


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token as stored, without its secret. Times are UTC text as everywhere in the store."""

    id: int
    name: str
    scope: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None

    def state(self, now: str) -> Literal["active", "expired", "revoked"]:
        """Whether it opens anything at ``now``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def proof_of(token: str) -> str:
    """What a browser keeps instead of the token: 64 hex digits."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"ragvision cookie", hashlib.sha256).hexdigest()


def hash_of(proof: str) -> str:
    """What is stored of a token: 64 hex digits."""
    return hashlib.sha256(proof.encode("utf-8", "surrogatepass")).hexdigest()


class Tokens(Access):
    """The tokens of a project. Every method is one transaction."""

    def create_token(self, name: str, scope: str, *, expires_at: str | None = None) -> tuple[TokenRecord, str]:
        """(record, token): the only time that the token itself is seen. InvalidInput for what cannot be."""
        name = a_name(name, "The token's name")
        if scope not in SCOPES:
            raise InvalidInput(f"There is no scope {scope!r}. There are: {', '.join(SCOPES)}.")
        now = self._clock()
        if expires_at is not None:
            expires_at = a_time(expires_at, "The token's end")
            if expires_at <= now:
                raise InvalidInput("The token would have expired already. Choose a later end.")
        token = PREFIX + secrets.token_urlsafe(32)
        with self._pool.write() as db:
            cursor = db.execute(
                "INSERT INTO tokens (name, hash, scope, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
                (name, hash_of(proof_of(token)), scope, now, expires_at),
            )
            return _get(db, int(cursor.lastrowid or 0)), token

    def tokens(self) -> list[TokenRecord]:
        """All tokens, also those that have ended, oldest first."""
        with self._pool.read() as db:
            return [_record(row) for row in db.execute("SELECT * FROM tokens ORDER BY id")]

    def token_of(self, proof: str) -> tuple[TokenRecord, Literal["active", "expired", "revoked"]] | None:
        """The token that ``proof`` (see :func:`proof_of`) belongs to, and whether it opens anything now.

        The index compares hashes in a time that depends on them. That tells an attacker nothing: to move a guess's
        hash towards a stored one, SHA-256 would have to be inverted. The row found is compared in constant time.
        """
        wanted = hash_of(proof)
        with self._pool.read() as db:
            row = db.execute("SELECT * FROM tokens WHERE hash = ?", (wanted,)).fetchone()
        if row is None or not hmac.compare_digest(str(row["hash"]), wanted):
            return None
        record = _record(row)
        return record, record.state(self._clock())

    def token_in_force(self, token_id: int) -> bool:
        """Whether the token is there, not revoked and not expired."""
        with self._pool.read() as db:
            row = db.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone()
        return row is not None and _record(row).state(self._clock()) == "active"

    def token_was_used(self, token_id: int) -> None:
        """Notes that the token was used just now."""
        with self._pool.write() as db:
            db.execute("UPDATE tokens SET last_used_at = ? WHERE id = ?", (self._clock(), token_id))

    def revoke_token(self, token_id: int) -> TokenRecord:
        """Ends a token, at once and for good; revoking it again changes nothing. NotFound."""
        an_integer(token_id, "The token's id", 1)
        with self._pool.write() as db:
            db.execute("UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (self._clock(), token_id))
            return _get(db, token_id)


def _get(db: sqlite3.Connection, token_id: int) -> TokenRecord:
    row = db.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no token {token_id}. `token list` names those there are.")
    return _record(row)


def _record(row: sqlite3.Row) -> TokenRecord:
    return TokenRecord(**{name: row[name] for name in TokenRecord.__slots__})
