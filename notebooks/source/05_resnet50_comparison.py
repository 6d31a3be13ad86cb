# %% [markdown]
# # 5. ResNet-50, compared
#
# Afterwards you can
#
# - build the paper's ResNet-50 from the bottleneck block of notebook 2, and prove that the library's is the one in `keras.applications`;
# - say what sets the library's ResNet-50, the paper's and "v1.5" apart, and account for each parameter;
# - tell ResNet-50 from ResNet-56, and say why the depth alone tells you little;
# - compare ways to train it on a small set of photographs, and see four mistakes that spoil such a comparison;
# - fine-tune a trained network for a task of your own.
#
# You need notebooks 1 to 3. Reading takes about 50 minutes; running every cell takes about two minutes on a CPU with 2 cores.

# %%
import resnet_lib as rl

import inspect
from dataclasses import replace

import keras
import numpy as np
from keras import layers

# %% [markdown]
# The networks of notebooks 3 and 4 are made for pictures of 32x32. The first paper has a second family, for ImageNet: 1,000 classes,
# pictures of 224x224 [1, table 1]. ResNet-50 belongs to it.
#
# ## The stem
#
# Such a picture has 49 times the pixels of one of 32x32. So the network begins by making it small: a 7x7 convolution with stride 2 to 64 channels, then the
# maximum of each 3x3 window of a channel, again with stride 2. Both pad, so each halves height and width.
#
# **Predict.** What is the side of the map after the convolution, and after the maximum? By what factor has the number of pixels shrunk?

# %%
rl.exercises.predict("05-stem", ...)  # Three numbers: (side, side, factor).


# %% tags=["answer"]
def conv_bn(x, filters, kernel_size=3, strides=1, padding="same"):
    options = dict(padding=padding, use_bias=False, kernel_initializer="he_normal")
    x = layers.Conv2D(filters, kernel_size, strides=strides, **options)(x)
    return layers.BatchNormalization(epsilon=1e-5)(x)


def stem(x):
    x = layers.ZeroPadding2D(3)(x)
    x = layers.ReLU()(conv_bn(x, 64, kernel_size=7, strides=2, padding="valid"))
    convolved = x
    x = layers.ZeroPadding2D(1)(x)
    return convolved, layers.MaxPooling2D(3, strides=2)(x)


inputs = keras.Input((224, 224, 3))
convolved, x = stem(inputs)
print("convolution:", convolved.shape[1:])
print("maximum:    ", x.shape[1:])
side, factor = x.shape[1], 224**2 // x.shape[1] ** 2
rl.exercises.compare("05-stem", counted=(convolved.shape[1], side, factor))

# %% [markdown]
# A sixteenth of the pixels is left. `ZeroPadding2D` puts three rows or columns of zeros on each side, then one; with `padding="same"`
# TensorFlow would put more of them on the right and below, and a network with the same weights would output something else.
#
# ## Four stages
#
# The block is the bottleneck of notebook 2: 1x1, 3x3, 1x1, with four times as many channels at its end. There are four stages of
# 3, 4, 6 and 3 blocks with mid-widths of 64, 128, 256 and 512. From stage 2 on, the first block has stride 2.


# %%
def bottleneck_block(x, filters, strides=1):
    y = layers.ReLU()(conv_bn(x, filters, kernel_size=1, strides=strides))
    y = layers.ReLU()(conv_bn(y, filters, kernel_size=3))
    y = conv_bn(y, 4 * filters, kernel_size=1)
    if x.shape[-1] != 4 * filters or strides > 1:
        x = conv_bn(x, 4 * filters, kernel_size=1, strides=strides)  # a projection block
    return layers.ReLU()(layers.Add()([x, y]))


for stage, (n, filters) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
    for block in range(n):
        strides = 2 if stage > 1 and block == 0 else 1
        x = bottleneck_block(x, filters, strides)
    print(f"stage {stage}: {n} blocks, {x.shape[1:]}")
x = layers.GlobalAveragePooling2D()(x)
by_hand = keras.Model(inputs, layers.Dense(1000, activation="softmax")(x))

