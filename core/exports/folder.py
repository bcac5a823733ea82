"""A tree for training: one folder a class with its images, and a manifest that keeps the true names.

::

    OUT/
    ├── classes.json      folder name → true class name
    ├── labels.jsonl      every label with its provenance; `file` is the image's path here, or null
    └── defective/cell0123-1f2e3d4c5b6a.png

An image lies in one class folder at most: that of an adjudication, else the class on which all its
annotators agree. Where they disagree, or nobody gave it a class, it is in the manifest alone.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from core.errors import InvalidInput
from core.exports._names import folder_names, safe_name
from core.exports._report import ExportReport, Tally, cannot_write
from core.exports._rows import LabelRow
from core.files import TEMPORARY, sync_folder
from core.images import EXTENSIONS, shown, stored_format
from core.project import Project
from core.text import json_line
from core.types import Kind

MANIFEST = "labels.jsonl"
CLASSES = "classes.json"


def export(rows: Iterable[LabelRow], out: Path, *, project: Project, link: bool = False) -> ExportReport:
    """Write the tree to ``out``, which must be new or empty: whole or not at all.

    ``link`` makes hard links where the file system can, copies elsewhere: no space is taken, and the linked
    files are read-only. Raises :class:`InvalidInput` (something is there), ``NotFound`` (an original is lost)
    or :class:`ProjectError`.
    """
    out = Path(out).expanduser().absolute()
    _check_free(out)
    tally = Tally(rows)
    kept = list(tally)
    building = out.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        building.mkdir(parents=True)
        try:
            report = _build(kept, building, out, project, link)
            if out.exists():
                out.rmdir()  # empty, as was checked
            building.rename(out)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        sync_folder(out.parent)
    except OSError as error:
        raise cannot_write(out, error) from error
    return replace(report, states=tally.states)


def agreed_classes(rows: Iterable[LabelRow]) -> dict[str, str | None]:
    """Image → the one class name in force, or None where annotators disagree; unlabelled images are absent."""
    given: dict[str, set[str]] = {}
    final: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row.state != "labelled" or row.class_name is None:
            continue
        given.setdefault(row.image, set()).add(row.class_name)
        if row.kind == Kind.ADJUDICATE:
            final[row.image] = max(final.get(row.image, ("", "")), (row.decided_at, row.class_name))
    return {
        image: final[image][1] if image in final else next(iter(names)) if len(names) == 1 else None
        for image, names in given.items()
    }


def _check_free(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise InvalidInput(
            f"{shown(str(out))} is not empty, and an export never writes over a folder. Name a new folder, or empty it."
        )
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{shown(str(out))} is a file; the export makes a folder. Name a new folder.")


def _build(rows: list[LabelRow], root: Path, out: Path, project: Project, link: bool) -> ExportReport:
    classes = agreed_classes(rows)
    folders = folder_names((row.class_name for row in rows if row.class_name is not None), taken=(MANIFEST, CLASSES))
    for folder in folders.values():
        (root / folder).mkdir()
    files: dict[str, str] = {}
    for row in rows:
        name = classes.get(row.image)
        if name is None or row.image in files:
            continue
        original = project.image_path(row.image)
        files[row.image] = f"{folders[name]}/{_file_name(row)}{EXTENSIONS[stored_format(original)]}"
        _place(original, root / files[row.image], link)
    with (root / MANIFEST).open("x", encoding="utf-8", newline="") as manifest:
        for row in rows:
            values = {"file": files.get(row.image), **row.to_dict()}
            manifest.write(json_line(values))
    true_names = {folder: name for name, folder in folders.items()}
    (root / CLASSES).write_text(json.dumps(true_names, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return ExportReport(out, len(rows), len(files), sum(name is None for name in classes.values()))


def _file_name(row: LabelRow) -> str:
    """A readable name that no two images share: the digest is part of it."""
    stem = PurePosixPath(row.name.replace("\\", "/")).stem
    return f"{safe_name(stem)}-{row.image[:12]}"


def _place(original: Path, target: Path, link: bool) -> None:
    if not (link and _linked(original, target)):
        shutil.copyfile(original, target)


def _linked(original: Path, target: Path) -> bool:
    try:
        os.link(original, target)
    except OSError:  # another disk, or a file system without links
        return False
    return True
