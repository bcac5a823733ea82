"""Export, import elsewhere, export again: the same labels; twice changes nothing; nobody is overruled."""

import csv
import hashlib
import itertools
import json
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ImportFailed
from core.exports import csv as csv_format
from core.exports import folder as folder_format
from core.exports import jsonl as jsonl_format
from core.exports import label_rows
from core.imports import import_images, upload_source
from core.imports.labels import import_labels
from core.project import Project
from core.store import Store
from core.types import Decision, ImageRecord, Kind

FORMATS = {"csv": csv_format, "jsonl": jsonl_format, "folder": folder_format}
_number = itertools.count()


def record(number):
    sha = hashlib.sha256(str(number).encode()).hexdigest()
    return ImageRecord(sha, f"cell{number}.png", "test", 8, 8, 10, "0" * 16, "2026-01-01T00:00:00Z")


def decide(store, number, kind, class_id=None, annotator="Ada", made_at="2026-01-01T10:00:00.000Z", **more):
    image = more.pop("image", record(number).sha256)
    event = str(uuid.UUID(int=next(_number) + (1 << 100)))
    store.decide(Decision(event, kind, image, annotator, made_at, class_id, **more))
    return event


def said(store):
    """What the labels say, without the ids that hold in one project only."""
    return [
        (r.image, r.annotator, r.state, r.class_name, r.note, r.decided_at, r.kind, r.suggested_class,
         r.suggestion_shown, r.attention_ms)
        for r in label_rows(store)
    ]  # fmt: skip


@pytest.fixture
def here(tmp_path):
    with Store.open(tmp_path / "here.db") as store:
        store.add_images([record(n) for n in range(5)])
        good, bad = store.add_class("good").id, store.add_class("bad").id
        decide(store, 0, Kind.ACCEPT, good, suggested_class=good, suggestion_shown=True, attention_ms=420)
        decide(store, 1, Kind.CORRECT, bad, suggested_class=good, note="crack\nupper left")
        decide(store, 2, Kind.UNSURE)
        decide(store, 3, Kind.SKIP)
        decide(store, 0, Kind.CORRECT, bad, "Bob")
        yield store


@pytest.fixture
def there(tmp_path):
    with Store.open(tmp_path / "there.db") as store:
        store.add_images([record(n) for n in range(5)])
        yield store


@pytest.fixture
def exported(here, tmp_path):
    csv_format.export(label_rows(here), tmp_path / "labels.csv")
    return tmp_path / "labels.csv"


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_round_trip_gives_the_same_labels(format, here, there, tmp_path):
    FORMATS[format].export(label_rows(here), tmp_path / f"out.{format}")
    report = import_labels(there, tmp_path / f"out.{format}")
    assert (report.added, report.unchanged, report.new_classes) == (5, 0, ["good", "bad"])
    assert said(there) == said(here)
    assert there.check_projection() == []


def test_a_folder_export_carries_the_labels_too(tmp_path, image):
    project = Project.open(tmp_path / "project", create=True)
    with Store.open(project.labels_db) as here, Store.open(tmp_path / "there.db") as there:
        added = import_images(project, here, [upload_source([("a.png", image(1)), ("b.png", image(2))])]).added
        there.add_images(here.images())
        decide(here, 0, Kind.CORRECT, here.add_class("../x").id, image=added[0].sha256)
        decide(here, 0, Kind.UNSURE, image=added[1].sha256)
        folder_format.export(label_rows(here), tmp_path / "out", project=project)
        assert import_labels(there, tmp_path / "out").added == 2
        assert said(there) == said(here)


def test_importing_twice_changes_nothing(there, exported):
    import_labels(there, exported)
    before = (said(there), [there.version(record(n).sha256) for n in range(5)])
    report = import_labels(there, exported)
    assert (report.added, report.unchanged) == (0, 5)
    assert (said(there), [there.version(record(n).sha256) for n in range(5)]) == before


def test_importing_into_the_project_it_came_from_changes_nothing(here, exported):
    before = said(here)
    assert import_labels(here, exported).unchanged == 5
    assert said(here) == before


def test_the_second_copy_of_a_copy_is_the_same_event(there, exported, tmp_path):
    """Importing an export of an import does not double the events either."""
    import_labels(there, exported)
    csv_format.export(label_rows(there), tmp_path / "again.csv")
    assert import_labels(there, tmp_path / "again.csv").unchanged == 5


def test_missing_images_are_named_and_the_rest_goes_on(tmp_path, exported):
    with Store.open(tmp_path / "small.db") as small:
        small.add_images([record(1)])
        report = import_labels(small, exported)
        assert (report.added, report.missing) == (1, ["cell0.png", "cell0.png", "cell2.png", "cell3.png"])
        assert "cell2.png" in str(report)


def test_what_was_decided_here_stands_unless_overruling_is_asked_for(there, exported):
    other = there.add_class("other").id
    decide(there, 0, Kind.CORRECT, other)
    report = import_labels(there, exported)
    assert (report.kept, report.added) == (["cell0.png"], 4)
    assert there.label(record(0).sha256, "Ada").class_id == other
    assert import_labels(there, exported, overrule=True).added == 1
    assert there.class_by_id(there.label(record(0).sha256, "Ada").class_id).name == "good"
    assert import_labels(there, exported, overrule=True).unchanged == 5
    assert len(there.history(record(0).sha256)) == 3  # nothing was erased: other, Bob's, and the overruling one


