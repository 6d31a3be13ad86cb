"""What a picture of a model shows, read from its live Keras graph: boxes, side paths, stages.

`read` returns a `Block`, layer by layer, or a `Network`, block by block. Labels come from the
layers' settings and shapes from their tensors; names only say what belongs together.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import keras

from . import checks
from .inspection import OTHER, nodes_of, stage_and_block
from .labels import (
    Box,
    Shape,
    activates,
    boxes_of,
    is_attention,
    is_filled,
    is_join,
    ordinal,
    size,
)

MOST = 30  # Boxes that can be read below one another.


@dataclass(frozen=True)
class Side:
    """A path beside the main one.

    Attributes:
        start: number of the box of the main path that it leaves; -1: the input.
        end: number of the box of the main path that it joins.
        boxes: what stands on it, tuple of Box; none on an identity.
        shape: what arrives at the join, without the batch.
        skip: whether it is added, and does less than the part of the main path that it passes.
    """

    start: int
    end: int
    boxes: tuple[Box, ...]
    shape: Shape
    skip: bool


@dataclass(frozen=True)
class Block:
    """A part of a model, layer by layer.

    Attributes:
        name: the prefix of its layers' names, or the model's name; "" tells its kind instead.
        shape: what comes in, without the batch.
        main: the path with the most work, tuple of Box, in order.
        sides: tuple of Side, the shorter ones first.
    """

    name: str
    shape: Shape
    main: tuple[Box, ...]
    sides: tuple[Side, ...]

    @property
    def skips(self) -> tuple[Side, ...]:
        """The sides that are skips."""
        return tuple(side for side in self.sides if side.skip)

    @property
    def kind(self) -> str:
        """What kind of block it is, for a title: "identity block", "plain block", …"""
        if len(self.sides) > 1 or len(self.skips) < len(self.sides):
            return "block"
        kinds = [_preactivated(self) * "pre-activation", _skip_kind(self)]
        kinds.append(_is_bottleneck(self) * "bottleneck")
        return " ".join(filter(None, [*kinds, "block"]))

    @property
    def alt(self) -> str:
        """A sentence that says what the block does, for readers who cannot see it."""
        ends = f"{size(self.shape)} to {size(self.main[-1].shape)}"
        last = "" if self.sides else "; no skip"
        what = f"Block {self.name}" if self.name else self.kind.capitalize()
        return f"{what}, {ends}: {_told_main(self)}{last}."


@dataclass(frozen=True)
class Row:
    """The blocks of a stage, or the layers before and behind the stages.

    Attributes:
        name: "stem", "stage1", …, "head"; "other layers" where the names do not say.
        units: a Block each, in order; one where there are no blocks. What stands on the stream in
            front of a block is one by itself, without a side.
        blocks: how many of them are blocks: 0, or all but those.
    """

    name: str
    units: tuple[Block, ...]
    blocks: int


@dataclass(frozen=True)
class Network:
    """A model block by block.

    Attributes:
        name: the model's, or the prefix of a part.
        shape: what comes in, without the batch.
        rows: tuple of Row, in order.
    """

    name: str
    shape: Shape
    rows: tuple[Row, ...]

    @property
    def alt(self) -> str:
        """What the network consists of, for readers who cannot see it."""
        rows = "; ".join(_told_row(row) for row in self.rows)
        return f"{self.name or 'Network'} by stages, input {size(self.shape)}: {rows}."


def read(model: keras.Model, name: str | None = None) -> Block | Network:
    """Read what a picture of a model, or of a part of it, shows.

    Args:
        model: a Keras functional model, or a sequential one that is built; models that are nested
            in it are looked into.
        name: beginning of the layers' names of the part; None for the whole. Where a block's sum is
            an operation that Keras has named, it belongs to the block all the same.

    Returns:
        Network where the names tell two blocks or more, such as `stage1_block1_conv1`; else Block.

    Raises:
        ValueError: for another kind of model; a name that no layer has, with the nearest; a part
            that has two inputs or outputs; side paths that branch; more than `MOST` layers.
    """
    calls = _calls(model)
    whole = {number for number, call in enumerate(calls) if call.sources}
    if not whole:
        raise ValueError(f"Expected a model with layers. Received: {model.name}, without any")
    members = whole if name is None else _completed(calls, _named(model, calls, whole, name))
    told = model.name if name is None else name.rstrip("_")
    keys = _keys(calls, members)
    if len({key for key in keys.values() if key[1] is not None}) >= 2:
        told = told if name is None else f"{model.name}, {told},"
        return _network(calls, members, keys, told)
    block = _block(calls, members, told)
    if _number_of_boxes(block) > MOST:
        raise ValueError(
            f"Expected at most {MOST} layers, or names that tell blocks, such as "
            f"'stage1_block1_conv1'. Received: {told} with {_number_of_boxes(block)} layers; "
            f"{_way_out(calls, whole)}"
        )
    return block


def _number_of_boxes(block):
    return len(block.main) + sum(len(side.boxes) for side in block.sides)


def _way_out(calls, members):
    known = _prefixes(calls, members)
    if known:
        return f"draw a part of it by the beginning of its layers' names, such as {known[0]!r}"
    return "draw one block on its own: keras.Model(inputs, block(inputs))"


# The calls of a model's layers


@dataclass(frozen=True)
class Call:
    """One call of a layer or operation.

    Attributes:
        node: Keras' node, with the tensors and other arguments.
        names: names of the models that it is nested in, then its own.
        sources: numbers of the calls that it takes from.
        consumers: numbers of the calls that take from it.
    """

    node: Any = field(repr=False)
    names: tuple[str, ...]
    sources: tuple[int, ...]
    consumers: list[int] = field(default_factory=list, repr=False)

    @property
    def operation(self) -> keras.Operation:
        """The layer or operation that is called."""
        return self.node.operation

    @property
    def shape(self) -> Shape:
        """What it outputs, without the batch."""
        return tuple(self.node.output_tensors[0].shape[1:])


def _calls(model):
    """All calls in the order of computation; only the model's inputs have no source."""
    if getattr(getattr(model, "_functional", model), "_nodes_by_depth", None) is None:
        raise ValueError(
            "Expected a Keras functional model, or a sequential one that is built; a layer or a "
            "function is drawn as keras.Model(inputs, layer(inputs)), with "
            f"inputs = keras.Input(…). Received: {model!r}"
        )
    calls, made = [], {}
    _add_calls(model, (), calls, made)
    for number, call in enumerate(calls):
        calls[number] = _without_constants(call, calls)
    calls = _without_ends(calls, {made[id(tensor)] for tensor in model.outputs})
    for number, call in enumerate(calls):
        for source in set(call.sources):
            calls[source].consumers.append(number)
    return calls


