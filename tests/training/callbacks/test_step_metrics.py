"""Figures of single steps, every so many steps."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from contnet.training.callbacks import step_metrics
from contnet.training.callbacks.step_metrics import StepMetrics, gradient_norm
from tests.training.callbacks.small import batches, fit, shown

pytestmark = pytest.mark.filterwarnings("ignore")  # remarks of Lightning


class Linear(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 3))


def test_every_so_many_steps_loss_rate_and_gradient_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    monkeypatch.setattr(
        step_metrics, "gradient_norm", lambda o: computed.append(o) or gradient_norm(o)
    )
    network = Linear()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    options: dict[str, Any] = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.01}
    fit(network, tmp_path, StepMetrics(), log_every_n_steps=3, **options)
    events = shown(tmp_path)
    steps = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in ("loss/train_step", "optimizer/lr", "optimizer/grad_norm")
    }
    assert [step for step, _ in steps["loss/train_step"]] == [0, 3]  # of four
    assert [value for _, value in steps["optimizer/lr"]] == pytest.approx([0.1, 0.01])
    assert len(computed) == 2
    network.load_state_dict(start)
    losses = [
        nn.functional.cross_entropy(network((images - 127.5) / 51), labels)
        for images, labels in batches()[:2]
    ]
    gradients = torch.autograd.grad(sum(losses) / 2, list(network.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    assert norm > 0.01  # the norm that is shown has not been clipped
    assert steps["optimizer/grad_norm"][0] == (0, pytest.approx(norm, rel=1e-4))
    assert steps["loss/train_step"][0] == (0, pytest.approx(losses[1].item(), rel=1e-4))


def test_no_interval_and_no_tensorboard_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_metrics, "gradient_norm", lambda optimizer: pytest.fail("computed"))
    fit(Linear(), tmp_path, StepMetrics(), log_every_n_steps=0)
    fit(Linear(), tmp_path, StepMetrics(), logger=[])


class Fused(torch.optim.SGD):
    _step_supports_amp_scaling = True


@pytest.mark.parametrize(("kind", "factor"), [(torch.optim.SGD, 1.0), (Fused, 8.0)])
def test_a_gradient_that_is_still_scaled_for_16_bits_is_shown_without_the_scale(
    monkeypatch: pytest.MonkeyPatch, kind: type[torch.optim.SGD], factor: float
) -> None:
    scaler = SimpleNamespace(get_scale=lambda: 8.0)
    trainer: Any = SimpleNamespace(
        global_step=0,
        log_every_n_steps=1,
        accumulate_grad_batches=1,
        precision_plugin=SimpleNamespace(scaler=scaler),
    )
    logged: dict[str, float] = {}
    logger = SimpleNamespace(log_metrics=lambda figures, step: logged.update(figures))
    monkeypatch.setattr(step_metrics, "tensorboard_of", lambda trainer: logger)
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = factor * torch.tensor([3.0, 4.0])
    callback, nothing = StepMetrics(), SimpleNamespace()
    callback.on_before_optimizer_step(trainer, nothing, kind([parameter], lr=0.1))  # type: ignore[arg-type]
    callback.on_train_batch_end(trainer, nothing, {"loss": torch.tensor(1.0)}, None, 0)  # type: ignore[arg-type]
    assert logged == {"step_loss": 1.0, "lr": 0.1, "grad_norm": 5.0}


def test_the_norm_of_a_gradient_of_16_bits_does_not_overflow() -> None:
    parameters = [nn.Parameter(torch.zeros(1, dtype=torch.float16)) for _ in range(3)]
    gradient: Tensor = torch.tensor([50_000.0], dtype=torch.float16)
    for parameter in parameters[:2]:
        parameter.grad = gradient
    norm = gradient_norm(torch.optim.SGD(parameters, lr=0.1)).item()
    assert norm == pytest.approx(gradient.item() * 2**0.5)
