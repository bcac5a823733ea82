"""Every error that the core raises on purpose.

::

    RagVisionError                 says what was wrong with what, and what to do next
    ├── ImageError                 the bytes are not an image that we accept
    │   ├── UnsupportedImage       not JPEG, PNG, WebP or BMP
    │   ├── DamagedImage           truncated or corrupt
    │   └── ImageTooLarge          more pixels or bytes than the limit
    ├── ImportFailed               a folder or an archive cannot be read as a whole
    │   └── UnsafeArchive          a zip with `..`, absolute paths, links or a bomb in it
    ├── ProjectError               the project folder cannot be used
    │   └── SchemaTooNew           the database was written by a newer version
    ├── NotFound                   an id that is not in the store
    ├── InvalidInput               a name, number or combination that cannot be
    │   └── InvalidSettings        a settings combination that cannot be
    ├── ClassInUse                 a class that labels still point at
    ├── Conflict                   somebody else changed it in between
    ├── NotReady                   a part is missing before this can work (no support, one class …)
    ├── UnknownAdapter             no encoder, reasoner, recipe or format of that name
    ├── ModelUnavailable           weights or a server that are not there
    ├── ReasoningFailed            the reasoner gave no usable answer
    ├── Busy                       as many wait already as may; it says when to try again
    └── TookTooLong                no answer within the time that a caller is made to wait
"""

from __future__ import annotations

from collections.abc import Iterable


class RagVisionError(Exception):
    """Base of all. ``str(error)`` is one or two sentences for a person; never a traceback."""


class ImageError(RagVisionError):
    """The bytes cannot be used as an image."""


class UnsupportedImage(ImageError):
    """Not one of the formats that we decode."""


class DamagedImage(ImageError):
    """Truncated or corrupt data."""


class ImageTooLarge(ImageError):
    """Over the limit of pixels or bytes."""


class ImportFailed(RagVisionError):
    """A folder or an archive as a whole cannot be read."""


class UnsafeArchive(ImportFailed):
    """An archive whose members must not be unpacked."""


class ProjectError(RagVisionError):
    """The project folder cannot be used."""


class SchemaTooNew(ProjectError):
    """The database was written by a newer version of the workbench."""


class NotFound(RagVisionError):
    """An id that is not in the store."""


class InvalidInput(RagVisionError):
    """A value that cannot be accepted; the message says which and why."""


class InvalidSettings(InvalidInput):
    """A combination of settings that cannot be; the message gives the reason."""


class ClassInUse(RagVisionError):
    """A class that labels or support images still point at."""


class Conflict(RagVisionError):
    """Somebody else changed the same thing in between."""


class NotReady(RagVisionError):
    """Something has to be there first; the message says what."""


class UnknownAdapter(RagVisionError):
    """A name that no adapter answers to; the message lists those there are."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"There is no {kind} called “{name}”. There are: {', '.join(self.known)}.")


class ModelUnavailable(RagVisionError):
    """Weights or a model server that are not where they were looked for."""


class ReasoningFailed(RagVisionError):
    """The reasoner gave no usable answer; never turned into a flag."""


class Busy(RagVisionError):
    """As many wait already as may. ``retry_after`` is in how many seconds to try again."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TookTooLong(RagVisionError):
    """No answer within the time that a caller is made to wait; the work may go on."""
