"""A stand-in for the workbench's HTTP API: planted predictions, and faults on request.

It keeps what a real store would: every event once by id, in order of arrival. Tests set its fields
(`down`, `delay`, `refuse`) to bring about what a real server does only on a bad day.
"""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from PIL import Image, ImageDraw

from ragvision_app.components import outbox
from ragvision_app.components import reviewer as component

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c6d31", "#7f7f7f", "#332288")
KEYS = "1234567890dfgijklmopqtvwxy"
FREE_KEYS = [k for k in KEYS if k not in "asuznhedbrc"]
CONFLICT = "grace decided in between: functional. Both are kept."
THEME = {
    "light": "--st-text-color:#1b1f27;--st-background-color:#fff;--st-primary-color:#2456c8;background:#fff",
    "dark": "--st-text-color:#e6e9ee;--st-background-color:#14171c;--st-primary-color:#7aa5ff;background:#14171c",
}
PAGE = """<!doctype html><meta charset=utf-8><title>harness</title>
<style>{css}</style><body style="margin:0;padding:12px 20px;font-family:sans-serif;--st-font:sans-serif;{theme}">
<div id=host>{html}</div>
<script type=module>
import mount from "/bundle.js";
window.__details = [];
const host = document.getElementById("host");
const skeleton = host.innerHTML;
window.__anotherPageAndBack = () => {{
  window.__unmount();
  host.innerHTML = skeleton;
  window.__unmount = window.__mount();
}};
const data = window.__data = {{
  annotator: {annotator!r}, project: "harness", order: null, prefetch: 30, api_base: "/api"
}};
window.__mount = () => mount({{parentElement: host, data,
  setTriggerValue: (name, value) => window.__details.push([name, value]), setStateValue() {{}}}});
window.__unmount = window.__mount();
</script>"""

UNSENT_PAGE = """<!doctype html><meta charset=utf-8><title>another page</title><style>{css}</style>
<body><div id=host>{html}</div><script type=module>
import mount from "/unsent.js";
mount({{parentElement: document.getElementById("host"), data: {{project: "harness", api_base: "/api"}}}});
</script>"""


def sha(number: int) -> str:
    """The id of the n-th image."""
    return f"{number:064x}"


