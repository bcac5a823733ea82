"""The support set and its history. Every change is a numbered version, and any version can be had again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence

from core.errors import Conflict, InvalidInput, NotFound
from core.store import classes, images, queue
from core.store.checks import a_name, an_integer
from core.store.records import SupportVersion
from core.types import Origin, SupportImage, SupportSet

_COLUMNS = "id, image, class_id, origin, added_by, added_at, removed_at"
_MEMBERS = "added_in <= ? AND (removed_in IS NULL OR removed_in > ?)"


def version_of(pairs: Iterable[tuple[str, int]]) -> str:
    """16 hex digits over the sorted (image, class id) pairs: the order does not matter."""
    lines = "".join(f"{image} {class_id}\n" for image, class_id in sorted(pairs))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def active(db: sqlite3.Connection) -> list[SupportImage]:
    """The support images in force, in the order in which they were added."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM support WHERE removed_at IS NULL ORDER BY id")
    return [_support_image(row) for row in rows]


def current(db: sqlite3.Connection) -> SupportSet:
    """The support set in force, with its recorded version."""
    members = active(db)
    head = db.execute("SELECT version FROM support_versions ORDER BY number DESC LIMIT 1").fetchone()
    return SupportSet(
        images=tuple(m.image for m in members),
        class_ids=tuple(m.class_id for m in members),
        classes=tuple(classes.every(db)),
        version=head[0],
    )


def versions(db: sqlite3.Connection) -> list[SupportVersion]:
    """Every version there was, newest first."""
    rows = db.execute(
        "SELECT number, version, parent, author, created_at, images FROM support_versions ORDER BY number DESC"
    )
    return [SupportVersion(*row) for row in rows]


def members_of(db: sqlite3.Connection, version: str) -> list[tuple[str, int]]:
    """The (image, class id) pairs of a version, sorted; NotFound for one that never was."""
    row = db.execute("SELECT max(number) FROM support_versions WHERE version = ?", (version,)).fetchone()
    if row[0] is None:
        raise NotFound(f"There is no version {str(version)[:16]!r} of the support set.")
    rows = db.execute(f"SELECT image, class_id FROM support WHERE {_MEMBERS}", (row[0], row[0]))
    return sorted((image, class_id) for image, class_id in rows)


def add_many(
    db: sqlite3.Connection, pairs: Sequence[tuple[str, int]], *, by: str, origin: Origin, now: str, strict: bool = False
) -> list[SupportImage]:
    """Adds (image, class id) pairs as one version.

    A pair that is in force already is returned as it is (``strict``: refused). An image that is an example of
    another class is a Conflict; then nothing is added.
    """
    by, origin = a_name(by, "The annotator"), Origin(origin)
    for image, class_id in pairs:
        record = classes.get(db, class_id)
        if record.archived_at is not None:
            raise InvalidInput(f"The class {record.name!r} is archived. Restore it before you add support images.")
        stored = images.get(db, image)
        row = db.execute("SELECT class_id FROM support WHERE image = ? AND removed_at IS NULL", (image,)).fetchone()
        if row is not None and (strict or row[0] != class_id):
            raise Conflict(
                f"{stored.name!r} is a support image of {classes.get(db, row[0]).name!r} already. "
                "Move or remove it there first."
            )
        if row is None:
            _insert(db, image, class_id, by=by, origin=origin, now=now)
    _record(db, by=by, now=now)
    wanted = {image for image, _ in pairs}
    return [member for member in active(db) if member.image in wanted]


def remove(db: sqlite3.Connection, support_id: int, *, by: str, now: str) -> None:
    """Takes a support image out; NotFound where it is not in force."""
    member = _get(db, support_id)
    by = a_name(by, "The annotator")
    _end(db, [member.id], by=by, now=now)
    _record(db, by=by, now=now)


def move(db: sqlite3.Connection, support_id: int, class_id: int, *, by: str, now: str) -> SupportImage:
    """Makes a support image an example of another class: a new membership, one version."""
    member = _get(db, support_id)
    by = a_name(by, "The annotator")
    record = classes.get(db, class_id)
    if record.archived_at is not None:
        raise InvalidInput(f"The class {record.name!r} is archived. Restore it before you move images into it.")
    if class_id == member.class_id:
        return member
    _end(db, [member.id], by=by, now=now)
    new = _insert(db, member.image, class_id, by=by, origin=member.origin, now=now)
    _record(db, by=by, now=now)
    return _get(db, new)


