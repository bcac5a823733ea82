"""Where models of torch run: what the setting says, held against what the machine has."""

from __future__ import annotations

import pytest
import torch

from core.devices import gpu_precision
from core.encoders._torch_patches import placement
from core.errors import InvalidSettings, ModelUnavailable
from core.reasoners import _loading
from core.settings import PipelineSettings


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with a GPU, as far as it is asked before anything is loaded."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 8))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_auto_is_the_processor_and_cuda_is_refused_with_what_to_do(no_gpu: None) -> None:
    assert gpu_precision("auto") is gpu_precision("cpu") is None
    assert placement("auto").words == "cpu · torch float32"
    with pytest.raises(ModelUnavailable, match=r"no GPU on this machine\. Choose auto or cpu"):
        gpu_precision("cuda")


def test_with_a_gpu_auto_takes_it_and_cpu_keeps_off_it(gpu: None) -> None:
    assert placement("auto") == placement("cuda") and placement("auto").device == "cuda:0"
    assert placement("cpu").device == "cpu"
    assert [c[0] for c in _loading._candidates("auto")] == ["cuda:0", "cpu", "cpu"]
    assert [c[0] for c in _loading._candidates("cuda")] == ["cuda:0"]
    assert [c[0] for c in _loading._candidates("cpu")] == ["cpu", "cpu"]


def test_half_precision_is_what_the_gpu_has(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_precision("auto") == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert gpu_precision("auto") == "float16"


def test_another_device_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="device is “tpu”; there are: auto, cpu, cuda"):
        PipelineSettings(device="tpu")
