"""Logging in at a real provider, in a real browser, and labelling as the person that it names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from oidc_provider import CLIENT, Provider, running_provider
from playwright.sync_api import Page, expect
from test_hot_loop import ROOT, make_images

from core.imports import folder_source
from core.store import Store
from core.workbench import Workbench

pytestmark = pytest.mark.browser
TOKEN = "a-token-of-mine"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "cells"
    make_images(tmp_path / "photos", 6, 1, bright=True)
    workbench = Workbench.open(root)
    workbench.store.add_class("bright")
    workbench.store.add_class("dark")
    with folder_source(tmp_path / "photos") as source:
        workbench.import_images([source])
    workbench.close()
    return root


@contextmanager
def running(project: Path, provider: Provider | None = None, **environment: str) -> Iterator[str]:
    """The server, started from a folder whose ``.streamlit/secrets.toml`` names the provider; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    if provider is not None:
        (project.parent / ".streamlit").mkdir()
        (project.parent / ".streamlit" / "secrets.toml").write_text(
            f'[auth]\nredirect_uri = "{base}/oauth2callback"\ncookie_secret = "a-cookie-secret-of-thirty-two-chars"\n'
            f'client_id = "{CLIENT}"\nclient_secret = "s"\n'
            f'server_metadata_url = "{provider.issuer}/.well-known/openid-configuration"\n'
        )
    command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(project), "--port", str(port)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAGVISION_")}
    process = subprocess.Popen(
        command,
        cwd=project.parent,
        env=clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert any("http" in line for line in process.stdout), "the server did not start"
        yield base
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.mark.parametrize("token", ["", TOKEN], ids=["loopback", "with-token"])
def test_who_logs_in_labels_under_that_name_and_no_other(
    page: Page, project: Path, provider: Provider, token: str
) -> None:
    with running(project, provider, RAGVISION_TOKEN=token) as base:
        # with a token: the way back from the provider comes from another site, so the Strict cookie is sent on reload
        page.goto(f"{base}/label?annotator=eve" + (f"&token={token}" if token else ""))
        page.get_by_role("button", name="Log in", exact=True).click()
        expect(page.locator(".rv-reviewer .rv-stage img").first).to_be_visible(timeout=30_000)
        expect(page).to_have_url(re.compile(r"annotator=ada%40lab\.example"))
        expect(page.get_by_role("textbox", name="Your name")).to_have_count(0)
        page.keyboard.press("1")
        expect(page.locator(".rv-reviewer")).to_contain_text("1 labelled")
        expect(page.get_by_role("button", name="All saved")).to_be_visible()
        # by the same browser, with its cookies, in another's name
        statuses = page.evaluate(
            """async (names) => Promise.all(names.map(async (annotator) => (await fetch("/api/queue", {
                 method: "POST", headers: {"Content-Type": "application/json"},
                 body: JSON.stringify({annotator, limit: 1}) })).status))""",
            ["ada@lab.example", "eve"],
        )
        assert statuses == [200, 403]
        assert httpx.post(f"{base}/api/queue", json={"annotator": "eve", "limit": 1}).status_code == 401
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()
        assert page.evaluate("async () => (await fetch('/api/labels')).status") == 401
    with Store.open(project / "labels.db") as store:
        assert [label.annotator for label in store.labels()] == ["ada@lab.example"]


def test_a_label_token_opens_the_label_page_alone_until_it_is_revoked(page: Page, project: Path) -> None:
    with Store.open(project / "labels.db") as store:
        record, token = store.create_token("ada", "label")
        with running(project, RAGVISION_TOKEN=TOKEN) as base:
            page.goto(f"{base}/label?annotator=ada&token={token}")
            expect(page.locator(".rv-reviewer .rv-stage img").first).to_be_visible(timeout=30_000)
            assert token not in page.url
            page.keyboard.press("1")
            expect(page.locator(".rv-reviewer")).to_contain_text("1 labelled")
            expect(page.get_by_role("button", name="All saved")).to_be_visible()
            expect(page.get_by_role("link", name="Support", exact=True)).to_have_count(0)
            page.goto(f"{base}/support")
            expect(page.get_by_role("textbox", name="Your name")).to_be_visible(
                timeout=30_000
            )  # Label's first question
            store.revoke_token(record.id)
            assert page.evaluate("async () => (await fetch('/api/labels')).status") == 401
            page.reload()
            expect(page.get_by_text("asks for its token")).to_be_visible()
