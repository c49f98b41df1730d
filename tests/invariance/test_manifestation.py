from contnet import ContinuousNet, ResNet
from contnet.invariance.manifestation import manifestations
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