def restore_version(db: sqlite3.Connection, version: str, *, by: str, now: str) -> SupportSet:
    """Makes the content of an old version the support set again, as a new entry of the history.

    InvalidInput where a class of it is archived by now.
    """
    by = a_name(by, "The annotator")
    wanted = dict(members_of(db, version))
    for class_id in set(wanted.values()):
        record = classes.get(db, class_id)
        if record.archived_at is not None:
            raise InvalidInput(f"That version has images of {record.name!r}, which is archived. Restore it first.")
    members = active(db)
    _end(db, [m.id for m in members if wanted.get(m.image) != m.class_id], by=by, now=now)
    kept = {m.image for m in members if wanted.get(m.image) == m.class_id}
    for image, class_id in sorted(wanted.items()):
        if image not in kept:
            _insert(db, image, class_id, by=by, origin=_last_origin(db, image, class_id), now=now)
    _record(db, by=by, now=now)
    return current(db)


def remove_class(db: sqlite3.Connection, class_id: int, *, by: str, now: str) -> int | None:
    """Takes all images of a class out (it is being archived); returns the new version's number, None if none left."""
    rows = db.execute("SELECT id FROM support WHERE class_id = ? AND removed_at IS NULL", (class_id,))
    _end(db, [row[0] for row in rows], by=by, now=now)
    return _record(db, by=by, now=now)


def restore_class(db: sqlite3.Connection, class_id: int, *, by: str, now: str) -> None:
    """Brings back what left when the class was archived, but for images that are support elsewhere by now."""
    rows = db.execute(
        "SELECT s.image, s.origin FROM support s JOIN classes c ON c.id = s.class_id"
        " WHERE s.class_id = ? AND s.removed_in = c.archived_in"
        " AND NOT EXISTS (SELECT 1 FROM support o WHERE o.image = s.image AND o.removed_at IS NULL) ORDER BY s.id",
        (class_id,),
    ).fetchall()
    for row in rows:
        _insert(db, row["image"], class_id, by=by, origin=Origin(row["origin"]), now=now)
    _record(db, by=by, now=now)


def _get(db: sqlite3.Connection, support_id: int) -> SupportImage:
    an_integer(support_id, "The support image's id")
    row = db.execute(f"SELECT {_COLUMNS} FROM support WHERE id = ? AND removed_at IS NULL", (support_id,)).fetchone()
    if row is None:
        raise NotFound("That support image is not in the support set any more. Reload the page.")
    return _support_image(row)


def _support_image(row: sqlite3.Row) -> SupportImage:
    return SupportImage(
        id=row["id"],
        image=row["image"],
        class_id=row["class_id"],
        origin=Origin(row["origin"]),
        added_by=row["added_by"],
        added_at=row["added_at"],
        removed_at=row["removed_at"],
    )


def _last_origin(db: sqlite3.Connection, image: str, class_id: int) -> Origin:
    row = db.execute(
        "SELECT origin FROM support WHERE image = ? AND class_id = ? ORDER BY id DESC LIMIT 1", (image, class_id)
    ).fetchone()
    return Origin(row[0])


def _next_version(db: sqlite3.Connection) -> int:
    number: int = db.execute("SELECT max(number) + 1 FROM support_versions").fetchone()[0]
    return number


def _record(db: sqlite3.Connection, *, by: str, now: str) -> int | None:
    """Closes the version that this transaction's changes belong to; None where nothing changed."""
    number = _next_version(db)
    changed = "SELECT 1 FROM support WHERE added_in = ? OR removed_in = ? LIMIT 1"
    if db.execute(changed, (number, number)).fetchone() is None:
        return None
    members = active(db)
    db.execute(
        "INSERT INTO support_versions (number, version, parent, author, created_at, images)"
        " VALUES (?, ?, (SELECT version FROM support_versions WHERE number = ?), ?, ?, ?)",
        (number, version_of((m.image, m.class_id) for m in members), number - 1, by, now, len(members)),
    )
    return number


def _insert(db: sqlite3.Connection, image: str, class_id: int, *, by: str, origin: Origin, now: str) -> int:
    new: int = db.execute(
        "INSERT INTO support (image, class_id, origin, added_by, added_at, added_in)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (image, class_id, origin.value, by, now, _next_version(db)),
    ).fetchone()[0]
    queue.refresh(db, image)
    return new


def _end(db: sqlite3.Connection, ids: Sequence[int], *, by: str, now: str) -> None:
    if not ids:
        return
    number = _next_version(db)
    for support_id in ids:
        image = db.execute(
            "UPDATE support SET removed_by = ?, removed_at = ?, removed_in = ? WHERE id = ? RETURNING image",
            (by, now, number, support_id),
        ).fetchone()[0]
        queue.refresh(db, image)
