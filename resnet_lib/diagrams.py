"""Where the boxes and arrows of a picture stand, and drawing them; all lengths are in inches.

`place_block` and `place_network` lay out what `graphs.read` read: x goes to the right and y down
from the panel's upper left corner. `draw` draws that on an axis whose unit is an inch.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from .figures import COLOURS, plain
from .graphs import Block, Network, essentials
from .labels import size

# A skip is told by colour, by width and by dash.
SKIP = dict(color=COLOURS[1], linewidth=3.0, linestyle=(0, (2.6, 0.9)))
BRANCH = dict(color="black", linewidth=1.1, linestyle="-")
FILLS = {"conv": "#BBDDF2", "dense": "#BBDDF2", "norm": "#EEEEEE", "activation": "#FBE3AE"}
FILLS |= {"pool": "#C5E8DA", "other": "#FFFFFF", "join": "#FFFFFF", "block": "#BBDDF2"}
TEXT = 9  # Points, as drawn; shapes and notes one less.
SMALL = 8.5
HEIGHT = 0.27  # Of a box with one line.
LINE = 0.15  # What another line adds.
RADIUS = 0.13  # Of the circle of a sum.
GAP = 0.17  # From box to box, without and with something beside the arrow.
WIDE_GAP = 0.3
STAGGER = 0.1  # Between paths that leave the same arrow.
LANE = 0.34  # From a box to the first arc beside it, and from arc to arc.
MARGIN = 0.1


@dataclass(frozen=True)
class Piece:
    """A box, or the circle of a sum: its centre, size, text and kind; `skip` if on a skip."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: str
    skip: bool = False


@dataclass(frozen=True)
class Line:
    """A way through corners, which are rounded; `skip` draws it as one, `arrow` gives it a head."""

    corners: tuple[tuple[float, float], ...]
    skip: bool = False
    arrow: bool = True


@dataclass(frozen=True)
class Note:
    """A text without a box; `align` is that of the text at (x, y)."""

    x: float
    y: float
    text: str
    align: str = "center"
    points: float = SMALL
    bold: bool = False


@dataclass(frozen=True)
class Dot:
    """A point that a side path leaves; `skip` if it is a skip."""

    x: float
    y: float
    skip: bool = True


@dataclass
class Panel:
    """A picture: its size, and what stands on it."""

    width: float = 0.0
    height: float = 0.0
    pieces: list[Piece] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)


@functools.lru_cache(maxsize=4096)
def text_width(text: str, points: float = TEXT) -> float:
    """The width of a text of one or more lines as it is drawn, in inches."""
    lines = text.split("\n")
    paths = (
        TextPath((0, 0), line.replace("$", "S"), size=points) for line in lines if line.strip()
    )
    return max((path.get_extents().width / 72 for path in paths), default=0.0)


def _box_size(label):
    return text_width(label) + 0.16, HEIGHT + LINE * label.count("\n")


# A block: the main path goes down, the others pass it on the right


def place_block(block: Block, title: str = "") -> Panel:
    """Lay out a block, layer by layer, with its title."""
    panel = Panel()
    sizes = [(2 * RADIUS,) * 2 if box.kind == "sum" else _box_size(box.label) for box in block.main]
    half = max(width for width, _ in sizes) / 2
    lanes = _lanes(block.sides, half)
    labels = (
        text_width(size(block.shape), SMALL),
        *(text_width(size(b.shape), SMALL) for b in block.main),
    )
    left = max(half, max(labels) + 0.08, *(0.0,)) + MARGIN
    ways, tops = _heights(block, sizes, 0.62 if title else 0.3)
    _place_main(panel, block, sizes, left, tops, ways)
    right = left + half
    for side, (lane, width) in zip(block.sides, lanes, strict=True):
        _place_side(panel, block, side, left, left + lane, tops, sizes, ways)
        right = max(right, left + lane + max(width / 2, 0.04))
    panel.height = tops[-1] + sizes[-1][1] + 0.42
    panel.width = right + MARGIN
    return _titled(panel, title, left)


