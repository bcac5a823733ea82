"""Choosing an encoder and a reasoner: which settings they look at, what they cannot have, and what a change costs.

Nothing is loaded here: everything is told from the adapters' own words and from files on disk, so that a page may
ask while somebody is still choosing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from core import encoders, reasoners
from core.embedding_cache import stored_images
from core.errors import InvalidSettings
from core.settings import PipelineSettings
from core.text import duration

ENCODER_ONLY = ("encoder_model", "dense", "patch_mode", "text_prior")
REASONER_ONLY = (
    *("reasoner_model", "max_visual_tokens", "swap_options", "temperature", "top_p", "max_new_tokens"),
    *("system_prompt", "user_prompt"),
)
SHARED = ("device",)  # looked at by encoders and reasoners of torch alike
ENCODING = ("encoder", "encoder_model", "dense", "patch_mode", "support_patch_size")
_PATCH = "support_patch_size"
_SIZES = ("input_resolution", "support_res", _PATCH)
_DEFAULTS = {f.name: f.default for f in fields(PipelineSettings)}
_COMMAND = re.compile(r"Get it with: (\S.*)$", re.DOTALL)


def encoder_names() -> list[str]:
    """Every encoder that there is."""
    return encoders.names()


def reasoner_names() -> list[str]:
    """Every reasoner that there is."""
    return reasoners.names()


def in_use(settings: PipelineSettings) -> frozenset[str]:
    """Names of the settings that the chosen encoder and reasoner look at."""
    optional = {*ENCODER_ONLY, *REASONER_ONLY, *SHARED}
    used = encoders.settings_of(settings.encoder, ENCODER_ONLY + SHARED)
    used |= reasoners.settings_of(settings.reasoner, REASONER_ONLY + SHARED)
    return frozenset(name for name in _DEFAULTS if name not in optional or name in used)


def check(settings: PipelineSettings) -> None:
    """Raises InvalidSettings with the reason where the chosen encoder cannot have these sizes."""
    encoders.check(settings)


def offending(message: str) -> str:
    """The setting that a refusal speaks of first; empty where it names none."""
    places = {m.start(): name for name in _DEFAULTS if (m := re.search(rf"\b{name}\b", message))}
    if places:
        return places[min(places)]
    return next((name for word, name in (("resolution", "input_resolution"), ("patch", _PATCH)) if word in message), "")


# --------------------------------------------------------------------------- switching
@dataclass(frozen=True, slots=True)
class Switched:
    """Settings as another encoder or reasoner can have them, and what was changed for it, a sentence each."""

    settings: PipelineSettings
    said: tuple[str, ...]


def switched(settings: PipelineSettings, *, encoder: str | None = None, reasoner: str | None = None) -> Switched:
    """Clears what the other one cannot have and makes sizes fit. Raises UnknownAdapter."""
    said: list[str] = []
    changes: dict[str, object] = {}
    if encoder is not None and encoder != settings.encoder:
        changes["encoder"] = encoder
        kept = encoders.settings_of(encoder, ENCODER_ONLY) - {"encoder_model"}  # a model belongs to its encoder
        _clear(settings, ENCODER_ONLY, kept, encoder, changes, said)
        sides = _fitting_sides(replace(settings, encoder_model=""), encoder)
        for name, value in sides.items():
            if value != getattr(settings, name):
                said.append(f"{name} is {value} now, not {getattr(settings, name)}: {encoder} could not have that.")
        changes |= sides
    if reasoner is not None and reasoner != settings.reasoner:
        changes["reasoner"] = reasoner
        kept = frozenset(REASONER_ONLY) - {"reasoner_model"}  # kept for the way back, though it may not be looked at
        _clear(settings, REASONER_ONLY, kept, reasoner, changes, said)
    return Switched(replace(settings, **changes), tuple(said))  # type: ignore[arg-type]


def _clear(
    settings: PipelineSettings,
    names: tuple[str, ...],
    kept: frozenset[str],
    chosen: str,
    changes: dict[str, object],
    said: list[str],
) -> None:
    for name in names:
        if name in kept or name not in _DEFAULTS or getattr(settings, name) == _DEFAULTS[name]:
            continue
        changes[name] = _DEFAULTS[name]
        said.append(f"{name} was “{getattr(settings, name)}”; it is cleared, since {chosen} does not go with it.")


def _fitting_sides(settings: PipelineSettings, encoder: str) -> dict[str, int]:
    own = encoders.own_patch(encoder, settings)
    patch = settings.support_patch_size
    sides = {name: getattr(settings, name) for name in _SIZES}
    if patch % own == 0 and all(sides[name] % patch == 0 for name in _SIZES[:2]):
        return sides
    longest = 1024 // own * own
    for name in _SIZES[:2]:
        sides[name] = min(longest, max(own, -(-32 // own) * own, round(sides[name] / own) * own))
    return sides | {"support_patch_size": own if own >= 8 else own * -(-8 // own)}


# --------------------------------------------------------------------------- what is missing
@dataclass(frozen=True, slots=True)
class Wanting:
    """A model that is not on this machine: the sentence, and the one command that gets it (or "")."""

    role: str  # encoder or reasoner
    name: str
    sentence: str
    command: str

    @property
    def why(self) -> str:
        """The sentence without the command, which stands beside it."""
        return _COMMAND.sub("", self.sentence).strip()


def wanting(settings: PipelineSettings) -> list[Wanting]:
    """The chosen models that cannot be found; the workbench goes on with the defaults instead."""
    found = []
    for role, package, name in (("encoder", encoders, settings.encoder), ("reasoner", reasoners, settings.reasoner)):
        sentence = package.missing(name, settings)
        if sentence:
            command = _COMMAND.search(sentence)
            found.append(Wanting(role, name, sentence, command[1].strip() if command else ""))
    return found


def really_used(settings: PipelineSettings) -> PipelineSettings:
    """With the defaults in the place of models that are missing: what the worker goes on with meanwhile."""
    for lacks in wanting(settings):
        if lacks.role == "encoder":
            settings = encoders.for_default(settings)
        else:
            settings = replace(settings, reasoner=reasoners.DEFAULT, reasoner_model="")
    return settings


# --------------------------------------------------------------------------- what a change costs
@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the models in force were lately; None where that is not known."""

    images_per_second: float | None = None
    seconds_per_answer: float | None = None


