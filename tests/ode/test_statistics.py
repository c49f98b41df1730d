"""Running statistics of each manifestation."""

import copy

import pytest
import torch
from torch import Tensor, nn

from contnet import SCHEMES, ContinuousNet, project
from contnet.ode import statistics
from contnet.ode.bases import BASES
from contnet.ode.depth_time import depth_time
from contnet.ode.manifestation import Manifestation
from contnet.ode.norms import norms
from contnet.ode.schemes import find_scheme
from contnet.ode.statistics import Rows, rows_of

EULER_2, EULER_8 = (Manifestation(SCHEMES["euler"], n) for n in (2, 8))
RK4_1 = Manifestation(SCHEMES["rk4_classic"], 1)
SET = (EULER_2, EULER_8, RK4_1)


def network(**options: object) -> ContinuousNet:
    made = ContinuousNet(alpha=2, initial_time_d=2, **options)  # type: ignore[arg-type]
    statistics.provide(made, SET)
    return made


def train(made: ContinuousNet, manifestation: Manifestation, n_batches: int = 1) -> None:
    depth = depth_time(made)
    assert depth is not None
    with depth.manifested(manifestation):
        for _ in range(n_batches):
            made.train()(3 * torch.randn(8, 3, 8, 8) + 1)


def present(made: nn.Module) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": buffer.clone()
        for number, norm in enumerate(norms(made))
        for name, buffer in norm.named_buffers(recurse=False)
    }


def in_manifestation(made: ContinuousNet, manifestation: Manifestation) -> dict[str, Tensor]:
    depth = depth_time(made)
    assert depth is not None
    with depth.manifested(manifestation):
        return present(made)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("basis", BASES)
def test_each_manifestation_has_the_statistics_of_its_own_batches(basis: str) -> None:
    with_others, alone = network(basis=basis), ContinuousNet(alpha=2, initial_time_d=2, basis=basis)
    statistics.provide(alone, SET)
    alone.load_state_dict(with_others.state_dict())
    statistics.provide(alone, ())
    new = list(norms(copy.deepcopy(alone)))
    state = torch.get_rng_state()
    train(alone, RK4_1, n_batches=3)
    train(with_others, EULER_2)
    statistics.provide(with_others, SET)  # changes nothing: the rows are taken over
    for norm, initial in zip(norms(with_others), new, strict=True):
        rows = rows_of(norm)  # RK4 begins as if no other had been trained
        assert rows is not None
        rows.keep(2, initial)
    torch.set_rng_state(state)
    train(with_others, RK4_1, n_batches=3)
    train(with_others, EULER_8)
    expected = present(alone)
    assert same(in_manifestation(with_others, RK4_1), expected)
    assert not same(in_manifestation(with_others, EULER_8), expected)
    assert len(list(norms(with_others))) > 6  # outside the blocks as well


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (("rk4_classic", 1), RK4_1),
        (("midpoint", 1), EULER_2),  # 2 evaluations
        (("euler", 3), RK4_1),  # 4 / 3 is nearer than 3 / 2
        (("euler", 4), RK4_1),  # as many evaluations by another scheme
        (("rk4_classic", 8), EULER_8),
        (("dopri5", None), EULER_8),
    ],
)
def test_a_manifestation_without_statistics_takes_those_nearest_in_cost(
    wanted: tuple[str, int | None], taken: Manifestation
) -> None:
    made = network()
    for one in SET:
        train(made, one)
    scheme, n_time_steps = wanted
    found = in_manifestation(made, Manifestation(find_scheme(scheme), n_time_steps))
    assert same(found, in_manifestation(made, taken))


def test_statistics_of_no_batch_are_never_taken_where_there_are_others() -> None:
    made = network()
    train(made, EULER_8)
    expected = in_manifestation(made, EULER_8)
    assert same(in_manifestation(made, RK4_1), expected)
    loaded = network()
    loaded.load_state_dict(made.state_dict())
    assert same(in_manifestation(loaded, RK4_1), expected)


@pytest.mark.parametrize("basis", BASES)
def test_refinement_keeps_the_statistics_of_each_manifestation(basis: str) -> None:
    made = network(basis=basis).double()
    for one in SET:
        depth = depth_time(made)
        assert depth is not None
        with depth.manifested(one):
            made.train()(torch.randn(8, 3, 8, 8, dtype=torch.float64))
    made.eval()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    depth = depth_time(made)
    assert depth is not None

    def outputs() -> list[Tensor]:
        found = []
        for one in SET:
            with depth.manifested(one), torch.no_grad():
                found.append(made(x))
        return found

    before = outputs()
    made.refine()
    assert made.blocks[0].n_time_steps == 4  # type: ignore[union-attr]
    for one, old, new in zip(SET, before, outputs(), strict=True):
        # theta(t) is the same function, so its steps are the same as well.
        torch.testing.assert_close(new, old, msg=str(one))


