"""How fast batches are augmented: `resnet_lib.augment` against Keras' ImageDataGenerator.

Both read the same 50,000 uint8 images of 32x32x3, shuffled, and hand out augmented batches; both
run in this process, turn about, so that a busy computer slows both. The generator is used as in
the widely copied example: shifts of up to a tenth, horizontal flips, batches of 32. The images are
CIFAR-10's where the environment variable RESNET_LIB_DATA is set, else random.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --rounds 9 --at-least 15

Exits with status 1 if, at batches of 32, the ratio is below --at-least.
"""

import argparse
import os
import statistics
import sys
import time

import numpy as np

from resnet_lib.augment import pad_crop_flip

EXAMPLE = {"width_shift_range": 0.1, "height_shift_range": 0.1, "horizontal_flip": True}


def load_images():
    """Return (50,000 images, where they are from)."""
    if os.environ.get("RESNET_LIB_DATA"):
        from resnet_lib.datasets import cifar10

        data = cifar10(download=False)
        return np.concatenate([data.train.images, data.validation.images]), data.source
    random = np.random.default_rng(0)
    return random.integers(0, 256, (50_000, 32, 32, 3), np.uint8), "random images"


def our_batches(images, batch, mode):
    """Yield the batches of one shuffled epoch after another."""
    random = np.random.default_rng(0)
    epoch = 0
    while True:
        order = random.permutation(len(images))
        for start in range(0, len(order), batch):
            index = order[start : start + batch]
            yield pad_crop_flip(images[index], index, epoch=epoch, seed=0, mode=mode)
        epoch += 1


def keras_batches(images, batch):
    """Return the generator's iterator over shuffled batches."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(**EXAMPLE).flow(images, batch_size=batch, shuffle=True, seed=0)


def speed(batches, at_least):
    """Return images per second over the next `at_least` images."""
    seen, start = 0, time.perf_counter()
    while seen < at_least:
        seen += len(next(batches))
    return seen / (time.perf_counter() - start)


def measure(images, rounds):
    """Return the median images per second of each pipeline, rounds interleaved."""
    generator = "ImageDataGenerator, batch 32"
    pipelines = {generator: (keras_batches(images, 32), 4_000)}
    for mode in ("constant", "reflect"):
        for batch in (32, 128):
            name = f"pad_crop_flip, {mode}, batch {batch}"
            pipelines[name] = (our_batches(images, batch, mode), len(images))
    for batches, _ in pipelines.values():
        speed(batches, 2_000)
    speeds = {name: [] for name in pipelines}
    for _ in range(rounds):
        for name, (batches, count) in pipelines.items():
            speeds[name].append(speed(batches, count))
    return {name: statistics.median(values) for name, values in speeds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument("--at-least", type=float, default=7, help="smallest ratio that passes")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, received {options.rounds}")
    images, source = load_images()
    speeds = measure(images, options.rounds)
    reference = next(iter(speeds.values()))
    print(f"{len(images):,} images of 32x32x3 ({source}), median of {options.rounds} rounds")
    for name, value in speeds.items():
        print(f"{name:38} {value:10,.0f} images/s   {value / reference:5.1f} times")
    ratio = speeds["pad_crop_flip, constant, batch 32"] / reference
    if ratio < options.at_least:
        print(f"{ratio:.1f} times as fast, expected at least {options.at_least:g} times.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
