"""What the builders of networks refuse, and how they say it."""

import operator


def integer(name, value):
    """Return `value` as an int; TypeError if it is none."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"Expected `{name}` to be an integer. Received: {value!r}") from None


def checked_classes(num_classes):
    """Return the number of classes as an int of at least 1."""
    num_classes = integer("num_classes", num_classes)
    if num_classes < 1:
        raise ValueError(f"Expected at least 1 class. Received: num_classes={num_classes}")
    return num_classes


def checked_shape(shape, smallest):
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


def choose(name, value, choices):
    """Return what a dict holds under `value`; ValueError, with the keys, if it is none of them."""
    if not isinstance(value, str) or value not in choices:
        valid = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"Expected `{name}` to be one of {valid}. Received: {value!r}")
    return choices[value]
