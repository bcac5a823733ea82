"""The draft of the Settings page: what is chosen, before it is put in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.choices import really_used, refusal, switched
from core.errors import InvalidSettings, RagVisionError
from core.settings import ImageLimits, LabellingSettings, PipelineSettings, Settings
from ragvision_app import state
from ragvision_app.components.label_view import QUEUES
from ragvision_app.components.page import literal
from ragvision_app.components.settings_fields import specs

if TYPE_CHECKING:
    from core.workbench import Workbench


@dataclass(slots=True)
class SettingsDraft:
    """Values by name, valid or not; ``base`` is what they began with, ``round`` makes fresh widgets.

    ``said`` are the sentences of the last switch: what it cleared, what it made fit.
    """

    base: Settings
    pipeline: dict[str, Any] = field(default_factory=dict)
    labelling: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    round: int = 0
    said: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, round: int = 0) -> SettingsDraft:
        """Begun from these."""
        pipeline, labelling, images = (asdict(g) for g in (settings.pipeline, settings.labelling, settings.images))
        return cls(settings, pipeline, labelling, images, round)

    def made(self) -> tuple[Settings | None, dict[str, str]]:
        """The settings, and why they cannot be: group → sentence."""
        wrong: dict[str, str] = {}
        pipeline, why = refusal(self.pipeline, self.base.pipeline)
        if why:
            wrong["pipeline"] = why
        labelling = _made(LabellingSettings, self.labelling, "labelling", wrong)
        images = _made(ImageLimits, self.images, "images", wrong)
        if pipeline is None or labelling is None or images is None:
            return None, wrong
        return Settings(pipeline, labelling, images), wrong

    def is_changed(self) -> bool:
        """Whether anything differs from what it began with."""
        now = {"pipeline": self.pipeline, "labelling": self.labelling, "images": self.images}
        return now != self.base.to_dict()


def _made(kind: Any, values: Mapping[str, Any], group: str, wrong: dict[str, str]) -> Any:
    try:
        return kind(**values)
    except InvalidSettings as error:
        wrong[group] = str(error)
        return None


def draft_of(workbench: Workbench) -> SettingsDraft:
    """This session's draft; begun again when somebody changed the settings meanwhile and nothing is lost by it."""
    found: SettingsDraft | None = st.session_state.get(state.SETTINGS_DRAFT)
    if found is None or (found.base != workbench.settings and not found.is_changed()):
        found = SettingsDraft.of(workbench.settings, found.round + 1 if found else 0)
        st.session_state[state.SETTINGS_DRAFT] = found
    return found


def switch(draft: SettingsDraft, role: str, key: str) -> None:
    """Another encoder or reasoner was chosen: clears what it cannot have and makes sizes fit."""
    chosen = str(st.session_state[key])
    try:
        valid = replace(draft.base.pipeline, **draft.pipeline)
    except InvalidSettings:  # what is typed elsewhere cannot be: begin from what is in force
        valid = replace(draft.base.pipeline, encoder=draft.pipeline["encoder"], reasoner=draft.pipeline["reasoner"])
    found = switched(
        valid, encoder=chosen if role == "encoder" else None, reasoner=chosen if role == "reasoner" else None
    )
    draft.pipeline, draft.said = asdict(found.settings), found.said
    draft.round += 1


def discard(workbench: Workbench, draft: SettingsDraft) -> None:
    """Back to what is in force."""
    st.session_state[state.SETTINGS_DRAFT] = SettingsDraft.of(workbench.settings, draft.round + 1)


def apply(workbench: Workbench, draft: SettingsDraft) -> None:
    """Puts the draft in force; the worker begins a run of its own, and earlier predictions stay."""
    made, wrong = draft.made()
    if made is None:
        say("error", literal(" ".join(wrong.values())))
        return
    if draft.base != workbench.settings:
        made = _on_top(workbench.settings, draft, made)
    before = workbench.settings.pipeline
    try:
        workbench.save_settings(made)
    except RagVisionError as error:
        say("error", literal(str(error)))
        return
    st.session_state[state.SETTINGS_DRAFT] = SettingsDraft.of(made, draft.round + 1)
    say("success", f"Applied.{_what_follows(before, made.pipeline)}")


def _what_follows(before: PipelineSettings, after: PipelineSettings) -> str:
    if before == after:
        return ""
    if really_used(before) == really_used(after):  # what was chosen is not there
        return " Nothing is computed anew: what works now goes on."
    return " New suggestions are computed in the background; the earlier ones stay, as a run of their own."


def _on_top(now: Settings, draft: SettingsDraft, made: Settings) -> Settings:
    """What this draft changed, on top of what somebody else changed meanwhile."""
    return Settings(
        *(
            replace(
                getattr(now, group),
                **{
                    name: value
                    for name, value in asdict(getattr(made, group)).items()
                    if value != getattr(getattr(draft.base, group), name)
                },
            )
            for group in ("pipeline", "labelling", "images")
        )
    )


def changes(draft: SettingsDraft) -> list[str]:
    """``Encoder: efficientnet-lite0 → clip``, one a change, by the names on screen; long texts are cut."""
    told = []
    for group, kind in (("pipeline", PipelineSettings), ("labelling", LabellingSettings), ("images", ImageLimits)):
        base, now = getattr(draft.base, group), getattr(draft, group)
        for name in now:
            before = getattr(base, name)
            if now[name] != before:
                words = QUEUES if name == "order" else {}
                old, new = (_short(words.get(value, value)) for value in (before, now[name]))
                told.append(f"{specs(kind)[name].label}: {old} → {new}")
    return told


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return "empty" if not text else text if len(text) <= 40 else f"{text[:39]}…"


def say(level: str, sentence: str) -> None:
    """Shown once, on the next run of the page."""
    st.session_state[state.SETTINGS_RESULT] = (level, sentence)