# %% [markdown]
# Stage 1, too, begins with a projection block, although it keeps height and width: 64 channels come in, 256 go out.
#
# **Predict.** How do you get to 50 layers? Count what has a kernel and is not a projection.

# %%
rl.exercises.predict("05-layers", ...)  # Three numbers: (in the stem, in the blocks, in the head).

# %% tags=["answer"]
rl.exercises.compare("05-layers", stem=1, blocks=3 * (3 + 4 + 6 + 3), head=1)
print("built by hand:  ", rl.count_parameters(by_hand))
print("in the library: ", rl.count_parameters(rl.resnet50(form="paper")))

# %% [markdown]
# Here is the library's builder of the whole family, without its docstring: your stem, four stages, and a head that can be left out. `rl.resnet50` calls it
# with depth 50; `UNITS` holds the numbers of blocks. `in_form` gives the layers the names and BN the epsilon of a form; forms, and weights, come up below.

# %%
print("".join(inspect.getsource(rl.imagenet.resnet).split('"""')[::2]))

# %% [markdown]
# The same plan with other numbers of blocks gives the whole family, the two smallest with the basic block of notebook 2 in place of the bottleneck. The
# paper does not print their parameters; "expected" are those that the library's tests hold each network to.

# %%
print(f"{'':11}{'blocks':16}{'parameters':>12}{'expected':>12}{'10^9 mult.-adds':>17}{'error':>9}")
for depth, units in rl.imagenet.UNITS.items():
    model = rl.models.build(f"resnet{depth}", (224, 224, 3), 1000, form="paper")
    row, count = rl.paper.IMAGENET.row(depth), rl.count_parameters(model).trainable
    cost = rl.count_multiply_adds(model) / 1e9
    name, blocks = f"ResNet-{depth}", ", ".join(map(str, units))
    print(f"{name:11}{blocks:16}{count:>12,}{row.parameters:>12,}{cost:>17.3f}{row.error:>7} %")

# %% [markdown]
# (The error is the share of ImageNet's validation pictures whose class is not the network's first answer, taken over ten crops of each picture [1, tables 2
# and 3]. That of ResNet-18 is for shortcut A.)
#
# `rl.resnet50(form="paper")` has as many parameters as what you have built. Whether it *is* what you have built, you will see. Its layers have names
# as in notebook 3, so the library can find the stages and draw its blocks, here the first two of stage 2:

# %%
resnet50 = rl.resnet50((224, 224, 3), form="paper")
rl.plots.block([(resnet50, "stage2_block1"), (resnet50, "stage2_block2")])

# %% [markdown]
# On the left the projection block: the first 1x1 convolution and the one on the arc have the stride. On the right one of the identity blocks behind it. And
# what each stage outputs, for two sizes of pictures:

# %%
both_sizes = {side: rl.resnet50((side, side, 3), form="paper") for side in (224, 64)}
rl.plots.feature_maps({f"{side}x{side}": model for side, model in both_sizes.items()})

# %% [markdown]
# Above for 224x224, below for 64x64, both to one scale (and the channels drawn shorter than they are, as the titles say). The channels are the
# same, for they belong to the network. Height and width belong to the picture: 7x7 at the end above, and only 2x2 below. The parameters do not depend
# on the picture either.
#
# ## Is it the one in keras.applications?
#
# `keras.applications.ResNet50` is what most people mean by ResNet-50 in Keras. `rl.resnet50`'s default form, `"applications"`, claims to be the
# same network. A claim like this can be tested hard: give both the same weights, whatever they are, and compare what they output. With
# random weights in *every* place, among them the moving statistics of BN, nothing agrees by accident.


