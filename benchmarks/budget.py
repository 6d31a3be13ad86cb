"""Compare the time that `for_budget` was given with the time that the run then takes.

ResNet-20 on the drawn shapes, or on CIFAR-10. The run is whole: from the call of `train` to its
return, with copying, compiling, validation, saving and the test in the end.
"""

import argparse
import sys
import time

import resnet_lib as rl

from resnet_lib.training import for_budget


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2])
    parser.add_argument("--dataset", choices=("shapes", "cifar10"), default="shapes")
    parser.add_argument("--at-most", type=float, default=1.15, help="largest ratio (default: 1.15)")
    options = parser.parse_args()
    data = getattr(rl.datasets, options.dataset)()
    ratios = [compared(minutes, data) for minutes in options.minutes]
    if max(ratios) > options.at_most:
        sys.exit(f"longer than it was given: at most {options.at_most} times")


def compared(minutes, data):
    model = rl.resnet_v1(data.image_shape, 20, data.num_classes, form="standard")
    start = time.perf_counter()
    recipe = for_budget(minutes, model, data)
    measured = time.perf_counter()
    rl.train(model, data, recipe, progress=False)
    taken = time.perf_counter() - measured
    ratio = taken / (60 * minutes)
    print(
        f"{minutes:g} minutes: {recipe.epochs} epochs, sizes {recipe.sizes}; measuring took "
        f"{measured - start:.0f} s, the run {taken:.0f} s, {ratio:.2f} times what it was given",
        flush=True,
    )
    return ratio


if __name__ == "__main__":
    main()
