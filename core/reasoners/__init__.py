"""Reasoners: query + evidence → flag and explanation. One adapter a file, found by its file name."""

from __future__ import annotations

import sys
from typing import cast

from core.ports import Reasoner, load_adapter
from core.settings import PipelineSettings


def create_reasoner(name: str, settings: PipelineSettings) -> Reasoner:
    """The reasoner called ``name``; UnknownAdapter lists those there are."""
    return cast(Reasoner, load_adapter(sys.modules[__name__], name, "reasoner").create(settings))
