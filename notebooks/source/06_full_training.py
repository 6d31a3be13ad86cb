# %% [markdown]
# # 6. Train for real
#
# Afterwards you can
#
# - train a residual network on CIFAR-10 within the time that you have, on a GPU or a CPU;
# - say what augmentation and the three learning-rate schedules do;
# - resume a run that was cut off;
# - compare runs fairly, from their records;
# - look at what a trained network gets wrong;
# - say what mixed precision and XLA change, and measure them on your own device.
#
# You need notebooks 1 to 4; 5 helps. Reading takes about 45 minutes; running every cell takes about two minutes on a CPU with 2 cores.

# %%
import resnet_lib as rl

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

# %% [markdown]
# As long as you change nothing, this notebook trains on the drawn shapes, for less than a minute, and writes to a temporary folder. In the *full* profile it trains on
# CIFAR-10 [1], on a GPU if there is one, and keeps the run in the folder `runs`. (Unless `RESNET_LIB_DATA` names a folder with the pictures, it downloads 162 MiB.) For that, put `rl.set_profile("full")`
# at the end of the cell above, and your minutes into the next one. Or leave the notebook as it is, and run it from a terminal, in the notebook's folder and with the environment active; it
# writes `trained.ipynb`:
#
#     RESNET_LIB_PROFILE=full RESNET_LIB_MINUTES=30 jupyter execute --output=trained 06_full_training.ipynb

# %%
FULL = rl.profile() == "full"
MINUTES = os.environ.get("RESNET_LIB_MINUTES")  # In the full profile. None: the whole recipe.
if FULL:
    data = rl.datasets.cifar10()
    folder = Path("runs", time.strftime("%Y-%m-%d-%H%M%S"))
else:
    data = rl.datasets.shapes(train=5000, validation=500)
    folder = Path(tempfile.mkdtemp())
data

# %% [markdown]
# ## What the network is shown
#
# In a real run, a picture is hardly ever shown in the same way twice. Each epoch changes each training picture a little: it is padded by an eighth of its side, cut back to its size at a
# random place, and in half of the cases mirrored. That is **augmentation**. The paper does the same on CIFAR-10, with 4 pixels on each side of 32 [2, section 4.2].

# %%
which = np.array([19])
picture = data.train.images[which]
shown = [
    rl.augment.pad_crop_flip(picture, which, epoch=epoch, seed=0, mode="reflect")
    for epoch in range(9)
]
rl.plots.images(
    np.concatenate([picture, *shown]),
    ["stored", *(f"epoch {epoch + 1}" for epoch in range(9))],
    alt="A picture as it is stored, and as it is shown in nine epochs: shifted, sometimes mirrored.",
)

# %% [markdown]
# On the left the picture as it is stored. The others are shifted by up to 4 pixels, to a side and up or down, and some are mirrored. Where the cut reaches over
# the edge, you see the picture reflected there; the recipe `paper` pads with zeros, which is black. (The paper does not say with what.)
#
# There are 9 x 9 places and 2 directions, so the network may meet 162 versions of each picture, and it cannot learn them by heart as easily as one.
# The class must stay the same: a mirrored arrow is an arrow, a mirrored 2 is not a 2.
#
# Which version it is follows from three numbers: the seed, the epoch, and the picture's number in the data set. So a run that was cut off and goes on shows the same versions
# as one that was not.

# %%
again = rl.augment.pad_crop_flip(picture, which, epoch=3, seed=0, mode="reflect")
print("epoch 4 again, the same version:", np.array_equal(again, shown[3]))

# %% [markdown]
# Validation and test pictures are never changed.
#
# ## Three recipes, three schedules
#
# A recipe is everything that decides a run apart from the network and the pictures (notebook 3). The library has three. (And a fourth for depth 110 and more: the paper's,
# with its short warm-up.) Where do they differ?

# %%
recipes = (rl.recipes.EXAMPLE, rl.recipes.PAPER, rl.recipes.ONE_CYCLE)
fields = ("name", "epochs", "batch_size", "optimizer", "nesterov", "normalize", "padding")
for field in (*fields, "reduce_on_plateau"):
    print(f"{field:18}" + "".join(f"{getattr(recipe, field)!s:>12}" for recipe in recipes))
