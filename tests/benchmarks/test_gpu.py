"""The kit for a GPU, on the CPU: its parts work, and find what they are meant to find."""

import ast
import json
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch import Tensor, nn

from benchmarks.gpu import correctness, graphs, record, running, steps, synchronisation, training
from benchmarks.gpu.__main__ import holds, table
from benchmarks.gpu.__main__ import main as kit_main
from benchmarks.gpu.images import loader_on_device, synthetic
from benchmarks.gpu.outcome import Line, Outcome, at_least, at_most, none_of
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.settings import Settings
from tests.processes import ROOT, interpreted

QUICK = Settings("cpu", quick=True)

PRESENT = (
    *("torch", "torchvision", "pytorch-lightning", "torchmetrics", "torchdiffeq", "tensorboard"),
    *("scikit-learn", "rich", "pillow", "matplotlib", "numpy", "onnx", "onnxruntime", "onnxscript"),
    *("safetensors", "pytest", "triton", "hydra-core", "omegaconf", "PyYAML"),
)
"""The packages of a bare CUDA image, and those that it is given. Theirs come with them."""


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_batches_made_on_the_device_are_those_of_the_loader() -> None:
    data = synthetic(QUICK)
    ours, usual = loader_on_device(data, 3, torch.device("cpu")), data.train_loader(3)
    for epoch in range(2):
        batches = []
        for loader in (ours, usual):
            sampler: Any = loader.sampler
            sampler.set_epoch(epoch)
            batches.append(list(loader))
        assert len(batches[0]) == 4
        for (images, labels), (usual_images, usual_labels) in zip(*batches, strict=True):
            assert torch.equal(images, usual_images)
            assert torch.equal(labels, usual_labels)


def test_an_error_is_the_largest_difference_over_the_largest_entry_of_its_kind() -> None:
    reference = {
        "output": [torch.tensor([1.0, -4.0])],
        "gradients": [torch.ones(2), torch.zeros(1)],
    }
    found = {
        "output": [torch.tensor([1.5, -4.0])],
        "gradients": [torch.ones(2), torch.tensor([-0.25])],
    }
    assert correctness.errors(found, reference) == {"output": 0.125, "gradients": 0.25}


