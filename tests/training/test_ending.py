"""What has ended a training is told apart from what has not."""

from datetime import timedelta

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Timer

from contnet.training.ending import stopped_by


@pytest.mark.parametrize(
    ("duration", "key"),
    [(None, "callbacks"), (timedelta(hours=1), "callbacks"), (timedelta(0), "trainer.max_time")],
    ids=["without an end", "not over", "over"],
)
def test_a_timer_ends_a_training_only_when_its_time_is_over(
    duration: timedelta | None, key: str
) -> None:
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=3, callbacks=[Timer(duration)], accelerator="cpu", **options)
    trainer.should_stop = True
    assert stopped_by(trainer) == key