def _add_calls(model, outer, calls, made):
    """Append a model's calls; `made` holds by which call a tensor, by its id, is made."""
    for node in nodes_of(model):
        inner = getattr(node.operation, "_functional", node.operation)
        names = (*outer, node.operation.name)
        if getattr(inner, "_nodes_by_depth", None) is not None:  # A model: look into it.
            _pass_on(node.input_tensors, inner.inputs, made)
            _add_calls(node.operation, names, calls, made)
            _pass_on(inner.outputs, node.output_tensors, made)
        elif not (outer and isinstance(node.operation, keras.layers.InputLayer)):
            sources = tuple(made[id(tensor)] for tensor in node.input_tensors)
            if is_attention(node.operation):  # Query, key and value are often one tensor.
                sources = tuple(dict.fromkeys(sources))
            made.update((id(tensor), len(calls)) for tensor in node.output_tensors)
            calls.append(Call(node, names, sources))


def _without_constants(call, calls):
    """What is the same for all pictures, as `zeros_like` of what is there, is no second path."""
    if is_filled(call):
        return replace(call, sources=())
    constant = [not calls[s].sources and not _is_input(calls[s]) for s in call.sources]
    return replace(
        call, sources=tuple(s for s, is_so in zip(call.sources, constant, strict=True) if not is_so)
    )


def _is_input(call):
    return isinstance(call.operation, keras.layers.InputLayer)


def _without_ends(calls, outputs):
    """Cut off what leads to a constant alone."""
    needed = set(outputs)
    for number in reversed(range(len(calls))):
        if number in needed:
            needed.update(calls[number].sources)
    return [
        call if number in needed or _is_input(call) else replace(call, sources=())
        for number, call in enumerate(calls)
    ]


def _pass_on(tensors, others, made):
    made.update((id(b), made[id(a)]) for a, b in zip(tensors, others, strict=True))


