"""One image asked about under a draft, beside the page: submitted to the inference service, watched by a fragment."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from core.errors import RagVisionError

if TYPE_CHECKING:
    from core.inference import InferenceResult
    from core.settings import PipelineSettings
    from core.workbench import Workbench


@dataclass(slots=True)
class TryOut:
    """A question under way or answered. ``text`` is the explanation as far as it was written."""

    image: str
    settings: PipelineSettings
    future: Future[InferenceResult] | None = None
    text: str = ""
    refused: str = ""
    started: float = field(default_factory=time.monotonic)

    def hear(self, text: str) -> None:
        """Called from the model's thread."""
        self.text = text

    @property
    def running(self) -> bool:
        """Whether the answer is still to come."""
        return self.future is not None and not self.future.done()

    @property
    def seconds(self) -> float:
        """Since it was asked."""
        return time.monotonic() - self.started

    @property
    def error(self) -> str:
        """Why there is no answer; empty where there is one, or it is still to come."""
        if self.refused or self.future is None or not self.future.done():
            return self.refused
        try:
            error = self.future.exception()
        except CancelledError:
            return "It was stopped."
        if error is None:
            return ""
        if isinstance(error, RagVisionError):
            return str(error)
        return "The try-out failed because of an internal error; the server's log has the details."

    @property
    def result(self) -> InferenceResult | None:
        """The answer, once it is there."""
        return None if self.running or self.error or self.future is None else self.future.result()


def start(workbench: Workbench, image: str, settings: PipelineSettings) -> TryOut:
    """Puts the question into the queue; a refusal (busy, settings that cannot be) is its ``error``."""
    asked = TryOut(image, settings)
    try:
        asked.future = workbench.inference.submit(image, asdict(settings), on_text=asked.hear)
    except RagVisionError as error:
        asked.refused = str(error)
    return asked
