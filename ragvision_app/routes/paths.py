"""Parts of an address."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Path

from core.errors import NotFound

_SHA256 = re.compile(r"[0-9a-f]{64}")


_Digits = Annotated[
    str,
    Path(
        description="sha256 of the image's bytes, 64 hex digits",
        json_schema_extra={"pattern": f"^{_SHA256.pattern}$"},  # said, not checked by it: another id is not found
    ),
]


def _image_id(sha: _Digits) -> str:
    # fullmatch before anything sees it: an id is never a path
    if _SHA256.fullmatch(sha) is None:
        raise NotFound("That is not the id of an image: an id has 64 hexadecimal digits.")
    return sha


ImageId = Annotated[str, Depends(_image_id)]
