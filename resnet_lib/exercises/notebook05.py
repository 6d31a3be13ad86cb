"""The exercises of notebook 05, ResNet-50."""

from .core import Exercise, Wrong, described, expect_numbers, judge_numbers, plain, without_batch

# 05-shape: what stage 3 of ResNet-50 outputs for a picture of 160x160

_STAGES = {
    (80, 80, 64): "That comes out of the stem's convolution.",
    (40, 40, 64): "That comes out of the stem.",
    (40, 40, 256): "That is what stage 1 outputs.",
    (20, 20, 512): "That is what stage 2 outputs.",
    (5, 5, 2048): "That is what stage 4 outputs.",
    (14, 14, 1024): "That is right for pictures of 224x224. These have 160x160.",
    (1024, 10, 10): "The channels come last: (height, width, channels).",
}
_SIDES = {
    160: "That is the picture's. Four steps with a stride of 2 lie before the end of stage 3.",
    80: "That is behind the stem's convolution. What follows it also has strides of 2.",
    40: "The picture becomes smaller in the stem already, before the stages; or the stages' "
    "strides are left out.",
    20: "One step is missing. Does the max pooling of the stem count, and which stages begin with "
    "a stride?",
    5: "That is one step too many. Stage 1 keeps the size, behind the max pooling.",
    9: "Everything is padded: no pixels are lost at the edges.",
    14: "That is the side for pictures of 224x224. These have 160x160.",
    1024: "That is the number of channels, which comes last: (height, width, channels).",
}
_CHANNELS = {
    256: "That is the mid-width of stage 3. The last 1x1 convolution of each block widens it.",
    512: "That is what stage 2 outputs, or a mid-width.",
    2048: "That is what stage 4 outputs.",
    4096: "That is four times 1,024, which is four times the mid-width already.",
    128: "That is the mid-width of stage 2.",
    64: "That is what the stem outputs, or the mid-width of stage 1.",
    3: "That is the picture's: red, green and blue.",
}


def judge_shape(answer):
    """Judge the output shape of stage 3 of ResNet-50."""
    what = ("height", "width", "channels")
    answer = without_batch(plain(answer))
    expect_numbers(answer, what)
    if tuple(answer) in _STAGES:
        raise Wrong(f"received {described(answer)}. {_STAGES[tuple(answer)]}")
    side = "Each stride of 2 halves height and width; nothing else changes them. Count them."
    channels = "A stage outputs four times its mid-width."
    rules = (side, side, channels)
    judge_numbers(answer, what, (10, 10, 1024), (_SIDES, _SIDES, _CHANNELS), rules)


EXERCISES = {
    "05-shape": Exercise(
        judge_shape,
        level="easy",
        minutes=4,
        hints=(
            "height and width are halved by each stride of 2, and by nothing else. Which strides "
            "lie between the picture and the end of stage 3?",
            "count the strides of 2 from the picture to the end of stage 3: two in the stem, one "
            "at the beginning of each stage but the first. Then: which mid-width has stage 3?",
            "160 is halved four times. The mid-widths are those of stages 1 to 4 in their order; "
            "stage 3 outputs four times the third.",
        ),
        why="height and width belong to the picture, channels to the network: the same weights "
        "take pictures of 160x160 and of 224x224.",
    ),
}
