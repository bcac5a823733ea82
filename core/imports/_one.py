"""One image that a program sends: refused with the error of its kind, where an import of many goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from core.errors import Conflict, ImportFailed, InvalidInput
from core.images import decode, shown
from core.imports._importer import Added, Duplicate, import_images
from core.imports._source import ImageSource, SourceFile
from core.imports._support import class_id_of
from core.project import Project
from core.settings import ImageLimits
from core.store.checks import a_name, folded
from core.types import ClassRecord, Origin, SupportImage

if TYPE_CHECKING:  # the store is handed in
    from core.store import Store


@dataclass(frozen=True, slots=True)
class SupportUpload:
    """An image as an example of a class; ``duplicate`` where it was one already."""

    support: SupportImage
    of: ClassRecord
    name: str
    duplicate: bool


def import_one(
    project: Project, store: Store, name: str, data: bytes, *, limits: ImageLimits | None = None
) -> Added | Duplicate:
    """Stores one image under the last part of ``name``; raises an ImageError, or ImportFailed (a full disk)."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1] or "unnamed"
    decode(data, name, limits)  # its own refusal, before anything is written
    source = ImageSource("upload", [SourceFile(name, len(data), partial(bytes, data))])
    report = import_images(project, store, [source], limits=limits)
    for refused in report.refused:
        raise ImportFailed(f"{shown(refused.name)}: {refused.reason}")
    return next(iter(report.accepted))


def upload_support(
    project: Project,
    store: Store,
    name: str,
    data: bytes,
    class_name: str,
    *,
    classes: Sequence[str] = (),
    by: str,
    limits: ImageLimits | None = None,
) -> SupportUpload:
    """Makes an image an example of a class; those of ``classes`` that are missing are made, in their order.

    Nothing changes where it is refused: an ImageError, InvalidInput (a name that cannot be; a class that is
    neither in ``classes`` nor in the project), Conflict (the image is an example of another class).
    """
    wanted = a_name(class_name, "The class name")
    named = [a_name(one, "The class name") for one in classes]
    there = {folded(c.name): c for c in store.classes()}
    if named and folded(wanted) not in {folded(one) for one in named} | set(there):
        raise InvalidInput(
            f"The class {wanted!r} is none of those that came with it, and none of the project. Check its spelling, "
            "or name it among the classes."
        )
    digest = decode(data, name, limits).sha256
    found = next((s for s in store.support() if s.image == digest), None)
    own = there.get(folded(wanted))
    if found is not None and (own is None or found.class_id != own.id):
        other = store.class_by_id(found.class_id).name
        raise Conflict(f"{shown(name)} is an example of {other!r} already. Move it, or remove it there first.")
    ids = {folded(one): class_id_of(store, one, by) for one in dict.fromkeys([*named, wanted])}
    class_id = ids[folded(wanted)]
    item = import_one(project, store, name, data, limits=limits)
    if found is None:
        found = store.add_support_many([(item.sha256, class_id)], by=by, origin=Origin.UPLOAD)[0]
        return SupportUpload(found, store.class_by_id(class_id), item.name, duplicate=False)
    return SupportUpload(found, store.class_by_id(class_id), item.name, duplicate=True)