def test_overruling_again_after_a_change_of_mind_works(there, exported):
    import_labels(there, exported)
    for _ in range(2):
        decide(there, 1, Kind.CORRECT, there.add_class(f"other{next(_number)}").id, note="")
        assert import_labels(there, exported, overrule=True).added == 1
        label = there.label(record(1).sha256, "Ada")
        assert (there.class_by_id(label.class_id).name, label.note) == ("bad", "crack\nupper left")


def test_overruling_takes_a_note_away_that_the_file_does_not_have(there, exported):
    decide(there, 2, Kind.UNSURE, note="mine")
    import_labels(there, exported, overrule=True)
    assert there.label(record(2).sha256, "Ada").note is None


def test_an_import_that_was_taken_back_is_not_forced_on_again(there, exported):
    import_labels(there, exported)
    event = there.label(record(2).sha256, "Ada").event_id
    decide(there, 2, Kind.UNDO, undoes=event)
    report = import_labels(there, exported)
    assert (report.added, report.unchanged, report.kept) == (0, 4, ["cell2.png"])
    assert there.label(record(2).sha256, "Ada") is None


def test_classes_are_found_whatever_their_case_and_archived_ones_are_not_doubled(there, exported):
    there.archive_class(there.add_class("GOOD").id)
    report = import_labels(there, exported)
    assert report.new_classes == ["bad"]


def test_a_table_that_a_spreadsheet_saved_again_is_read(there, exported, tmp_path):
    """A byte order mark, reordered and missing columns, true as TRUE."""
    with exported.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["class_name", "annotator", "suggestion_shown", "image", "decided_at", "state"]
    with (tmp_path / "saved.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "suggestion_shown": row["suggestion_shown"].upper()} for row in rows)
    assert import_labels(there, tmp_path / "saved.csv").added == 5
    assert [s[3] for s in said(there)] == ["good", "bad", "bad", None, None]


SHA = record(0).sha256
GOOD = {"image": SHA, "state": "labelled", "class_name": "x", "annotator": "Ada", "decided_at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "row",
    [
        "not json",
        "[]",
        "null",
        "[" * 100_000,  # deep enough to end the parser's stack
        json.dumps({**GOOD, "image": "../../etc/passwd"}),
        json.dumps({**GOOD, "image": 7}),
        json.dumps({**GOOD, "image": "\ud800" * 64}),
        json.dumps({**GOOD, "state": "deleted"}),
        json.dumps({**GOOD, "class_name": None}),
        json.dumps({**GOOD, "class_name": "  "}),
        json.dumps({**GOOD, "class_name": "\u0000"}),
        json.dumps({**GOOD, "class_name": "x" * 201}),
        json.dumps({**GOOD, "annotator": ""}),
        json.dumps({**GOOD, "annotator": "\ud800"}),
        json.dumps({**GOOD, "decided_at": "yesterday"}),
        json.dumps({**GOOD, "attention_ms": -5}),
        json.dumps({**GOOD, "attention_ms": 2**70}),
        json.dumps({**GOOD, "note": "x" * 20_000}),
        json.dumps({**GOOD, "suggestion_shown": "perhaps"}),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_a_reason_and_the_rest_goes_on(there, row, tmp_path):
    last = json.dumps({**GOOD, "image": record(1).sha256})
    (tmp_path / "in.jsonl").write_text(f"{row}\n\n{last}\n", encoding="utf-8")
    report = import_labels(there, tmp_path / "in.jsonl")
    assert (len(report.refused), report.added) == (1, 1)
    assert report.refused[0].reason.endswith(".")
    assert there.history(SHA) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"a,b\n1,2\n", "no export of labels"),
        ("x.csv", b"", "no export of labels"),
        ("x.csv", b"image,state\xff\xfe", "cannot be read"),
        ("x.jsonl", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_export_is_a_sentence(there, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportFailed, match=says):
        import_labels(there, tmp_path / name)


def test_a_file_that_is_not_there_is_a_sentence(there, tmp_path):
    for path in (tmp_path / "typo.csv", tmp_path):
        with pytest.raises(ImportFailed, match="There is no file"):
            import_labels(there, path)


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40)
RISKY = st.sampled_from(
    ["=1+1", "'quoted'", "-", "@x", ' "', "a,b", "<img src=x>", "../..", "CON", "null", "true", "0"]
)
NOTES = (
    st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | RISKY
)


@settings(max_examples=25, deadline=None)
@given(
    decisions=st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from([Kind.CORRECT, Kind.UNSURE, Kind.SKIP]), TEXT | RISKY, NOTES, RISKY
        ),
        min_size=1,
        max_size=8,
    ),
    format=st.sampled_from(["csv", "jsonl"]),
)
def test_any_names_and_notes_survive_export_import_export(decisions, format):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with Store.open(root / "here.db") as here, Store.open(root / "there.db") as there:
            for store in (here, there):
                store.add_images([record(n) for n in range(4)])
            _decide_all(here, decisions)
            FORMATS[format].export(label_rows(here), root / f"one.{format}")
            report = import_labels(there, root / f"one.{format}")
            assert (report.refused, report.kept, report.missing) == ([], [], [])
            assert said(there) == said(here)
            FORMATS[format].export(label_rows(there), root / f"two.{format}")
            assert import_labels(here, root / f"two.{format}").unchanged == len(said(here))


def _decide_all(store, decisions):
    from core.errors import InvalidInput
    from core.store.checks import folded

    ids = {}
    for number, kind, name, note, annotator in decisions:
        class_id = None
        if kind is Kind.CORRECT:
            try:
                key = folded(name.strip())
                class_id = ids[key] = ids[key] if key in ids else store.add_class(name).id
            except InvalidInput:
                continue  # only zero-width characters, say: no class has such a name
        decide(store, number, kind, class_id, annotator.strip(), note=note)
