"""Prompts: what a vision-language model is told, shown exactly as it will see it, and tried on one image."""

import streamlit as st

from core.choices import offending, reasoner_names, wanting
from core.encoders import for_default
from core.errors import RagVisionError
from core.settings import PipelineSettings
from ragvision_app import state as keys
from ragvision_app.components import prompts_draft as drafts
from ragvision_app.components import prompts_tryout as tryout
from ragvision_app.components import prompts_view as view
from ragvision_app.components.page import literal, open_page, skeleton
from ragvision_app.components.settings_fields import draw_field, specs

workbench = open_page(
    "Prompts", "What a vision-language model is told, beside the classes, the numbered evidence and the query image."
)
st.html(view.STYLE)
saved = workbench.settings.pipeline
draft = drafts.draft_of(workbench)
records = workbench.store.prompts()
titles = workbench.store.prompt_titles()
in_force = drafts.template_of(saved).version
SPECS = specs(PipelineSettings)


def widget(name: str) -> str:
    """The key of a widget whose value is set from the draft: another one each time that it is."""
    return f"{name}_{draft.round}"


def load_chosen() -> None:
    """A version or a preset was chosen."""
    version = st.session_state.get(keys.PROMPT_LOAD)
    if version:
        drafts.load(draft, version, records)
    st.session_state[keys.PROMPT_LOAD] = None


def turn(by: int) -> None:
    """To another image."""
    st.session_state[keys.PROMPT_IMAGE] = st.session_state.get(keys.PROMPT_IMAGE, 1) + by


# --------------------------------------------------------------------------- left: what can be changed
def editor() -> None:
    """The two prompts."""
    choices = view.loadable(records, titles, in_force)
    st.selectbox(
        "Start from a version or a preset",
        list(choices),
        index=None,
        format_func=choices.__getitem__,
        key=keys.PROMPT_LOAD,
        on_change=load_chosen,
        placeholder=f"In force: {view.title_in_force(saved, titles)}",
    )
    draft.system = st.text_area("System prompt", draft.system, key=widget(keys.PROMPT_SYSTEM), height=112)
    draft.user = st.text_area("User prompt", draft.user, key=widget(keys.PROMPT_USER), height=112)
    _, refused = draft.settings(saved)
    if refused and not offending(refused):  # what is refused of a parameter stands beside that
        st.error(literal(refused))
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(literal(view.draft_line(draft.template, titles, in_force)), width="content")
        with st.popover("Placeholders", type="tertiary", width="content"):
            st.markdown(view.placeholders_markdown())
            st.caption("Names are put in as data: one line, no quotes, braces or special tokens, never expanded again.")
    for sentence in view.warnings_of(draft.template):
        st.warning(sentence, icon=":material/balance:")


def parameters() -> None:
    """Everything else that decides an answer, by the reference system's names."""
    places = {}
    for title, names in (("Retrieval and evidence", view.RETRIEVAL), ("Answer of the model", view.ANSWER)):
        st.caption(title)
        columns = st.columns(2, gap="small")
        for number, name in enumerate(names):
            with columns[number % 2]:
                draft.values[name] = draw_field(SPECS[name], draft.values[name], key=widget(f"par_{name}"))
                places[name] = st.container()
    _, refused = draft.settings(saved)
    if refused:
        with places.get(offending(refused)) or st.container():
            st.error(literal(refused))


def versions() -> None:
    """Every saved version, and two of them side by side."""
    if not records:
        st.info("No version is saved yet. Words that you save or use get a name and a number, and are kept for good.")
        return
    st.dataframe(
        view.version_rows(records, in_force),
        hide_index=True,
        height=min(35 * (len(records) + 1) + 3, 220),
        column_config={
            "Saved": st.column_config.DatetimeColumn(format="YYYY-MM-DD"),
            "Version": st.column_config.TextColumn(help="hash of the words: what every prediction names"),
        },
    )
    choices = {"": "the words in the editor"} | view.loadable(records, titles, in_force)
    left, right = st.columns(2, gap="small")
    options = list(choices)
    start = options.index(in_force) if in_force in options else 1
    before = left.selectbox("Compare", options, index=start, format_func=choices.__getitem__, key="prompt_diff_from")
    after = right.selectbox("with", options, index=0, format_func=choices.__getitem__, key="prompt_diff_to")
    words = [draft.template if not v else view.template_for(v, records) for v in (before, after)]
    if words[0] is not None and words[1] is not None:
        st.html(view.diff_html(words[0], words[1]))
    st.button(
        "Put the first back into the editor",
        icon=":material/restore:",
        disabled=not before,
        on_click=drafts.load,
        args=(draft, before, records),
    )


