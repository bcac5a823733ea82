"""``transformers serve`` with a processor of Qwen2-VL that needs no torchvision; the arguments are the command's own.

Run as a program by the fixture of a real server; what is registered here is what a user's torchvision would bring.
"""

from __future__ import annotations

import sys

from transformers import AutoProcessor, Qwen2VLConfig
from transformers.cli.transformers import main

from core.reasoners._image_processor import ImageOnlyQwenProcessor

AutoProcessor.register(Qwen2VLConfig, ImageOnlyQwenProcessor, exist_ok=True)
sys.argv[:1] = ["transformers", "serve"]
main()
