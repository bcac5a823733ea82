"""Whether a project's files are what its database says they are."""

from __future__ import annotations

from core.project import Project
from core.store import Finding, Store

NAMED = 5  # file names in one sentence
PAGE = 1000


def check_files(project: Project, store: Store) -> list[Finding]:
    """Originals that are missing or have another size, and files that no row names.

    Sizes are compared, not digests: it must be quick on 100,000 images.
    """
    lost: list[str] = []
    changed: list[str] = []
    known: set[str] = set()
    offset = 0
    while page := store.images(PAGE, offset):
        offset += len(page)
        for record in page:
            known.add(record.sha256)
            try:
                size = project.image_path(record.sha256).stat().st_size
            except FileNotFoundError:
                lost.append(record.name)
                continue
            if size != record.bytes:
                changed.append(record.name)
    strangers = sorted(
        path.name
        for path in project.images_dir.glob("??/*")
        if path.name not in known and not path.name.startswith(".")
    )
    findings = []
    if lost:
        findings.append(
            Finding(
                "image files", False, f"{_list(lost)} lost. Import the same files again: they are put back in place."
            )
        )
    if changed:
        findings.append(
            Finding("image files", False, f"{_list(changed)} changed on disk. Delete them and import them again.")
        )
    if not findings:
        findings.append(Finding("image files", True, f"All {len(known):,} images are in their place."))
    if strangers:
        findings.append(
            Finding(
                "stray files",
                None,
                f"{_list(strangers)} in no row of the database, as an interrupted import leaves them. "
                "Importing the same images again takes them up.",
            )
        )
    return findings


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
    return f"{len(names):,} {'file is' if len(names) == 1 else 'files are'} ({shown})"
