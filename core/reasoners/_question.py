"""One request to a vision-language model on its way: what is shown, what was answered, and what that adds up to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from core.errors import RagVisionError, ReasoningFailed
from core.ports import ReasonRequest
from core.reasoning import (
    Prompt,
    Shown,
    averaged,
    build_prompt,
    explained,
    explanation_question,
    failed,
    gather,
    letters,
    offered_classes,
    storable,
)
from core.settings import PipelineSettings
from core.types import Answer, ClassRecord, Status

_TIE = 1e-9  # two classes closer than this were not told apart
_TRANSCRIPT = 20_000  # characters


@dataclass(slots=True)
class Question:
    """``prompts`` has one for each order of the classes, ``shares`` how much of all probability fell on its letters."""

    request: ReasonRequest
    shown: Shown
    prompts: list[Prompt]
    not_offered: int
    probabilities: list[dict[int, float]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    flag: ClassRecord | None = None
    mean: dict[int, float] = field(default_factory=dict)
    explanation: str = ""
    no_explanation: str = ""
    failure: str = ""
    notes: list[str] = field(default_factory=list)  # how it was asked, for the transcript

    def found(self, prompt: Prompt, probabilities: list[float], share: float) -> None:
        """What one order of the classes gave: a probability for each of ``prompt.classes``."""
        self.probabilities.append(dict(zip((c.id for c in prompt.classes), probabilities, strict=True)))
        self.shares.append(share)

    def decide(self) -> None:
        """The flag, from the mean over the orders; none where the classes were not told apart."""
        self.mean = averaged(self.probabilities)
        ranked = sorted(self.prompts[0].classes, key=lambda c: -self.mean[c.id])
        tied = len(ranked) > 1 and self.mean[ranked[0].id] - self.mean[ranked[1].id] < _TIE
        self.flag = None if tied else ranked[0]

    def turns(self, special: Collection[str] = ()) -> tuple[tuple[str, str], tuple[str, str]]:
        """What is said after the prompt to have the flag explained: (role, words) twice."""
        if self.flag is None:
            raise ReasoningFailed("There is no flag to explain.")
        flag, prompt = self.flag, self.prompts[0]
        letter = next(sign for sign, c in letters(prompt.classes).items() if c.id == flag.id)
        return ("assistant", letter), ("user", explanation_question(flag, prompt.numbers, special))

    def answer(self) -> Answer:
        """The flag by its probabilities, with the explanation that was written for it."""
        if self.failure:
            return failed(self.failure, self.transcript(self.failure))
        text, cited, dropped = explained(storable(self.explanation), self.shown.numbers)
        if self.flag is None:
            text = "The model does not tell the classes apart."
        elif not text:
            text = self.no_explanation or "The model gave no explanation."
        return Answer(
            flag=None if self.flag is None else self.flag.id,
            explanation=self.with_offer(text),
            cited_evidence=cited,
            dropped_citations=dropped,
            transcript=self.transcript(self.explanation),
            class_probabilities=self.mean,
        )

    def with_offer(self, text: str) -> str:
        """``text``, and which classes were offered where not all were."""
        if not self.not_offered:
            return text
        offered = len(self.prompts[0].classes)
        return f"{text} (Offered were the {offered} classes with the highest scores, of {offered + self.not_offered}.)"

    def transcript(self, written: str) -> str:
        """The exchange: the prompt, what each order gave, how it was asked, and what the model wrote."""
        lines = [self.prompts[0].as_text(), ""]
        for prompt, probabilities, share in zip(self.prompts, self.probabilities, self.shares, strict=False):
            told = ", ".join(f"{sign} {probabilities[c.id]:.4f}" for sign, c in letters(prompt.classes).items())
            lines.append(f"Option letters: {told} ({share:.1%} of all probability)")
        if self.shown.left_out:
            lines.append(f"Left out for want of visual tokens: {self.shown.left_out} pieces of evidence")
        lines += [*self.notes, "", written]
        return storable("\n".join(lines))[:_TRANSCRIPT]


def question_of(
    request: ReasonRequest,
    settings: PipelineSettings,
    *,
    most: int,
    cell: int = 28,
    special: Collection[str] = (),
) -> Question | Answer:
    """The question that a request makes; the answer where there is nothing to ask or the query cannot be read.

    ``most`` options have a letter; ``cell`` is the side of the pixels behind one visual token.
    """
    classes = offered_classes(request, most)
    if not classes:
        return Answer(None, "", status=Status.NO_SUGGESTION, reason="There are no scores to explain.")
    try:
        shown = gather(request, max_visual_tokens=settings.max_visual_tokens, cell=cell)
        orders = [classes, classes[::-1]] if settings.swap_options and len(classes) > 1 else [classes]
        prompts = [build_prompt(request, settings, shown, order, special=special) for order in orders]
    except (RagVisionError, OSError) as error:
        return failed(str(error))
    return Question(request, shown, prompts, len(request.scores) - len(classes))
