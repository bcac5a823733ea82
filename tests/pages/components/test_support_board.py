"""What the actions of the support board do: to the store, once, and in sentences."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from typing import Any

import pytest
from page_project import files, png

from core.imports import upload_source
from core.settings import ImageLimits
from core.workbench import Workbench
from ragvision_app.components.support_board import BoardState, apply_batch, board_data

_ids = itertools.count()


@pytest.fixture
def state() -> BoardState:
    return BoardState()


def act(workbench: Workbench, state: BoardState, *actions: dict[str, Any], id: str | None = None) -> None:
    apply_batch(workbench, state, {"id": id or f"batch {next(_ids)}", "actions": list(actions)}, by="ada")


def upload(name: str, data: bytes, class_id: int, *, size: int = 10**9) -> list[dict[str, Any]]:
    """The actions with which the browser sends one file, ``size`` bytes a slice."""
    starts = list(range(0, max(1, len(data)), size))
    return [
        {
            "kind": "part", "upload": f"upload {name}", "name": name, "class_id": class_id, "index": index,
            "last": index == len(starts) - 1, "data": base64.b64encode(data[start : start + size]).decode(),
        }
        for index, start in enumerate(starts)
    ]  # fmt: skip


def board(workbench: Workbench) -> dict[str, set[str]]:
    """Class name → names of its examples."""
    data = board_data(workbench, BoardState())
    names = {c["id"]: c["name"] for c in data["classes"]}
    found: dict[str, set[str]] = {name: set() for name in names.values()}
    for image in data["images"]:
        found[names[image["class_id"]]].add(image["name"])
    return found


def images_of(workbench: Workbench, class_id: int) -> list[str]:
    return [s.image for s in workbench.store.support() if s.class_id == class_id]


def ids(workbench: Workbench) -> dict[str, int]:
    return {c.name: c.id for c in workbench.store.classes(include_archived=True)}


def texts(state: BoardState, level: str) -> str:
    return "\n".join(n.text for n in state.notices if n.level == level)


# --------------------------------------------------------------------------- moving and removing
def test_images_move_to_another_class_and_one_undo_takes_them_back(workbench, state):
    before = board(workbench)
    chosen = images_of(workbench, ids(workbench)["functional"])[:2]
    act(workbench, state, {"kind": "move", "images": chosen, "class_id": ids(workbench)["defective"]})
    assert [len(v) for v in board(workbench).values()] == [1, 5]
    assert texts(state, "info") == "2 images moved to defective."
    act(workbench, state, state.notices[0].undo)
    assert board(workbench) == before


def test_moving_an_image_to_the_class_that_it_is_in_changes_nothing(workbench, state):
    version = workbench.store.support_set().version
    functional = ids(workbench)["functional"]
    act(workbench, state, {"kind": "move", "images": images_of(workbench, functional), "class_id": functional})
    assert workbench.store.support_set().version == version
    assert not state.notices


def test_a_removed_image_stays_in_the_project_and_undo_puts_it_back(workbench, state):
    before, count = board(workbench), workbench.store.count_images()
    chosen = images_of(workbench, ids(workbench)["functional"])[:1]
    act(workbench, state, {"kind": "remove", "images": chosen})
    assert len(board(workbench)["functional"]) == 2
    assert workbench.store.count_images() == count
    act(workbench, state, state.notices[0].undo)
    assert board(workbench) == before


def test_the_same_batch_twice_is_applied_once(workbench, state):
    act(workbench, state, {"kind": "add_class", "name": "cracked"}, id="the batch")
    act(workbench, state, {"kind": "add_class", "name": "cracked"}, id="the batch")
    assert list(ids(workbench)) == ["functional", "defective", "cracked"]
    assert not state.notices
    assert state.applied == "the batch"


def test_a_refused_action_says_why_and_the_others_of_its_batch_go_on(workbench, state):
    act(
        workbench, state,
        {"kind": "add_class", "name": "functional"},
        {"kind": "no such thing"},
        {"kind": "add_class", "name": "cracked"},
    )  # fmt: skip
    assert "cracked" in ids(workbench)
    assert "functional" in texts(state, "error")
    assert "no such thing" in texts(state, "error")


# --------------------------------------------------------------------------- classes
def test_a_class_is_renamed_rekeyed_recoloured_and_described_at_once(workbench, state):
    class_id = ids(workbench)["functional"]
    change = {"name": "works", "key": "7", "colour": "#332288", "description": "no crack"}
    act(workbench, state, {"kind": "update_class", "class_id": class_id, **change})
    record = workbench.store.classes()[0]
    assert (record.name, record.key, record.colour, record.description) == ("works", "7", "#332288", "no crack")
    assert not state.notices


@pytest.mark.parametrize(
    ("change", "said"),
    [({"key": "2"}, "defective"), ({"key": "z"}, "z"), ({"name": "  "}, "name"), ({"name": "defective"}, "defective")],
)
def test_a_key_or_name_that_cannot_be_is_refused_with_the_reason_and_changes_nothing(workbench, state, change, said):
    record = workbench.store.classes()[0]
    given = {"name": record.name, "key": record.key, "colour": record.colour, "description": ""} | change
    act(workbench, state, {"kind": "update_class", "class_id": record.id, **given})
    assert said in texts(state, "error")
    assert workbench.store.classes()[0] == record


def test_classes_can_be_put_into_another_order(workbench, state):
    order = [c.id for c in workbench.store.classes()][::-1]
    act(workbench, state, {"kind": "reorder", "ids": order})
    assert [c.name for c in workbench.store.classes()] == ["defective", "functional"]


def test_an_order_from_before_a_class_was_added_elsewhere_loses_no_class(workbench, state):
    order = [c.id for c in workbench.store.classes()][::-1]
    workbench.store.add_class("new")
    act(workbench, state, {"kind": "reorder", "ids": order})
    assert [c.name for c in workbench.store.classes()] == ["defective", "functional", "new"]


def test_an_archived_class_leaves_the_board_and_undo_brings_it_back_with_its_images(workbench, state):
    before = board(workbench)
    act(workbench, state, {"kind": "archive", "class_id": ids(workbench)["defective"]})
    assert list(board(workbench)) == ["functional"]
    assert [c["name"] for c in board_data(workbench, state)["archived"]] == ["defective"]
    act(workbench, state, state.notices[0].undo)
    assert board(workbench) == before


def test_markup_in_a_class_name_stays_the_text_that_it_is(workbench, state):
    name = "<img src=x onerror=alert(1)> **bold**"
    act(workbench, state, {"kind": "add_class", "name": name})
    assert name in [c["name"] for c in board_data(workbench, state)["classes"]]


# --------------------------------------------------------------------------- uploads
def test_a_dropped_file_becomes_an_example_of_its_class(workbench, state):
    act(workbench, state, *upload("new.png", png(1), ids(workbench)["functional"]))
    assert "new.png" in board(workbench)["functional"]
    assert texts(state, "info") == "1 image added to functional."


def test_a_large_file_arrives_in_slices_over_several_batches(workbench, state):
    data = png(2)
    parts = upload("sliced.png", data, ids(workbench)["functional"], size=1000)
    assert len(parts) > 3
    for part in parts[:-1]:
        act(workbench, state, part)
        assert "sliced.png" not in board(workbench)["functional"]
    act(workbench, state, parts[-1])
    assert "sliced.png" in board(workbench)["functional"]
    image = next(i for i in board_data(workbench, state)["images"] if i["name"] == "sliced.png")["image"]
    assert workbench.project.image_path(image).read_bytes() == data


def test_a_file_with_a_lost_slice_is_refused_by_name_and_never_stored_in_part(workbench, state):
    parts = upload("torn.png", png(3), ids(workbench)["functional"], size=1000)
    for part in (parts[0], parts[2], *parts[3:]):
        act(workbench, state, part)
    assert "torn.png did not arrive whole" in texts(state, "error")
    assert "torn.png" not in board(workbench)["functional"]


def test_what_is_no_image_is_refused_by_name_and_the_rest_is_added(workbench, state):
    functional = ids(workbench)["functional"]
    act(
        workbench, state,
        *upload("text.jpg", b"hello", functional),
        *upload("good.png", png(4), functional),
        *upload("empty.png", b"", functional),
    )  # fmt: skip
    assert "text.jpg" in texts(state, "error")
    assert "empty.png" in texts(state, "error")
    assert texts(state, "info") == "1 image added to functional."


def test_an_image_of_another_class_is_not_added_and_the_class_is_named(workbench, state):
    (name, data), functional = files(200, 1)[0], ids(workbench)["functional"]
    act(workbench, state, *upload(name, data, functional))
    assert "defective" in texts(state, "error")
    assert len(board(workbench)["functional"]) == 3


def test_an_image_that_is_an_example_of_the_class_already_is_told_as_such(workbench, state):
    name, data = files(100, 1)[0]
    act(workbench, state, *upload("copy.png", data, ids(workbench)["functional"]))
    assert "copy.png" in texts(state, "error") and name in texts(state, "error")
    assert texts(state, "info") == ""


def test_an_image_of_the_queue_can_become_an_example_by_dropping_it(workbench, state):
    workbench.import_images([upload_source([("queued.png", png(5))])])
    act(workbench, state, *upload("queued.png", png(5), ids(workbench)["functional"]))
    assert texts(state, "info") == "1 image added to functional."
    assert texts(state, "error") == ""


def test_a_file_over_the_limit_is_refused_before_it_is_whole(workbench, state):
    settings = workbench.settings
    workbench.save_settings(replace(settings, images=ImageLimits(max_bytes=2000)))
    parts = upload("huge.png", png(6), ids(workbench)["functional"], size=1000)
    for part in parts[:3]:
        act(workbench, state, part)
    assert "huge.png" in texts(state, "error")
    assert not state.uploads


def test_counts_of_an_upload_in_several_batches_are_told_as_one_sum(workbench, state):
    functional = ids(workbench)["functional"]
    for name, data in files(10, 3):
        act(workbench, state, *upload(name, data, functional))
    assert texts(state, "info") == "3 images added to functional."


def test_a_new_drop_clears_what_was_said_of_the_last_one_and_keeps_all_that_is_said_of_its_own(workbench, state):
    functional = ids(workbench)["functional"]

    def drop(name: str, *broken: int) -> None:
        for number in broken:  # each file in a batch of its own
            parts = upload(f"broken{number}.png", b"no image", functional)
            act(workbench, state, *({**part, "drop": name} for part in parts))

    drop("first", *range(50))
    assert len(state.notices) == 50
    drop("second", 50, 51)
    assert len(state.notices) == 2 and "broken51.png" in texts(state, "error")
    act(workbench, state, {"kind": "add_class", "name": "a third one"})
    assert not state.notices


def test_a_class_name_of_150_emoji_is_taken_whole_and_one_of_201_is_refused_in_words(workbench, state):
    act(workbench, state, {"kind": "add_class", "name": "\U0001f600" * 150})
    assert "\U0001f600" * 150 in ids(workbench)
    act(workbench, state, {"kind": "add_class", "name": "\U0001f600" * 201})
    assert "201 characters; 200 are the most" in texts(state, "error")
