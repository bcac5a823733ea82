"""Every session_state key, and the one Workbench of this process.

The server puts its Workbench here before it serves, so that pages and API work on the same object.
Where a page runs without the server (AppTest), the project that ``RAGVISION_PROJECT`` names is opened.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ProjectError
from ragvision_app import login
from ragvision_app.access import SCOPE_HEADER, Scope

if TYPE_CHECKING:
    from core.workbench import Workbench

PROJECT_VARIABLE = "RAGVISION_PROJECT"

# session_state keys, one name a meaning
ANNOTATOR = "annotator"
DETAILS = "label_details"  # sha256 of the image whose details are open
SUPPORT_BOARD = "support_board"  # BoardState of this browser session
RECIPE_REFUSED = "recipe_refused"  # sentence, shown once
IMPORT_PATH = "import_path"  # what is typed on the Images page
IMPORT_AS = "import_as"
IMPORT_REFUSED = "import_refused"  # sentence, shown once
UPLOAD_ROUND = "upload_round"  # counts uploads, so that each starts with an empty uploader
IMAGE_PAGE = "image_page"  # page of the gallery, from 0
EXPORT_PATH = "export_path"  # what is typed on the Export page
EXPORT_RESULT = "export_result"  # (level, sentence), shown once
LABELS_FILE = "labels_file"  # the chosen export of another project
PROMPT_SYSTEM = "prompt_system"  # the draft on the Prompts page
PROMPT_USER = "prompt_user"
PROMPT_NAME = "prompt_name"  # under which it is saved
PROMPT_LOAD = "prompt_load"  # the version that is chosen to be loaded
PROMPT_DRAFT = "prompt_draft"  # PromptDraft, kept while other pages are open
PROMPT_IMAGE = "prompt_image"  # place of the previewed image in the queue, from 1
PROMPT_RESULT = "prompt_result"  # (level, sentence), shown once
PROMPT_TRY = "prompt_try"  # the newest TryOut
SETTINGS_DRAFT = "settings_draft"  # SettingsDraft of this browser session
SETTINGS_RESULT = "settings_result"  # (level, sentence), shown once
LABELS_RESULT = "labels_result"  # (level, sentence), shown once

_lock = threading.Lock()
_served: Future[Workbench] | None = None
_opened: dict[Path, Workbench] = {}


def serve_workbench(opening: Future[Workbench] | None) -> None:
    """Makes this the Workbench of the process, also while it is still being opened; None takes it away."""
    global _served
    _served = opening


def is_served() -> bool:
    """Whether the API runs beside the pages, on the same Workbench."""
    return _served is not None


def workbench() -> Workbench:
    """The Workbench that pages use, waiting for it while it is being opened.

    Raises :class:`ProjectError` where no project was named or it cannot be opened.

    Opened here, it starts no worker: a page alone never loads a model.
    """
    if _served is not None:
        return _served.result()
    named = os.environ.get(PROJECT_VARIABLE, "")
    if not named:
        raise ProjectError(
            f"No project was named. Start with `python -m ragvision_app run --project DIR`, or set {PROJECT_VARIABLE}."
        )
    from core.workbench import Workbench

    root = Path(named).resolve()
    with _lock:
        if root not in _opened:
            _opened[root] = Workbench.open(root)
        return _opened[root]


def login_name() -> str | None:
    """Whom this browser session is logged in as; None without a login, or where none is configured."""
    import streamlit as st

    if not login.is_configured() or not st.user.is_logged_in:
        return None
    return login.name_of(st.user.to_dict())


def session_scope() -> Scope:
    """What the token that this browser signed in with may do: the guard says it with the session's websocket.

    A page that runs without the guard (AppTest, `streamlit run`) is not guarded by anything, so all is allowed.
    """
    import streamlit as st

    said = st.context.headers.get(SCOPE_HEADER)
    return Scope.ADMIN if said is None else Scope[said.upper()]


def browser_scope(workbench: Workbench) -> str:
    """Names the project in the browser's storage, so that decisions for one are never sent to another."""
    return hashlib.sha256(str(workbench.project.root.resolve()).encode()).hexdigest()[:16]


def close_opened() -> None:
    """Closes what :func:`workbench` opened itself; for tests."""
    with _lock:
        for each in _opened.values():
            each.close()
        _opened.clear()
