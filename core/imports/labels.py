"""Labels that were exported elsewhere → decisions here, matched by the images' content.

Every imported label is an event of its own, with an id made from what it says: importing a file twice
changes nothing. What somebody decided here is never overruled by a file unless that is asked for.
"""

from __future__ import annotations

import csv
import json
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from core.errors import ImportFailed, InvalidInput
from core.exports._rows import COLUMNS, LabelRow
from core.exports.csv import unguarded
from core.exports.folder import MANIFEST
from core.images import shown
from core.imports._source import Refused
from core.project import check_sha256
from core.store.checks import a_name, folded
from core.types import Decision, Kind, Label, Outcome

if TYPE_CHECKING:  # the store is handed in
    from core.store import Store

_NAMESPACE = uuid.UUID("6f0a1c1e-6a55-5d0e-9d3b-52b1f3a7c0de")
_ROW = TypeAdapter(LabelRow)
_NEEDED = ("image", "state", "annotator", "decided_at")
_STATES = {"labelled": Kind.CORRECT, "unsure": Kind.UNSURE, "skipped": Kind.SKIP}


@dataclass(slots=True)
class LabelImport:
    """What became of every row: each is counted in one of these.

    ``missing`` names images that this project lacks; ``kept`` those on which the annotator has decided
    otherwise here; ``refused`` rows that say nothing usable, by line.
    """

    added: int = 0
    unchanged: int = 0
    missing: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    new_classes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{_count(self.added, 'label')} added", f"{self.unchanged:,} there already"]
        if self.new_classes:
            parts.append(
                f"{_count(len(self.new_classes), 'new class', 'es')} ({', '.join(map(shown, self.new_classes[:5]))})"
            )
        if self.kept:
            parts.append(f"{len(self.kept):,} left as they were decided here ({_some(self.kept)})")
        if self.missing:
            parts.append(f"{len(self.missing):,} of images that are not in this project ({_some(self.missing)})")
        if self.refused:
            first = self.refused[0]
            parts.append(
                f"{_count(len(self.refused), 'row')} refused (first, {first.name}: {first.reason.rstrip('.')})"
            )
        return ", ".join(parts) + "."


def import_labels(store: Store, path: Path, *, overrule: bool = False) -> LabelImport:
    """Take over the labels of a CSV, a JSON Lines file or a folder that the export wrote.

    ``overrule`` lets the file overrule what the same annotator decided here. Missing classes are made.
    Raises :class:`ImportFailed` where the file as a whole cannot be read.
    """
    path = Path(path).expanduser()
    return import_rows(store, read_rows(path), overrule=overrule)


def import_rows(store: Store, rows: Iterable[LabelRow | Refused], *, overrule: bool = False) -> LabelImport:
    """As :func:`import_labels`, from rows."""
    report = LabelImport()
    here = {(label.image, label.annotator): label for label in store.labels()}
    classes = _Classes(store, report)
    for chunk in _chunks(rows, 500):
        present = store.has_images({row.image for row in chunk if isinstance(row, LabelRow)})
        for row in chunk:
            if isinstance(row, Refused):
                report.refused.append(row)
            elif row.image not in present:
                report.missing.append(row.name or row.image)
            else:
                _take(store, row, here, classes, report, overrule)
    return report


def read_rows(path: Path) -> Iterator[LabelRow | Refused]:
    """The rows of an exported file, lazily; one that cannot be used comes as a :class:`Refused`."""
    if path.is_dir():
        path = path / MANIFEST
    if not path.is_file():
        raise ImportFailed(f"There is no file {shown(str(path))}. Name a CSV or JSONL file, or a folder, of an export.")
    lines = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    try:
        for number, values in lines:
            yield values if isinstance(values, Refused) else _row(number, values)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImportFailed(
            f"{shown(path.name)} cannot be read as an export: {error}. Export the labels again, as UTF-8."
        ) from error
    except OSError as error:
        raise ImportFailed(f"{shown(path.name)} cannot be read: {error.strerror or error}.") from error


def _take(
    store: Store,
    row: LabelRow,
    here: dict[tuple[str, str], Label],
    classes: _Classes,
    report: LabelImport,
    overrule: bool,
) -> None:
    try:
        annotator = a_name(row.annotator, "The annotator's name")
        existing = here.get((row.image, annotator))
        said = (row.state, classes.known(row.class_name), row.note or "")
        if existing is not None and said == (existing.state, existing.class_id, existing.note or ""):
            report.unchanged += 1
            return
        if existing is not None and not overrule:
            report.kept.append(row.name or row.image)
            return
        result = store.decide(_decision(row, classes, existing))
    except InvalidInput as error:
        report.refused.append(Refused(row.name or row.image, str(error)))
        return
    if result.outcome is Outcome.DUPLICATE:  # imported before, and taken back here since
        report.kept.append(row.name or row.image)
        return
    if result.label is not None:
        here[row.image, annotator] = result.label
    report.added += 1