def _titled(panel, title, middle):
    """The panel with a title over the main path, and wide enough for it."""
    if not title:
        return panel
    half = text_width(title, 10) / 2 * 1.12 + 0.05
    panel, middle = _moved(panel, max(0.0, half - middle)), max(half, middle)
    panel.width = max(panel.width, middle + half)
    panel.notes.append(Note(middle, 0.16, title, points=10, bold=True))
    return panel


def _moved(panel, right, down=0.0):
    """The same panel further to the right and down."""

    def here(what):
        return replace(what, x=what.x + right, y=what.y + down)

    moved = Panel(panel.width + right, panel.height + down)
    moved.pieces, moved.notes, moved.dots = (
        list(map(here, each)) for each in (panel.pieces, panel.notes, panel.dots)
    )
    for line in panel.lines:
        corners = tuple((x + right, y + down) for x, y in line.corners)
        moved.lines.append(replace(line, corners=corners))
    return moved


def _lanes(sides, half):
    """For each side, how far its arc is from the main path's middle, and its boxes' width."""
    lanes = []  # Of each: the sides in it, and its width.
    where = []
    for side in sides:
        width = max((_box_size(box.label)[0] for box in side.boxes), default=0.0)
        free = [n for n, (taken, _) in enumerate(lanes) if all(_apart(side, t) for t in taken)]
        inner = [n for n, (taken, _) in enumerate(lanes) if any(_inside(t, side) for t in taken)]
        free = [n for n in free if n > max(inner, default=-1)]
        if not free:
            lanes.append(([], 0.0))
            free = [len(lanes) - 1]
        taken, wide = lanes[free[0]]
        lanes[free[0]] = ([*taken, side], max(wide, width))
        where.append((free[0], width))
    middles, edge = [], half
    for _, wide in lanes:
        middles.append(edge + max(LANE, 0.16 + wide / 2))
        edge = middles[-1] + wide / 2
    return [(middles[lane], width) for lane, width in where]


def _apart(one, other):
    return one.end <= other.start or other.end <= one.start


def _inside(inner, outer):
    return outer.start <= inner.start and inner.end <= outer.end


def _heights(block, sizes, top):
    """The gap above each box, and each box's top, so that what is beside the path fits too."""
    shapes = [block.shape, *(box.shape for box in block.main)]
    gaps = []
    for number in range(len(sizes)):
        leaves = sum(side.start == number - 1 for side in block.sides)
        told = number and shapes[number] != shapes[number - 1]
        gap = WIDE_GAP if leaves or told or not number else GAP
        gaps.append(gap + STAGGER * max(0, leaves - 1))
    for side in block.sides:  # The inner ones come first.
        needed = sum(_box_size(box.label)[1] + GAP for box in side.boxes) + 0.5
        there = sum(gaps[side.start + 1 : side.end + 1]) - gaps[side.start + 1] / 2
        there += sum(height for _, height in sizes[side.start + 1 : side.end])
        gaps[side.end] += max(0.0, needed - there)
    tops, here = [], top
    for gap, (_, height) in zip(gaps, sizes, strict=True):
        tops.append(here + gap)
        here += gap + height
    return gaps, tops


def _place_main(panel, block, sizes, x, tops, gaps):
    above = tops[0] - gaps[0]
    panel.notes.append(Note(x, above - 0.1, size(block.shape)))
    shape = block.shape
    for number, (box, (width, height), top) in enumerate(zip(block.main, sizes, tops, strict=True)):
        panel.lines.append(Line(((x, above), (x, top))))
        if number and shape != (block.shape, *(b.shape for b in block.main))[number - 1]:
            panel.notes.append(Note(x - 0.07, (above + top) / 2 - 0.01, size(shape), "right"))
        panel.pieces.append(Piece(x, top + height / 2, width, height, box.label, box.kind))
        above, shape = top + height, box.shape
    panel.lines.append(Line(((x, above), (x, above + 0.22))))
    panel.notes.append(Note(x, above + 0.32, size(shape)))


