"""What the package refuses, and how it says so: "Expected … Received …", in one wording.

A function takes the argument's name (`classes` and `input_shape` know theirs) and its value, and
returns the value in the type to use. Nothing here imports Keras.
"""

import contextlib
import difflib
import math
import operator
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def integer(name: str, value: Any) -> int:
    """Return `value` as an int; TypeError if it is none."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"Expected `{name}` to be an integer. Received: {value!r}") from None


def count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return `value` as an int from `least` to `most`; ValueError, with the nearest, if not."""
    try:
        number = integer(name, value)
    except TypeError:
        number = None
    if number is not None and number >= least and (most is None or number <= most):
        return number
    wanted = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
    nearest = ""
    if number is not None:
        nearest = f"; the nearest valid value is {least if number < least else most:,}"
    raise ValueError(
        f"Expected `{name}` to be a whole number {wanted}. Received: {value!r}{nearest}"
    )


def number(
    name: str,
    value: Any,
    least: float = 0,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return a finite number in a range; ValueError if it is none.

    Args:
        name: the argument's name.
        value: int or float of Python or NumPy.
        least: the smallest valid value; `above` takes its place.
        most: the largest valid value.
        above: a bound that is not valid itself.
        below: a bound that is not valid itself.
    """
    try:
        found = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    low = found >= least if above is None else found > above
    high = (most is None or found <= most) and (below is None or found < below)
    if math.isfinite(found) and low and high:
        return value
    wanted = f"of at least {least:g}" if above is None else f"above {above:g}"
    wanted += "" if most is None else f", at most {most:g}"
    wanted += "" if below is None else f", below {below:g}"
    raise ValueError(f"Expected `{name}` to be a number {wanted}. Received: {value!r}")


def flag(name: str, value: Any) -> bool:
    """Return True or False; ValueError if it is neither."""
    if not isinstance(value, bool):
        raise ValueError(f"Expected `{name}` to be True or False. Received: {value!r}")
    return value


def line(name: str, value: Any) -> str:
    """Return a text of one printable line; ValueError if it is none, or empty."""
    if not (isinstance(value, str) and value and value.isprintable()):
        raise ValueError(f"Expected `{name}` to be one printable line. Received: {value!r}")
    return value


def path(name: str, value: Any) -> Path:
    """Return a path, with `~` as the user's folder; ValueError if it is none."""
    try:
        found = Path(value).expanduser()
    except (TypeError, RuntimeError):  # It is no text, or there is no such user.
        found = None
    if found is None or "\0" in str(found):
        raise ValueError(
            f"Expected `{name}` to be a path, its ~ of a user of this machine. Received: {value!r}"
        )
    return found


def choice(name: str, value: Any, choices: Mapping | Iterable) -> Any:
    """Return `value`, or what a dict holds under it; ValueError, with the choices, if it is none.

    A text that is nearly one of the choices is told which.
    """
    try:
        known = value in choices
    except TypeError:  # It cannot be looked up, as a list.
        known = False
    if known:
        return choices[value] if isinstance(choices, Mapping) else value
    valid = ", ".join(map(repr, choices))
    near = difflib.get_close_matches(str(value), [str(each) for each in choices], n=1)
    nearest = f"; the nearest: {near[0]!r}" if near else ""
    raise ValueError(f"Expected `{name}` to be one of {valid}. Received: {value!r}{nearest}")


def classes(num_classes: Any) -> int:
    """Return the number of classes as an int of at least 1."""
    found = integer("num_classes", num_classes)
    if found < 1:
        raise ValueError(f"Expected at least 1 class. Received: num_classes={found}")
    return found


def input_shape(shape: Any, smallest: int) -> tuple[int | None, int | None, int]:
    """Return (height, width, channels), height and width None or at least `smallest`."""
    expected = (
        "Expected input_shape as (height, width, channels), without the batch, height and width "
        f"at least {smallest} or None, channels at least 1, such as (32, 32, 3). "
        f"Received: {shape!r}"
    )
    try:
        height, width, channels = shape
        sides = [None if side is None else integer("side", side) for side in (height, width)]
        channels = integer("channels", channels)
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    if channels < 1 or any(side is not None and side < smallest for side in sides):
        raise ValueError(expected)
    return (*sides, channels)


# What stands between the reader's line and a warning: this package, and its decorators.
_OURS = (f"{Path(__file__).parent}{os.sep}", contextlib.__file__)


def warn(text: str) -> None:
    """Warn as from the line outside of this package that has called into it.

    Args:
        text: a sentence or two. What is no text in UTF-8, as a file's name may be, is escaped.
    """
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(encodable(text), stacklevel=level if frame is not None else 2)


def encodable(text: str) -> str:
    """Return a text that can be written anywhere: names of files may not be UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def ten_of(names: Sequence[str]) -> str:
    """Return names with commas, ten at most, and how many there are more."""
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
