"""Train a network: `python train.py [key=value ...]`; `python train.py --help` lists groups and keys."""

from omegaconf import DictConfig

from contnet import resume
from contnet.command_line import entry_point

OBJECTIVE = "val_accuracy"
"""What a search maximises."""


@entry_point("train")
def main(config: DictConfig) -> float | None:
    earlier = resume.result_of_earlier_job()
    if earlier is not None:
        return earlier.get(OBJECTIVE)

    from pytorch_lightning import seed_everything

    from contnet import accidents, build, monitoring, report, restore

    monitoring.quieten()
    build.check(config)
    config = restore.unfinished_job(build.on_this_machine(config))
    seed_everything(config.seed, workers=True, verbose=False)
    data = build.data(config, train=True)
    network = build.network(config, data)
    build.warn_of_long_steps(config, network)
    classifier = build.classifier(config, network, data)
    throughput, last_epoch = monitoring.Throughput(), monitoring.LastEpoch()
    trainer = build.trainer(config, classifier, data, throughput, last_epoch)
    restore.check_resumable(config, network)

    with accidents.explained():
        trainer.fit(classifier, data.train_loader(config.seed), data.val_loader(), ckpt_path=config.ckpt_path)
        metrics = {**last_epoch.figures, **trainer.test(classifier, data.test_loader(), verbose=False)[0]}
    return report.training(config, network, trainer, throughput, metrics).get(OBJECTIVE)


if __name__ == "__main__":
    main()
