"""Export a trained network for other runtimes: `contnet-export ckpt_path=... [key=value ...]`.

In a checkout, `python export.py` is the same. `contnet-export --help` lists the keys.
"""

from omegaconf import DictConfig

from contnet.commands.command_line import entry_point
from contnet.commands.job import Job


@entry_point("export")
def main(config: DictConfig, job: Job) -> None:
    """Write a file for each manifestation, and compare each with contnet in its own runtime."""
    from contextlib import nullcontext

    from contnet.commands import console
    from contnet.commands.export_images import TrialImages
    from contnet.commands.export_request import loaded, output_folder, prepared, settings
    from contnet.commands.export_screen import about, show, warn_of_long_graphs
    from contnet.commands.failures import config_errors, translated_errors
    from contnet.export.exporting import Exporter, write_record
    from contnet.export.formats import find_format
    from contnet.runs.trust import trusted_modules

    console.quieten()
    form = find_format(config.format, config.precision)
    wanted = settings(config)
    path, network = loaded(config)
    network = prepared(network, config, wanted)
    warn_of_long_graphs(network, form, wanted)
    images = TrialImages(config, path, network)
    exported = []
    with translated_errors(), config_errors(""):
        folder = output_folder(config)
        exporter = Exporter(
            network, form, config.precision, images.sample, folder, trusted_modules(config.trust)
        )
        with console.progress(len(wanted), "exporting") as done:
            for setting in wanted:
                setting.apply(network)
                with images.recalibrated() if config.recalibrate else nullcontext():
                    exported.append(exporter.export(setting))
                done(exported[-1].path.name)
        write_record(folder, exported, about(config, path, network, images.sample))
    show(exported, config, form, images.sample, job.start)
