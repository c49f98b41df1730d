"""The findings of a study in sentences, and the commands for the variant within a budget."""

import re
import shlex
from collections.abc import Iterator, Sequence

from contnet.invariance.budget import Budget
from contnet.invariance.convergence import Convergence
from contnet.invariance.result import Result
from contnet.invariance.study import Study
from contnet.invariance.verdict import FINER, Verdict

NEEDS_NO_QUOTES = re.compile(r"[\w./=,\[\]+-]+")


def findings(study: Study, budget: Budget | None, root: str | None) -> Iterator[str]:
    """Yield failures, verdicts, observed orders and the choice within a budget, line by line.

    Args:
        study: the study.
        budget: limits on cost and loss, if any.
        root: folder of the dataset, if it has one, for the command.
    """
    for result in study.results:
        if result.failed is not None:
            yield f"{result} failed: {result.failed}"
    if not study.is_continuous:
        yield "a network without depth-time has nothing to sweep; evaluated as it is"
        return
    for verdict, recalibrated in study.verdicts:
        yield f"{'recalibrated: ' if recalibrated else ''}{in_words(verdict)}"
    yield from _slopes(study.convergence)
    if budget is not None:
        yield from _choice(study, budget, root)


def in_words(verdict: Verdict) -> str:
    """Return a verdict, after the manifestations it is about where a network has two verdicts."""
    return str(verdict) if verdict.among == FINER else f"{verdict.among}: {verdict}"


def _slopes(convergence: Sequence[Convergence]) -> Iterator[str]:
    """Yield a line for each scheme, with the observed orders of all blocks."""
    by_scheme: dict[str, list[Convergence]] = {}
    for found in convergence:
        by_scheme.setdefault(found.scheme, []).append(found)
    for scheme, members in by_scheme.items():
        slopes = ", ".join("none" if f.slope is None else f"{f.slope:.2f}" for f in members)
        order = members[0].order
        yield f"convergence of the blocks' states, {scheme}: slopes {slopes} (order {order})"


def _choice(study: Study, budget: Budget, root: str | None) -> Iterator[str]:
    choice = budget.choose(study.trained, study.results)
    if choice is None:
        yield f"no variant in this sweep is within the budget {budget}"
        return
    chosen, figures = choice
    points = 100 * (figures.accuracy - study.trained_figures.accuracy)
    factors = f"{figures.latency_ms / study.trained_figures.latency_ms:.2f}x latency"
    if chosen.projected:
        factors += f", {chosen.parameters / study.trained.parameters:.2f}x parameters"
    yield f"for {budget} use {chosen} ({points:+.2f} pp, {factors}):"
    yield f"  {_command(chosen, root)}"
    if chosen.manifestation.n_time_steps is not None:
        yield f"  {_export(chosen, root)}"


def _command(chosen: Result, root: str | None) -> str:
    """Return the command that evaluates the checkpoint of a result in its variant."""
    manifestation = chosen.manifestation
    words = [f"sweep.scheme=[{manifestation.name}]"]
    if manifestation.n_time_steps is None:
        words.append(f"sweep.rtol=[{manifestation.rtol:g}]")
    else:
        words.append(f"sweep.n_time_steps=[{manifestation.n_time_steps}]")
    if chosen.projected and chosen.basis:
        words.append(f"project.basis=[{chosen.basis.name}]")
        words.append(f"project.n_basis=[{chosen.basis.n_basis}]")
    if chosen.recalibrated:
        words.append("sweep.recalibrate=true")
    return _line("evaluate.py", chosen, words, root)


def _export(chosen: Result, root: str | None) -> str:
    """Return the command that exports the checkpoint of a result in its variant."""
    manifestation = chosen.manifestation
    words = [f"scheme={manifestation.name}", f"n_time_steps={manifestation.n_time_steps}"]
    if chosen.projected and chosen.basis:
        words.append(f"project.basis={chosen.basis.name}")
        words.append(f"project.n_basis={chosen.basis.n_basis}")
    if chosen.recalibrated:
        words.append("recalibrate=true")
    return _line("export.py", chosen, words, root)


def _line(program: str, chosen: Result, words: Sequence[str], root: str | None) -> str:
    given = [f"ckpt_path={chosen.checkpoint}", *words]
    if root is not None:
        given.append(f"dataset.root={root}")
    quoted = (word if NEEDS_NO_QUOTES.fullmatch(word) else shlex.quote(word) for word in given)
    return f"python {program} {' '.join(quoted)}"