for recipe in recipes:
    print(f"\n{recipe.name}: {recipe.source}")
    print("  sizes:", recipe.sizes)
    print("  weight decay:", recipe.weight_decay or "none; networks of the form 'example' bring L2")

# %% [markdown]
# `sizes` was switched off in notebook 3. Each pair says up to which share of the epochs, at which share of the side: one-cycle reduces its pictures to three quarters of their side in the first third of its epochs,
# where they cost little more than half as much, and then takes the full size. `reduce_on_plateau` comes up below. And this is the largest difference, the schedule:

# %%
fig, axes = rl.plots.figure(
    "Three line plots of the learning rate by epoch. Example: constant, then four steps down. Paper: "
    "constant, then two steps down. One-cycle: a straight line up, then one down to zero.",
    columns=3,
    size=(10, 2.6),
)
for ax, recipe in zip(axes, recipes, strict=True):
    epochs = np.linspace(0, recipe.epochs, 1000, endpoint=False)
    ax.plot(epochs, [recipe.learning_rate(e if recipe.by_step else int(e)) for e in epochs])
    ax.set_title(f"{recipe.name} ({recipe.optimizer})", fontsize=10)
    ax.set_xlabel("epochs done")
axes[0].set_ylabel("learning rate")
fig

# %% [markdown]
# The example holds its rate for 81 epochs of 200, then falls in steps; after the second step little is left to see [3]. The paper divides by 10 after 32,000 and 48,000 of
# its 64,000 steps. (Where that is on this axis, exercise 1 asks.) One-cycle rises over the first quarter and is at zero at the end, whether that is after 15 epochs or 150: it
# is made for the time that you have. Both straight lines and the high peak are from [4]; ours rises for a quarter of the run where theirs rises for nearly half, and it leaves out their last phase at tiny rates
# and their changes of the momentum.
#
# Why rise at all? With random weights, gradients change much from step to step, and full steps do harm. Why so high? Large steps cover ground, and their noise keeps the
# network from settling early. Why fall? The noise of large steps also keeps it from settling at the end. You will see that in a recorded run below: the last points of accuracy come when the rate falls.
#
# The heights cannot be compared between Adam and SGD (notebook 3). The shapes can. Stop the example after 60 epochs, and its rate has not fallen at all.
#
# Where you can run this notebook, turn it yourself: give the same number of epochs to each, and see what a short run has of each schedule.

# %%
rl.explorers.schedules()

# %% [markdown]
# The height is the share of each one's published largest rate. One-cycle is at zero where the run ends, whatever its length. The other two keep their dates: a run of 100 epochs ends
# after the first of their steps, one of 80 before it.
#
# ## The network
#
# This is what you will train: ResNet-20, version 1, form "standard".

# %%
keras.utils.set_random_seed(0)
model = rl.resnet_v1(data.image_shape, 20, data.num_classes, form="standard")
print(rl.count_parameters(model))
print(f"{rl.count_multiply_adds(model):,} multiply-adds for one picture")
rl.plots.feature_maps(model)

# %% [markdown]
# Three stages; the side halves and the channels double from each to the next. At the end, each of 64 channels is averaged over its 8x8 places.
#
# ## Train it
#
# In the full profile, `for_budget` runs a few steps, measures them, and returns one-cycle with as many epochs as fit into your minutes; if these are few, more of them with smaller pictures.
# Here five epochs of drawn shapes must do. In so short a run, augmentation and smaller pictures do not pay (notebook 3), so they are off.

# %%
if FULL and MINUTES:
    recipe = rl.training.for_budget(float(MINUTES), model, data)
elif FULL:
    recipe = rl.recipes.ONE_CYCLE
else:
    off = dict(augment=False, sizes=((1, 1),))
    recipe = replace(rl.recipes.ONE_CYCLE, epochs=5, batch_size=64, peak=0.2, **off)
mine = rl.train(model, data, recipe, out=folder / "first")

# %% [markdown]
# The figure grew while the network trained: on the left the loss, on the right the learning rate. The stop button ends a run; the weights of its best
# finished epoch are kept. To train again, name another folder: `train` writes over nothing. To go on with a run, give its folder and `resume=True`.

# %%
rl.plots.loss(mine)

# %% [markdown]
# With the shapes, the training loss falls from the start. The validation loss is far above it while the rate is high, and comes down to it as the rate falls.