def _decision(row: LabelRow, classes: _Classes, existing: Label | None) -> Decision:
    suggested = None if row.suggested_class is None else classes.id_of(row.suggested_class)
    class_id = None if row.class_name is None else classes.id_of(row.class_name)
    kind = _STATES[row.state]
    if row.state == "labelled":
        if row.kind in (Kind.ACCEPT, Kind.CORRECT, Kind.ADJUDICATE):
            kind = Kind(row.kind)
        elif row.suggestion_shown and class_id == suggested:
            kind = Kind.ACCEPT
    return Decision(
        id=_event_id(row, existing),
        kind=kind,
        image=row.image,
        annotator=row.annotator,
        made_at=row.decided_at,
        class_id=class_id,
        note=row.note or ("" if existing is not None and existing.note else None),
        suggested_class=suggested,
        suggestion_shown=row.suggestion_shown,
        attention_ms=row.attention_ms,
    )


def _event_id(row: LabelRow, existing: Label | None) -> str:
    """The same for the same statement, whichever project it comes from; another where it overrules a label."""
    said = [row.image, row.annotator, row.decided_at, row.state, row.class_name or "", row.note or ""]
    return str(uuid.uuid5(_NAMESPACE, json.dumps([*said, existing.event_id] if existing else said)))


@dataclass(slots=True)
class _Classes:
    """Class ids by name (without regard to case, as in the store), made when first needed."""

    store: Store
    report: LabelImport
    ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        records = self.store.classes(include_archived=True)
        for record in sorted(records, key=lambda record: record.archived_at is None):  # an active one wins
            self.ids[folded(record.name)] = record.id

    def id_of(self, name: str) -> int:
        if folded(name) not in self.ids:
            self.ids[folded(name)] = self.store.add_class(name).id
            self.report.new_classes.append(name)
        return self.ids[folded(name)]

    def known(self, name: str | None) -> int | None:
        return None if name is None else self.ids.get(folded(name))


def _row(number: int, values: dict[str, Any]) -> LabelRow | Refused:
    where = f"line {number}"
    missing = [name for name in _NEEDED if values.get(name) in (None, "")]
    if missing:
        return Refused(where, f"{', '.join(missing)} is missing.")
    known = {name: values[name] for name in COLUMNS if values.get(name) is not None}
    defaults = {"name": "", "source": "", "class_name": None, "event_id": "", "kind": ""}
    try:
        row = _ROW.validate_python({**defaults, **known})
    except ValidationError as error:
        first = error.errors()[0]
        return Refused(where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")
    try:
        check_sha256(row.image)
    except InvalidInput as error:
        return Refused(where, str(error))
    if row.state not in _STATES:
        return Refused(where, f"its state is {shown(row.state)}; there are {', '.join(_STATES)}.")
    if row.state == "labelled" and not (row.class_name or "").strip():
        return Refused(where, "it is labelled without a class.")
    return replace(
        row,
        class_name=_as_stored(row.class_name) if row.state == "labelled" else None,
        suggested_class=_as_stored(row.suggested_class),
        note=(row.note or "").strip() or None,
    )


def _as_stored(name: str | None) -> str | None:
    """A class name in the form that the store gives it, so that an edited file finds the same class."""
    return None if name is None else unicodedata.normalize("NFC", name).strip() or None


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    # utf-8-sig: a spreadsheet that saved the file again puts a byte order mark in front
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not set(_NEEDED) <= set(reader.fieldnames or ()):
            raise ImportFailed(
                f"{shown(path.name)} is no export of labels: its first line must name the columns "
                f"{', '.join(_NEEDED)} and class_name."
            )
        for values in reader:
            yield (
                reader.line_num,
                {
                    key: None if cell in (None, "") else unguarded(cell)
                    for key, cell in values.items()
                    if key is not None
                },
            )


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                values = None
            if isinstance(values, dict):
                yield number, values
            else:
                yield number, Refused(f"line {number}", "it is not a JSON object.")


def _chunks(rows: Iterable[LabelRow | Refused], size: int) -> Iterator[list[LabelRow | Refused]]:
    chunk: list[LabelRow | Refused] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _count(number: int, one: str, plural: str = "s") -> str:
    return f"{number:,} {one}{'' if number == 1 else plural}"


def _some(names: list[str]) -> str:
    return ", ".join(shown(name, 40) for name in names[:3]) + (", …" if len(names) > 3 else "")
