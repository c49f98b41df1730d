from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from contnet.training.callbacks import divergence
from tests.conftest import Run
from tests.processes import train
from tests.runs.small import SMALL


def test_a_loss_that_is_no_number_ends_the_run_with_the_step_and_the_rate(
    run: Run, tmp_path: Path
) -> None:
    poison = "poison_weights_at_batch:2:1"
    done = train(*SMALL, "hydra.run.dir=run", folder=tmp_path, fault=poison)
    assert done.returncode == 1
    step = 2 * 21 + 2
    assert (
        f"error: the loss has been NaN or infinite since step {step} (epoch 2, lr 0.1); lower"
        in done.stderr
    )
    assert done.stderr.endswith("to resume: python train.py ckpt_path=last hydra.run.dir=run\n")
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    code, _, err = run(
        "train", "epochs=2", "model.alpha=2", "optimizer.lr=1e30", "hydra.run.dir=hot"
    )
    assert (code, "no checkpoint was saved yet" in err) == (1, True)


@pytest.mark.parametrize(
    "end", [{"max_steps": 3}, {"should_stop": True}, {"is_last_batch": True}], ids=str
)
def test_the_loss_of_several_processes_is_read_before_a_run_ends_within_an_epoch(
    end: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the last checkpoint of a run with `max_steps` would be one of NaN, without a word."""
    monkeypatch.setattr(divergence.distributed, "all_reduce", lambda tensor, op: None)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    state = {"world_size": 2, "current_epoch": 0, "optimizers": [optimizer], "global_step": 3}
    goes_on = {"max_steps": -1, "should_stop": False, "is_last_batch": False}
    module = SimpleNamespace(device=torch.device("cpu"))
    watch = divergence.DivergenceWatch()
    watch.on_train_start(SimpleNamespace(**state, **goes_on), module)
    diverged = {"loss": torch.tensor(torch.nan)}
    watch.on_train_batch_end(SimpleNamespace(**state, **goes_on), module, diverged, None, 2)
    with pytest.raises(divergence.DivergedError, match="since step 2"):
        watch.on_train_batch_end(
            SimpleNamespace(**state, **{**goes_on, **end}), module, diverged, None, 2
        )