def _place_side(panel, block, side, x, lane, tops, sizes, gaps):
    start = _leaves_at(block, side, tops, gaps)
    width, height = sizes[side.end]
    end, edge = tops[side.end] + height / 2, x + width / 2
    panel.dots.append(Dot(x, start, side.skip))
    corners = ((x, start), (lane, start), (lane, end), (edge, end))
    panel.lines.append(Line(corners, side.skip))
    if side.boxes and lane - 0.2 - text_width(size(side.shape), SMALL) > edge:
        panel.notes.append(Note(lane - 0.16, end - 0.12, size(side.shape), "right"))
    boxes = [_box_size(box.label) for box in side.boxes]
    total = sum(height for _, height in boxes)
    space = (end - start - 0.3 - total) / (len(boxes) + 1) if boxes else 0
    here = start + 0.15 + space - 0.05
    for box, (width, height) in zip(side.boxes, boxes, strict=True):
        panel.pieces.append(
            Piece(lane, here + height / 2, width, height, box.label, box.kind, side.skip)
        )
        here += height + space


def _leaves_at(block, side, tops, gaps):
    """Where a path leaves the arrow; of several, the one that goes furthest leaves first."""
    alike = [other for other in block.sides if other.start == side.start]
    above = tops[side.start + 1] - gaps[side.start + 1]
    return above + WIDE_GAP / 2 + STAGGER * (len(alike) - 1 - alike.index(side))


# A network: a row for each stage, the skips in arcs over the blocks


def place_network(network: Network, title: str = "", width: float = 9.0) -> Panel:
    """Lay out a network: a row for each stage; equal blocks that are too many are left out."""
    panel = Panel()
    rows = [_units(row) for row in network.rows]
    names = [_row_name(row) for row in network.rows]
    start = MARGIN + max(text_width(name) for name in [f"input\n{size(network.shape)}", *names])
    start += 0.45
    y = 0.35 if title else 0.15
    before = _place_input(panel, network, start, y + 0.12)
    y += 0.35
    for name, units in zip(names, rows, strict=True):
        units = _folded(units, width - start)
        arc = max(_arc_height(unit) for unit in units)
        tall = max(max(unit.height for unit in units), LINE * (name.count("\n") + 1))
        panel.notes.append(Note(MARGIN, y + arc + tall / 2, name, "left", TEXT))
        before = _place_row(panel, units, start, y + arc + tall / 2, y, before)
        panel.width = max(panel.width, before[0] + MARGIN)
        y += arc + tall + 0.3
    panel.height = y - 0.1
    _place_heading(panel, title)
    return panel


LEFT_OUT = (
    "Boxes show convolutions, pooling and dense layers. BN, activations and others are left out."
)


def _place_input(panel, network, start, y):
    """Place what comes in and how to read the rest; returns where the way to the first row is."""
    told = f"input\n{size(network.shape)}"
    panel.notes.append(Note(MARGIN, y, told, "left", TEXT))
    panel.notes.append(Note(start, y, LEFT_OUT, "left"))
    panel.width = start + text_width(LEFT_OUT, SMALL) + MARGIN
    return MARGIN + text_width(told) + 0.06, y


def _place_heading(panel, title):
    if title:
        panel.notes.append(Note(MARGIN, 0.16, title, "left", 10, bold=True))
        panel.width = max(panel.width, text_width(title, 10) * 1.12 + 2 * MARGIN)


@dataclass(frozen=True)
class _Unit:
    """A block as a box; `skip` is None without one, else what is on it; `more` for a left-out."""

    label: str
    skip: str | None
    kind: str = "block"
    on_skip: str = "other"  # The kind of what is on the skip.

    @property
    def width(self):
        return max(_box_size(self.label)[0], text_width(self.skip or "", SMALL) + 0.15)

    @property
    def height(self):
        return _box_size(self.label)[1]


def _units(row):
    kind = "block" if row.blocks else "other"
    return [_Unit("\n".join(essentials(unit)), *_on_skip(unit, kind)) for unit in row.units]


def _on_skip(unit, kind):
    """What is on a block's skip, the block's kind, and the kind of what is on it."""
    if not unit.skips:
        return None, kind
    boxes = [box for side in unit.skips for box in side.boxes if box.kind != "norm"]
    conv = "conv" if any(box.kind == "conv" for box in boxes) else "other"
    return ", ".join(box.label.removeprefix("conv ") for box in boxes), kind, conv


