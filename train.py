"""Train a network: `python train.py [key=value ...]`.

`python train.py --help` lists the groups and the keys.
"""

from omegaconf import DictConfig

from contnet.commands.command_line import entry_point
from contnet.runs import resume

OBJECTIVE = "val_accuracy"
"""The figure that a search maximises."""


@entry_point("train")
def main(config: DictConfig) -> float | None:
    earlier = resume.result_of_earlier_job()
    if earlier is not None:
        return earlier.get(OBJECTIVE)

    from pytorch_lightning import seed_everything

    from contnet.commands import build, console, failures, restore, result
    from contnet.commands.precision import on_this_machine
    from contnet.training.callbacks.epoch_metrics import EpochMetrics
    from contnet.training.callbacks.throughput import Throughput

    console.quieten()
    build.check(config)
    config = restore.unfinished_job(on_this_machine(config))
    seed_everything(config.seed, workers=True, verbose=False)
    data = build.data(config, train=True)
    network = build.network(config, data)
    build.warn_of_long_steps(config, network)
    classifier = build.classifier(config, network, data)
    throughput, epoch_metrics = Throughput(), EpochMetrics()
    trainer = build.trainer(config, classifier, data, throughput, epoch_metrics)
    restore.check_resumable(config, network)

    with failures.explained():
        loaders = (data.train_loader(config.seed), data.val_loader())
        trainer.fit(classifier, *loaders, ckpt_path=config.ckpt_path)
        tested = trainer.test(classifier, data.test_loader(), verbose=False)[0]
    metrics = {**epoch_metrics.last, **tested}
    return result.training(config, network, trainer, throughput, metrics).get(OBJECTIVE)


if __name__ == "__main__":
    main()
