"""Settings: encoder, reasoner, recipe, labelling; and what is loaded now."""

import streamlit as st

from core.choices import encoder_names, in_use, offending, reasoner_names, wanting
from core.settings import ImageLimits, LabellingSettings, PipelineSettings
from ragvision_app import state as keys
from ragvision_app.components import settings_draft as drafts
from ragvision_app.components.page import literal, open_page
from ragvision_app.components.recipes_view import advice, recipe_cards, waiting_sentence
from ragvision_app.components.settings_fields import draw_field, specs
from ragvision_app.components.settings_health import draw_health, draw_server, draw_wanting

ABOUT_ENCODERS = {
    "efficientnet-lite0": "Fast on a processor, weights included. The default.",
    "clip": "Any CLIP by hub id or folder. Class names count as well.",
    "hf-vision": "SigLIP 2, DINOv2, DINOv3 … by hub id or folder.",
}
ABOUT_REASONERS = {
    "evidence": "Sentences from the evidence itself; no vision-language model. The default.",
    "qwen2-vl": "Qwen2-VL or another vision-language model, on this machine.",
    "openai": "A model server (vLLM, llama.cpp, Ollama …), by OPENAI_BASE_URL.",
}
PLACEHOLDERS = {
    "encoder_model": {"clip": "openai/clip-vit-base-patch32", "hf-vision": "facebook/dinov2-small"},
    "reasoner_model": {"qwen2-vl": "Qwen/Qwen2-VL-2B-Instruct", "openai": "the server's only model"},
}
SIZES = ("input_resolution", "support_res", "support_patch_size")
REFRESH = 2.0  # seconds

workbench = open_page(
    "Settings", "What is chosen here holds for the whole project. A change makes a run of its own; earlier ones stay."
)
draft = drafts.draft_of(workbench)
PIPELINE = specs(PipelineSettings)


def widget(name: str) -> str:
    """The key of a widget whose value is set from the draft: another one each time that it is."""
    return f"set_{name}_{draft.round}"


def pipeline_field(name: str) -> None:
    """One setting of the pipeline, with a refusal that names it."""
    chosen = draft.pipeline["encoder" if name == "encoder_model" else "reasoner"]
    hint = PLACEHOLDERS.get(name, {}).get(chosen, "")
    draft.pipeline[name] = draw_field(PIPELINE[name], draft.pipeline[name], key=widget(name), placeholder=hint)
    places[name] = st.container()


def choice(role: str, names: list[str], about: dict[str, str]) -> None:
    """Encoder or reasoner, each with a line on what it is for."""
    key = widget(role)
    st.selectbox(
        role.capitalize(),
        names,
        index=names.index(draft.pipeline[role]),
        key=key,
        on_change=drafts.switch,
        args=(draft, role, key),
    )
    st.caption(literal(about.get(draft.pipeline[role], "")))


def models() -> None:
    """Encoder and reasoner, with what each looks at."""
    used = in_use(PipelineSettings(encoder=draft.pipeline["encoder"], reasoner=draft.pipeline["reasoner"]))
    left, right = st.columns(2, gap="medium")
    with left:
        choice("encoder", encoder_names(), ABOUT_ENCODERS)
        if "encoder_model" in used:
            pipeline_field("encoder_model")
    with right:
        choice("reasoner", reasoner_names(), ABOUT_REASONERS)
        if "reasoner_model" in used:
            pipeline_field("reasoner_model")
    chosen, _ = draft.made()  # only now: the fields above have just written into the draft
    if chosen is not None and draft.is_changed():  # what is in force is told in the health panel
        for lacks in wanting(chosen.pipeline):
            draw_wanting(lacks)
    left, right = st.columns(2, gap="medium")
    with left:
        for name in ("dense", "patch_mode", "text_prior"):
            if name in used:
                pipeline_field(name)
    with right:
        for name in ("max_visual_tokens", "swap_options"):
            if name in used:
                pipeline_field(name)
        if "user_prompt" in used:
            st.page_link("../pages/prompts.py", label="Prompts and sampling", icon=":material/chat:")
    if "device" in used:
        pipeline_field("device")
    st.caption("Sides, in pixels of the resized image. The patch has to divide both.")
    for column, name in zip(st.columns(3, gap="small"), SIZES, strict=True):
        with column:
            pipeline_field(name)
    places.update(dict.fromkeys(SIZES, st.container()))  # a sentence needs the whole width


