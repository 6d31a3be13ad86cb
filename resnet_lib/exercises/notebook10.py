"""The exercises of notebook 10, many devices."""

from dataclasses import replace

import numpy as np

from .. import recipes, training
from .core import (
    Exercise,
    NotDone,
    Wrong,
    call,
    described,
    guarded,
    is_number,
    plain,
)
from .recipeprobes import judge_recipe

# 10-parts: the gradient of a batch from those of its parts

_BATCHES = ((10, 4), (7, 3), (12, 4))
_WEIGHTS = np.array([0.5, -1.0, 2.0, 0.25])
PARTS_MISTAKES = {
    "the mean of the parts' gradients is taken as it is, which is right only where the parts are "
    "equally large. A part of three pictures counts more than one of two.": (
        lambda gradients, sizes: np.mean(gradients, axis=0)
    ),
    "the gradients of the parts are added. Each of them is a mean already, so that the sum of n "
    "of them is n times too large.": lambda gradients, sizes: np.sum(gradients, axis=0),
    "the gradients are weighted with the sizes of the parts and added, and the sum is not divided "
    "by the size of the batch.": lambda gradients, sizes: sizes @ gradients,
    "the weighted sum is divided by the number of devices. By what do you divide the sum over all "
    "pictures, to get their mean?": (lambda gradients, sizes: sizes @ gradients / len(sizes)),
    "the gradients are added and divided by the size of the batch. Each of them is a mean over its "
    "part: times the size of the part, it is a sum.": (
        lambda gradients, sizes: np.sum(gradients, axis=0) / sizes.sum()
    ),
    "that is the gradient of the first part alone.": lambda gradients, sizes: gradients[0],
    "that is the gradient of the last part alone. Is each one kept until the end?": (
        lambda gradients, sizes: gradients[-1]
    ),
    "the gradients are divided by the number of devices twice.": (
        lambda gradients, sizes: np.mean(gradients, axis=0) / len(sizes)
    ),
}


def mean_gradient(weights, inputs, targets):
    """Return the gradient of the mean squared error of a linear model."""
    return 2 * inputs.T @ (inputs @ weights - targets) / len(inputs)


def of_the_whole(gradient, weights, inputs, targets, devices):
    """Return the gradient of a batch, each device computing that of its part."""
    parts = zip(np.array_split(inputs, devices), np.array_split(targets, devices), strict=True)
    return sum(len(x) * gradient(weights, x, y) for x, y in parts) / len(inputs)


def judge_parts(function):
    """Judge a function (gradient, weights, inputs, targets, devices) -> the batch's gradient."""
    for rows, devices in _BATCHES:
        rng = np.random.default_rng(rows)
        inputs, targets = rng.normal(size=(rows, len(_WEIGHTS))), rng.normal(size=rows)
        _judge_batch(function, inputs, targets, devices)


def _judge_batch(function, inputs, targets, devices):
    gradients, sizes = [], []

    def watched(weights, x, y):
        gradients.append(mean_gradient(weights, x, y))
        sizes.append(len(x))
        return gradients[-1].copy()

    found = call(function, watched, _WEIGHTS.copy(), inputs.copy(), targets.copy(), devices)
    found = _array(found, _WEIGHTS.shape, "the gradient")
    _judge_sizes(sizes, len(inputs), devices)
    if np.allclose(found, mean_gradient(_WEIGHTS, inputs, targets)):
        return
    for text, wrong in PARTS_MISTAKES.items():
        if np.allclose(found, wrong(np.array(gradients), np.array(sizes))):
            raise Wrong(text)
    raise Wrong(
        f"with {len(inputs)} pictures on {devices} devices, the result is not the gradient of the "
        "batch. The sum over all pictures, divided by their number, is. What is the sum over the "
        "pictures of one part, if `gradient` returns their mean?"
    )


