import pytest
import torch

from contnet.commands.precision import on_this_machine
from tests.configuration import composed


@pytest.mark.parametrize(
    ("options", "has_gpu", "units", "precision"),
    [
        (["trainer=cpu"], True, {"amx"}, "bf16-mixed"),
        (["trainer=cpu"], True, {"avx512_bf16"}, "bf16-mixed"),
        (["trainer=cpu"], True, {"gpu"}, "32-true"),
        (["trainer=gpu"], True, {"gpu"}, "bf16-mixed"),
        (["trainer=gpu"], True, {"amx"}, "32-true"),
        (["trainer=ddp", "trainer.precision=auto"], True, {"gpu"}, "bf16-mixed"),
        (["trainer=ddp", "trainer.precision=auto"], False, {"amx"}, "bf16-mixed"),
        (["trainer=cpu", "trainer.precision=32-true"], False, {"amx"}, "32-true"),
        (["trainer=default"], True, {"amx", "gpu"}, "32-true"),
    ],
)
def test_precision_follows_the_device(
    options: list[str],
    has_gpu: bool,
    units: set[str],
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: "gpu" in units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: "amx" in units)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: "avx512_bf16" in units)
    assert on_this_machine(composed(*options)).trainer.precision == precision
