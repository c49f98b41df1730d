"""A new scheme is a line and a YAML, and a new basis is a class."""

from pathlib import Path

from tests.outcomes import result, rows
from tests.processes import Command

SSPRK3 = """
defaults: [/fixed_steps@_here_, _self_]
name: ssprk3
"""


def test_a_network_trains_with_a_new_scheme_and_basis_and_is_evaluated_in_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "own" / "scheme").mkdir(parents=True)
    (tmp_path / "own" / "scheme" / "ssprk3.yaml").write_text(SSPRK3)

    def extended(*arguments: str) -> str:
        done = Command("tests.drivers.extended", *arguments, folder=tmp_path).wait()
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    model = ("model.basis=powers", "model.initial_time_d=2", "model.alpha=2", "scheme=ssprk3")
    training = (*model, "epochs=2", "refine.epochs=[1]", "optimizer.lr=0.02", "hydra.run.dir=run")
    assert "refined 2-2-2 -> 4-4-4" in extended("train", "--config-dir=own", *training)
    sweep = ("sweep.scheme=[ssprk3,euler]", "sweep.n_time_steps=[4,8]", "project.basis=[powers]")
    out = extended(
        "evaluate", "ckpt_path=run", *sweep, "project.n_basis=[4,3]", "hydra.run.dir=study"
    )
    assert "ssprk3" in out
    table = rows(tmp_path / "study" / "invariance.csv")
    manifestations = [(scheme, n) for scheme in ("ssprk3", "euler") for n in ("4", "8")]
    assert [(r["basis"], r["n_basis"], r["scheme"], r["n_time_steps"]) for r in table] == [
        ("powers", n_basis, *manifestation)
        for n_basis in ("4", "3")
        for manifestation in manifestations
    ]
    (trained,) = (row for row in table if row["trained"] == "True")
    assert float(trained["accuracy"]) == result(tmp_path / "run")["test_accuracy"]
    assert float(trained["loss"]) == result(tmp_path / "run")["test_loss"]
