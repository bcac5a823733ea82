"""Sentences made from the evidence itself, where no vision-language model is installed or wanted.

It says what the numbers support and nothing else: where the matches lie, how alike they are, to which
support image, what speaks for the runner-up, and what the probability rests on. It never names what the
image shows, which it cannot know.
"""

from __future__ import annotations

from core.patches import position_words
from core.ports import ReasonRequest
from core.settings import PipelineSettings
from core.types import Answer, Calibrated, ClassScore, Evidence, Status

SETTINGS: tuple[str, ...] = ()  # it looks at no setting of a model
_CLOSE = 0.1  # margin below which a person should not lean on the suggestion
_NAMED = 2  # matches named for the flag; more makes a sentence that nobody reads
_WEAK = 0.3  # cosine in the whitened space below which two patches are hardly alike
_LONGEST_NAME = 60
_NOT_ALIKE = (", which are not much alike", ", which is not much alike")  # several, one


def create(settings: PipelineSettings) -> EvidenceReasoner:
    """The adapter; it has no settings of its own."""
    return EvidenceReasoner()


class EvidenceReasoner:
    """The flag is the class with the highest score; the explanation is put together from the evidence."""

    @property
    def id(self) -> str:
        """Said on the screen and in provenance."""
        return "evidence (no vision-language model)"

    def reason(self, request: ReasonRequest) -> Answer:
        """Always answers when there is a score; without one, status NO_SUGGESTION."""
        ranked = sorted(request.scores, key=lambda s: -s.logit)
        if not ranked:
            return Answer(None, "", status=Status.NO_SUGGESTION, reason="There are no scores to explain.")
        flag, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
        names = {c.id: _short(c.name) for c in request.classes}
        for_it = [e for e in request.evidence if e.class_id == flag.class_id][:_NAMED]
        against = [e for e in request.evidence if runner_up and e.class_id == runner_up.class_id][:1]
        sentences = [
            _verdict(flag, runner_up, names, request.calibrated),
            _matches(for_it, request),
            _other_side(against, ranked, names, request),
            "No vision-language model was used.",
        ]
        scored = {s.class_id for s in ranked}
        missing = [names[c.id] for c in request.classes if c.id not in scored]
        if missing:
            sentences.insert(3, f"Not considered, for want of support images: {_list(missing)}.")
        if request.calibrated != Calibrated.NAMES and (by_name := _by_name(request)):
            listed = _list([names[c.id] for c in request.classes if c.id in by_name])
            sentences.insert(
                3,
                f"Judged by {'its name' if len(by_name) == 1 else 'their names'} alone, for want of "
                f"support images: {listed}.",
            )
        cited = tuple(e.number for e in (*for_it, *against))
        return Answer(
            flag=flag.class_id,
            explanation=" ".join(s for s in sentences if s),
            cited_evidence=cited,
            class_probabilities={s.class_id: s.probability for s in ranked},
        )


def _verdict(flag: ClassScore, runner_up: ClassScore | None, names: dict[int, str], calibrated: str) -> str:
    basis: dict[str, str] = {
        Calibrated.LEAVE_ONE_OUT: "calibrated by leaving out each support image in turn",
        Calibrated.LABELS: "calibrated on human labels",
        Calibrated.NOT: "not calibrated, for want of support images",
        Calibrated.NAMES: "from the names of the classes alone, for want of examples to compare with",
    }
    rests_on = basis.get(calibrated, calibrated)
    text = f"{names[flag.class_id]}, {flag.probability:.2f}"
    if runner_up is None:
        return f"{text} ({rests_on})."
    text += f" against {runner_up.probability:.2f} for {names[runner_up.class_id]} ({rests_on})."
    close = flag.probability - runner_up.probability < _CLOSE
    return f"Too close to call: {text}" if close else text


def _by_name(request: ReasonRequest) -> set[int]:
    """The classes that have no images, and so no evidence, and are scored all the same."""
    shown = {e.class_id for e in request.evidence}
    with_images = {s.class_id for s in request.scores if s.patch is not None or s.whole is not None} | shown
    return {s.class_id for s in request.scores if s.text is not None} - with_images


def _matches(evidence: list[Evidence], request: ReasonRequest) -> str:
    if not evidence:
        return ""
    described = _list([_describe(e, request) for e in evidence])
    weak = max(e.similarity for e in evidence) < _WEAK
    one = len(evidence) == 1
    kind = "strongest match is" if one else "strongest matches are"
    return f"The {kind} {described}{_NOT_ALIKE[one] if weak else ''}."


def _other_side(
    against: list[Evidence], ranked: list[ClassScore], names: dict[int, str], request: ReasonRequest
) -> str:
    split = _split(ranked)
    if not against:
        return split and f"{split}."
    runner_up = names[against[0].class_id]
    text = f"For {runner_up} speaks most {_describe(against[0], request)}"
    return f"{text}; {split}." if split else f"{text}."


def _split(ranked: list[ClassScore]) -> str:
    """Said only when the two halves of the score disagree about the best class."""
    patch = [(s.patch, s.class_id) for s in ranked if s.patch is not None]
    whole = [(s.whole, s.class_id) for s in ranked if s.whole is not None]
    if not patch or not whole or max(patch)[1] == max(whole)[1]:
        return ""
    return "the patches and the image as a whole point to different classes"


def _describe(e: Evidence, request: ReasonRequest) -> str:
    where = position_words(e.query_box, request.query.width, request.query.height)
    name = _short(request.support_names.get(e.support_image, e.support_image[:12]))
    return f"E{e.number} ({where}, {e.similarity:.2f} alike to {name})"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
