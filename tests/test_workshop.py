"""The tasks of the workshop: answers of tasks00.py to tasks10.py get the verdicts they should."""

import pytest
import test_exercises
from answers import RIGHT, STUBS, WRONG, marks
from later import Later

from resnet_lib import exercises


def cases(answers):
    """Return a parameter (name, answer) for each answer, slow ones marked."""
    return [
        pytest.param(name, answer, marks=marks(name), id=f"{name}-{number}")
        for name, each in answers.items()
        for number, answer in enumerate(each, start=1)
    ]


@pytest.fixture
def verdict(capsys):
    """Return a function (name, answer) -> what the check prints, in one line."""

    def check(name, answer):
        exercises.check(name, answer() if isinstance(answer, Later) else answer)
        return " ".join(capsys.readouterr().out.split())

    return check


@pytest.mark.parametrize(("name", "answer"), cases(RIGHT))
def test_right_answer_is_correct(verdict, name, answer):
    said = verdict(name, answer)
    assert said.startswith("correct: "), said


@pytest.mark.parametrize(("name", "case"), cases(WRONG))
def test_wrong_answer_gets_its_diagnosis(verdict, name, case):
    answer, words = case
    said = verdict(name, answer)
    assert said.startswith("look again: "), said
    assert words in said


@pytest.mark.parametrize("name", WRONG)
def test_diagnoses_are_all_different(name):
    words = [words for _, words in WRONG[name]]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("name", STUBS)
def test_untouched_stub_is_not_done_yet(verdict, name):
    assert verdict(name, STUBS[name]).startswith("not done yet: ")


def test_every_exercise_has_right_answers_and_wrong_ones():
    tested_elsewhere = set(test_exercises.RIGHT)
    assert {*RIGHT, *tested_elsewhere} == set(exercises.names())
    asking = [name for name in RIGHT if exercises._exercise(name).stand_in is not None]
    assert [name for name in asking if len(RIGHT[name]) < 2 or len(WRONG[name]) < 4] == []
    assert [name for name in RIGHT if not WRONG.get(name)] == []
