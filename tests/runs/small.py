"""A run of a few seconds."""

SMALL = ("epochs=4", "model.alpha=2", "dataset.batch_size=64", "lr_schedule.milestones=[3]")
