"""A folder of folders → support images: each first-level folder's name is a class."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ImportFailed, InvalidInput
from core.images import shown, storable
from core.imports._importer import ImportReport, Progress, import_images
from core.imports._source import ImageSource, Refused
from core.imports.folder import folder_source
from core.imports.zip import zip_source
from core.project import Project
from core.settings import ImageLimits
from core.store.checks import LONGEST_NAME, folded
from core.text import BIDI_CONTROLS
from core.types import Origin

if TYPE_CHECKING:  # the store is handed in
    from core.store import Store

_UNWANTED = ("Cc", "Cs", "Zl", "Zp")
CLASSES_FILE = "classes.json"
"""Written by the folder export: folder name → class name, for names that no folder can have."""


@dataclass(slots=True)
class SupportReport(ImportReport):
    """An import whose images are support images now; ``classes`` is class name → images added to it."""

    classes: dict[str, int] = field(default_factory=dict)


def import_support(
    project: Project,
    store: Store,
    root: Path,
    *,
    by: str,
    limits: ImageLimits | None = None,
    on_progress: Progress | None = None,
) -> SupportReport:
    """Store the images under ``root`` (a folder or a zip) as support images of the class of their sub-folder.

    A missing class is made, an archived one restored. An image of the same class already is a duplicate; one
    that is support of another class is refused. Raises :class:`ImportFailed` as the sources do, and when no
    image lies in a sub-folder.
    """
    root = Path(root).expanduser()
    source = folder_source(root) if root.is_dir() else zip_source(root)
    with source:
        titles = _titles(root)
        outside = [file for file in source.files if "/" not in file.name]
        source.files = [file for file in source.files if "/" in file.name]
        if not source.files:
            raise ImportFailed(
                f"No image in {shown(root.name)} lies in a sub-folder. Make one folder a class, named like the class, "
                "and put its images into it."
            )
        source.refused += [Refused(f.name, "it lies in no sub-folder, so it has no class.") for f in outside]
        report = import_images(project, store, [source], limits=limits, on_progress=on_progress)
    result = SupportReport(**{field.name: getattr(report, field.name) for field in fields(report)})
    _add(store, result, _order(source), titles, by)
    return result


def _add(store: Store, report: SupportReport, order: list[str], titles: dict[str, str], by: str) -> None:
    ids: dict[str, int] = {}
    accepted = sorted(report.accepted, key=lambda item: item.name)
    used = {item.name.split("/")[0] for item in accepted}
    for folder in order:
        if folder in used:
            ids[folder] = class_id_of(store, titles.get(folder) or class_name(folder), by)
    names = {record.id: record.name for record in store.classes(include_archived=True)}
    where = {support.image: support.class_id for support in store.support()}
    pairs: list[tuple[str, int]] = []
    for item in accepted:
        class_id = ids[item.name.split("/")[0]]
        other = where.setdefault(item.sha256, class_id)
        if other != class_id:
            reason = f"the same image is an example of {shown(names[other])} already. Remove it there first."
            report.refused.append(Refused(item.name, reason))
            report.added = [added for added in report.added if added is not item]
            report.duplicates = [twin for twin in report.duplicates if twin is not item]
        elif (item.sha256, class_id) not in pairs:
            pairs.append((item.sha256, class_id))
    present = {support.image for support in store.support()}
    fresh = [pair for pair in pairs if pair[0] not in present]
    if fresh:
        store.add_support_many(fresh, by=by, origin=Origin.UPLOAD)
    for _, class_id in fresh:
        report.classes[names[class_id]] = report.classes.get(names[class_id], 0) + 1


def class_name(folder: str) -> str:
    """A folder's name as the store takes class names: control characters and what is too long left out."""
    name = "".join(c for c in storable(folder) if unicodedata.category(c) not in _UNWANTED and c not in BIDI_CONTROLS)
    return unicodedata.normalize("NFC", name).strip()[:LONGEST_NAME].strip() or "unnamed"


def class_id_of(store: Store, name: str, by: str) -> int:
    """The class of that name, whatever its case; a missing one is made, an archived one restored."""
    for _ in range(2):
        same = [record for record in store.classes(include_archived=True) if folded(record.name) == folded(name)]
        for record in same:
            if record.archived_at is None:
                return record.id
        try:
            return store.restore_class(same[-1].id, by=by).id if same else store.add_class(name).id
        except InvalidInput:
            if not any(folded(record.name) == folded(name) for record in store.classes()):
                raise  # else somebody made it this very moment
    raise InvalidInput(f"The class {name!r} could not be made. Try again.")


def _order(source: ImageSource) -> list[str]:
    """First-level folders as they are stored in names, in the order of the files."""
    return list(dict.fromkeys(storable(file.name).split("/")[0] for file in source.files))


def _titles(root: Path) -> dict[str, str]:
    """True class names of a folder that our export wrote; empty for any other folder."""
    path = root / CLASSES_FILE
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{shown(str(path))} is not valid JSON: {error}. Mend it, or delete it.") from error
    if not isinstance(values, dict):
        return {}
    return {str(folder): name for folder, name in values.items() if isinstance(name, str)}
