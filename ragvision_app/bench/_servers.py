"""Servers in processes of their own, started as a user starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvision_app.bench._row import RowFailed
from ragvision_app.projects import ROOT

START_SECONDS = 120
RUN_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens, or soon will."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that a path answers, by POST where there is a body."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def wait_until_listening(self) -> None:
        """Polls the port closely, so that little is added to what is measured."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RowFailed(f"The server ended with exit code {self.process.returncode} before it listened.")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.005)
            else:
                return
        raise RowFailed(f"The server did not listen within {START_SECONDS} seconds.")

    def wait_until_predicted(self) -> None:
        """Until every suggestion of the project is computed."""
        deadline = time.monotonic() + RUN_SECONDS
        state = "unknown"
        while time.monotonic() < deadline:
            try:
                state = self.get("/api/readiness")["worker"]
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                state = "not answering"
            if state == "done":
                return
            if state == "failed" or self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise RowFailed(f"The suggestions were not computed: the worker is {state}.")

    def peak_megabytes(self) -> float:
        """The most memory that the process ever held (resident)."""
        return peak_megabytes(self.process.pid)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def started(arguments: Sequence[object], port: int, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """``python`` with these arguments; ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)


@contextmanager
def workbench_server(project: Path) -> Iterator[Server]:
    """``run --project``: pages, API and worker."""
    port = free_port()
    with started(["-m", "ragvision_app", "run", "--project", project, "--port", port], port) as server:
        yield server


@contextmanager
def streamlit_server(*arguments: object, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Plain Streamlit: ``hello``, or ``run SCRIPT``."""
    port = free_port()
    options = (
        "--server.port",
        port,
        "--server.address",
        "127.0.0.1",
        "--server.headless",
        "true",
        "--browser.gatherUsageStats",
        "false",
    )
    with started(["-m", "streamlit", *arguments, *options], port, environment) as server:
        yield server


def run_json(
    module: str, *arguments: object, environment: dict[str, str] | None = None, timeout: float = RUN_SECONDS
) -> dict[str, Any]:
    """What ``python -m MODULE ARGUMENTS`` prints as JSON on its last line; RowFailed where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RowFailed(f"The measured process ended with exit code {done.returncode}: {last}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def peak_megabytes(process: int | str = "self") -> float:
    """Peak resident memory of a process as the kernel counts it; RowFailed on systems that don't tell."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        raise RowFailed("Peak memory is read from /proc, which this system does not have.")
    for line in status.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RowFailed("The kernel told no peak memory of the process.")
