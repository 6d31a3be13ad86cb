"""Figures of what a trained network answered: which classes it confuses, its mistakes, its maps."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .figures import COLOURS, LINES, Figure, figure, listed, plain, styled
from .inspection import Signal

NUMBERED = 25  # classes, up to which a confusion matrix has its counts written in
SMALL = 64  # pixels, up to which a picture's are drawn as squares


@styled
def confusion(
    counts: Any, class_names: Sequence[str] | None = None, *, title: str | None = None
) -> Figure:
    """Draw which class was taken for which.

    Args:
        counts: a run (`resnet_lib.records.Run`), whose test pictures it shows; what
            `run.evaluate(…)` returns; or a square array of counts: a row for each true class, a
            column for each answer.
        class_names: a name for each class; None: those of the run or evaluation.
        title: a line over the figure; None: the run and its images.

    Returns:
        Figure. A square is the darker, the larger its share of its row is. The alt text names the
        three largest confusions. Above 25 classes the counts are left out.

    Raises:
        ValueError: if there are not as many names as rows and columns, or the run has no test
            results.
    """
    counts, names, told = _counted(counts, class_names)
    number, right = len(counts), int(np.trace(counts))
    cell = 0.45 if number <= NUMBERED else max(0.12, 9 / number)
    fig, ax = figure(
        f"A confusion matrix of {number} classes: {right} of {counts.sum()} pictures are on the "
        f"diagonal, where true class and answer agree. {_worst(counts, names)}",
        size=(1.6 + cell * number, 1 + 0.9 * cell * number),
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(counts) if number <= NUMBERED else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        where = dict(ha="center", va="center", fontsize=8)
        ax.text(column, row, counts[row, column], color=colour, **where)
    slant = dict(rotation=45, ha="right", rotation_mode="anchor") if number > 6 else {}
    size = dict(fontsize=10 if number <= NUMBERED else 6)
    ax.set_xticks(range(number), [plain(name) for name in names], **slant, **size)
    ax.set_yticks(range(number), [plain(name) for name in names], **size)
    ax.grid(False)
    ax.set_xlabel("answer")
    ax.set_ylabel("true class")
    _head(fig, told if title is None else title)
    return fig


def _head(fig, text):
    """Write a line over a figure, or as many as it takes: 10 points are some 13 letters an inch."""
    lines = textwrap.wrap(text, max(20, int(12 * fig.get_size_inches()[0]))) or [" "]
    fig.suptitle(plain("\n".join(lines)), fontsize=10)


def _short(name, most=18):
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _counted(counts, class_names):
    """Return the counts as an array, the classes' names, and what they are of."""
    told = ""
    if hasattr(counts, "record"):
        record, told = counts.record, f"{counts.record['model']['name']}, {counts.source}"
        class_names = record["dataset"].get("classes") if class_names is None else class_names
        counts = record.get("results", {}).get("test_confusion")
        if counts is None:
            raise ValueError(
                "Expected a run with test results, in which `test_confusion` is. "
                "Received: a run without, as one that did not finish: try run.evaluate(data)"
            )
    elif hasattr(counts, "confusion"):
        class_names = counts.class_names if class_names is None else class_names
        counts, told = counts.confusion, counts.source
    counts = np.asarray(counts)
    if class_names is None:
        raise ValueError("Expected `class_names`, one for each class. Received: None")
    if counts.shape != (len(counts), len(counts)) or len(class_names) != len(counts):
        raise ValueError(
            f"Expected as many rows and columns as class names, {len(class_names)}. "
            f"Received: counts of shape {counts.shape}"
        )
    return counts, [str(name) for name in class_names], told


def _worst(counts, names):
    """Say which three confusions are the largest."""
    others = counts - np.diag(np.diag(counts))
    order = np.argsort(-others, axis=None, kind="stable")[:3]
    places = [np.unravel_index(place, counts.shape) for place in order if others.flat[place] > 0]
    if not places:
        return "No class was taken for another."
    told = [f"{names[row]} for {names[column]} ({counts[row, column]})" for row, column in places]
    return f"Most often taken: {listed(told)}."


