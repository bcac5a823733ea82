"""Reasoners: query + evidence → flag and explanation. One adapter a file, found by its file name."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from dataclasses import replace
from typing import cast

from core.errors import ModelUnavailable
from core.ports import Reasoner, ReasonRequest, adapter_names, load_adapter
from core.prompt_format import PromptFormat
from core.settings import PipelineSettings
from core.stand_ins import Missing, why_missing
from core.types import Answer

log = logging.getLogger("ragvision.reasoning")

DEFAULT = "evidence"


def create_reasoner(name: str, settings: PipelineSettings) -> Reasoner:
    """The reasoner called ``name``; UnknownAdapter lists those there are, ModelUnavailable says what is missing.

    A model that another reasoner held is let go of before.
    """
    module = load_adapter(_HERE, name, "reasoner")
    for other in adapter_names(_HERE):
        held = sys.modules.get(f"{__name__}.{other.replace('-', '_')}")
        if other != name and held is not None and hasattr(held, "release"):
            held.release()
    return cast(Reasoner, module.create(settings))


def create_reasoner_or_stand_in(name: str, settings: PipelineSettings) -> Reasoner:
    """As :func:`create_reasoner`, but where a model is not to be had the evidence speaks, and says so.

    A model that takes long to load is loaded when the reasoner is first asked.
    """
    try:
        defer = getattr(load_adapter(_HERE, name, "reasoner"), "deferred", None)
        return create_reasoner(name, settings) if defer is None else cast(Reasoner, defer(settings))
    except ModelUnavailable as error:
        log.warning("the reasoner %s is not available: %s", name, error)
        missing = Missing.because(error, load_adapter(_HERE, name, "reasoner"), settings)
        return StandIn(name, missing, create_reasoner(DEFAULT, settings))


def memory_note(name: str, settings: PipelineSettings) -> str:
    """What the reasoner's model takes and what there is, said before it is loaded; empty without a model."""
    note = getattr(load_adapter(_HERE, name, "reasoner"), "memory_note", None)
    return "" if note is None else str(note(settings))


def prompt_format(name: str, settings: PipelineSettings) -> PromptFormat:
    """How the reasoner reads prompts, told without loading its model; without forms it reads none."""
    tell = getattr(load_adapter(_HERE, name, "reasoner"), "prompt_format", None)
    return PromptFormat() if tell is None else cast(PromptFormat, tell(settings))


def names() -> list[str]:
    """Every reasoner that there is, the default first."""
    return sorted(adapter_names(_HERE), key=lambda name: (name != DEFAULT, name))


def missing(name: str, settings: PipelineSettings) -> str:
    """The sentence that says which file of the reasoner's model is not there; empty where all are."""
    return why_missing(load_adapter(_HERE, name, "reasoner"), settings)


def reachable(settings: PipelineSettings) -> tuple[bool, str] | None:
    """Whether the reasoner's server answers now, and a sentence; None for one that has no server. Takes seconds."""
    tell = getattr(load_adapter(_HERE, settings.reasoner, "reasoner"), "reachable", None)
    return None if tell is None else cast(tuple[bool, str], tell(settings))


def has_server(name: str) -> bool:
    """Whether the reasoner asks a server."""
    return hasattr(load_adapter(_HERE, name, "reasoner"), "reachable")


def settings_of(name: str, optional: Collection[str]) -> frozenset[str]:
    """Those of the ``optional`` settings that the reasoner looks at; all, where it does not say."""
    return frozenset(getattr(load_adapter(_HERE, name, "reasoner"), "SETTINGS", optional)) & frozenset(optional)


def in_its_place(reasoner_id: str, why: str) -> str:
    """The id of the default reasoner where it speaks for a slow one: whose sentences these are, and whose not."""
    return f"{DEFAULT} ({why} {reasoner_id})"


class Meanwhile:
    """The default reasoner, speaking from the scores until a slow one has answered."""

    def __init__(self, waited_for: Reasoner, default: Reasoner) -> None:
        self._waited_for, self._default = waited_for, default

    @property
    def id(self) -> str:
        """Whose sentences these are, and whose answer is waited for."""
        return in_its_place(self._waited_for.id, "waiting for")

    def reason(self, request: ReasonRequest) -> Answer:
        """The default's answer."""
        return self._default.reason(request)


def meanwhile(reasoner: Reasoner, settings: PipelineSettings) -> Reasoner:
    """What is shown before ``reasoner``, a slow one, has answered."""
    module = load_adapter(_HERE, DEFAULT, "reasoner")  # not create_reasoner: that would let go of the slow one's model
    return Meanwhile(reasoner, module.create(settings))


class StandIn:
    """The default reasoner in the place of one whose model is missing; ``missing.note`` says why, for the screen."""

    def __init__(self, name: str, missing: Missing, default: Reasoner) -> None:
        self._name, self.missing, self._default = name, missing, default

    @property
    def id(self) -> str:
        """Whose sentences these are, and whose they are not."""
        return f"{DEFAULT} (no vision-language model: {self._name} is not available)"

    def reason(self, request: ReasonRequest) -> Answer:
        """The default's answer, with why it is the default's."""
        answer = self._default.reason(request)
        return replace(answer, reason=answer.reason or self.missing.note)


_HERE = sys.modules[__name__]