# %%
def randomise(model, seed=0):
    """Give every weight a random value, such that the signal neither dies nor explodes."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name == "kernel":
                weights.append(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
            elif weight.name in ("gamma", "moving_variance"):
                weights.append(rng.uniform(0.5, 1.5, shape))
            else:
                weights.append(rng.normal(0, 0.3, shape))
        layer.set_weights(weights)


# %%
theirs = keras.applications.ResNet50(weights=None)
randomise(theirs)
ours = rl.resnet50()
rl.imagenet.load_keras_weights(ours, theirs)

# %% [markdown]
# `load_keras_weights` goes from layer to layer, by name. It would refuse, with a list, if a name or a shape differed. Now compare. A
# softmax can hide a difference, so the class scores before it are taken:


# %%
def scores(model, pictures, training):
    """What the dense layer outputs before its softmax."""
    *_, pool, dense = model.layers  # the last two
    features = keras.Model(model.input, pool.output)(pictures, training=training)
    return np.asarray(features) @ np.asarray(dense.kernel) + np.asarray(dense.bias)


def compare(a, b, pictures):
    for training in (False, True):
        one, other = (scores(model, pictures, training) for model in (a, b))
        difference = abs(one - other).max() / abs(other).max()
        print(f"training={training}: equal to within 1e-5: {difference < 1e-5}")


pictures = np.random.default_rng(1).uniform(-1, 1, (2, 224, 224, 3)).astype("float32")
compare(ours, theirs, pictures)

# %% [markdown]
# They agree in inference, where BN uses its moving statistics, and in training, where it uses the batch's. A proof that cannot fail
# proves nothing. So exchange two layers of the same shape in ours. (Keras counts stages from the stem on: `conv3` is stage 2.)

# %%
one, other = (ours.get_layer(name) for name in ("conv3_block2_2_conv", "conv3_block3_2_conv"))
kept = one.get_weights()
one.set_weights(other.get_weights())
other.set_weights(kept)
compare(ours, theirs, pictures)
other.set_weights(one.get_weights())
one.set_weights(kept)

# %% [markdown]
# Seen. (The last two lines put them back.) So with equal weights the two compute the same, and the trained weights of one are good for the other. Where
# there is a connection, `rl.resnet50(weights="imagenet")` takes them through Keras' own download; the full profile compares with them, too:

# %%
if rl.profile() == "full":
    try:
        pretrained = rl.resnet50(weights="imagenet")
        compare(pretrained, keras.applications.ResNet50(weights="imagenet"), pictures)
    except ConnectionError as error:
        print(error)

# %% [markdown]
# What is no weight, the comparison cannot see: BN's epsilon is too small to show, and how the networks *begin*, before training, is another question. Ask for
# both:

# %%
for name, model in {"theirs": theirs, "ours": ours}.items():
    epsilons = {x.epsilon for x in model.layers if isinstance(x, layers.BatchNormalization)}
    beginnings = {type(x.kernel_initializer).__name__ for x in model.layers if hasattr(x, "kernel")}
    print(f"{name:7} epsilon {epsilons}, kernels begin as {beginnings}")

# %% [markdown]
# Trained from random weights, the two begin differently: Keras draws the kernels by Glorot's rule, the library by that of He et al. [4], as the paper does.
#
# And the network that you have built by hand? It is the library's in the form `"paper"`, as the paper has it. Both list their layers in the same order, so
# the weights can be handed over as they are:

# %%
paper_form = rl.resnet50(form="paper")
randomise(paper_form)
by_hand.set_weights(paper_form.get_weights())
compare(by_hand, paper_form, pictures)

# %% [markdown]
# ## Three networks under one name
#
# The library builds three networks that are called ResNet-50: `"applications"`, Keras' one; `"paper"`, as the paper has it; and `"v1.5"`, a later
# variant that is much used.
#
# **Predict.** The first two have different numbers of parameters. What could Keras' network have that the paper's has not?

# %%
rl.exercises.predict("05-forms", ...)  # In words, in quotes.

# %% tags=["answer"]
forms = {form: rl.resnet50(form=form) for form in ("applications", "paper", "v1.5")}
by_kind = {form: rl.inspection.count_by_kind(model) for form, model in forms.items()}
print(f"{'':24}" + "".join(f"{form:>14}" for form in forms))
for kind in rl.inspection.KINDS:
    print(f"{kind:24}" + "".join(f"{by_kind[form][kind]:>14,}" for form in forms))
print(f"{'all':24}" + "".join(f"{sum(by_kind[form].values()):>14,}" for form in forms))
more = [kind for kind, n in by_kind["applications"].items() if n > by_kind["paper"][kind]]
rl.exercises.compare("05-forms", more_of=", ".join(more))

# %% [markdown]
# Biases in the convolutions, which the BN behind each of them takes off again (notebook 2). And the total in Keras' summary also counts the moving
# statistics of BN, which are not trained:

# %%
biases = by_kind["applications"]["biases of convolutions"]
statistics = by_kind["applications"]["BN statistics"]
trainable = rl.count_parameters(forms["paper"]).trainable
print(f"{trainable:,} + {biases:,} + {statistics:,} = {trainable + biases + statistics:,}")
print(f"keras.applications: {rl.count_parameters(theirs).total:,}")

# %% [markdown]
# Counted by parameters, "paper" and "v1.5" look the same. They are not:

# %%
for form, model in forms.items():
    name = "conv3_block1_{}_conv" if form == "applications" else "stage2_block1_conv{}"
    strides = [model.get_layer(name.format(i)).strides[0] for i in (1, 2, 3)]
    cost = rl.count_multiply_adds(model)
    share = cost / rl.count_multiply_adds(forms["paper"]) - 1
    print(f"{form:14}strides {strides}, {cost:,} multiply-adds ({share:+.0%})")

# %% [markdown]
# In "v1.5" the 3x3 convolution takes the step in place of the first 1x1. A 1x1 kernel with stride 2 looks at one pixel in four and drops
# the others; a 3x3 kernel with stride 2 sees all of them. That costs a little more.
#
# What else is different, in short:
#
# | | "applications" | "paper" | "v1.5" |
# |---|---|---|---|
# | biases in convolutions | yes | no | no |
# | stride of a stage | first 1x1 | first 1x1 | 3x3 |
# | BN: epsilon | 1.001e-5 | 1e-5 | 1e-5 |
# | layer names | `conv2_block1_1_conv` | `stage1_block1_conv1` | `stage1_block1_conv1` |
#
# (The paper does not state its epsilon.) Weights that were trained with the stride in one place do not fit the other. Before you compare accuracies of
# "ResNet-50", ask which of them it was.
#
# ## ResNet-50 and ResNet-56
#
# Six layers apart, one would think. Put them side by side, and the small ones too. Each takes the pictures that it is made for.
#
# **Predict.** ResNet-18 has two layers fewer than ResNet-20. Which of them has more parameters, and by what factor?

# %%
rl.exercises.predict("05-18-or-20", ...)  # ResNet-18's parameters divided by ResNet-20's.

# %% tags=["answer"]
networks = {
    "ResNet-20": rl.resnet_v1((32, 32, 3), 20, form="standard"),
    "ResNet-56": rl.resnet_v1((32, 32, 3), 56, form="standard"),
    "ResNet-18": rl.resnet18(),
    "ResNet-50": rl.resnet50(form="paper"),
}
print(f"{'':12}{'parameters':>12}{'multiply-adds':>16}{'sees':>7}  feature maps")
for name, model in networks.items():
    parameters, cost = rl.count_parameters(model).trainable, rl.count_multiply_adds(model)
    *_, reach = rl.receptive_field(model).values()
    maps = ", ".join("x".join(map(str, stage.shape)) for stage in rl.feature_maps(model)[1:])
    print(f"{name:12}{parameters:>12,}{cost:>16,}{reach:>7}  {maps}")

# %% [markdown]
# "Sees" is the receptive field at the end, in pixels across (notebook 3). Two families:
#
# - 6n+2: three stages of 16, 32 and 64 channels, a 3x3 stem, basic blocks. To go deeper is to put more blocks into each stage.
# - 18, 34, 50, 101, 152: four stages of 64 to 512 channels, with bottlenecks up to 2048, and a stem that shrinks the picture.

# %% tags=["answer"]
sizes = {name: rl.count_parameters(model).trainable for name, model in networks.items()}
print(
    f"ResNet-50 has {sizes['ResNet-50'] / sizes['ResNet-56']:.0f} times the parameters of ResNet-56"
)
rl.exercises.compare("05-18-or-20", times=round(sizes["ResNet-18"] / sizes["ResNet-20"]))

# %% [markdown]
# The depth counts layers. Most of the parameters come from the width: with four times the channels on both sides, a kernel has sixteen
# times the weights. So a 6n+2 network is not a small ResNet-50, and a result for "ResNet-56" says nothing about ResNet-50.
#
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
rl.exercises.predict("05-smallest", ...)

# %% tags=["answer"]
trained = {way: signs[name].record["model"]["trainable_parameters"] for way, name in ways.items()}
rl.exercises.compare("05-smallest", times=round(trained["ResNet-50"] / trained["ResNet-20"]))

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
rl.exercises.predict("05-training-mode", ...)  # Three accuracies, such as (0.5, 0.5, 0.5).


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
rl.exercises.compare("05-training-mode", measured=tuple(in_training))
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
rl.exercises.predict("05-one-seed", ...)  # How many different kernels.


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
rl.exercises.compare("05-one-seed", counted=len(different))

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
# For a hint, run `rl.exercises.hint("05-shape")` in a cell of your own, and run it again for a further one.
#
# ### Exercise 1: the shape behind stage 3
#
# *Easy, 4 minutes.*
# ResNet-50 gets pictures of 160x160. The stem is a 7x7 convolution with stride 2 and a 3x3 max pooling with stride 2. Stage 1 keeps
# height and width; stages 2, 3 and 4 each begin with a stride of 2. All of them pad. The mid-widths are 64, 128, 256 and 512, and a
# stage outputs four times its mid-width.
# What does stage 3 output? Answer with a tuple (height, width, channels), worked out by hand.

# %% tags=["exercise-05-shape"]
stage_3 = ...

# %%
rl.exercises.check("05-shape", stage_3)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# side = 160 // 2 // 2 // 2 // 2
# stage_3 = (side, side, 4 * 256)
# ```
#
# Four strides of 2: the convolution and the pooling of the stem, then the first blocks of stages 2 and 3.
# `rl.feature_maps(rl.resnet50((160, 160, 3)))` shows all stages.
#
# </details>

# %% [markdown]
# ### Exercise 2: the class of one picture
#
# *Medium, 8 minutes.*
# Write a function that says which class a trained model gives one picture.
#
# `model` is a trained model as `rl.train` makes it, the `model` of a run. It takes a batch of pictures with values from 0 to 255, of
# shape (pictures, height, width, 3), and outputs a row of probabilities for each picture, one for each class. Its preprocessing is
# inside. `picture` is *one* picture, a uint8 array of shape (height, width, 3), of the size that the model takes.
# Return the number of the most probable class, counted from 0, as an int.
# The check hands your function a small model of its own and eight pictures.


# %% tags=["exercise-05-predict"]
def predict_class(model, picture):
    """Return the number of the class that is most probable for a picture, as an int."""
    ...


# %%
rl.exercises.check("05-predict", predict_class)

# %% [markdown]
# Your function, if it is correct, or the library's, now asks the trained network about one picture of each class. Above each picture stands the network's name for it, and
# in brackets the true one.

# %%
class_of = rl.exercises.answer("05-predict")
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
# ### Exercise 3: a new head
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


# %% tags=["exercise-05-finetune"]
def for_fine_tuning(backbone, num_classes):
    """Return a model: the frozen backbone, then pooling and a Dense layer that can be trained."""
    ...


# %%
rl.exercises.check("05-finetune", for_fine_tuning)

# %% [markdown]
# Yours, or the library's, makes the network of the section on fine-tuning ready for four other classes. Only the new Dense layer is trainable: 64 weights and a bias for each class.

# %%
made_ready = rl.exercises.answer("05-finetune")
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