def test_a_projection_has_the_projected_statistics_of_each_manifestation() -> None:
    made = network()
    for one in SET:
        train(made, one)
    shallow = project(made, 1, "piecewise_constant")
    for number, block in enumerate(made.blocks):
        nodes = [rows_of(node.bn1) for node in block.nodes]  # type: ignore[union-attr]
        projected = rows_of(shallow.blocks[number].nodes[0].bn1)  # type: ignore
        assert projected is not None
        means = torch.stack([rows.running_mean for rows in nodes])  # type: ignore
        torch.testing.assert_close(projected.running_mean, means.mean(0))
        deviations = torch.stack([rows.running_var.sqrt() for rows in nodes])  # type: ignore
        torch.testing.assert_close(projected.running_var, deviations.mean(0) ** 2)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_change_before_the_backward_pass_leaves_the_gradient_as_it_is(training: bool) -> None:
    made = network().double()
    train_x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    made(train_x)
    made.train(training)
    gradients = []
    for changes in (False, True):
        copied = copy.deepcopy(made)
        loss = copied(train_x).square().sum()
        if changes:
            copied.set_manifestation("rk4_classic", 1)
        loss.backward()
        gradients.append([p.grad for p in copied.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


def test_a_saved_network_has_its_statistics_when_it_is_loaded_and_copied() -> None:
    made = network()
    for one in SET:
        train(made, one)
    loaded = network()
    loaded.load_state_dict(made.state_dict())
    for other in (loaded, copy.deepcopy(made)):
        for one in SET:
            assert same(in_manifestation(other, one), in_manifestation(made, one))


def test_a_network_without_rows_keeps_its_statistics_in_every_manifestation() -> None:
    made = ContinuousNet(alpha=2, initial_time_d=2)
    train(made, EULER_8)
    assert same(in_manifestation(made, RK4_1), present(made))
    assert statistics.provided(made) == ()
    assert not any(isinstance(module, Rows) for module in made.modules())


def test_a_network_without_norms_remembers_the_manifestations_that_it_is_trained_in() -> None:
    made = ContinuousNet(alpha=2, batch_norm=False)
    statistics.provide(made, SET)
    assert statistics.provided(made) == statistics.provided(copy.deepcopy(made)) == SET
    statistics.provide(made, ())
    assert statistics.provided(made) == ()


def _load_other_statistics(made: ContinuousNet) -> None:
    other = network()
    for one in SET:
        train(other, one)
    made.load_state_dict(other.state_dict())


def _write_to_the_rows(made: ContinuousNet) -> None:
    for norm in norms(made):
        rows = rows_of(norm)
        assert isinstance(rows, Rows)
        rows.get_buffer("running_mean").mul_(2)


def _write_to_the_norms(made: ContinuousNet) -> None:
    for norm in norms(made):
        norm.get_buffer("running_var").fill_(7)


def _train(made: ContinuousNet) -> None:
    train(made, RK4_1)
    made.eval()


CHANGES = {
    "loading": _load_other_statistics,
    "writing to the rows": _write_to_the_rows,
    "writing to the norms": _write_to_the_norms,
    "training": _train,
    "moving": lambda made: made.double(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("copied", [False, True])
def test_a_served_network_takes_the_statistics_that_its_rows_have_now(
    change: str, copied: bool
) -> None:
    made = network()
    for one in SET:
        train(made, one)
    made.eval()
    for one in (*SET, *SET):
        made.set_manifestation(one.scheme, one.n_time_steps)
    if copied:
        made = copy.deepcopy(made)
    CHANGES[change](made)
    made.set_manifestation(EULER_2.scheme, EULER_2.n_time_steps)
    rows = {
        f"{number}.{name}": rows_of(norm).get_buffer(name)[2].clone()
        for number, norm in enumerate(norms(made))
        for name, _ in norm.named_buffers(recurse=False)
    }
    assert same(in_manifestation(made, RK4_1), rows)


def test_statistics_taken_for_inference_can_be_trained_with_later() -> None:
    made = network()
    for one in SET:
        train(made, one)
    with torch.inference_mode():
        in_manifestation(made.eval(), RK4_1)
    with depth_time(made).manifested(RK4_1):
        made.train()(torch.randn(8, 3, 8, 8)).sum().backward()


def test_a_served_network_changes_its_manifestation_without_new_tensors() -> None:
    made = network()
    for one in SET:
        train(made, one)
    made.eval()
    in_manifestation(made, RK4_1)
    before = [norm.running_mean for norm in norms(made) if rows_of(norm)]
    with depth_time(made).manifested(RK4_1):
        taken = [norm.running_mean for norm in norms(made)]
    with depth_time(made).manifested(RK4_1):
        again = [norm.running_mean for norm in norms(made)]
    assert all(one is other for one, other in zip(taken, again, strict=True))
    assert not any(one is other for one, other in zip(taken, before, strict=True))
