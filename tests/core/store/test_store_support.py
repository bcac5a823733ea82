from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_values import Clock, add_images, decision, sha

from core.errors import Conflict, InvalidInput, NotFound
from core.store import Store
from core.store.migrations import EMPTY_SUPPORT
from core.store.support import version_of
from core.types import Origin


def test_a_version_is_the_hash_of_the_sorted_pairs() -> None:
    text = f"{sha(1)} 10\n{sha(2)} 9\n" if sha(1) < sha(2) else f"{sha(2)} 9\n{sha(1)} 10\n"
    assert version_of([(sha(1), 10), (sha(2), 9)]) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert version_of([]) == EMPTY_SUPPORT


@given(st.dictionaries(st.integers(0, 30), st.integers(1, 4)).map(lambda d: [(sha(i), c) for i, c in d.items()]))
def test_a_version_does_not_depend_on_the_order(pairs: list[tuple[str, int]]) -> None:
    assert version_of(pairs) == version_of(reversed(pairs))
    assert version_of([*pairs, (sha(99), 1)]) != version_of(pairs)


def test_support_images_make_the_set_with_its_recorded_version(store: Store) -> None:
    images = add_images(store, 3)
    store.add_support(images[1], 2, by="anna")
    store.add_support(images[0], 1, by="berta", origin=Origin.PROMOTED)
    found = store.support_set()
    assert (found.images, found.class_ids) == ((images[1], images[0]), (2, 1))
    assert [c.id for c in found.classes] == [1, 2]
    assert found.version == version_of([(images[0], 1), (images[1], 2)])
    newest, middle, root = store.support_versions()
    assert (newest.version, newest.parent, newest.author, newest.images) == (found.version, middle.version, "berta", 2)
    assert (middle.parent, middle.author) == (root.version, "anna")
    assert (root.version, root.parent, root.images) == (EMPTY_SUPPORT, None, 0)
    assert store.support()[1].origin is Origin.PROMOTED


def test_many_support_images_are_one_version_and_all_or_none(store: Store) -> None:
    images = add_images(store, 4)
    added = store.add_support_many([(images[0], 1), (images[1], 2)], by="anna")
    assert [(m.image, m.class_id) for m in added] == [(images[0], 1), (images[1], 2)]
    assert len(store.support_versions()) == 2
    with pytest.raises(Conflict, match=r"cell0000\.png.* is a support image of 'functional' already"):
        store.add_support_many([(images[2], 1), (images[0], 2)], by="anna")
    assert len(store.support()) == 2
    again = store.add_support_many([(images[0], 1), (images[3], 1)], by="anna")  # the first is there already
    assert [m.image for m in again] == [images[0], images[3]] and len(store.support()) == 3


def test_an_image_is_an_example_of_one_class_only(store: Store) -> None:
    add_images(store, 1)
    store.add_support(sha(0), 1, by="anna")
    for class_id in (1, 2):
        with pytest.raises(Conflict, match="'functional' already"):
            store.add_support(sha(0), class_id, by="anna")


def test_unknown_images_and_classes_and_archived_classes_are_refused(store: Store) -> None:
    add_images(store, 1)
    with pytest.raises(NotFound):
        store.add_support(sha(9), 1, by="anna")
    with pytest.raises(NotFound):
        store.add_support(sha(0), 9, by="anna")
    store.archive_class(2)
    with pytest.raises(InvalidInput, match="archived"):
        store.add_support(sha(0), 2, by="anna")


def test_moving_keeps_the_history_and_gives_a_new_membership(store: Store) -> None:
    add_images(store, 1)
    old = store.add_support(sha(0), 1, by="anna", origin=Origin.PROMOTED)
    before = store.support_set().version
    new = store.move_support(old.id, 2, by="berta")
    assert new.id != old.id and (new.image, new.class_id, new.origin) == (sha(0), 2, Origin.PROMOTED)
    assert store.support_members(before) == [(sha(0), 1)]
    with pytest.raises(NotFound):
        store.remove_support(old.id, by="anna")


def test_a_change_that_changes_nothing_is_no_version(store: Store) -> None:
    add_images(store, 1)
    member = store.add_support(sha(0), 1, by="anna")
    store.move_support(member.id, 1, by="anna")
    store.add_support_many([(sha(0), 1)], by="anna")
    store.archive_class(2)
    assert len(store.support_versions()) == 2


def test_any_version_can_be_restored_and_the_same_content_has_the_same_version(store: Store) -> None:
    images = add_images(store, 3)
    first = store.add_support(images[0], 1, by="anna", origin=Origin.PROMOTED)
    store.add_support(images[1], 2, by="anna")
    wanted = store.support_set()
    store.remove_support(first.id, by="anna")
    store.add_support(images[2], 1, by="anna")
    store.move_support(next(m.id for m in store.support() if m.image == images[1]), 1, by="anna")
    restored = store.restore_support(wanted.version, by="berta")
    assert restored.version == wanted.version
    assert set(zip(restored.images, restored.class_ids, strict=True)) == {(images[0], 1), (images[1], 2)}
    assert {m.image: m.origin for m in store.support()}[images[0]] is Origin.PROMOTED
    assert store.support_versions()[0].author == "berta"
    assert store.check_projection() == []
    with pytest.raises(NotFound):
        store.restore_support("0" * 16, by="anna")


def test_an_archived_class_takes_its_support_along_and_brings_it_back(store: Store, clock: Clock) -> None:
    images = add_images(store, 4)
    store.add_support_many([(image, 2) for image in images[:3]] + [(images[3], 1)], by="anna")
    before = store.support_set()
    gone = next(m for m in store.support() if m.image == images[2])
    store.remove_support(gone.id, by="anna")  # on its own account: it must not come back
    store.archive_class(2, by="anna")
    assert store.support_set().images == (images[3],) and before.version in {
        v.version for v in store.support_versions()
    }
    assert store.counts("anna").left == 3
    store.add_support(images[1], 1, by="anna")  # has a new home
    store.restore_class(2, by="anna")
    assert {(m.image, m.class_id) for m in store.support()} == {(images[0], 2), (images[1], 1), (images[3], 1)}
    assert store.check_projection() == []


def test_an_archived_class_whose_last_image_was_removed_before_brings_nothing_back(store: Store) -> None:
    add_images(store, 1)
    member = store.add_support(sha(0), 2, by="anna")
    store.remove_support(member.id, by="anna")
    store.archive_class(2)
    store.restore_class(2)
    assert store.support() == []


def test_a_version_with_an_archived_class_is_not_restored(store: Store) -> None:
    add_images(store, 1)
    store.add_support(sha(0), 2, by="anna")
    version = store.support_set().version
    store.archive_class(2)
    with pytest.raises(InvalidInput, match="'defective', which is archived"):
        store.restore_support(version, by="anna")


def test_a_promoted_query_keeps_its_label_and_leaves_the_queue(store: Store) -> None:
    add_images(store, 2)
    store.decide(decision("accept", sha(0), class_id=1))
    store.decide(decision("promote", sha(0), class_id=1))
    store.add_support(sha(0), 1, by="anna", origin=Origin.PROMOTED)
    assert [label.class_id for label in store.labels()] == [1]
    progress = store.counts("anna")
    assert (progress.total, progress.labelled, progress.left) == (1, 0, 1)
