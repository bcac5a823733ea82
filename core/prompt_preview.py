"""What a vision-language model will be shown for one image, put together by the very code that asks it.

Nothing is loaded and nothing is computed: scores and evidence are those of the image's newest prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image

from core.ports import ReasonRequest
from core.prompt_format import Form, PromptFormat
from core.reasoning import Prompt, Shown, build_prompt, explanation_question, gather, offered_classes
from core.settings import PipelineSettings
from core.store import Store
from core.types import ClassScore, QueryImage

_BYTES_A_TOKEN = 4.2  # of English text, about, with the vocabularies of today


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What a prompt costs. ``counted_by`` names the tokenizer; empty where ``text`` is an estimate, ``note`` says why.

    ``visual_exact`` is False where a server decides what a picture costs.
    """

    text: int
    visual: int
    counted_by: str = ""
    note: str = ""
    visual_exact: bool = True

    @property
    def total(self) -> int:
        """Of text and pictures."""
        return self.text + self.visual


@dataclass(frozen=True, slots=True, eq=False)
class PromptPreview:
    """``prompt`` is shown in order; ``follow_up`` is asked once the flag stands (empty with the JSON form).

    ``why_bare`` says why there is no evidence in it; empty where there is some.
    """

    prompt: Prompt
    form: Form
    follow_up: str
    tokens: TokenCount
    left_out: int
    not_offered: int
    why_bare: str = ""


def preview_prompt(
    request: ReasonRequest,
    settings: PipelineSettings,
    reading: PromptFormat,
    *,
    form: Form = "letter",
    why_bare: str = "",
) -> PromptPreview | None:
    """The prompt of this request under these settings, as ``reading`` has it; None where no class is on offer.

    Raises ImageError where the query cannot be read.
    """
    classes = offered_classes(request)
    if not classes:
        return None
    shown = gather(request, max_visual_tokens=settings.max_visual_tokens, cell=reading.cell)
    prompt = build_prompt(request, settings, shown, classes, form=form, special=reading.special)
    follow_up = explanation_question(classes[0], prompt.numbers, reading.special) if form == "letter" else ""
    return PromptPreview(
        prompt=prompt,
        form=form,
        follow_up=follow_up,
        tokens=_tokens(prompt, shown, reading),
        left_out=shown.left_out,
        not_offered=len(request.scores) - len(classes),
        why_bare="" if shown.evidence else why_bare,
    )


def _tokens(prompt: Prompt, shown: Shown, reading: PromptFormat) -> TokenCount:
    if reading.count is not None:
        return TokenCount(reading.count(prompt), shown.visual_tokens, reading.counted_by, "", reading.visual_exact)
    text = "".join([prompt.system, *(part for part in prompt.parts if isinstance(part, str))])
    return TokenCount(estimated_tokens(text), shown.visual_tokens, "", reading.note, reading.visual_exact)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, by its bytes; for English within a quarter."""
    return round(len(text.encode("utf-8", "replace")) / _BYTES_A_TOKEN)


def stored_request(store: Store, image: str, load: Callable[[str], Image.Image]) -> tuple[ReasonRequest, str]:
    """What a reasoner would be asked about a stored image, and why there is no evidence in it (or "").

    ``load`` gives the upright RGB image of a key. Before there is a prediction every class that can be compared
    has the same score. Raises NotFound for an unknown image.
    """
    record = store.image(image)
    classes = tuple(store.classes())
    found = store.latest_prediction(image)
    known = {c.id for c in classes}
    scores = tuple(s for s in found.prediction.scores if s.class_id in known) if found else ()
    evidence = tuple(e for e in found.prediction.evidence if e.class_id in known) if found else ()
    support = store.support()
    why = ""
    if not scores:
        with_images = {s.class_id for s in support} & known or known
        scores = tuple(ClassScore(c.id, 1 / len(with_images), 0.0) for c in classes if c.id in with_images)
        why = "No suggestion is computed for this image yet, so there is no evidence to show."
    elif not evidence:
        why = "Only the scores of this image are computed so far; its evidence follows."
    names = {i: r.name for i, r in store.images_by_id({s.image for s in support}).items()}
    request = ReasonRequest(
        query=QueryImage(image, record.name, record.width, record.height, load=partial(load, image)),
        classes=classes,
        scores=scores,
        evidence=evidence,
        support_names=names,
        calibrated=found.prediction.calibrated.value if found else "",
        load_support=load,
    )
    return request, why
