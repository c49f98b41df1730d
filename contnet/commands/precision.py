"""The precision `auto`: the one that suits this machine."""

import torch
from omegaconf import DictConfig


def on_this_machine(config: DictConfig) -> DictConfig:
    """Replace `trainer.precision=auto` by a precision, so that a checkpoint names the real one.

    The precision is bf16-mixed if the device multiplies in bfloat16 faster than in float32, and
    32-true otherwise.
    """
    if config.trainer.precision != "auto":
        return config
    config = config.copy()
    accelerator = config.trainer.accelerator
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bfloat16 = accelerator in ("cpu", "auto") and _cpu_has_bfloat16()
    config.trainer.precision = "bf16-mixed" if has_bfloat16 else "32-true"
    return config


def _cpu_has_bfloat16() -> bool:
    """Return True if the processor multiplies in bfloat16 itself; emulation is slow."""
    # Private in PyTorch 2.9, which has no public names for them.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
