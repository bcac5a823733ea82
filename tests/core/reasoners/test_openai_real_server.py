"""The reasoner ``openai`` against ``transformers serve``: a real server and a real, tiny model, over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from test_reasoning import request_of
from tiny_qwen2_vl import TEMPLATE

from core.reasoners import create_reasoner
from core.settings import PipelineSettings
from core.types import Answer, Status

ROOT = Path(__file__).resolve().parents[3]
REQUEST = request_of()


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """Address, a model that sees pictures, and one whose folder gives the server a bare tokenizer: the trap."""
    home = tmp_path_factory.mktemp("served")
    seeing, blind = (variant(folder, home / name, which) for name, which in VARIANTS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("serve_image_only.py"))]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, home / "log")
        yield f"http://127.0.0.1:{port}/v1", seeing, blind
    finally:
        process.terminate()
        process.wait(20)


VARIANTS = (("seeing", None), ("blind", "PreTrainedTokenizerFast"))


def variant(folder: Path, to: Path, processor: str | None) -> Path:
    shutil.copytree(folder, to)
    images = json.loads((to / "preprocessor_config.json").read_text())
    del images["processor_class"]
    (to / "preprocessor_config.json").write_text(
        json.dumps(images | ({"processor_class": processor} if processor else {}))
    )
    tokenizer = json.loads((to / "tokenizer_config.json").read_text())
    (to / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"chat_template": TEMPLATE}))
    return to


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def address(served: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", served[0])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return served[0]


def settings_for(folder: Path) -> PipelineSettings:
    return PipelineSettings(
        reasoner="openai", reasoner_model=str(folder), max_new_tokens=8, max_visual_tokens=96, temperature=0.0
    )


def in_order(answer: Answer) -> bool:
    """A class of the project, an abstention, or a failure with its reason."""
    if answer.status is Status.OK:
        return answer.flag in (10, 11, None) and bool(answer.explanation)
    return answer.status is Status.FAILED and answer.flag is None and bool(answer.reason)


def test_a_real_server_answers_in_order_and_what_it_lacks_is_said(address: str, served: tuple[str, Path, Path]) -> None:
    told: list[str] = []
    reasoner = create_reasoner("openai", settings_for(served[1]))
    try:
        answers = [reasoner.reason(REQUEST), reasoner.reason(replace(REQUEST, on_text=told.append))]
        assert all(in_order(answer) for answer in answers), answers
        assert reasoner.id == f"openai seeing at {address.removeprefix('http://').removesuffix('/v1')}"
        # it has neither structured outputs nor log-probabilities
        assert "gives no probabilities for the classes" in getattr(reasoner, "note", "")
        for answer in answers:
            assert "JSON object" in answer.transcript and answer.class_probabilities is None
            assert "cannot be reached" not in answer.reason and "drops pictures" not in answer.reason
    finally:
        reasoner.close()  # type: ignore[attr-defined]


def test_what_a_real_server_writes_comes_through_streamed_as_at_once(
    address: str, served: tuple[str, Path, Path]
) -> None:
    reasoner = create_reasoner("openai", settings_for(served[1]))
    server = reasoner._server  # type: ignore[attr-defined]
    asked = {"messages": [{"role": "user", "content": "Which?"}], "max_tokens": 12, "temperature": 0.0}
    told: list[str] = []
    try:
        with server.answering():
            at_once, streamed = server.complete(asked), server.complete(asked, told.append)
        whole = at_once.text.rstrip("�")  # half a character at the end is not streamed
        assert whole and whole == streamed.text.rstrip("�") and told[-1] == streamed.text and len(told) > 1
        assert (at_once.prompt_tokens or 0) > 10
    finally:
        reasoner.close()  # type: ignore[attr-defined]


def test_a_real_server_that_drops_pictures_is_noticed(address: str, served: tuple[str, Path, Path]) -> None:
    reasoner = create_reasoner("openai", settings_for(served[2]))
    try:
        answer = reasoner.reason(REQUEST)
        assert answer.status is Status.FAILED and answer.flag is None and "drops pictures" in answer.reason
    finally:
        reasoner.close()  # type: ignore[attr-defined]
