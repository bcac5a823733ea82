"""What the Label page needs beside its layout: the annotator's name, and what the component reported."""

from __future__ import annotations

from typing import Any

LONGEST_NAME = 100

QUEUES = {
    "uncertainty": "Least certain first",
    "disagreement": "Scores against reasoner first",
    "random": "Random",
    "import": "As imported",
    "look-alikes": "Look-alikes together",
    "unsure": "My unsure ones",
}

# The loop takes the whole height of the window, so this page alone has narrow margins. Fixed text.
PAGE_STYLE = """<style>
[data-testid="stMainBlockContainer"]:has(.rv-reviewer) { padding: 0.55rem 1.25rem 0.75rem; max-width: none; }
[data-testid="stMainBlockContainer"]:has([data-testid="stForm"]) { padding-top: 16vh; }
[data-testid="stMain"] [data-testid="stVerticalBlock"]:has(> * > [data-testid="stForm"]) { align-items: center; }
[data-testid="stMainBlockContainer"] [data-testid="stForm"] { padding: 1.5rem; }
[data-testid="stMain"]:has(.rv-reviewer) [data-testid="stVerticalBlock"] { gap: 0.5rem; }
.stApp:has(.rv-reviewer) [data-testid="stStatusWidget"] { display: none; }
[data-testid="stMain"]:has(.rv-reviewer):focus { outline: none; box-shadow: none; }
[data-testid="stElementContainer"]:has(> [data-testid="stHtml"] style) { display: none; }
</style>"""


# The cursor goes into the only field there is, which is drawn a moment later. Fixed text.
FOCUS = """<script>
(function look(left) {
  const field = document.querySelector('[data-testid="stForm"] input');
  if (field) field.focus();
  else if (left) requestAnimationFrame(() => look(left - 1));
})(300);
</script>"""


def annotator_name(asked: str) -> tuple[str, str]:
    """(name, problem): one of the two is empty; both are where nothing was asked for yet."""
    name = asked.strip()
    if not name:
        return "", ""
    if len(name) > LONGEST_NAME:
        return "", f"A name may have {LONGEST_NAME} characters; this one has {len(name)}. Choose a shorter one."
    if not name.isprintable():
        return "", "A name may not hold line breaks or control characters. Type it without them."
    return name, ""


def clicked_details(result: Any) -> str | None:
    """The sha256 of the image whose details were asked for, out of the component's state."""
    if result is None:
        return None
    asked = result.get("details") if hasattr(result, "get") else getattr(result, "details", None)
    return asked if isinstance(asked, str) and len(asked) == 64 else None
