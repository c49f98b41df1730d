"""Predict the classes of images: `contnet-predict ckpt_path=... images=[...] [key=value ...]`.

In a checkout, `python predict.py` is the same. `contnet-predict --help` lists the keys.
"""

from omegaconf import DictConfig

from contnet.commands.command_line import entry_point
from contnet.commands.job import Job


@entry_point("predict")
def main(config: DictConfig, job: Job) -> None:
    """Write what a trained network says of image files, and show it on the screen."""
    from pathlib import Path

    from contnet.commands import console
    from contnet.commands.failures import config_errors, translated_errors
    from contnet.commands.predictions import Shown, images_of
    from contnet.commands.served import served_network, set_manifestation
    from contnet.errors import RunError
    from contnet.serving.report import Confusion, PredictionsFile
    from contnet.serving.stream import Decoding, predict_files

    console.quieten()
    network = served_network(config)
    set_manifestation(network, config)
    files = images_of(config.images, network)
    with config_errors(""):
        decoding = Decoding(config.batch_size, config.num_workers, config.strokes)
    folder = Path(config.run_dir)
    shown, confusion = Shown(network.classes), Confusion(network.classes)
    with (
        translated_errors(),
        PredictionsFile(folder, network.classes) as table,
        console.progress(decoding.n_batches(len(files)), "predicting") as done,
    ):
        for batch in predict_files(network, [file.path for file in files], decoding):
            true = [file.label for file in files[shown.n_files : shown.n_files + len(batch)]]
            for receiver in (table, confusion, shown):
                receiver.add(batch, true)
            done(f"{shown.n_files:,} of {len(files):,} images")
    if confusion.n_images:
        confusion.write(folder)
    shown.show(confusion, folder, job.start)
    if shown.n_unreadable == shown.n_files:
        raise RunError(f"none of {shown.n_files:,} images can be read")
