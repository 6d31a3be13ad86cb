# %% [markdown]
# # 7. Fair comparisons
#
# Afterwards you can
#
# - compare runs fairly, from their records: at equal cost, with seeds and standard errors;
# - see four mistakes that spoil a comparison, and undo them;
# - fine-tune a trained network for a task of your own.
#
# You need notebooks 1 to 6. Reading takes about 45 minutes; running every cell takes about two minutes on a CPU with 2 cores.

# %%
import resnet_lib as rl

from dataclasses import replace

import keras
import numpy as np
from keras import layers

# %% [markdown]
# ## Recorded runs
#
# These runs took too long for a notebook. Their records come with the library, each with the command that repeats it. All were trained on two cores of a CPU. ("59/200": the run was stopped after 59 of its recipe's 200 epochs.)

# %%
recorded = rl.records.recorded()
on_cifar10 = {name: run for name, run in recorded.items() if "cifar10" in name}
print(rl.records.table(on_cifar10))

# %% [markdown]
# "CPU min" are minutes of both cores together. The computer was not quiet: divided by their epochs, the first two runs took 82 and 67 CPU seconds for an epoch of the same network. So a difference in time below a fifth
# means little. "valid." is the best validation accuracy, in %; "test" and "flip" are `best` and `flip` from above. "paper" and "example" are published test accuracies for a network of this name, in the publisher's own form and after about 200 epochs; a dash
# stands where none was published. They are above our "test" by three points and more, for more reasons than one: ours had 90 epochs at most on 45,000 pictures, and these pictures are not the publisher's. They have been through JPEG once,
# which loses some of what is in 32x32 pixels. So compare our runs with each other, and with the published ones only roughly.

# %%
hour = recorded["resnet20v1-cifar10"]
print(hour.record["notes"]["command"])
print(hour.record["started"][:10], "on", hour.record["environment"]["processor"])
print("precision:", hour.record["execution"]["precision"], "(explained below)")

# %% [markdown]
# A comparison is fair if both sides have the same pictures, divided in the same way, the same effort in choosing their settings, and the same resource, which is here processor time: an epoch of one
# network may cost three times that of another. And one run a side is an example, not proof; notebook 5 has three seeds of the same run, and how far they differ.
#
# ### One-cycle against the example's recipe
#
# The first run is the one whose command you see above. The second has the network and the recipe of the Keras example [3], and was stopped after the same processor time.
# Pictures, library and precision are the same. All else differs: the form of the network, optimizer, batch size, padding, decay. With batches of 32, an epoch of the example costs half as much again, so the same time holds
# fewer of them. The example's settings are the published ones, one-cycle's are this project's. So this compares two recipes, not two schedules.

# %% tags=["figure-recipes"]
pair = {"one-cycle": hour, "example": recorded["resnet20v1-example-cifar10"]}
rl.plots.over_time(pair, title=hour.source)

# %%
for label, run in pair.items():
    done, planned = len(run.history["loss"]), run.record["recipe"]["epochs"]
    minutes = sum(run.history["cpu_seconds"]) / 60
    print(f"{label}: {done} of {planned} epochs, {minutes:.0f} CPU minutes")
    for key in ("learning_rate", "accuracy", "val_accuracy"):
        means = [part.mean() for part in np.array_split(run.history[key], 10)]
        print(f"  {key:14}" + "".join(f"{mean:8.3f}" for mean in means))

# %% [markdown]
# Each number is the mean of a tenth of its run, about ten CPU minutes. The example's rate was the same throughout: it first drops after 81 epochs, and the time was over before. On the training pictures it is
# ahead for eight tenths of the time, on validation pictures from the second tenth to the sixth. But its curves get flatter and flatter.
#
# One-cycle learns fast in the first tenth. In the second and third, around the peak, its training accuracy stands still. (Its loss even rises with the rate. The losses also hold a penalty of weight decay, a
# different one in each recipe; they cannot be compared.) Then the rate falls, and accuracy rises again, the faster the lower the rate is. One-cycle draws level on validation pictures in the
# seventh tenth, overtakes on training pictures in the ninth, and ends far ahead. While a rate is high, validation accuracy jumps from one epoch to the next, early on by more than ten points: one epoch alone says little there.
#
# So is the example's recipe a bad one? It was made for 200 epochs. With those, its rate falls, too, and its documentation has 92.16 %. A recipe that is cut off before its rate falls gives away what the fall brings. The
# one-cycle run was fitted to its time beforehand. (Its command also sets `sizes=[[1, 1]]`: full size throughout. `for_budget` does so, too, where there is time for 15 epochs.)
#
# ### What more time brings
#
# The one-cycle run again, and the same command with `--epochs 15` in the place of 90:

