"""What is labelled and with what: images, classes and the support set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.store import archive, classes, images
from core.store import support as support_images
from core.store.access import WORKBENCH, Access
from core.store.classes import Keep
from core.store.records import SupportVersion
from core.types import ClassRecord, ImageRecord, Origin, SupportImage, SupportSet


class Catalogue(Access):
    """The images, classes and support images of a project. Every method is one transaction."""

    # ------------------------------------------------------------------ images
    def add_images(self, records: Sequence[ImageRecord]) -> int:
        """Stores new images, ignores those that are there; returns how many were new."""
        with self._pool.write() as db:
            return images.add(db, records)

    def has_images(self, shas: Iterable[str]) -> set[str]:
        """Those of the ids that are stored."""
        with self._pool.read() as db:
            return images.present(db, shas)

    def image(self, sha256: str) -> ImageRecord:
        """One image; NotFound."""
        with self._pool.read() as db:
            return images.get(db, sha256)

    def images_by_id(self, shas: Iterable[str]) -> dict[str, ImageRecord]:
        """Id → image, for those that are stored."""
        with self._pool.read() as db:
            return images.get_many(db, shas)

    def images(self, limit: int | None = None, offset: int = 0) -> list[ImageRecord]:
        """Images in order of import."""
        with self._pool.read() as db:
            return images.page(db, limit, offset)

    def query_images(self) -> list[str]:
        """Ids of all images that are not support, in order of import."""
        with self._pool.read() as db:
            return images.queries(db)

    def query_image(self, place: int) -> str | None:
        """The image at this place of :meth:`query_images`, from 0; None beyond the last. Cheap at any size."""
        with self._pool.read() as db:
            return images.query_at(db, place)

    def count_images(self) -> int:
        """Number of stored images, support included."""
        with self._pool.read() as db:
            return images.count(db)

    # ------------------------------------------------------------------ classes
    def add_class(
        self, name: str, *, key: str | None = None, colour: str | None = None, description: str = ""
    ) -> ClassRecord:
        """A new class at the end, with the next free key and colour where they are not given; InvalidInput."""
        with self._pool.write() as db:
            return classes.add(db, name, key=key, colour=colour, description=description)

    def classes(self, include_archived: bool = False) -> list[ClassRecord]:
        """Classes by position."""
        with self._pool.read() as db:
            return classes.every(db, include_archived=include_archived)

    def class_by_id(self, class_id: int) -> ClassRecord:
        """One class, archived or not; NotFound."""
        with self._pool.read() as db:
            return classes.get(db, class_id)

    def update_class(
        self,
        class_id: int,
        *,
        name: str | None = None,
        key: str | Keep | None = Keep.KEEP,
        colour: str | None = None,
        description: str | None = None,
    ) -> ClassRecord:
        """Changes what is given (``key=None`` takes the key away); NotFound, InvalidInput."""
        with self._pool.write() as db:
            return classes.update(db, class_id, name=name, key=key, colour=colour, description=description)

    def reorder_classes(self, ids: Sequence[int]) -> list[ClassRecord]:
        """Puts the active classes into this order; InvalidInput unless each is named once."""
        with self._pool.write() as db:
            return classes.reorder(db, ids)

    def archive_class(self, class_id: int, *, by: str = WORKBENCH) -> ClassRecord:
        """Takes a class out of use: its labels stay, its support images leave the support set; NotFound."""
        with self._pool.write() as db:
            return archive.archive(db, class_id, by=by, now=self._clock())

    def restore_class(self, class_id: int, *, by: str = WORKBENCH) -> ClassRecord:
        """Brings an archived class back, with its support images; InvalidInput where the name is taken by now."""
        with self._pool.write() as db:
            return archive.restore(db, class_id, by=by, now=self._clock())

    def delete_class(self, class_id: int) -> None:
        """Deletes a class that nothing ever pointed at; else ClassInUse."""
        with self._pool.write() as db:
            classes.delete(db, class_id)

    # ------------------------------------------------------------------ support
    def add_support(self, image: str, class_id: int, *, by: str, origin: Origin = Origin.UPLOAD) -> SupportImage:
        """Makes an image an example of a class; InvalidInput where it is one already (of whichever class)."""
        with self._pool.write() as db:
            pairs = [(image, class_id)]
            return support_images.add_many(db, pairs, by=by, origin=origin, now=self._clock(), strict=True)[0]

    def add_support_many(
        self, pairs: Sequence[tuple[str, int]], *, by: str, origin: Origin = Origin.UPLOAD
    ) -> list[SupportImage]:
        """(image, class id) pairs as one version, all or none; a pair that is in force already stays as it is."""
        with self._pool.write() as db:
            return support_images.add_many(db, pairs, by=by, origin=origin, now=self._clock())

    def remove_support(self, support_id: int, *, by: str) -> None:
        """Takes a support image out of the set; NotFound where it is not in it."""
        with self._pool.write() as db:
            support_images.remove(db, support_id, by=by, now=self._clock())

    def move_support(self, support_id: int, class_id: int, *, by: str) -> SupportImage:
        """Makes a support image an example of another class; returns the new membership (it has a new id)."""
        with self._pool.write() as db:
            return support_images.move(db, support_id, class_id, by=by, now=self._clock())

    def support(self) -> list[SupportImage]:
        """The support images in force, in the order in which they were added."""
        with self._pool.read() as db:
            return support_images.active(db)

    def support_set(self) -> SupportSet:
        """The support set in force, with its recorded version."""
        with self._pool.read() as db:
            return support_images.current(db)

    def support_versions(self) -> list[SupportVersion]:
        """The history of the support set, newest first."""
        with self._pool.read() as db:
            return support_images.versions(db)

    def support_members(self, version: str) -> list[tuple[str, int]]:
        """The sorted (image, class id) pairs of a version; NotFound."""
        with self._pool.read() as db:
            return support_images.members_of(db, version)

    def restore_support(self, version: str, *, by: str) -> SupportSet:
        """Makes an old version the support set again; InvalidInput where a class of it is archived."""
        with self._pool.write() as db:
            return support_images.restore_version(db, version, by=by, now=self._clock())
