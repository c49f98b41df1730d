"""The sweep: the results of a network, one variant after another."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

from torch import nn

from contnet.invariance.manifestation import applied, present, seen_in_training
from contnet.invariance.outcome import Outcome, observe
from contnet.invariance.plan import Plan, Variant
from contnet.invariance.recalibration import recalibrated
from contnet.invariance.result import Result, measure
from contnet.invariance.store import Store, digest
from contnet.invariance.subject import Subject
from contnet.metrics import n_parameters
from contnet.ode.basis import Basis
from contnet.ode.depth_time import depth_time
from contnet.ode.integrate import IntegrationError
from contnet.ode.manifestation import Manifestation
from contnet.ode.projection import project


def sweep(subject: Subject, plan: Plan, reference: Outcome, store: Store) -> Iterator[Result]:
    """Yield the result of each variant that a plan asks for, in the order of `Plan.variants`.

    Between two results the network is as it was trained. A variant whose integration fails has a
    result that says why.

    Args:
        subject: the network and its conditions.
        plan: the variants.
        reference: the outcome as trained, which the others are compared with.
        store: outcomes that an earlier sweep has saved, and where new ones are saved.
    """
    trained = as_trained(subject.network)
    networks: dict[Basis | None, nn.Module] = {None: subject.network}
    for basis in plan.projections(subject.network):
        networks[basis] = project(subject.network, basis.n_basis, basis.name)
    timed: dict[tuple[Basis | None, Manifestation], Outcome] = {}
    for variant in plan.variants(subject.network):
        network = networks[variant.basis]
        result = _without_figures(subject, network, variant, variant == trained)
        try:
            outcome = outcome_of(subject, network, variant, store)
        except IntegrationError as error:
            yield replace(result, failed=str(error))
            continue
        # Recalibration changes numbers, not the graph. Two measurements of its latency would differ
        # by noise alone, so the first one stands for both.
        graph = (variant.basis, variant.manifestation)
        first = timed.setdefault(graph, outcome)
        outcome = replace(outcome, latency=first.latency, measured=first.measured)
        yield measure(result, outcome, reference)


def as_trained(network: nn.Module) -> Variant:
    """Return the variant that a network is in.

    Raises:
        ValueError: if its ODE blocks differ in scheme or number of steps.
    """
    return Variant(present(network))


def outcome_of(subject: Subject, network: nn.Module, variant: Variant, store: Store) -> Outcome:
    """Return the outcome of a variant from the store, or evaluate it and save it there.

    Args:
        subject: the subject that the variant is of.
        network: its network with theta(t) in the basis of the variant.
        variant: the manifestation, and whether to recalibrate.
        store: the outcomes on disk.

    Raises:
        IntegrationError: if an adaptive scheme cannot reach its tolerance.
    """
    key = digest([subject.identity, variant])
    saved = store.load(key)
    if saved is not None:
        return saved
    conditions = subject.conditions
    statistics = (
        recalibrated(network, conditions.training_images())
        if variant.recalibrated
        else nullcontext()
    )
    with applied(network, variant.manifestation), conditions.precision(), statistics:
        outcome = replace(observe(network, conditions.test), measured=store.run)
    store.save(key, outcome)
    return outcome


def _without_figures(
    subject: Subject, network: nn.Module, variant: Variant, trained: bool
) -> Result:
    depth = depth_time(network)
    return Result(
        checkpoint=subject.name,
        manifestation=variant.manifestation,
        trained=trained,
        recalibrated=variant.recalibrated,
        parameters=n_parameters(network),
        basis=depth.basis if depth else None,
        projected=variant.basis is not None,
        seen=variant.manifestation in seen_in_training(subject.network),
    )
