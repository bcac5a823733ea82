"""An OpenAI-compatible server over real HTTP that behaves as it is told: well, in lesser ways, or badly.

The behaviour is a part of the address: ``http://127.0.0.1:PORT/BEHAVIOUR/ANYTHING/v1``.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

KEY = "sk-very-secret-4711"
MODEL = "acme/tiny-vlm"
EXPLANATION = "Mud on the door, as in [E1] and E9."
LEANING = 1.0  # how much more the first option is liked, whatever it is


def likings(names: list[str]) -> list[float]:
    """What the good server thinks of the options, in this order: probabilities."""
    logits = [sum(map(ord, name)) % 97 / 40 + (LEANING if i == 0 else 0.0) for i, name in enumerate(names)]
    total = sum(map(math.exp, logits))
    return [math.exp(z) / total for z in logits]


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    """The pictures of a request, in order, opened."""
    urls = [
        part["image_url"]["url"]
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    found = []
    for url in urls:
        kind, _, data = url.partition(";base64,")
        assert kind in ("data:image/jpeg", "data:image/png"), url[:40]
        found.append(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
    return found


def text_of(body: dict[str, Any]) -> str:
    """All the text of the user's first message."""
    content = next(m for m in body["messages"] if m["role"] == "user")["content"]
    return content if isinstance(content, str) else "".join(p.get("text", "[picture]") for p in content)


def names_of(body: dict[str, Any]) -> list[str]:
    """The names of the options, as the prompt lists them."""
    return re.findall(r"^[A-Z]: “(.*?)”", text_of(body), re.MULTILINE)