def recipes() -> None:
    """The four recipes with what each does on the user's own support set."""
    results = workbench.leave_one_out()
    cards = recipe_cards(results, draft.pipeline["recipe"])
    names = [card.name for card in cards]
    draft.pipeline["recipe"] = st.radio(
        "Recipe",
        names,
        index=names.index(draft.pipeline["recipe"]),
        key=widget("recipe"),
        format_func=lambda name: next(
            f"**{c.title}** · {c.figure} · {c.detail or 'not computed'}{' · best here' if c.best else ''}"
            for c in cards
            if c.name == name
        ),
        captions=[card.about for card in cards],
    )
    told = advice(cards)
    sizes = list(workbench.store.support_set().k_shot.values())
    st.caption(
        f"{told} Balanced accuracy, each support image judged from the others."
        if told
        else waiting_sentence(workbench.run_status().state, sizes)
    )
    with st.expander("How scores are made"):
        for column, name in zip(st.columns(2, gap="small"), ("k_retrieval", "max_patches_per_class"), strict=True):
            with column:
                pipeline_field(name)
        for column, name in zip(st.columns(2, gap="small"), ("pca_axes", "shrinkage"), strict=True):
            with column:
                pipeline_field(name)


def group(values: dict, kind: type, name: str) -> None:
    """A group of settings without ties between them, two beside each other."""
    columns = st.columns(2, gap="medium")
    for number, spec in enumerate(specs(kind).values()):
        with columns[number % 2]:
            values[spec.name] = draw_field(spec, values[spec.name], key=widget(spec.name))
    _, wrong = draft.made()
    if name in wrong:
        st.error(literal(wrong[name]))


@st.fragment(run_every=REFRESH)
def health() -> None:
    """What is loaded, as things stand."""
    draw_health(workbench)


def bar() -> None:
    """What came of the last click or what would change, what it costs, and the two buttons.

    Below the fields and never gone, so that no field moves under the pointer when one of them is changed.
    """
    after, _ = draft.made()
    changed = drafts.changes(draft)
    said = st.session_state.pop(keys.SETTINGS_RESULT, None)
    with st.container(border=True, gap="xsmall", key="rv_bar"):
        with st.container(horizontal=True, gap="small", vertical_alignment="center", key="rv_bar_line"):
            if changed:
                count = f"{len(changed)} {'change' if len(changed) == 1 else 'changes'}"
                st.markdown(f"**{count}:** {literal('; '.join(changed))}", width="stretch")
            else:
                st.markdown(
                    f":green[:material/check:] {said[1]}" if said and said[0] == "success" else "Nothing is changed.",
                    width="stretch",
                )
            st.button("Discard", disabled=not changed, on_click=drafts.discard, args=(workbench, draft))
            st.button(
                "Apply",
                type="primary",
                disabled=after is None or not changed,
                on_click=drafts.apply,
                args=(workbench, draft),
                help="What is refused has to be mended first." if after is None else None,
            )
        if said and said[0] == "error":
            st.error(said[1])
        if after is None or not changed:
            return
        if after.pipeline == workbench.settings.pipeline:
            st.caption("It holds at once; nothing is computed again.")
            return
        st.caption("What it costs: " + literal(" ".join(workbench.cost_of(after.pipeline))))
        for lacks in wanting(after.pipeline):
            st.caption(
                f":orange[:material/cloud_off:] The model of {lacks.name} is not there: the default "
                f"{lacks.role} goes on meanwhile."
            )


places: dict = {}
left, right = st.columns([11, 8], gap="medium")
with left:
    models_tab, recipe_tab, labelling_tab, images_tab = st.tabs(
        ["Encoder and reasoner", "Recipe", "Labelling", "Image limits"]
    )
    with models_tab:
        for sentence in draft.said:
            st.info(literal(sentence), icon=":material/info:")
        models()
    with recipe_tab:
        recipes()
    with labelling_tab:
        group(draft.labelling, LabellingSettings, "labelling")
    with images_tab:
        group(draft.images, ImageLimits, "images")
        st.caption("Checked before an image is decoded. Images that are in the project already stay.")
    _, now_wrong = draft.made()
    if why := now_wrong.get("pipeline"):
        with places.get(offending(why)) or models_tab:
            st.error(literal(why))
    bar()
with right:
    health()
    draw_server(workbench)