@styled
def mistakes(
    run: Any, data: Any, *, number: int = 12, columns: int = 4, title: str | None = None
) -> Figure:
    """Draw the pictures that a network got wrong, those it was surest of first.

    Args:
        run: `resnet_lib.records.Run`.
        data: pictures whose classes are known, as `run.evaluate` takes them: a folder of folders, a
            Dataset, of which the test part is taken, or a Split.
        number: how many pictures at most.
        columns: pictures in a row.
        title: a line over the figure; None: how many were wrong, of what.

    Returns:
        Figure. Each picture is as the network saw it, in its size; over it stand the true class,
        the answer and how probable the network held it.

    Raises:
        ValueError: as `run.evaluate`.
        FileNotFoundError: if there is no such folder.
    """
    number, columns = checks.count("number", number), checks.count("columns", columns)
    source, pixels, labels, found = _answered(run, data)
    names, chances = found.class_names, found.probabilities
    answers = chances.argmax(axis=1)
    sure = chances.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:number]
    captions = [f"{names[labels[i]]}\ntaken for {names[answers[i]]}, {sure[i]:.0%}" for i in shown]
    told = f"{len(wrong):,} of {len(labels):,} wrong; {source}"
    title = told if title is None else title
    if not len(shown):
        fig, ax = figure(f"No picture: {told}.", size=(6, 1))
        ax.axis("off")
        ax.text(0.5, 0.5, plain(f"no mistake among {len(labels):,} pictures"), ha="center")
        _head(fig, title)
        return fig
    first = captions[0].replace("\n", " ")
    alt = (
        f"The {len(shown)} mistakes that the network was surest of, with true class and answer, "
        f"the first of them {first}: {told}."
    )
    fig, axes = _grid(alt, len(shown), min(columns, len(shown)), side=1.9, over=0.5)
    for ax, place, caption in zip(axes.flat, shown, captions, strict=False):
        _show(ax, pixels[place])
        ax.set_title(plain(caption), fontsize=9)
    _head(fig, title)
    return fig


def _answered(run, data):
    """Return what was asked, the pixels as the network saw them, labels and predictions."""
    from .pictures import labelled

    source, pictures, labels = labelled(data, run.card, "test")
    rows = pictures.readable()
    pixels = pictures.pixels[rows]
    return source, pixels, np.asarray(labels)[rows], run.predict(pixels)


@styled
def maps(
    pictures: ArrayLike,
    found: Mapping[str, ArrayLike],
    *,
    titles: Sequence[str] | None = None,
    title: str = "",
    alt: str | None = None,
) -> Figure:
    """Draw pictures, each beside its maps: what a network looked at.

    Args:
        pictures: one picture, array (height, width, channels), or several of one size, (n, height,
            width, channels), uint8 or float in 0-255.
        found: dict, label -> the map of `resnet_lib.explain` for the picture, array (height,
            width), or one for each picture, (n, height, width).
        titles: a line for each picture, or None.
        title: a line over the figure.
        alt: what the figure shows; None: how many pictures with which maps.

    Returns:
        Figure, a row for each picture: the picture, then each map over it. Yellow is most; in a map
        with negative numbers, red is for the class, blue against it and black nothing. Each map has
        a scale of its own.

    Raises:
        ValueError: if a map has not the height and width of its picture, or there is none.
    """
    pictures = np.asarray(pictures)
    pictures = pictures[None] if pictures.ndim == 3 else pictures
    labels = listed(found)
    several = {label: _maps_of(label, each, pictures) for label, each in found.items()}
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(
            f"Expected a title for each of {len(pictures)} pictures. Received: {len(titles)}"
        )
    count = len(pictures)
    fig, axes = _grid(
        alt or f"{count} picture{'s' * (count > 1)}, each beside its maps: {labels}.",
        count * (1 + len(several)),
        1 + len(several),
        side=1.9,
        over=0.3,
    )
    for row, picture in enumerate(pictures):
        _show(axes[row, 0], picture)
        axes[row, 0].set_title(plain(titles[row]) if titles is not None else " ", fontsize=9)
        for ax, (label, each) in zip(axes[row, 1:], several.items(), strict=True):
            _show_map(ax, picture, each[row])
            ax.set_title(plain(label), fontsize=9)
    _head(fig, title)
    return fig