class Fake(ThreadingHTTPServer):
    """``bodies`` are the completions that were asked for, by behaviour; ``asked`` counts every request."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.keys: list[str | None] = []
        self.asked: Counter[str] = Counter()
        self.well = threading.Event()  # “recovering” behaves well once it is set
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def url(self, behaviour: str, unique: str = "x") -> str:
        """The base URL of this behaviour; a new ``unique`` part is a server that nobody has asked yet."""
        return f"http://127.0.0.1:{self.server_address[1]}/{behaviour}/{unique}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


@contextmanager
def running() -> Iterator[Fake]:
    """The server on a free port, in threads."""
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def log_message(self, *_: object) -> None:
        """Silent."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ------------------------------------------------------------------ routes
    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        self.server.asked[behaviour] += 1
        names = {"two-models": ["one/vlm", "two/vlm"], "no-models": []}.get(behaviour, [MODEL])
        self.send_json({"object": "list", "data": [{"id": n, "object": "model"} for n in names]})

    def do_POST(self) -> None:
        behaviour = self.path.split("/")[1]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked[behaviour] += 1
            self.server.bodies.setdefault(behaviour, []).append(body)
            self.server.keys.append(self.headers.get("Authorization"))
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            getattr(self, f"on_{behaviour.replace('-', '_')}", self.on_good)(body)
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    # ------------------------------------------------------------------ behaving well
    def on_good(self, body: dict[str, Any]) -> None:
        """As vLLM does: strict about what it is sent, with structured outputs and log-probabilities."""
        problem = self.problem_with(body)
        if problem:
            self.send_json({"error": {"message": problem, "type": "BadRequestError"}}, 400)
        elif self.is_probe(body):
            self.complete(body, "Blue")
        elif "structured_outputs" in body:
            self.letter(body)
        else:
            self.complete(body, EXPLANATION)

    on_two_models = on_no_models = on_good

    def problem_with(self, body: dict[str, Any]) -> str:
        roles = [m["role"] for m in body["messages"]]
        if body["model"] != MODEL:
            return f"The model {body['model']} does not exist."
        if self.is_probe(body):
            return ""
        shown = pictures(body)
        if (
            roles[:2] != ["system", "user"]
            or not shown
            or text_of(body).rfind("[picture]") < text_of(body).rfind("E1:")
        ):
            return "the query's picture must come last"
        if any(side % 28 or side < 56 for picture in shown for side in picture.size):
            return "a picture has a size that no prompt has"
        if "structured_outputs" in body:
            options = [chr(65 + i) for i in range(len(names_of(body)))]
            good = body["structured_outputs"] == {"choice": options} and body["temperature"] == 0
            good = good and body["logprobs"] is True and body["top_logprobs"] == 20 and body["max_tokens"] == 1
            return "" if good and "stream" not in body else "not asked for a letter"
        if roles[2:] != ["assistant", "user"] or not re.fullmatch("[A-Z]", body["messages"][2]["content"]):
            return "an explanation follows its flag"
        return ""

    @staticmethod
    def is_probe(body: dict[str, Any]) -> bool:
        return len(body["messages"]) == 1

    def letter(self, body: dict[str, Any], logprobs: bool = True) -> None:
        liked = likings(names_of(body))
        ranked = sorted(range(len(liked)), key=lambda i: -liked[i])
        top = [{"token": chr(65 + i), "logprob": math.log(0.9 * liked[i])} for i in ranked]
        top += [{"token": "The", "logprob": math.log(0.09)}, {"token": "\n", "logprob": -9999.0}]
        first = {"token": chr(65 + ranked[0]), "logprob": top[0]["logprob"], "top_logprobs": top[:20]}
        self.complete(body, chr(65 + ranked[0]), {"content": [first]} if logprobs else None)

    def complete(self, body: dict[str, Any], text: str, logprobs: object = None, **message: object) -> None:
        tokens = len(text_of(body)) // 4 + sum(p.width * p.height // 784 for p in pictures(body))
        if body.get("stream"):
            self.stream([text[i : i + 5] for i in range(0, len(text), 5)])
            return
        self.send_json(
            {
                "id": "x",
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "logprobs": logprobs,
                        "message": {"role": "assistant", "content": text, **message},
                    }
                ],
                "usage": {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1},
            }
        )

    def stream(self, pieces: list[str], *, pause: float = 0.0, ends: bool = True, drops: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        if ends:
            events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        for event in events:
            self.chunk(f"data: {json.dumps(event)}\n\n")
            if pause and self.server.over.wait(pause):
                return
        if drops:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def send_json(self, value: object, status: int = 200, **headers: str) -> None:
        self.send_bytes(json.dumps(value).encode(), "application/json", status, **headers)

    def send_bytes(self, data: bytes, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    # ------------------------------------------------------------------ lesser servers
    def on_old_vllm(self, body: dict[str, Any]) -> None:
        """Ignores structured outputs and holds to ``guided_choice``."""
        if "structured_outputs" in body:
            self.complete(body, "The")
        elif "guided_choice" in body:
            self.letter(body)
        else:
            self.complete(body, "Blue" if self.is_probe(body) else EXPLANATION)

    def on_letters(self, body: dict[str, Any]) -> None:
        """Takes no field that it does not know, and has log-probabilities."""
        if {"structured_outputs", "guided_choice"} & set(body):
            self.send_json({"error": {"message": "Unrecognized request argument supplied"}}, 400)
        elif body.get("logprobs"):
            self.letter(body)
        else:
            self.complete(body, "Blue" if self.is_probe(body) else EXPLANATION)

    def on_no_logprobs(self, body: dict[str, Any]) -> None:
        """Ignores what it does not know, and has no log-probabilities."""
        if body.get("max_tokens") == 1 and not self.is_probe(body):
            self.letter(body, logprobs=False)
        else:
            self.complete(body, json.dumps({"class": "B", "explanation": EXPLANATION, "evidence": [2]}))

    def on_plain(self, body: dict[str, Any]) -> None:
        """Takes neither log-probabilities nor a response format."""
        known = {"model", "messages", "max_tokens", "temperature", "stream"}
        if set(body) - known:
            self.send_json({"detail": f"Unexpected fields: {sorted(set(body) - known)}"}, 422)
        else:
            self.on_no_logprobs(body)

    def on_blind(self, body: dict[str, Any]) -> None:
        """Drops pictures, as a server without its image processor does."""
        body["messages"] = [{"role": "user", "content": "x" * 40}]
        self.complete(body, "A")

    def on_uncounted(self, body: dict[str, Any]) -> None:
        """Sends no usage."""
        whole = self.send_json
        self.send_json = lambda value, *a, **k: whole({k: v for k, v in value.items() if k != "usage"}, *a, **k)  # type: ignore[method-assign, union-attr]
        try:
            self.on_good(body)
        finally:
            self.send_json = whole  # type: ignore[method-assign]

    # ------------------------------------------------------------------ behaving badly
    def on_hang(self, body: dict[str, Any]) -> None:
        self.server.over.wait(30)

    def on_500(self, body: dict[str, Any]) -> None:
        self.send_json({"error": {"message": f"out of memory; key {KEY}"}}, 500)

    def on_once_500(self, body: dict[str, Any]) -> None:
        """Every other request fails."""
        self.on_500(body) if self.server.asked["once-500"] % 2 else self.on_good(body)

    def on_recovering(self, body: dict[str, Any]) -> None:
        self.on_good(body) if self.server.well.is_set() else self.on_500(body)

    def on_busy(self, body: dict[str, Any]) -> None:
        """429 once, with a wait that is not worth failing for."""
        if self.server.asked["busy"] == 1:
            self.send_json({"error": {"message": "slow down"}}, 429, Retry_After="0.3")
        else:
            self.on_good(body)

    def on_busy_for_long(self, body: dict[str, Any]) -> None:
        self.send_json({"error": {"message": "slow down"}}, 429, Retry_After="60")

    def on_half_json(self, body: dict[str, Any]) -> None:
        self.send_bytes(b'{"choices": [{"message": {"content": "A"', "application/json")

    def on_html(self, body: dict[str, Any]) -> None:
        self.send_bytes(b"<html><body>A</body></html>", "text/html; charset=utf-8")

    def on_html_as_json(self, body: dict[str, Any]) -> None:
        self.send_bytes(b"<html><body>A</body></html>", "application/json")

    def on_html_502(self, body: dict[str, Any]) -> None:
        self.send_bytes(b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html", 502)

    def on_no_choices(self, body: dict[str, Any]) -> None:
        self.send_json({"choices": []})

    def on_a_list(self, body: dict[str, Any]) -> None:
        self.send_json([1, 2])

    def on_odd_types(self, body: dict[str, Any]) -> None:
        self.send_json({"choices": {"0": 1}, "usage": [], "error": None})

    def on_error_in_200(self, body: dict[str, Any]) -> None:
        self.send_json({"error": {"message": "the engine is dead"}})

    def on_deep(self, body: dict[str, Any]) -> None:
        self.send_bytes(b'{"choices":' + b"[" * 100_000, "application/json")

    def on_empty(self, body: dict[str, Any]) -> None:
        self.complete(body, "Blue" if self.is_probe(body) else "")

    def on_wrong_class(self, body: dict[str, Any]) -> None:
        self.complete(body, "Blue" if self.is_probe(body) else '{"class": "muddy", "explanation": "It is."}')

    def on_refusal(self, body: dict[str, Any]) -> None:
        message = {} if self.is_probe(body) else {"refusal": "I cannot help with that."}
        self.complete(body, "", None, **message)

    def on_tool_call(self, body: dict[str, Any]) -> None:
        calls = [{"id": "1", "type": "function", "function": {"name": "answer", "arguments": "{}"}}]
        self.complete(body, "", None, **({} if self.is_probe(body) else {"tool_calls": calls}))

    def on_huge(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        for _ in range(400):  # 40 MB, of which a tenth is read
            self.wfile.write(b'"' + b"A" * 100_000)

    def on_gzip_bomb(self, body: dict[str, Any]) -> None:
        self.send_bytes(gzip.compress(b"[" + b" " * 50_000_000), "application/json", Content_Encoding="gzip")

    def on_redirect(self, body: dict[str, Any]) -> None:
        self.send_bytes(b"", "text/plain", 307, Location=self.server.url("good"))

    def on_wrong_key(self, body: dict[str, Any]) -> None:
        self.send_json({"error": {"message": f"Incorrect API key provided: {KEY}."}}, 401)

    def on_no_such_model(self, body: dict[str, Any]) -> None:
        self.send_json({"error": {"message": "The model does not exist."}}, 404)

    def on_echo(self, body: dict[str, Any]) -> None:
        """Writes the key into what it says."""
        if body.get("logprobs"):
            self.letter(body)
        else:
            self.complete(body, f"Mud. {KEY} [E1]")

    def on_drip(self, body: dict[str, Any]) -> None:
        """Bytes that never end, each soon after the other."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        until = time.monotonic() + 20
        while time.monotonic() < until and not self.server.over.wait(0.05):
            self.wfile.write(b" ")

    def on_dripping_headers(self, body: dict[str, Any]) -> None:
        """Headers that never end, each byte soon after the other."""
        until = time.monotonic() + 20
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while time.monotonic() < until and not self.server.over.wait(0.05):
            self.wfile.write(b"a")

    def on_huge_numbers(self, body: dict[str, Any]) -> None:
        """Log-probabilities that no float holds."""
        if body.get("max_tokens") == 1 and not self.is_probe(body):
            top = [{"token": "A", "logprob": -(10**400)}, {"token": "B", "logprob": 10**400}]
            self.complete(body, "A", {"content": [{"token": "A", "logprob": 0, "top_logprobs": top}]})
        else:
            self.on_no_logprobs(body)

    # those that behave until they explain
    def on_slow_stream(self, body: dict[str, Any]) -> None:
        self.stream(["word "] * 1000, pause=0.1) if body.get("stream") else self.on_good(body)

    def on_stalled_stream(self, body: dict[str, Any]) -> None:
        self.stream(["Mud "], pause=20) if body.get("stream") else self.on_good(body)

    def on_dropped_stream(self, body: dict[str, Any]) -> None:
        self.stream(["Mud on ", "the "], ends=False, drops=True) if body.get("stream") else self.on_good(body)

    def on_unfinished_stream(self, body: dict[str, Any]) -> None:
        self.stream(["Mud on ", "the "], ends=False) if body.get("stream") else self.on_good(body)

    def on_stream_of_nonsense(self, body: dict[str, Any]) -> None:
        if not body.get("stream"):
            return self.on_good(body)
        self.send_bytes(b'data: {"choices": [{"delta": {"content": "Mu\n\ndata: 7\n\n', "text/event-stream")

    def on_error_in_stream(self, body: dict[str, Any]) -> None:
        if not body.get("stream"):
            return self.on_good(body)
        self.send_bytes(b'data: {"error": {"message": "the engine died"}}\n\n', "text/event-stream")

    def on_unstreamed(self, body: dict[str, Any]) -> None:
        """Sends the whole at once where a stream was asked for."""
        self.on_good({k: v for k, v in body.items() if k != "stream"})

    def on_explains_badly(self, body: dict[str, Any]) -> None:
        is_explanation = len(body["messages"]) == 4
        self.on_500(body) if is_explanation else self.on_good(body)
