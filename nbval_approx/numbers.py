"""Numbers in what a cell outputs, and how far each tag lets them differ (see `nbval_approx`)."""

import re
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import NamedTuple

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
# A point or an exponent makes a number decimal. Not in a word (conv2.1) nor in a version (2.21.0).
_DECIMAL = rf"(?<![\w.])[-+]?(?:{_DIGITS}\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)(?!\d|\.\d)"
# Neither part of a word (float32, ResNet-50, 20-layer), of a shape (32x32), of a fraction (16/20)
# nor of a list without blanks (16,32,64); the sign of a unit of time or a factor may follow.
_WHOLE = (
    rf"(?<![\w.])(?<!\w[-/])(?<!\d,)[-+]?{_DIGITS}"
    r"(?=(?:h|min|s|ms|µs|x)?(?!\w|[.,]\d|-\w|/\d))"
)
# With the blanks in front, for these depend on how wide the number is.
NUMBER = re.compile(rf" *(?:{_DECIMAL}|{_WHOLE})")


class Number(NamedTuple):
    """A number as it stands in a text."""

    text: str
    percent: bool

    @property
    def value(self) -> Decimal:
        """Exactly what is written: 0.90 is 0.05 more than 0.85."""
        return Decimal(self.text.replace(",", ""))

    @property
    def decimal(self) -> bool:
        """Whether it has a point or an exponent."""
        return any(sign in self.text for sign in ".eE")


def numbers(text: str) -> list[Number]:
    """Return the numbers of a text in their order."""
    return [
        Number(match[0].strip(), text.startswith(("%", " %"), match.end()))
        for match in NUMBER.finditer(text)
    ]


class Tag(NamedTuple):
    """Which numbers a tag frees, and which of them are close to the saved ones."""

    frees: Callable[[Number], bool]
    close: Callable[[Number, Number], bool]
    within: str


def _approximately(new: Number, saved: Number) -> bool:
    a, b = new.value, saved.value
    return abs(a - b) <= max(Decimal("0.02") * max(abs(a), abs(b)), Decimal("0.002"))


def _is_accuracy(number: Number) -> bool:
    if number.percent:
        return 0 <= number.value <= 100
    return number.decimal and 0 <= number.value <= 1


def _as_accurate(new: Number, saved: Number) -> bool:
    return abs(new.value - saved.value) <= (5 if saved.percent else Decimal("0.05"))


def _is_loss(number: Number) -> bool:
    return number.decimal and not number.percent


def _as_lossy(new: Number, saved: Number) -> bool:
    return abs(new.value - saved.value) <= abs(saved.value) / 4


TAGS = {
    "nbval-approx": Tag(lambda number: number.decimal, _approximately, "2% or 0.002"),
    "nbval-accuracy": Tag(_is_accuracy, _as_accurate, "0.05 (of 1) or 5 (of 100 %)"),
    "nbval-loss": Tag(_is_loss, _as_lossy, "a quarter"),
    "nbval-time": Tag(lambda number: True, lambda new, saved: True, "any number"),
}


def freeing(number: Number, tags: Collection[str]) -> dict[str, Tag]:
    """Return those of a cell's tags that free a number: {name: Tag}."""
    names = [name for name in TAGS if name in tags]
    if number.percent and "nbval-accuracy" in names:
        names = ["nbval-accuracy"]
    return {name: TAGS[name] for name in names if TAGS[name].frees(number)}


def settled_text(new: str, saved: str, tags: Collection[str], notes: list[str]) -> str:
    """Return `new` with the numbers that may stand for those of `saved` replaced by them.

    Args:
        new: a text that a cell has output.
        saved: the text in its place in the notebook.
        tags: the cell's tags; only those of `TAGS` matter.
        notes: what is appended to: a line for each number that is too far off.
    """
    if NUMBER.split(new) != NUMBER.split(saved):
        return new
    triples = zip(numbers(new), numbers(saved), NUMBER.findall(saved), strict=True)
    replaced = iter([whole if _settles(a, b, tags, notes) else None for a, b, whole in triples])
    return NUMBER.sub(lambda match: next(replaced) or match[0], new)


def _settles(new: Number, saved: Number, tags: Collection[str], notes: list[str]) -> bool:
    """Say whether one tag takes a number for the saved one; if not, note what each expects."""
    asked = freeing(saved, tags)
    if any(tag.frees(new) and tag.close(new, saved) for tag in asked.values()):
        return True
    if new != saved:
        notes += [
            f"{name}: expected {saved.text} within {tag.within}, received {new.text}"
            for name, tag in asked.items()
        ]
    return False