class Drifting(nn.Module):
    """A module whose results differ from call to call, as if devices did not agree."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Drifting.calls += 1
        return x * (1 + 1e-3 * Drifting.calls)


class OnTwoDevices(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("Expected all tensors to be on the same device")


def test_modules_that_differ_or_fail_are_named() -> None:
    modules = {"same": nn.Identity, "drifts": Drifting, "fails": OnTwoDevices}
    x = torch.randn(2, 3)
    (line, _), figures = correctness.judged("all", modules, x, x, "cpu", torch.float32)
    named = "1 of 3; not drifts; fails (Expected all tensors to be on the same device)"
    assert (line.found, line.holds) == (named, False)
    assert figures["same"]["output"] == 0


def test_every_fixed_scheme_gradient_and_basis_is_compared_and_watched() -> None:
    cases = list(correctness.fixed_cases(quick=False))
    assert len(cases) == 7 * 2 * 4 + 5  # five schemes are torchdiffeq's too, for the adjoint
    assert sum(case.gradient == "adjoint" for case in cases) == 5
    adaptive = {case.scheme for case in correctness.adaptive_cases(quick=False)}
    assert {"dopri5", "tsit5", "torchdiffeq/dopri8", "torchdiffeq/scipy_solver"} <= adaptive


def test_a_step_that_reads_its_loss_waits_and_ours_does_not() -> None:
    case = correctness.Case("heun3", "checkpoint", "legendre")
    step = synchronisation.Steps(synchronisation.network_of(case, alpha=2), QUICK)
    step()
    assert synchronisation.never_waits(step, "cpu")

    def reading() -> None:
        step()
        step.network.head[-1].weight.sum().item()  # type: ignore[index]

    assert not synchronisation.never_waits(reading, "cpu")
    assert sum(synchronisation.waits(reading, "cpu").values()) == 1


def test_waits_are_told_by_what_pytorch_says_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def set_mode(mode: str) -> None:
        modes.append(mode)
        # PyTorch does so where the mode is set. It is no wait.
        warnings.warn("the mode does not yet detect all synchronizing operations", stacklevel=1)

    def step() -> None:
        if modes[-1] == "error":
            raise RuntimeError(synchronisation.MESSAGE)
        for _ in range(2):
            warnings.warn(synchronisation.MESSAGE, stacklevel=1)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not synchronisation.never_waits(step, "cuda")
        assert synchronisation.never_waits(lambda: None, "cuda")
        (times,) = synchronisation.waits(step, "cuda").values()
    assert times == 2
    assert modes == ["error", "default"] * 2 + ["warn", "default"]


def test_a_figure_is_judged_by_its_limit_or_not_at_all() -> None:
    assert at_most("x", 1.04, 1.05) == Line("x", "1.04", "at most 1.05", True)
    assert at_least("x", 4.9, 5, judged=True) == Line("x", "4.9", "at least 5", False)
    assert at_most("x", 2.0, 1.0, judged=False).holds is None
    assert at_most("x", float("nan"), 1.0).holds is False
    assert none_of("x", 5, ["a", "b", "c", "d"]).found == "1 of 5; not a; b; c; and 1 more"


@pytest.mark.parametrize(
    "part",
    [part for part in PARTS if part.name in ("correctness-adaptive", "other-graphs")],
    ids=lambda part: part.name,
)
def test_a_short_part_finds_what_holds_on_a_cpu(part: Part) -> None:
    outcome = part.run(QUICK)
    assert [line for line in outcome.lines if line.holds is False] == []
    assert any(line.holds for line in outcome.lines)


def test_a_training_waits_for_a_cpu_at_the_check_for_nan_alone() -> None:
    places = training.of_waits(QUICK).figures
    assert [name.partition(",")[0] for name in places] == [
        "_local_scalar_dense in contnet.training.callbacks.divergence"
    ]


def test_states_of_runs_differ_in_a_changed_or_a_missing_tensor() -> None:
    state = {"state_dict": {"w": torch.ones(2)}, "optimizer_states": [{"m": torch.zeros(1)}]}
    other = {"state_dict": {"w": torch.ones(2) + 1e-7}, "optimizer_states": []}
    assert training.unequal(state, state) == []
    assert training.unequal(state, other) == [".optimizer_states.0.m", ".state_dict.w"]


class Given(Part):
    """A part whose function is given."""

    def load(self) -> Any:
        return FUNCTIONS[self.function]


def found(settings: Settings) -> Outcome:
    return Outcome([at_most("threads", torch.get_num_threads(), 1)], {"device": settings.device})


def failing(settings: Settings) -> Outcome:
    raise ValueError("no such device")


def endless(settings: Settings) -> Outcome:
    time.sleep(60)
    raise AssertionError


FUNCTIONS: dict[str, Callable[[Settings], Outcome]] = {
    "found": found,
    "failing": failing,
    "endless": endless,
}


def given(name: str, minutes: float = 0, *, needs_cuda: bool = False) -> Part:
    return Given(name, "none", name, minutes, needs_cuda=needs_cuda)


Run = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def run_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run_parts(*parts, minutes=1, again=False)` -> records, with the results in a folder."""
    origin = {"sources": "1"}
    monkeypatch.setattr(record, "origin", lambda settings: origin)

    def call(
        *parts: Part, minutes: float = 1, again: bool = False, sources: str = "1"
    ) -> dict[str, dict[str, Any]]:
        origin["sources"] = sources
        return running.run_all(parts, Settings("cpu"), tmp_path, minutes, again=again)

    return call


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_part_with_a_result_is_repeated_only_when_asked_or_when_sources_change(
    run_parts: Run, tmp_path: Path
) -> None:
    def seconds(**how: Any) -> float:
        record = run_parts(given("found"), **how)["found"]
        assert record["figures"] == {"device": "cpu"}
        return float(record["seconds"])

    first = seconds()
    assert read(tmp_path / "found.json")["lines"][0]["holds"] is True
    assert seconds() == first
    assert seconds(again=True) != first
    second = seconds()
    assert seconds(sources="2") != second


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_parts_that_fail_or_do_not_fit_are_named_and_the_others_run(run_parts: Run) -> None:
    parts = [given("failing"), given("found"), given("endless", minutes=5)]
    records = run_parts(*parts, given("needing", needs_cuda=True), minutes=2)
    assert records["failing"]["error"] == "ValueError: no such device"
    assert "lines" in records["found"]
    assert records["endless"]["skipped"] == "not run: needs 5 minutes, and 2.0 are left"
    assert records["needing"]["skipped"] == "needs CUDA"
    assert [holds(one) for one in records.values()] == [False, True, True, True]
    assert table(records).row_count == 4


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_part_that_takes_too_long_is_ended(run_parts: Run) -> None:
    records = run_parts(given("endless"), given("found"), minutes=0.5 / 60)
    assert "when the time was over" in records["endless"]["error"]
    assert "0.0 are left" in records["found"]["skipped"]


