"""The Prompts page's texts and markup. Plain functions: every string from elsewhere is escaped here."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.choices import switched
from core.prompt_format import Form
from core.prompt_presets import PRESETS
from core.prompts import BUILT_IN, EXPLAINED, PER_IMAGE, DiffLine, PromptTemplate, differences, template_of
from core.reasoners import prompt_format

if TYPE_CHECKING:
    from PIL import Image

    from core.prompt_preview import PromptPreview, TokenCount
    from core.settings import PipelineSettings
    from core.store import PromptRecord

# What the Prompts page shows of the settings beside the two prompts, in its order.
RETRIEVAL = ("k_retrieval", "max_patches_per_class", "input_resolution", "support_res", "support_patch_size")
ANSWER = ("temperature", "top_p", "max_new_tokens", "max_visual_tokens", "swap_options")

STYLE = """<style>
.rv-prompt { display: flex; flex-direction: column; gap: 6px; font-size: 0.87rem; line-height: 1.45; }
.rv-prompt:not(.rv-compare) { max-height: max(320px, calc(100dvh - 340px)); overflow: auto; scrollbar-width: thin; }
.rv-prompt .rv-piece { display: inline-block; width: calc(50% - 6px); margin: 6px 6px 0 0; vertical-align: top; }
.rv-prompt .rv-piece:has(.rv-query) { width: 100%; }
.rv-prompt .rv-turn { border: 1px solid color-mix(in srgb, currentColor 16%, transparent); border-radius: 6px;
  padding: 6px 10px 8px; }
.rv-prompt .rv-role { font-size: 0.72rem; letter-spacing: 0.04em; text-transform: uppercase; opacity: 0.65; }
.rv-prompt pre, .rv-diff pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit;
  background: none; padding: 0; }
.rv-prompt figure { margin: 0; display: inline-flex; align-items: flex-end; gap: 8px; }
.rv-prompt figure img { max-height: 112px; max-width: 60%; border-radius: 4px; }
.rv-prompt figure.rv-query img { max-height: 200px; }
.rv-prompt figcaption { font-size: 0.75rem; opacity: 0.65; font-variant-numeric: tabular-nums; }
.rv-diff { font-size: 0.87rem; line-height: 1.5; border-radius: 6px; overflow: hidden;
  border: 1px solid color-mix(in srgb, currentColor 16%, transparent); }
