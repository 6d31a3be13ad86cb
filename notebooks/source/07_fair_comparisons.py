# %% [markdown]
# # 7. Fair comparisons
#
# Afterwards you can
#
# - compare two ways of training at equal cost, with seeds and standard errors;
# - see four mistakes that spoil a comparison, and undo them;
# - fine-tune a trained network for a task of your own.
#
# You need notebooks 1 to 6. Reading takes about 40 minutes, the tasks about an hour and a half; running every cell takes about two minutes on a CPU with 2 cores.

# %%
import resnet_lib as rl

import time
from dataclasses import replace

import keras
import numpy as np
from keras import layers

# %% [markdown]
# ## Recorded runs
#
# These runs took too long for a notebook. Their records come with the library, each with the command that repeats it. All were trained on two cores of a CPU. "59/200" means that the run was stopped after 59 of its recipe's 200 epochs.

# %%
recorded = rl.records.recorded()
recorded.pop("resnetfast-cifar10")  # of notebook 9
on_cifar10 = {name: run for name, run in recorded.items() if "cifar10" in name}
print(rl.records.table(on_cifar10))
hour = recorded["resnet20v1-cifar10"]
print(hour.record["notes"]["command"])

# %% [markdown]
# "CPU min" are minutes of both cores together. The computer was not quiet, so that a difference in time below a fifth means little. "valid." is the best validation accuracy, in %, by which the epoch was chosen. "test" is what
# this epoch's weights then had on the test pictures, measured once. "flip" is the same, averaged over each picture and its mirror image. "paper" and "example" are published test accuracies for a network of this name.
#
# The published ones are three points and more above ours, for two reasons. Ours had 90 epochs at most on 45,000 pictures, in place of about 200 epochs. And our pictures are not the publisher's: the original archive could not be
# downloaded where these runs were trained, only a copy that had been stored as JPEG, which loses some of what is in 32x32 pixels. What that costs alone was not measured; three to four points are what it costs together with the shorter runs. So compare our runs with each
# other, and with the published ones only roughly.
#
# ## Equal cost
#
# A comparison is fair if both sides have the same pictures, divided in the same way, the same effort in choosing their settings, and the same resource. Here the resource is processor time, because an epoch of one network may cost three times that of another.
#
# The first of the next two runs is the one whose command you see above: ResNet-20 with the one-cycle recipe of notebook 6. The second is ResNet-20 in the form and with the recipe of the Keras example [2], stopped after the same processor time. Form, optimizer, batch size and decay
# differ, too. So this compares two recipes, not two schedules.

# %% tags=["figure-recipes"]
two_recipes = {"one-cycle": hour, "example": recorded["resnet20v1-example-cifar10"]}
rl.plots.over_time(two_recipes, title=hour.source)

# %%
for label, run in two_recipes.items():
    accuracies, minutes = run.history["val_accuracy"], sum(run.history["cpu_seconds"]) / 60
    print(
        f"{label:10} after 59 epochs {accuracies[58]:.1%}; after {minutes:.0f} CPU minutes, "
        f"{len(accuracies)} epochs, {accuracies[-1]:.1%}, at best {run.best_accuracy:.1%}"
    )

# %% [markdown]
# After the same number of epochs, the example is ahead. After the same time, one-cycle is, by five points and more. Which epochs you compare decides who wins, because the two spend them differently. The example's rate was the same throughout, for it first
# drops after 81 epochs. The rate of one-cycle was still far from zero at epoch 59, and the last points of accuracy arrive as it gets there: look at the middle and the right. The losses on the left cannot be compared, because each holds the penalty of its own weight decay.
#
# Is the example's recipe a bad one? It was made for 200 epochs, and with those its documentation has 92.16 %. A recipe that is cut off before its rate falls gives away what the fall brings. The same one-cycle command with `--epochs 15` shows it:

# %%
short = recorded["resnet20v1-15epochs-cifar10"]
minutes = np.cumsum(hour.history["cpu_seconds"]) / 60
as_good = np.array(hour.history["val_accuracy"]) >= short.best_accuracy
print(
    f"15 epochs: {sum(short.history['cpu_seconds']) / 60:.0f} CPU minutes, {short.best_accuracy:.1%}"
)
print(f"90 epochs are as good after {minutes[as_good][0]:.0f} CPU minutes; they end at", end=" ")
print(f"{hour.best_accuracy:.1%}")

# %% [markdown]
# The short run is better than what the example came to in five times its processor time. Decide on your time first, and let the schedule end with it.
#
# ## Standard errors
#
# Notebook 4 told the paper's v2 from the widely copied one, which is wider. Which is better, for about the same time?

