"""Train a network: `contnet-train [key=value ...]`, or `python train.py` in a checkout.

`contnet-train --help` lists the groups and the keys.
"""

from omegaconf import DictConfig

from contnet.commands.command_line import entry_point
from contnet.commands.job import Job
from contnet.commands.sweep_summary import OBJECTIVE


@entry_point("train")
def main(config: DictConfig, job: Job) -> float | None:
    """Train and test a network, and return its accuracy on the validation images, if any."""
    earlier = job.earlier_result()
    if earlier is not None:
        return earlier.get(OBJECTIVE)

    from pytorch_lightning import seed_everything

    from contnet.commands import build, console, restore, result
    from contnet.commands.depth import warn_of_long_steps, warn_of_unused_choices
    from contnet.commands.failures import translated_errors
    from contnet.commands.hyperparameters import columns
    from contnet.commands.opening import announce
    from contnet.commands.precision import on_this_machine
    from contnet.commands.switches import without_what_is_off
    from contnet.commands.tracking import without_pictures
    from contnet.training.callbacks.epoch_metrics import EpochMetrics
    from contnet.training.callbacks.tensorboard import HyperParameterTable
    from contnet.training.callbacks.throughput import Throughput

    started = result.now()
    console.quieten()
    build.check(config)
    config = without_what_is_off(on_this_machine(config))
    if job.choices.get("debug"):
        config = without_pictures(config)
    if job.sweeping:
        config = restore.unfinished_job(config)
    seed_everything(config.seed, workers=True, verbose=False)
    data = build.data(config.dataset, train=True, download=config.ckpt_path is None)
    restore.check_weights(config, data)
    network = build.network(config.model, data)
    warn_of_long_steps(config.model, network)
    warn_of_unused_choices(network, job.overrides)
    classifier = build.classifier(config, network, data)
    throughput, epoch = Throughput(), EpochMetrics()
    table = HyperParameterTable(columns(config, job))
    trainer = build.trainer(
        config, classifier, data, throughput, epoch, table, sweeping=job.sweeping
    )
    restore.check_resumable(config, network, trainer, data)
    announce(config, job, network, data, trainer)

    with translated_errors():
        loaders = (data.train_loader(config.seed), data.val_loader())
        trainer.fit(classifier, *loaders, ckpt_path=config.ckpt_path)
        ended_by = result.report_early_end(trainer, config, job)
        tested = trainer.test(classifier, data.test_loader(), verbose=False)
    metrics = {**epoch.last, **(tested[0] if tested else {})}  # there may be no test
    written = result.training(
        config, network, trainer, throughput, metrics, job, ended_by, data, started
    )
    return written.get(OBJECTIVE)
