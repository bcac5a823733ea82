"""Saved prompts: a version is its content, its name and number never change, and nothing is deleted."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput, InvalidSettings, NotFound
from core.prompts import PromptTemplate
from core.store import Store

CLEAN, CLEANER = PromptTemplate("Inspect.", "Clean or dirty?"), PromptTemplate("Inspect.", "Clean, or dirty?")


def test_the_same_words_are_one_version_whoever_saves_them_under_whatever_name(store: Store) -> None:
    first = store.save_prompt("vehicles", CLEAN, "ada")
    again = store.save_prompt("cars", PromptTemplate(" Inspect. ", "Clean or dirty?"), "bob")
    assert again == first and first.title == "vehicles v1" and first.version == CLEAN.version
    assert len(store.prompts()) == 1


def test_other_words_under_a_name_are_its_next_number(store: Store) -> None:
    store.save_prompt("vehicles", CLEAN, "ada")
    second = store.save_prompt("Vehicles", CLEANER, "bob")
    assert (second.name, second.number, second.author) == ("vehicles", 2, "bob")
    assert [r.title for r in store.prompts()] == ["vehicles v2", "vehicles v1"]
    assert store.prompt(CLEANER.version).template == CLEANER


def test_a_version_keeps_the_words_in_force_where_a_half_is_the_built_in(store: Store) -> None:
    saved = store.save_prompt("mine", PromptTemplate(user="Which?"), "ada")
    assert saved.system == PromptTemplate().in_force.system and saved.template.version == saved.version


def test_titles_name_every_version_and_the_built_in(store: Store) -> None:
    saved = store.save_prompt("mine", CLEAN, "ada")
    assert store.prompt_title(saved.version) == "mine v1" and store.prompt_title("0" * 12) == ""
    assert store.prompt_title(PromptTemplate().version) == "built-in"
    assert store.prompt_titles() == {PromptTemplate().version: "built-in", saved.version: "mine v1"}


@pytest.mark.parametrize(
    ("name", "wrong"), [("", "empty"), (" ", "empty"), ("built-in", "Choose another"), ("a\n", "ok")]
)
def test_a_name_that_cannot_be_is_refused(store: Store, name: str, wrong: str) -> None:
    if wrong == "ok":  # ends are stripped
        assert store.save_prompt(name, CLEAN, "ada").name == "a"
        return
    with pytest.raises(InvalidInput, match=wrong):
        store.save_prompt(name, CLEAN, "ada")
    assert store.prompts() == []


def test_what_cannot_be_sent_or_stored_is_refused(store: Store) -> None:
    with pytest.raises(InvalidSettings, match="stands for nothing"):
        store.save_prompt("mine", PromptTemplate("{{what}}"), "ada")
    with pytest.raises(InvalidInput, match="cannot be stored"):
        store.save_prompt("mine", PromptTemplate("a\0b"), "ada")
    assert store.prompts() == []
    with pytest.raises(NotFound):
        store.prompt(CLEAN.version)
