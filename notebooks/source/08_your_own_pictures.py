# %% [markdown]
# # 8. Your own pictures
#
# Afterwards you can
#
# - look a folder of pictures over before you train on it, and find what would spoil the result;
# - fine-tune a trained network, and say what has to stay frozen, and why;
# - say whether the result is any good, how sure it may be, and what it looked at;
# - ask it about a new picture, and hand it on as a file that needs neither this library nor Keras.
#
# You need notebooks 1 to 3, 6 and 7. Reading takes about an hour, the tasks about an hour; running every cell takes about two minutes on a CPU with 2 cores.

# %%
import resnet_lib as rl

import io
import json
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

# %% [markdown]
# The pictures are drawn: four of the shapes that you know, 60 of each, saved as phones and web pages do, in several sizes and kinds of file. Some faults are put in on purpose. To go through the notebook with pictures of your own, change one line: `mine = "your/pictures"`, a folder that has a folder for each class. What is said about the results then holds for the drawn ones only.

# %%
mine = None

# %% tags=["setup"]
work = Path(tempfile.mkdtemp())
CLASSES = ("arrow", "circle", "heart", "star")


def draw(folder, classes=CLASSES, each=60, seed=0):
    """Save drawn shapes as files, a folder for each class."""
    data = rl.datasets.shapes(train=10 * each, seed=seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        chosen = data.train.labels == data.class_names.index(name)
        for place, pixels in enumerate(data.train.images[chosen]):
            side, kind = (64, 96, 160)[place % 3], ("jpg", "png")[place % 2]
            picture = Image.fromarray(pixels).resize((side, side))
            picture.save(folder / name / f"{name}{place:02}.{kind}")
    return folder


def spoil(folder):
    """Add what is found in folders of pictures."""
    Image.open(folder / "circle/circle00.jpg").resize((80, 80)).save(folder / "heart/copy.png")
    Image.new("RGB", (64, 64), "grey").save(folder / "arrow/empty.png")
    Image.open(folder / "star/star01.png").convert("CMYK").save(folder / "star/printed.jpg")
    (folder / "star/cut.jpg").write_bytes((folder / "star/star00.jpg").read_bytes()[:300])
    (folder / "star/notes.txt").write_text("from the party")
    return folder


# %%
found = rl.datasets.survey(mine or spoil(draw(work / "found")))
print(found)

# %% [markdown]
# A line for each class, and one for each thing that is worth a look. One picture is called a circle here and a heart there, so that one of the two labels is wrong. One is there twice, saved for print. One cannot be read; one shows nothing. A notes file is no picture, and is left out. Look at the doubtful ones:

# %%
groups = {"alike": [path for group in found.alike for path in group], "empty": found.blank}
doubtful = [(why, path) for why, paths in groups.items() for path in paths][:20]
rl.plots.images(
    np.array([rl.datasets.images.load(path, 64) for _, path in doubtful]),
    [f"{why}: {path.parent.name}" for why, path in doubtful],
    columns=5,
    alt="Five pictures: a circle that is called circle and heart, a star twice, a grey square.",
)

# %% [markdown]
# Nothing here deletes a file; that is for you to do, picture by picture. The drawn set is drawn anew, without the faults, and read as a set with its three parts. The pictures become 32x32 pixels, what the network below was trained on.

# %%
folder = mine or draw(work / "shapes")
data = rl.datasets.image_folder(folder, size=32, validation=0.2, test=0.2)
data

# %% [markdown]
# ### Exercise: twins in two parts
#
# *Medium, 12 minutes.*
# The worst double is one of which one copy is trained on and the other tested with. Find them. `train` and `test` are uint8 arrays of shape (pictures, height, width, 3). Two pictures are twins if the root of the mean square of their differences is at most `most`, in grey levels. Return the places in `test` of those that have a twin in `train`.


# %% tags=["exercise-08-twins"]
def twins(train, test, most):
    """Return the places in `test` of pictures with a twin in `train`."""
    ...


# %%
rl.exercises.check("08-twins", twins)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def twins(train, test, most):
#     """Return the places in `test` of pictures with a twin in `train`."""
#     found = []
#     for place, picture in enumerate(test):
#         apart = train.astype(float) - picture
#         if np.sqrt((apart**2).mean(axis=(1, 2, 3))).min() <= most:
#             found.append(place)
#     return np.array(found, int)
# ```
#
# Without `astype`, the difference of two uint8 numbers is taken modulo 256, and 3 - 4 is 255.
#
# </details>

# %%
twins_of = rl.exercises.answer("08-twins")
print("twins in the test:", len(twins_of(data.train.images, data.test.images, most=20)))

# %% [markdown]
# There should be none. Noise is where JPEG saves, and so the copy of a noisy picture may differ by some 15 grey levels, hence the 20. At the end of the notebook you meet such copies.

# %% [markdown]
# ## The accuracy of a guess
#
# An accuracy means nothing by itself. The first number to know is that of somebody who has looked at the labels of the training part, and never at a picture.
#
# ### Exercise: the baseline
#
# *Easy, 5 minutes.*
# Return the accuracy on the test part, from 0 to 1, of always naming the class that is most frequent in training. Both arguments are arrays of whole numbers.


# %% tags=["exercise-08-baseline"]
def baseline(train_labels, test_labels):
    """Return the test accuracy of always naming the class that is most frequent in training."""
    ...


# %%
rl.exercises.check("08-baseline", baseline)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def baseline(train_labels, test_labels):
#     """Return the test accuracy of always naming the class that is most frequent in training."""
#     return np.mean(test_labels == np.bincount(train_labels).argmax())
# ```
#
# Whoever guesses has not seen the test labels, and so cannot count them.
#
# </details>

# %%
guess = rl.exercises.answer("08-baseline")(data.train.labels, data.test.labels)
print(f"always the most frequent class: {guess:.0%}")

# %% [markdown]
# ## From scratch, or from what another has learnt
#
# A ResNet-20 from scratch, as in notebook 6, beside one that is fine-tuned: it comes with the library and was trained on CIFAR-10. `finetune` puts a head for your classes on it and trains this head alone first. Then it trains the last two stages with it, at a small rate.

# %% tags=["nbval-time"]
keras.utils.set_random_seed(0)
network = rl.resnet_v1((32, 32, 3), 20, data.num_classes, form="standard")
recipe = replace(rl.recipes.ONE_CYCLE, epochs=12, batch_size=32)
scratch = rl.train(network, data, recipe, progress=False)
run = rl.finetune(data, base="resnet20v1-cifar10", out=work / "run", progress=False)
for name, each in {"from scratch": scratch, "fine-tuned": run}.items():
    seconds = sum(each.history["cpu_seconds"])
    print(f"{name:13}{each.record['results']['test_accuracy_best']:4.0%}, {seconds:3.0f} CPU s")

# %% [markdown]
# The network that knows edges, corners and colours from other pictures learns from yours what they are too few to teach one that begins with nothing. Nor is it a matter of time: give the first one 20 epochs, and see. Without `progress=False`, a run that is no better than a guess says so, and what to try. Shown or printed, a run is a card:

# %% tags=["nbval-time"]
run

# %% [markdown]
# The line of the result is that of the last epoch. Below it stands what is kept: the weights of the epoch that was best on the validation pictures. If you took the larger of the two test accuracies, you would choose by the test. The last line is explained further down.
#
# ### What stays frozen
#
# To set the upper layers free is one line, and easily one layer too many. Batch normalisation keeps the mean and variance of 45,000 pictures. If it is trained, it takes those of each small batch of yours, and overwrites its own.
#
# ### Exercise: a layer too many
#
# *Medium, 6 minutes.*
# The function sets free the layers from the one named `first` on, batch normalisation among them. Repair it.


# %% tags=["exercise-08-fault-frozen"]
def set_free(model, first):
    """Let the layers from the one named `first` on be trained, but for batch normalisation."""
    free = False
    for layer in model.layers:
        free = free or layer.name == first
        layer.trainable = free


# %%
rl.exercises.check("08-fault-frozen", set_free)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def set_free(model, first):
#     """Let the layers from the one named `first` on be trained, but for batch normalisation."""
#     free = False
#     for layer in model.layers:
#         free = free or layer.name == first
#         layer.trainable = free and not isinstance(layer, layers.BatchNormalization)
# ```
#
# In Keras, a frozen BatchNormalization also runs in inference mode, whatever `fit` says.
#
# </details>

# %% [markdown]
# What has `finetune` left as it was? Compare the weights with those of the network that it began with:

# %%
base = rl.load_trained("resnet20v1-cifar10")
for kind in (layers.BatchNormalization, layers.Conv2D):
    before = [layer for layer in base.layers if isinstance(layer, kind)]
    after = [run.model.get_layer(layer.name) for layer in before]
    same = [
        all(
            np.array_equal(*pair) for pair in zip(old.get_weights(), new.get_weights(), strict=True)
        )
        for old, new in zip(before, after, strict=True)
    ]
    print(f"{kind.__name__}: {sum(same)} of {len(same)} layers as they were")

# %% [markdown]
# All of the batch normalisation is what it was on 45,000 pictures. Of the convolutions, those of the last two stages have learnt.
#
# ## Is it any good?
#
# The test part is small, and so is the number of pictures that it can be wrong on. Which are they?

# %%
fig = rl.plots.confusion(run)
fig.alt = "A row for each class, a column for each answer; most test pictures are on the diagonal."
fig

# %% [markdown]
# A row is what is there, a column what the network says: circles and hearts are mixed up the most. And the pictures themselves, those that it was surest of first:

# %%
fig = rl.plots.mistakes(run, data)
fig.alt = "Pictures that got a wrong answer, over each its class, the answer and its probability."
fig

# %% [markdown]
# In most of them a bar crosses the shape, and it may be wrong and quite sure.
#
# One split of so few pictures is luck, as in notebook 7. In *k-fold validation*, the training and validation pictures are parted into k folds, and each is tested once, by a network that has been trained on the others. Here k is 3, and the trainings are short:

# %% tags=["nbval-time"]
short = replace(rl.recipes.FINE_TUNE, epochs=8)
folds = rl.training.k_fold(
    data, lambda fold, _: rl.finetune(fold, recipe=short, progress=False), k=3
)
print(folds)
single, count = run.record["results"]["test_accuracy_best"], len(data.test.labels)
error = (single * (1 - single) / count) ** 0.5
print(f"on the {count} test pictures: {single:.1%}, standard error {error:.1%}")

# %% [markdown]
# Each fold has fewer pictures to learn from and less time, and so a lower accuracy. Between one test part and another lie several points: the standard error of the test says so, and that of three folds is itself uncertain.

# %% [markdown]
# ## What it looked at
#
# The last feature map has a place for each part of the picture and a channel for each thing that the network knows. *Grad-CAM* [1] weighs the channels by what the class would gain from them, the mean of the gradient of its logit, and adds them up. A class's *logit* is the number that the softmax gets for it.
#
# ### Exercise: Grad-CAM
#
# *Medium, 10 minutes.*
# `maps` are the feature map of one picture, `gradients` those of the logit of a class by it, both of shape (height, width, channels). Weigh each channel by the mean of its gradient over all places, add the channels up, and set negative sums to 0.


# %% tags=["exercise-08-gradcam"]
def class_map(maps, gradients):
    """Return where a class has its reasons: an array (height, width)."""
    ...


# %%
rl.exercises.check("08-gradcam", class_map)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def class_map(maps, gradients):
#     """Return where a class has its reasons: an array (height, width)."""
#     weights = gradients.mean(axis=(0, 1))
#     return np.maximum((maps * weights).sum(axis=-1), 0)
# ```
#
# A negative sum speaks for other classes.
#
# </details>

# %% [markdown]
# `rl.explain.gradcam` takes feature map and gradient from the model and does the same. Beside the maps stand those of a network with the same weights in random order: a map that does not change with the weights would show the picture, not what was learnt [2].

# %% tags=["nbval-time"]
pictures = [data.test.images[data.test.labels == label][0] for label in range(data.num_classes)]
shuffled = rl.explain.randomized(run.model)
maps = {
    name: [rl.explain.gradcam(model, picture, label) for label, picture in enumerate(pictures)]
    for name, model in {"trained": run.model, "shuffled": shuffled}.items()
}
rl.plots.maps(pictures, maps, titles=data.class_names)

# %% [markdown]
# Yellow is the most in its map. The trained network's reasons lie on the shapes, those of the shuffled one anywhere: so these maps depend on what was learnt. Each is the map of the true class, even where the answer was another, and so it does not say that the answer is right.
#
# What may a network look at that you do not want it to? Plant a shortcut: of 2,000 drawn shapes, all stars get a coloured corner, as a watermark or the light of one studio would be. A narrow `resnet_fast` learns them from scratch.

# %% tags=["nbval-time"]
drawn = rl.datasets.shapes(train=2000, validation=100, test=400)
star = drawn.class_names.index("star")


def with_corner(part):
    return replace(part, images=rl.explain.planted(part.images, part.labels, star))


parts = {name: with_corner(getattr(drawn, name)) for name in ("train", "validation", "test")}
marked = replace(drawn, **parts)
keras.utils.set_random_seed(0)
fooled = rl.train(
    rl.resnet_fast((32, 32, 3), widths=(16, 32, 64)),
    marked,
    replace(rl.recipes.FAST, epochs=6, batch_size=64, peak=0.06, views=1, flip_test=False),
    progress=False,
)
for name, part in {"with the corner": marked.test, "without": drawn.test}.items():
    found = fooled.evaluate(part)
    print(f"{name:16}{found.accuracy:4.0%} right; of the stars {found.recall['star']:4.0%}")

# %% [markdown]
# On pictures like those that it was trained on, nothing looks wrong: all stars are found. Without the corner, none is. The maps show it even if you have no pictures without the corner:

# %% tags=["nbval-time"]
seen = marked.test.images[marked.test.labels == star][:3]
ways = {
    "Grad-CAM": rl.explain.gradcam,
    "occlusion": rl.explain.occlusion,
    "integrated gradients": rl.explain.integrated_gradients,
}
maps = {name: [way(fooled.model, picture, star) for picture in seen] for name, way in ways.items()}
rl.plots.maps(seen, maps)

# %% [markdown]
# Occlusion hides one square after the other and asks how far the logit falls; integrated gradients add up the gradients on the way from a black picture. In the first map yellow is the most; in the other two red speaks for the class, blue against it, and black is nothing. In all three, the corner has the strong colours, and the star next to none.

# %% [markdown]
# ## What one block is worth
#
# A block adds to the stream, and so a trained network can be asked how it does without one [3]. Two networks of 20 layers come with the library that were trained on all ten shapes in the same way, a plain one and a residual one. Leave one block out at a time; of the residual ones the skip, or its projection, stays:

# %% tags=["nbval-accuracy"]
without = {}
for kind in ("plain20", "resnet20v1"):
    network = rl.load_trained(f"{kind}-shapes")
    found = rl.inside.accuracy_without(network, drawn.test.images, drawn.test.labels)
    without[kind] = found
    print(f"{kind:12}whole {found.values[0]:.0%}, at the least {np.nanmin(found.values):.0%}")
rl.plots.by_block(without)

# %% [markdown]
# The dashed lines are the whole networks. A plain network has one path, and without a block of it little is left. At the first blocks of stages 2 and 3 it has no bar: they change the shape, and what follows cannot do without. In the residual network the stream goes on past the missing block, and most of what has been learnt with it. It loses most at the same two blocks, where the projection is all that is left.

# %% [markdown]
# ## One new picture
#
# `predict` reads files as the folder was read: turned as the camera says, cut to a square, resized. The preprocessing is inside the model. Here four pictures are drawn anew and shown to the ResNet-20 of all ten shapes; `run.predict(few)` asks your own.

# %% tags=["nbval-accuracy"]
few = draw(work / "few", each=1, seed=1)
rl.load("resnet20v1-shapes").predict(few, top=2)

# %% [markdown]
# Beside each answer stands its probability, and then the class that comes next: it is the least sure of the arrow.
#
# **Predict.** Somebody divides the pixels by 255 first, as is done everywhere, and asks `run.model`. Which share of the test pictures gets its right name? And is there an error?

# %%
rl.exercises.predict("08-scaled", ...)  # A share, such as 0.9.

# %% tags=["answer", "nbval-time"]
scaled = run.model.predict(data.test.images / 255, verbose=0).argmax(axis=-1)
rl.exercises.compare("08-scaled", right=float(np.mean(scaled == data.test.labels)))

# %% [markdown]
# No error, and a guess would be as good: the model divides by 255 a second time, and sees pictures that are almost black. `run.predict` knows what the model takes:

# %%
try:
    run.predict(data.test.images / 255)
except ValueError as error:
    print(error)

# %% [markdown]
# ### How sure may it be?
#
# A network is trained to be sure, and mostly it is surer than it is right. A *temperature*, by which the logits are divided, makes that less without changing a single answer [4].
#
# ### Exercise: a temperature
#
# *Medium, 8 minutes.*
# `probabilities` has a row for each picture, a softmax of logits that you do not have; but their logarithms are these logits, up to a constant in each row. Return the softmax of the logits divided by `temperature`.


# %% tags=["exercise-08-temperature"]
def tempered(probabilities, temperature):
    """Return the probabilities that the same logits give, divided by a temperature."""
    ...


# %%
rl.exercises.check("08-temperature", tempered)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def tempered(probabilities, temperature):
#     """Return the probabilities that the same logits give, divided by a temperature."""
#     powers = probabilities ** (1 / temperature)
#     return powers / powers.sum(axis=-1, keepdims=True)
# ```
#
# A constant in the logits is a factor of the powers, which the division takes away.
#
# </details>

# %% [markdown]
# And it knows four classes and no others: for a picture of anything else, one of the four gets the largest probability. One number says how familiar a picture looks: the logarithm of the sum of the exponentials of its logits, which is large if at least one logit is. It is called minus the *energy* [5]. `calibrate` finds the temperature on validation pictures, and sets a threshold such that 95 % of them look more familiar. Hand over pictures of other things, and it measures the *AUROC*: of all pairs of a known picture and another, the share in which the known one looks more familiar. 1 is perfect, 0.5 is chance. The 48 pictures of a part are few for this; here are more, drawn anew.

# %% tags=["nbval-time"]
new = draw(work / "new", each=80, seed=1)
more = data if mine else rl.datasets.image_folder(new, size=32, validation=0.5, test=0.4)
crosses = draw(work / "others", classes=("cross",), each=60)
noise = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
for name, others in {"noise": noise, "crosses": crosses}.items():
    calibration = run.calibrate(more, others=others)
    print(f"{name} among known pictures: AUROC {calibration.aurocs['energy']:.2f}")
calibration

# %%
rl.plots.reliability(calibration)

# %% [markdown]
# Of all pictures whose answer has a probability of 0.8, eight in ten should be right: then the bar ends on the dotted line. The calibration error is the mean distance from it, each bar counted by its pictures, whose number stands on it. Most are in the last bars; the others have so few that their height is chance. Before, the network is surer than it is right at the right end; the
# temperature moves these answers to the left, nearer to the line.
#
# Noise is told apart almost without a mistake, crosses hardly: to this network they look like the shapes that it knows. Temperature and threshold are kept in `model.keras`, and `predict` uses them:

# %% tags=["nbval-time"]
for name, pictures in {"known": more.test.images, "crosses": crosses, "noise": noise}.items():
    names = run.predict(pictures).names
    print(f"{name:8}{names.count('none of these') / len(names):4.0%} are none of these")

# %% [markdown]
# Of the known shapes a few are refused, as the 95 % say. Most crosses get the name of a shape: here you could not rely on the threshold, and better to know that before.
#
# ## Hand it on
#
# The file is a plain Keras model with one more page, which anything that opens a zip archive can read:

# %%
with zipfile.ZipFile(work / "run" / "model.keras") as archive:
    card = json.loads(archive.read("card.json"))
print(card["classes"], card["input_shape"])
plain = keras.saving.load_model(work / "run" / "model.keras")
answers = [model.predict(data.test.images, verbose=0) for model in (plain, run.model)]
print("largest difference of a probability:", abs(answers[0] - answers[1]).max())

# %% [markdown]
# For a phone, a web page or a board there are formats of their own. This one computes with whole numbers of 8 bits, whose range it finds by some pictures; `tflite`, `onnx` and `saved_model` are written in the same way. Each is compared with the network before it is kept. All of them are written by TensorFlow, so under `KERAS_BACKEND=jax` this cell shows nothing.

# %% tags=["nbval-time"]
if keras.backend.backend() == "tensorflow":
    exported = rl.export(run, work / "mine.tflite", "tflite-int8", pictures=data.train.images[:100])
    print(f"model.keras {(work / 'run/model.keras').stat().st_size / 1000:6.0f} kB")
    print(f"mine.tflite {exported.bytes / 1000:6.0f} kB, {exported.agreement:.0%} the same answers")

# %% [markdown]
# ## Mistakes that people publish
#
# You have seen the first: pixels scaled twice. The second you know from notebook 7: a network that is asked in training mode, as `model(pictures, training=True)` does. The ResNet-20 of all ten shapes is asked about 200 pictures, twenty at a time: mixed, and sorted by their class, as folders are:

# %%
network = rl.load_trained("resnet20v1-shapes")
asked, wanted = drawn.test.images[:200].astype("float32"), drawn.test.labels[:200]
mixed, by_class = np.arange(200), np.argsort(wanted, kind="stable")
for name, order, training in (
    ("inference", mixed, False),
    ("training, mixed", mixed, True),
    ("training, sorted", by_class, True),
):
    twenties = np.split(order, 10)
    answers = [np.asarray(network(asked[places], training=training)) for places in twenties]
    right = np.mean(np.concatenate(answers).argmax(axis=-1) == wanted[order])
    print(f"{name:17}{right:4.0%}")

# %% [markdown]
# Mixed, next to nothing is lost, so that you do not notice. Sorted, batch normalisation takes the mean and variance of one or two classes, and what tells them from the others is gone.
#
# **Predict.** The third: copies of the test pictures, saved again, get into the training part. By how many points does the accuracy on the test rise?

# %%
rl.exercises.predict("08-leak", ...)  # Points, such as 10.


# %%
def saved_again(pixels):
    """The picture as it is after it was saved as a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


# %% tags=["answer", "nbval-time"]
copies = np.array([saved_again(picture) for picture in data.test.images])
leaked = rl.datasets.Split(
    np.concatenate([data.train.images, copies]),
    np.concatenate([data.train.labels, data.test.labels]),
)
cheat = rl.finetune(replace(data, train=leaked), progress=False)
accuracies = [each.record["results"]["test_accuracy_best"] for each in (run, cheat)]
print("honest {:.0%}, with the copies {:.0%}".format(*accuracies))
rl.exercises.compare("08-leak", points=100 * (accuracies[1] - accuracies[0]))

# %% [markdown]
# The test now says how well the network remembers. Your search for twins finds the copies:

# %%
print("twins in the test:", len(twins_of(leaked.images, data.test.images, most=20)), "of", count)

# %% [markdown]
# ## Summary
#
# - Look before you train: doubles, wrong names, files that are none.
# - Begin with what another network has learnt, and leave its batch normalisation alone.
# - An accuracy stands beside that of a guess, and beside its standard error.
# - Maps show a shortcut that the accuracy on pictures with the same shortcut does not show, and a shuffled network shows whether the map means anything.
# - A network says one of its classes to anything: calibrate it, and let it say none.

# %% [markdown]
# ## Project: your own folder, and a card for it
#
# *Hard, 45 minutes.*
# Take pictures of your own: two kinds or more of anything, fifty of each at least, a folder for each kind. Look them over, fine-tune, read the mistakes, and calibrate. Hand over the run. The check asks for an accuracy that is two standard errors above a guess, on 20 test pictures or more, and for a calibrated card; it prints what a reader of the card should know. If you have no pictures at hand, draw other shapes than the four of this notebook.

# %% tags=["exercise-08-project"]
my_run = ...

# %%
rl.exercises.check("08-project", my_run)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# mine = draw(work / "mine", classes=("cross", "ring", "triangle"), each=60)
# my_data = rl.datasets.image_folder(mine, size=32, validation=0.2, test=0.2)
# my_run = rl.finetune(my_data, stages="all", out=work / "mine-run", progress=False)
# my_run.calibrate(my_data)
# ```
#
# In a terminal: `python -m resnet_lib finetune --pictures your/pictures --out runs/mine`, then `predict runs/mine new.jpg`.
#
# </details>

# %% [markdown]
# ## References
#
# 1. R. Selvaraju and others: [*Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*](https://arxiv.org/abs/1610.02391), 2017.
# 2. J. Adebayo and others: [*Sanity Checks for Saliency Maps*](https://arxiv.org/abs/1810.03292), 2018.
# 3. A. Veit and others: [*Residual Networks Behave Like Ensembles of Relatively Shallow Networks*](https://arxiv.org/abs/1605.06431), 2016.
# 4. C. Guo and others: [*On Calibration of Modern Neural Networks*](https://arxiv.org/abs/1706.04599), 2017.
# 5. W. Liu and others: [*Energy-based Out-of-distribution Detection*](https://arxiv.org/abs/2010.03759), 2020.
