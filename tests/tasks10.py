"""Answers to the exercises of notebook 10; see test_workshop.py."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from resnet_lib import recipes

# The gradient of a batch from those of its parts


def _parts(inputs, targets, devices):
    pairs = zip(np.array_split(inputs, devices), np.array_split(targets, devices), strict=True)
    return list(pairs)


def parts_weighted(gradient, weights, inputs, targets, devices):
    parts = _parts(inputs, targets, devices)
    found = [gradient(weights, x, y) for x, y in parts]
    return np.average(found, axis=0, weights=[len(x) for x, _ in parts])


def parts_strided(gradient, weights, inputs, targets, devices):
    total = np.zeros_like(weights)
    for device in range(devices):
        x, y = inputs[device::devices], targets[device::devices]
        total += gradient(weights, x, y) * len(y)
    return (total / len(targets)).tolist()


def parts_combined(combine):
    """Return an answer that makes something else of the parts' gradients and their sizes."""

    def function(gradient, weights, inputs, targets, devices):
        parts = _parts(inputs, targets, devices)
        found = np.array([gradient(weights, x, y) for x, y in parts])
        return combine(found, np.array([len(x) for x, _ in parts]))

    return function


def parts_at_once(gradient, weights, inputs, targets, devices):
    return gradient(weights, inputs, targets)


def parts_dropped(gradient, weights, inputs, targets, devices):
    size = len(inputs) // devices
    places = [slice(i * size, (i + 1) * size) for i in range(devices)]
    return np.mean([gradient(weights, inputs[p], targets[p]) for p in places], axis=0)


def parts_uneven(gradient, weights, inputs, targets, devices):
    size = len(inputs) // devices
    starts = [i * size for i in range(devices)] + [len(inputs)]
    total = 0
    for start, stop in pairwise(starts):
        x, y = inputs[start:stop], targets[start:stop]
        total = total + len(x) * gradient(weights, x, y)
    return total / len(inputs)


def parts_of_one(gradient, weights, inputs, targets, devices):
    pairs = zip(inputs, targets, strict=True)
    return np.mean([gradient(weights, x[None], y[None]) for x, y in pairs], axis=0)


PARTS_WRONG = [
    (parts_combined(lambda g, n: g.mean(0)), "which is right only where the parts are equally"),
    (parts_combined(lambda g, n: g.sum(0)), "Each of them is a mean already"),
    (parts_combined(lambda g, n: n @ g), "is not divided by the size of the batch"),
    (parts_combined(lambda g, n: n @ g / len(n)), "By what do you divide the sum"),
    (parts_combined(lambda g, n: g.sum(0) / n.sum()), "times the size of the part, it is a sum"),
    (parts_combined(lambda g, n: g[0]), "the first part alone"),
    (parts_combined(lambda g, n: g[-1]), "the last part alone"),
    (parts_combined(lambda g, n: g.mean(0) / len(n)), "number of devices twice"),
    (parts_combined(lambda g, n: g.max(0)), "is not the gradient of the batch"),
    (parts_combined(lambda g, n: g), "array of shape (4, 4). Expected: the gradient"),
    (lambda gradient, w, x, y, n: x.T @ (x @ w - y) * 2 / len(x), "is never called"),
    (parts_at_once, "gets the whole batch at once"),
    (parts_dropped, "loses none where the batch does not divide"),
    (parts_uneven, "differ by one at most"),
    (parts_of_one, "is called 10 times for 4 devices"),
    (lambda gradient, w, x, y, n: "mean", "returned 'mean'"),
]

# The second half of a ring


def gather_with_last(ring):
    n = len(ring.chunks)
    carried = {device: (device + 1) % n for device in range(n)}
    for _ in range(n - 1):
        for device, chunk in carried.items():
            ring.send(device, chunk)
        carried = {(device + 1) % n: chunk for device, chunk in carried.items()}


def gather_chunk_by_chunk(ring):
    n = len(ring.chunks)
    for hop in range(n - 1):
        for chunk in range(n):
            ring.send((chunk - 1 + hop) % n, chunk)


def gather(chunk, fewer=1, **options):
    """Return an answer that sends a chunk of its own choice in each step."""

    def function(ring):
        n = len(ring.chunks)
        for step in range(n - fewer):
            for device in range(n):
                ring.send(device, chunk(device, step) % n, **options)

    return function


def gather_by_device(ring):
    n = len(ring.chunks)
    for device in range(n):
        for step in range(n - 1):
            ring.send(device, (device + 1 - step) % n)


def gather_by_hand(ring):
    n = len(ring.chunks)
    for chunk in range(n):
        for device in range(n):
            ring.chunks[device][chunk][:] = ring.chunks[(chunk - 1) % n][chunk]


def gather_again(ring):
    n = len(ring.chunks)
    for step in range(n):
        for device in range(n):
            ring.send(device, (device + 1 - step) % n)


