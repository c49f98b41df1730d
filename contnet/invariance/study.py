"""The study of one network: every manifestation measured, a verdict, and whether its blocks are integrators; and the
same manifestations of its projections onto fewer nodes or other bases."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from contnet.invariance.convergence import Convergence, network_convergence
from contnet.invariance.manifestation import Manifestation, manifestations
from contnet.invariance.outcome import Batches, Outcome, observe
from contnet.invariance.recalibration import has_batch_norm, recalibrated
from contnet.invariance.result import Figures, Result, measure
from contnet.invariance.store import Store, digest
from contnet.invariance.verdict import Verdict, judge
from contnet.ode.bases import make_basis
from contnet.ode.basis import Basis
from contnet.ode.depth_time import depth_time
from contnet.ode.integrate import IntegrationError
from contnet.ode.projection import project


@dataclass(frozen=True)
class Plan:
    """What to ask of a network: the manifestations (None: as trained), the verdict's tolerance in percentage points,
    whether to recalibrate batch norm, whether to test the blocks' convergence, and the projections (None: in the basis,
    or with the nodes, that it has; both None: none)."""

    schemes: Sequence[str] | None = None
    n_time_steps: Sequence[int] | None = None
    rtol: Sequence[float] | None = None
    tolerance: float = 1.0
    recalibrate: bool = False
    convergence: bool = True
    n_basis: Sequence[int] | None = None
    bases: Sequence[str] | None = None


@dataclass(frozen=True)
class Subject:
    """A trained network on its device, in evaluation mode, and its images.

    Args:
        name: what to call it, the path of its checkpoint.
        network: in the manifestation that it was trained in.
        classes: names of the classes.
        test: the images to evaluate on.
        few: some of them for the convergence test, (n, C, H, W), normalised.
        training_images: augmented training images to recalibrate on, a new pass at each call.
        precision: the arithmetic that it was trained in, as a context.
        identity: a digest of all that its results depend on, but the manifestation.

    Raises:
        ValueError: if a basis that the plan asks for does not exist.
    """

    name: str
    network: nn.Module
    classes: Sequence[str]
    test: Batches
    few: Tensor
    training_images: Callable[[], Iterable[Tensor]]
    precision: Callable[[], AbstractContextManager]
    identity: str

    def manifestations(self, plan: Plan) -> list[Manifestation]:
        """Those that the plan asks of it."""
        return manifestations(self.network, plan.schemes, plan.n_time_steps, plan.rtol)

    @property
    def basis(self) -> Basis | None:
        """What the network's theta(t) is made of, if it has one."""
        depth = depth_time(self.network)
        return depth.basis if depth else None

    def projections(self, plan: Plan) -> list[Basis]:
        """The bases that the plan asks for, but for its own.

        Raises:
            ValueError: if there is none with so many nodes.
        """
        own = self.basis
        if own is None:
            return []
        found = product(plan.bases or [own.name], plan.n_basis or [own.n_basis])
        bases = dict.fromkeys(make_basis(name, n_basis) for name, n_basis in found)
        return [basis for basis in bases if basis != own]

    def projected(self, basis: Basis) -> "Subject":
        """The same with theta(t) projected onto another basis."""
        network = project(self.network, basis.n_basis, basis.name)
        return replace(
            self, network=network, identity=digest([self.identity, basis.name, basis.n_basis])
        )

    def n_passes(self, plan: Plan) -> int:
        """How often the test images have to pass through it."""
        n_networks = 1 + len(self.projections(plan))
        return n_networks * len(self.manifestations(plan)) * (1 + self.recalibrates(plan))

    def recalibrates(self, plan: Plan) -> bool:
        """Whether the plan asks for recalibration, and there is something to recalibrate."""
        return plan.recalibrate and has_batch_norm(self.network)


@dataclass(frozen=True)
class Study:
    """What was found out about a network."""

    subject: Subject
    trained: Result
    results: list[Result]
    verdict: Verdict
    recalibrated_verdict: Verdict | None
    convergence: list[Convergence]
    class_accuracy: Tensor
    """(len(results), n_classes): the share of each class's images that a manifestation gets right."""

    @property
    def trained_figures(self) -> Figures:
        """Those of the training manifestation."""
        assert self.trained.figures is not None
        return self.trained.figures

    @property
    def unprojected(self) -> list[Result]:
        """The results in the network's own basis."""
        return [result for result in self.results if not result.projected]

    @property
    def is_continuous(self) -> bool:
        """Whether the network has other manifestations than the one it was trained in."""
        return self.trained.manifestation.scheme is not None


