"""Compare the time that our builder takes for a deep ResNet v2 with the copied builder's.

Both build the same network, layer for layer, in turn and in one process. The copied builder would
end in a RecursionError at depth 1001; here Python's limit is raised for both.
"""

import argparse
import statistics
import sys
import time

import resnet_lib as rl

import keras
from example_code import copied_v2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=1001)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-most", type=float, default=1.1, help="largest ratio (default: 1.1)")
    options = parser.parse_args()
    rl.runtime.allow_depth(options.depth)
    builders = {"resnet_lib": lambda d: rl.resnet_v2((32, 32, 3), d), "copied": copied_v2}
    seconds = {name: [] for name in builders}
    for build in builders.values():  # What happens once only is not measured.
        build(20)
    for _ in range(options.rounds):
        for name, build in builders.items():
            seconds[name].append(timed(build, options.depth))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:>10}: {median:.2f} s for ResNet-{options.depth} v2")
    ratio = medians["resnet_lib"] / medians["copied"]
    print(f"     ratio: {ratio:.3f}, median of {options.rounds} rounds")
    if ratio > options.at_most:
        sys.exit(f"slower than expected: at most {options.at_most}")


def timed(build, depth):
    keras.backend.clear_session(free_memory=True)
    start = time.perf_counter()
    build(depth)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
