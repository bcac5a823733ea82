"""What the support board shows, and what the actions that come from it do. Plain functions.

An action names an image by its sha256 (an image is an active example of at most one class), so an action
sent twice, or after somebody else moved the image, still means the same.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import InvalidInput, RagVisionError
from core.store.palette import PALETTE

if TYPE_CHECKING:
    from core.types import SupportImage
    from core.workbench import Workbench

KEPT_NOTICES = 1000  # a sentence for each refused file of one drop


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for the person; ``undo`` is the action that takes back what it tells of."""

    id: str
    level: str  # info or error
    text: str
    undo: dict[str, Any] | None = None


@dataclass(slots=True)
class _Upload:
    name: str
    class_id: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class BoardState:
    """What one browser session needs between two batches."""

    applied: str | None = None
    seen: deque[str] = field(default_factory=lambda: deque(maxlen=64))
    notices: list[Notice] = field(default_factory=list)
    uploads: dict[str, _Upload] = field(default_factory=dict)
    drop: str | None = None  # the files that came in by one gesture, over as many batches as they need
    added: dict[int, int] = field(default_factory=dict)  # class → images added by that drop

    def begin(self, drop: str | None) -> None:
        """Something new was done: what was said of the last thing goes."""
        self.drop = drop
        self.notices.clear()
        self.added.clear()

    def tell(self, level: str, text: str, undo: dict[str, Any] | None = None) -> None:
        """Adds a sentence to what is shown."""
        self.notices.append(Notice(uuid.uuid4().hex, level, text, undo))
        del self.notices[:-KEPT_NOTICES]


def board_data(workbench: Workbench, state: BoardState) -> dict[str, Any]:
    """The board as the component takes it: classes, images, palette, and what was applied last."""
    support = workbench.store.support()
    records = workbench.store.images_by_id([s.image for s in support])
    every = workbench.store.classes(include_archived=True)
    return {
        "board": str(workbench.project.root),
        "api_base": "/api",
        "palette": list(PALETTE),
        "applied": state.applied,
        "notices": [{"id": n.id, "level": n.level, "text": n.text, "undo": n.undo} for n in reversed(state.notices)],
        "classes": [
            {"id": c.id, "name": c.name, "key": c.key, "colour": c.colour, "description": c.description}
            for c in every
            if c.archived_at is None
        ],
        "archived": [{"id": c.id, "name": c.name, "colour": c.colour} for c in every if c.archived_at is not None],
        "images": [
            {
                "image": s.image,
                "class_id": s.class_id,
                "name": records[s.image].name if s.image in records else s.image[:12],
                "origin": str(s.origin),
                "note": "promoted from the queue" if s.origin == "promoted" else "",
            }
            for s in support
        ],
    }


def apply_batch(workbench: Workbench, state: BoardState, batch: Mapping[str, Any], *, by: str) -> None:
    """Does what the batch says, once: a batch that came before changes nothing.

    A refused action becomes a sentence in ``state.notices``; the others go on.
    """
    batch_id = str(batch["id"])
    state.applied = batch_id
    if batch_id in state.seen:
        return
    state.seen.append(batch_id)
    actions = batch.get("actions", [])
    if any(a.get("kind") != "part" for a in actions):
        state.begin(None)
    files: dict[int, list[tuple[str, bytes]]] = {}
    for action in actions:
        try:
            if action.get("kind") == "part":
                if action.get("drop") not in (None, state.drop):
                    state.begin(str(action["drop"]))
                _collect(workbench, state, action, files)
            else:
                handler = _HANDLERS.get(str(action.get("kind")))
                if handler is None:
                    raise InvalidInput(f"There is no action called {action.get('kind')!r}.")
                handler(workbench, state, action, by)
        except RagVisionError as error:
            state.tell("error", str(error))
    for class_id, chosen in files.items():
        try:
            _add_files(workbench, state, class_id, chosen, by)
        except RagVisionError as error:
            state.tell("error", str(error))


# --------------------------------------------------------------------------- uploads
def _collect(
    workbench: Workbench, state: BoardState, action: Mapping[str, Any], files: dict[int, list[tuple[str, bytes]]]
) -> None:
    """One slice of one file; with its last slice the file joins ``files``."""
    upload_id, name = str(action["upload"]), str(action["name"])
    upload = state.uploads.setdefault(upload_id, _Upload(name, int(action["class_id"])))
    if action.get("error"):
        del state.uploads[upload_id]
        raise InvalidInput(f"{name} was not added: {action['error']}.")
    if int(action["index"]) != len(upload.parts):
        del state.uploads[upload_id]
        raise InvalidInput(f"{name} did not arrive whole. Please drop it once more.")
    try:
        data = base64.b64decode(str(action.get("data", "")), validate=True)
    except binascii.Error as error:
        del state.uploads[upload_id]
        raise InvalidInput(f"{name} did not arrive whole. Please drop it once more.") from error
    upload.parts.append(data)
    upload.size += len(data)
    if upload.size > workbench.settings.images.max_bytes:
        del state.uploads[upload_id]
        raise InvalidInput(f"{name} is larger than {workbench.settings.images.max_bytes // 1_000_000} MB.")
    if action.get("last"):
        del state.uploads[upload_id]
        files.setdefault(upload.class_id, []).append((name, b"".join(upload.parts)))


