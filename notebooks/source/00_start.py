# %% [markdown]
# # 0. Start here
#
# Afterwards you can
#
# - find your way through the notebooks;
# - predict, answer, ask for a hint, and see what you have done;
# - look up a word, and know where help is;
# - shut down the kernels that hold your machine's memory.
#
# You need to have trained a small convolutional network in Keras before. Reading takes a quarter of an hour; running every cell takes a few seconds.
#
# ## The way
#
# | notebook | what you can do afterwards | minutes on 2 cores |
# |---|---|---|
# | [1. Skip connections](01_skip_connections.ipynb) | say why depth alone makes training worse, see it happen, and write the skip | 1.5 |
# | [2. Identity and projection blocks](02_identity_and_projection_blocks.ipynb) | write both blocks, choose a shortcut, predict shapes and parameters | 0.2 |
# | [3. The CIFAR ResNet v1](03_cifar_resnet_v1.ipynb) | write the whole builder of version 1, and train the network that it builds | 1.5 |
# | [4. The CIFAR ResNet v2](04_cifar_resnet_v2.ipynb) | write the builder of version 2, and say what it brings | 1.1 |
# | [5. ResNet-50](05_resnet50_comparison.ipynb) | write ResNet-50 from your own block, and prove that it is the one in keras.applications | 0.6 |
# | [6. Train for real](06_full_training.ipynb) | write augmentation, schedule and training loop; train in the time that you have | 2 |
# | [7. Fair comparisons](07_fair_comparisons.ipynb) | compare runs at equal cost, see what spoils a comparison, fine-tune | 2 |
# | [8. Your own pictures](08_your_own_pictures.ipynb) | look a folder over, fine-tune, say what the result is worth and what it looked at, hand it on | 2 |
# | [9. Ten years later](09_ten_years_later.ipynb) | say what each change since 2015 brings, write four of them, compare later blocks at equal time | 1.5 |
# | [10. Many devices](10_many_devices.ipynb) | write an all-reduce, train on several devices and hosts, go on after a stop | 2 |
#
# The minutes are those of running all cells, without a GPU. Reading and doing the tasks takes one to two and a half hours a notebook. Take them in order: each uses what the ones before it have built.
#
# Run a cell with Shift-Enter. The first cell of each notebook imports the library. It comes before Keras and TensorFlow, because it prepares them:

# %%
import resnet_lib as rl

import resource
import sys

import numpy as np

# %% [markdown]
# ## How a task works
#
# A notebook is a workshop: you write the lines that carry an idea, and the cells below use what you have written. There are two kinds of task. Try both here, on toys.
#
# A **prediction** asks for your guess before something is measured. Put it in place of the `...` and run the cell. A guess is never judged.
#
# **Predict.** A ReLU sets what is negative to zero and leaves the rest as it is. Of 1,000 random numbers, drawn from a normal distribution around 0, which share becomes zero?

# %%
rl.exercises.predict("00-relu", ...)  # a share, such as 0.1

# %% [markdown]
# Later a cell measures, and sets the two side by side. Where your copy of a notebook came without the output of a cell, that output would have told you the answer.

# %% tags=["answer"]
values = np.random.default_rng(0).normal(size=1000)
rl.exercises.compare("00-relu", measured=float(np.mean(np.maximum(values, 0) == 0)))

# %% [markdown]
# An **exercise** has a cell for your answer and a cell that checks it. As long as the answer is `...`, the check says so, and "Run All" passes over it.

# %% [markdown]
# ### Exercise: count a picture
#
# *Easy, 1 minute.*
# How many numbers does a picture of 32x32 pixels in three colours hold? Answer with one number.

# %% tags=["exercise-00-picture"]
numbers_in_a_picture = ...

# %%
rl.exercises.check("00-picture", numbers_in_a_picture)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# numbers_in_a_picture = 32 * 32 * 3
# ```
#
# Each of the 1,024 pixels has a number for red, one for green and one for blue.
#
# </details>

# %% [markdown]
# Answer 1024 first, and run the check again: it names the mistake that leads to this number, not the answer. When you are stuck, ask for a hint. Each time you run this cell, the hint goes one further:

# %%
rl.exercises.hint("00-picture")

# %% [markdown]
# The solution is folded below the check. Click on the word to open it. Write an answer of your own before you do, because what you have only read is soon forgotten.
#
# Most exercises ask for a function. The check runs it, so you may write it in whatever form you like.

