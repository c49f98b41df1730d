"""Import what the commands import, once for all the processes that are forked from this one."""

from importlib import import_module

from hydra.core.plugins import Plugins

for name in (
    *("contnet.commands.train", "contnet.commands.evaluate", "tests.drivers.train"),
    *("contnet.commands.build", "contnet.commands.subjects", "contnet.commands.result"),
    *("torch.utils.tensorboard", "sklearn.datasets"),
    *("contnet.networks.continuous", "contnet.networks.residual", "contnet.data.sources"),
    *("contnet.training.lr_schedule", "contnet.invariance.report.write"),
    *("contnet.training.callbacks.checkpointing", "contnet.training.callbacks.metrics_file"),
):
    import_module(name)
Plugins.instance()  # imports the plugins of Hydra