@styled
def by_block(measured: Mapping[Any, Signal] | Signal, *, title: str = "") -> Figure:
    """Draw what `resnet_lib.inside` measured of each block as bars.

    Args:
        measured: `resnet_lib.inspection.Signal` of blocks; or several of one kind, dict, label ->
            Signal, side by side: of the same network, or of networks with the same blocks.
        title: a line over the figure.

    Returns:
        Figure with one axis. A value under the name "whole", that of the network as it is, is a
        line across. A block that could not be measured has no bar.

    Raises:
        ValueError: if there is nothing to draw, or the blocks differ.
    """
    several = {"": measured} if isinstance(measured, Signal) else dict(measured)
    labels, first = listed(several), next(iter(several.values()))
    if any(each.layers != first.layers for each in several.values()):
        raise ValueError("Expected measures of the same blocks. Received: of different ones")
    blocks = [name for name in first.layers if name != "whole"]
    of = f" for {labels}" if len(several) > 1 else ""
    fig, ax = figure(
        f"A bar chart of {first.what}, a bar for each of {len(blocks)} blocks{of}. "
        + " ".join(_told(label, signal) for label, signal in several.items()),
        size=(max(4, 1.5 + 0.5 * len(blocks)), 3.2),
    )
    width = 0.8 / len(several)
    for number, (label, signal) in enumerate(several.items()):
        values, colour = dict(zip(signal.layers, signal.values, strict=True)), COLOURS[number]
        whole = values.pop("whole", None)
        places = np.arange(len(blocks)) + (number - (len(several) - 1) / 2) * width
        ax.bar(places, list(values.values()), width, color=colour, label=plain(label))
        if whole is not None:
            ax.axhline(whole, color=colour, linestyle=LINES[1 + number % 3], linewidth=1)
    slant = dict(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_xticks(range(len(blocks)), [plain(name) for name in blocks], **slant)
    ax.grid(False, axis="x")
    ax.set_ylabel(first.what)
    if len(several) > 1:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(several))
    _head(fig, title)
    return fig


def _told(label, signal):
    """Say which block has the largest and which the smallest value."""
    values = {n: v for n, v in zip(signal.layers, signal.values, strict=True) if n != "whole"}
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    if not known:
        return f"{label} None could be measured.".strip()
    low, high = (chosen(known, key=known.get) for chosen in (min, max))
    begin = "Smallest" if label == "" else f"{label}: smallest"
    return f"{begin} {known[low]:.2g} at {low}, largest {known[high]:.2g} at {high}."


def _maps_of(label, found, pictures):
    found = np.asarray(found, "float64")
    found = found[None] if found.ndim == 2 else found
    if found.shape != pictures.shape[:3]:
        raise ValueError(
            f"Expected a map for each picture, of its height and width: {pictures.shape[:3]}. "
            f"Received: {label!r} of shape {found.shape}"
        )
    return found


def _grid(alt, number, columns, *, side, over):
    """A figure of pictures in a grid; `side` and `over`, a picture's and its title's, in inches."""
    rows = -(-number // columns)
    size = (side * columns, (side + over) * rows + 0.3)
    fig, axes = figure(alt, rows, columns, size, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    return fig, axes


def _show(ax, picture):
    picture = np.clip(np.asarray(picture), 0, 255).astype("uint8")
    picture = picture[..., 0] if picture.shape[-1] == 1 else picture
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation=_interpolation(picture))


def _interpolation(picture):
    return "nearest" if max(picture.shape[:2]) <= SMALL else "antialiased"


def _show_map(ax, picture, values):
    """Draw a map over the picture in pale grey; both colour maps are uniform to the eye."""
    grey = np.asarray(picture, "float64").mean(axis=-1)
    ax.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation=_interpolation(grey))
    signed = (values < 0).any()
    most = np.quantile(np.abs(values), 0.995) or np.abs(values).max() or 1
    low, colours, alpha = (-most, "berlin", 0.9) if signed else (0, "viridis", 0.7)
    ax.imshow(values, cmap=colours, vmin=low, vmax=most, alpha=alpha, interpolation="nearest")