@dataclass
class Fake:
    """The state behind the routes; tests read and set it."""

    count: int = 300
    classes: int = 2
    name_of: Callable[[int], str] = lambda i: ("functional", "defective")[i] if i < 2 else f"kind {i + 1}"
    size_of: Callable[[int], tuple[int, int]] = lambda i: (300, 300)
    picture: Callable[[int], Image.Image] | None = None
    state_of: Callable[[int], str] = lambda i: "shown"
    run_state: str = "done"
    run_done: int = 120
    run_reasoned: int | None = None
    reasoner: str = "evidence"  # any other is slow, and has answered on those in `answered`
    answered: set[int] = field(default_factory=set)
    failing: str = ""  # why it gives no answer
    against_the_scores: bool = False
    drafts: tuple[str, ...] = ()  # what it writes before it answers
    down: bool = False
    down_as: int = 503  # the status that is answered meanwhile
    held_by_others: bool = False
    free_at: str | None = None
    given: set[str] = field(default_factory=set)  # every image that was dealt out
    released: list[str] = field(default_factory=list)
    release_came: threading.Event = field(default_factory=threading.Event)
    image_delay: float = 0.0
    refuse: Callable[[dict[str, Any]], str | None] = lambda decision: None
    conflict: Callable[[dict[str, Any]], bool] = lambda decision: False
    events: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    requests: list[str] = field(default_factory=list)

    # ------------------------------------------------------------------ what the store would know
    def stands(self) -> dict[str, dict[str, Any]]:
        """Image → the event in force, undone ones left out."""
        undone = {e["undoes"] for e in self.events if e["kind"] == "undo"}
        return {e["image"]: e for e in self.events if e["kind"] not in ("undo", "note") and e["id"] not in undone}

    def progress(self) -> dict[str, int]:
        kinds = [e["kind"] for e in self.stands().values()]
        labelled, unsure, skipped = (
            sum(k in ("accept", "correct") for k in kinds),
            kinds.count("unsure"),
            kinds.count("skip"),
        )
        left = self.count - labelled - unsure - skipped
        return {
            "total": self.count,
            "labelled": labelled,
            "unsure": unsure,
            "skipped": skipped,
            "left": left,
            "mine": labelled,
            "labelled_last_minute": labelled,
        }

    def undoable(self) -> list[dict[str, Any]]:
        undone = {e["undoes"] for e in self.events if e["kind"] == "undo"}
        rows = [e for e in self.events if e["kind"] not in ("undo", "note") and e["id"] not in undone]
        return [
            {
                "event_id": e["id"],
                "image": e["image"],
                "kind": e["kind"],
                "class_id": e["class_id"],
                "group": e["group"],
            }
            for e in reversed(rows)
        ][:200]

    def item(self, number: int) -> dict[str, Any]:
        width, height = self.size_of(number)
        mine = [e for e in self.events if e["image"] == sha(number)]
        notes = [e["note"] for e in mine if e["kind"] == "note"]
        stand = self.stands().get(sha(number))
        return {
            "id": sha(number),
            "name": f"cell{number:04d}.png",
            "image_url": f"/api/images/{sha(number)}/preview",
            "width": width,
            "height": height,
            "version": len(mine),
            "lease": {"token": number, "expires_at": "2999-01-01T00:00:00Z"},
            "suggestion": self.suggestion(number, width, height),
            "skipped": stand is not None and stand["kind"] == "skip",
            "note": notes[-1] if notes else None,
        }

    def suggestion(self, number: int, width: int, height: int) -> dict[str, Any]:
        state = self.state_of(number)
        blank = {
            "state": state,
            "reason": "",
            "prediction_id": None if state in ("pending", "none") else number,
            "run_id": 1,
            "stale": False,
            "flag": None,
            "runner_up": None,
            "margin": None,
            "calibrated": None,
            "encoder": None,
            "reasoner": None,
            "recipe": None,
            "support_version": None,
            "explanation": "",
            "cited": [],
            "scores": [],
            "heatmap": None,
            "evidence": [],
        }
        if state != "shown":
            return blank
        rng = random.Random(number)
        weights = [rng.random() ** 3 for _ in range(self.classes)]
        ranked = sorted(range(self.classes), key=lambda i: -weights[i])
        flag, runner_up = ranked[0] + 1, ranked[min(1, self.classes - 1)] + 1
        total = sum(weights)
        evidence = []
        for n in range(1, 6):
            column, row = rng.randrange(7), rng.randrange(7)
            box = [width * column // 7, height * row // 7, width * (column + 1) // 7, height * (row + 1) // 7]
            support = self.count + rng.randrange(20)
            sw, sh = self.size_of(support)
            evidence.append(
                {
                    "number": n,
                    "class_id": flag if n < 4 else runner_up,
                    "similarity": 0.8 - 0.05 * n,
                    "contribution": 0.06 / n if n < 4 else -0.04 / n,
                    "query_box": box,
                    "support_image": sha(support),
                    "support_name": f"cell{support:04d}.png",
                    "support_url": f"/api/images/{sha(support)}/preview",
                    "support_width": sw,
                    "support_height": sh,
                    "support_box": [
                        sw * row // 7,
                        sh * column // 7,
                        sw * (row + 1) // 7,
                        sh * (column + 1) // 7,
                    ],
                }
            )
        peak = (rng.random() * 7, rng.random() * 7)
        values = [
            0.05 * (2.718 ** (-((r - peak[0]) ** 2 + (c - peak[1]) ** 2) / 3))
            - 0.03 * (2.718 ** (-((6 - r - peak[0]) ** 2 + (6 - c - peak[1]) ** 2) / 2))
            for r in range(7)
            for c in range(7)
        ]
        name, other = self.name_of(flag - 1), self.name_of(runner_up - 1)
        told = {
            "flag": flag,
            "runner_up": runner_up,
            "margin": (weights[ranked[0]] - weights[ranked[-1]]) / total,
            "calibrated": "leave-one-out",
            "encoder": "efficientnet-lite0",
            "reasoner": "evidence",
            "recipe": "ensemble",
            "support_version": "v1",
            "explanation": f"{name}, {weights[ranked[0]] / total:.2f}: the strongest matches are E1 and E2, "
            f"upper left, 0.75 alike to support cell0301.png. Against it speaks E4, as seen in {other}.",
            "cited": [1, 2, 4],
            "scores": [
                {"class_id": i + 1, "probability": w / total, "logit": w, "patch": -w, "whole": -w}
                for i, w in enumerate(weights)
            ],
            "heatmap": {"grid": [7, 7], "values": values, "scale": 0.05},
            "evidence": evidence,
        }
        return blank | told | self.reasoned(number, told)

    def reasoned(self, number: int, told: dict[str, Any]) -> dict[str, Any]:
        """What a slow reasoner changes in a suggestion."""
        if self.reasoner == "evidence":
            return {"reasoning": "none"}
        if self.failing:
            given = {"reasoning": "failed", "reason": self.failing}
            return given | {"reasoner": f"evidence (no answer of {self.reasoner})", "prediction_id": number + 2000}
        if number not in self.answered:
            return {"reasoning": "pending", "reasoner": f"evidence (waiting for {self.reasoner})"}
        flag = told["runner_up"] if self.against_the_scores else told["flag"]
        return {
            "reasoning": "answered",
            "reasoner": self.reasoner,
            "reasoner_probabilities": {str(flag): 0.83},
            "prompt": "feedfeedfeed",
            "prediction_id": number + 1000,
            "flag": flag,
            "runner_up": told["flag"] if self.against_the_scores else told["runner_up"],
            "explanation": "A dark line crosses the cell, as in E2.",
            "cited": [2],
        }

    def draw(self, number: int, side: int) -> bytes:
        width, height = self.size_of(number)
        if self.picture is not None:
            image = self.picture(number).convert("RGB")
        else:
            image = Image.new("RGB", (width, height), ((number * 37) % 200, (number * 91) % 200, 90))
            ImageDraw.Draw(image).text((width // 4, height // 3), f"#{number}", font_size=min(width, height) // 4)
        image.thumbnail((side, side))
        out = io.BytesIO()
        image.save(out, "WEBP", quality=80, method=0)
        return out.getvalue()


def create(fake: Fake) -> FastAPI:
    """The API of `fake`, with the component in a plain page at ``/``."""
    app = FastAPI()

    @app.middleware("http")
    async def gone(request: Request, call_next: Any) -> Response:
        fake.requests.append(f"{request.method} {request.url.path}")
        if fake.down and request.url.path.startswith("/api"):
            return JSONResponse({"error": {"code": "away", "message": "The server is being restarted."}}, fake.down_as)
        answer: Response = await call_next(request)
        return answer

    @app.get("/")
    def page(annotator: str = "ada", theme: str = "light") -> HTMLResponse:
        return HTMLResponse(
            PAGE.format(css=component.css(), html=component.html(), annotator=annotator, theme=THEME[theme])
        )

    @app.get("/another-page")
    def another_page() -> HTMLResponse:
        return HTMLResponse(UNSENT_PAGE.format(css=outbox.css(), html=outbox.HTML))

    @app.get("/unsent.js")
    def unsent() -> Response:
        return Response(outbox.bundle(), media_type="text/javascript")

    @app.get("/bundle.js")
    def bundle() -> Response:
        return Response(component.bundle(), media_type="text/javascript")

    @app.get("/api/classes")
    def classes() -> dict[str, Any]:
        return {
            "classes": [
                {
                    "id": i + 1,
                    "name": fake.name_of(i),
                    "key": FREE_KEYS[i] if i < len(FREE_KEYS) else None,
                    "colour": PALETTE[i % len(PALETTE)],
                    "description": "",
                    "position": i,
                }
                for i in range(fake.classes)
            ]
        }

    @app.get("/api/images/{image}/{size}")
    def image(image: str, size: str) -> Response:
        time.sleep(fake.image_delay)
        side = {"thumb": 160, "small": 320, "preview": 1024}[size]
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(fake.draw(int(image, 16), side), media_type="image/webp", headers=headers)

    @app.post("/api/queue")
    def queue(body: dict[str, Any]) -> dict[str, Any]:
        with fake.lock:
            stands, have = fake.stands(), set(body["have"])
            fresh = [n for n in range(fake.count) if sha(n) not in stands]
            skipped = [n for n in range(fake.count) if stands.get(sha(n), {}).get("kind") == "skip"]
            chosen = [n for n in fresh + skipped if sha(n) not in have][: body["limit"]]
            if fake.held_by_others:
                chosen = []
            fake.given |= {sha(n) for n in chosen}
            return {
                "items": [fake.item(n) for n in chosen],
                "progress": fake.progress(),
                "run": {
                    "state": fake.run_state,
                    "done": fake.run_done,
                    "total": fake.count,
                    "sentence": "",
                    "encoder": "efficientnet-lite0",
                    "reasoner": "evidence",
                    "recipe": "ensemble",
                    "support_version": "v1",
                    "stale": 0,
                    "seconds_left": 40.0,
                    "reasoned": fake.run_reasoned,
                },
                "undoable": fake.undoable(),
                "free_at": fake.free_at,
            }

    @app.post("/api/queue/release")
    def release(body: dict[str, Any]) -> dict[str, int]:
        with fake.lock:
            fake.released += body["images"]
            fake.release_came.set()
            return {"released": len(body["images"])}

    @app.get("/api/queue/items/{image}")
    def item(image: str) -> dict[str, Any]:
        with fake.lock:
            return fake.item(int(image, 16))

    @app.get("/api/queue/items/{image}/explanation")
    def explanation(image: str) -> Response:
        def events() -> Iterator[str]:
            for text in fake.drafts:
                yield f"event: text\ndata: {json.dumps(text)}\n\n"
                time.sleep(0.05)
            for _ in range(200):
                if int(image, 16) in fake.answered or fake.failing:
                    break
                time.sleep(0.05)
            yield "event: done\ndata: {}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/api/queue/look-alikes")
    def look_alikes(body: dict[str, Any]) -> dict[str, Any]:
        with fake.lock:
            stands, have = fake.stands(), set(body["have"])
            flag = fake.item(int(body["image"], 16))["suggestion"]["flag"]
            items = (fake.item(n) for n in range(fake.count) if sha(n) not in stands and sha(n) not in have)
            return {"items": [i for i in items if i["suggestion"]["flag"] == flag][: body["limit"]]}

    @app.post("/api/decisions")
    def decide(body: dict[str, Any]) -> Response:
        with fake.lock:
            sentence = fake.refuse(body)
            if sentence:
                return JSONResponse({"error": {"code": "invalid_input", "message": sentence}}, 422)
            known = any(e["id"] == body["id"] for e in fake.events)
            if not known:
                fake.events.append(body)
            outcome = "duplicate" if known else "conflict" if fake.conflict(body) else "stored"
            version = sum(e["image"] == body["image"] for e in fake.events)
            return JSONResponse(
                {
                    "id": body["id"],
                    "outcome": outcome,
                    "version": version,
                    "label": None,
                    "message": "grace decided in between: functional. Both are kept."
                    if outcome == "conflict"
                    else None,
                    "progress": fake.progress(),
                }
            )

    return app