# %%
for form in ("paper", "example"):
    run = recorded[f"resnet29v2-{form}-cifar10-16x16"]
    parameters, cost = run.record["model"]["trainable_parameters"], sum(run.history["cpu_seconds"])
    print(f"{form:8}{parameters:,} parameters, {len(run.history['loss'])} epochs, ", end="")
    print(f"{cost / 60:.1f} CPU minutes, test {run.record['results']['test_accuracy_best']:.2%}")

# %% [markdown]
# The example's form ends a little ahead. Is that much? Had 10,000 other pictures been drawn for the test, each accuracy would have come out a little different, typically by its **standard error**, $\sqrt{p(1-p)/N}$ for an accuracy of $p$ on $N$ pictures.
# The error of a difference is larger than either, because both numbers vary: its square is the sum of the two squares.
#
# ### Exercise: how far apart
#
# *Medium, 8 minutes.*
# Write a function that says how many standard errors of their difference lie between two accuracies `p` and `q`, from 0 to 1, each measured on `pictures` pictures. The result has no sign.


# %% tags=["exercise-07-apart"]
def apart(p, q, pictures):
    """Return how many standard errors of their difference two accuracies lie apart."""
    ...


# %%
rl.exercises.check("07-apart", apart)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def apart(p, q, pictures):
#     """Return how many standard errors of their difference two accuracies lie apart."""
#     variance = (p * (1 - p) + q * (1 - q)) / pictures
#     return abs(p - q) / variance**0.5
# ```
#
# The squares of standard errors add up, not the errors. The formula takes the two accuracies as independent. Networks that see the same pictures are wrong about many of the same ones, so their difference varies somewhat less.
#
# </details>

# %%
errors_apart = rl.exercises.answer("07-apart")


def tested(name):
    return recorded[name].record["results"]["test_accuracy_best"]


forms = [tested(f"resnet29v2-{form}-cifar10-16x16") for form in ("paper", "example")]
print(f"the two forms of v2: {errors_apart(*forms, 10_000):.1f} standard errors apart")
recipes = [tested(f"resnet20v1{recipe}-cifar10") for recipe in ("", "-example")]
print(f"the two recipes: {errors_apart(*recipes, 10_000):.1f}")

# %% [markdown]
# A difference below two standard errors is easily chance: call the two forms level, and the cheaper one has a third of the parameters. The two recipes are far apart. Another seed would change each number again. One run a side is an example, not proof.
#
# ## Degradation, on photographs
#
# Notebook 1 showed degradation on drawn shapes. Here are plain and residual networks of 20 and 56 layers, on CIFAR-10 reduced to 16x16 pixels. All four have one recipe: one-cycle, 12 epochs, with a peak of 0.1, the paper's first rate. They are compared after the same epochs, not at equal cost,
# because the question is whether depth alone does harm.

# %%
names = {"plain-20": "plain20", "plain-56": "plain56", "ResNet-20": "resnet20v1"}
networks = {label: recorded[f"{name}-cifar10-16x16"] for label, name in names.items()}
networks["ResNet-56"] = recorded["resnet56v1-cifar10-16x16"]
for label, run in networks.items():
    training, validation = (1 - run.history[key][-1] for key in ("accuracy", "val_accuracy"))
    print(
        f"{label:10} last epoch: training error {training:.1%}, validation error {validation:.1%}"
    )
learning = {label: run.history["accuracy"] for label, run in networks.items()}
rl.plots.curves(learning, ylabel="training accuracy", title=run.source)

# %% [markdown]
# The plain network with 56 layers stays far below the others, on the pictures that it trains on as well: it is not overfitting. With the skip, 56 layers learn about as well as 20. The curve of plain-56 still rises at the end; that the gap stays after 64,000 steps is
# the paper's finding [1, figure 6].
#
# ## Photographs of hands
#
# More parameters, better network? Take a small set of photographs, hand signs for the digits 0 to 5 [3], reduced to 64x64. A well-known experiment had another set of the same signs, 1,080 pictures for training and 120 for testing [4]. It reports:

# %%
for row in rl.paper.HAND_SIGNS.rows:
    print(f"{row.name:28}{row.epochs:4} epochs  {row.accuracy:.2f} % of 120 test pictures")

# %% [markdown]
# The second figure is the article's; its published notebook shows 78.33 %. It looks as if the network written by hand were the better one. But the two also differ in the layers on top, the learning rate, the batch size and the epochs.
#
# This project has trained on the set of [3] in four ways, with one recipe: Adam, a rate that rises to 0.001 and falls to zero, 25 epochs of batches of 32.
#
# 1. ResNet-50, with augmentation: pictures are cropped and mirrored at random.
# 2. What most people build in Keras: ResNet-50, pooling, **dropout**, which sets half of its inputs to zero at each training step, and a dense layer. Without augmentation.
# 3. The same with augmentation.
# 4. ResNet-20 of notebook 3, with augmentation.

