"""Inside a trained residual network: what its blocks do, found by leaving them out.

A residual network adds to a stream: a block reads it and adds its branch to it. What a network of
many blocks has learnt is therefore spread over paths of all lengths, and a block that is left out
takes half of the paths with it, and not all of them, as in a plain network. Everything here takes a
network with layers named by stage and block, such as `stage2_block1_conv1`, as those of this
library are and those of keras.applications' ResNets; preprocessing may be inside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from . import checks
from .inspection import OTHER, Signal, gradients, kernels_of, stage_and_block
from .replay import Graph, graph_of
from .training.copies import checked, copied

BATCH = 128


@dataclass(frozen=True)
class _Block:
    """A block of a graph. The stream and the branch are None in a plain network.

    Attributes:
        name: as "stage2_block1".
        steps: places of its steps.
        entry: number of the value that it takes.
        exit: number of the value that it returns.
        stream: number of the value that the branch is added to.
        branch: number of the value that is added.
        sum: number of their sum.
    """

    name: str
    steps: tuple[int, ...]
    entry: int
    exit: int
    stream: int | None = None
    branch: int | None = None
    sum: int | None = None


def blocks(model: keras.Model) -> tuple[str, ...]:
    """Return the names of a network's blocks, such as "stage2_block1", from the first to the last.

    Raises:
        ValueError: if the names of its layers tell no blocks.
    """
    return tuple(block.name for block in _blocks(graph_of(checked(model))))


def _blocks(graph: Graph) -> list[_Block]:
    members = {}
    for place in graph.between([0], [graph.output]):
        stage, block = stage_and_block(graph.steps[place].operation)
        if stage != OTHER and block is not None:
            members.setdefault(f"{stage}_block{block}", []).append(place)
    if not members:
        raise ValueError(
            "Expected a network whose layers' names tell its blocks, such as 'stage1_block1_conv1'."
            f" Received: {graph.model.name}, whose names do not"
        )
    return [_read(graph, name, tuple(steps)) for name, steps in members.items()]


def _read(graph, name, places) -> _Block:
    steps = [graph.steps[place] for place in places]
    outer = [step for place, step in enumerate(graph.steps) if place not in places]
    made = {number for step in steps for number in step.made}
    entries = {number for step in steps for number in step.taken.values()} - made
    used = {number for step in outer for number in step.taken.values()} | {graph.output}
    sums = [step for step in steps if _is_sum(step)]
    if len(entries) != 1 or len(made & used) != 1 or len(sums) > 1 or (not sums and entries & used):
        raise ValueError(
            "Expected blocks with one input, one output and one addition, named as the rest of the "
            f"block, or none in a plain network. Received: {name} of {graph.model.name}, with "
            f"{len(entries)}, {len(made & used)} and {len(sums)}"
        )
    [entry], [exit] = entries, made & used
    if not sums:
        return _Block(name, places, entry, exit)
    # The branch is the side with more work: a projection on the stream has one convolution.
    sides = sorted(sums[0].taken.values(), key=lambda number: _work(graph, entry, number))
    return _Block(name, places, entry, exit, *sides, sums[0].made[0])


def _is_sum(step):
    kind = type(step.operation).__name__
    return kind == "Add" and len(set(step.taken.values())) == 2


def _work(graph, entry, number):
    places = graph.between([entry], [number])
    return sum(bool(kernels_of(graph.steps[place].operation)) for place in places)


def _found(graph, name) -> _Block:
    return checks.choice("name", name, {block.name: block for block in _blocks(graph)})


def _residual(graph) -> list[_Block]:
    """The blocks, or ValueError where one adds nothing to a stream."""
    found = _blocks(graph)
    plain = [block.name for block in found if block.sum is None]
    if plain:
        raise ValueError(
            "Expected a residual network, whose blocks add to a stream. "
            f"Received: {graph.model.name}, in which {checks.ten_of(plain)} do not"
        )
    return found


# A block less, or two in each other's place


def without_block(model: keras.Model, name: str) -> keras.Model:
    """Return a copy of a network in which one block does nothing.

    What the block would add is left out: the stream goes on as it came, through the projection
    where the block has one. Of a plain network, the block's layers are left out.

    Args:
        model: a trained network. It stays as it is.
        name: of the block, one of `blocks(model)`.

    Returns:
        `keras.Model` with the weights of `model`, not compiled.

    Raises:
        ValueError: if there is no such block, or one of a plain network changes the shape, so that
            nothing fits without it.

    Source: Veit, Wilber and Belongie 2016 (arXiv 1605.06431), section 4.1.
    """
    return _without(_copy(model), [name])


def _without(graph, names):
    instead = {}
    for name in names:
        block = _found(graph, name)
        out, through = (block.sum, block.stream) if block.sum else (block.exit, block.entry)
        shapes = [_shape(graph, number) for number in (out, through)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "Expected a block that keeps the shape, for a plain network has no other way past "
                f"it. Received: {name}, which makes {shapes[0]} of {shapes[1]}"
            )
        instead[out] = through
    return _rebuilt(graph, instead=instead)


def swapped(model: keras.Model, one: str, other: str) -> keras.Model:
    """Return a copy of a network in which two blocks are in each other's place.

    Args:
        model: a trained network. It stays as it is.
        one: name of a block, one of `blocks(model)`.
        other: name of another with the same layers, in the same shapes.

    Returns:
        `keras.Model` with the weights of `model`, not compiled.

    Raises:
        ValueError: if there is no such block, or their layers differ.

    Source: Veit, Wilber and Belongie 2016 (arXiv 1605.06431), section 4.3.
    """
    graph = _copy(model)
    pair = [_found(graph, name).steps for name in (one, other)]
    layers = [[_signature(graph.steps[place]) for place in places] for places in pair]
    if layers[0] != layers[1]:
        raise ValueError(
            "Expected two blocks with the same layers, in the same shapes. "
            f"Received: {one} and {other}, which differ"
        )
    both = [*zip(*pair, strict=True), *zip(*pair[::-1], strict=True)]
    operations = {place: graph.steps[its].operation for place, its in both}
    return _rebuilt(graph, operations=operations)


def _signature(step):
    weights = [tuple(weight.shape) for weight in getattr(step.operation, "weights", ())]
    return type(step.operation), step.shape, weights


def _copy(model):
    return graph_of(copied(checked(model)))


def _rebuilt(graph, instead=None, operations=None):
    """Return a model of the steps of a graph, with some values or operations instead of others."""
    inputs = keras.Input(graph.model.inputs[0].shape[1:], name=graph.model.inputs[0].name)
    [output] = _compute(graph, inputs, [graph.output], instead, operations)
    return keras.Model(inputs, output, name=graph.model.name)


def _compute(graph, inputs, wanted, instead=None, operations=None):
    """Compute values of a graph; `instead`: number of a value -> of the one that it is to be."""
    known = {0: inputs}
    for out, through in sorted((instead or {}).items()):
        [known[out]] = graph.compute(known, [through], operations)
    return graph.compute(known, wanted, operations)


def _shape(graph, number):
    shapes = {out: step.shape for step in graph.steps for out in step.made}
    return tuple((shapes | {0: graph.model.inputs[0].shape})[number][1:])


def accuracy_without(model: keras.Model, pictures: np.ndarray, labels: Sequence[int]) -> Signal:
    """Measure how often a network is right where one block is left out, for each block.

    Args:
        model: as for `without_block`.
        pictures: array (n, height, width, channels), as the model takes them.
        labels: int array (n,).

    Returns:
        Signal: accuracy from 0 to 1 without each block; nan where nothing fits without it. The
        first value, under the name "whole", is that of the network as it is.
    """
    graph, labels = graph_of(checked(model)), np.asarray(labels)
    found = _blocks(graph)
    ways = [(b.sum, b.stream) if b.sum else (b.exit, b.entry) for b in found]
    kept = [_shape(graph, out) == _shape(graph, through) for out, through in ways]
    right = np.zeros(1 + len(found))
    for some, known in _batches(pictures, labels):
        # The stream in front of each block is computed once, and only what follows again.
        wanted = [graph.output, *(through for _, through in ways)]
        rows, *streams = graph.compute({0: some}, wanted)
        several = [rows]
        for (out, _), stream, fits in zip(ways, streams, kept, strict=True):
            several += graph.compute({0: some, out: stream}, [graph.output]) if fits else [rows]
        right += [_number_right(each, known) for each in several]
    values = np.where([True, *kept], right / len(labels), math.nan)
    names = ("whole", *(block.name for block in found))
    return Signal("accuracy without the block", names, values)


def _batches(pictures, labels):
    if not len(pictures) or len(pictures) != len(labels):
        raise ValueError(
            "Expected at least one picture, and a label for each. "
            f"Received: {len(pictures)} pictures and {len(labels)} labels"
        )
    for start in range(0, len(pictures), BATCH):
        some = keras.ops.convert_to_tensor(pictures[start : start + BATCH], "float32")
        yield some, labels[start : start + BATCH]


def _number_right(rows, labels):
    return (keras.ops.convert_to_numpy(rows).argmax(axis=1) == labels).sum()


def _accuracy(graph, pictures, labels, instead):
    [rows] = _arrays(graph, pictures, [graph.output], instead)
    return float((rows.argmax(axis=1) == np.asarray(labels)).mean())


def _arrays(graph, pictures, wanted, instead=None, changed=None):
    """Compute values for all pictures, a batch at a time: float32 arrays.

    `changed`: what is kept of a value, a function; all of it where it is None.
    """
    if not len(pictures):
        raise ValueError("Expected at least one picture. Received: none")
    kept = [[] for _ in wanted]
    for start in range(0, len(pictures), BATCH):
        some = keras.ops.convert_to_tensor(pictures[start : start + BATCH], "float32")
        for parts, value in zip(kept, _compute(graph, some, wanted, instead), strict=True):
            value = changed(value) if changed else value
            parts.append(keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")))
    return [np.concatenate(parts) for parts in kept]


# The stream


def contributions(model: keras.Model, pictures: np.ndarray) -> Signal:
    """Measure how much each block changes the stream.

    Args:
        model: a trained residual network.
        pictures: array (n, height, width, channels), as the model takes them.

    Returns:
        Signal, one value a block: the L2 norm of what it adds over that of what it adds it to (of
        the projection, where the block has one), mean over the pictures.

    Raises:
        ValueError: if a block has no stream, as in a plain network.
    """
    graph = graph_of(checked(model))
    found = _residual(graph)
    wanted = [number for block in found for number in (block.branch, block.stream)]
    norms = _arrays(graph, pictures, wanted, changed=_norms)
    ratios = [
        float(np.mean(branch / np.maximum(stream, 1e-12)))
        for branch, stream in zip(norms[::2], norms[1::2], strict=True)
    ]
    names = tuple(block.name for block in found)
    return Signal("L2 norm, branch over stream", names, np.array(ratios))


def _norms(value):
    flat = keras.ops.reshape(keras.ops.cast(value, "float32"), (keras.ops.shape(value)[0], -1))
    return keras.ops.norm(flat, axis=1)


def path_lengths(number: int) -> np.ndarray:
    """Return the share of paths of each length through a residual network.

    A path goes, at each block, through the branch or past it: 2^number paths, whose lengths in
    blocks are distributed as heads in so many tosses of a coin.

    Args:
        number: of blocks.

    Returns:
        float64 array (number + 1,), which adds up to 1: shares of the lengths 0, 1, … number.

    Source: Veit, Wilber and Belongie 2016 (arXiv 1605.06431), sections 3 and 5.
    """
    number = checks.count("number", number)
    return np.array([math.comb(number, length) / 2**number for length in range(number + 1)])


def path_gradients(
    model: keras.Model,
    pictures: np.ndarray,
    labels: Sequence[int],
    *,
    samples: int = 4,
    seed: int = 0,
) -> np.ndarray:
    """Measure how much gradient reaches the pictures through paths of each length.

    Forwards all is as it is. Backwards, the gradient of the loss goes through the branch of so many
    blocks, drawn at random, and past the others: what arrives came along one path.

    Args:
        model: a trained residual network that returns probabilities.
        pictures: array (n, height, width, channels), as the model takes them; some 16.
        labels: int array (n,).
        samples: paths that are drawn of each length.
        seed: of the drawing.

    Returns:
        float64 array (blocks + 1,): the L2 norm of the gradient by the pictures, mean over the
        paths drawn of the lengths 0, 1, … Times `path_lengths` it is what all paths of a length
        carry together, up to a factor.

    Raises:
        ValueError: if a block has no stream, as in a plain network.

    Source: Veit, Wilber and Belongie 2016 (arXiv 1605.06431), section 5.
    """
    graph = graph_of(checked(model))
    found, random = _residual(graph), np.random.default_rng(seed)
    samples, pictures = checks.count("samples", samples), np.asarray(pictures, "float32")
    norms = np.zeros(len(found) + 1)
    for length in range(len(found) + 1):
        paths = {
            tuple(sorted(random.choice(len(found), length, replace=False))) for _ in range(samples)
        }
        for path in paths:
            loss = _loss_along(graph, found, set(path), labels)
            norms[length] += np.linalg.norm(gradients(loss, [pictures])[0]) / len(paths)
    return norms


def _loss_along(graph, found, path, labels):
    """Return the loss as a function of the pictures, its gradient along one path alone."""
    labels = keras.ops.convert_to_tensor(np.asarray(labels), "int32")

    def loss(pictures):
        known = {0: pictures}
        for place, block in enumerate(found):
            stream, branch = graph.compute(known, [block.stream, block.branch])
            if place in path:
                known[block.sum] = keras.ops.stop_gradient(stream) + branch
            else:
                known[block.sum] = stream + keras.ops.stop_gradient(branch)
        [rows] = graph.compute(known, [graph.output])
        rows = keras.ops.cast(rows, "float32")
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, rows))

    return loss


# Early exits


@dataclass(frozen=True)
class Exits:
    """How often the stream is read rightly after each block.

    Attributes:
        blocks: names of the blocks, tuple of str.
        own: accuracy with the network's own head, float64 array; nan before the last stage, where
            the stream has another shape.
        fitted: accuracy with a linear head fitted to the stream there, float64 array; nan without
            training pictures.
    """

    blocks: tuple[str, ...]
    own: np.ndarray
    fitted: np.ndarray


def early_exits(
    model: keras.Model,
    pictures: np.ndarray,
    labels: Sequence[int],
    *,
    training: tuple[np.ndarray, Sequence[int]] | None = None,
    penalty: float = 1e-3,
) -> Exits:
    """Read the stream after each block: how early is the answer there?

    Within the last stage the network's own head reads it, as if the blocks that follow were left
    out. Before, the stream has other sizes and widths, which no head was trained for: a linear one
    is fitted to the mean of each channel over the training pictures, by least squares with a
    penalty. Both are given where both can be, for a fitted head is another question: what can be
    told from the stream, not what the network would say.

    Args:
        model: a trained network.
        pictures: array (n, height, width, channels), as the model takes them: to be judged by.
        labels: int array (n,).
        training: (pictures, labels) to fit the heads to, others than `pictures`, more of them than
            the widest stream has channels; None: none are fitted.
        penalty: of the least squares, in variances of a channel.

    Returns:
        Exits.

    Raises:
        ValueError: if there are too few training pictures to fit a head.
    """
    graph = graph_of(checked(model))
    found, labels = _blocks(graph), np.asarray(labels)
    last = _shape(graph, found[-1].exit)
    own = [
        _accuracy(graph, pictures, labels, {found[-1].exit: block.exit})
        if _shape(graph, block.exit) == last
        else math.nan
        for block in found
    ]
    fitted = np.full(len(found), math.nan)
    if training is not None:
        fitted = _fitted(graph, found, (pictures, labels), training, penalty)
    return Exits(tuple(block.name for block in found), np.array(own), np.array(fitted))


def _fitted(graph, found, judged, training, penalty):
    wanted = [block.exit for block in found]
    known = np.asarray(training[1])
    widest = max(_shape(graph, number)[-1] for number in wanted)
    if len(known) <= widest:
        raise ValueError(
            f"Expected more than {widest} training pictures, as many as the widest stream has "
            f"channels. Received: {len(known)}"
        )
    means = [
        _arrays(graph, pictures, wanted, changed=_channel_means)
        for pictures in (training[0], judged[0])
    ]
    return [
        _least_squares(seen, known, new, judged[1], penalty)
        for seen, new in zip(*means, strict=True)
    ]


def _channel_means(value):
    axes = tuple(range(1, len(value.shape) - 1))
    return keras.ops.mean(keras.ops.cast(value, "float32"), axis=axes)


def _least_squares(seen, known, new, labels, penalty):
    """Return the accuracy of a linear head that was fitted to other features."""
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-6
    seen, new = (seen - mean) / spread, (new - mean) / spread
    wanted = np.eye(known.max() + 1)[known]
    level = wanted.mean(axis=0)
    matrix = seen.T @ seen / len(seen) + penalty * np.eye(seen.shape[1])
    weights = np.linalg.solve(matrix, seen.T @ (wanted - level) / len(seen))
    return float(((new @ weights + level).argmax(axis=1) == labels).mean())
