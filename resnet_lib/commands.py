"""The commands for a trained network: predict, evaluate and export.

RUN is a run's folder, a .keras file that `train` has saved, or a network that comes with the
library, such as resnet20v1-cifar10.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import wraps
from typing import Any

from . import runtime

RUN = "a run's folder, a .keras file, or a network of the library, such as resnet20v1-cifar10"
EXIT_CODES = (
    "exit codes: 0: done. 1: done, but for files that cannot be read. 2: something was refused."
)


def add(commands: Any) -> None:
    """Add the commands to those of the command line.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    predict = _command(commands, "predict", _predict, "say what is on pictures")
    predict.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, or a folder")
    predict.add_argument("--top", type=int, default=3, metavar="N", help="classes named; default 3")
    evaluate = _command(
        commands, "evaluate", _evaluate, "say how often a network is right on new pictures"
    )
    evaluate.add_argument(
        "folder", metavar="FOLDER", help="with a folder of pictures for each class, of its name"
    )
    for command in (predict, evaluate):
        command.add_argument("--json", action="store_true", help="print JSON")
    _add_export(commands)


def _add_export(commands):
    export = _command(commands, "export", _export, "write a network for programs without Keras")
    export.add_argument("folder", metavar="FOLDER", help="for the files; none is overwritten")
    export.add_argument(
        "--format",
        nargs="+",
        default=["saved_model"],
        metavar="FORMAT",
        help="saved_model (the default), tflite, tflite-int8, onnx; several with blanks between",
    )
    export.add_argument(
        "--pictures",
        nargs="+",
        metavar="PICTURE",
        help="files or folders, to compare the files with the network on; tflite-int8 needs them",
    )


def _command(commands, name, run, told) -> ArgumentParser:
    command = commands.add_parser(name, help=told, description=f"{told}.", epilog=EXIT_CODES)
    command.set_defaults(run=run)
    command.add_argument("network", metavar="RUN", help=RUN)
    return command


def _told_in_lines(command: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Have a command's warnings be one line each, and its network loaded first."""

    @wraps(command)
    def run(options):
        from .zoo import load

        found = load(options.network)
        runtime.prepare()
        with runtime.held():
            import keras  # noqa: F401
        with runtime.warnings_in_lines():
            return command(options, found)

    return run


@_told_in_lines
def _predict(options, run):
    found = run.predict(options.pictures, top=options.top)
    shown = json.dumps([each.as_dict() for each in found], indent=1) if options.json else f"{found}"
    runtime.say(shown)
    return 1 if found.unreadable else 0


@_told_in_lines
def _evaluate(options, run):
    found = run.evaluate(options.folder)
    runtime.say(json.dumps(found.as_dict(), indent=1) if options.json else f"{found}")
    return 1 if found.unreadable else 0


@_told_in_lines
def _export(options, run):
    from . import exports

    table, complete = exports.command(run, options.format, options.folder, options.pictures)
    runtime.say(table)
    return 0 if complete else 1
