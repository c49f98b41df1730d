"""A run that is projected, and the network in its checkpoint."""

from typing import Any

from contnet import ContinuousNet
from contnet.runs.checkpoint import Record, resize

TRAINED = ("model.alpha=4", "refine.epochs=[1,2]", "epochs=3", "hydra.run.dir=run")
LAST = "run/checkpoints/last.ckpt"


def network_of(checkpoint: dict[str, Any]) -> ContinuousNet:
    """Return the network of that run, with the weights of a checkpoint."""
    network = ContinuousNet(in_channels=1, alpha=4, initial_time_d=1)
    resize(network, Record.of(checkpoint), n_time_steps_per=1)
    prefix = "network."
    network.load_state_dict(
        {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items()}
    )
    return network.eval()
