"""A compilation is announced, and its time is told."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from contnet import ContinuousNet
from contnet.commands import build
from contnet.ode.depth_time import depth_time
from contnet.training.callbacks.compiling import CompilationTime
from contnet.training.callbacks.refinement import DepthRefinement
from tests.configuration import composed


def test_each_compilation_is_told_before_and_after(caplog: pytest.LogCaptureFixture) -> None:
    network = ContinuousNet(alpha=2)
    module: Any = SimpleNamespace(network=network, compile_for=4)
    trainer: Any = SimpleNamespace(is_global_zero=True)
    callback = CompilationTime()
    callback.on_train_start(trainer, module)
    told = []
    with caplog.at_level(logging.INFO):
        for n_images in (3, 4, 4, 3, 4):  # smaller batches are not compiled
            if len(told) == 3:
                depth = depth_time(network)
                assert depth is not None
                depth.refine()
            batch = torch.zeros(n_images), torch.zeros(n_images)
            callback.on_train_batch_start(trainer, module, batch, 0)
            callback.on_train_batch_end(trainer, module, None, batch, 0)
            told.append([record.message.split()[0] for record in caplog.records])
            caplog.clear()
    assert told == [[], ["compiling", "compiled"], [], [], ["compiling", "compiled"]]
    other: Any = SimpleNamespace(is_global_zero=False)
    silent = CompilationTime()
    silent.on_train_start(other, module)
    silent.on_train_batch_start(other, module, batch, 0)
    assert caplog.records == []


def test_a_compilation_that_a_refinement_asks_for_is_announced_in_the_same_batch() -> None:
    config = composed("compile=true", "refine.at=[0.5]", "refine.to=[2]", "model.alpha=2")
    data = build.data(config.dataset, train=True)
    classifier = build.classifier(config, build.network(config.model, data), data)
    callbacks: Any = build.trainer(config, classifier, data).callbacks  # type: ignore[attr-defined]
    kinds = [type(callback) for callback in callbacks]
    assert kinds.index(DepthRefinement) < kinds.index(CompilationTime)