# %%
signs = {name: run for name, run in recorded.items() if "signs" in name}
print(rl.records.table(signs))
sizes = signs["resnet50-signs-seed0"].record["dataset"]["sizes"]
print("pictures: {} for training, {} for validation, {} for the test".format(*sizes))

# %% [markdown]
# The pictures were divided by *signer*, which was inferred from the order of the photographs; `help(rl.datasets.sign_digits)` says how. It is often done otherwise:

# %% tags=["setup"]
signers = np.repeat(np.arange(220), 6)  # Who signed each picture: 220 people, six signs each.


def at_random(signers, rng):
    places = rng.permutation(len(signers))
    fifth = len(signers) // 5
    return places[fifth:], places[:fifth]


def in_both(signers, parts):
    tested, trained_on = (set(signers[part]) for part in parts[::-1])
    return f"{len(tested & trained_on)} of {len(tested)} signers of the test are in training, too"


# %%
print("a random split:", in_both(signers, at_random(signers, np.random.default_rng(0))))

# %% [markdown]
# ### Exercise: the hands of the test
#
# *Medium, 10 minutes.*
# That is the symptom of the function below: nearly every hand of the test has been seen in training, so the accuracy does not say what the network does with hands that it has not seen. Repair it. `signers` is an array with the number of each picture's signer, in any order. A fifth of the
# *signers*, drawn with the generator `rng`, make the test, with all of their pictures; all other pictures are for training.


# %% tags=["exercise-07-fault-split"]
def split(signers, rng):
    """Return two arrays of places in `signers`: the training part and the test part, a fifth."""
    places = rng.permutation(len(signers))
    fifth = len(signers) // 5
    return places[fifth:], places[:fifth]


# %%
rl.exercises.check("07-fault-split", split)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def split(signers, rng):
#     """Return two arrays of places in `signers`: the training part and the test part, a fifth."""
#     everyone = rng.permutation(np.unique(signers))
#     in_test = np.isin(signers, everyone[: len(everyone) // 5])
#     return np.flatnonzero(~in_test), np.flatnonzero(in_test)
# ```
#
# The random draw is over what must stay together. Scikit-learn calls that `GroupShuffleSplit`.
#
# </details>

# %%
by_signer = rl.exercises.answer("07-fault-split")
print("split by signer:", in_both(signers, by_signer(signers, np.random.default_rng(0))))

# %% [markdown]
# Now the runs. Look at where each curve ends.

# %%
ways = {
    "ResNet-50": "resnet50-signs-seed0",
    "dropout, no augmentation": "resnet50-dropout-signs-seed0",
    "dropout, augmentation": "resnet50-dropout-augmented-signs-seed0",
    "ResNet-20": "resnet20v1-signs-seed0",
}
curves = {way: signs[name].history["val_accuracy"] for way, name in ways.items()}
for way, name in ways.items():
    print(f"{way:26}last epoch: training {signs[name].history['accuracy'][-1]:.1%}", end="")
    print(f", validation {curves[way][-1]:.1%}")
rl.plots.curves(curves, ylabel="validation accuracy", title=signs[name].source)

# %% [markdown]
# The second run ends with its training pictures known by heart, and is wrong about one in ten hands that it has not seen. Augmented pictures are harder than the whole pictures of the validation; that is why a run can be right less often in training. ResNet-20 ends right about all
# validation pictures.
#
# **Predict.** The smallest network is the best one here. How many times fewer parameters has it than ResNet-50? And how many times fewer multiply-adds for a picture?

# %%
rl.exercises.predict("07-smallest", ...)  # Two numbers, such as (10, 10).

# %% tags=["answer"]
first = rl.resnet50((64, 64, 3), num_classes=6)
small = rl.resnet_v1((64, 64, 3), 20, num_classes=6, form="standard")
for network in (first, small):
    print(f"{network.name}: last feature map {rl.inspection.feature_maps(network)[-1]}")
parameters = [rl.count_parameters(network).trainable for network in (first, small)]
work = [rl.inspection.count_multiply_adds(network) for network in (first, small)]
ratios = tuple(round(large / little) for large, little in (parameters, work))
rl.exercises.compare("07-smallest", parameters_and_multiply_adds=ratios)

