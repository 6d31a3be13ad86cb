"""An answer gets one verdict, in time, whatever its reader has set; and all is given back."""

import random
import sys
import threading
import time
from itertools import combinations

import numpy as np
import pytest

from resnet_lib.exercises import core, notebook01, notebook02, notebook04

# After resnet_lib, which prepares the environment for TensorFlow.
import keras  # isort: skip
from keras import layers  # isort: skip
from keras.src.backend.common import global_state  # isort: skip

EXERCISES = {**notebook01.EXERCISES, **notebook02.EXERCISES, **notebook04.EXERCISES}
CODE = ("01-residual", "02-identity-block", "04-preactivation")


def verdict(name, answer):
    return " ".join(core.verdict(EXERCISES[name], name, answer).split())


def own_exercise(judge):
    return core.Exercise(judge, "easy", 1, ("think",), "it matters.")


# What the reader has set


@pytest.fixture
def settings():
    """Give Keras' settings back after a test."""
    kept = keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy()
    yield
    keras.config.set_floatx(kept[0])
    keras.config.set_image_data_format(kept[1])
    keras.config.set_dtype_policy(kept[2])


SETTINGS = {
    "floatx-float64": (keras.config.set_floatx, keras.config.floatx, "float64"),
    "floatx-float16": (keras.config.set_floatx, keras.config.floatx, "float16"),
    "channels-first": (
        keras.config.set_image_data_format,
        keras.config.image_data_format,
        "channels_first",
    ),
    **{
        policy: (
            keras.config.set_dtype_policy,
            lambda: keras.config.dtype_policy().name,
            policy,
        )
        for policy in ("mixed_bfloat16", "mixed_float16", "float64")
    },
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CODE)
def test_right_answer_is_correct_whatever_is_set_and_it_stays_set(settings, name, setting):
    change, read, value = SETTINGS[setting]
    change(value)
    assert verdict(name, EXERCISES[name].stand_in).startswith("correct: ")
    assert read() == value


def test_settings_are_given_back_after_an_error_and_an_interrupt(settings):
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_floatx("float64")

    def raises(error):
        def function(x, branch):
            assert keras.config.dtype_policy().name == keras.config.floatx() == "float32"
            raise error

        return function

    assert "raised ValueError: no" in verdict("01-residual", raises(ValueError("no")))
    with pytest.raises(KeyboardInterrupt):
        verdict("01-residual", raises(KeyboardInterrupt()))
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == (
        "mixed_bfloat16",
        "float64",
    )


def drawn():
    """Return the next numbers of each random generator, and the next name of a layer."""
    return [
        random.random(),
        float(np.random.random()),
        np.array(keras.random.normal((2,))).tolist(),
        layers.ReLU().name,
    ]


def test_check_leaves_random_numbers_and_names_as_they_would_have_been():
    def function(x, branch):
        drawn()
        return EXERCISES["01-residual"].stand_in(x, branch)

    keras.utils.set_random_seed(5)
    drawn()
    first = drawn()
    keras.utils.set_random_seed(5)
    drawn()
    assert verdict("01-residual", function).startswith("correct: ")
    second = drawn()
    assert second[:3] == first[:3]
    number = [int(names[3].rpartition("_")[2]) for names in (first, second)]
    assert number[1] == number[0] + 2


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_state_of_the_reader_decides_nothing(name, seed):
    keras.utils.set_random_seed(seed)
    assert verdict(name, EXERCISES[name].stand_in).startswith("correct: ")


# The time


@pytest.fixture
def second(monkeypatch):
    monkeypatch.setattr(core, "SECONDS", 0.3)


def endless(*args, **options):
    while True:
        try:
            args = args[:]
        except Exception:
            continue


def endless_with_layers(x, *args, **options):
    while True:
        layers.ReLU()(x)


def endless_waiting(*args, **options):
    while True:
        time.sleep(0.01)


LOOPS = {"python": endless, "layers": endless_with_layers, "waiting": endless_waiting}


def threads():
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("loop", LOOPS)
def test_endless_loop_is_stopped_and_told(second, loop):
    before = threads()
    said = verdict("01-residual", LOOPS[loop])
    assert said.startswith("look again: your answer took longer than 0.3 s, and was stopped.")
    assert threads() <= before


def test_layer_that_is_stopped_half_way_leaves_keras_as_it_was(second):
    def judge(answer):
        global_state.set_global_attribute("current_call_ctx", "as if in a layer's call")
        endless()

    before = dict(vars(global_state.GLOBAL_STATE_TRACKER))
    assert "took longer" in core.verdict(own_exercise(judge), "00-own", 1)
    assert vars(global_state.GLOBAL_STATE_TRACKER) == before


@pytest.mark.parametrize("name", CODE[1:])
def test_endless_loop_in_a_block_is_stopped(second, name):
    assert "took longer than 0.3 s" in verdict(name, endless)


def test_endless_loop_in_another_thread_is_stopped(second):
    found = []
    thread = threading.Thread(target=lambda: found.append(verdict("01-residual", endless)))
    before = threads()
    thread.start()
    thread.join(60)
    assert "took longer than 0.3 s" in found[0]
    assert threads() <= before


