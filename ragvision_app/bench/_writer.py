"""One annotator's process: a decision an image, each acknowledged before the next.

``python -m ragvision_app.bench._writer DATABASE CLASS ANNOTATOR FIRST COUNT`` says "ready", waits for a line,
and prints what was acknowledged and what failed.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
import uuid
from pathlib import Path

from core.errors import RagVisionError
from core.store import Store
from core.types import Decision, Kind


def main(database: str, class_id: str, annotator: str, first: str, count: str) -> None:
    """Decides ``count`` images, from the one at ``first`` in the order of import."""
    failures: list[str] = []
    acknowledged: list[str] = []
    with Store.open(Path(database)) as store:
        images = [image.sha256 for image in store.images(limit=int(count), offset=int(first))]
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.time()
        for image in images:
            decision = Decision(
                id=str(uuid.uuid4()),
                kind=Kind.CORRECT,
                image=image,
                annotator=annotator,
                made_at="2026-11-24T09:00:00.000Z",
                class_id=int(class_id),
            )
            try:
                store.decide(decision)
            except (RagVisionError, sqlite3.Error) as error:
                failures.append(str(error))
            else:
                acknowledged.append(decision.id)
        ended = time.time()
    print(json.dumps({"began": began, "ended": ended, "acknowledged": acknowledged, "failures": failures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