# %% [markdown]
# ### Exercise: write a ReLU
#
# *Easy, 2 minutes.*
# Write `relu(x)`: it returns the array `x` with what is negative set to 0.


# %% tags=["exercise-00-relu"]
def relu(x):
    """Return an array with what is negative set to 0."""
    ...


# %%
rl.exercises.check("00-relu", relu)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def relu(x):
#     """Return an array with what is negative set to 0."""
#     return np.maximum(x, 0)
# ```
#
# `np.maximum` compares value by value. `np.max` would return the largest value of all.
#
# </details>

# %% [markdown]
# `answer` returns your function once it is right. Until then the library's stands in, so that the cells below always run:

# %%
my_relu = rl.exercises.answer("00-relu")
print(my_relu(np.array([-2.0, -0.5, 0.0, 0.5, 3.0])))

# %% [markdown]
# What was right is kept in a file of yours, and another notebook, or this one tomorrow, gets it back by `recall`. It writes your function into a new cell below; run that cell, and `answer` returns it there as well.
# Where nothing of yours is kept, it prints the library's function.

# %%
rl.exercises.recall("00-relu")

# %% [markdown]
# `rl.exercises.progress()` prints a table of all tasks: how hard each is, how long it takes, and what you have done. These are its first lines:

# %%
from resnet_lib.exercises import tasks

print(*tasks.table().splitlines()[:4], sep="\n")