# %%
lengths = {"90 epochs": hour, "15 epochs": recorded["resnet20v1-15epochs-cifar10"]}
rl.plots.over_time(lengths, title=hour.source)

# %%
for label, run in {**lengths, "example, cut off": pair["example"]}.items():
    minutes, last = sum(run.history["cpu_seconds"]) / 60, run.history["val_accuracy"][-1]
    best = f"validation accuracy {run.best_accuracy:.1%} at best"
    print(f"{label:18}{minutes:5.1f} CPU minutes, {best}, {last:.1%} in the last epoch")
minutes = np.cumsum(hour.history["cpu_seconds"]) / 60
as_good = np.array(hour.history["val_accuracy"]) >= lengths["15 epochs"].best_accuracy
print(f"90 epochs are as good as 15 after {minutes[as_good][0]:.1f} CPU minutes")

# %% [markdown]
# When the short run ends, the long one's rate is still rising, and its validation accuracy is more than ten points behind. It draws level only when its own rate is down to a sixth of its peak. So decide on your time first, and let the schedule end with it: a long run that
# is stopped early has not had the part that counts. The short run is also better than what the example's recipe came to in almost five times its processor time. (And the example's accuracy there is that of one lucky epoch; look at its last.)
# Ninety epochs, planned as such, bring three points more.
#
# ### Degradation, on photographs
#
# Notebook 1 showed degradation on drawn shapes. Here are plain and residual networks of 20 and 56 layers, on CIFAR-10 reduced to 16x16 pixels, which is a
# quarter of the work. All four have one recipe: one-cycle, 12 epochs at full size, with a peak of 0.1, the paper's first rate.

# %%
networks = {"plain-20": "plain20", "ResNet-20": "resnet20v1", "plain-56": "plain56"}
networks["ResNet-56"] = "resnet56v1"
fig, axes = rl.plots.figure(
    "Two line plots by epoch: training error and validation error of plain-20, ResNet-20, plain-56 and "
    "ResNet-56. In both, plain-56 stays far above the others.",
    columns=2,
    size=(9, 3.4),
    sharey=True,
)
for number, (label, model_id) in enumerate(networks.items()):
    run = recorded[f"{model_id}-cifar10-16x16"]
    for ax, key in zip(axes, ("accuracy", "val_accuracy"), strict=True):
        errors = 100 * (1 - np.array(run.history[key]))
        style = {"color": rl.plots.COLOURS[number], "linestyle": rl.plots.LINES[number]}
        ax.plot(np.arange(1, len(errors) + 1), errors, label=label, **style)
        ax.set_xlabel("epoch")
        ax.set_title(
            "training pictures" if key == "accuracy" else "validation pictures", fontsize=10
        )
axes[0].set_ylabel("error, %")
axes[0].legend()
fig.suptitle(run.source, fontsize=10)
fig

# %% [markdown]
# The plain network with 56 layers is far behind the one with 20, on the pictures that it trains on as well: it is not overfitting. (Its curves still fall at the end. That the gap
# stays after 64,000 steps is the paper's finding.) With the skip, 56 layers learn as well as 20.
# The paper draws such curves, with test error in the place of validation error [2, figures 1 and 6]. (We look at the test pictures once, in the end. Training error is taken while the epoch runs, on
# augmented pictures, so it can lie above validation error.)
#
# ResNet-56 is no better than ResNet-20 here, a little ahead on validation pictures and a little behind on test pictures, and it takes more than twice the time: look at the table. Twelve epochs are few. After the paper's 64,000 steps on 32x32 pixels, it is ahead:

# %%
for depth in (20, 56):
    print(f"ResNet-{depth}: {rl.paper.TABLE_6.row(depth).error} % test error in the paper")

# %% [markdown]
# ### Two networks called ResNet-29 v2
#
# Notebook 4 told the paper's v2 from the widely copied one, which is wider. Which is the better one, for the same time? Both were to take about six minutes, and were given 17 and 14 epochs.
# They took longer, and not equally long:

