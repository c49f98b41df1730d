"""Training with compile=true."""

import pytest
from torch._dynamo.testing import CompileCounter

from contnet import ContinuousNet
from tests.conftest import Run


@pytest.mark.long
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch.compile looks at it
@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_a_smaller_last_batch_costs_a_compiled_network_no_compilation(
    run: Run, monkeypatch: pytest.MonkeyPatch, gradient: str
) -> None:
    counter = CompileCounter()
    compile_module = ContinuousNet.compile
    monkeypatch.setattr(
        ContinuousNet, "compile", lambda self, **options: compile_module(self, backend=counter)
    )
    frames = []
    for batch_size in (1293, 1000):  # all images; all but 293
        counter.frame_count = 0
        options = (
            "epochs=1",
            "model.alpha=2",
            f"dataset.batch_size={batch_size}",
            f"scheme.gradient={gradient}",
        )
        assert run("train", *options, "compile=true", f"hydra.run.dir={batch_size}")[0] == 0
        frames.append(counter.frame_count)
    assert frames[0] == frames[1] > 0


@pytest.mark.long
def test_a_network_is_compiled_once_for_each_depth(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is compiled for the last, smaller batch of an epoch, for validation or testing."""
    counter = CompileCounter()
    compile_module = ContinuousNet.compile
    monkeypatch.setattr(
        ContinuousNet, "compile", lambda self, **options: compile_module(self, backend=counter)
    )
    code, _, _ = run("train", "epochs=3", "model.alpha=2", "refine.epochs=[1,2]", "compile=true")
    assert code == 0
    assert counter.frame_count == 3