def gather_from_one(ring):
    n = len(ring.chunks)
    for device in range(n):
        for chunk in range(n):
            ring.send(device, chunk)


GATHER_WRONG = [
    (gather(lambda d, s: d - s), "the chunk that reduce_scatter would begin with"),
    (gather(lambda d, s: d + 1 + s), "then goes on with the next higher one"),
    (gather(lambda d, s: d + s), "and then goes upwards"),
    (gather(lambda d, s: d + 1), "never gets further than to the neighbour"),
    (gather(lambda d, s: d), "the chunk of its own number in every step"),
    (gather(lambda d, s: d + 2 - s), "Only the one above is finished"),
    (gather(lambda d, s: d + 1 - s, add=True), "`send` without `add`"),
    (gather(lambda d, s: d + 1 - s, fewer=2), "the last step is missing"),
    (gather_by_device, "the loops are the wrong way round"),
    (gather_by_hand, "has no access to another one's memory"),
    (gather_again, "send 40 numbers where 30 suffice"),
    (gather_from_one, "do not hold the sum at the end"),
    (lambda ring: ring.send(9, 0), "IndexError"),
    ("ring", "where a function is expected"),
]

# Mean and variance of a batch that lies on several devices


def statistics_centred(part, all_mean):
    mean = all_mean(part.mean(axis=0))
    return [mean, all_mean(((part - mean) ** 2).mean(axis=0))]


def statistics_in_one(part, all_mean):
    mean, squares = all_mean(np.array([part.mean(0), np.square(part).mean(0)]))
    return mean, squares - mean * mean


def statistics_between(part, all_mean):
    own = part.mean(0)
    mean = all_mean(own)
    return mean, all_mean(part.var(0)) + all_mean((own - mean) ** 2)


def statistics_faulty(part, all_mean):
    return all_mean(part.mean(axis=0)), all_mean(part.var(axis=0))


def statistics_with(variance):
    """Return an answer with the right mean and another variance."""
    return lambda part, all_mean: (all_mean(part.mean(0)), variance(part, all_mean))


def mean_of_squares(part, all_mean):
    return all_mean((part**2).mean(0))


def right_variance(part, all_mean):
    return statistics_centred(part, all_mean)[1]


def between(part, all_mean):
    own = part.mean(0)
    return all_mean((own - all_mean(own)) ** 2)


def asking_for_ever(part, all_mean):
    while True:
        all_mean(part.mean(0))


def asking_alone(part, all_mean):
    return (all_mean(part.mean(0)), part.var(0)) if part[0, 0] > 2 else (part.mean(0), part.var(0))


STATISTICS_WRONG = [
    (statistics_with(mean_of_squares), "The square of the mean is to be taken off"),
    (
        statistics_with(lambda p, m: mean_of_squares(p, m) - m(p.mean(0))),
        "the mean is taken off, not its square",
    ),
    (statistics_with(between), "the variance of the devices' means alone"),
    (statistics_with(lambda p, m: right_variance(p, m) ** 0.5), "the standard deviation"),
    (statistics_with(lambda p, m: right_variance(p, m) * 24 / 23), "np.var without `ddof`"),
    (statistics_with(lambda p, m: p.var(0)), "the variance is that of each device's own part"),
    (statistics_with(lambda p, m: m(p.std(0)) * 9), "less the square of the mean, both over all"),
    (lambda part, all_mean: (part.mean(0), all_mean(part.var(0))), "all devices normalise alike"),
    (lambda part, all_mean: (all_mean(part.max(0)),) * 2, "the faulty function has it right"),
    (lambda part, all_mean: (part.mean(0), part.var(0)), "`all_mean` is never called"),
    (statistics_with(lambda p, m: m(p).var(0)), "as many as its part has"),
    (lambda part, all_mean: all_mean(part.mean(0)), "Expected: mean and variance"),
    (lambda part, all_mean: (all_mean(part.mean()), 1.0), "of shape (3,)"),
    (statistics_with(lambda p, m: m("all")), "takes an array of numbers"),
    (asking_for_ever, "Two calls are enough"),
    (asking_alone, "wait for the others for ever"),
]

# A recipe for n times the batch


def scaled_by_fields(recipe, devices):
    return recipe.changed(
        {
            "batch_size": recipe.batch_size * devices,
            "peak": recipe.peak * devices,
            "warmup": 1 / 4,
        }
    )


def scaled_twice(recipe, devices):
    recipe = replace(recipe, warmup=0.25, batch_size=int(devices * recipe.batch_size))
    return replace(recipe, peak=float(np.float64(recipe.peak) * devices))


def scaled(batch=1.0, peak=1.0, **others):
    """Return an answer that multiplies by powers of the number of devices."""

    def function(recipe, devices):
        size = round(recipe.batch_size * devices**batch)
        fields = {"warmup": 0.25} | others
        return replace(recipe, batch_size=size, peak=recipe.peak * devices**peak, **fields)

    return function