def bar() -> None:
    """Saving, and putting in force with what that costs.

    Below the fields and never gone, so that no field moves under the pointer when one of them is changed.
    """
    made, refused = draft.settings(saved)
    fresh = draft.template.version not in titles
    name, save, use = st.columns([8, 4, 9], gap="small", vertical_alignment="bottom")
    draft.name = name.text_input(
        "Save as",
        draft.name,
        key=widget(keys.PROMPT_NAME),
        max_chars=100,
        placeholder="Save as …",
        label_visibility="collapsed",
    )
    named = bool(draft.name.strip())
    save.button(
        "Save",
        on_click=drafts.guarded,
        args=(drafts.save, workbench, draft),
        disabled=bool(refused) or not fresh or not named,
        help=None if not fresh or named else "Give the prompt a name first.",
        width="stretch",
    )
    use.button(
        "Use for the project",
        type="primary",
        on_click=drafts.guarded,
        args=(drafts.use, workbench, draft),
        disabled=bool(refused) or made == saved or (fresh and not named),
        help="Saves these words, and computes new predictions with them and the parameters.",
        width="stretch",
    )
    said = st.session_state.pop(keys.PROMPT_RESULT, None)
    if said and said[0] == "error":
        st.error(said[1])
    elif said:
        st.caption(f":green[:material/check:] {said[1]}")
    elif refused:
        st.caption("What is refused stands beside its field.")
    elif made is None or made == saved:
        st.caption("Nothing is changed.")
    else:
        st.caption("Using it: " + literal(" ".join(workbench.cost_of(made))))


# --------------------------------------------------------------------------- right: what comes of it
def image_chooser() -> str | None:
    """The image that is previewed and tried; None where there is none."""
    count = workbench.store.count_images() - len(workbench.store.support_set().images)
    place = min(max(1, int(st.session_state.get(keys.PROMPT_IMAGE, 1))), max(1, count))
    image = workbench.store.query_image(place - 1)
    if image is None:
        st.info("There are no images to label yet, so there is nothing to preview.", icon=":material/info:")
        st.page_link("../pages/images.py", label="Import images", icon=":material/arrow_forward:")
        return None
    st.session_state[keys.PROMPT_IMAGE] = place
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            " ",
            icon=":material/chevron_left:",
            key="prompt_back",
            on_click=turn,
            args=(-1,),
            disabled=place == 1,
            help="The image before",
        )
        st.button(
            " ",
            icon=":material/chevron_right:",
            key="prompt_next",
            on_click=turn,
            args=(1,),
            disabled=place >= count,
            help="The next image",
        )
        st.caption(literal(f"{workbench.store.image(image).name} · {place:,} of {count:,}"), width="content")
    return image


def preview(image: str) -> None:
    """Text and pictures in order, with what they cost."""
    made, _ = draft.settings(saved)
    settings = made or saved
    if not workbench.store.classes():
        st.info("There are no classes yet, so there is nothing to ask a model about.", icon=":material/info:")
        st.page_link("../pages/support.py", label="Set up the support set", icon=":material/arrow_forward:")
        return
    form = None
    if len(forms := view.forms_of(settings)) > 1:
        form = st.segmented_control("Form of the answer", forms, default=forms[0], key="prompt_form")
    try:
        shown = workbench.prompt_preview(image, settings, form)
    except RagVisionError as error:
        st.warning(literal(str(error)))
        return
    if shown is None:
        st.info("No class is on offer yet: add images to at least two classes.", icon=":material/info:")
        return
    if made is None:
        st.caption("Shown is what is in force, since the draft is refused.")
    st.markdown(view.tokens_line(shown.tokens, settings.max_visual_tokens), help=view.tokens_note(shown.tokens))
    if shown.why_bare:
        st.caption(shown.why_bare)
    if shown.left_out:
        st.caption(f"{shown.left_out} pieces of evidence do not fit into max_visual_tokens and are left out.")
    if shown.not_offered:
        st.caption(f"Offered are the {len(shown.prompt.classes)} classes with the highest scores.")
    st.html(view.preview_html(shown))