def _row_name(row):
    blocks = f"\n{row.blocks} block{'s' * (row.blocks != 1)}" if row.blocks else ""
    name = row.name.replace("stage", "stage ") if row.blocks else row.name
    return f"{name}\n{size(row.units[-1].main[-1].shape)}{blocks}"


def _folded(units, width):
    """Leave out the middle of rows of equal blocks where the row would be too wide."""
    if sum(unit.width + 0.5 for unit in units) <= width:
        return units
    folded, here = [], 0
    while here < len(units):
        end = here
        while end < len(units) and units[end] == units[here]:
            end += 1
        run = units[here:end]
        if len(run) > 3:
            run = [run[0], _Unit(f"{len(run) - 2} more\nlike these", None, "more"), run[-1]]
        folded += run
        here = end
    return folded


def _arc_height(unit):
    if unit.skip is None:
        return 0.0
    return 0.42 if unit.skip else 0.26


def _place_row(panel, units, start, middle, top, before):
    """Place a row; returns where it ends."""
    x, (out, above) = start, before
    if out < x - 0.3:  # The input: the way down is behind it.
        corners = (before, (x - 0.3, above), (x - 0.3, middle), (x, middle))
    else:
        between = top - 0.06
        corners = (before, (out + 0.16, above), (out + 0.16, between))
        corners += ((x - 0.3, between), (x - 0.3, middle), (x, middle))
        panel.width = max(panel.width, out + 0.16 + MARGIN)
    panel.lines.append(Line(corners))
    for number, unit in enumerate(units):
        last = number == len(units) - 1
        x = _place_unit(panel, unit, x, middle)
        if not last:
            panel.lines.append(Line(((x, middle), (x + 0.3, middle))))
            x += 0.3
    return x, middle


def _place_unit(panel, unit, left, middle):
    """Place a block's box with its skip; returns where it ends."""
    right = left + unit.width
    if unit.kind == "more":
        panel.notes.append(Note((left + right) / 2, middle, unit.label))
        return right
    width = _box_size(unit.label)[0]
    x = (left + right) / 2
    panel.pieces.append(Piece(x, middle, width, unit.height, unit.label, unit.kind))
    if width < unit.width:
        panel.lines.append(Line(((left, middle), (x - width / 2, middle)), arrow=False))
    if unit.skip is None:
        if width < unit.width:
            panel.lines.append(Line(((x + width / 2, middle), (right, middle)), arrow=False))
        return right
    radius = 0.09
    centre, top = right + 0.12 + radius, middle - unit.height / 2 - _arc_height(unit) + 0.14
    leave = left - 0.17
    panel.lines.append(Line(((x + width / 2, middle), (centre - radius, middle)), arrow=False))
    panel.pieces.append(Piece(centre, middle, 2 * radius, 2 * radius, "+", "sum"))
    panel.dots.append(Dot(leave, middle))
    corners = ((leave, middle), (leave, top), (centre, top), (centre, middle - radius))
    panel.lines.append(Line(corners, skip=True))
    if unit.skip:
        label_width, label_height = text_width(unit.skip, SMALL) + 0.15, 0.2
        panel.pieces.append(
            Piece(
                (leave + centre) / 2, top, label_width, label_height, unit.skip, unit.on_skip, True
            )
        )
    return centre + radius


# Side by side


def beside(panels: Sequence[Panel], width: float = 10.0, gap: float = 0.12) -> Panel:
    """Put panels side by side, in as many rows as they need to be no wider than `width`."""
    whole, y = Panel(), 0.0
    for row in _in_rows(panels, width, gap):
        x = 0.0
        for panel in row:
            moved = _moved(panel, x, y)
            whole.pieces += moved.pieces
            whole.lines += moved.lines
            whole.notes += moved.notes
            whole.dots += moved.dots
            x += panel.width + gap
        y += max(panel.height for panel in row) + gap
        whole.width = max(whole.width, x - gap)
    whole.height = y - gap
    return whole


