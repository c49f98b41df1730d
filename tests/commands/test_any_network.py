"""A network written by hand trains, refines, resumes, is swept and is projected by the commands."""

from pathlib import Path

import pytest

from contnet.runs.checkpoint import Record
from tests.conftest import Run
from tests.outcomes import LAST, assert_same, load, result, rows

OPTION = """
_target_: tests.networks.two_blocks.TwoBlocks
n_basis: 1
basis: piecewise_constant
scheme: ${scheme.name}
n_time_steps_per: ${scheme.n_time_steps_per}
gradient: ${scheme.gradient}
"""

TRUST = "trust=[tests.networks.two_blocks]"


@pytest.fixture
def two_blocks(tmp_path: Path) -> tuple[str, ...]:
    """Return the arguments that train the network of two blocks."""
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "two_blocks.yaml").write_text(OPTION)
    return ("--config-dir=own", "model=two_blocks", "lr_schedule.milestones=[2]")


def test_it_trains_refines_and_resumes_bit_for_bit(run: Run, two_blocks: tuple[str, ...]) -> None:
    options = (*two_blocks, "refine.epochs=[1]", "refine.variance=0.1", "scheme=midpoint")
    code, out, err = run("train", *options, "epochs=3", "hydra.run.dir=through")
    assert (code, err) == (0, "")
    assert "epoch 1: refined 1-1 -> 2-2, 1,022 -> 1,778 parameters" in out
    assert run("train", *options, "epochs=2", "hydra.run.dir=stopped")[0] == 0
    resume = ("ckpt_path=stopped/checkpoints/last.ckpt", "hydra.run.dir=resumed")
    assert run("train", *options, "epochs=3", *resume)[0] == 0
    through, resumed = (load(Path(name, LAST)) for name in ("through", "resumed"))
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(through[key], resumed[key], key)
    assert Record.of(through).depth == Record.of(resumed).depth
    found = result("through")
    assert (found["n_basis"], found["n_time_steps"], found["scheme"]) == (2, 2, "midpoint")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["refine.at=[0.5]", "refine.to=[4]", "refine.epsilon=grow"],
            "refine.epsilon must be keep, got 'grow'; Sequential must be an nn.Sequential that",
        ),
        (
            ["model.n_basis=3", "refine.at=[0.5]", "refine.to=[4]"],
            "refine.to must be other numbers; piecewise_constant, 3 nodes can be refined to 6, 9,",
        ),
        (
            ["model.n_basis=16", "model.basis=legendre", "refine.epochs=[1,2]"],
            "refine.epochs must be fewer; n_basis must be at most 32 with the basis legendre",
        ),
        (
            ["model.n_basis=4", "refine.at=[0.5]", "refine.to=[2]"],
            "refine.to must be more nodes than the network has at the start, 4, got 2",
        ),
    ],
)
def test_a_growth_that_it_cannot_have_is_one_line_before_it_trains(
    run: Run, two_blocks: tuple[str, ...], overrides: list[str], message: str
) -> None:
    code, _, err = run("train", *two_blocks, *overrides, "epochs=3", "hydra.run.dir=run")
    assert (code, err.count("\n")) == (1, 1), err
    assert message in err
    assert not Path("run").exists()


@pytest.mark.long
def test_it_is_swept_projected_and_trains_on_from_its_projection(
    run: Run, two_blocks: tuple[str, ...]
) -> None:
    options = (*two_blocks, "refine.epochs=[1]", "epochs=2", "hydra.run.dir=run")
    assert run("train", *options)[0] == 0
    sweep = ("sweep.scheme=[euler,rk4]", "sweep.n_time_steps=[2,4]", "sweep.recalibrate=true")
    projections = ("project.n_basis=1", "project.save=true", "hydra.run.dir=study")
    code, out, err = run("evaluate", "ckpt_path=run", *sweep, *projections, TRUST)
    assert (code, err) == (0, "")
    table = rows("study/invariance.csv")
    manifestations = [(s, n) for s in ("euler", "rk4") for n in ("2", "4")]
    assert [(r["n_basis"], r["scheme"], r["n_time_steps"]) for r in table] == 2 * [
        (n_basis, *manifestation) for n_basis in ("2", "1") for manifestation in manifestations
    ]
    assert float(table[0]["accuracy"]) == result("run")["test_accuracy"]
    assert float(table[0]["loss"]) == result("run")["test_loss"]
    assert "slopes" in out

    folder = "study/piecewise_constant-1"
    tuning = ("--config-dir=own", "ckpt_path=last", f"hydra.run.dir={folder}", "epochs=3", TRUST)
    assert run("train", *tuning)[0] == 0
    tuned = Record.of(load(Path(folder, LAST)))
    assert [block.n_basis for block in tuned.depth] == [1, 1]