def _judge_sizes(sizes, rows, devices):
    """Raise Wrong unless each device got one part of a batch, all of about the same size."""
    if not sizes:
        raise Wrong("`gradient` is never called. Each device calls it for its part of the batch.")
    if sizes == [rows]:
        raise Wrong(
            "`gradient` gets the whole batch at once. The parts are to be computed apart, for "
            "each lies on another device."
        )
    if len(sizes) != devices:
        raise Wrong(f"`gradient` is called {len(sizes)} times for {devices} devices.")
    if sum(sizes) != rows:
        raise Wrong(
            f"the parts have {sum(sizes)} pictures together, the batch has {rows}. "
            "np.array_split loses none where the batch does not divide."
        )
    if max(sizes) - min(sizes) > 1:
        raise Wrong(
            f"the parts have {', '.join(map(str, sizes))} pictures. They should differ by one at "
            "most, so that no device waits for another: np.array_split does that."
        )


def _array(value, shape, what):
    """Return what the reader returned as a float array of a shape, or raise Wrong."""
    found = np.asarray(plain(value)) if not isinstance(value, str) else np.asarray(None)
    if found.dtype.kind not in "iuf" or found.shape != shape:
        seen = f"an array of shape {found.shape}" if found.ndim else described(value)
        raise Wrong(f"your function returned {seen}. Expected: {what}, of shape {shape}.")
    return found


# 10-gather: the second half of an all-reduce around a ring

_RINGS = ((4, 10), (3, 7), (2, 4))
# A way round the ring: which chunk a device sends in a step, whether it is added, how many steps.
GATHER_MISTAKES = {
    "each device sends the chunk that reduce_scatter would begin with, which is not finished. "
    "Device 0 holds the whole sum of chunk 1, device 1 that of chunk 2: with which chunk does each "
    "begin?": dict(chunk=lambda device, step, n: device - step),
    "each device begins with the right chunk, and then goes on with the next higher one, which it "
    "has not received. In the second step it sends what it got in the first.": dict(
        chunk=lambda device, step, n: device + 1 + step
    ),
    "each device begins with the chunk of its own number, which is not finished, and then goes "
    "upwards.": dict(chunk=lambda device, step, n: device + step),
    "each device sends the same chunk in every step, so that it never gets further than to the "
    "neighbour.": dict(chunk=lambda device, step, n: device + 1),
    "each device sends the chunk of its own number in every step. It is not finished.": dict(
        chunk=lambda device, step, n: device
    ),
    "each device begins with the chunk two above its own number. Only the one above is finished.": (
        dict(chunk=lambda device, step, n: device + 2 - step)
    ),
    "the finished chunks are added to what the neighbour has. They take its place: `send` without "
    "`add`.": dict(add=True),
    "the last step is missing: a chunk has n - 1 neighbours to reach.": dict(fewer=2),
    "the loops are the wrong way round: in each step, all devices send. A device cannot send in "
    "one go what it has not received yet.": dict(by_device=True),
}


class Ring:
    """Devices in a ring. Each holds an array, cut into as many chunks as there are devices."""

    def __init__(self, arrays):
        self.chunks = [np.array_split(array.copy(), len(arrays)) for array in arrays]
        self.sent = [0] * len(arrays)

    def send(self, device, chunk, add=False):
        """Send a chunk to the next device, which adds it to its own or replaces its own by it."""
        values = self.chunks[device][chunk]
        to = self.chunks[(device + 1) % len(self.chunks)]
        to[chunk][:] = to[chunk] + values if add else values
        self.sent[device] += len(values)


def reduce_scatter(ring):
    """Let device d come to hold the sum of chunk d + 1 over all devices."""
    n = len(ring.chunks)
    for step in range(n - 1):
        for device in range(n):
            ring.send(device, (device - step) % n, add=True)


def all_gather(ring):
    """Let each device come to hold all the sums that reduce_scatter has left, one on each."""
    n = len(ring.chunks)
    for step in range(n - 1):
        for device in range(n):
            ring.send(device, (device + 1 - step) % n)


