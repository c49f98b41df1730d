"""The private names of libraries that the package uses: all of them, each with a test.

An upgrade that renames one fails here, and not in a run.
"""

import ast
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

import contnet

PRIVATE = {
    "_average_model": "Lightning: the average is resized before a checkpoint is loaded into it",
    "_buffers": "PyTorch: replacing a buffer by its public name takes ten times as long",
    "_dynamo": "PyTorch: the limit of recompilations, which has no public name in 2.9",
    "_exit": "Python: a process that prepares batches ends without its parent's clean-up",
    "_get_root": "OmegaConf: the keys that a wrong one may have been meant as",
    "_is_amx_tile_supported": "PyTorch: this CPU computes with bfloat16",
    "_is_avx512_bf16_supported": "PyTorch: this CPU computes with bfloat16",
    "_modules": "PyTorch: listing modules by a public name takes several times as long",
    "_version": "PyTorch: how often a tensor was changed in place, which autograd itself checks",
}
"""Private names of other packages, and what they are needed for."""


def private_names(tree: ast.Module) -> set[str]:
    """Return the private names that are read from an object or a module, or imported."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names} | set(str(node.module).split("."))
    return {name for name in names if name.startswith("_") and not name.endswith("_")}


def own_names(tree: ast.Module) -> set[str]:
    """Return the names that are defined or assigned."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if ast.unparse(node.value) == "self" else set()
    return found


def test_the_package_uses_no_private_names_of_others_but_these() -> None:
    files = Path(contnet.__file__).parent.rglob("*.py")
    trees = [ast.parse(file.read_text()) for file in files]
    own = set().union(*map(own_names, trees))
    assert set().union(*map(private_names, trees)) - own == PRIVATE.keys()


def test_the_average_of_lightnings_callback_holds_the_module_that_it_averages() -> None:
    callback = WeightAveraging()
    assert callback._average_model is None
    module = LightningModule()
    module.linear = nn.Linear(2, 2)
    callback.setup(Trainer(accelerator="cpu", logger=False), module, "fit")
    assert isinstance(callback._average_model, AveragedModel)
    assert torch.equal(callback._average_model.module.linear.weight, module.linear.weight)


def test_the_limit_of_recompilations_can_be_changed_for_a_while() -> None:
    before = torch._dynamo.config.recompile_limit
    with torch._dynamo.config.patch(recompile_limit=before + 1):
        assert torch._dynamo.config.recompile_limit == before + 1
    assert torch._dynamo.config.recompile_limit == before


def test_omegaconf_finds_the_root_of_a_configuration() -> None:
    config = OmegaConf.create({"model": {"alpha": 2}})
    assert config.model._get_root() is config


@pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_pytorch_says_whether_a_cpu_computes_with_bfloat16(name: str) -> None:
    assert getattr(torch.cpu, name)() in (True, False)


def test_pytorch_counts_the_changes_of_a_tensor_in_place() -> None:
    tensor = torch.zeros(2)
    before = tensor._version
    tensor.add(1)
    assert tensor._version == before
    with torch.inference_mode():
        tensor[0] = 1
    assert tensor._version == before + 1