SCALED_WRONG = [
    (scaled(peak=0), "the rate is as it was"),
    (scaled(peak=0.5), "the root of 8"),
    (scaled(peak=-1), "the rate is divided by 8"),
    (scaled(peak=2), "multiplied by 8 twice"),
    (scaled(peak=1.5), "becomes 1.13"),
    (scaled(batch=0), "`batch_size` is the global one"),
    (scaled(warmup=0.5), "Asked for is 0.25"),
    (scaled(epochs=3), "epochs changed as well"),
    (scaled(momentum=0.5), "momentum changed as well"),
    (lambda recipe, devices: {"peak": 0.4}, "Expected: a recipe"),
    (lambda recipe, devices: replace(recipe, peak=-1), "your function raised ValueError"),
]

# The time of a step


def time_by_bytes(devices, compute, size, bandwidth, latency):
    moved = 2 * (devices - 1) / devices * size
    return compute / devices + moved / bandwidth + 2 * (devices - 1) * latency


def time_in_a_loop(devices, compute, size, bandwidth, latency):
    seconds = np.float64(compute) / devices
    for _ in range(2):
        for _ in range(devices - 1):
            seconds += latency + math.ceil(size) / devices / bandwidth
    return seconds


def timed(computing=lambda n: 1 / n, messages=lambda n: 2 * (n - 1), part=lambda n: 1 / n, one=0):
    """Return an answer that counts otherwise."""

    def function(n, compute, size, bandwidth, latency):
        waits = one or messages(n)
        return computing(n) * compute + messages(n) * part(n) * size / bandwidth + waits * latency

    return function


TIME_WRONG = [
    (lambda n, c, s, b, lat: c / n, "only the computing is counted"),
    (timed(computing=lambda n: 1), "the computing is not divided"),
    (timed(computing=lambda n: 0), "the computing is missing"),
    (timed(part=lambda n: 1), "each message carries the whole gradient"),
    (timed(messages=lambda n: n - 1), "only half of the all-reduce"),
    (timed(messages=lambda n: 2 * n), "n messages are counted in each half"),
    (timed(one=1), "the latency is counted once"),
    (lambda n, c, s, b, lat: time_by_bytes(n, c, s, b, lat / n), "A short message waits"),
    (lambda n, c, s, b, lat: time_by_bytes(n, c, s, b, 0), "the latency is missing"),
    (lambda n, c, s, b, lat: c / n + s / b + lat, "the whole gradient is sent once"),
    (
        lambda n, c, s, b, lat: time_by_bytes(n, c * n, s, b, lat) / n,
        "all devices send at the same",
    ),
    (lambda n, c, s, b, lat: 1.0, "Count apart"),
    (lambda n, c, s, b, lat: "long", "Expected: seconds"),
    (
        lambda n, c, s, b, lat: time_by_bytes(n, c, s, b, lat) + (n == 1) * lat,
        "one device sends nothing",
    ),
]

# A recipe for large batches

OFF = dict(augment=False, sizes=((1, 1),))
LARGE = replace(recipes.ONE_CYCLE, epochs=12, batch_size=256, bn_momentum=0.7, peak=0.8, **OFF)
PROJECT_WRONG = [
    (replace(LARGE, batch_size=128), "Eight devices with 32 each take 256"),
    (replace(LARGE, epochs=13), "the recipe has 13 epochs"),
    (replace(LARGE, peak=0.05), "which peak goes as far in an eighth of the steps"),
    (replace(LARGE, peak=0.4, bn_momentum=0.9), "what does `bn_momentum` say"),
    (replace(LARGE, peak=0.4, augment=True), "Is that the danger in so few steps"),
    (recipes.Recipe, "where a recipe is expected"),
    (0.8, "received 0.8, where a recipe"),
]

RIGHT = {
    "10-parts": [parts_weighted, parts_strided],
    "10-gather": [gather_with_last, gather_chunk_by_chunk],
    "10-fault-statistics": [statistics_centred, statistics_in_one, statistics_between],
    "10-scaled": [scaled_by_fields, scaled_twice],
    "10-time": [time_by_bytes, time_in_a_loop],
    "10-project": [LARGE, replace(LARGE, bn_momentum=0.5)],
}
WRONG = {
    "10-parts": PARTS_WRONG,
    "10-gather": GATHER_WRONG,
    "10-fault-statistics": STATISTICS_WRONG,
    "10-scaled": SCALED_WRONG,
    "10-time": TIME_WRONG,
    "10-project": PROJECT_WRONG,
}
STUBS = {
    "10-parts": lambda gradient, weights, inputs, targets, devices: ...,
    "10-gather": lambda ring: ...,
    "10-fault-statistics": statistics_faulty,
    "10-scaled": lambda recipe, devices: ...,
    "10-time": lambda devices, compute, size, bandwidth, latency: ...,
}
SLOW = {"10-project"}
