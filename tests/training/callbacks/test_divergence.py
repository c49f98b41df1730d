from pathlib import Path

import torch

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
