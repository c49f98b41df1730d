"""The private names of libraries that the package uses: all of them, each with a test.

An upgrade that renames one fails here, and not in a run.
"""

import ast
from pathlib import Path

import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import nn

import contnet
from contnet.training.callbacks.averaging import ExponentialAverage

PACKAGE = Path(contnet.__file__).parent
PRIVATE = {
    "_average_model",  # Lightning: the averaged copy of the module, which refinement resizes
    "_get_root",  # OmegaConf: the whole configuration, in which a mistyped key is searched
    "_is_amx_tile_supported",  # torch: units for bfloat16; torch 2.9 has no public name
    "_is_avx512_bf16_supported",
}


def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text()) for file in sorted(PACKAGE.rglob("*.py"))]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_")


def own_names(tree: ast.Module) -> set[str]:
    """Return the names that a module defines, as a function, a class or a target."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def test_the_package_uses_no_other_private_name_of_a_library() -> None:
    own = set().union(*map(own_names, trees()))
    used = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.ImportFrom):
                used |= {alias.name for alias in node.names} | set(str(node.module).split("."))
    assert {name for name in used - own if is_private(name)} == PRIVATE


def test_lightnings_average_is_a_copy_of_the_module_under_its_private_name() -> None:
    for average in (EMAWeightAveraging(), ExponentialAverage(window=0.1)):
        assert average._average_model is None
        module = nn.Linear(2, 2)
        average._average_model = torch.optim.swa_utils.AveragedModel(module)
        assert isinstance(average._average_model.module, nn.Linear)
        assert average._average_model.module is not module


def test_omegaconfs_root_is_the_whole_configuration() -> None:
    config = OmegaConf.create({"model": {"alpha": 16}})
    assert config.model._get_root() is config


def test_torch_says_which_units_a_processor_has() -> None:
    for ask in (torch.cpu._is_amx_tile_supported, torch.cpu._is_avx512_bf16_supported):
        assert ask() in (True, False)
