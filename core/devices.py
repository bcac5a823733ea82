"""Where models of torch run: the first GPU, or the processor, as the setting ``device`` says."""

from __future__ import annotations

from core.errors import ModelUnavailable

GPU = "cuda:0"


def gpu_precision(wanted: str) -> str | None:
    """The precision of a model on the GPU (bfloat16 where it has that, else float16); None: it runs on the processor.

    ``wanted`` is auto, cpu or cuda. Raises ModelUnavailable where a GPU is asked for and torch finds none.
    """
    import torch

    if wanted == "cpu":
        return None
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if wanted == "cuda":
        raise ModelUnavailable(
            "The setting device is “cuda”, and torch finds no GPU on this machine. Choose auto or cpu, or install a "
            "torch built for your GPU and its driver."
        )
    return None
