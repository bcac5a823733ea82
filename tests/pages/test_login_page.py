"""Pages behind a login, and pages for a token of the scope label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_project import APP
from streamlit import config
from streamlit.runtime.secrets import secrets_singleton
from streamlit.testing.v1 import AppTest
from test_app_shell import sidebar_text

from core.workbench import Workbench
from ragvision_app import state
from ragvision_app.access import Scope

ADA = {"is_logged_in": True, "email": "ada@lab.example", "name": "Ada"}


@pytest.fixture
def auth(tmp_path: Path) -> Iterator[None]:
    before, path = config.get_option("secrets.files"), tmp_path / "secrets.toml"
    path.write_text('[auth]\nredirect_uri = "http://x/oauth2callback"\ncookie_secret = "s"\nclient_id = "c"\n')
    config.set_option("secrets.files", [str(path)])
    secrets_singleton._reset()
    yield
    config.set_option("secrets.files", before)
    secrets_singleton._reset()


def opened(name: str, user: dict[str, object] | None = None) -> AppTest:
    at = AppTest.from_file(str(APP), default_timeout=20)
    if user is not None:
        at.user = user  # type: ignore[assignment]
    at.run()
    return at.switch_page(f"../pages/{name}.py").run()


def texts(at: AppTest) -> str:
    return "\n".join(str(each.value) for kind in ("subheader", "caption", "warning") for each in getattr(at.main, kind))


@pytest.mark.parametrize("name", ["label", "support", "images", "runs", "export"])
def test_every_page_is_the_login_page_until_somebody_is_logged_in(auth: None, served: Workbench, name: str) -> None:
    at = opened(name)
    assert not at.exception
    assert [each.label for each in at.main.button] == ["Log in"] and "Log in" in texts(at)
    assert sidebar_text(at) == "" and not at.main.text_input  # neither the project's name nor anything else of it


def test_the_annotator_is_the_login_whatever_the_address_says(auth: None, served: Workbench) -> None:
    at = AppTest.from_file(str(APP), default_timeout=20)
    at.user = ADA  # type: ignore[assignment]
    at.query_params["annotator"] = "eve"
    at.run()
    at.switch_page("../pages/label.py").run()
    assert not at.exception
    assert at.session_state[state.ANNOTATOR] == "ada@lab.example"
    assert at.query_params["annotator"] in ("ada@lab.example", ["ada@lab.example"])
    assert not at.main.text_input  # nothing to edit
    assert "ada@lab.example" in sidebar_text(at)
    assert "Log out" in [each.label for each in at.sidebar.button]


def test_a_login_without_any_name_is_told_so(auth: None, served: Workbench) -> None:
    at = opened("label", {"is_logged_in": True})
    assert "neither an e-mail address nor a name" in texts(at)
    assert [each.label for each in at.main.button] == ["Log out"]


def test_without_a_configured_login_nothing_is_asked_or_shown(served: Workbench) -> None:
    at = opened("support")
    assert "Log" not in " ".join(each.label for each in [*at.main.button, *at.sidebar.button])


def test_with_a_label_token_the_label_page_is_all_there_is(served: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    # the header comes with a real websocket only; the browser test and test_access.py show that the guard sets it
    monkeypatch.setattr(state, "session_scope", lambda: Scope.LABEL)
    with pytest.raises(ValueError, match=r"Known pages: \['RAG Vision Workbench', '[^']*label.py'\]"):
        opened("support")
    at = opened("label")
    assert not at.exception and [each.label for each in at.main.text_input] == ["Your name"]