def try_out(image: str) -> None:
    """One question to the real reasoner, in the background."""
    made, _ = draft.settings(saved)
    names = reasoner_names()
    left, right = st.columns([3, 2], gap="small", vertical_alignment="bottom")
    chosen = left.selectbox("Reasoner", names, index=names.index(saved.reasoner), key="prompt_reasoner")
    settings = view.with_reasoner(made, chosen) if made is not None else None
    lacking = {w.role: w for w in wanting(settings)} if settings is not None else {}
    if settings is not None and "encoder" in lacking:  # as the worker does
        settings = for_default(settings)
    running = st.session_state.get(keys.PROMPT_TRY)
    busy = running is not None and running.running
    refused = settings is None or "reasoner" in lacking
    if right.button("Try on this image", type="primary", disabled=refused or busy, width="stretch") and settings:
        st.session_state[keys.PROMPT_TRY] = tryout.start(workbench, image, settings)
        st.rerun()
    if "reasoner" in lacking:
        st.warning(literal(lacking["reasoner"].why), icon=":material/cloud_off:")
        if lacking["reasoner"].command:
            st.code(lacking["reasoner"].command, language="bash", wrap_lines=True)
    if "encoder" in lacking:
        st.caption(
            f"The evidence is that of the default encoder, since the model of {lacking['encoder'].name} is not there."
        )
    if settings is not None and not view.forms_of(settings):
        st.caption(f"{chosen} reads no prompt: it answers from scores and evidence alone.")
    asked = st.session_state.get(keys.PROMPT_TRY)
    if asked is None:
        st.caption("Nothing is stored: the answer is for you alone, until the prompt is used for the project.")
    elif asked.running:
        watch(asked)
    else:
        answer(asked, image)


@st.fragment(run_every=0.4)
def watch(asked: tryout.TryOut) -> None:
    """What is written, as it is written."""
    if not asked.running:
        st.rerun()
    st.caption(
        f"{asked.settings.reasoner} is asked, for {asked.seconds:.0f} s so far. A model is loaded the first time."
    )
    if asked.text:
        st.text(asked.text)
    else:
        skeleton(72, label="The answer is being computed")


def answer(asked: tryout.TryOut, image: str) -> None:
    """Flag, probabilities, explanation, transcript."""
    if asked.error:
        st.error(literal(asked.error))
        return
    result = asked.result
    if result is None:
        return
    told = result.prediction
    kinds = {c.id: c for c in result.classes}
    if asked.image != image:
        st.caption("This is the answer for another image.")
    if told.reason:
        st.warning(literal(told.reason))
    if told.flag is not None and told.flag in kinds:
        st.markdown(f"**{literal(kinds[told.flag].name)}**")
    elif not told.reason:
        st.markdown("**The model abstained.**")
    model = told.class_probabilities
    if model:
        st.caption("Probabilities of the model")
        st.html(
            view.bars_html(
                [
                    (kinds[c].name, kinds[c].colour, p)
                    for c, p in sorted(model.items(), key=lambda x: -x[1])
                    if c in kinds
                ]
            )
        )
    st.caption("Scores, from the evidence alone")
    ranked = sorted(told.scores, key=lambda s: -s.probability)[:8]
    st.html(
        view.bars_html(
            [(kinds[s.class_id].name, kinds[s.class_id].colour, s.probability) for s in ranked if s.class_id in kinds]
        )
    )
    if told.explanation:
        st.text(told.explanation)
    title = titles.get(told.prompt, f"not saved ({told.prompt})") if told.prompt else "none"
    st.caption(literal(f"{told.reasoner} · prompt: {title} · {result.ms['total'] / 1000:.1f} s"))
    if told.transcript:
        with st.expander("Transcript"):
            st.text(told.transcript)


# --------------------------------------------------------------------------- the page
with st.container():  # there in any case: what comes and goes above tabs would throw them back to the first
    if not view.forms_of(saved):
        st.caption(
            f":material/info: No model reads prompts now: the reasoner in force is **{literal(saved.reasoner)}**. "
            "Below is what a vision-language model would be given; one is chosen on the Settings page."
        )
left, right = st.columns([10, 11], gap="medium")
with left:
    words_tab, parameters_tab, versions_tab = st.tabs(["Prompt", "Parameters", "Versions"])
    with words_tab:
        editor()
    with parameters_tab:
        parameters()
    with versions_tab:
        versions()
    with st.container(border=True, gap="xsmall", key="rv_bar"):
        bar()
with right:
    image = image_chooser()
    if image is not None:
        preview_tab, try_tab = st.tabs(["What the model sees", "Try-out"])
        with preview_tab:
            preview(image)
        with try_tab:
            try_out(image)
