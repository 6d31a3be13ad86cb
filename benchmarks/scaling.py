"""Data parallelism: what a step on several devices costs, measured here and modelled for GPUs.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --only model --between 6.25e9 --images 32 32

Measured: a training step under keras.distribution.DataParallel on 1, 2 and 4 virtual devices of
this CPU, each number in a process of its own, and the bytes that the compiled step all-reduces.
Virtual devices share the cores, so the times say what sharing costs and not what devices bring.

Modelled: a step on n GPUs is the computation of one GPU's share of the batch, and what is left to
wait for of the all-reduce of the gradients.

- Computation: 3 x multiply-adds x images / rate (the backward pass is two thirds of it), but at
  least 3 kernels for each layer with weights, each of --launch seconds.
- All-reduce in a ring of n: 2 (n - 1) / n x bytes / bandwidth + 2 (n - 1) x latency, and --start.
  Of several hosts: a ring in each host, then one of hosts with the bandwidth of a host's network.
- "at once": the gradients leave when the backward pass is over. "overlapped": in equal parts of at
  most --bucket bytes, each as soon as the backward pass has it and the one before it has arrived,
  so that only what does not fit beside it is waited for.
- "global BN": overlapped, with batch normalisation over the global batch, as JAX's partitioner has
  it: --waits all-reduces a layer that all wait for, of a few numbers each, in a tree, up and down.

Half of linear scaling is where n GPUs do the work of n / 2: at a fixed batch a GPU (weak scaling),
or at a fixed batch of all of them (strong scaling). No GPU was used for the model: its defaults are
those published for NVIDIA's A100, and it is held against two published results of older ones.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DEVICES = (1, 2, 4)
GPUS = (1, 8, 64, 512)
MOST_GPUS = 2**16
TIMES = ("launch", "inside_latency", "between_latency", "tree_inside", "tree_between", "start")
KERNELS = 3  # of a layer with weights: forward, gradient of the weights, gradient of the input

A100_IMAGES = 2470
"""ResNet-50 v1.5, training pictures a second of one A100 in mixed precision. Source: NVIDIA/
DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5/README.md, Training performance:
NVIDIA DGX A100."""


# Measured


def virtual(devices):
    """Return the environment of a process whose CPU is so many JAX devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    chosen = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    return os.environ | chosen | {"PYTHONPATH": path}


