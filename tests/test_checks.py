"""Refusals: one wording, what was received, and the nearest valid value where there is one."""

import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from resnet_lib import checks

VALID = [
    (checks.integer, ("n", np.int64(3)), 3),
    (checks.count, ("n", 1), 1),
    (checks.count, ("n", 5, 5, 5), 5),
    (checks.number, ("x", 0), 0),
    (checks.number, ("x", np.float32(0.5), 0, 0.5), 0.5),
    (checks.number, ("x", -1.5, -2), -1.5),
    (checks.flag, ("yes", False), False),
    (checks.choice, ("which", "a", ("a", "b")), "a"),
    (checks.choice, ("which", "a", {"a": 7}), 7),
    (checks.choice, ("which", None, ("a", None)), None),
    (checks.line, ("source", "one line"), "one line"),
    (checks.path, ("out", "a/b"), Path("a/b")),
    (checks.classes, (4,), 4),
    (checks.input_shape, ((32, None, 3), 8), (32, None, 3)),
]


@pytest.mark.parametrize(("check", "arguments", "returned"), VALID)
def test_what_is_valid_is_returned_as_it_is_to_be_used(check, arguments, returned):
    found = check(*arguments)
    assert found == returned
    assert type(found) in (type(returned), type(arguments[-1]), np.float32)


REFUSED = [
    (checks.count, ("n", 0), "`n` to be a whole number of at least 1. Received: 0; .* value is 1"),
    (checks.count, ("n", 2000, 1, 1500), "from 1 to 1,500. Received: 2000; .* is 1,500"),
    (checks.count, ("n", 2.0), "a whole number of at least 1. Received: 2.0$"),
    (checks.count, ("n", True), "Received: True$"),
    (checks.number, ("x", -1), "`x` to be a number of at least 0. Received: -1"),
    (checks.number, ("x", 2, 0, 1), "of at least 0, at most 1. Received: 2"),
    (checks.number, ("x", math.inf), "Received: inf"),
    (checks.number, ("x", math.nan), "Received: nan"),
    (checks.number, ("x", 10**400), "Received: 1000"),
    (checks.number, ("x", "1"), "Received: '1'"),
    (checks.number, ("x", None), "Received: None"),
    (checks.flag, ("yes", 1), "`yes` to be True or False. Received: 1"),
    (checks.choice, ("which", "stndard", ("example", "standard")), "; the nearest: 'standard'"),
    (checks.choice, ("which", ["a"], ("a",)), r"one of 'a'. Received: \['a'\]"),
    (checks.line, ("source", "two\nlines"), "`source` to be one printable line"),
    (checks.path, ("out", "~nobody-of-this-name/x"), "`out` to be a path"),
    (checks.path, ("out", 3), "`out` to be a path.*Received: 3"),
    (checks.classes, (0,), "at least 1 class. Received: num_classes=0"),
    (checks.input_shape, ((7, 32, 3), 8), r"at least 8 or None.*Received: \(7, 32, 3\)"),
]


@pytest.mark.parametrize(("check", "arguments", "said"), REFUSED)
def test_what_is_refused_says_what_was_expected_and_received(check, arguments, said):
    with pytest.raises(ValueError, match=said) as refused:
        check(*arguments)
    assert str(refused.value).startswith("Expected ")


@pytest.mark.parametrize(("bound", "edge"), [("above", 0), ("below", 1)])
def test_a_bound_that_is_not_valid_itself(bound, edge):
    assert checks.number("x", 0.5, **{bound: edge}) == 0.5
    with pytest.raises(ValueError, match=f"{bound} {edge}. Received: {edge}"):
        checks.number("x", edge, **{bound: edge})


@pytest.mark.parametrize("value", [2.0, "2", None, True])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="`n` to be an integer"):
        checks.integer("n", value)


@contextmanager
def nothing():
    yield


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("decorate", [lambda function: function, nothing()], ids=["", "decorated"])
def test_a_warning_comes_from_the_line_that_called_into_the_package(steps, decorate):
    source = "def into(text, n): return into(text, n - 1) if n else warn(text)"
    inside = {"warn": checks.warn}
    exec(compile(source, str(Path(checks.__file__).with_name("inner.py")), "exec"), inside)
    with pytest.warns(UserWarning, match="mind") as told:
        decorate(inside["into"])("mind", steps)
    assert [each.filename for each in told] == [__file__]


def test_a_warning_of_a_name_that_is_no_text_can_be_written():
    with pytest.warns(UserWarning) as told:
        checks.warn("\udcff.png is none")
    assert str(told[0].message).encode() == b"\\udcff.png is none"
