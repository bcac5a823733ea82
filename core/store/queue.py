"""An image's place in the queue, kept beside it so that the queue never looks at every image.

``queue_state``: −1 active support, else the number of annotators with a label (labelled or unsure).
``decided``: none, unsure or labelled, by anybody.
"""

from __future__ import annotations

import sqlite3

SUPPORT = -1
SUPERSEDED = -2  # predictions only

IN_FORCE = "state IN ('labelled', 'unsure')"

# 'labelled' sorts before 'unsure', so the minimum is the stronger of the two.
STATE_OF_IMAGE = f"""
    SELECT CASE WHEN EXISTS (SELECT 1 FROM support s WHERE s.image = :image AND s.removed_at IS NULL) THEN {SUPPORT}
                ELSE count(*) END,
           coalesce(min(l.state), 'none')
    FROM labels l WHERE l.image = :image AND l.{IN_FORCE}
"""


def refresh(db: sqlite3.Connection, image: str) -> None:
    """Brings the image's queue state, and the copies in its predictions, in line with labels and support."""
    state, decided = db.execute(STATE_OF_IMAGE, {"image": image}).fetchone()
    old_state, old_decided = db.execute("SELECT queue_state, decided FROM images WHERE sha256 = ?", (image,)).fetchone()
    if (state, decided) != (old_state, old_decided):
        db.execute("UPDATE images SET queue_state = ?, decided = ? WHERE sha256 = ?", (state, decided, image))
    if state != old_state:
        db.execute("UPDATE predictions SET queue_state = ? WHERE image = ? AND superseded = 0", (state, image))
