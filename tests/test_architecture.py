"""The house holds together: imports go one way, and the rules that no reader would notice being broken."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UI = ("streamlit", "fastapi", "starlette", "uvicorn", "typer", "rich", "plotly")
HEAVY = ("torch", "transformers", "onnxruntime", "onnx", "streamlit", "plotly", "sqlite_utils", "pandas")
PORTS = ("encoders", "indexes", "reasoners")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, also those inside functions; ``from a import b`` gives a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import absolutely"
            yield node.lineno, node.module or ""
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def under(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def offenders(paths: Iterator[Path], *forbidden: str, but: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        if name not in but:
            found += [f"{name}:{line} imports {m}" for line, m in imports(path) if under(m, *forbidden)]
    return found


def test_core_imports_no_delivery_code():
    assert offenders(sources("core"), *UI, "ragvision_app", "pages") == []


def test_the_app_imports_no_page():
    assert offenders(sources("ragvision_app"), "pages") == []


def test_only_the_inside_of_core_knows_a_concrete_adapter():
    adapters = tuple(
        f"core.{port}.{path.stem}"
        for port in PORTS
        for path in (ROOT / "core" / port).glob("*.py")
        if not path.stem.startswith("_")
    )
    assert adapters, "no adapter was found: this test would prove nothing"
    inside = tuple(p.relative_to(ROOT).as_posix() for port in PORTS for p in (ROOT / "core" / port).glob("*.py"))
    # the accuracy table and the bench name adapters to compare them; no part of the product does
    assert offenders(sources("core", "pages", "ragvision_app"), *adapters, but=inside) == []


def test_the_types_that_all_share_depend_on_nothing_above_them():
    allowed = {
        "core/types.py": (),
        "core/errors.py": (),
        "core/settings.py": ("core.errors",),
        "core/ports.py": ("core.errors", "core.types", "core.settings"),
    }
    for name, below in allowed.items():
        used = {m for _, m in imports(ROOT / name) if under(m, "core")}
        assert all(under(m, *below) for m in used), f"{name} imports {used}"


def test_nothing_but_the_facade_is_imported_by_the_pipeline():
    pure = [p for p in sources("core") if p.name in ("pipeline.py", "scoring.py", "contributions.py", "evidence.py")]
    assert pure
    assert offenders(iter(pure), "core.store", "core.workbench", "core.encoders", "core.reasoners", "core.runs") == []


def test_core_never_prints():
    found = []
    for path in sources("core"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("print", "breakpoint")
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_heavy_packages_load_only_when_needed():
    """The first page and ``--help`` must be up before a model could be."""
    code = f"import sys, ragvision_app.cli.commands, core.workbench; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_of_the_app_hides_a_standard_one():
    names = {p.stem for p in sources("ragvision_app")} | {
        p.name for p in (ROOT / "ragvision_app").iterdir() if p.is_dir()
    }
    # only the top level can be on sys.path (Streamlit puts the entry file's folder there)
    top = {p.stem for p in (ROOT / "ragvision_app").iterdir() if p.suffix == ".py" or p.is_dir()}
    assert names and not (top - {"__init__", "__main__", "__pycache__"}) & sys.stdlib_module_names


@pytest.mark.parametrize("pattern", ["TODO", "FIXME", "raise NotImplementedError"])
def test_no_unfinished_part_is_left(pattern):
    found = [
        p.relative_to(ROOT).as_posix() for p in sources("core", "ragvision_app", "pages") if pattern in p.read_text()
    ]
    assert found == []


def test_no_file_names_a_machine_or_a_package_index():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    machine = re.compile(r"(?<![\w.])/(work|root|farm|home/[a-z]+)/")
    index = re.compile(r"--(extra-)?index-url|pypi\.org/simple|files\.pythonhosted|download\.pytorch")
    found = []
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file() or path.suffix in (".png", ".onnx", ".jpg"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if machine.search(line) or index.search(line):
                found.append(f"{name}:{number}: {line.strip()[:120]}")
    assert found == []