def cost_of(
    before: PipelineSettings, after: PipelineSettings, *, queries: int, support: int, embeddings: Path, speed: Speed
) -> list[str]:
    """What putting ``after`` in force makes the worker do, a sentence each."""
    if before == after:
        return ["Nothing is computed anew: what works now goes on."]
    if not queries + support:
        return ["Nothing is to be computed: there are no images yet."]
    said = [_encoding(before, after, queries, support, embeddings, speed)]
    asked = any(getattr(before, n) != getattr(after, n) for n in ("reasoner", "reasoner_model", *_looked_at(after)))
    if reasoners.prompt_format(after.reasoner, after).forms and (asked or said[0]):
        pace = speed.seconds_per_answer if before.reasoner == after.reasoner else None
        said.append(
            f"{after.reasoner} is asked about {_images(queries)} again, {_about(queries * pace if pace else None)}."
        )
    if not any(said):
        said.append(f"{_images(queries)} are scored again from stored embeddings: seconds.")
    return [s for s in said if s]


def _looked_at(settings: PipelineSettings) -> tuple[str, ...]:
    return tuple(reasoners.settings_of(settings.reasoner, REASONER_ONLY))


def _encoding(
    before: PipelineSettings, after: PipelineSettings, queries: int, support: int, embeddings: Path, speed: Speed
) -> str:
    other = any(getattr(before, name) != getattr(after, name) for name in ENCODING)
    wanted: dict[int, int] = {}  # side → images that need embeddings of it
    for name, count in (("input_resolution", queries), ("support_res", support)):
        if other or getattr(before, name) != getattr(after, name):
            wanted[getattr(after, name)] = wanted.get(getattr(after, name), 0) + count
    if not wanted:
        return ""
    there = stored_images(embeddings)
    todo, seconds = 0, 0.0
    for side, count in wanted.items():
        left = max(0, count - sum(n for folder, n in there.items() if _fits(folder, after, side)))
        todo += left
        seconds += left * (side / before.input_resolution) ** 2
    if not todo:
        return f"No image is encoded again: the embeddings of all {_images(sum(wanted.values()))} are stored already."
    same = (before.encoder, before.encoder_model, before.patch_mode) == (
        after.encoder,
        after.encoder_model,
        after.patch_mode,
    )
    pace = speed.images_per_second if same else None
    return f"Encodes {_images(todo)}, {_about(seconds / pace if pace else None)}."


def _fits(folder: str, settings: PipelineSettings, side: int) -> bool:
    """Whether a folder of embeddings is one of these settings, as far as its name tells."""
    if not folder.startswith(f"{settings.encoder}-") or not folder.endswith(f"-p{settings.support_patch_size}-{side}"):
        return False
    model = re.sub(r"[^A-Za-z0-9._]+", "-", Path(settings.encoder_model).name if "/" in settings.encoder_model else "")
    looked_at = encoders.settings_of(settings.encoder, ENCODER_ONLY)
    if "dense" in looked_at and f"-{settings.dense}-" not in folder:
        return False
    return ("-crops-" in folder) == (settings.patch_mode == "crops") and model[:20] in folder


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _about(seconds: float | None) -> str:
    if seconds is None:
        return "and how long that takes is not known yet on this machine"
    return f"about {duration(seconds)}"


def refusal(values: Mapping[str, object], base: PipelineSettings) -> tuple[PipelineSettings | None, str]:
    """``base`` with ``values``, and why that cannot be (or "")."""
    try:
        made = replace(base, **values)  # type: ignore[arg-type]
        check(made)
    except InvalidSettings as error:
        return None, str(error)
    return made, ""
