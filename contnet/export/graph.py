"""The graph of a trained network: from images to logits, with one manifestation unrolled."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from contnet.data.preprocessing import PIXELS, Preprocessing
from contnet.errors import ConfigError, described
from contnet.ode import statistics
from contnet.ode.depth_time import depth_time
from contnet.serving.trained import TrainedNetwork

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
"""The data type of the weights in each precision that PyTorch computes in."""

LONGEST = 300
"""Characters of PyTorch's reason in a message."""


class Graph(nn.Module):
    """Map images (N, C, H, W) to logits (N, number of classes) in float32.

    Images are normalised in float32. The network has the statistics of its present manifestation,
    and no others.

    Args:
        network: the trained network, which stays unchanged.
        dtype: the data type of the weights and of the states.
    """

    def __init__(self, network: TrainedNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.normalise = copy.deepcopy(network.normalise).float()
        self.network = copy.deepcopy(network.network)
        statistics.provide(self.network, ())
        self.network.to(dtype)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.normalise(images).to(self.dtype))
        return logits.float()


def random_images(preprocessing: Preprocessing, n_images: int) -> Tensor:
    """Return random images (N, C, H, W) of the type that a network takes, equal at each call."""
    generator = torch.Generator().manual_seed(0)
    shape = (n_images, *preprocessing.shape)
    if preprocessing.white != PIXELS:
        return torch.rand(shape, generator=generator)
    return torch.randint(PIXELS + 1, shape, dtype=torch.uint8, generator=generator)


def n_f_evals(network: TrainedNetwork) -> int:
    """Return the rate evaluations of a forward pass in the present manifestation, all blocks."""
    depth = depth_time(network.network)
    blocks = depth.blocks if depth else ()
    return sum(block.settings.manifestation.n_f_evals or 0 for block in blocks)


def traced(network: TrainedNetwork, precision: str) -> ExportedProgram:
    """Return the graph of a network for batches of any size.

    Raises:
        ConfigError: if torch.export cannot trace the network.
    """
    graph = Graph(network, DTYPES[precision])
    # More than one image: the batch would otherwise be taken for a constant.
    images = random_images(network.preprocessing, 4)
    try:
        with torch.no_grad(), quiet_torch():
            program = torch.export.export(
                graph, (images,), dynamic_shapes={"images": {0: Dim("batch", min=1)}}
            )
    except Exception as error:  # of any kind: the network may be the user's own
        raise ConfigError(
            f"ckpt_path: torch.export cannot trace the network; {described(error)[:LONGEST]}"
        ) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            # A file would otherwise tell the folders of the machine that wrote it.
            node.meta.pop("stack_trace", None)
    return program


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence what PyTorch and ONNX Runtime remark about themselves while they export."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
