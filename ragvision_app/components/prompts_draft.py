"""The draft of the Prompts page: words and parameters that are tried before they are put in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.choices import refusal
from core.errors import InvalidSettings, RagVisionError
from core.prompts import BUILT_IN, PromptTemplate, template_of
from ragvision_app import state
from ragvision_app.components.page import literal, person
from ragvision_app.components.prompts_view import ANSWER, RETRIEVAL, name_of, template_for

if TYPE_CHECKING:
    from core.settings import PipelineSettings
    from core.store import PromptRecord
    from core.workbench import Workbench


@dataclass(slots=True)
class PromptDraft:
    """``base`` are the settings that it began with; ``round`` makes fresh widgets when values are set from here."""

    base: PipelineSettings
    system: str
    user: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    round: int = 0

    @property
    def template(self) -> PromptTemplate:
        """The words in the editor."""
        return PromptTemplate(self.system, self.user)

    def settings(self, saved: PipelineSettings) -> tuple[PipelineSettings | None, str]:
        """``saved`` with this draft's words and parameters, and why that cannot be (or "")."""
        try:
            self.template.check()
        except InvalidSettings as error:
            return None, str(error)
        words = {"system_prompt": self.system.strip(), "user_prompt": self.user.strip()}
        if template_of(saved).version == self.template.version:  # the same words: no other settings, no new run
            words = {"system_prompt": saved.system_prompt, "user_prompt": saved.user_prompt}
        return refusal({**self.values, **words}, saved)


def draft_of(workbench: Workbench) -> PromptDraft:
    """This session's draft; begun from what is in force, and again when somebody changed that meanwhile."""
    saved = workbench.settings.pipeline
    found: PromptDraft | None = st.session_state.get(state.PROMPT_DRAFT)
    if found is None or (found.base != saved and not _is_changed(found)):
        words = template_of(saved).in_force
        name = name_of(template_of(saved).version, workbench.store.prompts())
        found = PromptDraft(saved, words.system, words.user, name, _values(saved), (found.round + 1) if found else 0)
        st.session_state[state.PROMPT_DRAFT] = found
    return found


def _values(settings: PipelineSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in (*RETRIEVAL, *ANSWER)}


def _is_changed(draft: PromptDraft) -> bool:
    return draft.template.version != template_of(draft.base).version or draft.values != _values(draft.base)


def load(draft: PromptDraft, version: str, records: list[PromptRecord]) -> None:
    """Puts the words of a version into the editor."""
    words = template_for(version, records)
    if words is None:
        return
    draft.system, draft.user = words.in_force.system, words.in_force.user
    draft.name = name_of(version, records)
    draft.round += 1


def save(workbench: Workbench, draft: PromptDraft) -> PromptRecord | None:
    """Saves the words as a version and says what came of it; None for the built-in ones, which need no saving."""
    if draft.template.version == PromptTemplate().version:
        say("info", "These are the built-in words, which need no saving.")
        return None
    known = {r.version for r in workbench.store.prompts()}
    record = workbench.store.save_prompt(draft.name, draft.template, person())
    if record.version in known:
        say("info", f"These very words are saved already, as {literal(record.title)}.")
    else:
        say("success", f"Saved as {literal(record.title)}.")
    draft.name = record.name
    draft.round += 1
    return record


def use(workbench: Workbench, draft: PromptDraft) -> None:
    """Saves the words where they are new and puts them in force, with the parameters beside them."""
    settings, refused = draft.settings(workbench.settings.pipeline)
    if settings is None:
        say("error", literal(refused))
        return
    record = save(workbench, draft)
    workbench.save_settings(replace(workbench.settings, pipeline=settings))
    draft.base, draft.values = settings, _values(settings)
    draft.round += 1
    title = record.title if record is not None else f"the {BUILT_IN} prompt"
    say("success", f"In force: {literal(title)}. Predictions are computed again in the background; earlier ones stay.")


def guarded(action: Callable[..., Any], *args: Any) -> None:
    """Calls ``action``; what it refuses is said on the page."""
    try:
        action(*args)
    except RagVisionError as error:
        say("error", literal(str(error)))


def say(level: str, sentence: str) -> None:
    """Shown once, on the next run of the page."""
    st.session_state[state.PROMPT_RESULT] = (level, sentence)