def judge_gather(function):
    """Judge a function of a ring behind reduce_scatter that lets each device hold all sums."""
    if not callable(function):
        call(function)
    for devices, numbers in _RINGS:
        ring, expected = _scattered(devices, numbers), _scattered(devices, numbers)
        returned = guarded(function, ring)
        all_gather(expected)
        if not any(ring.sent):
            _judge_unsent(ring, _scattered(devices, numbers), returned)
        if not _alike(ring, expected):
            raise Wrong(_gather_told(ring, devices, numbers))
        if sum(ring.sent) > sum(expected.sent):
            raise Wrong(
                f"each device ends with all sums, but {devices} devices send {sum(ring.sent)} "
                f"numbers where {sum(expected.sent)} suffice: a chunk is at home after n - 1 steps."
            )


def _scattered(devices, numbers):
    """Return a ring behind reduce_scatter, nothing counted; no two sums of it are equal."""
    rng = np.random.default_rng(devices)
    ring = Ring(list(rng.normal(size=(devices, numbers))))
    reduce_scatter(ring)
    ring.sent = [0] * devices
    return ring


def _judge_unsent(ring, before, returned):
    if returned is not None and returned is not ...:
        raise Wrong(
            f"your function returns {described(returned)} and sends nothing. Expected: nothing is "
            "returned, and chunks are sent by `ring.send`."
        )
    if _alike(ring, before):
        raise NotDone("your function sends nothing yet. Write its body: loops with `ring.send`.")
    raise Wrong(
        "the chunks have changed, but nothing was sent. A device has no access to another one's "
        "memory: everything goes through `ring.send`, to the neighbour."
    )


def _alike(ring, other):
    pairs = zip(ring.chunks, other.chunks, strict=True)
    return all(np.allclose(np.concatenate(a), np.concatenate(b)) for a, b in pairs)


def _gather_told(ring, devices, numbers):
    for text, way in GATHER_MISTAKES.items():
        other = _scattered(devices, numbers)
        _gather(other, **way)
        if _alike(ring, other):
            return text
    right = _scattered(devices, numbers)
    all_gather(right)
    wrong = [
        (device, chunk)
        for device, chunks in enumerate(right.chunks)
        for chunk, values in enumerate(chunks)
        if not np.allclose(ring.chunks[device][chunk], values)
    ]
    device, chunk = wrong[0]
    return (
        f"with {devices} devices, {len(wrong)} of {devices**2} chunks do not hold the sum at the "
        f"end; the first is chunk {chunk} of device {device}. On paper: which device holds which "
        "finished chunk at the beginning, and which after one step?"
    )


def _gather(ring, chunk=lambda device, step, n: device + 1 - step, add=False, fewer=1, by_device=0):
    """Do what a wrong all_gather does."""
    n = len(ring.chunks)
    order = [(step, device) for step in range(n - fewer) for device in range(n)]
    if by_device:
        order.sort(key=lambda pair: pair[1])
    for step, device in order:
        ring.send(device, chunk(device, step, n) % n, add=add)


# 10-fault-statistics: mean and variance of a batch that lies on several devices

_SAMPLE_VARIANCE = (
    "the variance is divided by one less than the number of pictures. Batch normalisation divides "
    "by their number: np.var without `ddof`."
)
STATISTICS_MISTAKES = {
    "the mean of all squares is returned as the variance. The square of the mean is to be taken "
    "off.": lambda parts, all_mean: all_mean([np.mean(part**2, 0) for part in parts]),
    "that is the variance of the devices' means alone. The variance within each part belongs to "
    "it, too.": lambda parts, all_mean: np.var([part.mean(0) for part in parts], axis=0),
    "the mean is taken off, not its square.": lambda parts, all_mean: (
        all_mean([np.mean(part**2, 0) for part in parts]) - np.concatenate(parts).mean(0)
    ),
    "that is the standard deviation, the root of the variance.": lambda parts, all_mean: (
        np.concatenate(parts).std(0)
    ),
    _SAMPLE_VARIANCE: lambda parts, all_mean: np.concatenate(parts).var(0, ddof=1),
}