# %%
print("in the folder:", *sorted(path.name for path in mine.folder.iterdir()))
print("in the record:", *mine.record)
print("for each epoch:", *mine.history)
print("results:", *mine.record["results"])

# %% [markdown]
# The record says what was trained, on what, how, on which machine and with which versions; for each epoch its losses, accuracies and rate, its seconds on the clock, and its
# CPU seconds, all cores added up; and the results.
#
# Test accuracy stands in the results three times: `last` is that of the last epoch's weights; `best` that of the weights which were best on the *validation* pictures, and are
# kept; `flip` is for these weights again, with the probabilities averaged over a picture and its mirror image. The test pictures are looked at once, in the end,
# and choose nothing.

# %% tags=["nbval-accuracy"]
for key in ("last", "best", "flip"):
    print(f"test accuracy, {key}: {mine.record['results'][f'test_accuracy_{key}']:.1%}")

# %% [markdown]
# That is your own network, on pictures that it has never seen. Is it what the saved model does?

# %%
trained = keras.saving.load_model(mine.folder / "model.keras")
accuracy = np.mean(trained.predict(data.test.images, verbose=0).argmax(axis=1) == data.test.labels)
difference = abs(accuracy - mine.record["results"]["test_accuracy_best"])
print("the saved model has the test accuracy of the record:", difference < 0.002)

# %% [markdown]
# `model.keras` is plain Keras. It takes pictures of 0 to 255 as they are stored.
#
# ## A run that is cut off
#
# A run of hours will be cut off some day: the power fails, the computer is needed, the cluster ends your job. Try it with a small run, started as one does in
# a terminal. Usually two runs with one seed differ in the last bits: threads add numbers in a changing order, and rounding depends on it. `--deterministic` prevents that, at
# some cost. The GPU, if you have one, is left to this notebook. (To run the next cells again, name other folders in them: the command refuses one that exists, too.)

# %%
command = [sys.executable, "-m", "resnet_lib", "train", "--dataset", "shapes", "--limit", "2000"]
command += ["--model", "resnet8v1", "--recipe", "one-cycle", "--epochs", "4", "--deterministic"]
no_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}