# What belongs together


def _named(model, calls, whole, name):
    """The calls whose names begin with `name`; `block1` is no beginning of `block10`."""
    name = checks.line("name", name).rstrip("_")
    for behind in (r"(?![^\W_])", r"(?!\d)" if name[-1:].isdigit() else ""):
        pattern = re.compile(re.escape(name) + behind)
        found = {n for n in whole if any(pattern.match(each) for each in calls[n].names)}
        if found:
            return found
    known = _prefixes(calls, whole)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    told = ", ".join(map(repr, near or known[:3]))
    if not known:
        told = "none, for Keras has named all layers; leave `name` out"
    raise ValueError(
        f"Expected `name` to be the beginning of names of layers of {model.name}. "
        f"Received: {name!r}; the nearest: {told}"
    )


def _prefixes(calls, members):
    """Names of blocks, as far as the layers' names tell; then names before the last underscore."""
    blocks, others = {}, {}
    for number in sorted(members):
        name = calls[number].names[-1]
        match = re.match(r".*?block_?\d+(?=_)", name)
        if match:
            blocks[match[0]] = None
        elif "_" in name and not _automatic(calls[number]):
            others[name.rpartition("_")[0]] = None
    return [*blocks, *others]


def _automatic(call):
    """Whether Keras has named a call: `conv2d_3` is a Conv2D."""
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(call.operation).__name__)
    kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
    return re.fullmatch(rf"{kind}(_\d+)?", call.names[-1]) is not None


def _completed(calls, members):
    """Add what lies between, and what Keras has named: on the skip, the sum, the ReLU behind it."""
    members = members | (_reached(calls, members) & _needed(calls, members))
    while len(entries := _entries(calls, members)) > 1:  # The last may stand on the skip.
        last = max(entries)
        if not _automatic(calls[last]) or set(calls[last].consumers) - members:
            return members
        members = members | {last}
    for number, call in enumerate(calls):
        if is_join(call) and number not in members:
            members = members | _sum_with_entry(calls, members, entries, number)
    return members


def _sum_with_entry(calls, members, entries, number):
    """A join of the members' output with their input, and an activation behind it; or nothing."""
    found = _automatic_until(calls, number, members | entries)
    sources = {source for each in found for source in calls[each].sources}
    if not (sources & members and sources & entries):
        return set()
    behind = calls[number].consumers
    if len(behind) == 1 and _automatic(calls[behind[0]]) and activates(calls[behind[0]]):
        found = found | set(behind)
    return found


def _reached(calls, members):
    found = set(members)
    for number in range(min(members), max(members)):
        if found & set(calls[number].sources):
            found.add(number)
    return found


def _needed(calls, members):
    found = set(members)
    for number in range(max(members), min(members), -1):
        if number in found:
            found.update(calls[number].sources)
    return found


def _automatic_until(calls, number, ends):
    """What a call needs beyond `ends`, if Keras has named all of it; else nothing."""
    found, waiting = set(), [number]
    while waiting:
        here = waiting.pop()
        if not _automatic(calls[here]) or not calls[here].sources:
            return set()
        found.add(here)
        waiting += [source for source in calls[here].sources if source not in ends | found]
    return found


def _entries(calls, members):
    sources = {source for number in members for source in calls[number].sources}
    return sources - members


def _exits(calls, members):
    """The members that are taken from outside, or by nothing."""
    taken = {number: set(calls[number].consumers) for number in members}
    return {number for number, by in taken.items() if not by or by - members}


def _ends(calls, members, name):
    entries, exits = _entries(calls, members), _exits(calls, members)
    for ends, what in ((entries, "input"), (exits, "output")):
        if len(ends) != 1:
            names = ", ".join(repr(calls[number].names[-1]) for number in sorted(ends))
            raise ValueError(
                f"Expected a model, or a part of one, with one {what}. Received: {name}, with "
                f"{len(ends)}: {names}; choose a part by another beginning of its layers' names"
            )
    return entries.pop(), exits.pop()


# A block, layer by layer


