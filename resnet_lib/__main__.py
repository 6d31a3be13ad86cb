"""The command line: `python -m resnet_lib train …`."""

import argparse
import sys

DATASETS = ("cifar10", "shapes")


def main(arguments=None):
    """Run a command; return the exit code. Errors of the user's are one line, not a traceback."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(_told("resnet_lib", error, error), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(_told("\nresnet_lib", "stopped", stop), file=sys.stderr)
        return 130
    return 0


def _told(who, what, error):
    return "\n".join([f"{who}: {what}", *getattr(error, "__notes__", [])])


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m resnet_lib", description="Train residual networks."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a network and keep the run in a folder")
    train.set_defaults(run=_train)
    add = train.add_argument
    add("--model", required=True, metavar="ID", help="resnet20v1, resnet29v2, plain20, …")
    add("--dataset", choices=DATASETS, default="cifar10")
    add("--out", required=True, metavar="FOLDER", help="folder for the run; must not exist")
    add("--form", default="example", help="example (default), paper or, for v1 and plain, standard")
    add("--epochs", type=int, metavar="N", help="default: the recipe's, 200")
    add("--batch-size", type=int, metavar="N", help="default: the recipe's, 32")
    add("--limit", type=int, metavar="N", help="train on the first N images only")
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    return parser


def _train(options):
    from pathlib import Path

    import keras

    from . import cifar, datasets
    from .training import train

    if Path(options.out).exists():  # What can be refused is refused before the data is read.
        raise FileExistsError(f"{options.out} exists. Nothing is overwritten: name a new folder.")
    cifar.parse_model_id(options.model)
    data = getattr(datasets, options.dataset)()
    if options.limit is not None:
        data = data.limit(options.limit)
    shape = data.train.images.shape[1:]
    keras.utils.set_random_seed(options.seed)
    model = cifar.build(options.model, shape, len(data.class_names), form=options.form)
    settings = dict(epochs=options.epochs, batch_size=options.batch_size, seed=options.seed)
    run = train(model, data, out=options.out, notes={"form": options.form}, **settings)
    print(f"{run}\n{run.folder}: record.json, model.keras, checkpoints")


if __name__ == "__main__":
    sys.exit(main())
