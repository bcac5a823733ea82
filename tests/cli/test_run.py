"""``run``: which project, what is imported once, and a server that answers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from core.errors import ImportFailed
from ragvision_app import projects
from ragvision_app.demo import NOTICE
from tests.cli.conftest import ROOT, picture


@pytest.fixture
def served(monkeypatch):
    """Projects that ``run`` would have served, instead of serving them."""
    calls = []
    monkeypatch.setattr("ragvision_app.server.check_address", lambda *_: None)  # no real port
    monkeypatch.setattr("ragvision_app.server.serve", lambda project, **options: calls.append((project, options)))
    return calls


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A projects folder of this test's own."""
    monkeypatch.setattr(projects, "PROJECTS", tmp_path / "projects")
    monkeypatch.setattr(projects.project_of, "__defaults__", (tmp_path / "projects",))
    return tmp_path / "projects"


def test_a_folder_of_images_gets_a_project_named_after_it(call, served, home, tmp_path):
    picture(tmp_path / "My photos" / "one.png", "dots", 1)
    done = call("run", "--images", tmp_path / "My photos", "--port", "8777")
    assert done.code == 0 and "1 image added." in done.out
    project, options = served[0]
    assert project == home / "My-photos" and (project / "labels.db").is_file() and options["port"] == 8777


def test_an_unchanged_folder_is_not_imported_again(call, served, home, tmp_path):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    assert "1 image added." in call("run", "--images", tmp_path / "photos").out
    assert call("run", "--images", tmp_path / "photos").out == ""
    picture(tmp_path / "photos" / "two.png", "dots", 2)
    assert "1 image added, 1 duplicate." in call("run", "--images", tmp_path / "photos").out
    assert [project for project, _ in served] == [home / "photos"] * 3


def test_an_interrupted_import_goes_on_in_the_same_project(call, served, home, tmp_path, monkeypatch):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    with monkeypatch.context() as broken:

        def stop(*_args, **_kwargs):
            raise KeyboardInterrupt

        broken.setattr("core.imports.import_images", stop)
        assert call("run", "--images", tmp_path / "photos").code == 130
    assert served == []
    assert "1 image added." in call("run", "--images", tmp_path / "photos").out
    assert served[0][0] == home / "photos"


def test_two_folders_of_the_same_name_get_two_projects(call, served, home, tmp_path):
    for parent in ("a", "b"):
        picture(tmp_path / parent / "images" / "one.png", "dots", ord(parent))
        assert call("run", "--images", tmp_path / parent / "images").code == 0
    first, second = (project for project, _ in served)
    assert first == home / "images" and second.name.startswith("images-") and second.parent == home


@pytest.mark.parametrize(("name", "expected"), [("...", "images"), ("ü 😀", "ü"), ("a/../b c", "b-c")])
def test_a_projects_name_is_one_safe_folder_name(tmp_path, name, expected):
    (tmp_path / name).mkdir(parents=True, exist_ok=True) if name != "a/../b c" else (tmp_path / "b c").mkdir()
    folder = tmp_path / ("b c" if "/" in name else name)
    assert projects.project_of(folder, tmp_path / "projects").parent == tmp_path / "projects"
    assert projects.project_of(folder, tmp_path / "projects").name == expected


def test_a_missing_folder_of_images_is_a_sentence(tmp_path):
    with pytest.raises(ImportFailed, match="is not a folder"):
        projects.project_of(tmp_path / "nothing", tmp_path)


def test_a_named_project_is_served_as_it_is(call, served, tmp_path):
    assert call("run", "--project", tmp_path / "cells", "--host", "127.0.0.1").code == 0
    assert served[0][0] == tmp_path / "cells" and not (tmp_path / "cells").exists()


def test_demo_fills_a_project_that_is_not_there_and_leaves_one_that_is(call, served, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("ragvision_app.cli.demo.make_demo", made.append)
    call("run", "--demo", "--project", tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "labels.db").touch()
    call("run", "--demo", "--project", tmp_path / "old")
    assert made == [tmp_path / "new"]


def test_a_project_that_is_not_the_demo_is_not_passed_off_as_the_demo(call, served, tmp_path, monkeypatch):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    call("import", tmp_path / "photos", "--project", tmp_path / "mine")
    done = call("run", "--demo", "--project", tmp_path / "mine")
    assert done.code == 0 and "is not the demo" in done.err and str(tmp_path / "mine") in done.err
    (tmp_path / "mine" / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")
    assert call("run", "--demo", "--project", tmp_path / "mine").err == ""


@pytest.mark.parametrize("file", [None, "notes.txt", "broken.jpg"])
def test_a_folder_without_an_image_leaves_no_project_behind(call, served, home, tmp_path, file):
    (tmp_path / "photos").mkdir()
    if file:
        (tmp_path / "photos" / file).write_text("no image")
    done = call("run", "--images", tmp_path / "photos")
    assert done.code == 1 and "Error:" in done.err and served == []
    assert not (home / "photos").exists()


def test_a_port_that_is_taken_is_found_out_before_anything_is_imported(call, home, tmp_path):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("run", "--images", tmp_path / "photos", "--port", port)
    assert done.code == 1 and f"Port {port} is taken" in done.err
    assert "--port" in done.err and "make run PORT=" in done.err
    assert not home.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_who_serves_other_machines_is_told_that_the_link_is_for_this_one(call, served, home, tmp_path, host, capfd):
    done = call("run", "--project", tmp_path / "p", "--host", host)
    served[0][1]["announce"]("http://127.0.0.1:8501/label")
    assert done.code == 0
    assert ("From another machine" in capfd.readouterr().out) == (host == "0.0.0.0")


def test_a_real_server_answers_on_its_pages_and_its_api(tmp_path):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    command = [sys.executable, "-m", "ragvision_app", "run", "--project", str(tmp_path / "p"), "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as stdout:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.STDOUT, env={**os.environ})
        try:
            link = wait_for_link(process, log)
            base = link.rsplit("/label", 1)[0]
            with urllib.request.urlopen(link, timeout=30) as page:
                assert page.status == 200
            with urllib.request.urlopen(f"{base}/api/readiness", timeout=30) as answer:
                assert json.load(answer)["project"] == "p"
            port = base.rsplit(":", 1)[1]
            health = subprocess.run([*command[:3], "healthcheck", "--port", port], cwd=ROOT, check=False)
            assert health.returncode == 0
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    assert "Traceback" not in log.read_text()


def wait_for_link(process, log):
    while process.poll() is None:
        found = re.search(r"http://\S+/label\S*", log.read_text())
        if found:
            return found[0]
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the server ended: {log.read_text()}")
