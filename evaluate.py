"""Evaluate checkpoints in other manifestations: `python evaluate.py ckpt_path=... sweep.scheme=[...]`."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from contnet.commands.command_line import entry_point

NOT_INVARIANT = 3


@entry_point("evaluate")
def main(config: DictConfig) -> None:
    from contnet.commands import console, failures
    from contnet.commands import study_request as evaluation
    from contnet.invariance.plan import Plan
    from contnet.invariance.report.write import report
    from contnet.invariance.store import Store
    from contnet.invariance.study import study

    console.quieten()
    plan, budget, strict = (
        evaluation.plan(config),
        evaluation.budget(config),
        evaluation.strict(config),
    )
    saves = evaluation.saves(config)
    subjects, references = evaluation.subjects(config, plan)
    as_trained = Plan(convergence=False)
    store = Store(Path(config.sweep.store))
    with (
        failures.explained(),
        console.steps(
            sum(len(plan.variants(subject.network)) for subject in subjects) + len(references),
            "sweeping",
        ) as advance,
    ):
        studies = [study(subject, plan, store, advance) for subject in subjects]
        beside = [study(reference, as_trained, store, advance) for reference in references]
    report(
        studies,
        beside,
        folder=Path(config.run_dir),
        tolerance=plan.tolerance,
        budget=budget,
        root=config.dataset.root,
    )
    if saves:
        with failures.explained():
            evaluation.save_projections(config, plan, subjects)
    if strict and any(study.verdict.invariant is False for study in studies):
        sys.exit(NOT_INVARIANT)


if __name__ == "__main__":
    main()
