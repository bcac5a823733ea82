"""What a model takes and what there is, told before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ModelUnavailable
from core.reasoners._local_model import LocalModel, choose_place, find_model, free_memory

GB = 10**9
MODEL = LocalModel("Qwen/Qwen2-VL-2B-Instruct", Path("x"), 2_200_000_000, 4_400_000_000, "0" * 12)


@pytest.mark.parametrize(
    ("free_gpu", "free_cpu", "expected"),
    [
        (80 * GB, 64 * GB, "cuda:0 · bfloat16"),
        (4 * GB, 64 * GB, "cpu · float32"),
        (4 * GB, 8 * GB, "cpu · bfloat16"),
        (4 * GB, None, "cpu · float32"),  # not known: tried
    ],
)
def test_the_best_place_that_it_fits_in_is_taken(free_gpu: int, free_cpu: int | None, expected: str) -> None:
    candidates = [("cuda:0", "bfloat16", free_gpu), ("cpu", "float32", free_cpu), ("cpu", "bfloat16", free_cpu)]
    place = choose_place(MODEL, candidates)
    assert place.shown == expected
    assert "Qwen2-VL-2B-Instruct (2,200,000,000 parameters) takes about" in place.sentence


def test_what_fits_nowhere_is_refused_with_what_it_takes_and_what_there_is() -> None:
    with pytest.raises(ModelUnavailable) as told:
        choose_place(MODEL, [("cuda:0", "bfloat16", 2 * GB), ("cpu", "bfloat16", 3 * GB)])
    assert "about 5.8 GB in bfloat16 (cuda:0: 2.0 GB free), or about 5.8 GB" in str(told.value)
    assert "reasoner_model" in str(told.value)


def test_free_memory_is_the_least_of_the_machine_and_the_container(tmp_path: Path) -> None:
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    group.mkdir()
    assert free_memory(meminfo, group) is None
    meminfo.write_text("MemTotal:       32000000 kB\nMemAvailable:   16000000 kB\n")
    assert free_memory(meminfo, group) == 16_000_000 * 1024
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("3000\n")
    (group / "memory.stat").write_text("anon 2000\ninactive_file 500\n")
    assert free_memory(meminfo, group) == 16_000_000 * 1024
    (group / "memory.max").write_text("10000\n")
    assert free_memory(meminfo, group) == 7_500


@pytest.mark.parametrize("name", ["no folder", "a/b/c", "../x", "", "https://example.org/x"])
def test_what_is_neither_a_folder_nor_an_id_is_said_so(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailable):
        find_model(name)


def test_a_fetched_model_is_found_where_the_hub_keeps_it_the_main_branch_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--some--model"
    for commit, size in (("a" * 40, 1), ("b" * 40, 2)):
        folder = kept / "snapshots" / commit
        folder.mkdir(parents=True)
        for name in ("config.json", "tokenizer_config.json"):
            (folder / name).write_text("{}")
        header = f'{{"x": {{"dtype": "F32", "shape": [{size}], "data_offsets": [0, {4 * size}]}}}}'.encode()
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * size))
    (kept / "refs").mkdir()
    for commit, parameters in (("a" * 40, 1), ("b" * 40, 2)):
        (kept / "refs" / "main").write_text(commit)
        found = find_model("some/model")
        assert (found.folder.name, found.parameters) == (commit, parameters)
    with pytest.raises(ModelUnavailable, match=f"looked for in {tmp_path}"):
        find_model("some/other")
