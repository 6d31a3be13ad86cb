"""How fast ResNet-20 v1 trains: ours, the widely copied Keras example, and PyTorch.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --isa AVX2 --torch-python /path/to/python

"ours" is `resnet_v1(..., form="standard")` through `training.speed_up`, trained as ONE_CYCLE says:
SGD with Nesterov momentum 0.9 and a decay of 5e-4 on kernels. The example is the copied network
with Adam, in TensorFlow's own environment, and again with TF_ENABLE_ONEDNN_OPTS=0, which is what
TensorFlow chooses by itself on a CPU without AVX512-VNNI. PyTorch has our network, channels last,
with our optimizer. Each is a process of its own that trains on float32 images in memory when it is
its turn: Keras through `model.fit`, PyTorch in a plain loop. The rounds interleave, so a busy
computer slows all. The peak is what TensorFlow reaches in a large float32 matrix product.

Exits with status 1 if a ratio is below --at-least-example or --at-least-torch.

What keeps the step from the peak. Convolutions are 82 % of it, batch normalisation 12 %, additions,
ReLU and its gradient 5 %, the optimizer and all else 1 % (profiler, one operation at a time, oneDNN
with AVX512). TensorFlow and PyTorch run the same oneDNN kernels for them, by ONEDNN_VERBOSE=1.
Limited to AVX2, and one at a time, these reach 175 GFLOP/s forward, 163 in the gradient of the
input and 130 in that of the kernel, where the matrix product has 226: with 16 and 32 channels there
is little to multiply for what is read and written.

What was tried and is not used, as speed against the step that is (1.00), medians of 11 to 14 rounds
in turn, which differed among themselves by a quarter: XLA 0.41, TF_NUM_INTEROP_THREADS=1 0.93,
TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD=1 0.88, 4 steps a call 1.04, 8 steps a call 0.95, no metrics
1.00, freed memory kept by the C library 0.95. Single convolutions: the input's gradient as a
forward convolution was not faster, the kernel's gradient as matrix products 1.05 to 6 times slower.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE, DEPTH = 32, 20
MATRIX = 4096
STEM_MULTIPLY_ADDS = SIDE * SIDE * 3 * 3 * 3 * 16
FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
OURS, PLAIN, PEAK, TORCH = "ours", "ours without speed_up", "matrix product", "PyTorch"
WITHOUT_VNNI = "example, oneDNN off"


def images(count):
    """Return (count, 32, 32, 3) float32 images and count labels, the same for every contender."""
    import numpy as np

    random = np.random.default_rng(0)
    pictures = random.random((count, SIDE, SIDE, 3), dtype="float32")
    return pictures, random.integers(0, 10, count)


def fit_forever(model, batch, steps):
    """Return a function that trains epoch after epoch of so many steps, and facts about it.

    tf.data does not tune itself: when it ends an epoch after a long wait, its thread for that was
    seen to hang.
    """
    import keras
    import tensorflow as tf

    def train(begin, end):
        hooks = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: begin(), on_epoch_end=lambda epoch, logs: end()
        )
        arrays = (array.reshape(steps, batch, *array.shape[1:]) for array in images(batch * steps))
        batches = tf.data.Dataset.from_tensor_slices(tuple(arrays))
        options = tf.data.Options()
        options.autotune.enabled = False
        fit = dict(epochs=sys.maxsize, shuffle=False, verbose=0, callbacks=[hooks])
        model.fit(batches.with_options(options), **fit)

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return train, {
        "version": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
        "threads": threads or os.cpu_count(),
    }


def repeat(function):
    """Return a function that runs `function` for ever, as one round after another."""

    def rounds(begin, end):
        while True:
            begin()
            function()
            end()

    return rounds


def ours(batch, steps, fast=True, precision="float32", **options):
    import resnet_lib as rl
    from resnet_lib.recipes import ONE_CYCLE
    from resnet_lib.training import network, speed_up

    model = rl.resnet_v1((SIDE, SIDE, 3), DEPTH, form="standard")
    model = network.prepared(model, ONE_CYCLE, precision)
    if fast:
        model = speed_up(model)
    compiled(model, network.make_optimizer(ONE_CYCLE, precision), **options)
    train, facts = fit_forever(model, batch, steps)
    return train, facts | {"multiply_adds": rl.count_multiply_adds(model)}


def ours_plain(batch, steps):
    return ours(batch, steps, fast=False)


def ours_bfloat16(batch, steps):
    return ours(batch, steps, precision="mixed_bfloat16")


def ours_xla(batch, steps):
    return ours(batch, steps, jit_compile=True)


def ours_steps(batch, steps):
    return ours(batch, steps, steps_per_execution=4)


def example(batch, steps):
    import keras
    from example_code import copied_v1

    model = copied_v1(DEPTH)
    compiled(model, keras.optimizers.Adam(1e-3))
    return fit_forever(model, batch, steps)


def compiled(model, optimizer, **options):
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer, loss=loss, metrics=["accuracy"], **options)


def matrix_product(batch, steps):
    import tensorflow as tf

    a, b = tf.random.normal((2, MATRIX, MATRIX))
    product = tf.function(lambda: tf.matmul(a, b)[0, 0], autograph=False)

    def multiply():
        for _ in range(steps):
            product().numpy()

    return repeat(multiply), {}


def pytorch(batch, steps, bfloat16=False):
    import torch
    from torch import nn

    model = torch_resnet(nn).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        torch_groups(model), lr=0.01, momentum=0.9, nesterov=True, foreach=True
    )
    loss_of = nn.CrossEntropyLoss()
    pictures, labels = map(torch.from_numpy, images(batch * steps))
    pictures = pictures.permute(0, 3, 1, 2)  # a channels-last view

    def train():
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for index in torch.randperm(len(labels)).split(batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = model(pictures[index].contiguous(memory_format=torch.channels_last))
                loss = loss_of(logits, labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            correct += (logits.detach().argmax(1) == labels[index]).sum()
        return float(total), int(correct)

    return repeat(train), {
        "version": f"PyTorch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def pytorch_bfloat16(batch, steps):
    return pytorch(batch, steps, bfloat16=True)


def torch_groups(model):
    """Weight decay on kernels only."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    return [{"params": kernels, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0}]


