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
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 2. A. Mavi: *A New Dataset and Proposed Convolutional Neural Network Architecture for Classification of American Sign Language Digits*, 2020, arXiv
#    2011.08927. Photographs by pupils of Ankara Ayranci Anadolu High School, Apache-2.0.
# 3. P. Dwivedi: *Understanding and Coding a ResNet in Keras*, 2019; notebooks in the folder `resnet_keras` of
#    https://github.com/priya-dwivedi/Deep-Learning.
# 4. K. He, X. Zhang, S. Ren, J. Sun: *Delving Deep into Rectifiers*, 2015, arXiv 1502.01852.
