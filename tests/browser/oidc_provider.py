"""A small real OpenID Connect provider: discovery, one person who is logged in already, signed id tokens."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

CLIENT = "workbench"


class Provider:
    """At ``http://localhost:PORT``: another site than 127.0.0.1, so that browsers treat the way back as foreign."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://localhost:{port}"
        self.person = {"sub": "1", "email": "ada@lab.example", "name": "Ada"}
        self._key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self._nonces: dict[str, str] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/keys", self._keys),
            ]
        )

    async def _metadata(self, request: Request) -> JSONResponse:
        paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return JSONResponse(
            {"issuer": self.issuer, "id_token_signing_alg_values_supported": ["RS256"]}
            | {name: self.issuer + path for name, path in paths.items()}
        )

    async def _authorize(self, request: Request) -> RedirectResponse:
        code, asked = secrets.token_hex(8), request.query_params
        self._nonces[code] = asked.get("nonce", "")
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def _token(self, request: Request) -> JSONResponse:
        nonce, now = self._nonces.pop(str((await request.form())["code"])), int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": nonce} | self.person
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self._key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": token, "expires_in": 600})

    async def _keys(self, request: Request) -> JSONResponse:
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Serves one in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider = Provider(listener.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(provider.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield provider
        server.should_exit = True
        thread.join(10)