# %% [markdown]
# ResNet-50 shrinks 64x64 pixels to a map of 2x2, because its stem was made for 224x224; ResNet-20 keeps 16x16 and computes at many more places. That is why a network with so many fewer parameters still needs half as many multiply-adds. Resolution and size change together here. These runs say that ResNet-20 is the better choice for these
# pictures. They do not say that fewer parameters are better; for that, a ResNet-50 that keeps larger maps, such as the project of notebook 5 builds, would have to be trained as well, and it was not.
#
# How much of the gap is chance? These two ways were run with three seeds:

# %%
for network in ("resnet50", "resnet20v1"):
    results = np.array([tested(f"{network}-signs-seed{seed}") for seed in range(3)])
    wrong = [round(sizes[2] * (1 - accuracy)) for accuracy in results]
    error = results.std(ddof=1) / 3**0.5
    print(f"{network:10} wrong: {wrong} of {sizes[2]} pictures; mean {results.mean():.1%}", end="")
    print(f", standard error of the mean {error:.1%}")

# %% [markdown]
# The spread of the seeds has a standard error as well: the standard deviation over the root of their number. ResNet-50 differs from seed to seed by a picture or two; the gap to the small network is many times wider.
#
# ### Exercise: which would you ship
#
# *Easy, 6 minutes.*
# Judge three pairs of runs from the two tables above, the figures for `valid.`, `test` and `flip` and the numbers of pictures: 10,000 test pictures of CIFAR-10, 5,000 for validation; 156 and 120 of hands. Each run has one seed. Which one is shown to have the higher accuracy: "first", "second", or neither, "level"?
#
# 1. `resnet20v1-cifar10`, one-cycle, or `resnet20v1-example-cifar10`, at equal cost
# 2. `resnet20v1-cifar10-16x16` or `resnet56v1-cifar10-16x16`, after 12 epochs each
# 3. `resnet50-dropout-signs-seed0`, without augmentation, or `resnet50-dropout-augmented-signs-seed0`

# %% tags=["exercise-07-ship"]
ship = (..., ..., ...)

# %%
rl.exercises.check("07-ship", ship)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# ship = ("first", "level", "level")
# ```
#
# The first pair is almost 12 standard errors apart. In the second, the test pictures speak for one network and the validation pictures for the other, each by about one standard error. In the third, 3 of 156 pictures speak for the run without augmentation, and the column "flip" reverses the two: 81.4 against 89.7 %. The run
# without augmentation has never seen a mirrored hand. Where accuracy is level, ship what is cheaper.
#
# </details>

# %% [markdown]
# So beware of one column: "test" and "flip" put runs 2 and 3 in opposite orders. Only a difference that outlasts another seed, other pictures and another fair measure is worth an explanation.

# %% [markdown]
# ## Train one yourself
#
# The network that you train here is the small one, on the drawn pictures of notebook 3. After `rl.set_profile("full")` in the first cell, it is ResNet-50 on the photographs, with the recipe of its record.

# %%
keras.utils.set_random_seed(0)
if rl.profile() == "full":
    data = rl.datasets.sign_digits()
    model = rl.resnet50(data.image_shape, data.num_classes)
    recipe = rl.recipes.Recipe.from_dict(signs["resnet50-signs-seed0"].record["recipe"])
else:
    data = rl.datasets.shapes(train=5000, validation=500, test=500)
    model = rl.resnet_v1(data.image_shape, 20, form="standard")
    options = dict(augment=False, sizes=((1, 1),))  # As in notebook 3.
    recipe = replace(rl.recipes.ONE_CYCLE, epochs=5, batch_size=64, peak=0.2, **options)
run = rl.train(model, data, recipe)

# %% [markdown]
# The picture is that of notebook 3: left the loss, right the learning rate.
#
# ## Four mistakes
#
# The notebooks of the experiment are public [4]. The first of them holds four mistakes that are met elsewhere, too. None of them ends in an error message.
#
# ### Evaluating in training mode
#
# Its first cell ends in `K.set_learning_phase(1)`: training mode for good, also when it evaluates. BN then does not use what it has gathered in training, but the mean and variance of the batch at hand. Keras 3 has no such switch; the mistake comes back as `model(pictures, training=True)`. This is your network in inference
# mode:


# %% tags=["nbval-accuracy"]
def accuracy(pictures, labels, training=False):
    answers = np.asarray(run.model(pictures, training=training)).argmax(axis=1)
    return (answers == labels).mean()


right = accuracy(data.test.images, data.test.labels)
print(f"in inference mode: {right:.0%} of the test pictures")

# %% [markdown]
# **Predict.** What is it in training mode, if a batch holds many mixed pictures? If all of them are of one class? If there is only one?

# %%
rl.exercises.predict("07-training-mode", ...)  # Three accuracies, such as (0.5, 0.5, 0.5).


