"""Setting aside a share of each class for validation and for the test."""

from collections.abc import Mapping
from typing import Any

from .. import checks

Rows = list[Any]


def checked(validation: float, test: float) -> dict[str, float]:
    """Return {part: share}; ValueError if the shares leave no picture for training."""
    for name, share in (("validation", validation), ("test", test)):
        checks.number(name, share, above=0, below=1)
    if validation + test >= 1:
        raise ValueError(
            "Expected `validation` and `test` to be shares that leave some images for training. "
            f"Received: {validation!r} and {test!r}"
        )
    return {"test": test, "validation": validation}


def shared_out(rows: Rows, shares: Mapping[str, float]) -> dict[str, Rows]:
    """Deal one class: to each part its share, but at least one image, and one to those after it.

    Args:
        rows: what to deal, in the order in which it is dealt; more than there are shares.
        shares: {part: share}; the rest is for "train".

    Returns:
        {part: rows}.
    """
    dealt, left = {}, rows
    for i, (part, share) in enumerate(shares.items()):
        after = len(shares) - i
        count = min(max(1, round(share * len(rows))), len(left) - after)
        dealt[part], left = left[:count], left[count:]
    return {**dealt, "train": left}


def too_few(counts: Mapping[str, int], shares: Mapping[str, float]) -> str | None:
    """Return a sentence on the classes whose share of a part is less than one image, or None.

    Args:
        counts: {class: images}.
        shares: {part: share}.
    """
    small = [name for name, n in counts.items() if any(n * s < 1 for s in shares.values())]
    if not small:
        return None
    parts = " and ".join(sorted(shares, reverse=True))
    told = checks.ten_of([f"{name} ({counts[name]:,})" for name in small])
    return (
        f"{len(small):,} of {len(counts):,} classes are too small for their share of {parts}, so "
        f"a single image of each stands for it there: {told}. What is measured "
        "on one image is 0 or 100 %"
    )