def _block(calls, members, name):
    entry, _ = _ends(calls, members, name)
    places, boxes, sources = {entry: -1}, [], []
    for number in sorted(members):
        call = calls[number]
        taken = [places[source] for source in call.sources]
        for box in boxes_of(call, calls[call.sources[0]].shape):
            sources.append(taken)
            taken = [len(boxes)]
            boxes.append(box)
        places[number] = len(boxes) - 1
    main = _main_path(boxes, sources)
    sides = _sides(boxes, sources, main, name, calls[entry].shape)
    return Block(name, calls[entry].shape, tuple(boxes[place] for place in main), sides)


def _main_path(boxes, sources):
    """The way from the input to the last box with the most work, then with the most boxes."""
    best, before = {-1: 0}, {}
    for place, box in enumerate(boxes):
        before[place] = max(sources[place], key=best.__getitem__)
        best[place] = best[before[place]] + 1 + 1000 * box.work
    path, here = [], len(boxes) - 1
    while here != -1:
        path.append(here)
        here = before[here]
    return path[::-1]


def _sides(boxes, sources, main, name, shape):
    order = {place: number for number, place in enumerate([-1, *main], -1)}
    found, used = [], set(main)
    for end, place in enumerate(main):
        extra = list(sources[place])
        extra.remove(main[end - 1] if end else -1)
        for source in extra:
            path = _traced(source, sources, order)
            if path is None or used & set(path):
                raise _branches(name)
            used |= set(path)
            start = order[sources[path[0]][0] if path else source]
            on_it = tuple(boxes[each] for each in path)
            arrives = boxes[source].shape if source != -1 else shape
            passed = [boxes[each] for each in main[start + 1 : end]]
            skip = _is_skip(boxes[place], on_it, passed)
            found.append(Side(start, end, on_it, arrives, skip))
    if len(used) < len(boxes):
        raise _branches(name)
    return tuple(sorted(found, key=lambda side: (side.end - side.start, -side.start)))


def _traced(place, sources, order):
    """The boxes from the main path to `place`; None where paths meet or begin beside it."""
    path = []
    while place not in order:
        path.append(place)
        if len(sources[place]) != 1:
            return None
        place = sources[place][0]
    return path[::-1]


def _branches(name):
    return ValueError(
        "Expected paths that leave the main one and join it again without branching in between. "
        f"Received: {name}; draw its parts, by the beginning of their layers' names"
    )


def _is_skip(join, boxes, passed):
    work = sum(box.work for box in boxes)
    return join.label == "+" and (not boxes or work < sum(box.work for box in passed))


# A network, block by block


def _keys(calls, members):
    """(stage, block) of each call, as the names tell; block None outside of blocks."""
    found = {}
    for number in members:
        keys = [_key(name, calls[number].operation) for name in calls[number].names]
        found[number] = next((key for key in keys if key[0] != OTHER), (OTHER, None))
    blocks = {}
    for number, key in found.items():
        if key[1] is not None:
            blocks.setdefault(key, set()).add(number)
    for key, block in blocks.items() if (OTHER, None) in found.values() else ():
        for number in _completed(calls, block) & members:
            if found[number][0] == OTHER:
                found[number] = key
    return found


def _key(name, operation):
    return stage_and_block(operation) if name == operation.name else (OTHER, None)


def _in_front(key, block):
    """A block, and by itself what works on the stream before all of its skips begin."""
    cut = min((side.start for side in block.sides), default=-1) + 1
    if not any(box.work for box in block.main[:cut]):
        return [(key, block)]
    sides = tuple(replace(side, start=side.start - cut, end=side.end - cut) for side in block.sides)
    front = replace(block, main=block.main[:cut], sides=())
    shape = block.main[cut - 1].shape
    return [
        ((key[0], None), front),
        (key, replace(block, shape=shape, main=block.main[cut:], sides=sides)),
    ]


def _network(calls, members, keys, name):
    entry, _ = _ends(calls, members, name)
    shape, units = calls[entry].shape, []
    for key, numbers in groupby(sorted(members), key=keys.__getitem__):
        block = set(numbers)
        told = f"{key[0]}_block{key[1]}" if key[1] else key[0]
        beside = any(key == other for other, _ in units)  # Its layers do not follow one another.
        start, end = (None, None) if beside else _ends(calls, block, told)
        if start != entry:
            raise ValueError(
                f"Expected blocks one behind another. Received: {name}, in which {told} stands "
                "beside another; draw one block by the beginning of its layers' names"
            )
        units += _in_front(key, _block(calls, block, told))
        entry = end
    rows = []
    for stage, group in groupby(units, key=lambda unit: unit[0][0]):
        group = list(group)
        blocks = sum(key[1] is not None for key, _ in group)
        rows.append(
            Row("other layers" if stage == OTHER else stage, tuple(b for _, b in group), blocks)
        )
    return Network(name, shape, tuple(rows))


