import pytest

from contnet.training.checkpoint_io import AtomicCheckpointIO
from tests.conftest import Run


def test_a_checkpoint_is_written_every_so_many_minutes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    original = AtomicCheckpointIO.save_checkpoint

    def save(
        self: AtomicCheckpointIO, checkpoint: dict, path: object, storage_options: object = None
    ) -> None:
        saved.append(checkpoint["global_step"])
        original(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save)
    options = ("epochs=2", "model.alpha=2", "~callbacks.best", "dataset.batch_size=256")
    assert (
        run("train", *options, "callbacks.checkpoint.every_n_minutes=1e-9", "hydra.run.dir=often")[
            0
        ]
        == 0
    )
    assert saved == list(range(1, 13))
    saved.clear()
    assert run("train", *options, "hydra.run.dir=by_epoch")[0] == 0
    assert saved == [6, 12]
