from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from store_values import add_images, decision, sha

from core.errors import ClassInUse, InvalidInput, NotFound
from core.store import Store
from core.store.checks import a_name, folded
from core.store.classes import CLASS_KEYS, RESERVED_KEYS
from core.store.palette import PALETTE


def test_classes_get_the_keys_1_to_9_then_0_then_free_letters_then_none(store: Store) -> None:
    for number in range(24):
        store.add_class(f"class {number}")
    keys = [c.key for c in store.classes()]
    assert keys[:10] == list("1234567890")
    assert keys[10:24] == list("fgijklmoqtvwxy")
    assert keys[24:] == [None, None]


def test_no_class_key_is_one_that_the_label_page_needs() -> None:
    assert not set(CLASS_KEYS) & RESERVED_KEYS
    assert set("asuznhedrcpb?") == RESERVED_KEYS


@pytest.mark.parametrize("key", ["a", "S", "Z", "?", " ", "", "ab", "\n", "1"])  # "1" is functional's
def test_a_reserved_or_taken_key_is_refused(store: Store, key: str) -> None:
    with pytest.raises(InvalidInput):
        store.add_class("scratch", key=key)


def test_a_freed_key_is_given_again(store: Store) -> None:
    store.update_class(1, key=None)
    assert store.add_class("scratch").key == "1"


def test_each_class_gets_a_colour_of_its_own_and_the_palette_starts_again_when_it_is_used_up(store: Store) -> None:
    for number in range(23):
        store.add_class(f"class {number}")
    colours = [c.colour for c in store.classes()]
    assert colours == [*PALETTE, PALETTE[0]]


def test_a_colour_must_be_a_colour(store: Store) -> None:
    assert store.update_class(1, colour="#AABBCC").colour == "#aabbcc"
    for bad in ("red", "#fff", "#12345g", "url(x)"):
        with pytest.raises(InvalidInput):
            store.update_class(1, colour=bad)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "\N{PILE OF POO}" * 200, "../../etc", "'; DROP TABLE classes; --", "ß"]
)
def test_any_unicode_is_a_name_and_comes_back_as_it_went_in(store: Store, name: str) -> None:
    store.add_class(name)
    assert store.classes()[-1].name == name


@pytest.mark.parametrize(
    "name", ["", "   ", "\u200b\u200d", "a\x00b", "a\tb", "a\u2028b", "\ud83d", "a\u202eb", "x" * 201]
)
def test_a_name_that_cannot_be_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidInput):
        store.add_class(name)
    assert len(store.classes()) == 2


@pytest.mark.parametrize("name", ["Functional", " FUNCTIONAL ", "ﬀunctional".replace("ﬀ", "f")])
def test_names_are_unique_without_regard_to_case(store: Store, name: str) -> None:
    with pytest.raises(InvalidInput, match="'functional' already"):
        store.add_class(name)


def test_composed_and_decomposed_letters_are_the_same_name(store: Store) -> None:
    store.add_class("caf\u00e9")
    with pytest.raises(InvalidInput):
        store.add_class("CAFE\u0301")


def test_a_class_may_change_the_case_of_its_own_name(store: Store) -> None:
    assert store.update_class(1, name="FUNCTIONAL").name == "FUNCTIONAL"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=220))
@example("ΐ")
def test_a_name_is_stable_under_checking_and_folding(text: str) -> None:
    try:
        name = a_name(text, "The name")
    except InvalidInput:
        return
    assert a_name(name, "The name") == name
    assert folded(folded(name)) == folded(name)
    name.encode()


def test_reordering_names_every_class_once(store: Store) -> None:
    assert [c.id for c in store.reorder_classes([2, 1])] == [2, 1]
    for bad in ([1], [1, 2, 2], [1, 2, 3]):
        with pytest.raises(InvalidInput):
            store.reorder_classes(bad)
    assert [c.id for c in store.classes()] == [2, 1]


def test_an_archived_class_keeps_its_labels_and_frees_its_name_and_key(store: Store) -> None:
    add_images(store, 1)
    store.decide(decision("accept", sha(0), class_id=2))
    assert store.archive_class(2).archived_at is not None
    assert [c.id for c in store.classes()] == [1]
    assert [c.id for c in store.classes(include_archived=True)] == [1, 2]
    assert [label.class_id for label in store.labels()] == [2]
    new = store.add_class("Defective")
    assert (new.id, new.key) == (3, "2")
    with pytest.raises(InvalidInput, match="already"):
        store.restore_class(2)
    store.update_class(3, name="broken")
    back = store.restore_class(2)
    assert (back.archived_at, back.key) == (None, "3")  # its own key is broken's by now


@pytest.mark.parametrize("pointed_at_by", ["label", "event", "support", "removed support"])
def test_a_class_that_anything_points_at_is_not_deleted(store: Store, pointed_at_by: str) -> None:
    add_images(store, 1)
    if "support" in pointed_at_by:
        member = store.add_support(sha(0), 2, by="anna")
        if "removed" in pointed_at_by:
            store.remove_support(member.id, by="anna")
    else:
        store.decide(decision("accept", sha(0), class_id=2))
        if pointed_at_by == "event":
            store.decide(decision("accept", sha(0), class_id=1))
    with pytest.raises(ClassInUse, match="Archive it instead"):
        store.delete_class(2)
    assert len(store.classes()) == 2


def test_an_unused_class_is_deleted_and_its_id_never_given_again(store: Store) -> None:
    store.delete_class(2)
    assert store.add_class("scratch").id == 3
    with pytest.raises(NotFound):
        store.update_class(2, name="x")


# ---------------------------------------------------------------------------- colours
_SIGHTS = {  # Machado et al. 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def _linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz / np.array([0.95047, 1, 1.08883])]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", _SIGHTS)
def test_no_two_colours_of_the_palette_look_alike_to_anybody(sight: str) -> None:
    seen = [_lab(np.clip(np.array(_SIGHTS[sight]) @ _linear(colour), 0, 1)) for colour in PALETTE]
    assert len(PALETTE) >= 20
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen[:8], 2)) > 15


@pytest.mark.parametrize("background", ["#ffffff", "#0e1117"])
def test_every_colour_shows_on_light_and_on_dark(background: str) -> None:
    def luminance(colour: str) -> float:
        return float(_linear(colour) @ np.array([0.2126, 0.7152, 0.0722]))

    for colour in PALETTE:
        light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 2
