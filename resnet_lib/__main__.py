"""The command line: `python -m resnet_lib` with `train …`, `records` or `exercises`.

Nothing here imports Keras before a network is trained, which takes seconds.
"""

import argparse
import json
import shlex
import sys
import warnings
from collections.abc import Sequence

from . import checks, runtime

# As Python spells what JSON spells otherwise.
PYTHONS = {"True": True, "False": False, "None": None}
EXPECTED = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code. Errors of the user's are one line, not a traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = _parser().parse_args(arguments)
        again = [argument for argument in arguments if argument != "--resume"]
        options.command = shlex.join(["python", "-m", "resnet_lib", *again])
        return options.run(options)
    except EXPECTED as error:
        print(_told("resnet_lib", error, error), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(_told("\nresnet_lib", "stopped", stop), file=sys.stderr)
        return 130
    finally:
        runtime.say(end="")  # What argparse has printed may still be on its way.


def _told(who, what, error):
    return "\n".join([f"{who}: {what}", *getattr(error, "__notes__", [])])


def _folder(path):
    try:
        return checks.path("FOLDER", path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class _Version(argparse.Action):
    """Says what runs here; Keras is not asked, for that would import it."""

    def __call__(self, parser, *_):
        from importlib.metadata import version

        keras = f"Keras {version('keras')} on {runtime.keras_backend()}"
        runtime.say(f"resnet_lib {version('resnet-lib')}, {keras}, Python {sys.version.split()[0]}")
        parser.exit()


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m resnet_lib",
        description="Train residual networks, look at runs, and at what you have done.",
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="say what runs here"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a network and keep the run in a folder")
    train.set_defaults(run=_train)
    _add_training_options(train)
    shown = commands.add_parser("records", help="list the runs that the library has, or yours")
    shown.set_defaults(run=_records)
    shown.add_argument(
        "folders", nargs="*", type=_folder, metavar="FOLDER", help="of a run, or of runs"
    )
    tasks = commands.add_parser(
        "exercises", help="list the notebooks' exercises and predictions, and what is done"
    )
    tasks.set_defaults(run=_exercises)
    one = tasks.add_mutually_exclusive_group()
    one.add_argument("--file", action="store_true", help="say where your answers are kept")
    one.add_argument(
        "--forget", action="store_true", help="begin anew; the old file gets another name"
    )
    return parser


def _add_training_options(train):
    from . import datasets, recipes

    add = train.add_argument
    add("--model", required=True, metavar="ID", help="resnet20v1, resnet29v2, plain20, resnet50, …")
    add("--dataset", choices=datasets.NAMED, default="cifar10")
    add(
        "--out",
        required=True,
        type=_folder,
        metavar="FOLDER",
        help="folder for the run; must not exist",
    )
    add("--resume", action="store_true", help="go on with the run in FOLDER, if there is one")
    add("--recipe", choices=recipes.NAMED, default="one-cycle", help="default: one-cycle")
    add(
        "--form",
        help="example, paper or, for v1 and plain, standard; default: what goes with the recipe",
    )
    add("--block", choices=("basic", "bottleneck"), help="of v2; default: bottleneck")
    length = train.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=int, metavar="N", help="the recipe in N epochs, its schedule as well"
    )
    length.add_argument(
        "--minutes", type=float, metavar="M", help="the recipe in as many epochs as fit"
    )
    add("--stop-after", type=int, metavar="N", help="only the first N epochs of the recipe")
    add("--dropout", type=float, default=0, metavar="RATE", help="before the last layer")
    add(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="FIELD=VALUE",
        help="another value for a field of the recipe, such as peak=0.1 or flip=false",
    )
    add("--batch-size", type=int, metavar="N", help="default: the recipe's")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="default: what is fastest on this machine",
    )
    add("--size", type=int, metavar="N", help="reduce the images to NxN pixels")
    add("--limit", type=int, metavar="N", help="train on the first N images only")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--deterministic", action="store_true", help="the same bits each time, on one machine")
    add("--tensorboard", action="store_true", help="write TensorBoard's files into FOLDER as well")


def _assignment(text):
    """Return the two sides of FIELD=VALUE, the value read as JSON where it is."""
    field, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"Expected FIELD=VALUE. Received: {text!r}")
    if value in PYTHONS:
        return field, PYTHONS[value]
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value


