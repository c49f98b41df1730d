"""Evaluate checkpoints in other manifestations: `contnet-evaluate ckpt_path=... [key=value ...]`.

In a checkout, `python evaluate.py` is the same. `contnet-evaluate --help` lists the keys.
"""

import sys
from pathlib import Path

from omegaconf import DictConfig

from contnet.commands.command_line import entry_point
from contnet.commands.job import Job

NOT_INVARIANT = 3
"""Exit code with `sweep.strict=true` if a network is not invariant."""


@entry_point("evaluate")
def main(config: DictConfig, job: Job) -> None:
    """Study the networks of checkpoints, and write the report."""
    from contnet.commands import console
    from contnet.commands.failures import translated_errors
    from contnet.commands.projections import save_projections
    from contnet.commands.study_request import Request
    from contnet.commands.subjects import load_subjects
    from contnet.errors import RunError
    from contnet.invariance.plan import Plan
    from contnet.invariance.report.write import report
    from contnet.invariance.store import Store
    from contnet.invariance.study import study_each

    console.quieten()
    request = Request.of(config)
    plan, as_trained = request.plan, Plan(convergence=False)
    subjects, references = load_subjects(config, plan)
    store = Store(Path(config.sweep.store))
    n_variants = sum(len(plan.variants(subject.network)) for subject in subjects)
    with translated_errors(), console.progress(n_variants + len(references), "sweeping") as done:
        studies, failed = study_each(subjects, plan, store, done)
        compared, not_compared = study_each(references, as_trained, store, done)
        if not studies:
            raise failed[0]
    report(
        studies,
        compared,
        folder=Path(config.run_dir),
        budget=request.budget,
        root=config.dataset.root,
    )
    if request.saves:
        with translated_errors():
            save_projections(config, plan, studies)
    if failed or not_compared:
        raise RunError(f"left out of the report: {'; '.join(map(str, failed + not_compared))}")
    if request.strict and any(study.verdict.invariant is False for study in studies):
        sys.exit(NOT_INVARIANT)
