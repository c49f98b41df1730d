"""The pictures of a report."""

from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from contnet.invariance.report.accuracy import draw_accuracy
from contnet.invariance.report.classes import draw_classes
from contnet.invariance.report.convergence import draw_convergence
from contnet.invariance.report.latency import draw_latency
from contnet.invariance.report.projection import draw_projection
from contnet.invariance.study import Study
from contnet.look import STYLE


def pictures(
    studies: Sequence[Study], references: Sequence[Study] = ()
) -> Iterator[tuple[str, Figure]]:
    """Yield the pictures of studies, each with its name.

    `latency` and `accuracy` show all networks that have a depth-time. `projection`, `convergence`
    and `classes` show one network; with several studies, the number of the study follows the name.

    Args:
        studies: the studies to draw.
        references: studies of networks whose accuracy as trained is drawn for comparison.
    """
    continuous = [study for study in studies if study.is_continuous]
    with mpl.rc_context(STYLE):
        if continuous:
            yield "latency", draw_latency(continuous, references)
            yield "accuracy", draw_accuracy(continuous, references)
        for number, study in enumerate(studies):
            suffix = f"-{number}" if len(studies) > 1 else ""
            for name, figure in _of_one_network(study, references):
                yield name + suffix, figure


def _of_one_network(study: Study, references: Sequence[Study]) -> Iterator[tuple[str, Figure]]:
    if any(result.projected for result in study.results):
        yield "projection", draw_projection(study, references)
    if study.convergence:
        yield "convergence", draw_convergence(study)
    classes = draw_classes(study)
    if study.is_continuous and classes is not None:
        yield "classes", classes