.rv-diff pre { padding: 1px 10px; }
.rv-diff .rv-plus { background: light-dark(#dff3e4, #17351f); }
.rv-diff .rv-minus { background: light-dark(#fbe3e1, #41201e); }
.rv-bars { display: grid; grid-template-columns: minmax(6rem, auto) 1fr 3.2rem; gap: 3px 10px; align-items: center;
  font-size: 0.87rem; }
.rv-bars .rv-name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 14rem; }
.rv-bars .rv-track { height: 8px; border-radius: 4px; background: color-mix(in srgb, currentColor 10%, transparent); }
.rv-bars .rv-fill { height: 100%; border-radius: 4px; }
.rv-bars .rv-number { text-align: right; font-variant-numeric: tabular-nums; }
</style>"""


# --------------------------------------------------------------------------- reasoners
def forms_of(settings: PipelineSettings) -> list[Form]:
    """The forms of an answer that the chosen reasoner asks for; none where it reads no prompt."""
    return list(prompt_format(settings.reasoner, settings).forms)


def with_reasoner(settings: PipelineSettings, reasoner: str) -> PipelineSettings:
    """The same with another reasoner, whose model is its own choice."""
    return settings if reasoner == settings.reasoner else switched(settings, reasoner=reasoner).settings


# --------------------------------------------------------------------------- versions
def loadable(records: Sequence[PromptRecord], titles: Mapping[str, str], in_force: str) -> dict[str, str]:
    """Version → how the list names it: saved ones, the newest first, then presets that were not saved."""
    found = {r.version: f"{r.title} · {r.author}, {day(r.created_at)}" for r in records}
    for preset in PRESETS:
        kind = "the default" if preset.name == BUILT_IN else "preset"
        found.setdefault(preset.template.version, f"{preset.name} · {kind}")
    if in_force in found:
        found[in_force] += " · in force"
    return found


def template_for(version: str, records: Sequence[PromptRecord]) -> PromptTemplate | None:
    """The words of a version, of a saved one or of a preset."""
    saved = next((r.template for r in records if r.version == version), None)
    return saved or next((p.template for p in PRESETS if p.template.version == version), None)


def name_of(version: str, records: Sequence[PromptRecord]) -> str:
    """The name under which a version's next edit is saved; empty for the built-in, whose name is taken."""
    saved = next((r.name for r in records if r.version == version), None)
    preset = next((p.name for p in PRESETS if p.template.version == version and p.name != BUILT_IN), "")
    return saved or preset


def title_in_force(settings: PipelineSettings, titles: Mapping[str, str]) -> str:
    """What the prompt in force is called; its version where it was never saved."""
    version = template_of(settings).version
    return titles.get(version, f"not saved ({version})")


def draft_line(draft: PromptTemplate, titles: Mapping[str, str], in_force: str) -> str:
    """What the words in the editor are, in a line."""
    title = titles.get(draft.version)
    if draft.version == in_force:
        return f"These words are in force{f', as {title}' if title else ''}."
    return f"These words are {title}; they are not in force." if title else "These words are not saved yet."


def version_rows(records: Sequence[PromptRecord], in_force: str) -> list[dict[str, Any]]:
    """One row a saved version, the newest first."""
    return [
        {
            "Prompt": r.title,
            "State": "in force" if r.version == in_force else "",
            "By": r.author,
            "Saved": datetime.fromisoformat(r.created_at),
            "Version": r.version,
        }
        for r in records
    ]


def day(stamp: str) -> str:
    """``25 Nov 2026``"""
    moment = datetime.fromisoformat(stamp)
    return f"{moment.day} {moment:%b %Y}"


def diff_html(before: PromptTemplate, after: PromptTemplate) -> str:
    """Both prompts line by line, what went in red and what came in green, each with its sign."""
    parts = []
    for name, lines in differences(before, after).items():
        body = "".join(_diff_line(line) for line in lines) or "<pre>The same.</pre>"
        parts.append(f'<div class="rv-role">{name} prompt</div><div class="rv-diff">{body}</div>')
    return f'<div class="rv-prompt rv-compare">{"".join(parts)}</div>'


def _diff_line(line: DiffLine) -> str:
    kind = {"+": "rv-plus", "-": "rv-minus"}.get(line.sign, "")
    sign = {"+": "+ ", "-": "− "}.get(line.sign, "  ")
    return f'<pre class="{kind}">{sign}{html.escape(line.text) or " "}</pre>'


# --------------------------------------------------------------------------- placeholders
def placeholders_markdown() -> str:
    """What may be named in double braces, and what it costs."""
    return "\n".join(f"- `{p.written}` – {p.means}. {p.costs}" for p in EXPLAINED.values())


def warnings_of(draft: PromptTemplate) -> list[str]:
    """The cost of the placeholders that this draft names, where there is one worth a warning."""
    return [f"`{EXPLAINED[name].written}`: {EXPLAINED[name].costs}" for name in draft.placeholders if name in PER_IMAGE]


# --------------------------------------------------------------------------- preview
def tokens_line(tokens: TokenCount, limit: int) -> str:
    """``About 610 tokens: about 170 of text (estimated), 440 of pictures``"""
    exact = bool(tokens.counted_by)
    text = f"{tokens.text:,} of text" if exact else f"about {tokens.text:,} of text"
    pictures = f"{'' if tokens.visual_exact else 'about '}{tokens.visual:,} of pictures"
    start = f"**{tokens.total:,} tokens**" if exact and tokens.visual_exact else f"**About {tokens.total:,} tokens**"
    return f"{start} · {text} · {pictures}, at most {limit:,}"


def tokens_note(tokens: TokenCount) -> str:
    """How the text was counted."""
    if tokens.counted_by:
        return f"Counted with the tokenizer and the chat template of {tokens.counted_by}."
    return tokens.note or "Estimated from the length of the text: no tokenizer is in use."


def preview_html(preview: PromptPreview) -> str:
    """System prompt, then text and pictures in the order in which the model gets them."""
    prompt, last = preview.prompt, len(preview.prompt.images) - 1
    body, number, said = [], 0, ""
    for part in prompt.parts:
        if isinstance(part, str):
            above, _, said = part.strip("\n").rpartition("\n")
            body.append(_text(above.rstrip("\n")))
        else:  # with the line that announces it
            figure = _figure(part, query=number == last)
            body.append(f'<div class="rv-piece">{_text(said)}{figure}</div>')
            number, said = number + 1, ""
    body.append(_text(said))
    turns = [_turn("System", f"<pre>{html.escape(prompt.system)}</pre>"), _turn("User", "".join(body))]
    if preview.follow_up:
        turns.append(
            _turn(
                "Asked once the flag stands, here for the first class", f"<pre>{html.escape(preview.follow_up)}</pre>"
            )
        )
    return f'<div class="rv-prompt">{"".join(turns)}</div>'


def _text(words: str) -> str:
    return f"<pre>{html.escape(words)}</pre>" if words else ""


def _turn(role: str, body: str) -> str:
    return f'<div class="rv-turn"><div class="rv-role">{role}</div>{body}</div>'


def _figure(picture: Image.Image, *, query: bool) -> str:
    kind = ' class="rv-query"' if query else ""
    what = "the query" if query else "an example"
    words = f"{picture.width} × {picture.height} px"
    return f'<figure{kind}><img alt="{what}" src="{data_url(picture)}"><figcaption>{words}</figcaption></figure>'


def data_url(picture: Image.Image) -> str:
    """The very pixels, small enough to stand in a page."""
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=88, method=2)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


# --------------------------------------------------------------------------- the answer of a try-out
def bars_html(rows: Sequence[tuple[str, str, float]]) -> str:
    """(name, colour, probability) as bars, as given."""
    cells = "".join(
        f'<span class="rv-name" title="{html.escape(name, quote=True)}">{html.escape(name)}</span>'
        f'<span class="rv-track"><span class="rv-fill" style="display:block;width:{max(0.0, min(1.0, p)):.1%};'
        f'background:{_colour(colour)}"></span></span><span class="rv-number">{p:.2f}</span>'
        for name, colour, p in rows
    )
    return f'<div class="rv-bars">{cells}</div>'


def _colour(value: str) -> str:
    digits = value[1:]
    return value if len(value) == 7 and value[0] == "#" and all(c in "0123456789abcdef" for c in digits) else "#8a8f98"
