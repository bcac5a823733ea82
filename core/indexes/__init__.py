"""Indexes: exact nearest support patches. One adapter a file, found by its file name."""

from __future__ import annotations

import sys
from typing import cast

from core.ports import Index, load_adapter


def create_index(name: str) -> Index:
    """The index called ``name``; UnknownAdapter lists those there are."""
    return cast(Index, load_adapter(sys.modules[__name__], name, "index").create())
