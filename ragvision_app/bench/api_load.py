"""The HTTP API under load, with the Label page open beside it: requests a second at 1, 4 and 16 clients."""

from __future__ import annotations

import base64
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from ragvision_app.bench._chromium import chromium, new_page
from ragvision_app.bench._projects import scratch, texture, textured_project
from ragvision_app.bench._row import Figure, Row, Scale, at_least, exactly
from ragvision_app.bench._servers import workbench_server
from ragvision_app.bench.key_to_image import OURS_IMAGE, Keys, open_label

WHAT = "requests over HTTP"
ROUTE = "/api/ragvision/invocations"
CLIENTS = (1, 4, 16)


def measure(scale: Scale) -> Row:
    """Each client sends its next request when the last one is answered; keys are pressed while the most do so."""
    requests, presses = scale.pick(16, 96, 320), scale.pick(1, 10)
    with scratch() as folder:
        project = textured_project(folder / "project", scale.pick(12, 60), per_class=scale.pick(2, 10))
        bodies = [_body(folder / f"{seed}.jpg", 700_000 + seed) for seed in range(16)]
        with workbench_server(project) as server, chromium() as browser:
            server.wait_until_listening()
            server.wait_until_predicted()
            page = new_page(browser)
            open_label(page, server.url)
            keys = Keys(page, OURS_IMAGE, "1")
            _load(server.url, bodies, 1, 2)  # the model is loaded before anything is timed
            answered = {n: _load(server.url, bodies, n, requests) for n in CLIENTS}
            with ThreadPoolExecutor(1) as pool:
                beside = pool.submit(_load, server.url, bodies, CLIENTS[-1], requests)
                while not beside.done() and len(keys.times()) < presses:
                    keys.press()
                    page.wait_for_timeout(100)
                answered[0] = beside.result()
            times = [ms for ms, _ in keys.times()]
    rates = {n: requests / seconds for n, (seconds, _) in answered.items() if n}
    failures = sum(count for _, count in answered.values())
    most = CLIENTS[-1]
    return Row(
        what=f"{WHAT}, {requests} of them",
        ours=Figure(f"a request among {most} clients", 1000 / rates[most]),
        against=Figure("a request of one client", 1000 / rates[1]),
        ratio=rates[most] / rates[1],
        n=requests,
        checks=(
            exactly("requests that failed", failures, 0),
            at_least(f"of one client's rate, {most} clients together", rates[most] / rates[1], 0.8, "×"),
        ),
        facts={
            **{f"requests a second, {n} client{'s' if n > 1 else ''}": rate for n, rate in rates.items()},
            f"key to next image beside {most} clients, ms": statistics.median(times) if times else "none",
        },
        note="An image of 300 pixels as base64, the default encoder, and the Label page open in a browser.",
    )


def _body(path: Path, seed: int) -> dict[str, str]:
    return {"encodedImage": base64.b64encode(texture(path, seed).read_bytes()).decode()}


def _load(url: str, bodies: list[dict[str, str]], clients: int, requests: int) -> tuple[float, int]:
    """Seconds until all are answered, and how many failed."""
    turns, lock, failures = iter(range(requests)), threading.Lock(), []

    def client() -> None:
        with httpx.Client(base_url=url, timeout=120) as http:
            while True:
                with lock:
                    turn = next(turns, None)
                if turn is None:
                    return
                answer = http.post(ROUTE, json=bodies[turn % len(bodies)])
                if answer.status_code != 200 or not answer.json()["success"]:
                    failures.append(answer.status_code)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client) for _ in range(clients)]:
            done.result()
    return time.perf_counter() - began, len(failures)
