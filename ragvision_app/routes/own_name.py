"""Whoever is logged in labels under that name alone."""

from __future__ import annotations

import unicodedata

from fastapi import HTTPException, Request

from ragvision_app.access import SCOPE_KEY, Access


async def own_name(request: Request) -> None:
    """A dependency: 403 where a browser's login (OIDC) and the annotator of its request are two.

    Without a login, and for programs that send a token, the annotator is whom the request names.
    """
    access: Access | None = request.scope.get(SCOPE_KEY)
    if access is None or access.login is None:
        return
    named = request.query_params.getlist("annotator")
    if request.method == "POST":
        body = await request.json()  # parsed already, and kept: what is compared here is what the route gets
        named += [body["annotator"]] if isinstance(body, dict) and "annotator" in body else []
    for name in named:
        if not isinstance(name, str) or unicodedata.normalize("NFC", name).strip() != access.login:
            message = f"You are logged in as {access.login}, so this cannot be done in another's name."
            raise HTTPException(403, message)