def run_command(*options, kill_after=None):
    """Run it, say which epochs it trains, and kill it when it has reported one of them."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen([*command, *options], env=no_gpu, **pipes) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("epoch"):
                print(line.split(":")[0])
            if kill_after and line.startswith(kill_after):
                process.kill()
    if process.returncode not in (0, -9):
        print(*lines)
    print("exit code:", process.returncode)


# %%
run_command("--out", folder / "cut", kill_after="epoch 2/4")

# %% [markdown]
# `kill` ends a process at once, with nothing tidied up, as a power failure would. (It is signal 9; Python reports it as -9.) What is left?

# %%
files = sorted(path for path in (folder / "cut").rglob("*") if path.name != "before.keras")
print(*[path.relative_to(folder) for path in files], sep="\n")

# %% [markdown]
# There is no `model.keras` and no `record.json` beside `checkpoints`: the run did not finish. But in `checkpoints` lie the best weights so far, `best.keras`, the record so far, and, in
# `last_epoch`, for the last whole epoch and the one before it, everything that training needs to go on: the weights, and the optimizer's momentum. Once a better epoch has come, the best
# weights before it are kept as `before.keras`; not every run has that file, so the list leaves it out. Should a file be damaged, the one before it is taken. Each file is written beside the old one and then takes its
# name, so that a cut leaves the old or the new one, never half of one. The same command with `--resume` goes on:

# %%
run_command("--out", folder / "cut", "--resume")

# %% [markdown]
# It begins with epoch 3. Is the result that of a run which was never cut off?

# %%
run_command("--out", folder / "whole")
cut, whole = (rl.records.load(folder / name) for name in ("cut", "whole"))
print("equal losses:", cut.history["loss"] == whole.history["loss"])
weights = cut.load_model().get_weights(), whole.load_model().get_weights()
print("equal weights:", all(map(np.array_equal, *weights)))

# %% [markdown]
# Equal to the last bit: the order of the pictures, their shifts, the rate and the momentum are all where they would have been. In Python the
# same is `rl.train(…, out=…, resume=True, deterministic=True)`.
#
# ## A callback without effect
#
# The example installs two callbacks that set the rate [3]. `LearningRateScheduler` sets it at the start of each epoch, from the epoch's number. `ReduceLROnPlateau`
# looks at the loss at the end of each epoch: if it has not improved for some epochs, the rate is multiplied by a factor. Each is sensible alone. Take a network that cannot learn, because its
# input is always 0, so that its loss stands still:


# %%
def rates_with(*callbacks):
    """Return the rate that each of 12 epochs was trained with."""
    rates, stuck = [], keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    stuck.compile(keras.optimizers.SGD(0.1), "mse")
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: rates.append(float(stuck.optimizer.learning_rate))
    )
    nothing, wanted = np.zeros((8, 1)), np.ones((8, 1))
    stuck.fit(nothing, wanted, epochs=12, verbose=0, callbacks=[*callbacks, look])
    return rates


def plateau(verbose=0):
    return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=3, verbose=verbose)


scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 10 else 0.01)

# %%
together = rates_with(scheduler, plateau(verbose=1))

# %% [markdown]
# Three times it halves the rate, so it says, and each time it comes to 0.05. Somebody has put the rate back in between. These are the rates that the epochs were
# trained with:

# %%
rates = {
    "both": together,
    "LearningRateScheduler alone": rates_with(scheduler),
    "ReduceLROnPlateau alone": rates_with(plateau()),
}
rl.plots.curves(rates, ylabel="learning rate", log=True)

# %%
other_order = rates_with(plateau(), scheduler)
print("both, in either order, give the rates of the scheduler alone:")
print(np.allclose(together, rates["LearningRateScheduler alone"]), other_order == together)

# %% [markdown]
# Alone, `ReduceLROnPlateau` goes down in steps. Beside the scheduler it changes nothing: what it does at the end of an epoch is lost at the start of the next, when the
# scheduler sets the rate anew. So the example's `ReduceLROnPlateau` has no effect in any of its 200 epochs. Our recipe `example` installs it too, to be
# what the example is; the other two recipes do not.

# %% [markdown]
# ## What it gets wrong
#
# The network of the one-cycle run comes with the library. So does one that was trained on the drawn shapes.

# %%
for name in rl.zoo.names():
    print(rl.zoo.card(name), end="\n\n")

# %%
hour = rl.records.recorded()["resnet20v1-cifar10"]
hour = rl.records.recorded()["resnet20v1-cifar10"]
counts = np.array(hour.record["results"]["test_confusion"])
classes = hour.record["dataset"]["classes"]
rl.plots.confusion(counts, classes, title="resnet20v1-cifar10, test pictures")

# %% [markdown]
# Each row is a true class, each column an answer; what is off the diagonal is wrong. Look for the darkest squares there:

# %%
wrong = counts - np.diag(np.diag(counts))
for place in np.argsort(-wrong, axis=None, kind="stable")[:3]:
    truth, answer = divmod(int(place), len(classes))
    print(f"{wrong[truth, answer]:4} times, true class {classes[truth]}: {classes[answer]}")
vehicle = np.isin(classes, ["airplane", "automobile", "ship", "truck"])
alike = vehicle[:, None] == vehicle
by_chance = (wrong.sum(axis=1) * (alike.sum(axis=1) - 1)).sum() / (len(classes) - 1)
print("mistakes within the animals or within the vehicles:")
print(
    f"{wrong[alike].sum() / wrong.sum():.0%}; by chance it would be {by_chance / wrong.sum():.0%}"
)

# %% [markdown]
# Cats and dogs are taken for each other most often. Most mistakes stay within the animals or within the vehicles, more than if each fell on any other class, although nobody told the network that there are such groups:
# it has only ever seen ten class numbers.
#
# Counts say which classes are alike to the network. To see *what* went wrong, look at the pictures that it got wrong while it was most sure. (Here of the shapes, in the full profile of
# CIFAR-10. Put `trained` in the place of `network` to see the mistakes of your own run.)

# %%
name = "resnet20v1-cifar10" if FULL else "resnet20v1-shapes"
network = rl.load_trained(name)
probabilities = network.predict(data.test.images, verbose=0)
answers, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
mistakes = np.flatnonzero(answers != data.test.labels)
worst = mistakes[np.argsort(-sure[mistakes], kind="stable")][:10]
print(f"{name}: {len(mistakes)} of {len(answers)} test pictures are wrong")

# %%
names = np.array(data.class_names)
rl.plots.images(
    data.test.images[worst],
    [
        f"{answer}\n{share:.0%}\n({truth})"
        for answer, share, truth in zip(
            names[answers[worst]], sure[worst], names[data.test.labels[worst]], strict=True
        )
    ],
    alt="The test pictures that the network got wrong and was most sure of, with its answer, "
    "the probability that it gave to it, and the true class.",
)

# %% [markdown]
# Over each picture stands the answer, the probability that the network gave to it, and the true class. Look for yourself what you would have said. Some of these are hard for you, too:
# a ring whose hole is hardly there, a shape with a line drawn across it. The first ones are wrong with a probability near 1: that the network is sure does not make it right.
#
# A network also answers where there is no answer. Show the CIFAR-10 network the drawn shapes, none of which is an animal or a vehicle:

# %%
strange = rl.datasets.shapes(train=1, validation=1).test.images
most = rl.load_trained("resnet20v1-cifar10").predict(strange, verbose=0).max(axis=1)
print(f"surer than 90 %: of {np.mean(most > 0.9):.0%} of the drawn shapes")

# %% [markdown]
# For so many of them, it is sure to see one of its ten classes. Its probabilities compare the classes that it knows; "none of these" is not among them.
#
# ## Speed: mixed precision and XLA
#
# On a GPU, `train` chooses what suits it: 16-bit convolutions, XLA, the pictures in the card's memory. The project has had no GPU to measure on, so you find no time of one
# here. What you find is what these settings do, and how to measure them on your device.
#
# **Mixed precision** [5]. Convolutions take most of a step. With 16-bit numbers they take less time, where the hardware has units for them, and what they output takes half the memory. Mixed means: 16 bits to compute with, 32 for
# the weights, because a change that is small beside its weight would be rounded away in 16.

# %%
layer = keras.layers.Conv2D(16, 3, dtype="mixed_bfloat16")
print("computes in", layer.compute_dtype, "and keeps its weights in", layer.variable_dtype)
values = np.array([1.001, 70_000, 1e-8])
with np.errstate(over="ignore"):
    rounded = values.astype("float16"), values.astype("bfloat16")
for value, fine, wide in zip(values, *rounded, strict=True):
    print(f"{value:g} becomes {fine:.6g} in float16 and {float(wide):.6g} in bfloat16")

# %% [markdown]
# There are two kinds. float16 has the finer steps, but a short range: 70,000 is infinite, and 1e-8 is zero. Gradients are often that small. So with float16 the loss
# is multiplied by a large number before the gradients are computed, and they are divided by it afterwards. Keras' `LossScaleOptimizer` does that, and `train` uses it; if a gradient
# becomes infinite, it skips the step and takes a smaller number. bfloat16 has the range of float32 and coarser steps, and needs no such care. Newer cards have units for both, older ones for
# float16 only, and the oldest for neither; `train` asks the card.
#
# **XLA** is a compiler. Without it, TensorFlow runs the operations of a step one after another, and each writes its result to memory, where the next one reads it. XLA joins
# operations, such as an addition and the ReLU after it, into one. It compiles at the first step, and again for each new shape of a batch, which takes seconds to minutes.
#
# Neither should change what is learnt, but for rounding errors, which grow in training. Train a small network in each way, and compare the losses:

# %%
ways = {
    "float32": rl.training.Execution("float32"),
    "bfloat16": rl.training.Execution("mixed_bfloat16"),
    "float32, XLA": rl.training.Execution("float32", jit_compile=True),
}
few = rl.datasets.shapes(train=1000, validation=100, test=100)
keras.utils.set_random_seed(0)
small = rl.resnet_v1(few.image_shape, 8, few.num_classes, form="standard")
brief = replace(rl.recipes.ONE_CYCLE, epochs=3, batch_size=64, peak=0.1, sizes=((1, 1),))
tried = {way: rl.train(small, few, brief, execution=e, progress=False) for way, e in ways.items()}

# %% tags=["nbval-approx"]
for way, run in tried.items():
    print(f"{way:13} loss by epoch:" + "".join(f"{loss:8.3f}" for loss in run.history["loss"]))

# %% [markdown]
# They agree to about one in a hundred. And the time? It differs from machine to machine and from run to run, so what you read here is the machine at hand:

# %% tags=["nbval-time"]
for way, run in tried.items():  # Without the first epoch, which compiles.
    speed = len(few.train) / min(run.history["seconds"][1:])
    print(f"{way:13}{speed:8,.0f} pictures a second")

# %% [markdown]
# An epoch's seconds hold its validation and its saving, too; so take more pictures, your network and your batch size for a serious measurement. On the CPU that trained the
# recorded runs, bfloat16 is faster than float32, because that CPU has instructions for it, and XLA is slower; `benchmarks/results/` in the project's repository has the figures, and `benchmarks/train_step.py` measures yours with care. `rl.training.best_execution()` says what `train` takes on your machine.
#
# ## The whole length
#
# The published runs are about 200 epochs long. On a GPU, from a terminal:
#
#     python -m resnet_lib train --model resnet20v1 --dataset cifar10 --recipe one-cycle --epochs 200 --out runs/resnet20v1-200
#
# With `--recipe paper`, and without `--epochs`, it is the first paper's recipe in its 64,000 steps, 182 epochs. What may you expect?

# %%
row = rl.paper.EXAMPLE_ACCURACY.row(20)
print(f"{100 - rl.paper.TABLE_6.row(20).error:.2f} %: the paper")
print(f"{row.v1:.2f} %: the Keras example")
for published in rl.paper.RESNET20_REPRODUCTIONS.rows:
    print(f"{published.accuracy:.2f} %: {published.name} ({published.recipe})")
hours = 200 * row.v1_seconds / 3600
print(f"\nThe example took {row.v1_seconds} s an epoch on a GTX 1080 Ti: {hours:.1f} hours in all.")

# %% [markdown]
# All are ResNet-20 on CIFAR-10, trained on all 50,000 pictures, where `rl.datasets.cifar10()` keeps 5,000 for validation. They differ in form, recipe and seed, and in how the epoch was chosen. The example, for one, saves the epoch that is best on the test pictures,
# which flatters it (notebook 3); whether its published figure is of that epoch or of the last, it does not say.
#
# If a run goes wrong: if the loss becomes NaN, lower `peak`; `train` stops and says so. If the memory does not suffice, halve the batch; `train` says that, too. If training accuracy is far
# above validation accuracy, more augmentation or more decay helps; if both are low, more epochs. For pictures of your own, `rl.datasets.image_folder("pictures")` takes a folder with a folder for each class.
#
# ## Summary
#
# - Augmentation changes each picture anew in each epoch; the same seed gives the same changes.
# - The last points of accuracy come when the rate falls. A schedule must end with the time that there is, and one callback must be in charge of it.
# - A run can be cut off at any moment and goes on after its last whole epoch; with `--deterministic`, to the same bits.
# - Compare at equal cost, choose on validation pictures, look at the test pictures once, and then at what is wrong.
# - Mixed precision and XLA change the time of a step and, but for rounding, not what it learns. Measure them where you train.

# %% [markdown]
# ## Exercises
#
# Each exercise has a cell for your answer and a cell that checks it. The check names a mistake, not the answer.
# For a hint, run `rl.exercises.hint("06-steps")` in a cell of your own, and run it again for a further one.
#
# ### Exercise 1: steps and epochs
#
# *Easy, 5 minutes.*
# The paper trains for 64,000 steps of 128 pictures and divides its rate by 10 after 32,000 and 48,000 of them. It found this length with
# 45,000 of the 50,000 training pictures. Train on these 45,000, the training part of `rl.datasets.cifar10()`.
# How many steps does an epoch have (the last batch may be smaller), how many epochs are needed to reach 64,000 steps, and in which epoch,
# counted from 1, is the rate divided for the first time? Answer with a tuple of three whole numbers, in this order.

# %% tags=["exercise-06-steps"]
paper_run = ...

# %%
rl.exercises.check("06-steps", paper_run)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# steps = int(np.ceil(45_000 / 128))
# epochs = int(np.ceil(64_000 / steps))
# first = 32_000 // steps + 1
# paper_run = (steps, epochs, first)
# ```
#
# 351 batches are full; the last one of an epoch has 72 pictures, and is a step like the others. Counted from 0, the first step with the
# lower rate is step 32,000; `32_000 // steps` epochs are over by then. `rl.recipes.PAPER` trains for as many epochs as you found.
#
# </details>

# %% [markdown]
# ### Exercise 2: a rate for any run
#
# *Medium, 10 minutes.*
# Write `rate(step, steps)`: the learning rate of a step, counted from 0, in a run of so many steps.
# Over the first tenth of the steps it rises in a straight line from 0 to `PEAK`; then it follows half a cosine down and is 0 at
# `step == steps`. It need only work for `step` from 0 to `steps`, both int or float; `steps` is a multiple of 10.
# The check calls your function for runs of several lengths.

# %% tags=["exercise-06-rate"]
PEAK = 0.2


def rate(step, steps):
    """Return the learning rate of a step, counted from 0, in a run of so many steps."""
    ...


# %%
rl.exercises.check("06-rate", rate)

# %% [markdown]
# Your rate, if it is correct, or the library's, over a run of 1,000 steps:

# %%
my_rate = rl.exercises.answer("06-rate")
curve = {"rate(step, 1000)": [my_rate(step, 1000) for step in range(1001)]}
rl.plots.curves(curve, xlabel="step", ylabel="learning rate", first=0)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# PEAK = 0.2
#
#
# def rate(step, steps):
#     """Return the learning rate of a step, counted from 0, in a run of so many steps."""
#     warm_up = steps / 10
#     if step < warm_up:
#         return PEAK * step / warm_up
#     t = (step - warm_up) / (steps - warm_up)
#     return PEAK * (1 + np.cos(np.pi * t)) / 2
# ```
#
# `t` goes from 0 to 1 in the steps that are left after the warm-up. The cosine goes from 1 to -1; with 1 added, and halved, it goes
# from 1 to 0. `rl.schedules.one_cycle` with `anneal="cosine"` falls in the same way. In its warm-up it counts the steps from 1, because
# a step with a rate of 0 learns nothing.
#
# </details>

# %% [markdown]
# ### Exercise 3: the picture and its mirror image
#
# *Medium, 8 minutes.*
# Write `both(model, pictures)`: the probabilities of a trained model for a batch of pictures, each averaged over the picture and its
# mirror image, with left and right exchanged.
#
# `model` is a trained model as `rl.train` makes it: it takes pictures with values from 0 to 255 and outputs a row of probabilities for
# each, one for each class. Its preprocessing is inside. `pictures` is a uint8 array of shape (pictures, height, width, 3).
# Return an array or a tensor of shape (pictures, classes).
# The check hands your function a small model of its own and five pictures.


# %% tags=["exercise-06-flip"]
def both(model, pictures):
    """Return the mean of a model's probabilities for pictures and for their mirror images."""
    ...


