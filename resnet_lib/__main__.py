"""The command line: `python -m resnet_lib` with `train …`, `finetune …`, `records` and others.

Nothing here imports Keras before a network is trained, which takes seconds.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import contextmanager

from . import checks, runtime
from .commands import add as add_commands

# As Python spells what JSON spells otherwise.
PYTHONS = {"True": True, "False": False, "None": None}
# The names that `cifar` has; it would import Keras.
BLOCKS = (
    "of v1: basic (the default), bottleneck, resnet-d, resnext, se or stochastic-depth; of v2: "
    "basic, bottleneck (the default), convnext, skipinit, transformer or wide"
)
EXPECTED = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)

# What a command that trains ends with, beside 0; a cluster may start it again after these two.
TERMINATED = os.EX_TEMPFAIL  # 75
LEFT_ALONE = os.EX_UNAVAILABLE  # 69
EXIT_CODES = (
    "exit codes: 0: done. 1: the run ended early, by itself. 2: something was refused, or failed. "
    f"130: Ctrl-C; what was learnt is kept. {TERMINATED}: SIGTERM; the last finished epoch is "
    f"kept. {LEFT_ALONE}: another process of the run is gone. After the last three, the same "
    "command with --resume goes on."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code. Errors of the user's are one line, not a traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = _parser().parse_args(arguments)
        again = [argument for argument in arguments if argument != "--resume"]
        options.command = shlex.join(["python", "-m", "resnet_lib", *again])
        return options.run(options)
    except KeyboardInterrupt as stop:
        if stop.args == (signal.SIGTERM,):
            return _terminated(options)
        return _leave(_told("\nresnet_lib", "stopped", stop), 130, seconds=10)
    except Exception as error:
        if told := _left_alone(error):
            return _leave(told, LEFT_ALONE, seconds=0)
        if isinstance(error, EXPECTED):
            return _leave(_told("resnet_lib", error, error), 2, seconds=10)
        _leave_the_others(1, seconds=10)
        raise
    finally:
        runtime.say(end="")  # What argparse has printed may still be on its way.


def _hosts():
    """Return the module `hosts` where there are several processes, else None; import nothing."""
    hosts = sys.modules.get("resnet_lib.training.hosts")
    return hosts if hosts and hosts.processes() > 1 else None


def _is_first():
    return not _hosts() or _hosts().is_first()


def _left_alone(error):
    """Return what to say, if an error tells that another process is gone; else None."""
    hosts = sys.modules.get("resnet_lib.training.hosts")
    told = hosts and hosts.lost(error)
    return told and f"resnet_lib: {told}"


def _leave(told, code, seconds):
    """Say why a command ends, and return the exit code."""
    print(told, file=sys.stderr, flush=True)
    _leave_the_others(code, seconds)
    return code


def _leave_the_others(code, seconds):
    """Of several processes, end this one after some seconds.

    At its end JAX waits for the others, which may wait in a step for this one.
    """
    if _hosts():
        runtime.say(end="")
        last = threading.Timer(seconds, os._exit, [code])
        last.daemon = True
        last.start()


@contextmanager
def _in_order():
    """Have SIGTERM end what runs here as Ctrl-C does, unless it is ignored."""

    def stop(number, frame):
        raise KeyboardInterrupt(number)

    usual = signal.getsignal(signal.SIGTERM)
    if usual != signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _terminated(options):
    """Say what SIGTERM has left, and how to go on."""
    from .records import CHECKPOINTS

    kept = any((options.out / CHECKPOINTS).glob("*/epoch-*.weights.h5"))
    left = f"{options.out} holds the epochs that were finished" if kept else "no epoch was finished"
    told = f"resnet_lib: stopped by SIGTERM; {left}. To go on: {options.command} --resume"
    if _is_first():
        print(told, file=sys.stderr, flush=True)
    return TERMINATED


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
        runtime.say(f"resnet_lib {runtime.version()}, {keras}, Python {sys.version.split()[0]}")
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
    train = commands.add_parser(
        "train", help="train a network and keep the run in a folder", epilog=EXIT_CODES
    )
    train.set_defaults(run=_train)
    _add_network_options(train)
    _add_training_options(train)
    tune = commands.add_parser(
        "finetune",
        help="train a network for your pictures that begins with one that is trained already",
        epilog=EXIT_CODES,
    )
    tune.set_defaults(run=_finetune)
    _add_base_options(tune)
    _add_training_options(tune)
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
    add_commands(commands)
    return parser


def _add_network_options(train):
    from . import recipes

    add = train.add_argument
    add(
        "--model",
        required=True,
        metavar="ID",
        help="resnet20v1, resnet29v2, plain20, resnet50, resnetfast, …",
    )
    _add_data_options(train, default="cifar10")
    add("--recipe", choices=recipes.NAMED, default="one-cycle", help="default: one-cycle")
    add(
        "--form",
        help="example, paper or, for v1 and plain, standard; default: what goes with the recipe",
    )
    add("--block", metavar="NAME", help=BLOCKS)


def _add_base_options(tune):
    from . import bases

    add = tune.add_argument
    add(
        "--base",
        default=bases.DEFAULT,
        metavar="BASE",
        help=f"{', '.join(bases.names())}, a .keras file or a run's folder; default: "
        f"{bases.DEFAULT}",
    )
    _add_data_options(tune, default=None)
    add(
        "--stages",
        type=_number_or_all("stages", 0),
        default=2,
        metavar="N|all",
        help="how many upper stages are trained after the head; default: 2",
    )
    add(
        "--preprocessing",
        choices=bases.PREPARATIONS,
        help="what pixels of 0-255 went through before the base, where it has nothing inside",
    )


def _add_data_options(command, default):
    from . import datasets

    data = command.add_mutually_exclusive_group(required=default is None)
    help = "with a folder of pictures for each class"
    data.add_argument("--pictures", type=_folder, metavar="FOLDER", help=help)
    data.add_argument("--dataset", choices=datasets.NAMED, default=default)


def _add_training_options(train):
    add = train.add_argument
    add(
        "--out",
        required=True,
        type=_folder,
        metavar="FOLDER",
        help="folder for the run; must not exist",
    )
    add("--resume", action="store_true", help="go on with the run in FOLDER, if there is one")
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
    add(
        "--class-weight",
        action="append",
        type=_weight,
        metavar="balanced|CLASS=WEIGHT",
        help="what a picture of a class counts: balanced, as much less as the class has more",
    )
    add("--batch-size", type=int, metavar="N", help="default: the recipe's")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="default: what is fastest on this machine",
    )
    add(
        "--devices",
        type=_number_or_all("devices", 1),
        metavar="N|all",
        help="how many devices share each batch, all: those of all hosts; default: 1, with several "
        "processes all",
    )
    add(
        "--join",
        action="store_true",
        help="train together with the other processes of this job: JAX finds them on Slurm and on "
        "TPU pods; where the environment has KERAS_DISTRIBUTION_*, these say it, without --join",
    )
    add("--size", type=int, metavar="N", help="images of NxN pixels")
    add("--limit", type=int, metavar="N", help="train on the first N images only")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--deterministic", action="store_true", help="the same bits each time, on one machine")
    add("--tensorboard", action="store_true", help="write TensorBoard's files into FOLDER as well")


def _number_or_all(what, least):
    """Return a function of text that returns "all", or a number of what there may be."""

    def number(text):
        try:
            return text if text == "all" else checks.count(what, int(text), least=least)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"Expected a number of {what}, or all. Received: {text!r}"
            ) from None

    return number


def _weight(text):
    """Return "balanced", or (class, weight)."""
    name, equals, weight = text.rpartition("=")
    if text == "balanced":
        return text
    try:
        return name, float(checks.number("weight", float(weight) if equals else None))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"Expected balanced, or CLASS=WEIGHT, a weight of at least 0. Received: {text!r}"
        ) from None


def _class_weight(options):
    """Return what `train` takes as `class_weight`."""
    asked = options.class_weight or []
    if "balanced" not in asked:
        return dict(asked) or None
    if len(asked) > 1:
        raise ValueError("Expected --class-weight balanced alone. Received: others as well")
    return "balanced"


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
    with runtime.warnings_in_lines():
        for folder in options.folders:
            runs |= records.runs_in(folder)
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
    with _in_order(), runtime.warnings_in_lines():
        return _trained(options, _asked, _train_one)


def _finetune(options):
    with _in_order(), runtime.warnings_in_lines():
        return _trained(options, _check_base, _finetune_one)


def _trained(options, check, one):
    """Train one network, after what can be checked without Keras; return the exit code."""
    # What can be refused is refused before Keras is imported, or at least before the data is read.
    checks.count("seed", options.seed, least=0, most=2**32 - 1)
    if options.out.exists() and not options.resume:
        raise FileExistsError(
            f"{options.out} exists. Nothing is overwritten: name a new folder, or go on with the "
            "run in it by --resume."
        )
    _class_weight(options)
    if options.pictures is not None:
        from .datasets import folders

        folders.find(options.pictures)
    check(options)
    runtime.prepare()
    with runtime.held():
        import keras

        from . import records
        from .training import hosts
        from .training.devices import checked

    if options.join or hosts.is_cluster():
        hosts.join_hosts()
    if options.devices is None and hosts.processes() > 1:
        options.devices = "all"
    devices = checked(options.devices, hosts.processes())
    keras.utils.set_random_seed(options.seed)
    run = one(options, devices)
    stopped = run.record.get("stopped", "")
    if stopped.startswith("by SIGTERM"):
        return _terminated(options)
    done, planned = len(run.history["loss"]), run.record["recipe"]["epochs"]
    if not hosts.is_first():
        return 1 if stopped else 0
    runtime.say(f"{run}", f"{run.folder}: {records.RECORD}, {records.MODEL}, checkpoints")
    if stopped.startswith("by hand"):
        runtime.say(f"To go on: {options.command} --resume")
        return 130
    if not stopped and done < planned:
        runtime.say(
            f"{done} of the recipe's {planned} epochs are done. To go on, the same command with "
            "--resume and a larger --stop-after, or none."
        )
    return 1 if stopped else 0


def _train_one(options, devices):
    from . import models
    from .datasets.resize import shrunk
    from .training import train

    builder, depth = models.parse_model_id(options.model, options.block)
    form = options.form or _form(builder, options.recipe)
    data = _data(options, options.size)
    if options.pictures is None and options.size is not None:
        data = shrunk(data, options.size)
    shape = (data.image_shape, data.num_classes)
    chosen = {"form": form, "block": options.block, "dropout": options.dropout}
    model = models.build(options.model, *shape, **chosen)
    execution = _execution(options, data, devices)
    recipe = _recipe(options, model, data, depth, execution)
    notes = {name: value for name, value in chosen.items() if value is not None}
    return train(model, data, recipe, **_common(options, execution, notes))


def _check_base(options):
    from . import bases

    bases.check(options.base)
    _asked_to_tune(options)


def _finetune_one(options, devices):
    from . import bases, finetuning

    base = bases.find(options.base)
    given = _data(options, options.size or base.size[0])
    data = finetuning.fitted(given, finetuning.shape_for(base, given, options.size))
    execution = _execution(options, data, devices)
    chosen = dict(stages=options.stages, dropout=options.dropout)
    chosen |= dict(preprocessing=options.preprocessing)
    recipe = _asked_to_tune(options, data)
    if options.minutes is not None:
        model = finetuning.tunable(base, data, **chosen, seed=options.seed)
        recipe = _in_minutes(options, model, data, recipe, execution)
    common = _common(options, execution, {})
    return finetuning.finetune(given, base, recipe, **chosen, size=options.size, **common)


def _data(options, size):
    """Return the data that is asked for; pictures of a folder are read at a size, if it is one."""
    from . import datasets

    if options.pictures is not None:
        data = datasets.image_folder(options.pictures, **({} if size is None else {"size": size}))
    else:
        data = datasets.NAMED[options.dataset]()
    return data if options.limit is None else data.limit(options.limit)


def _execution(options, data, devices):
    from dataclasses import replace

    from .training import best_execution

    execution = best_execution(data.train.images.nbytes, devices)
    return replace(execution, precision=options.precision) if options.precision else execution


def _common(options, execution, notes):
    """Return the options that `train` and `finetune` have in common."""
    return dict(
        out=options.out,
        resume=options.resume,
        epochs=options.stop_after,
        seed=options.seed,
        deterministic=options.deterministic,
        execution=execution,
        devices=options.devices,
        tensorboard=options.tensorboard,
        class_weight=_class_weight(options),
        notes=notes | {"command": options.command},
    )


def _form(builder, recipe):
    """Return the form that a network takes where none is asked for."""
    from inspect import signature

    from . import cifar, models, recipes

    if builder not in models.CIFAR.values():
        form = signature(builder).parameters.get("form")
        return form and form.default
    form = recipes.FORMS[recipes.named(recipe)]
    forms = cifar.FORMS_V2 if builder is cifar.resnet_v2 else cifar.FORMS_V1
    return form if form in forms else "paper"


def _fields(options):
    """Return the fields of the recipe that are asked for."""
    fields = dict(options.set)
    for name in ("batch_size", "epochs"):
        if getattr(options, name) is not None:
            fields[name] = getattr(options, name)
    return fields


def _asked(options, depth=None):
    """Return the recipe that is asked for, as long as it is without `--minutes`."""
    from . import recipes

    return recipes.named(options.recipe, depth).changed(_fields(options))


def _asked_to_tune(options, data=None):
    """Return the recipe of fine-tuning that is asked for; with data, in epochs that suit it."""
    from . import recipes

    fields = _fields(options)
    recipe = recipes.FINE_TUNE.changed(fields)
    if data is None or "epochs" in fields:
        return recipe
    from .finetuning import suited

    return suited(data, recipe.batch_size).changed(fields)


def _recipe(options, model, data, depth, execution):
    """Return the recipe that is asked for, or the one that a run to be resumed was started with."""
    recipe = _asked(options, depth)
    if options.minutes is None:
        return recipe
    return _in_minutes(options, model, data, recipe, execution)


def _in_minutes(options, model, data, recipe, execution):
    """Return a recipe in as many epochs as fit; that of a run to be resumed as it is."""
    from . import recipes, records
    from .training import for_budget, hosts
    from .training.fit import PROGRESS

    started = options.out / PROGRESS
    if options.resume:  # Measured anew, it would be another recipe.
        found = hosts.first_only(
            lambda: records.load(started).record["recipe"] if started.is_file() else None
        )
        if found is not None:
            return recipes.Recipe.from_dict(found)
    recipe = for_budget(options.minutes, model, data, recipe, execution=execution)
    runtime.say(f"{recipe.epochs} epochs fit into {options.minutes:g} minutes")
    return recipe


if __name__ == "__main__":
    runtime.end_with(main)