# What is said of it


def _skip_kind(block):
    if not block.sides:
        return "plain"
    boxes = block.sides[0].boxes
    if not boxes:
        return "identity"
    return "projection" if any(box.work for box in boxes) else "zero-padded"


def _preactivated(block):
    return block.main[0].kind == "norm" and block.main[-1].kind in ("sum", "conv")


def _is_bottleneck(block):
    kernels = [re.search(r"\d+x\d+", box.label) for box in block.main if box.kind == "conv"]
    return [each and each[0] for each in kernels] == ["1x1", "3x3", "1x1"]


def _told_main(block):
    """The main path in order; at each join, the paths that come in."""
    parts, line, shape = [], [], block.shape
    for number, box in enumerate(block.main):
        sides = [side for side in block.sides if side.end == number]
        if not sides:
            line.append(_told_box(box, shape))
        else:
            parts += [", ".join(line)] if line else []
            parts += [_told_side(block, side) for side in sides]
            parts.append(f"{'both' if len(sides) == 1 else 'all'} are {box.told}")
            line = []
        shape = box.shape
    return "; ".join([*parts, ", ".join(line)] if line else parts)


def _told_box(box, before):
    known = box.shape == before or box.kind == "dense"  # Its units are its shape.
    return box.told if known else f"{box.told} to {size(box.shape)}"


def _told_side(block, side):
    shape = block.main[side.start].shape if side.start >= 0 else block.shape
    what = "the skip" if side.skip else "a side path"
    told = []
    for box in side.boxes:
        article = "a " if box.kind in ("conv", "dense", "pool") else ""
        told.append(article + _told_box(box, shape))
        shape = box.shape
    way = f"goes through {' and '.join(told)}" if told else "goes past unchanged"
    return f"{what}, from {_place(block, side.start)}, {way}"


_NOUNS = {"+": "addition", "×": "multiplication", "−": "subtraction"}
_NOUNS |= {"concatenate": "concatenation"}


def _place(block, number):
    if number < 0:
        return "the input"
    alike = [n for n, box in enumerate(block.main) if box.label == block.main[number].label]
    label = _NOUNS.get(block.main[number].label, block.main[number].told)
    if len(alike) == 1:
        return f"behind the {label}"
    place = alike.index(number) + 1
    return f"behind the {ordinal(place)} {label}"


def essentials(block: Block) -> tuple[str, ...]:
    """The labels that say most: of convolutions, pooling, dense layers; all if there are none."""
    told = [box.label for box in block.main if box.kind in ("conv", "pool", "dense")]
    told = told or [box.label for box in block.main]
    others = len(block.sides) - len(block.skips)
    return (*told, *[f"{others} side path{'s' * (others > 1)}"] * (others > 0))


NO_SKIP = "no skip"


def _told_row(row):
    name, shape = row.name, size(row.units[-1].main[-1].shape)
    if not row.blocks:
        return f"{name}: {', '.join(essentials(row.units[0]))}, to {shape}"
    told = []
    for (inside, skip), group in groupby(map(_told_unit, row.units)):
        number = len(list(group))
        blocks = f"{number} block{'s' * (number > 1)} of {inside} with {skip}"
        beside_blocks = len(row.units) > row.blocks and skip == NO_SKIP
        told.append(inside if beside_blocks else blocks)
    return f"{name}: {', then '.join(told)}, to {shape}"


def _told_unit(unit: Block) -> tuple[str, str]:
    return " and ".join(essentials(unit)), skip_told(unit)


def skip_told(unit: Block) -> str:
    """Say what is on a block's skip."""
    if not unit.skips:
        return NO_SKIP
    return _listed_skips(unit.skips)


def _listed_skips(skips: Sequence[Side]) -> str:
    told = []
    for side in skips:
        through = ", ".join(box.label for box in side.boxes)
        told.append(f"a skip through {through}" if through else "an identity skip")
    return " and ".join(told)