class _Asks(BaseException):
    """A device waits for the mean of what all have sent."""

    def __init__(self, values):
        super().__init__()
        self.values = values


def statistics(part, all_mean):
    """Return mean and variance of each channel over the parts of all devices."""
    mean = all_mean(part.mean(axis=0))
    return mean, all_mean((part**2).mean(axis=0)) - mean**2


def judge_statistics(function):
    """Judge a function (part, all_mean) -> mean and variance of the whole batch, by channel."""
    rng = np.random.default_rng(4)
    parts = [rng.normal(place, 1 + place / 4, size=(6, 3)) for place in range(4)]
    whole, sent = np.concatenate(parts), []
    results = [_two_arrays(found) for found in _on_devices(function, parts, sent)]
    _judge_sent(sent)
    for mean, variance in results:
        if not np.allclose(mean, whole.mean(0)):
            raise Wrong(_mean_told(mean, parts))
        if not np.allclose(variance, whole.var(0)):
            _tell_variance(variance, parts, whole)


def _on_devices(function, parts, sent, most=20):
    """Return what a function of (part, all_mean) returns on each device.

    Each device runs until it asks for a mean that is not known yet; when all have asked, it is,
    and they begin again.
    """
    known = []
    while len(known) < most:
        asked, found = [], []
        for part in parts:
            try:
                found.append(call(function, part.copy(), _answering(known)))
            except _Asks as question:
                asked.append(question.values)
        if not asked:
            return found
        known.append(_mean_of(asked, len(parts)))
        sent.append(asked[0])
    raise Wrong(f"your function calls `all_mean` more than {most} times. Two calls are enough.")


def _answering(known):
    left = iter(known)

    def all_mean(values):
        answer = next(left, None)
        if answer is None:
            raise _Asks(values)
        return answer.copy()

    return all_mean


def _mean_of(asked, devices):
    if len(asked) != devices:
        raise Wrong(
            f"{len(asked)} of {devices} devices call `all_mean`, and wait for the others for ever. "
            "All devices must make the same calls."
        )
    try:
        return np.mean([np.asarray(values, dtype=float) for values in asked], axis=0)
    except (TypeError, ValueError):
        raise Wrong(
            f"`all_mean` gets {described(asked[0])}. It takes an array of numbers, of one shape on "
            "all devices."
        ) from None


def _judge_sent(sent):
    if not sent:
        raise Wrong(
            "`all_mean` is never called, so that each device knows its own pictures only. What "
            "must it learn from the others?"
        )
    numbers = sum(np.size(values) for values in sent)
    if numbers >= 18:
        raise Wrong(
            f"a device sends {numbers} numbers, as many as its part has. Two for each channel are "
            "enough."
        )


def _two_arrays(found):
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong(f"your function returned {described(found)}. Expected: mean and variance.")
    return [
        _array(part, (3,), f"the {name}")
        for name, part in zip(("mean", "variance"), found, strict=True)
    ]


def _mean_told(mean, parts):
    if any(np.allclose(mean, part.mean(0)) for part in parts):
        return (
            "the mean is that of each device's own part. It must be that of the batch, so that all "
            "devices normalise alike."
        )
    return "the mean is not that of the batch, though the faulty function has it right."


def _tell_variance(variance, parts, whole):
    """Raise NotDone for the faulty variance, Wrong for another."""
    if np.allclose(variance, np.mean([part.var(0) for part in parts], axis=0)):
        raise NotDone(
            "this is still the faulty one: the mean of the devices' variances leaves out that "
            "their means differ."
        )
    if any(np.allclose(variance, part.var(0)) for part in parts):
        raise Wrong("the variance is that of each device's own part, not that of the batch.")
    for text, wrong in STATISTICS_MISTAKES.items():
        if np.allclose(variance, wrong(parts, lambda sent: np.mean(sent, axis=0))):
            raise Wrong(text)
    raise Wrong(
        f"the variance of the first channel is {variance[0]:.4g}; that of the whole batch is "
        f"{whole.var(0)[0]:.4g}. The variance is the mean of the squares, less the square of the "
        "mean, both over all pictures."
    )


