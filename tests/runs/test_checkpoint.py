import os
from pathlib import Path

import torch

from tests.conftest import Run


class Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


def test_a_malicious_checkpoint_is_not_executed_and_says_why(run: Run, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "contnet": Malicious()}, tmp_path / "evil.ckpt")
    for entry in ("train", "evaluate"):
        code, _, err = run(entry, "ckpt_path=evil.ckpt")
        assert (code, err.count("\n")) == (1, 1)
        assert "holds objects that would have to be executed to be read" in err
    assert not (tmp_path / "executed").exists()


def test_evaluate_wants_a_checkpoint_of_ours(run: Run, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    torch.save(Path("/"), tmp_path / "pickle.ckpt")
    (tmp_path / "noise.ckpt").write_bytes(b"noise" * 100)
    (tmp_path / "empty.ckpt").touch()
    for overrides, message in (
        ([], "ckpt_path must be given, as ckpt_path=..."),
        (
            ["ckpt_path=none.ckpt"],
            "ckpt_path must be a checkpoint file; there is none at 'none.ckpt'",
        ),
        (["ckpt_path=foreign.ckpt"], "'foreign.ckpt' is another program's"),
        (["ckpt_path=pickle.ckpt"], "'pickle.ckpt' is damaged or no checkpoint, or holds objects"),
        (["ckpt_path=noise.ckpt"], "'noise.ckpt' is damaged or no checkpoint"),
        (["ckpt_path=empty.ckpt"], "'empty.ckpt' is damaged or no checkpoint"),
    ):
        code, _, err = run("evaluate", *overrides)
        assert (code, err.count("\n")) == (1, 1)
        assert message in err
    assert not (tmp_path / "outputs").exists()