def measure(options, devices):
    """Return what a worker process with so many devices has found: see `work`."""
    command = [sys.executable, __file__, "--worker", str(devices), "--model", options.model]
    for name in ("form", "size", "batch", "steps"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, env=virtual(devices), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{devices} devices: the measurement failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def work(options):
    """Print as JSON what a training step on all devices takes and all-reduces."""
    import resnet_lib as rl

    import jax
    import keras
    import numpy as np

    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    keras.utils.set_random_seed(0)
    model = rl.models.build(options.model, (options.size, options.size, 3), form=options.form)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    drawn = np.random.default_rng(0)
    images = drawn.random((options.batch, options.size, options.size, 3), "float32")
    labels = drawn.integers(0, 10, options.batch)
    model.train_on_batch(images, labels)  # It builds the optimizer and the metrics.
    data = tuple(
        jax.device_put(each, distribution.get_data_layout(each.shape).backend_layout)
        for each in (images, labels)
    )
    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    step = jax.jit(model.train_step).lower(state, data).compile()
    count, size = all_reduced(step.as_text())
    channels = sum(
        layer.moving_mean.shape[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    found = {
        "devices": len(jax.devices()),
        "seconds": timed(step, state, data, options.steps),
        "all_reduces": count,
        "bytes": size,
        "trainable": rl.count_parameters(model).trainable,
        "channels": channels,
    }
    print(json.dumps(found))


def timed(step, state, data, steps):
    """Return the seconds of each of some steps, after one that does not count."""
    import jax

    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        _, state = jax.block_until_ready(step(state, data))
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def all_reduced(hlo):
    """Return how many all-reduces a compiled step's HLO text has, and of how many bytes."""
    shapes = re.findall(r" = (.*?) all-reduce(?:-start)?\(", hlo)
    arrays = [array for shape in shapes for array in re.findall(r"(\w+)\[([\d,]*)\]", shape)]
    return len(shapes), sum(_bytes(*array) for array in arrays)


def _bytes(dtype, dimensions):
    bits = int(re.search(r"\d+", dtype)[0]) if dtype != "pred" else 8
    return math.prod(int(each) for each in dimensions.split(",") if each) * bits // 8


def told(found, first):
    """Return a line on a measurement; `first`: the one of a single device."""
    step, alone = (statistics.median(each["seconds"]) for each in (found, first))
    line = f"{found['devices']:>7}  {1000 * step:>9.1f}  {step / alone:>11.2f}"
    line += f"  {found['all_reduces']:>11}  {found['bytes']:>10,}"
    if not found["bytes"]:
        return line
    gradients = 4 * found["trainable"]
    rest = found["bytes"] - gradients
    a_channel = rest / 4 / found["channels"] if found["channels"] else math.nan
    return f"{line}  {gradients:>10,}  {rest:>8,}  {a_channel:>14.2f}"


def measured(options):
    """Measure and print."""
    print(
        f"{options.model}, form {options.form}, {options.size}x{options.size}, batches of "
        f"{options.batch}, float32, median of {options.steps} steps, {os.cpu_count()} cores\n"
        "devices    ms a step  of 1 device  all-reduces       bytes   gradients      rest  "
        "floats/BN channel",
        flush=True,
    )
    first = None
    for devices in options.devices:
        found = measure(options, devices)
        first = first or found
        print(told(found, first), flush=True)
    print(
        "gradients: 4 bytes for each trainable parameter; rest: the statistics of batch "
        "normalisation over the global batch, forwards and backwards, loss and metrics\n"
    )


# Modelled


class Network(NamedTuple):
    """What the model needs to know of a network; counted, not typed in."""

    name: str
    multiply_adds: int  # of one image, forwards
    gradient_bytes: int
    layers: int  # with weights
    norms: int  # of them batch normalisations
    statistics_bytes: int  # of one batch normalisation and one all-reduce, on average


def network(name, model_id, shape, classes, form):
    """Build a network and count."""
    import resnet_lib as rl

    import keras

    model = rl.models.build(model_id, shape, classes, form=form)
    layers = [layer for layer in model.layers if layer.weights]
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    channels = sum(norm.moving_mean.shape[0] for norm in norms)
    return Network(
        name,
        rl.count_multiply_adds(model),
        4 * rl.count_parameters(model).trainable,
        len(layers),
        len(norms),
        round(4 * channels / len(norms)),
    )


@dataclass(frozen=True)
class Cluster:
    """GPUs and what connects them. Bandwidths: bytes a second, each way; times: seconds.

    Most defaults are those of NCCL's own model of its speed: NVIDIA/nccl, src/graph/tuning.cc.

    Attributes:
        rate: multiply-adds a second of one GPU in training.
        launch: the least time between two kernels. An assumption, of no published source.
        host: GPUs in a host. 1: a single ring of all, over the network.
        inside: bandwidth of a GPU in its host. Default: the most on compute capability 8.0, busBw.
        between: bandwidth of a host's network. Default: eight adapters of 200 Gbit/s, as a DGX A100
            has them.
        inside_latency: of a step of a ring in a host. Default: hwLat, NVLink, ring, simple.
        between_latency: of one between hosts. Default: hwLat, network, ring, simple.
        tree_inside: latency of a step of a tree in a host. Default: hwLat, NVLink, tree, LL.
        tree_between: of one between hosts. Default: hwLat, network, tree, LL.
        start: of each all-reduce. Default: baseLat, tree, LL.
    """

    rate: float
    launch: float = 4e-6
    host: int = 8
    inside: float = 235e9
    between: float = 200e9
    inside_latency: float = 3.4e-6
    between_latency: float = 9.6e-6
    tree_inside: float = 0.52e-6
    tree_between: float = 5e-6
    start: float = 4.4e-6

    def __post_init__(self):
        """Refuse what is no number, or below nothing. An infinite bandwidth or rate is allowed."""
        for name in ("rate", "inside", "between"):
            if not getattr(self, name) > 0:
                raise ValueError(_expected(name, "above 0", getattr(self, name)))
        for name in TIMES:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(_expected(name, "of at least 0", getattr(self, name)))
        _check_count("host", self.host)


def _expected(name, wanted, value):
    return f"Expected `{name}` to be a number {wanted}. Received: {value!r}"


def _check_count(name, value):
    if not (isinstance(value, int) and value >= 1):
        raise ValueError(
            f"Expected `{name}` to be a whole number of at least 1. Received: {value!r}"
        )


def ring(size, n, bandwidth, latency):
    """Return the seconds of an all-reduce of `size` bytes in a ring of n."""
    return 2 * (n - 1) / n * size / bandwidth + 2 * (n - 1) * latency


def tree(size, n, bandwidth, latency):
    """Return the seconds of an all-reduce in a tree of n, up and down, for a few bytes."""
    return 2 * (size / bandwidth + latency) * math.log2(n)


def all_reduce(size, n, cluster, way=ring):
    """Return the seconds of an all-reduce over n GPUs: in each host, then between hosts."""
    _check_count("n", n)
    if n == 1:
        return 0.0
    latencies = cluster.inside_latency, cluster.between_latency
    if way is tree:
        latencies = cluster.tree_inside, cluster.tree_between
    inside = way(size, min(n, cluster.host), cluster.inside, latencies[0])
    between = way(size, math.ceil(n / cluster.host), cluster.between, latencies[1])
    return cluster.start + inside + between


def computation(network, images, cluster):
    """Return the seconds that one GPU computes for so many images."""
    needed = 3 * network.multiply_adds * images / cluster.rate
    return max(needed, KERNELS * network.layers * cluster.launch)


def exposed(part, parts, backward):
    """Return the seconds left to wait for when the backward pass is over.

    Args:
        part: seconds of the all-reduce of one part of the gradients.
        parts: how many there are, of equal size. Each is sent when the backward pass has come so
            far and the part before it has arrived.
        backward: seconds of the backward pass.
    """
    _check_count("parts", parts)
    return max(part, backward / parts + parts * part - backward)


@dataclass(frozen=True)
class Way:
    """How gradients are reduced.

    Attributes:
        name: what the tables call it.
        bucket: bytes of the largest part that is sent by itself; None: all at once.
        waits: all-reduces of each batch normalisation.
    """

    name: str
    bucket: float | None = None
    waits: int = 0

    def parts(self, network):
        """Return in how many parts a network's gradients leave."""
        return math.ceil(network.gradient_bytes / self.bucket) if self.bucket else 1


def step(network, images, n, cluster, way):
    """Return the seconds of a training step with so many images on each of n GPUs."""
    _check_count("images", images)
    alone = computation(network, images, cluster)
    if n == 1:
        return alone
    parts = way.parts(network)
    part = all_reduce(network.gradient_bytes / parts, n, cluster)
    waits = way.waits * network.norms * all_reduce(network.statistics_bytes, n, cluster, tree)
    return alone + exposed(part, parts, 2 / 3 * alone) + waits


def weak(network, images, n, cluster, way):
    """Return the share of linear scaling that n GPUs reach with a fixed batch on each."""
    alone = step(network, images, 1, cluster, way)
    return alone / step(network, images, n, cluster, way)


def strong(network, batch, n, cluster, way):
    """Return the share of linear scaling that n GPUs reach with a fixed batch for all of them.

    The slowest GPU decides, that with the most images; ValueError if there is not one for each.
    """
    if n > batch:
        raise ValueError(f"Expected at most {batch} GPUs for {batch} images. Received: n={n}")
    alone = step(network, batch, 1, cluster, way)
    return alone / (n * step(network, math.ceil(batch / n), n, cluster, way))


def first_below(scaling, host, most, share=0.5):
    """Return the least number of GPUs whose share of linear scaling is lower; None if none is.

    Looked at are 1, 2, 4, … GPUs of a host, and then whole hosts.

    Args:
        scaling: function of a number of GPUs.
        host: GPUs in a host.
        most: the largest number of GPUs.
        share: which share.
    """
    numbers = [n for n in (2**power for power in range(host.bit_length())) if n < host]
    numbers += range(host, most + 1, host)
    return next((n for n in numbers if n <= most and scaling(n) < share), None)


# Published


class Published(NamedTuple):
    """A published scaling result and what its source says of the machines.

    `cluster.rate` is found from (`gpus`, `seconds`): a step that the source tells the time of.
    Latencies are told by neither source: they are the defaults.
    """

    name: str
    source: str
    model: str
    form: str
    images: int  # on each GPU
    cluster: Cluster
    gpus: int
    seconds: float
    base: int  # GPUs that the efficiency is relative to
    n: int
    efficiency: float


PUBLISHED = (
    Published(
        name="Goyal et al. 2017, ResNet-50, P100",
        # "Backprop … takes 120 ms": two thirds of a step. 32 images a GPU; 8 GPUs a server with
        # NVLink (its bandwidth, not told, is that of four links), 50 Gbit/s between servers;
        # stride-2 convolutions are 3x3 (5.1). "The time per iteration increases only 12 % while
        # scaling the minibatch size by 44x", from 8 to 352 GPUs (5.5, figure 7); figure 8: ~90 %.
        source="arXiv 1706.02677, sections 4.3, 5.1, 5.5, figure 7",
        model="resnet50",
        form="v1.5",
        images=32,
        cluster=Cluster(rate=math.inf, host=8, inside=80e9, between=50e9 / 8),
        gpus=1,
        seconds=0.120 * 3 / 2,
        base=8,
        n=352,
        efficiency=1 / 1.12,
    ),
    Published(
        name="Horovod, ResNet-101, Pascal GPUs",
        # 128 servers of 4 GPUs, 25 Gbit/s; 90 % for ResNet-101. 16 GPUs with 64 images each:
        # "total images/sec: 1656.82". How the GPUs of a server are connected is not told; PCIe.
        source="horovod/horovod, docs/benchmarks.rst; the library: arXiv 1802.05799",
        model="resnet101",
        form="paper",
        images=64,
        cluster=Cluster(rate=math.inf, host=4, inside=12e9, between=25e9 / 8),
        gpus=16,
        seconds=16 * 64 / 1656.82,
        base=1,
        n=512,
        efficiency=0.90,
    ),
)


def calibrated(published, network, way):
    """Return the cluster of a published result, its rate such that the known step takes its time.

    ValueError if no rate does: communication alone would take longer.
    """

    def seconds(rate):
        cluster = replace(published.cluster, rate=rate, launch=0)
        return step(network, published.images, published.gpus, cluster, way)

    if not seconds(math.inf) < published.seconds:
        raise ValueError(_expected("seconds", "that leaves time to compute", published.seconds))
    low, high = 1e6, 1e18
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if seconds(middle) > published.seconds else (low, middle)
    return replace(published.cluster, rate=high, launch=0)


def predicted(published, network, way):
    """Return the share of linear scaling that the model has for a published result."""
    cluster = calibrated(published, network, way)
    base, n = (
        step(network, published.images, gpus, cluster, way)
        for gpus in (published.base, published.n)
    )
    return base / n


def compared(ways):
    """Print the model beside what was published."""
    print(f"{'published':38} {'GPUs':>10} {'measured':>8}  " + "model, and by how much it is off")
    for result in PUBLISHED:
        counted = network(result.name, result.model, (224, 224, 3), 1000, result.form)
        cells = []
        for way in ways:
            share = predicted(result, counted, way)
            off = 100 * (share - result.efficiency)
            cells.append(f"{way.name} {share:.0%} ({off:+.0f} points)")
        gpus = f"{result.base} to {result.n}"
        print(f"{result.name:38} {gpus:>10} {result.efficiency:>8.0%}  {'; '.join(cells)}")
        print(f"    {result.source}")


# The report


def networks():
    """Return the two networks that the question is about."""
    return [
        network("ResNet-20, CIFAR-10", "resnet20v1", (32, 32, 3), 10, "standard"),
        network("ResNet-50, 224x224", "resnet50", (224, 224, 3), 1000, "v1.5"),
    ]


def table(network, cluster, ways, images, batch):
    """Yield the lines of a network's table."""
    yield (
        f"{network.name}: {network.gradient_bytes:,} bytes of gradients, "
        f"{network.multiply_adds:,} multiply-adds an image; weak: {images} images a GPU, "
        f"strong: {batch} images"
    )
    yield f"{'':>6}" + "".join(f"{way.name:>34}" for way in ways)
    yield f"{'GPUs':>6}" + f"{'ms a step    weak  strong':>34}" * len(ways)
    for n in GPUS:
        yield f"{n:>6}" + "".join(
            f"{_cell(network, cluster, way, images, batch, n):>34}" for way in ways
        )
    yield from answers(network, cluster, ways, images, batch)


def answers(network, cluster, ways, images, batch):
    """Yield the lines that say where a network falls under half of linear scaling."""
    kinds = (("weak", weak, images, MOST_GPUS), ("strong", strong, batch, min(batch, MOST_GPUS)))
    for kind, scaling, amount, most in kinds:
        cells = []
        for way in ways:
            found = first_below(
                partial(_scaling, scaling, network, amount, cluster, way), cluster.host, most
            )
            cells.append(f"{way.name}: {f'{found:,} GPUs' if found else f'not up to {most:,}'}")
        yield f"under half of linear, {kind}: {'; '.join(cells)}"


def _scaling(scaling, network, amount, cluster, way, n):
    return scaling(network, amount, n, cluster, way)


def _cell(network, cluster, way, images, batch, n):
    seconds = step(network, images, n, cluster, way)
    share = f"{strong(network, batch, n, cluster, way):.0%}" if n <= batch else "–"
    return f"{1000 * seconds:.2f}  {weak(network, images, n, cluster, way):>6.0%}  {share:>6}"


def modelled(options):
    """Print what the model says."""
    found = networks()
    rate = options.rate or 3 * A100_IMAGES * found[1].multiply_adds
    fields = [name for name in Cluster.__dataclass_fields__ if name != "rate"]
    cluster = Cluster(rate, **{name: getattr(options, name) for name in fields})
    ways = [
        Way("at once"),
        Way("overlapped", options.bucket),
        Way("global BN", options.bucket, options.waits),
    ]
    assumed = vars(cluster) | {"bucket": options.bucket, "waits": options.waits}
    print("Model; no GPU was measured for it. Assumed:")
    print(", ".join(f"{name} {value:g}" for name, value in assumed.items()), end="\n\n")
    for each, images, batch in zip(found, options.images, options.batches, strict=True):
        print(*table(each, cluster, ways, images, batch), sep="\n", end="\n\n")
    compared(ways[:2])


def number(kind, least):
    """Return what makes a number of an option's text: above 0, or of at least 0."""

    def number(text):
        value = kind(text)
        if not (value > 0 or value == least == 0) or value == math.inf:
            raise argparse.ArgumentTypeError(
                f"expected a number of at least {least}, received {text}"
            )
        return value

    return number


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    count, size, span = number(int, 1), number(float, 1), number(float, 0)
    add("--only", choices=("measured", "model"), help="one of the two parts")
    add("--devices", type=count, nargs="+", default=DEVICES, metavar="N", help="virtual devices")
    add("--model", default="resnet20v1", metavar="ID", help="measured network (resnet20v1)")
    add("--form", default="standard", help="its form (standard)")
    add("--size", type=count, default=32, help="its pictures' height and width (32)")
    add("--batch", type=count, default=128, help="its global batch (128)")
    add("--steps", type=count, default=10, help="steps that are timed (10)")
    add("--rate", type=size, help=f"multiply-adds/s of a GPU (ResNet-50, {A100_IMAGES} pictures/s)")
    for name, field in Cluster.__dataclass_fields__.items():
        if name != "rate":
            kind = count if name == "host" else span if name in TIMES else size
            option = f"--{name.replace('_', '-')}"
            add(option, type=kind, default=field.default, help=f"see Cluster ({field.default:g})")
    add("--bucket", type=size, default=25 * 2**20, help="bytes of a part (25 MiB, as PyTorch's)")
    add("--waits", type=count, default=4, help="all-reduces a batch normalisation (4)")
    both = dict(type=count, nargs=2, metavar=("RESNET-20", "RESNET-50"))
    add("--images", default=[128, 256], **both, help="a GPU, weak scaling (128 256)")
    add("--batches", default=[128, 8192], **both, help="of all GPUs, strong scaling (128 8192)")
    add("--worker", type=count, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for devices in options.devices:
        if options.batch % devices:
            parser.error(
                f"--batch: expected a multiple of {devices} devices, received {options.batch}"
            )
    return options


def main(arguments=None):
    options = parse(arguments)
    if options.worker:
        return work(options)
    if options.only != "model":
        measured(options)
    if options.only != "measured":
        modelled(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