# %%
rl.exercises.check("06-flip", both)

# %% [markdown]
# On your own network and test pictures, once as they are, and once with your function or the library's:

# %% tags=["nbval-accuracy"]
mean_of_both = rl.exercises.answer("06-flip")
some, truth = data.test.images[:500], data.test.labels[:500]
answers = {"as they are": trained(some, training=False), "both": mean_of_both(trained, some)}
for way, probabilities in answers.items():
    print(f"{way:12} {np.mean(np.argmax(probabilities, axis=1) == truth):.1%} of 500")

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def both(model, pictures):
#     """Return the mean of a model's probabilities for pictures and for their mirror images."""
#     mirrored = pictures[:, :, ::-1]
#     return (model(pictures, training=False) + model(mirrored, training=False)) / 2
# ```
#
# The third axis leads from left to right. A large set does not fit into one call: there, take
# `model.predict(pictures, verbose=0)`. A recipe with `flip_test=True` measures the test accuracy in this way, too, and records it as
# `test_accuracy_flip`, beside the usual one.
#
# </details>

# %% [markdown]
# ## References
#
# 1. A. Krizhevsky: *Learning Multiple Layers of Features from Tiny Images*, 2009: CIFAR-10.
# 2. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 3. The Keras example `cifar10_resnet.py`, and its documentation.
# 4. L. N. Smith, N. Topin: *Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates*, 2017, arXiv 1708.07120.
# 5. P. Micikevicius and others: *Mixed Precision Training*, 2017, arXiv 1710.03740.