# %%
forms = {}
for form in ("paper", "example"):
    run = forms[f"{form}'s form"] = recorded[f"resnet29v2-{form}-cifar10-16x16"]
    clock, cpu = (sum(run.history[key]) / 60 for key in ("seconds", "cpu_seconds"))
    print(
        f"{form}: {run.record['model']['trainable_parameters']:,} parameters, "
        f"{len(run.history['loss'])} epochs, {clock:.1f} minutes, {cpu:.1f} CPU minutes"
    )
rl.plots.over_time(forms, title=run.source)

# %%
size = run.record["dataset"]["sizes"][1]
best = {form: run.best_accuracy for form, run in forms.items()}
for form, accuracy in best.items():
    error = (accuracy * (1 - accuracy) / size) ** 0.5
    print(f"{form}: {accuracy:.1%} of {size:,} validation pictures, standard error {error:.1%}")

# %% [markdown]
# Look at the middle. At the same minute the paper's form is ahead for most of the time, partly because its rate falls sooner. The example's form, with 2.7 times the parameters and 14 % more processor time (no more than these times vary), ends one
# point ahead. (The losses on the left hold the penalty of weight decay, which is larger for more weights; they cannot be compared.)
#
# Is one point much? Had 5,000 other pictures been drawn for validation, each accuracy would have come out a little different, typically by its **standard error**, $\sqrt{p(1-p)/N}$ for an accuracy of $p$ on $N$ pictures. The standard error of the difference of
# two such numbers is about 0.8 points (somewhat less, as both networks saw the same pictures), and another seed would change it again. A difference below twice that is easily chance: call the two level. So are ResNet-20 and ResNet-56 above.

# %% [markdown]
# ## Photographs of hands
#
# To compare them in practice, train them. ImageNet takes far longer than a notebook can; take a small set of photographs, hand signs for the digits 0 to 5 [2], reduced to
# 64x64. A well-known experiment had another set of the same signs: 1,080 pictures for training, 120 for testing [3]. It reports:

# %%
for row in rl.paper.HAND_SIGNS.rows:
    print(f"{row.name:28}{row.epochs:4} epochs  {row.accuracy:.2f} % of 120 test pictures")

# %% [markdown]
# (The second figure is the article's; its published notebook shows 78.33 %.) It looks as if the network written by hand were the better one. But the two also
# differ in the layers on top, the learning rate, the batch size and the epochs.
#
# This project has trained on its own pictures in four ways, with one recipe: Adam, a rate that rises to 0.001 and falls to zero, 25 epochs of batches of 32. You do
# not need the pictures to look at the runs: each run left a **record**, and the records come with the library.
#
# 1. ResNet-50. Pictures are cropped and mirrored at random (**augmentation**).
# 2. What most people build in Keras: ResNet-50 without its top (pooling and dense layer; notebook 3 calls it the head) as the **backbone**, then pooling,
#    dropout and a dense layer. Without augmentation. (**Dropout** sets a part of its inputs to zero at each training step, another part each time.)
# 3. The same with augmentation.
# 4. ResNet-20 of notebook 3, with augmentation. It takes pictures of 64x64 as well.
#
# Here is the second in code. Is it another network than the first?

# %%
backbone = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
x = layers.GlobalAveragePooling2D()(backbone.output)
x = layers.Dropout(0.5)(x)
second = keras.Model(backbone.input, layers.Dense(6, activation="softmax")(x))
first = rl.resnet50((64, 64, 3), num_classes=6)
for network in (first, second):
    print(rl.count_parameters(network))

# %% [markdown]
# No. You have seen that the backbones are equal; only the dropout is new, and it has no parameters. (The recorded runs took the library's backbone with its
# beginning, so that 1, 2 and 3 begin alike.)

# %%
signs = {name: run for name, run in rl.records.recorded().items() if "signs" in name}
print(rl.records.table(signs))

# %% [markdown]
# "CPU min" are minutes of both cores together; "valid." is the best accuracy on the validation pictures, in %, by which the epoch was chosen; "test" is what this
# epoch's weights then had on the test pictures, measured once; "flip" is the same with the mirror images of the test pictures averaged in. (The last two
# columns are for CIFAR-10; notebook 6 has them.) The pictures were divided by *signer*: nobody whose hand is in the test pictures is in the
# training pictures. (Who signed is not written down with the pictures. It was inferred from the order of the photographs; `help(rl.datasets.sign_digits)`
# says how.) Divided at random, the hands of each signer would be in all parts, and the test would ask for hands that the network has seen.

