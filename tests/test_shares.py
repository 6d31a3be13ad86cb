"""Each class deals its share to the parts, and is told where that is less than one image."""

import pytest

from resnet_lib.datasets.shares import checked, shared_out, too_few


@pytest.mark.parametrize(
    ("n", "validation", "test", "expected"),
    [
        (100, 0.1, 0.1, [80, 10, 10]),
        (3, 0.1, 0.1, [1, 1, 1]),
        (3, 0.9, 0.05, [1, 1, 1]),
        (10, 0.05, 0.9, [1, 1, 8]),
        (15, 0.1, 0.2, [10, 2, 3]),
    ],
)
def test_shares(n, validation, test, expected):
    dealt = shared_out(list(range(n)), checked(validation, test))
    assert [len(dealt[part]) for part in ("train", "validation", "test")] == expected
    assert sorted(row for rows in dealt.values() for row in rows) == list(range(n))


def test_what_is_dealt_first_does_not_depend_on_what_comes_after():
    few, many = (shared_out(list(range(n)), checked(0.1, 0.1)) for n in (20, 21))
    assert few["test"] == many["test"] == [0, 1]


@pytest.mark.parametrize(
    ("counts", "shares", "small"),
    [
        ({"a": 10, "b": 20}, {"validation": 0.1, "test": 0.1}, None),
        ({"a": 9, "b": 20}, {"validation": 0.1, "test": 0.1}, "a (9)"),
        ({"a": 9, "b": 20}, {"validation": 0.2}, None),
        ({"a": 9, "b": 4}, {"validation": 0.2}, "b (4)"),
        ({"a": 1, "b": 1}, {}, None),
    ],
)
def test_classes_too_small_for_their_share_are_named(counts, shares, small):
    told = too_few(counts, shares)
    assert (told is None) == (small is None)
    if small:
        assert told.startswith("1 of 2 classes are too small for their share of validation")
        assert f"there: {small}. " in told


def test_of_many_small_classes_ten_are_named():
    told = too_few({f"c{i}": 3 for i in range(12)}, {"test": 0.1})
    assert told.startswith("12 of 12 classes")
    assert "c9 (3) and 2 more. " in told


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 1), (0.5, 0.5), ("a", 0.1), (True, 0.1)])
def test_shares_that_are_none(shares):
    with pytest.raises(ValueError, match=r"^Expected .* Received: "):
        checked(*shares)
