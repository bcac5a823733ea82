"""Sub-folders become classes, and an image is an example of one class only."""

import zipfile

import pytest

from core.errors import ImportFailed
from core.imports import folder_source, import_images, import_support
from core.types import Origin


def shots(store):
    names = {c.id: c.name for c in store.classes()}
    return sorted((names[s.class_id], store.image(s.image).name) for s in store.support())


def test_each_sub_folder_is_a_class(project, store, tree, image):
    root = tree({"good/1.png": image(1), "good/deep/2.png": image(2), "bad/3.png": image(3)})
    report = import_support(project, store, root, by="Ada")
    assert shots(store) == [("bad", "bad/3.png"), ("good", "good/1.png"), ("good", "good/deep/2.png")]
    assert report.classes == {"bad": 1, "good": 2}
    assert {(s.added_by, s.origin) for s in store.support()} == {("Ada", Origin.UPLOAD)}
    assert len(store.support_versions()) == 2  # the empty one and this: one change, one version


def test_a_class_that_is_there_is_used_whatever_its_case(project, store, tree, image):
    known = store.add_class("Good")
    import_support(project, store, tree({"good/1.png": image(1)}), by="Ada")
    assert [c.id for c in store.classes()] == [known.id]


def test_an_archived_class_is_restored(project, store, tree, image):
    known = store.add_class("good")
    store.archive_class(known.id)
    import_support(project, store, tree({"good/1.png": image(1)}), by="Ada")
    assert [(c.id, c.archived_at) for c in store.classes()] == [(known.id, None)]


def test_images_outside_a_class_folder_are_refused_by_name(project, store, tree, image):
    report = import_support(project, store, tree({"loose.png": image(1), "good/1.png": image(2)}), by="Ada")
    assert [r.name for r in report.refused] == ["loose.png"] and store.count_images() == 1
    assert report.total == 2


def test_a_folder_without_class_folders_says_what_to_do(project, store, tree, image):
    with pytest.raises(ImportFailed, match="Make one folder a class"):
        import_support(project, store, tree({"loose.png": image(1)}), by="Ada")
    assert store.count_images() == 0


def test_the_same_image_in_two_classes_keeps_the_first_and_names_it(project, store, tree, image):
    root = tree({"bad/1.png": image(1), "good/1.png": image(1), "good/2.png": image(2)})
    report = import_support(project, store, root, by="Ada")
    assert shots(store) == [("bad", "bad/1.png"), ("good", "good/2.png")]
    assert [(r.name, "“bad”" in r.reason) for r in report.refused] == [("good/1.png", True)]
    assert len(report.added) + len(report.duplicates) + len(report.refused) == report.total == 3


def test_importing_twice_changes_nothing(project, store, tree, image):
    root = tree({"good/1.png": image(1), "good/copy.png": image(1)})
    first = import_support(project, store, root, by="Ada")
    version = store.support_set().version
    again = import_support(project, store, root, by="Ada")
    assert (first.classes, again.classes) == ({"good": 1}, {})
    assert store.support_set().version == version and again.refused == []


def test_a_query_image_can_become_an_example(project, store, tree, image):
    import_images(project, store, [folder_source(tree({"q.png": image(1)}))])
    report = import_support(project, store, tree({"good/1.png": image(1)}, "support"), by="Ada")
    assert (report.classes, len(report.duplicates)) == ({"good": 1}, 1)
    assert shots(store) == [("good", "q.png")]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("🐱" * 60, "🐱" * 60),
        ("a\x1b[31mb", "a[31mb"),
        ("x\u202ey", "xy"),
        ("A\u0308", "Ä"),
        ("n" * 230, "n" * 200),
        ("\x01", "unnamed"),
    ],
)
def test_any_folder_name_is_a_class_name(project, store, tree, image, folder, name):
    import_support(project, store, tree({f"{folder}/1.png": image(1)}), by="Ada")
    assert [c.name for c in store.classes()] == [name]


def test_a_zip_of_class_folders_works_too(project, store, image, tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as packed:
        packed.writestr("good/1.png", image(1))
        packed.writestr("bad/2.png", image(2))
    import_support(project, store, tmp_path / "s.zip", by="Ada")
    assert shots(store) == [("bad", "bad/2.png"), ("good", "good/1.png")]


def test_a_folder_whose_images_are_all_bad_makes_no_class(project, store, tree, image):
    report = import_support(project, store, tree({"good/1.png": image(1), "bad/2.png": b"text"}), by="Ada")
    assert [c.name for c in store.classes()] == ["good"]
    assert [r.name for r in report.refused] == ["bad/2.png"]
