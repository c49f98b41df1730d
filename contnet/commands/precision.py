"""What trainer.precision=auto means on this machine."""

import torch
from omegaconf import DictConfig


def on_this_machine(config: DictConfig) -> DictConfig:
    """The configuration with what trainer.precision=auto means here, so that a checkpoint says what it was trained in:
    bf16-mixed where the device multiplies in bfloat16 faster than in float32, else 32-true."""
    if config.trainer.precision != "auto":
        return config
    config = config.copy()
    on_gpu = config.trainer.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
    if on_gpu:
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # With neither of these, bfloat16 is emulated on a CPU, and slow.
        has_units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        has_bfloat16 = config.trainer.accelerator in ("cpu", "auto") and has_units
    config.trainer.precision = "bf16-mixed" if has_bfloat16 else "32-true"
    return config
