"""Start the command line as one does in a terminal, and end it as a power failure would."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from .. import checks


def run_command(
    options: str, *, out: str | os.PathLike, resume: bool = False, kill_after: int | None = None
) -> int:
    """Run `python -m resnet_lib train …` in a process of its own, and print the epochs it trains.

    The process has no GPU, so that it can run beside a notebook that holds the memory of one.

    Args:
        options: what follows `train` on the command line, but for `--out` and `--resume`; quotes
            are read as a shell reads them.
        out: folder for the run.
        resume: whether to go on with the run in that folder.
        kill_after: end the process at once, with nothing tidied up, when it has reported the epoch
            of this number, counted from 1; None: let it finish.

    Returns:
        The exit code: 0 if it has finished, -9 if it was killed on Linux or macOS. If it has
        failed, what it said is printed.

    Raises:
        ValueError: if `kill_after` is no whole number of at least 1.
    """
    if kill_after is not None:
        kill_after = checks.count("kill_after", kill_after)
    command = [sys.executable, "-m", "resnet_lib", "train", *shlex.split(options)]
    command += ["--out", str(Path(out)), *["--resume"] * resume]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, killed = [], False
    with subprocess.Popen(command, env=environment, **pipes) as process:
        for line in process.stdout:
            said.append(line)
            if not line.startswith("epoch "):
                continue
            print(line.split(":")[0], flush=True)
            if not killed and line.startswith(f"epoch {kill_after}/"):
                process.kill()
                killed = True
    if process.returncode and not killed:
        print(*said, sep="", end="")
    return process.returncode