def _in_rows(panels, width, gap):
    """The fewest rows of about as many panels each; a panel may be wider than the row."""
    for number in range(1, len(panels) + 1):
        each = math.ceil(len(panels) / number)
        rows = [panels[first : first + each] for first in range(0, len(panels), each)]
        if all(sum(p.width + gap for p in row) - gap <= width for row in rows):
            return rows
    return [[panel] for panel in panels]


# Drawing


def draw(ax: Axes, panel: Panel) -> None:
    """Draw a panel on an axis that fills its figure; a unit of the axis becomes an inch."""
    ax.set_xlim(0, panel.width)
    ax.set_ylim(panel.height, 0)
    ax.axis("off")
    for line in panel.lines:
        _draw_line(ax, line)
    for dot in panel.dots:
        colour = (SKIP if dot.skip else BRANCH)["color"]
        ax.add_patch(Circle((dot.x, dot.y), 0.035, color=colour, zorder=3))
    for piece in panel.pieces:
        _draw_piece(ax, piece)
    for note in panel.notes:
        weight = "bold" if note.bold else "normal"
        place = dict(ha=note.align, va="center", fontsize=note.points, fontweight=weight)
        ax.text(note.x, note.y, plain(note.text), **place, linespacing=1.25, zorder=5)


def _draw_piece(ax, piece):
    edge = dict(edgecolor="black", linewidth=1.0)
    if piece.skip:
        edge = dict(edgecolor=SKIP["color"], linewidth=1.6)
    if piece.kind == "sum":
        ax.add_patch(
            Circle((piece.x, piece.y), piece.width / 2, facecolor="white", zorder=4, **edge)
        )
        ax.text(
            piece.x,
            piece.y,
            piece.label,
            ha="center",
            va="center_baseline",
            fontsize=55 * piece.width,
            fontweight="bold",
            zorder=5,
        )
        return
    corner = piece.x - piece.width / 2 + 0.04, piece.y - piece.height / 2 + 0.04
    box = FancyBboxPatch(
        corner,
        piece.width - 0.08,
        piece.height - 0.08,
        boxstyle="round,pad=0.04",
        facecolor=FILLS.get(piece.kind, "white"),
        zorder=4,
        **edge,
    )
    ax.add_patch(box)
    points = SMALL if piece.height < HEIGHT else TEXT
    where = dict(ha="center", va="center", fontsize=points, linespacing=1.2, zorder=5)
    ax.text(piece.x, piece.y, plain(piece.label), **where)


def _draw_line(ax, line):
    style = SKIP if line.skip else BRANCH
    *_, before, end = line.corners
    stop = _towards(end, before, 0.11 if line.skip else 0.07) if line.arrow else end
    # From its end, so that the dashes begin with a whole one at the arrow's head.
    path = _rounded((stop, *line.corners[-2::-1]), 0.16 if line.skip else 0.06)
    ax.add_patch(PathPatch(path, fill=False, capstyle="butt", zorder=2, **style))
    if line.arrow:
        ax.add_patch(_head(stop, end, 0.075 if line.skip else 0.04, style["color"]))


def _head(base, tip, half, colour):
    """A triangle from its base's middle to its tip."""
    length = math.dist(base, tip) or 1.0
    aside = (tip[1] - base[1]) * half / length, (base[0] - tip[0]) * half / length
    corners = [(base[0] + aside[0], base[1] + aside[1]), tip]
    corners.append((base[0] - aside[0], base[1] - aside[1]))
    return Polygon(corners, facecolor=colour, edgecolor="none", zorder=3)


def _rounded(corners, radius):
    """A way through corners, each cut off by a curve."""
    points, codes = [corners[0]], [Path.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        cut = min(radius, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        points += [_towards(corner, before, cut), corner, _towards(corner, after, cut)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*points, corners[-1]], [*codes, Path.LINETO])


def _towards(start, end, length):
    whole = math.dist(start, end) or 1.0
    return tuple(s + (e - s) * length / whole for s, e in zip(start, end, strict=True))
