"""Figures have the digits that tell them apart and that their deviations justify."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contnet.runs.rounding import Figure, shortened, shown


def singles(*values: float) -> list[Figure | None]:
    return [Figure.of([value]) for value in values]


def test_the_deviation_is_that_of_a_sample() -> None:
    assert Figure.of([1.0, 2.0, 4.0]) == Figure(7 / 3, pytest.approx(1.527525), 3)
    assert Figure.of([3.0]) == Figure(3.0, None, 1)
    assert Figure.of([]) is None


@pytest.mark.parametrize(
    ("figures", "texts"),
    [
        (singles(0.607299983, 0.607100012), ["0.6073", "0.6071"]),
        (singles(0.607299983, 0.983), ["0.607", "0.983"]),
        (singles(0.6073, 0.6073), ["0.607", "0.607"]),
        (singles(1186.18, 1204.2), ["1,186", "1,204"]),
        (singles(23.63, 25.51), ["23.6", "25.5"]),
        (singles(69090, 44562), ["69,090", "44,562"]),
        ([Figure(0.60734, 0.0042, 3)], ["0.607 ± 0.004"]),
        ([Figure(0.60734, 0.0142, 3)], ["0.607 ± 0.014"]),
        ([Figure(0.60734, 0.02, 3), Figure(0.63, 0.03, 2)], ["0.61 ± 0.02", "0.63 ± 0.03"]),
        ([Figure(0.6073, 0.02, 3), Figure(0.6107, 0.03, 2)], ["0.607 ± 0.020", "0.611 ± 0.030"]),
        ([Figure(1636.0, 97.0, 2)], ["1,636 ± 97"]),
        ([Figure(5.2, 0.3, 2), Figure(7.5, 0.04, 2)], ["5.20 ± 0.30", "7.50 ± 0.04"]),
        ([Figure(4.11, 0.31, 2), Figure(6.21, 2.2, 2)], ["4.1 ± 0.3", "6.2 ± 2.2"]),
        ([Figure(1.61, 1.21, 2), Figure(4.2, 4.1, 2)], ["1.6 ± 1.2", "4.2 ± 4.1"]),
        ([Figure(0.51, 0.3, 2), Figure(0.62, 0.02, 2)], ["0.51 ± 0.30", "0.62 ± 0.02"]),
        ([Figure(0.5, 0.0, 2), None], ["0.500 ± 0.000", "-"]),
        ([*singles(0.5, inf), Figure.of([0.5, nan])], ["0.500", "nan", "nan"]),
        (singles(0.0, 0.0), ["0", "0"]),
        ([], []),
    ],
)
def test_digits(figures: list[Figure | None], texts: list[str]) -> None:
    assert shown(figures) == texts


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=6))
def test_a_figure_is_shown_within_half_a_unit_of_its_fifth_digit(values: list[float]) -> None:
    largest = max(values)
    for value, text in zip(values, shown(singles(*values)), strict=True):
        assert abs(float(text.replace(",", "")) - value) <= max(0.5, largest / 100)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["0.0646642271741456", "0.26512259742", "0.1"], ["0.065", "0.27", "0.1"]),
        (["0.0014141", "0.0014152"], ["0.00141", "0.00142"]),
        (["0.00014135935551", "euler"], ["0.00014", "euler"]),
        (["0.1", "0.01"], ["0.1", "0.01"]),
        (["12345678", "2"], ["12345678", "2"]),
    ],
)
def test_values_of_a_setting_are_as_long_as_tells_them_apart(
    values: list[str], texts: list[str]
) -> None:
    assert shortened(values) == texts