def test_thread_of_the_reader_is_not_stopped_later(second):
    assert "took longer" in verdict("01-residual", endless)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    assert verdict("01-gradient", 0.7).startswith("correct: ")


def test_answer_in_time_leaves_no_thread():
    before = threads()
    assert verdict("01-gradient", 0.7).startswith("correct: ")
    assert threads() <= before


def test_time_is_counted_anew_for_each_answer(monkeypatch):
    monkeypatch.setattr(core, "SECONDS", 0.5)
    exercise = own_exercise(lambda answer: time.sleep(0.2))
    said = [core.verdict(exercise, "00-own", 1) for _ in range(4)]
    assert said == ["correct: it matters."] * 4


def test_exception_lost_in_a_destructor_comes_again(second, monkeypatch):
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: lost.append(error.exc_type))

    class Swallows:
        def __del__(self):
            endless()

    def judge(answer):
        Swallows()  # Python reports what a destructor raises, and goes on.
        endless()

    assert "took longer" in core.verdict(own_exercise(judge), "00-own", 1)
    assert lost == [core.TookTooLong]


def test_interrupt_of_the_reader_passes_and_leaves_no_thread():
    def interrupted(x, branch):
        raise KeyboardInterrupt

    before = threads()
    with pytest.raises(KeyboardInterrupt):
        verdict("01-residual", interrupted)
    assert threads() <= before


# Notes, numbers


def test_note_of_a_judge_stands_before_the_reason():
    exercise = own_exercise(lambda answer: "a variant: it is so.")
    said = "correct: a variant: it is so. Why it matters: it matters."
    assert core.verdict(exercise, "00-own", 1) == said


def count(a=2, b=3, c=1):
    return a * b + c


MISTAKES = (
    ("forgets a", "a counts.", {"a": 0}),
    ("forgets b", "b counts.", {"b": 0}),
    ("forgets c", "c counts.", {"c": 0}),
    ("takes a twice", "Once.", {"a": 4}),
    ("takes c for the sum", "No.", {"c": -3}),
)


def test_numbers_mean_each_mistake_and_each_two():
    found = core.numbers_meant(count, MISTAKES)
    assert found[6] == "That forgets c. c counts."
    assert found[12] == "That forgets c and takes a twice. c counts. Once."
    same = "That forgets a, or it forgets b: the number is the same. Look at each part."
    assert found[1] == same
    assert 7 not in found


TABLES = {
    "02-parameters": (
        notebook02.count_parameters,
        notebook02.PARAMETER_MISTAKES,
        notebook02.PARAMETER_MEANINGS,
    ),
    "04-blocks": (notebook04.count_blocks, notebook04.BLOCK_MISTAKES, notebook04.BLOCKS),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_two_mistakes_share_a_number_with_a_text_that_names_one(name):
    count, mistakes, table = TABLES[name]
    for does, _, changed in mistakes:
        assert does in table[count(**changed)]
    for one, other in combinations(mistakes, 2):
        wrong = {**one[2], **other[2]}
        number = count(**wrong)
        told = [does for does, _, changed in mistakes if changed == wrong] or [one[0], other[0]]
        least = [count(), count(**one[2]), count(**other[2])]
        if len(wrong) == len(one[2]) + len(other[2]) and number not in least:
            assert all(does in table[number] for does in told), (one, other)


@pytest.mark.parametrize("name", TABLES)
def test_a_meaning_is_what_the_check_says(name):
    for number, text in TABLES[name][2].items():
        said = verdict(name, number)
        assert said.startswith("look again: received ")
        assert said.endswith(" ".join(text.split()))


def test_biases_without_batch_normalisation_are_told_with_what_has_the_same_number():
    number = notebook02.count_parameters(norms=0, biases=1)
    assert number == notebook02.count_parameters(per_channel=1) == 57536
    said = verdict("02-parameters", number)
    assert "counts one number a channel for each batch normalisation, or it forgets batch" in said
    assert "counts a bias for each channel" in said


@pytest.mark.parametrize("first", [1, 7, 16, 512, "None", np.int64(2)])
def test_fourth_number_of_a_shape_is_looked_at(first):
    said = verdict("02-bottleneck-shape", (first, 16, 16, 512))
    assert said.startswith("look again: received ")
    assert "the pictures in a batch: None" in said
    assert verdict("02-bottleneck-shape", (None, 16, 16, 512)).startswith("correct: ")
    assert "That is the mid-width" in verdict("02-bottleneck-shape", (None, 16, 16, 128))


# Hints


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_go_further_and_hold_no_code_of_the_answer(name):
    hints = EXERCISES[name].hints
    assert len(hints) == 3
    assert len(set(hints)) == 3
    assert not any(word in hint for hint in hints for word in ("return layers", "def ", "put out"))


@pytest.mark.parametrize("name", CODE)
def test_what_stands_in_is_correct_and_described(name):
    stand_in = EXERCISES[name].stand_in
    assert stand_in.__doc__.startswith("Return the ")
    assert verdict(name, stand_in).startswith("correct: ")


def test_a_number_beyond_all_floats_is_only_another_number():
    with pytest.raises(core.Wrong, match=r"received 1000\d+\.\.\.\d+\. too large"):
        core.judge_number(10**400, 5, {7: "seven"}, "too large")