def _add_files(workbench: Workbench, state: BoardState, class_id: int, files: list[tuple[str, bytes]], by: str) -> None:
    there = {s.image for s in workbench.store.support()}
    report = workbench.add_support_files(files, class_id, by=by)
    new = {s.image for s in workbench.store.support()} - there
    state.added[class_id] = state.added.get(class_id, 0) + len(new)
    state.notices = [n for n in state.notices if n.level == "error"]
    names = _class_names(workbench)
    for added_to, count in state.added.items():
        if count:
            state.tell("info", f"{_images(count)} added to {names.get(added_to, added_to)}.")
    for twin in report.duplicates:
        if twin.sha256 in new:  # it was in the project, but no example until now
            continue
        known_as = f", as {twin.first}" if twin.first != twin.name else ""
        state.tell("error", f"{twin.name} is an example there already{known_as}. It was not added again.")
    for refused in report.refused:
        state.tell("error", sentence(refused.name, refused.reason))


def sentence(name: str, reason: str) -> str:
    """A refusal that names its file once."""
    return reason if name in reason else f"{name}: {reason}"


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"


def _class_names(workbench: Workbench) -> dict[int, str]:
    return {c.id: c.name for c in workbench.store.classes(include_archived=True)}


# --------------------------------------------------------------------------- the other actions
def _memberships(workbench: Workbench, images: list[str]) -> list[SupportImage]:
    chosen = set(images)
    return [s for s in workbench.store.support() if s.image in chosen]


def _move(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    target = int(action["class_id"])
    names = _class_names(workbench)
    before: dict[int, list[str]] = {}
    for member in _memberships(workbench, action["images"]):
        if member.class_id != target:
            workbench.move_support(member.id, target, by=by)
            before.setdefault(member.class_id, []).append(member.image)
    moved = sum(map(len, before.values()))
    if not moved:
        return
    # One undo takes images back to one class; a move out of several is taken back class by class.
    undo = None
    if len(before) == 1:
        ((source, images),) = before.items()
        undo = {"kind": "move", "images": images, "class_id": source}
    state.tell("info", f"{_images(moved)} moved to {names.get(target, target)}.", undo)


def _remove(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    members = _memberships(workbench, action["images"])
    for member in members:
        workbench.remove_support(member.id, by=by)
    if members:
        pairs = [[m.image, m.class_id] for m in members]
        text = f"{_images(len(members))} removed from the support set."
        state.tell("info", text, {"kind": "put_back", "pairs": pairs})


def _put_back(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    there = {s.image for s in workbench.store.support()}
    pairs = [(str(image), int(class_id)) for image, class_id in action["pairs"] if image not in there]
    for image, class_id in pairs:
        workbench.add_support(image, class_id, by=by)
    if pairs:
        state.tell("info", f"{_images(len(pairs))} put back.")


def _add_class(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    workbench.store.add_class(str(action["name"]).strip())
    workbench.changed()


def _update_class(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    workbench.store.update_class(
        int(action["class_id"]),
        name=str(action["name"]),
        key=action["key"] or None,
        colour=str(action["colour"]),
        description=str(action["description"]),
    )
    workbench.changed()


def _reorder(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    there = [c.id for c in workbench.store.classes()]
    wanted = [int(i) for i in action["ids"] if int(i) in there]
    workbench.store.reorder_classes(wanted + [i for i in there if i not in wanted])
    workbench.changed()


def _archive(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    class_id = int(action["class_id"])
    name = _class_names(workbench).get(class_id, str(class_id))
    workbench.store.archive_class(class_id)
    workbench.changed()
    text = f"{name} is archived: no longer suggested or offered, its labels are kept."
    state.tell("info", text, {"kind": "restore_class", "class_id": class_id})


def _restore_class(workbench: Workbench, state: BoardState, action: Mapping[str, Any], by: str) -> None:
    workbench.store.restore_class(int(action["class_id"]))
    workbench.changed()


_HANDLERS: dict[str, Callable[[Workbench, BoardState, Mapping[str, Any], str], None]] = {
    "move": _move,
    "remove": _remove,
    "put_back": _put_back,
    "add_class": _add_class,
    "update_class": _update_class,
    "reorder": _reorder,
    "archive": _archive,
    "restore_class": _restore_class,
}
