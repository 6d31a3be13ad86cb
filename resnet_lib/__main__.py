"""The command line: `python -m resnet_lib train …` and `python -m resnet_lib records`."""

import argparse
import json
import shlex
import sys
from pathlib import Path

DATASETS = ("cifar10", "shapes", "sign_digits")
RECIPES = ("example", "paper", "one-cycle")
# The form that goes with a recipe, for v1 and plain nets (False) and for v2 (True).
FORMS = {("example", False): "example", ("example", True): "example"}
FORMS |= {("paper", False): "paper", ("paper", True): "paper"}
FORMS |= {("one-cycle", False): "standard", ("one-cycle", True): "paper"}
EXPECTED = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)


def main(arguments=None):
    """Run a command; return the exit code. Errors of the user's are one line, not a traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    options.command = shlex.join(["python", "-m", "resnet_lib", *_without(arguments, "--resume")])
    try:
        return options.run(options)
    except EXPECTED as error:
        print(_told("resnet_lib", error, error), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(_told("\nresnet_lib", "stopped", stop), file=sys.stderr)
        return 130


def _without(arguments, option):
    return [argument for argument in arguments if argument != option]


def _told(who, what, error):
    return "\n".join([f"{who}: {what}", *getattr(error, "__notes__", [])])


def _folder(path):
    return Path(path).expanduser()


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m resnet_lib", description="Train residual networks, and look at runs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a network and keep the run in a folder")
    train.set_defaults(run=_train)
    _add_training_options(train)
    shown = commands.add_parser("records", help="list the runs that the library has, or yours")
    shown.set_defaults(run=_records)
    shown.add_argument("folders", nargs="*", type=_folder, metavar="FOLDER", help="of runs")
    return parser


def _add_training_options(train):
    add = train.add_argument
    add("--model", required=True, metavar="ID", help="resnet20v1, resnet29v2, plain20, resnet50, …")
    add("--dataset", choices=DATASETS, default="cifar10")
    add(
        "--out",
        required=True,
        type=_folder,
        metavar="FOLDER",
        help="folder for the run; must not exist",
    )
    add("--resume", action="store_true", help="go on with the run in FOLDER, if there is one")
    add("--recipe", choices=RECIPES, default="example", help="default: example")
    add(
        "--form",
        help="example, paper or, for v1 and plain, standard; default: what goes with the recipe",
    )
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
        help="another value for a field of the recipe, such as peak=0.1 or augment=false",
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
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, received {text!r}")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value


def _records(options):
    from . import records

    runs = {str(folder): records.load(folder) for folder in options.folders}
    print(records.table(runs or records.recorded()))
    return 0


def _train(options):
    from dataclasses import replace

    import keras

    from . import checks, datasets, models, records
    from .datasets.resize import shrunk
    from .training import best_execution, train

    # What can be refused is refused before the data is read.
    checks.count("seed", options.seed, least=0, most=2**32 - 1)
    if options.out.exists() and not options.resume:
        raise FileExistsError(
            f"{options.out} exists. Nothing is overwritten: name a new folder, or go on with the "
            "run in it by --resume."
        )
    builder, depth = models.parse_model_id(options.model)
    form = options.form or _form(builder, options.recipe)
    data = getattr(datasets, options.dataset)()
    if options.limit is not None:
        data = data.limit(options.limit)
    if options.size is not None:
        data = shrunk(data, options.size)
    keras.utils.set_random_seed(options.seed)
    shape = (data.image_shape, data.num_classes)
    model = models.build(options.model, *shape, form=form, dropout=options.dropout)
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
        notes={"form": form, "dropout": options.dropout, "command": options.command},
    )
    print(f"{run}\n{run.folder}: {records.RECORD}, {records.MODEL}, checkpoints")
    stopped = run.record.get("stopped")
    return 0 if stopped is None else 130 if stopped.startswith("by hand") else 1


def _form(builder, recipe):
    """Return the form that a network takes where none is asked for."""
    from inspect import signature

    from . import cifar, models

    if builder in models.CIFAR.values():
        return FORMS[recipe, builder is cifar.resnet_v2]
    return signature(builder).parameters["form"].default


def _recipe(options, model, data, depth, execution):
    """Return the recipe that is asked for, or the one that a run to be resumed was started with."""
    from dataclasses import replace

    from . import recipes, records
    from .training import for_budget
    from .training.fit import PROGRESS

    recipe = recipes.named(options.recipe, depth).changed(dict(options.set))
    if options.batch_size is not None:
        recipe = replace(recipe, batch_size=options.batch_size)
    if options.epochs is not None:
        return replace(recipe, epochs=options.epochs)
    if options.minutes is None:
        return recipe
    started = options.out / PROGRESS
    if options.resume and started.is_file():  # Measured anew, it would be another recipe.
        return recipes.Recipe.from_dict(records.load(started).record["recipe"])
    recipe = for_budget(options.minutes, model, data, recipe, execution=execution)
    print(f"{recipe.epochs} epochs fit into {options.minutes:g} minutes")
    return recipe


if __name__ == "__main__":
    sys.exit(main())
