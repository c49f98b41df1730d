from collections.abc import Sequence
from typing import Any

from contnet import SCHEMES, ContinuousNet, ResNet
from contnet.invariance.manifestation import manifestations, seen_in_training
from contnet.invariance.plan import Plan
from contnet.ode import statistics
from contnet.ode.manifestation import Manifestation
from tests.invariance.results import EULER_2


def test_manifestations_are_all_combinations_and_always_the_one_of_training() -> None:
    network = ContinuousNet(alpha=2, initial_time_d=2)
    found = manifestations(network, ["euler", "rk4", "dopri5"], [1, 4], [1e-2, 1e-3])
    assert list(map(str, found)) == [
        "euler, 2 steps",
        *(
            "euler, 1 step",
            "euler, 4 steps",
            "rk4, 1 step",
            "rk4, 4 steps",
            "dopri5, rtol 0.01",
            "dopri5, rtol 0.001",
        ),
    ]
    assert manifestations(network, None, None, None) == [EULER_2]
    assert list(map(str, manifestations(network, ["dopri5"], None, None)[1:])) == [
        "dopri5, rtol 0.0001"
    ]
    adaptive = ContinuousNet(alpha=2, initial_time_d=4, scheme="bosh3", rtol=1e-2)
    assert list(map(str, manifestations(adaptive, ["rk4"], None, None))) == [
        "bosh3, rtol 0.01",
        "rk4, 4 steps",
    ]
    assert manifestations(ResNet(depth=8), ["euler"], [1, 2], None) == [Manifestation(None)]


def test_a_network_trained_in_a_set_is_studied_on_it_unless_others_are_named() -> None:
    seen = [Manifestation(SCHEMES[s], n) for s, n in (("euler", 1), ("euler", 4), ("rk4", 1))]
    network = ContinuousNet(alpha=2, initial_time_d=2)
    assert seen_in_training(network) == (EULER_2,)
    statistics.provide(network, seen)
    assert seen_in_training(network) == tuple(seen)

    def planned(*asked: Sequence[Any] | None) -> list[str]:
        return [str(one) for one in Plan(*asked, seen=True).manifestations(network)]

    home = "euler, 2 steps"  # the others are compared with it, whether it was drawn or not
    assert planned() == [home, "euler, 1 step", "euler, 4 steps", "rk4, 1 step"]
    assert planned(["midpoint"]) == [home, "midpoint, 1 step", "midpoint, 4 steps"]
    assert planned(None, [8]) == [home, "euler, 8 steps", "rk4, 8 steps"]
    assert planned(["midpoint"], [2]) == [home, "midpoint, 2 steps"]
    assert planned(["dopri5"]) == [home, "dopri5, rtol 0.0001"]
    assert Plan().manifestations(network) == [EULER_2]
    assert Plan(seen=True).manifestations(ContinuousNet(alpha=2, initial_time_d=2)) == [EULER_2]
