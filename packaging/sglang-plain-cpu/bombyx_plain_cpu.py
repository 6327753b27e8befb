# ruff: noqa: INP001 - a module of its own wheel, beside no other
"""A platform of SGLang: PyTorch on the CPU with no kernels of SGLang's own.

SGLang asks every plug-in of the group `sglang.srt.platforms` whether it takes the machine over. One
that said yes on a GPU host would hijack it, so `activate` says no unless the worker switched it on
and PyTorch sees no GPU.
"""

import os

import torch
from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import PlatformCapabilities, SRTPlatform

SWITCH = "BOMBYX_SGLANG_PLAIN_CPU"


def activate() -> str | None:
    """The platform's dotted name, or None to stay out."""
    if os.environ.get(SWITCH) != "1" or torch.cuda.is_available():
        return None
    return "bombyx_plain_cpu.PlainCpu"


class PlainCpu(CpuDeviceMixin, SRTPlatform):
    """Answers of a machine that has nothing but PyTorch."""

    # `PlatformEnum.CPU` would call kernels that no package index has for the CPU.
    _enum = PlatformEnum.OOT
    device_name = "cpu"
    device_type = "cpu"
    capabilities = PlatformCapabilities()

    def is_pin_memory_available(self, device: object = None) -> bool:  # noqa: ARG002
        """There is no device to copy to."""
        return False

    def get_default_attention_backend(self) -> str:
        """PyTorch's own attention."""
        return "torch_native"

    def get_dispatch_key_name(self) -> str:
        """Custom operations in their plain PyTorch form."""
        return "native"

    def get_compile_backend(self, mode: str | None = None) -> str:  # noqa: ARG002
        """No compiler is needed at run time."""
        return "eager"