# 10-scaled: a recipe for n times the batch

WARM_UP = 0.25
_SCALED = (
    (replace(recipes.ONE_CYCLE, batch_size=32, peak=0.05, warmup=0.0, epochs=30), 8),
    (replace(recipes.ONE_CYCLE, batch_size=64, peak=0.1, warmup=0.1, momentum=0.8), 4),
)
_PEAKS = (
    (lambda n: 1, "the rate is as it was. A batch {n} times as large makes {n} times fewer steps."),
    (
        lambda n: n**0.5,
        "the rate is multiplied by the root of {n}. That is a rule, too, and common with Adam; "
        "linear scaling multiplies it by {n}.",
    ),
    (lambda n: 1 / n, "the rate is divided by {n}. There are fewer steps: each must go further."),
    (lambda n: n**2, "the rate is multiplied by {n} twice."),
)


def for_devices(recipe, devices):
    """Return a recipe for so many times the batch: the rate scaled with it, a warm-up of 0.25."""
    return replace(
        recipe,
        batch_size=devices * recipe.batch_size,
        peak=devices * recipe.peak,
        warmup=WARM_UP,
    )


def judge_scaled(function):
    """Judge a function (recipe, devices) -> the recipe for so many times the batch."""
    for recipe, devices in _SCALED:
        found = call(function, recipe, devices)
        if not isinstance(found, recipes.Recipe):
            raise Wrong(
                f"your function returned {described(found)}. Expected: a recipe. "
                "replace(recipe, field=…) returns one with other values."
            )
        if found == recipe:
            raise Wrong("your function returns the recipe as it came.")
        _judge_fields(found, recipe, devices)


def _judge_fields(found, recipe, devices):
    if found.batch_size != devices * recipe.batch_size:
        raise Wrong(
            f"for {devices} devices a batch of {recipe.batch_size} becomes one of "
            f"{found.batch_size}. `batch_size` is the global one: that of all devices together."
        )
    if not np.isclose(found.peak, devices * recipe.peak):
        told = [text for k, text in _PEAKS if np.isclose(found.peak, k(devices) * recipe.peak)]
        other = f"for {{n}} devices a peak of {recipe.peak:g} becomes {found.peak:g}."
        raise Wrong([*told, other][0].format(n=devices))
    if found.warmup != WARM_UP:
        raise Wrong(f"the warm-up is {found.warmup:g} of the steps. Asked for is {WARM_UP:g}.")
    wanted = for_devices(recipe, devices).as_dict().items()
    others = [name for name, value in wanted if found.as_dict()[name] != value]
    if others:
        raise Wrong(
            f"{', '.join(others)} changed as well. The batch, the rate and the warm-up are all "
            "that the rule changes: the pictures seen, and so the epochs, stay the same."
        )


# 10-time: the time of a step on n devices