def study(
    subject: Subject, plan: Plan, store: Store, advance: Callable[[str], None] = lambda line: None
) -> Study:
    """Carry out the plan; `advance` is told of each pass in a line. The network comes back as it was.

    Results come without recalibration first, each part with the network's own basis first and in the order of
    `manifestations`.
    """
    trained = Manifestation.of(subject.network)
    wanted = subject.manifestations(plan)
    reference = _outcome(subject, trained, False, store)
    networks = [subject, *(subject.projected(basis) for basis in subject.projections(plan))]
    calibrations = (False, True)[: 1 + subject.recalibrates(plan)]
    results: list[Result] = []
    plain: dict[tuple[Basis | None, Manifestation], Result] = {}
    try:
        for recalibrate, own, manifestation in product(calibrations, networks, wanted):
            blank = Result(
                checkpoint=subject.name,
                manifestation=manifestation,
                trained=manifestation == trained and own is subject and not recalibrate,
                recalibrated=recalibrate,
                parameters=sum(parameter.numel() for parameter in own.network.parameters()),
                basis=own.basis,
                projected=own is not subject,
            )
            result = _filled(blank, own, reference, store)
            if recalibrate:
                result = _with_latency_of(result, plain[own.basis, manifestation])
            else:
                plain[own.basis, manifestation] = result
            results.append(result)
            advance(f"{result}: {_found(result)}")
    finally:
        trained.give(subject.network)
    base = next(result for result in results if result.trained)
    if base.figures is None:
        raise IntegrationError(
            f"{subject.name} cannot be evaluated as it was trained: {base.failed}"
        )
    labels = reference.labels.cpu()
    verdicts = [
        judge(
            base,
            [r for r in results if r.recalibrated == recalibrate and not r.projected],
            labels,
            plan.tolerance,
        )
        for recalibrate in (False, True)
    ]
    convergence: list[Convergence] = []
    if plan.convergence and depth_time(subject.network) is not None:
        schemes = dict.fromkeys(manifestation.name for manifestation in wanted)
        convergence = network_convergence(
            subject.network, subject.few, [name for name in schemes if name]
        )
    return Study(
        subject,
        base,
        results,
        verdicts[0],
        verdicts[1] if subject.recalibrates(plan) else None,
        convergence,
        torch.stack([_class_accuracy(result, labels, len(subject.classes)) for result in results]),
    )


def _filled(blank: Result, subject: Subject, reference: Outcome, store: Store) -> Result:
    try:
        outcome = _outcome(subject, blank.manifestation, blank.recalibrated, store)
    except IntegrationError as error:
        return replace(blank, failed=str(error))
    return measure(blank, outcome, reference)


def _with_latency_of(recalibrated: Result, plain: Result) -> Result:
    """The graph is the same one, and so is what it costs; two measurements would tell them apart by their noise."""
    if recalibrated.figures is None or plain.figures is None:
        return recalibrated
    return replace(
        recalibrated, figures=replace(recalibrated.figures, latency_ms=plain.figures.latency_ms)
    )


def _found(result: Result) -> str:
    return (
        f"accuracy {result.figures.accuracy:.4f}" if result.figures else f"failed: {result.failed}"
    )


def _outcome(
    subject: Subject, manifestation: Manifestation, recalibrate: bool, store: Store
) -> Outcome:
    key = digest([subject.identity, manifestation, recalibrate])
    kept = store.get(key)
    if kept is not None:
        return kept
    manifestation.give(subject.network)
    with subject.precision():
        statistics = (
            recalibrated(subject.network, subject.training_images())
            if recalibrate
            else nullcontext()
        )
        with statistics:
            outcome = observe(subject.network, subject.test)
    store.put(key, outcome)
    return outcome


def _class_accuracy(result: Result, labels: Tensor, n_classes: int) -> Tensor:
    if result.predictions is None:
        return torch.full((n_classes,), torch.nan)
    right = torch.bincount(labels[result.predictions == labels], minlength=n_classes)
    return right / torch.bincount(labels, minlength=n_classes)
