"""What importing resnet_lib costs beyond importing Keras.

Compares the wall time of `import keras`, with the TensorFlow backend, with that of
`import resnet_lib`, which imports the same and quiets it. Every measurement is a fresh process
that times the statement alone, without the interpreter's own start. The two take turns, so that
whatever else the machine does falls on both, and share one environment: the TensorFlow variables
that resnet_lib would set are set for both, and stderr is a pipe. One round of each is not counted:
it warms the file cache. The ratio is that of the medians.

    python benchmarks/imports.py [--rounds 7] [--at-most 1.1]
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("keras", "resnet_lib")
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
PROGRAM = """
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
sys.exit("tensorflow" not in sys.modules and "import {module} imported no TensorFlow")
"""


def main(arguments=None):
    options = parse(arguments)
    seconds = measure(options.rounds)
    median = {module: statistics.median(times) for module, times in seconds.items()}
    for module, times in seconds.items():
        print(f"import {module:<10} {median[module]:.3f} s ({min(times):.3f}–{max(times):.3f})")
    ratio = median["resnet_lib"] / median["keras"]
    print(f"ratio {ratio:.3f}, medians of {options.rounds}")
    if ratio > options.at_most:
        sys.exit(
            f"Importing resnet_lib takes {ratio:.3f} times as long as importing Keras; "
            f"{options.at_most:g} times is the most it may."
        )


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (default 7)")
    parser.add_argument("--at-most", type=float, default=1.1, help="largest ratio (default 1.1)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1. Received: {options.rounds}")
    return options


def measure(rounds):
    """Return the seconds of each round, a list for each module."""
    seconds = {module: [] for module in MODULES}
    for number in range(rounds + 1):
        # The order alternates, so that neither always follows the other.
        for module in MODULES if number % 2 else reversed(MODULES):
            elapsed = time_import(module)
            if number > 0:
                seconds[module].append(elapsed)
    return seconds


def time_import(module):
    """Return the seconds that a fresh process takes to import `module`."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        sys.exit(f"Nothing was measured: import {module} failed.\n{finished.stderr}")
    return float(finished.stdout)


if __name__ == "__main__":
    main()
