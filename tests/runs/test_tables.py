from contnet.runs.tables import without_shared


def test_a_column_that_is_equal_in_all_rows_is_said_once() -> None:
    columns = {"scheme": ["euler", "euler"], "steps": ["1", "2"], "ms": ["3", "3"]}
    shared, differing = without_shared(columns, kept=["ms"])
    assert shared == {"scheme": "euler"}
    assert differing == {"steps": ["1", "2"], "ms": ["3", "3"]}


def test_one_row_shares_nothing() -> None:
    assert without_shared({"scheme": ["euler"]}) == ({}, {"scheme": ["euler"]})