def torch_resnet(nn):
    """Return ResNet-20 v1 as `form="standard"` has it: option B, no bias before BN."""

    def conv_bn(inputs, outputs, kernel, stride):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs))

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = conv_bn(inputs, outputs, 3, stride)
            self.second = conv_bn(outputs, outputs, 3, 1)
            same = stride == 1 and inputs == outputs
            self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.second(self.relu(self.first(x)))
            y += self.shortcut(x)
            return self.relu(y)

    layers, inputs = [conv_bn(3, 16, 3, 1), nn.ReLU(inplace=True)], 16
    for stage, filters in enumerate((16, 32, 64)):
        for index in range((DEPTH - 2) // 6):
            layers.append(Block(inputs, filters, 2 if stage and not index else 1))
            inputs = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


KINDS = {
    "ours": ours,
    "ours_plain": ours_plain,
    "ours_bfloat16": ours_bfloat16,
    "ours_xla": ours_xla,
    "ours_steps": ours_steps,
    "example": example,
    "pytorch": pytorch,
    "pytorch_bfloat16": pytorch_bfloat16,
    "matrix_product": matrix_product,
}


# What a GPU is given, tried on the CPU.
VARIANTS = {
    "ours, mixed bfloat16": "ours_bfloat16",
    "ours, XLA": "ours_xla",
    "ours, 4 steps a call": "ours_steps",
}


class Turns:
    """When a worker computes: what happens once only at once, a round when a line comes in.

    It answers with one line of JSON: facts when ready, then the seconds of each round. A round is
    computed twice and timed the second time: a process that has waited finds its memory cold.
    """

    def __init__(self, facts, warm_up=2):
        self.facts, self.warm_up, self.done = facts, warm_up, 0

    def begin(self):
        """Wait for the next turn, if this is the beginning of one."""
        if self.done == self.warm_up:
            print(json.dumps(self.facts), flush=True)
        if self._computed() == 0 and not sys.stdin.readline():
            sys.exit()
        self.start = time.perf_counter()

    def end(self):
        """Say how long it took, if that was the timed half of a turn."""
        if self._computed() == 1:
            print(json.dumps(time.perf_counter() - self.start), flush=True)
        self.done += 1

    def _computed(self):
        return (self.done - self.warm_up) % 2 if self.done >= self.warm_up else None


def work(kind, batch, steps):
    """Be a contender until standard input ends."""
    run, facts = KINDS[kind](batch, steps)
    turns = Turns(facts)
    run(turns.begin, turns.end)


class Contender:
    """A worker process, asleep until a round is asked of it."""

    def __init__(self, name, kind, batch, steps, *, python=sys.executable, **environment):
        self.name, self.batch, self.steps = name, batch, steps
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        command = [python, __file__, "--worker", kind, "--batch", str(batch), "--steps", str(steps)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            env=clean_environment() | environment,
        )
        self.facts = self._answer()
        self.seconds = []

    def round(self):
        """Let it compute and note the seconds."""
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        self.seconds.append(self._answer())

    def speeds(self):
        """Images per second of each round."""
        return [self.batch * self.steps / seconds for seconds in self.seconds]

    def close(self):
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("{") or line[:1].isdigit():
                return json.loads(line)
        self.complaints.seek(0)
        sys.exit(f"{self.name} failed:\n{self.complaints.read()[-2000:]}")


def clean_environment():
    """Return the environment without what would decide about oneDNN, GPUs or the backend."""
    ours = {"TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def limits(isa):
    """Return the environment that limits oneDNN, and PyTorch's own kernels, to an instruction set.

    oneDNN's kernels also serve TensorFlow with oneDNN "off", in its matrix products.
    """
    return {"ONEDNN_MAX_CPU_ISA": isa, "ATEN_CPU_CAPABILITY": isa.lower()} if isa else {}


def contenders(options):
    """Return what is compared, as (name, kind, batch, steps, environment); not yet started."""
    batch, steps, limit = options.batch, options.steps, limits(options.isa)
    off = limit | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    small = max(1, batch // 4)
    found = [(OURS, "ours", batch, steps, limit), (PLAIN, "ours_plain", batch, steps, limit)]
    found += [(name, kind, batch, steps, limit) for name, kind in VARIANTS.items()]
    for size in (small, batch):
        count = steps * batch // size // (2 if size == small else 1)
        found.append((f"example, batch {size}", "example", size, count, limit))
        found.append((f"{WITHOUT_VNNI}, batch {size}", "example", size, count, off))
    if options.torch_python:
        found.append((TORCH, "pytorch", batch, steps, limit))
        if not options.isa:
            found.append((f"{TORCH}, bfloat16", "pytorch_bfloat16", batch, steps, limit))
    found.append((PEAK, "matrix_product", batch, 4, limit | {"TF_ENABLE_ONEDNN_OPTS": "1"}))
    return found


def start(options):
    """Start the worker processes, one after another; those that --only leaves."""
    for name, kind, batch, steps, environment in contenders(options):
        if name in (OURS, PEAK) or not options.only or any(part in name for part in options.only):
            python = options.torch_python if kind.startswith("pytorch") else sys.executable
            yield Contender(name, kind, batch, steps, python=python, **environment)


def measure(runners, rounds):
    """Let each contender run in turn, `rounds` times."""
    for _ in range(rounds):
        for runner in runners:
            runner.round()
    for runner in runners:
        runner.close()


def ratios(ours, other):
    """Return the ratio of the speeds in each round."""
    return [a / b for a, b in zip(ours.speeds(), other.speeds(), strict=True)]


def report(runners):
    """Print the table; return the median ratio to each contender by name."""
    by_name = {runner.name: runner for runner in runners}
    peak, mine = by_name.pop(PEAK), by_name[OURS]
    medians = {}
    print(f"{'':32} {'images/s':>8}   ours / this (least to most over the rounds)")
    for name, runner in by_name.items():
        each = ratios(mine, runner)
        medians[name] = statistics.median(each)
        speed = statistics.median(runner.speeds())
        print(f"{name:32} {speed:8,.0f}   {medians[name]:.2f} ({min(each):.2f} to {max(each):.2f})")
    # Forward, gradient of the kernel, gradient of the input; the images need no gradient.
    flops = 2 * (3 * mine.facts["multiply_adds"] - STEM_MULTIPLY_ADDS)
    reached = flops * statistics.median(mine.speeds())
    best = 2 * MATRIX**3 * peak.steps / min(peak.seconds)
    print(
        f"a step takes {flops / 1e6:.0f} MFLOP an image: {reached / 1e9:.0f} GFLOP/s in "
        f"convolutions, {reached / best:.0%} of {best / 1e9:.0f} GFLOP/s, the best float32 matrix "
        f"product of {MATRIX}x{MATRIX}"
    )
    return medians


def describe(runners, options):
    """Print what was measured on what."""
    found = flags()
    print(f"ResNet-{DEPTH} v1, float32, batches of {options.batch} where not stated otherwise")
    print(f"{options.rounds} rounds, {options.steps} steps each; medians")
    for version in dict.fromkeys(r.facts["version"] for r in runners if "version" in r.facts):
        print(version)
    threads = {r.facts["threads"] for r in runners if "threads" in r.facts}
    print(f"Python {platform.python_version()}, threads: {', '.join(map(str, sorted(threads)))}")
    print(f"CPU flags: {', '.join(flag for flag in FLAGS if flag in found) or 'not known'}")
    vnni = "has" if "avx512_vnni" in found else "does not have"
    print(
        f"TensorFlow uses oneDNN by itself only on CPUs with AVX512-VNNI, which this one {vnni}; "
        '"oneDNN off" is its default elsewhere.'
    )
    if options.isa:
        print(f"oneDNN and PyTorch are limited to {options.isa}.")


def flags():
    """Return the CPU's flags; none where the system has no /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def failures(medians, options):
    """Yield a line for each ratio below its threshold."""
    thresholds = {f"{WITHOUT_VNNI}, batch {max(1, options.batch // 4)}": options.at_least_example}
    thresholds[TORCH] = options.at_least_torch
    for name, least in thresholds.items():
        if medians.get(name, least) < least:
            yield f"{medians[name]:.2f} times as fast as {name}, expected at least {least:g} times."


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    parser.add_argument("--steps", type=int, default=12, help="training steps in a round")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", help="only ours and contenders with this in their name"
    )
    parser.add_argument("--isa", help="limit oneDNN and PyTorch to it, for example AVX2")
    parser.add_argument(
        "--torch-python",
        default=sys.executable if importlib.util.find_spec("torch") else None,
        help="a Python that can import torch (default: this one, if it can)",
    )
    parser.add_argument("--at-least-example", type=float, default=1.9)
    parser.add_argument("--at-least-torch", type=float, default=1.05)
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("rounds", "steps", "batch"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected at least 1, received {getattr(options, name)}")
    return options


def main():
    options = parse()
    if options.worker:
        return work(options.worker, options.batch, options.steps)
    runners = list(start(options))
    measure(runners, options.rounds)
    describe(runners, options)
    wrong = list(failures(report(runners), options))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