# %%
sizes = signs["resnet50-signs-seed0"].record["dataset"]["sizes"]
print("pictures: {} for training, {} for validation, {} for the test".format(*sizes))

# %%
ways = {
    "ResNet-50": "resnet50-signs-seed0",
    "dropout, no augmentation": "resnet50-dropout-signs-seed0",
    "dropout, augmentation": "resnet50-dropout-augmented-signs-seed0",
    "ResNet-20": "resnet20v1-signs-seed0",
}
curves = {way: signs[name].history["val_accuracy"] for way, name in ways.items()}
rl.plots.curves(curves, ylabel="validation accuracy", title=signs[ways["ResNet-20"]].source)

# %%
for way, name in ways.items():
    history = signs[name].history
    last = history["accuracy"][-1], history["val_accuracy"][-1]
    print("{:26}last epoch: training {:.1%}, validation {:.1%}".format(way, *last))

# %% [markdown]
# The second run ends with its training pictures known by heart, and is wrong about one in ten hands that it has not seen. Augmentation gives other crops
# in every epoch. They are harder than the whole pictures of the validation; that is why a run can be right less often in training. With dropout on top,
# 25 epochs are short: by its best validation accuracy and by its test accuracy, the third run is no better than the second. Without dropout, the first is. (2 and 3 have one seed each; a few pictures more or
# less mean little.)
#
# ResNet-20 ends right about all validation pictures.
#
# **Predict.** The smallest network is the best one here. How many times smaller is it?

# %%
rl.exercises.predict("07-smallest", ...)

# %% tags=["answer"]
trained = {way: signs[name].record["model"]["trainable_parameters"] for way, name in ways.items()}
rl.exercises.compare("07-smallest", times=round(trained["ResNet-50"] / trained["ResNet-20"]))

# %% [markdown]
# How much of a difference is chance? Two of the ways were run with three seeds:

# %%
for network in ("resnet50", "resnet20v1"):
    results = [signs[f"{network}-signs-seed{seed}"].record["results"] for seed in range(3)]
    tested = np.array([result["test_accuracy_best"] for result in results])
    mean, deviation = tested.mean(), tested.std(ddof=1)
    print(f"{network:10} test {mean:.1%} on average, standard deviation {deviation:.1%}; pictures")
    print(
        f"{'':10} wrong: {[round(sizes[2] * (1 - accuracy)) for accuracy in tested]} of {sizes[2]}"
    )

# %% [markdown]
# ResNet-50 differs from seed to seed by some pictures. The gap to the small network is wider than that. On so few pictures, more parameters are no
# advantage.

# %%
record = signs["resnet50-signs-seed0"].record
answers, classes = record["results"]["test_confusion"], record["dataset"]["classes"]
rl.plots.confusion(answers, classes, title="ResNet-50, seed 0, test pictures")

# %% [markdown]
# A row for each true class, a column for each answer. Off the diagonal stand the mistakes.
#
# ## Train one yourself
#
# Each of the runs of ResNet-50 took the CPU minutes of the table. So the network that you train here is the small one, on the drawn pictures of notebook 3. (After
# `rl.set_profile("full")` in the first cell, it is ResNet-50 on the photographs, with the recipe of its record.)

# %%
keras.utils.set_random_seed(0)
if rl.profile() == "full":
    data = rl.datasets.sign_digits()
    model = rl.resnet50(data.image_shape, data.num_classes)
    recipe = rl.recipes.Recipe.from_dict(record["recipe"])
else:
    data = rl.datasets.shapes(train=3000, validation=500, test=500)
    model = rl.resnet_v1(data.image_shape, 20, form="standard")
    options = dict(augment=False, sizes=((1, 1),))  # As in notebook 3.
    recipe = replace(rl.recipes.ONE_CYCLE, epochs=4, batch_size=64, peak=0.2, **options)
run = rl.train(model, data, recipe)

# %% [markdown]
# The picture is that of notebook 3: left the loss, right the learning rate. The network has not learnt much in so few epochs, but enough for what follows.
#
# ## Four mistakes
#
# The notebooks of the experiment are public [3]. The first of them holds four mistakes that are met elsewhere, too. None of them ends in an error message. Your
# network can show what the first two do.
#
# ### Evaluating in training mode
#
# Its first cell ends in `K.set_learning_phase(1)`: training mode for good, also when it evaluates. BN then does not use what it has gathered in training,
# but the mean and variance of the batch at hand. (Keras 3 has no such switch; the mistake comes back as `model(pictures, training=True)`.)
#
# **Predict.** What does that do to the accuracy, if a batch holds many mixed pictures? If all of them are of one class? If there is only one?

