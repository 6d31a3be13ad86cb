"""Train the runs of notebook 09: what has changed since 2015, one change at a time.

    python benchmarks/ten_years.py runs --core 0
    python benchmarks/ten_years.py runs --only fast-12
    python benchmarks/ten_years.py --check
    python benchmarks/ten_years.py --list

Each run is `python -m resnet_lib train` on CIFAR-10, with seeds 0, 1 and 2, all of it some two
hours on two cores. A run that is whole is not repeated, one that was cut off goes on. Two calls
with another --core each share the work, as long as both have the same folder.

--check trains the first epoch of each again, with seed 0, and sets its training loss beside that of
the record that comes with the library; the exit code is 1 if one is over 1 % away from it.

STEPS go from ResNet-20 with the recipe of 2015 to the recipe fast, four epochs each: the networks'
epochs take about as long. On pictures of 16x16 pixels, FOR_RESNET20 makes the same changes to
ResNet-20 alone, and BLOCKS puts later blocks into it, in as many epochs as take about as long as
four of the basic block's; of two kinds ResNet-8 stands in, where twenty layers take too long.
"""

import argparse
import fcntl
import os
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

SEEDS = 0, 1, 2
TOLERANCE = 0.01  # of the loss of a first epoch
_FAST = "--model resnetfast --recipe fast"
_SGD = (
    f"{_FAST} --epochs 4 --set views=1 --set optimizer=sgd --set peak=0.375 --set other_rate=null"
)
_DRAWN = f"{_SGD} --set alternating=false"
_FAR = f"{_DRAWN} --set translation=0.125"
_HARD = f"{_FAR} --set label_smoothing=0"
_ONE_RATE = f"{_HARD} --set bias_rate=1"
# Each adds to the one before it what its name says.
STEPS = {
    "paper": "--model resnet20v1 --recipe paper --epochs 4",
    "one-cycle": "--model resnet20v1 --recipe one-cycle --epochs 4",
    "wide": "--model resnetfast --recipe one-cycle --epochs 4",
    "numbers": f"{_ONE_RATE} --set whiten=false",
    "whiten": _ONE_RATE,
    "bias": _HARD,
    "smoothing": _FAR,
    "translation": _DRAWN,
    "alternating": _SGD,
    "fast": f"{_FAST} --epochs 4",
}
LONGER = {
    "fast-12": f"{_FAST} --epochs 12",
    "fast-8-wide": "--model resnetfast48-128-256 --recipe fast --epochs 8",
    "fast-12-wide": "--model resnetfast64-192-384 --recipe fast --epochs 12",
}
_SMALL = "--model resnet20v1 --size 16 --epochs 4"
_V2 = "--model resnet20v2 --form paper --size 16"
_SHORT_V2 = "--model resnet8v2 --form paper --size 16"
_ADAM = "--set optimizer=adam --set momentum=null --set nesterov=false --set peak=0.003"
FOR_RESNET20 = {
    "resnet20-bias": f"{_SMALL} --set bias_rate=64",
    "resnet20-smoothing": f"{_SMALL} --set label_smoothing=0.2",
    "resnet20-translation": f"{_SMALL} --set translation=0.0625",
    "resnet20-alternating": f"{_SMALL} --set alternating=true",
    "resnet20-muon": f"{_SMALL} --set optimizer=muon --set momentum=0.85 --set peak=0.05 "
    "--set other_rate=3.75",
}
BLOCKS = {
    "block-basic": _SMALL,
    "block-resnet-d": f"{_SMALL} --block resnet-d",
    "block-se": f"{_SMALL} --block se",
    "block-resnext": "--model resnet20v1 --block resnext --size 16 --epochs 2",
    "block-stochastic-depth": f"{_SMALL} --block stochastic-depth",
    "block-wide": f"{_SHORT_V2} --block wide --epochs 2",
    "block-skipinit": f"{_V2} --block skipinit --epochs 4 --set peak=0.1",
    "block-convnext": f"{_V2} --block convnext --epochs 1 {_ADAM}",
    "block-transformer": f"{_SHORT_V2} --block transformer --epochs 2 {_ADAM}",
}
RUNS = STEPS | LONGER | BLOCKS | FOR_RESNET20


def path(name, seed, folder="runs"):
    """Return where a run is kept."""
    return Path(folder, f"ten-years-{name}-seed{seed}")


def command(name, seed, folder="runs"):
    """Return the command of a run as a list, without the Python in front."""
    options = shlex.split(RUNS[name])
    out = str(path(name, seed, folder))
    start = ["-m", "resnet_lib", "train", "--dataset", "cifar10", "--out", out]
    return [*start, *options, "--seed", str(seed)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="for the runs; it may have some")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=RUNS, default=list(RUNS))
    parser.add_argument("--core", type=int, help="the processor's core to keep to (Linux)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check", action="store_true", help="repeat the first epochs alone; no folder is needed"
    )
    instead.add_argument("--list", action="store_true", help="print the commands, train nothing")
    options = parser.parse_args()
    if options.folder is None and not options.check and not options.list:
        parser.error("a folder for the runs is needed")
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if options.check:
        return check(options.only)
    for seed in SEEDS:
        for name in options.only:
            if options.list:
                print("python", *command(name, seed))
            else:
                train(name, seed, options.folder)
    return 0


def check(names):
    """Repeat first epochs, print both losses, and return 1 if one is not what it was, else 0."""
    from resnet_lib import records

    recorded, all_repeat = records.recorded("ten_years"), True
    print(f"{'run':22}  loss of epoch 1: recorded  again  apart", flush=True)
    for name in names:
        again = first_epoch(name)
        before = recorded[f"{name}-seed0"].history["loss"][0]
        apart = abs(again / before - 1)
        all_repeat &= apart <= TOLERANCE
        print(f"{name:22} {before:25.4f} {again:6.4f} {apart:6.2%}", flush=True)
    return 0 if all_repeat else 1


def first_epoch(name):
    """Train the first epoch of a run with seed 0, leave no file, and return the training loss."""
    from resnet_lib import records

    with TemporaryDirectory() as folder:
        begin = [sys.executable, *command(name, 0, folder), "--stop-after", "1"]
        subprocess.run(begin, check=True, stdout=subprocess.DEVNULL)
        return records.load(path(name, 0, folder)).history["loss"][0]


def train(name, seed, folder):
    """Train a run, unless it is whole or another process is at it."""
    out = path(name, seed, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(f"{out}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not (out / "record.json").exists() or not is_done(out):
            print(out, flush=True)
            subprocess.run([sys.executable, *command(name, seed, folder), "--resume"], check=True)


def is_done(out):
    """Say whether the run in a folder has had all of its epochs."""
    from resnet_lib import records

    record = records.load(out).record
    return "results" in record and "stopped" not in record


if __name__ == "__main__":
    sys.exit(main())