_STEPS = ((4, 0.2, 4e8, 1e10, 0.003), (8, 0.001, 1e6, 2e9, 1e-5), (3, 0.01, 3e7, 1e10, 0.0))
TIME_MISTAKES = {
    "only the computing is counted. The gradients must be all-reduced, too.": (
        lambda n, compute, size, bandwidth, latency: compute / n
    ),
    "the computing is not divided: each device has a part of the batch.": (
        lambda n, compute, size, bandwidth, latency: (
            compute + _ring_time(n, size, bandwidth, latency)
        )
    ),
    "the computing is missing.": lambda n, compute, size, bandwidth, latency: _ring_time(
        n, size, bandwidth, latency
    ),
    "each message carries the whole gradient. Around the ring it is cut into n chunks.": (
        lambda n, compute, size, bandwidth, latency: (
            compute / n + 2 * (n - 1) * (size / bandwidth + latency)
        )
    ),
    "only half of the all-reduce is counted: it is a reduce-scatter and an all-gather, of n - 1 "
    "messages each.": lambda n, compute, size, bandwidth, latency: (
        compute / n + _ring_time(n, size, bandwidth, latency) / 2
    ),
    "n messages are counted in each half. A chunk makes n - 1 hops.": (
        lambda n, compute, size, bandwidth, latency: (
            compute / n + 2 * n * (size / n / bandwidth + latency)
        )
    ),
    "the latency is counted once. Each of the 2(n - 1) messages has it.": (
        lambda n, compute, size, bandwidth, latency: (
            compute / n + _ring_time(n, size, bandwidth, 0) + latency
        )
    ),
    "the latency is divided by n with the size. A short message waits as long as a long one.": (
        lambda n, compute, size, bandwidth, latency: (
            compute / n + _ring_time(n, size, bandwidth, latency / n)
        )
    ),
    "the latency is missing.": lambda n, compute, size, bandwidth, latency: (
        compute / n + _ring_time(n, size, bandwidth, 0)
    ),
    "the whole gradient is sent once. How many numbers does a device send around the ring?": (
        lambda n, compute, size, bandwidth, latency: compute / n + size / bandwidth + latency
    ),
    "the sending is divided by n: all devices send at the same time, each as much as you have "
    "counted.": lambda n, compute, size, bandwidth, latency: (
        (compute + _ring_time(n, size, bandwidth, latency)) / n
    ),
}


def _ring_time(devices, size, bandwidth, latency):
    return 2 * (devices - 1) * (size / devices / bandwidth + latency)


def step_time(devices, compute, size, bandwidth, latency):
    """Return the seconds of a step on so many devices, the all-reduce after the computing."""
    chunk = size / devices
    return compute / devices + 2 * (devices - 1) * (latency + chunk / bandwidth)


def judge_time(function):
    """Judge a function (devices, compute, size, bandwidth, latency) -> seconds of a step."""
    found = np.array([_seconds(function, given) for given in _STEPS])
    if not _as_long(found, step_time):
        for text, wrong in TIME_MISTAKES.items():
            if _as_long(found, wrong):
                raise Wrong(text)
        raise Wrong(
            "with {} devices, compute={}, size={:g}, bandwidth={:g} and latency={}".format(
                *_STEPS[0]
            )
            + f" a step takes {found[0]:.4g} s by your function. Count apart: the computing; how "
            "many messages a device sends one after the other; how many bytes each has."
        )
    alone = _seconds(function, (1, 0.5, 1e9, 1e10, 0.001))
    if alone != 0.5:
        raise Wrong("one device sends nothing, and takes the time of computing alone.")


def _seconds(function, given):
    value = plain(call(function, *given))
    if not is_number(value):
        raise Wrong(f"your function returned {described(value)}. Expected: seconds, one number.")
    return float(value)


def _as_long(found, function):
    return np.allclose(found, [function(*given) for given in _STEPS], rtol=1e-3, atol=0)


# 10-project: a recipe for large batches

EPOCHS, SMALLEST_BATCH, TARGET, LEARNT = 12, 256, 0.40, 0.6


def judge_project(recipe):
    """Judge a recipe of large batches by the test accuracy of a ResNet-8 that it trains."""
    return judge_recipe(
        recipe,
        training.train,
        epochs=EPOCHS,
        batch=SMALLEST_BATCH,
        too_small=f"Eight devices with 32 each take {SMALLEST_BATCH}.",
        target=TARGET,
        advice=_advice,
    )


def _advice(recipe, run):
    """Say what in a recipe may keep a run of few, large batches from its target."""
    learnt = run.history["accuracy"][-1]
    if learnt > LEARNT:
        return (
            f"While it trained, the network got {learnt:.0%} of the training pictures. The test "
            "takes the moving statistics of batch normalisation, and there were few steps for them "
            "to follow the weights: what does `bn_momentum` say?"
        )
    return (
        f"The peak is {recipe.peak:g}, the warm-up {recipe.warmup:g} of the steps; the loss of the "
        f"first epoch is {run.history['loss'][0]:.2f}, of the last {run.history['loss'][-1]:.2f}. "
        "With a batch eight times as large, which peak goes as far in an eighth of the steps?"
    )