def test_the_sources_are_told_by_their_contents(tmp_path: Path) -> None:
    for folder in record.SOURCES:
        (tmp_path / folder).mkdir()
    (tmp_path / "contnet" / "a.py").write_text("x = 1\n")
    before = record.digest(tmp_path)
    (tmp_path / "contnet" / "notes.md").write_text("not a source\n")
    assert record.digest(tmp_path) == before
    (tmp_path / "contnet" / "a.py").write_text("x = 2\n")
    assert record.digest(tmp_path) != before


def test_parts_can_be_sent_to_a_new_process_and_name_what_is_there() -> None:
    assert pickle.loads(pickle.dumps((PARTS, QUICK))) == (PARTS, QUICK)
    assert all(callable(part.load()) for part in PARTS)
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert graphs.NETWORKS.keys() >= {part.arguments.get("name") for part in PARTS} - {None}
    assert steps.BATCH_SIZES[-1] == 4096


def third_party(module: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the packages of others that a module imports with itself, or its imports do."""
    seen.add(module)
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = str(node.module)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top not in ("contnet", "benchmarks"):
                yield top
                continue
            for parent in (name.rsplit(".", n)[0] for n in range(name.count(".") + 1)):
                path = ROOT / parent.replace(".", "/")
                for file in (path.with_suffix(".py"), path / "__init__.py"):
                    if file.exists() and file not in seen:
                        yield from third_party(file, seen)


def absent() -> set[str]:
    """Return the packages that can be imported here, and not on a bare CUDA image."""
    present: set[str] = set()
    new = {canonicalize_name(name) for name in PRESENT}
    while new:
        present |= new
        needed = set()
        for name in new:
            try:
                requirements = distribution(name).requires or []
            except ModuleNotFoundError:  # of another platform
                continue
            for requirement in map(Requirement, requirements):
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    needed.add(canonicalize_name(requirement.name))
        new = needed - present
    own = {"contnet", "benchmarks", "tests", "examples"}
    return {
        package
        for package, owners in packages_distributions().items()
        if package not in own and not any(canonicalize_name(o) in present for o in owners)
    }


def test_the_kit_imports_only_what_a_bare_cuda_image_has() -> None:
    seen: set[Path] = set()
    imported = {
        package
        for file in (ROOT / "benchmarks" / "gpu").glob("*.py")
        for package in third_party(file, seen)
    }
    assert {"torch", "hydra", "omegaconf", "pytorch_lightning"} <= imported
    assert ROOT / "contnet" / "training" / "classifier.py" in seen
    assert imported & absent() == set()


@pytest.mark.long  # all parts, in a new interpreter
def test_the_whole_kit_runs_on_a_cpu_without_any_other_package(tmp_path: Path) -> None:
    blocked = sorted(absent())
    assert {"wandb", "optuna", "hypothesis"} <= set(blocked)
    program = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({blocked!r}))
sys.argv[1:] = ["--device", "cpu", "--quick", "--output", {str(tmp_path)!r}]
runpy.run_module("benchmarks.gpu", run_name="__main__", alter_sys=True)
"""
    done = interpreted("-c", program, folder=ROOT, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = read(tmp_path / "summary.json")["parts"]
    assert list(parts) == [part.name for part in PARTS]
    skipped = {name for name, one in parts.items() if "skipped" in one}
    assert skipped == {part.name for part in PARTS if part.needs_cuda}
    for part in PARTS:
        if not part.needs_cuda:
            assert read(tmp_path / f"{part.name}.json") == parts[part.name]
            assert f"{part.name} ..." in done.stdout
    assert "needs CUDA" in done.stdout


def kit(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--quick", *arguments])
    kit_main()


def test_the_command_runs_parts_and_does_not_repeat_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = ("other-graphs", "epochs", "batches")
    kit(monkeypatch, *chosen, "--output", str(tmp_path))
    first = capfd.readouterr().out
    assert all(f"{name} ..." in first for name in chosen)
    parts = read(tmp_path / "summary.json")["parts"]
    assert all(one["lines"] for one in parts.values())
    kit(monkeypatch, *chosen, "--output", str(tmp_path))
    assert "..." not in capfd.readouterr().out
    assert read(tmp_path / "summary.json")["parts"] == parts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget-minutes", "inf"), "--budget-minutes must be greater than 0 and less than"),
        (("--output", __file__), "--output must be a folder, got the file"),
        (("--images", "tests"), "--images must be a folder with train/ and test/, got tests"),
        (("nothing",), "PART must be one of"),
    ],
)
def test_a_command_that_cannot_be_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(SystemExit):
        kit(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