def _records(options):
    from . import records

    runs = {}
    with warnings.catch_warnings(record=True) as told:
        for folder in options.folders:
            runs |= records.runs_in(folder)
    for warning in told:
        print(f"resnet_lib: {warning.message}", file=sys.stderr)
    runtime.say(records.table(runs or records.recorded()))
    return 0


def _exercises(options):
    from .exercises import kept, tasks

    if options.file:
        runtime.say(f"{kept.place() or 'nothing is kept: RESNET_LIB_PROGRESS is off'}")
    elif options.forget:
        runtime.say(_forgotten(kept.set_aside()))
    else:
        runtime.say(tasks.table())
    return 0


def _forgotten(paths):
    """Say what has become of the file of answers, and the way back."""
    if paths is None:
        return "Nothing is kept, so there is nothing to forget."
    old, new = paths
    return (
        f"{old} is now {new}.\n"
        "Delete that file to be rid of it, or give it its old name to have it back."
    )


def _train(options):
    from dataclasses import replace

    # What can be refused is refused before Keras is imported, or at least before the data is read.
    checks.count("seed", options.seed, least=0, most=2**32 - 1)
    if options.out.exists() and not options.resume:
        raise FileExistsError(
            f"{options.out} exists. Nothing is overwritten: name a new folder, or go on with the "
            "run in it by --resume."
        )
    _asked(options)
    runtime.prepare()
    import keras

    from . import datasets, models, records
    from .datasets.resize import shrunk
    from .training import best_execution, train

    builder, depth = models.parse_model_id(options.model, options.block)
    form = options.form or _form(builder, options.recipe)
    data = datasets.NAMED[options.dataset]()
    if options.limit is not None:
        data = data.limit(options.limit)
    if options.size is not None:
        data = shrunk(data, options.size)
    keras.utils.set_random_seed(options.seed)
    shape = (data.image_shape, data.num_classes)
    chosen = {"form": form, "block": options.block, "dropout": options.dropout}
    model = models.build(options.model, *shape, **chosen)
    execution = best_execution(data.train.images.nbytes)
    if options.precision is not None:
        execution = replace(execution, precision=options.precision)
    run = train(
        model,
        data,
        _recipe(options, model, data, depth, execution),
        out=options.out,
        resume=options.resume,
        epochs=options.stop_after,
        seed=options.seed,
        deterministic=options.deterministic,
        execution=execution,
        tensorboard=options.tensorboard,
        notes={name: value for name, value in chosen.items() if value is not None}
        | {"command": options.command},
    )
    runtime.say(f"{run}", f"{run.folder}: {records.RECORD}, {records.MODEL}, checkpoints")
    stopped = run.record.get("stopped", "")
    if stopped.startswith("by hand"):
        runtime.say(f"To go on: {options.command} --resume")
        return 130
    done, planned = len(run.history["loss"]), run.record["recipe"]["epochs"]
    if not stopped and done < planned:
        runtime.say(
            f"{done} of the recipe's {planned} epochs are done. To go on, the same command with "
            "--resume and a larger --stop-after, or none."
        )
    return 1 if stopped else 0


def _form(builder, recipe):
    """Return the form that a network takes where none is asked for."""
    from inspect import signature

    from . import cifar, models, recipes

    if builder not in models.CIFAR.values():
        return signature(builder).parameters["form"].default
    form = recipes.FORMS[recipes.named(recipe)]
    forms = cifar.FORMS_V2 if builder is cifar.resnet_v2 else cifar.FORMS_V1
    return form if form in forms else "paper"


def _asked(options, depth=None):
    """Return the recipe that is asked for, as long as it is without `--minutes`."""
    from . import recipes

    fields = dict(options.set)
    for name in ("batch_size", "epochs"):
        if getattr(options, name) is not None:
            fields[name] = getattr(options, name)
    return recipes.named(options.recipe, depth).changed(fields)


def _recipe(options, model, data, depth, execution):
    """Return the recipe that is asked for, or the one that a run to be resumed was started with."""
    from . import recipes, records
    from .training import for_budget
    from .training.fit import PROGRESS

    recipe = _asked(options, depth)
    if options.minutes is None:
        return recipe
    started = options.out / PROGRESS
    if options.resume and started.is_file():  # Measured anew, it would be another recipe.
        return recipes.Recipe.from_dict(records.load(started).record["recipe"])
    recipe = for_budget(options.minutes, model, data, recipe, execution=execution)
    runtime.say(f"{recipe.epochs} epochs fit into {options.minutes:g} minutes")
    return recipe


if __name__ == "__main__":
    sys.exit(main())