# %%
def in_batches(order, size):
    """The accuracy in training mode, batch by batch, with the pictures in that order."""
    pictures, labels = data.test.images, data.test.labels
    batches = np.split(order, len(order) // size)
    return np.mean([accuracy(pictures[b], labels[b], training=True) for b in batches])


kept, number = run.model.get_weights(), len(data.test)
by_class = np.argsort(data.test.labels, kind="stable")
by_mode = {  # Measured from top to bottom.
    "inference mode": right,
    "training mode, mixed batches": in_batches(np.arange(number), number // 4),
    "training mode, batches of a class": in_batches(by_class, number // data.num_classes),
    "training mode, one by one": in_batches(by_class[:: number // 100 + 1], 1),
    "inference mode again": accuracy(data.test.images, data.test.labels),
}
now = run.model.get_weights()
moved = sum(not np.array_equal(a, b) for a, b in zip(kept, now, strict=True))
run.model.set_weights(kept)


# %% tags=["answer"]
def bars(numbers, alt):
    fig, ax = rl.plots.figure(alt, size=(6.5, 0.6 + 0.4 * len(numbers)))
    drawn = ax.barh(list(numbers), list(numbers.values()), color=rl.plots.COLOURS[0])
    ax.bar_label(drawn, fmt="%.2f", padding=3)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("test accuracy")
    return fig


bars(by_mode, "Bars: the test accuracy of one network in five ways of evaluating it.")

# %% tags=["answer", "nbval-time"]
_, *in_training, _ = (round(float(value), 2) for value in by_mode.values())
rl.exercises.compare("07-training-mode", measured=tuple(in_training))

# %% tags=["answer"]
print("mixed batches, as good but for 0.05:", abs(in_training[0] - right) < 0.05)
print("of a class, or one by one, less than half as good:", max(in_training[1:]) < right / 2)
print(f"arrays of the network that the evaluation has changed: {moved} of {len(kept)}")

# %% [markdown]
# The first four bars are of one network and the same pictures, except that only every sixth picture was judged one by one. With mixed batches nothing seems wrong, which is why the mistake stays hidden. In a batch of one class, BN subtracts just what tells this class from the others. A single picture is judged by its own mean and variance. An answer must not depend on
# who else is in the batch.
#
# There is a second damage. A call in training mode also moves BN's statistics, so the evaluation has changed the network: compare the last bar with the first.
#
# The 86.67 % of the experiment were measured in this way. If its batches were mixed, the figure is off by a little, as your second bar is. Nobody can say by how much, because the network was not published. But it is no property of the network alone: with other neighbours in the batch, the same network would
# have had another accuracy.
#
# ### Another preprocessing than in training
#
# Your network divides pixels by 255 inside. For its prediction at the end, the experiment takes a function that was made for another network, `preprocess_input`. It turns round the order of the colours and subtracts ImageNet's mean colour. First do it right.
#
# ### Exercise: the class of one picture
#
# *Medium, 8 minutes.*
# Write a function that says which class a trained model gives one picture.
#
# `model` is a trained model as `rl.train` makes it, the `model` of a run. It takes a batch of pictures with values from 0 to 255, of
# shape (pictures, height, width, 3), and outputs a row of probabilities for each picture, one for each class. Its preprocessing is
# inside. `picture` is *one* picture, a uint8 array of shape (height, width, 3), of the size that the model takes.
# Return the number of the most probable class, counted from 0, as an int.
# The check hands your function a small model of its own and eight pictures.


# %% tags=["exercise-07-predict"]
def predict_class(model, picture):
    """Return the number of the class that is most probable for a picture, as an int."""
    ...


# %%
rl.exercises.check("07-predict", predict_class)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def predict_class(model, picture):
#     """Return the number of the class that is most probable for a picture, as an int."""
#     batch = picture[np.newaxis]
#     probabilities = model(batch, training=False)
#     return int(np.argmax(probabilities[0]))
# ```
#
# One picture is a batch of one. Nothing else happens to it: the model scales it itself. `model.predict(batch, verbose=0)` gives
# the same probabilities.
#
# </details>

# %% [markdown]
# Now hand it the test pictures as they are, then divided by 255 once too often, and last as `preprocess_input` makes them, with 255 in front because your network divides by it.

# %% tags=["nbval-time"]
class_of = rl.exercises.answer("07-predict")
pictures, labels = data.test.images[:200].astype("float32"), data.test.labels[:200]


def answered(name, given):
    print(f"{name:21} ", end="", flush=True)
    answers = np.array([class_of(run.model, picture) for picture in given])
    share = np.bincount(answers).max() / len(answers)
    right = np.mean(answers == labels[: len(answers)])
    print(f"accuracy {right:4.0%}, its most frequent answer {share:4.0%}")


answered("as in training", pictures)
answered("divided by 255 twice", pictures[:50] / 255)

# %% tags=["nbval-time"]
other = keras.applications.resnet.preprocess_input(pictures[:50].copy())  # It changes it.
answered("of another network", 255 * other)  # Of such pictures no two trainings say the same.

# %% [markdown]
# Divided twice, every picture is nearly black to the network, and it gives all of them the same answer, without complaint. That is why the models that `rl.train` returns hold their preprocessing themselves.
#
# ### One seed for all layers
#
# Each layer of the experiment is initialised with `glorot_uniform(seed=0)`. **Predict.** Two kernels of the same shape begin with the same numbers then. Roughly how many different ones are left among the 53 kernels of ResNet-50?

# %%
rl.exercises.predict("07-one-seed", ...)  # How many different kernels.


# %% tags=["answer"]
def with_seed_0(layer):
    config = layer.get_config()
    if isinstance(layer, layers.Conv2D):
        config["kernel_initializer"] = keras.initializers.GlorotUniform(seed=0)
    return type(layer).from_config(config)


one_seed = keras.models.clone_model(first, clone_function=with_seed_0)
for name, network in {"as usual": first, "seed 0": one_seed}.items():
    kernels = [np.asarray(x.kernel) for x in network.layers if isinstance(x, layers.Conv2D)]
    different = {(kernel.shape, kernel.tobytes()) for kernel in kernels}
    print(f"{name}: {len(kernels)} kernels, {len(different)} different ones")
rl.exercises.compare("07-one-seed", counted=len(different))

# %% [markdown]
# The identity blocks of a stage begin as copies of each other. A seed is there to make random numbers repeatable, not equal: set it once, for all, with `keras.utils.set_random_seed`.
#
# ### No validation pictures
#
# The experiment has no validation pictures. Any choice of the epochs, the rate or the layers on top could only be judged on the 120 test pictures whose accuracy is reported.
#
# **Predict.** Suppose that a network answers each picture rightly with a probability of 80 %, in every epoch, and you report the best of 25 epochs on 120 test pictures. By how many points does that flatter it?

# %%
rl.exercises.predict("07-best-of", ...)  # Points.

# %% tags=["answer"]
rng = np.random.default_rng(0)
looks = rng.binomial(120, 0.8, size=(10_000, 25)) / 120
one, best = looks[:, 0], looks.max(axis=1)
low, high = np.quantile(one, (0.025, 0.975))
print(f"one epoch: {one.mean():.1%} on average, 19 of 20 times {low:.1%} to {high:.1%}")
rl.exercises.compare("07-best-of", points=round(100 * (best.mean() - one.mean()), 1))

# %% [markdown]
# Neighbouring epochs are not as independent as these draws, so it is less in practice. The first line says something else: on 120 pictures, a difference of a few points between two networks means little. Decide on validation pictures, look at the test pictures once.
#
# ## Fine-tune
#
# In practice you seldom begin with random weights. You take a network that has learnt from many pictures, and train it on your few. Your task is the ten drawn shapes, with 300 pictures; in the full profile it is the hand signs for 6 to 9. `rl.load_trained` gives you a network that this project trained on CIFAR-10.
# All but its head is the **backbone**.

# %%
if rl.profile() == "full":
    few = rl.datasets.sign_digits(classes=(6, 7, 8, 9), size=32)
else:
    few = rl.datasets.shapes(train=300, validation=1, test=500)
print(len(few.train), "pictures to train on:", few.source)
trained = rl.load_trained("resnet20v1-cifar10")
backbone = keras.Model(trained.input, trained.get_layer("head_pool").input)
print("the backbone outputs", backbone.output_shape[1:])

# %% [markdown]
# **Freeze** the backbone and put a new head on top. The head begins with random weights; were the backbone trainable from the start, large gradients from a layer that knows nothing would spoil what it has learnt.
#
# BN needs a decision here. In training mode it takes the statistics of your small batches, and they overwrite its moving statistics, which were gathered from many pictures. `trainable = False` on a BN layer means both, that its scale and shift stay, and inference mode.
#
# ### Exercise: a new head
#
# *Hard, 12 minutes.*
# Write a function that makes a trained network ready for other classes.
#
# `backbone` is a Keras model without a head, such as `rl.resnet50((64, 64, 3), include_top=False)`: it takes pictures of shape (batch,
# height, width, 3) and outputs a feature map of shape (batch, height', width', channels). Return a new `keras.Model` that takes the
# same pictures, as they are, and does three things:
#
# - It passes them through the backbone, with the weights that the backbone has. All of these are frozen, and batch normalisation uses its
#   moving statistics in training, too.
# - It takes the mean of each channel over height and width.
# - One Dense layer with a softmax outputs `num_classes` probabilities. The weights of this layer are the only ones that can be trained.
#
# The check hands your function a small backbone with random weights. It does not train.


# %% tags=["exercise-07-finetune"]
def for_fine_tuning(backbone, num_classes):
    """Return a model: the frozen backbone, then pooling and a Dense layer that can be trained."""
    ...


# %%
rl.exercises.check("07-finetune", for_fine_tuning)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def for_fine_tuning(backbone, num_classes):
#     """Return a model: the frozen backbone, then pooling and a Dense layer that can be trained."""
#     backbone.trainable = False
#     inputs = keras.Input(backbone.input_shape[1:])
#     features = layers.GlobalAveragePooling2D()(backbone(inputs))
#     outputs = layers.Dense(num_classes, activation="softmax")(features)
#     return keras.Model(inputs, outputs)
# ```
#
# `trainable = False` freezes each layer of the backbone. Keras runs a frozen batch normalisation in inference mode, also while the
# model trains.
#
# </details>

# %% [markdown]
# Train the network that your function makes.


# %%
def fit(model, rate, epochs, prepared=lambda pictures: pictures):
    """Train on the few pictures; return the accuracy on them and on the test pictures."""
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(prepared(few.train.images), few.train.labels, epochs=epochs, verbose=0)
    parts = (few.train, few.test)
    return [model.evaluate(prepared(p.images), p.labels, verbose=0)[1] for p in parts]


made_ready = rl.exercises.answer("07-finetune")
keras.utils.set_random_seed(0)
tuned = made_ready(backbone, few.num_classes)
print(rl.count_parameters(tuned))
by_start = {"frozen": fit(tuned, rate=1e-2, epochs=20)}
print("frozen: trained for 20 epochs")

# %% [markdown]
# When the new layer has learnt something, **unfreeze** the backbone, all but BN, and go on with a tenth of the rate. `fit` compiles again, because Keras reads `trainable` when it compiles.


# %%
def unfreeze(model, but=()):
    """Let all layers be trained but those of a class, in the models within a model, too."""
    model.trainable = True
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            unfreeze(layer, but)
        else:
            layer.trainable = not isinstance(layer, but)


unfreeze(tuned, but=layers.BatchNormalization)
print(rl.count_parameters(tuned))
by_start["fine-tuned"] = fit(tuned, rate=1e-3, epochs=10)
print("fine-tuned: trained for 10 epochs more")

# %% [markdown]
# Much copied code calls `backbone(inputs, training=False)` for BN. In Keras 3 the outer model's `training=True` replaces it, and `fit` passes just that. See for yourself, with a backbone that is a single BN:

# %%
start = keras.Input((8, 8, 3))
part = keras.Model(start, layers.BatchNormalization()(start))
whole = keras.Model(start, layers.Flatten()(part(start, training=False)))
noise = np.random.default_rng(0).normal(3, 2, size=(32, 8, 8, 3))
for trainable in (True, False):
    part.trainable = trainable
    same = np.allclose(whole(noise, training=True), whole(noise, training=False))
    print(f"part(..., training=False), part.trainable={trainable}: in inference mode: {same}")

# %% [markdown]
# For comparison, the same network from random weights, for as many epochs. Rates and epochs were fixed beforehand. To choose them, you would need validation pictures here, too.

# %% tags=["nbval-time"]
keras.utils.set_random_seed(0)
fresh = made_ready(keras.models.clone_model(backbone), few.num_classes)
unfreeze(fresh)
print("from random weights: 30 epochs begin", flush=True)
by_start["from random weights"] = fit(fresh, rate=1e-3, epochs=30)
for start, (on_training, on_test) in by_start.items():
    print(f"{start:20} {on_training:4.0%} of the training pictures, {on_test:4.0%} of the test")

# %% [markdown]
# From random weights, the network ends right about all of its 300 training pictures and about one in ten of the others, which is a guess: the clearest overfitting of this course. With features that were learnt from photographs of animals and vehicles, the same few pictures go a good way, although the drawn shapes look like none
# of these. Other pictures give another order: with the hand signs of the full profile, the frozen backbone comes last. Fine-tuned, it is the best there as well.
#
# ImageNet's weights are the usual choice, and the steps are the same. They need a connection for the first download, and the preprocessing that goes with them. In the full profile, the next cell tries it.


# %%
def as_imagenet(pictures):
    return keras.applications.resnet.preprocess_input(pictures.astype("float32"))


if rl.profile() == "full":
    try:
        large = rl.resnet50(few.image_shape, include_top=False, weights="imagenet")
    except ConnectionError as error:
        print(error)
    else:
        from_imagenet = made_ready(large, few.num_classes)
        _, on_test = fit(from_imagenet, rate=1e-3, epochs=20, prepared=as_imagenet)
        print(f"ResNet-50 with ImageNet's weights, frozen: {on_test:.1%}")

# %% [markdown]
# ## Summary
#
# - Fair means: the same pictures, the same processor time, the same effort, and a schedule that ends with its time.
# - Below two standard errors, call it level. One run a side is an example; three seeds begin to be evidence.
# - Divide by what must stay together: signers, not pictures. Decide on validation pictures, look at the test once.
# - Evaluate in inference mode, prepare pictures as in training, set one seed once.
# - Fine-tuning: freeze, new head, unfreeze; BN stays in inference mode as long as its layers are frozen.

# %% [markdown]
# ## Project: a comparison of your own
#
# *Hard, 30 minutes.*
# Compare two ways of training on small pictures: drawn rings and crosses of 16x16 pixels. `result` below trains a network, which takes some seconds, and returns its seed, its accuracy on 500 test pictures and its CPU seconds. It is handed a function that builds the network, the rate of Adam, the epochs and the seed.
#
# Choose two ways that differ in one thing: two rates, a rate that falls and one that does not, two depths, `rl.plain_net` and `rl.resnet_v1`. Write down which one you expect to win. Then hand over `(one_way, other_way, better)`: two lists of results, and "first", "second" or "level".
# The check asks for what this notebook asks for: three seeds or more a side, costs that differ by a third at most, and the conclusion that the figures allow. With so few seeds, take less than two standard errors of the difference for level, more than three for proof; between the two, either may stand.
# It prints how far apart the means are. The record here is a gap of 28.3 points, 9.3 standard errors, at equal cost. A fair comparison that ends level is as good.


# %% tags=["setup"]
def rings_and_crosses(split):
    """Return the pictures of a ring or a cross, at half their size, and 0 or 1 for each."""
    chosen = np.isin(split.labels, (1, 6))
    return split.images[chosen][:, ::2, ::2] / 255, split.labels[chosen] == 6


drawn = rl.datasets.shapes(train=5000, validation=1, test=2500)
to_train, to_test = rings_and_crosses(drawn.train), rings_and_crosses(drawn.test)


def result(build, rate, epochs, seed):
    """Train what `build` returns; return (seed, test accuracy, CPU seconds)."""
    keras.utils.set_random_seed(seed)
    model, start = build(), time.process_time()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # Keras' 0.99 is too slow for so few steps.
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*to_train, batch_size=50, epochs=epochs, verbose=0)
    cost = time.process_time() - start
    accuracy = model.evaluate(*to_test, batch_size=500, verbose=0)[1]
    print(f"seed {seed}: accuracy {accuracy:.1%}, {cost:.1f} CPU seconds")
    return seed, accuracy, cost


# %% tags=["exercise-07-project"]
one_way, other_way, better = ..., ..., ...

# %%
rl.exercises.check("07-project", (one_way, other_way, better))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def resnet8():
#     return rl.resnet_v1((16, 16, 3), 8, num_classes=2, form="standard")
#
#
# def falling(rate):
#     return keras.optimizers.schedules.CosineDecay(rate, decay_steps=60)  # 3 epochs of 20 steps.
#
#
# one_way = [result(resnet8, falling(0.01), epochs=3, seed=seed) for seed in range(3)]
# other_way = [result(resnet8, falling(0.0003), epochs=3, seed=seed) for seed in range(3)]
# better = "first"
# ```
#
# Only the first rate differs; with so few steps, the small one comes nowhere. A rate of 0.01 that does *not* fall was 6.6 points behind the one that does, on the computer of this record: 1.1 standard errors, with single runs between 70 and 86 %. So that comparison ends level, however
# plausible its result.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: [*Deep Residual Learning for Image Recognition*](https://arxiv.org/abs/1512.03385), 2015.
# 2. The Keras authors: [*Trains a ResNet on the CIFAR10 dataset*](https://github.com/keras-team/keras/blob/2.3.1/examples/cifar10_resnet.py), the example that most copies come from.
# 3. A. Mavi: [*A New Dataset and Proposed Convolutional Neural Network Architecture for Classification of American Sign Language Digits*](https://arxiv.org/abs/2011.08927), 2020. Photographs by pupils of Ankara Ayranci Anadolu High School, Apache-2.0.
# 4. P. Dwivedi: *Understanding and Coding a ResNet in Keras*, 2019; [its notebooks](https://github.com/priya-dwivedi/Deep-Learning/tree/master/resnet_keras).