# %% [markdown]
# In a terminal, `python -m resnet_lib exercises` prints the table, `python -m resnet_lib exercises --file` says where your answers are kept, and `--forget` begins anew.
#
# ## Words
#
# Each link leads to the section that explains the word.
#
# | word | what it means | where |
# |---|---|---|
# | all-reduce | every device gets the sum of what all devices hold | [10, All-reduce, around a ring](10_many_devices.ipynb#All-reduce,-around-a-ring) |
# | augmentation | changing each training picture a little, in another way in each epoch | [6, What the network is shown](06_full_training.ipynb#What-the-network-is-shown) |
# | block | a few convolutions with one skip around them | [2, The identity block](02_identity_and_projection_blocks.ipynb#The-identity-block) |
# | bottleneck | a block of three convolutions, of which the middle one works with fewer channels | [2, The bottleneck](02_identity_and_projection_blocks.ipynb#The-bottleneck) |
# | branch | the convolutions of a block, beside the skip | [1, The skip, in one line](01_skip_connections.ipynb#The-skip,-in-one-line) |
# | calibration | making probabilities mean what they say | [8, How sure may it be?](08_your_own_pictures.ipynb#How-sure-may-it-be?) |
# | data parallelism | each device holds the whole network and takes a part of each batch | [10, Divide the batch](10_many_devices.ipynb#Divide-the-batch) |
# | degradation | a deeper plain network trains worse than a shallower one | [1, A plain network, shallow and deep](01_skip_connections.ipynb#A-plain-network,-shallow-and-deep) |
# | epoch, step | a step takes one batch, an epoch takes every training picture once | [6, Steps and epochs](06_full_training.ipynb#Steps-and-epochs) |
# | feature map | what a layer outputs: height, width and channels | [3, The network as a picture](03_cifar_resnet_v1.ipynb#The-network-as-a-picture) |
# | fine-tuning | training a network further, on pictures of another kind | [7, Fine-tune](07_fair_comparisons.ipynb#Fine-tune) |
# | form | which details of a network are meant, where several go by one name | [3, Table 6, recomputed](03_cifar_resnet_v1.ipynb#Table-6,-recomputed) |
# | Grad-CAM | a map of where a network has its reasons for a class | [8, What it looked at](08_your_own_pictures.ipynb#What-it-looked-at) |
# | He initialisation | random weights of a size that keeps the signal's from layer to layer | [1, What gets through at the start](01_skip_connections.ipynb#What-gets-through-at-the-start) |
# | identity block | a block whose skip is the input itself | [2, The identity block](02_identity_and_projection_blocks.ipynb#The-identity-block) |
# | kernel | of a convolution: its weights; of a notebook: the process that runs its cells | [Memory](#Memory) |
# | linear scaling | a batch n times as large gets n times the rate | [10, The rate that goes with a batch](10_many_devices.ipynb#The-rate-that-goes-with-a-batch) |
# | main path, stream | what runs from the first block to the last, and what the branches add to | [1, A plain network, shallow and deep](01_skip_connections.ipynb#A-plain-network,-shallow-and-deep) |
# | mixed precision | computing with 16 bits, keeping the weights in 32 | [6, Speed](06_full_training.ipynb#Speed:-mixed-precision-and-XLA) |
# | multiply-adds | the work of a network for one picture | [2, The identity block](02_identity_and_projection_blocks.ipynb#The-identity-block) |
# | overfitting | the training loss falls on, while the validation loss rises | [6, What does a run lack?](06_full_training.ipynb#What-does-a-run-lack?) |
# | plain network | a network without skips | [1, A plain network, shallow and deep](01_skip_connections.ipynb#A-plain-network,-shallow-and-deep) |
# | pre-activation | batch normalisation and ReLU stand before a convolution, not behind it | [4, Why BN and ReLU go in front](04_cifar_resnet_v2.ipynb#Why-BN-and-ReLU-go-in-front) |
# | projection | a 1x1 convolution on the skip, which gives it the shape of the branch | [2, Option B: a projection](02_identity_and_projection_blocks.ipynb#Option-B:-a-projection) |
# | receptive field | how many pixels of the picture one place of a feature map sees | [2, Two stages in a row](02_identity_and_projection_blocks.ipynb#Two-stages-in-a-row) |
# | recipe | everything that decides a run apart from the network and the pictures | [3, Train it](03_cifar_resnet_v1.ipynb#Train-it) |
# | record | what is kept of a run, in numbers | [7, Recorded runs](07_fair_comparisons.ipynb#Recorded-runs) |
# | schedule | the learning rate of each step of a run | [6, Three recipes, three schedules](06_full_training.ipynb#Three-recipes,-three-schedules) |
# | seed | the number from which all chance of a run follows | [7, Standard errors](07_fair_comparisons.ipynb#Standard-errors) |
# | shortcut, skip | the way around a branch, from a block's input to its sum | [1, The skip, in one line](01_skip_connections.ipynb#The-skip,-in-one-line) |
# | stage | the blocks that work at one height and width | [3, A stage](03_cifar_resnet_v1.ipynb#A-stage) |
# | standard error | how far the mean of a few runs may lie from the mean of very many | [7, Standard errors](07_fair_comparisons.ipynb#Standard-errors) |
# | stem | the layers before the first block | [3, The plan of the network](03_cifar_resnet_v1.ipynb#The-plan-of-the-network) |
# | stride | by how many pixels a convolution moves on; a stride of 2 halves height and width | [2, When the shape changes](02_identity_and_projection_blocks.ipynb#When-the-shape-changes) |
# | training mode | batch normalisation takes the mean and variance of the batch, not the ones gathered in training | [7, Evaluating in training mode](07_fair_comparisons.ipynb#Evaluating-in-training-mode) |
# | validation pictures | pictures that are not trained on, and by which one chooses | [7, No validation pictures](07_fair_comparisons.ipynb#No-validation-pictures) |
# | weight decay | drawing each weight towards zero a little in each step | [6, Three meanings of weight decay](06_full_training.ipynb#Three-meanings-of-weight-decay) |
# | XLA | a compiler that joins the operations of a step | [6, Speed](06_full_training.ipynb#Speed:-mixed-precision-and-XLA) |
#
# ## Help
#
# - With the cursor in a call, Shift-Tab shows what a function takes and returns. `help(rl.train)` prints the same, and `rl.train?` as well.
# - `rl.exercises.hint("06-rate")` prints a hint of an exercise by its name, which stands in the cell of its check.
# - The files `README.md` and `CONTRIBUTING.md` of the project say how to install, test and change it.
# - A copy of a notebook that you have spoilt can be renamed or removed: `make lab` then makes a fresh one, and leaves all others as they are.
#
# For example:

# %%
help(rl.exercises.progress)

# %% [markdown]
# ## Memory
#
# Each open notebook has a kernel, a process of its own, which keeps its networks and pictures until it is shut down. This is the largest amount of memory that the kernel of this notebook has held so far:

# %% tags=["nbval-time"]
unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux counts kibibytes.
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(f"{peak / 2**30:.1f} GiB")

# %% [markdown]
# That is TensorFlow and Keras alone. A notebook that has trained networks holds more, up to 3 GiB. To see how much, run these lines there, with `import resource, sys` before them.
#
# Closing the tab of a notebook leaves its kernel running. Shut it down with *Kernel*, *Shut Down Kernel* in the menu, or with the list of running kernels at the left edge, which has a button *Shut Down All*.
# What you have written stays in the notebook; what it has computed is gone, and "Run All Cells" computes it again.
#
# Now go on to [1. Skip connections](01_skip_connections.ipynb).