# %%
rl.exercises.predict("07-training-mode", ...)  # Three accuracies, such as (0.5, 0.5, 0.5).


# %%
def accuracy(pictures, labels, training=False):
    answers = np.asarray(run.model(pictures, training=training)).argmax(axis=1)
    return (answers == labels).mean()


def in_batches(order, size):
    """The accuracy in training mode, batch by batch, with the pictures in that order."""
    pictures, labels = data.test.images, data.test.labels
    batches = np.split(order, len(order) // size)
    return np.mean([accuracy(pictures[b], labels[b], training=True) for b in batches])


# %%
kept = run.model.get_weights()
everything, number = (data.test.images, data.test.labels), len(data.test)
by_class = np.argsort(data.test.labels, kind="stable")
by_mode = {  # Measured from top to bottom.
    "inference mode": accuracy(*everything),
    "training mode, mixed batches": in_batches(np.arange(number), number // 4),
    "training mode, batches of a class": in_batches(by_class, number // data.num_classes),
    "training mode, one by one": in_batches(by_class[:: number // 100 + 1], 1),
    "inference mode again": accuracy(*everything),
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

# %% tags=["answer", "nbval-accuracy"]
right, *in_training, _ = (round(float(value), 2) for value in by_mode.values())
print(f"in inference mode: {right:.2f}")
rl.exercises.compare("07-training-mode", measured=tuple(in_training))
print("of a class, or one by one, less than half as good:", max(in_training[1:]) < right / 2)
print(f"arrays of the network that the evaluation has changed: {moved} of {len(kept)}")

# %% [markdown]
# The same network, the same pictures (one by one: every sixth of them). With mixed batches nothing seems wrong, which is why the mistake stays hidden. In a batch of one class, BN subtracts
# just what tells this class from the others. A single picture is judged by its own mean and variance. An answer must not depend on who else is in the
# batch.
#
# And there is a second damage: in Keras 3, a call in training mode also moves BN's statistics. The evaluation has changed the network, and in inference
# mode it is not what it was before: compare the last bar with the first. (`set_weights` has put the statistics back.)
#
# ### Another preprocessing than in training
#
# The pictures were divided by 255 for training. For its prediction at the end, the experiment takes a function that was made for another network,
# `preprocess_input`: it turns round the order of the colours, subtracts ImageNet's mean colour, and does *not* divide by 255. Your network divides by 255
# inside; to give it the same, the cell multiplies by 255 first. And one more mistake of this kind: to divide before the network does.

# %%
pictures = data.test.images.astype("float32")
other = keras.applications.resnet.preprocess_input(pictures.copy())  # It changes its argument.
prepared = {
    "as in training": pictures,
    "of another network": 255 * other,
    "divided by 255 twice": pictures / 255,
}
by_preparation = {name: accuracy(given, data.test.labels) for name, given in prepared.items()}
bars(by_preparation, "Bars: test accuracy with three ways of preparing the same pictures.")

# %% tags=["nbval-accuracy"]
for name, given in prepared.items():
    answers = np.asarray(run.model(given)).argmax(axis=1)
    share = np.bincount(answers).max() / len(answers)
    print(f"{name:21} accuracy {by_preparation[name]:4.0%}, its most frequent answer {share:4.0%}")

# %% [markdown]
# Divided twice, every picture is nearly black to the network, and it gives all of them the same answer. It does so without complaint, and its probabilities may
# look as certain as ever. That is why the models that `rl.train` returns hold their preprocessing themselves.
#
# ### One seed for all layers
#
# Each layer of the experiment is initialised with `glorot_uniform(seed=0)`. **Predict.** Two kernels of the same shape begin with
# the same numbers then. Roughly how many different ones are left among the 53 kernels of ResNet-50?

# %%
rl.exercises.predict("07-one-seed", ...)  # How many different kernels.


# %% tags=["answer"]
def with_seed_0(layer):
    config = layer.get_config()
    if isinstance(layer, layers.Conv2D):
        config["kernel_initializer"] = keras.initializers.GlorotUniform(seed=0)
    return type(layer).from_config(config)


one_seed = keras.models.clone_model(first, clone_function=with_seed_0)
for name, model in {"as usual": first, "seed 0": one_seed}.items():
    kernels = [np.asarray(x.kernel) for x in model.layers if isinstance(x, layers.Conv2D)]
    different = {(kernel.shape, kernel.tobytes()) for kernel in kernels}
    print(f"{name}: {len(kernels)} kernels, {len(different)} different ones")
rl.exercises.compare("07-one-seed", counted=len(different))

# %% [markdown]
# The identity blocks of a stage begin as copies of each other. A seed is there to make random numbers repeatable, not equal: set it once, for
# all (`keras.utils.set_random_seed`), as the cell that trained your network does in its first line.
#
# ### No validation pictures
#
# The experiment has no validation pictures. Any choice of the epochs, the rate or the layers on top could only be judged on the 120 test pictures whose accuracy
# is reported. How much would it flatter a network to choose the best of 25 epochs on them? Suppose that, in every epoch, it answers each picture rightly with a
# probability of 80 %.

# %%
rng = np.random.default_rng(0)
looks = rng.binomial(120, 0.8, size=(10_000, 25)) / 120
one, best = looks[:, 0], looks.max(axis=1)
low, high = np.quantile(one, (0.025, 0.975))
print(f"one epoch:       {one.mean():.1%} on average, 19 of 20 times {low:.1%} to {high:.1%}")
print(f"the best of 25:  {best.mean():.1%} on average: {best.mean() - one.mean():.1%} for nothing")

# %% [markdown]
# (Neighbouring epochs are not as independent as these draws, so it is less in practice.) The first line says something else: with 120 pictures, a difference
# of a few points between two networks means little. Decide on validation pictures, look at the test pictures once, and run more than one seed.
#
# ## Fine-tune
#
# In practice you seldom begin with random weights. You take a network that has learnt from many pictures, and train it on your few. `rl.load_trained` gives
# you one that was trained by this project:

# %%
print(rl.zoo.card("resnet20v1-cifar10"))

# %% [markdown]
# Your task is another: the ten drawn shapes, with few pictures of each. (In the full profile: the hand signs for 6 to 9.) Take everything but the last
# layer as the backbone, **freeze** it, and put a new layer on top. Only that one is trained.


# %%
if rl.profile() == "full":
    few = rl.datasets.sign_digits(classes=(6, 7, 8, 9), size=32)
else:
    few = rl.datasets.shapes(train=300, validation=1, test=500)
print(len(few.train), "pictures to train on:", few.source)


# %%
def with_new_head(backbone):
    head = layers.Dense(few.num_classes, activation="softmax")
    return keras.Model(backbone.input, head(backbone.output))


def fit(model, rate, epochs, prepared=lambda pictures: pictures):
    """Train on the few pictures; return the test accuracy."""
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(prepared(few.train.images), few.train.labels, epochs=epochs, verbose=0)
    return model.evaluate(prepared(few.test.images), few.test.labels, verbose=0)[1]


keras.utils.set_random_seed(0)
trained = rl.load_trained("resnet20v1-cifar10")
backbone = keras.Model(trained.input, trained.get_layer("head_pool").output)
backbone.trainable = False
tuned = with_new_head(backbone)
print(rl.count_parameters(tuned))
by_start = {"frozen": fit(tuned, rate=1e-2, epochs=20)}

# %% [markdown]
# The new layer begins with random weights. Were the backbone trainable from the start, large gradients from a layer that knows nothing would spoil what it
# has learnt. When the new layer has learnt something, **unfreeze** the backbone, and go on with a tenth of the rate. (`fit` compiles again: Keras reads
# `trainable` when it compiles.)
#
# BN needs a decision here. In training mode it takes the statistics of your small batches, and they overwrite its moving statistics, which were gathered from
# many pictures. To keep it in inference mode, leave it frozen: `trainable = False` on a BN layer means both, that its scale and shift stay, and inference mode.

# %%
for layer in backbone.layers:
    layer.trainable = not isinstance(layer, layers.BatchNormalization)
by_start["fine-tuned"] = fit(tuned, rate=1e-3, epochs=10)

# %% [markdown]
# Much copied code calls `backbone(inputs, training=False)` for that. In Keras 3 the outer model's `training=True` replaces it, and `fit` passes just that. See
# for yourself, with a backbone that is a single BN:

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
# And for comparison, the same network from random weights, for as many epochs. (Rates and epochs were fixed beforehand. To choose them, you would need
# validation pictures here, too.)

# %%
keras.utils.set_random_seed(0)
fresh = keras.models.clone_model(backbone)
fresh.trainable = True  # All of it: the clone has taken over what is frozen.
by_start["from random weights"] = fit(with_new_head(fresh), rate=1e-3, epochs=30)
bars(by_start, "Bars: test accuracy of frozen, fine-tuned and newly trained networks.")

# %% tags=["nbval-accuracy"]
for start, accuracy_after in sorted(by_start.items(), key=lambda item: item[1]):
    print(f"{start:20} {accuracy_after:4.0%} of the test pictures")

# %% [markdown]
# From random weights, so few drawn pictures teach the network next to nothing: of ten classes, one in ten is a guess. With features that were learnt from
# other pictures, photographs of animals and vehicles, they go a good way, although the drawn shapes look like none of these. (Other pictures, another
# order: with the hand signs of the full profile, the frozen backbone comes last. Fine-tuned, it is the best there as well.)
#
# ImageNet's weights are the usual choice, and the steps are the same. They need a connection for the first download, pooling behind the last feature map, and the
# preprocessing that goes with them. In the full profile, the next cell tries it.


# %%
def prepared(pictures):
    return keras.applications.resnet.preprocess_input(pictures.astype("float32"))


if rl.profile() == "full":
    try:
        backbone = rl.resnet50(few.image_shape, include_top=False, weights="imagenet")
    except ConnectionError as error:
        print(error)
    else:
        backbone.trainable = False
        features = layers.GlobalAveragePooling2D()(backbone.output)
        from_imagenet = with_new_head(keras.Model(backbone.input, features))
        accuracy = fit(from_imagenet, rate=1e-3, epochs=20, prepared=prepared)
        print(f"ResNet-50 with ImageNet's weights, frozen: {accuracy:.1%}")

# %% [markdown]
# ## Summary
#
# - ResNet-50: a stem that takes 224x224 to 56x56, then 3, 4, 6 and 3 bottleneck blocks. Equal weights, equal outputs: the library's is the one in `keras.applications`, and yours is the paper's.
# - Three networks go by the name: with biases, without, and with the stride on the 3x3.
# - ResNet-56 belongs to another family, with a thirtieth of the parameters. On few pictures, small networks can be the better ones.
# - Evaluate in inference mode, prepare pictures as in training, seed once, decide on validation pictures.
# - Fine-tuning: freeze, new head, unfreeze; BN stays in inference mode as long as its layers are frozen.
# %% [markdown]
# ## Exercises
#
# Each exercise has a cell for your answer and a cell that checks it. The check names a mistake, not the answer.
# For a hint, run `rl.exercises.hint("07-predict")` in a cell of your own, and run it again for a further one.

# %% [markdown]
# ### Exercise 1: the class of one picture
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
# Your function, if it is correct, or the library's, now asks the trained network about one picture of each class. Above each picture stands the network's name for it, and
# in brackets the true one.

# %%
class_of = rl.exercises.answer("07-predict")
firsts = [np.argmax(data.test.labels == label) for label in range(data.num_classes)]
rl.plots.images(
    data.test.images[firsts],
    [
        f"{data.class_names[class_of(run.model, data.test.images[first])]}\n({truth})"
        for first, truth in zip(firsts, data.class_names, strict=True)
    ],
    alt="One test picture of each class, under the name that the trained network gives it.",
)

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
# ### Exercise 2: a new head
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
# Yours, or the library's, makes the network of the section on fine-tuning ready for four other classes. Only the new Dense layer is trainable: 64 weights and a bias for each class.

# %%
made_ready = rl.exercises.answer("07-finetune")
features = keras.Model(trained.input, trained.get_layer("head_pool").input)
print(rl.count_parameters(made_ready(features, 4)))

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
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 2. A. Mavi: *A New Dataset and Proposed Convolutional Neural Network Architecture for Classification of American Sign Language Digits*, 2020, arXiv
#    2011.08927. Photographs by pupils of Ankara Ayranci Anadolu High School, Apache-2.0.
# 3. P. Dwivedi: *Understanding and Coding a ResNet in Keras*, 2019; notebooks in the folder `resnet_keras` of
#    https://github.com/priya-dwivedi/Deep-Learning.
# 4. K. He, X. Zhang, S. Ren, J. Sun: *Delving Deep into Rectifiers*, 2015, arXiv 1502.01852.