EXERCISES = {
    "10-parts": Exercise(
        judge_parts,
        level="medium",
        minutes=10,
        hints=(
            "np.array_split(inputs, devices) is a list of parts. Split the targets in the same "
            "way, and call `gradient` for each pair.",
            "`gradient` returns the mean over the pictures of its part. Times their number, it is "
            "their sum; and the sums of the parts can be added.",
            "add len(x) * gradient(weights, x, y) over the parts, and divide by len(inputs).",
        ),
        why="this is all that several devices compute at a step: what one device would, in parts.",
        stand_in=of_the_whole,
    ),
    "10-gather": Exercise(
        judge_gather,
        level="medium",
        minutes=12,
        hints=(
            "draw four devices in a circle, and write beside each the chunk that it has finished: "
            "device 0 chunk 1, device 1 chunk 2, device 2 chunk 3, device 3 chunk 0.",
            "in the first step, device d sends chunk d + 1. In the next one, it sends what it has "
            "just received from device d - 1, and that was chunk d.",
            "the loops are those of reduce_scatter. The chunk is (device + 1 - step) % n, and "
            "nothing is added.",
        ),
        why="every device sends and receives at the same time, and none sends more than twice its "
        "numbers, however many devices there are.",
        stand_in=all_gather,
    ),
    "10-fault-statistics": Exercise(
        judge_statistics,
        level="medium",
        minutes=10,
        hints=(
            "two devices hold the pictures (1, 1) and (3, 3), one channel. What is the variance of "
            "each part, and what that of all four?",
            "the variance is the mean of the squares less the square of the mean. Means can be "
            "averaged over devices with parts of one size.",
            "the mean of the squares is all_mean((part**2).mean(axis=0)). Take mean**2 off, with "
            "the mean of the batch.",
        ),
        why="normalised by the batch's mean and variance, n devices compute what one does; that "
        "is what `synchronized=True` is for.",
        stand_in=statistics,
    ),
    "10-scaled": Exercise(
        judge_scaled,
        level="easy",
        minutes=5,
        hints=(
            "`replace(recipe, batch_size=…, peak=…, warmup=…)` returns a recipe with three other "
            "values.",
            "the batch and the rate are both multiplied by `devices`; the warm-up is 0.25.",
        ),
        why="more devices with a larger batch are another recipe, and whoever reads the record "
        "must see it: nothing is scaled in secret.",
        stand_in=for_devices,
    ),
    "10-time": Exercise(
        judge_time,
        level="medium",
        minutes=10,
        hints=(
            "computing first: each device has a part of the batch. Then count the messages that "
            "one device sends, one after the other, in both halves of the all-reduce.",
            "there are 2(n - 1) messages. Each carries a chunk, size / n bytes, and takes the "
            "latency and the chunk's bytes divided by the bandwidth.",
            "compute / n + 2 * (n - 1) * (latency + size / n / bandwidth), with n devices.",
        ),
        why="it says before you pay for machines how many of them help: the first term falls with "
        "each device, the last one rises.",
        stand_in=step_time,
    ),
    "10-project": Exercise(
        judge_project,
        level="medium",
        minutes=30,
        hints=(
            "what protects a network from learning its pictures by heart costs a short run its "
            "accuracy: augment=False, sizes=((1, 1),).",
            "the recipe of notebook 6 had batches of 32 and a peak of 0.2. What does linear "
            "scaling make of that, and where does it stop to help?",
            "try peaks of 0.4, 0.8 and 1.6. Twelve epochs are 96 steps here, in which the moving "
            "statistics of batch normalisation have to follow: bn_momentum=0.7 lets them.",
        ),
        why="a batch of any size has a rate that goes with it, up to a point; beyond that, more "
        "devices make the steps fewer and the network no better.",
        seconds=180,
    ),
}
