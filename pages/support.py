"""Support: the labelled examples, a gallery a class, and how well they tell the classes apart."""

import streamlit as st

from core.errors import RagVisionError
from ragvision_app import state as keys
from ragvision_app.components.gallery import gallery
from ragvision_app.components.page import open_page, person, skeleton
from ragvision_app.components.recipes_view import advice, names_sentence, recipe_cards, waiting_sentence
from ragvision_app.components.support_board import BoardState, apply_batch, board_data

workbench = open_page(
    "Support set",
    "The examples that every suggestion is compared with. Drag images between classes, or drop files on one.",
)
state = st.session_state.setdefault(keys.SUPPORT_BOARD, BoardState())


def choose(recipe: str) -> None:
    """Makes ``recipe`` the one that suggests."""
    try:
        workbench.choose_recipe(recipe)
    except RagVisionError as error:
        st.session_state[keys.RECIPE_REFUSED] = str(error)


@st.fragment(run_every=2.0)
def recipes() -> None:
    """The four recipes on the support set itself, computed by the worker."""
    sizes = list(workbench.store.support_set().k_shot.values())
    if not any(sizes):
        return  # the board says what to do first
    results = workbench.leave_one_out()
    cards = recipe_cards(results, workbench.settings.pipeline.recipe)
    if refused := st.session_state.pop(keys.RECIPE_REFUSED, None):
        st.error(refused)
    for column, card in zip(st.columns(len(cards)), cards, strict=True):
        with column, st.container(border=True, key=f"recipe_{card.name}{'_in_use' if card.chosen else ''}"):
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.markdown(f"**{card.title}**", width="content")
                st.button(
                    "In use" if card.chosen else "Use",
                    key=f"use_{card.name}",
                    help=f"{card.title}: {card.about}",
                    disabled=card.chosen,
                    on_click=choose,
                    args=(card.name,),
                )
            if card.balanced is None:
                skeleton(30, label="not computed yet")
            else:
                st.progress(card.balanced, text=f"{card.figure} · {card.detail}")
    if results:
        names = names_sentence(results, workbench.settings.pipeline.recipe)
        measured = "Balanced accuracy, leave-one-out: each image judged from the others, the basis fixed."
        st.caption(" ".join(part for part in (advice(cards), names, measured) if part))
    else:
        st.caption(waiting_sentence(workbench.run_status().state, sizes))


@st.fragment(run_every=15.0)
def board() -> None:
    """The galleries; what happens in them reruns this part alone, and others' changes appear in time."""
    gallery(
        board_data(workbench, state),
        key="support_gallery",
        on_batch=lambda batch: apply_batch(workbench, state, batch, by=person()),
    )


recipes()
board()
