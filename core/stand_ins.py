"""A model that is missing, what stands in for it, and when the wanted one can be had after all."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from core.errors import ModelUnavailable
from core.settings import PipelineSettings


@dataclass(frozen=True, slots=True)
class Missing:
    """A model that something stands in for; ``note`` is the sentence for the screen.

    ``found`` is what its files looked like when it could not be had: empty, or damaged ones.
    """

    note: str
    adapter: ModuleType
    settings: PipelineSettings
    found: str

    @classmethod
    def because(cls, error: ModelUnavailable, adapter: ModuleType, settings: PipelineSettings) -> Missing:
        """As things stand now."""
        return cls(str(error), adapter, settings, _files(adapter, settings))

    def is_there(self) -> bool:
        """Whether its files can be found by now, and are others than those that could not be loaded. Cheap."""
        now = _files(self.adapter, self.settings)
        return bool(now) and now != self.found


def why_missing(adapter: ModuleType, settings: PipelineSettings) -> str:
    """The sentence that says what of the model's files is not there; empty where all are. Loads nothing."""
    look = getattr(adapter, "model_files", None)
    try:
        if look is not None:
            look(settings)
    except ModelUnavailable as error:
        return str(error)
    return ""


def _files(adapter: ModuleType, settings: PipelineSettings) -> str:
    """What tells one state of the model's files from another; empty where they are not all there."""
    look = getattr(adapter, "model_files", None)
    try:
        return "" if look is None else str(look(settings))
    except (ModelUnavailable, OSError):  # OSError: being written or deleted this very moment
        return ""
