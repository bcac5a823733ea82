"""What an export wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import ProjectError
from core.images import shown


@dataclass(frozen=True, slots=True)
class ExportReport:
    """``labels`` rows written to ``path``; ``images`` files beside them (folder export only).

    ``left_out`` counts labelled images that are in no class folder, since their annotators disagree.
    """

    path: Path
    labels: int
    images: int = 0
    left_out: int = 0

    def __str__(self) -> str:
        text = f"{self.labels:,} label{'' if self.labels == 1 else 's'} written to {shown(self.path.name)}"
        if self.images:
            text += f", with {self.images:,} image{'' if self.images == 1 else 's'}"
        if self.left_out:
            text += f"; {self.left_out:,} on which annotators disagree lie in no class folder"
        return f"{text}."


def cannot_write(out: Path, error: OSError) -> ProjectError:
    """The sentence for a disk that refuses."""
    return ProjectError(
        f"The export to {shown(str(out))} failed: {error.strerror or error}. Nothing was left there; choose another "
        "place, or make room."
    )
