"""Evaluate a checkpoint in other manifestations: `python evaluate.py ckpt_path=... sweep.scheme=[...]`."""

from omegaconf import DictConfig

from contnet.command_line import entry_point


@entry_point("evaluate")
def main(config: DictConfig) -> None:
    from contnet import build, monitoring, report
    from contnet.classifier import Normalise
    from contnet.invariance import sweep

    monitoring.quieten()
    checkpoint = build.load_checkpoint(config.ckpt_path)
    trained = build.trained_config(checkpoint, config.dataset.root)
    data = build.data(trained, train=False)
    network = build.restore_network(checkpoint, trained, data)
    schemes, n_time_steps = build.manifestations(config, network)
    trainer = build.evaluator(trained, config.trainer.accelerator)

    device = trainer.strategy.root_device
    normalise = Normalise(data.mean, data.std)
    for module in (network, normalise):
        trainer.precision_plugin.convert_module(module)
        module.to(device)
    with trainer.precision_plugin.test_step_context():
        batches = ((normalise(images.to(device)), labels.to(device)) for images, labels in data.test_loader())
        rows = sweep(network, batches, schemes, n_time_steps)
    report.invariance(config, rows)


if __name__ == "__main__":
    main()
