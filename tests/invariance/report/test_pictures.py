from contnet.invariance.report.latency import pareto_front


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.8), (3.0, 0.7), (5.0, 0.8), (6.0, 0.9)]
    assert pareto_front(points) == [(1.0, 0.5), (3.0, 0.8), (6.0, 0.9)]
