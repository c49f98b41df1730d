"""The study of one network: the results of its sweep, and the answers of the judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from contnet.invariance.classes import chance_level, class_accuracy
from contnet.invariance.convergence import Convergence, network_convergence
from contnet.invariance.manifestation import seen_in_training
from contnet.invariance.plan import Plan
from contnet.invariance.result import Figures, Result
from contnet.invariance.store import Store
from contnet.invariance.subject import Subject
from contnet.invariance.sweep import as_trained, outcome_of, sweep
from contnet.invariance.verdict import Verdict, judge, judge_seen_and_unseen
from contnet.ode.integrate import IntegrationError
from contnet.ode.manifestation import Manifestation


@dataclass(frozen=True)
class Study:
    """The findings on one network.

    Args:
        subject: the network and its conditions.
        trained: the result as trained, which has figures.
        results: all results, in the order of `Plan.variants`.
        verdict: the verdict on the network with its own theta(t) and batch norm as trained. For a
            network that was trained in a set of manifestations it is the verdict on that set.
        unseen_verdict: the verdict on all other manifestations; None without such a set.
        recalibrated_verdict, recalibrated_unseen_verdict: the same with batch norm recalibrated;
            None without recalibration.
        convergence: the convergence of the ODE blocks; empty if the plan does not ask for it.
        class_accuracy: accuracies by result and class: see `contnet.invariance.classes`.
        tolerance: the largest loss of an invariant network, in percentage points.
        n_images: number of test images.
        chance: the largest accuracy that chance explains.
    """

    subject: Subject
    trained: Result
    results: Sequence[Result]
    verdict: Verdict
    unseen_verdict: Verdict | None
    recalibrated_verdict: Verdict | None
    recalibrated_unseen_verdict: Verdict | None
    convergence: Sequence[Convergence]
    class_accuracy: Tensor
    tolerance: float
    n_images: int
    chance: float

    @property
    def trained_figures(self) -> Figures:
        """Figures as trained."""
        assert self.trained.figures is not None
        return self.trained.figures

    @property
    def unprojected(self) -> list[Result]:
        """Results with theta(t) as trained."""
        return [result for result in self.results if not result.projected]

    @property
    def seen(self) -> tuple[Manifestation, ...]:
        """The manifestations that the network was trained in."""
        return seen_in_training(self.subject.network)

    @property
    def has_training_set(self) -> bool:
        """True if the network was trained in a set of manifestations."""
        return _is_set(self.seen, self.trained)

    @property
    def verdicts(self) -> list[tuple[Verdict, bool]]:
        """The verdicts that were asked for, each with True if batch norm is recalibrated."""
        plain = [(self.verdict, False), (self.unseen_verdict, False)]
        recalibrated = [
            (self.recalibrated_verdict, True),
            (self.recalibrated_unseen_verdict, True),
        ]
        return [(verdict, r) for verdict, r in (*plain, *recalibrated) if verdict is not None]

    @property
    def trained_with(self) -> str:
        """What the network was trained with, in words: one manifestation, or how many."""
        several = f"{len(self.seen)} manifestations"
        return several if self.has_training_set else str(self.trained.manifestation)

    @property
    def is_continuous(self) -> bool:
        """True if the network has other manifestations than the one it was trained in."""
        return self.trained.manifestation.scheme is not None


def study(
    subject: Subject,
    plan: Plan,
    store: Store,
    report_progress: Callable[[str], None] = lambda line: None,
) -> Study:
    """Carry out a plan on a subject; its network is restored afterwards.

    Args:
        subject: the network and its conditions.
        plan: the variants to evaluate and the questions to judge.
        store: saves outcomes, from which a stopped study resumes.
        report_progress: called with one line after each variant.

    Raises:
        IntegrationError: if the network cannot be evaluated as it was trained.
        ValueError: if the plan does not suit the network: see `Plan.variants`.
    """
    network = subject.network
    try:
        reference = outcome_of(subject, network, as_trained(network), store)
    except IntegrationError as error:
        raise _not_as_trained(subject, str(error)) from error
    results: list[Result] = []
    for result in sweep(subject, plan, reference, store):
        results.append(result)
        report_progress(f"{result}: {_in_short(result)}")
    return _judged(subject, plan, results, reference.labels.cpu())


def study_each(
    subjects: Sequence[Subject],
    plan: Plan,
    store: Store,
    report_progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[Study], list[IntegrationError]]:
    """Carry out a plan on several subjects: see `study`.

    Returns:
        The studies, and the errors of the subjects that cannot be evaluated as they were trained.
    """
    studies, failed = [], []
    for subject in subjects:
        try:
            studies.append(study(subject, plan, store, report_progress))
        except IntegrationError as error:
            failed.append(error)
    return studies, failed


def _not_as_trained(subject: Subject, reason: str) -> IntegrationError:
    return IntegrationError(f"{subject.name} cannot be evaluated as it was trained: {reason}")


def _judged(subject: Subject, plan: Plan, results: Sequence[Result], labels: Tensor) -> Study:
    trained = next(result for result in results if result.trained)
    if trained.figures is None:
        raise _not_as_trained(subject, str(trained.failed))

    has_set = _is_set(seen_in_training(subject.network), trained)

    def verdicts(*, recalibrated: bool) -> tuple[Verdict, Verdict | None]:
        compared = [r for r in results if r.recalibrated == recalibrated and not r.projected]
        if has_set:
            return judge_seen_and_unseen(trained, compared, labels, plan.tolerance)
        return judge(trained, compared, labels, plan.tolerance), None

    verdict, unseen_verdict = verdicts(recalibrated=False)
    recalibrates = plan.recalibrates(subject.network)
    recalibrated, unseen = verdicts(recalibrated=True) if recalibrates else (None, None)
    return Study(
        subject,
        trained,
        results,
        verdict=verdict,
        unseen_verdict=unseen_verdict,
        recalibrated_verdict=recalibrated,
        recalibrated_unseen_verdict=unseen,
        convergence=_convergence(subject, plan) if plan.convergence else [],
        class_accuracy=class_accuracy(results, labels, len(subject.classes)),
        tolerance=plan.tolerance,
        n_images=len(labels),
        chance=chance_level(labels),
    )


def _is_set(seen: Sequence[Manifestation], trained: Result) -> bool:
    return tuple(seen) != (trained.manifestation,)


def _convergence(subject: Subject, plan: Plan) -> list[Convergence]:
    found = [manifestation.scheme for manifestation in plan.manifestations(subject.network)]
    schemes = [scheme for scheme in dict.fromkeys(found) if scheme is not None]
    return network_convergence(subject.network, subject.conditions.sample, schemes)


def _in_short(result: Result) -> str:
    if result.figures is None:
        return f"failed: {result.failed}"
    return f"accuracy {result.figures.accuracy:.4f}"
