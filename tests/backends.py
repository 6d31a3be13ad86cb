"""Tests that hold on one backend alone say so, with the reason."""

import keras
import pytest

BACKEND = keras.backend.backend()


def tensorflow_only(reason):
    """Return the mark of a test that another backend than TensorFlow has to skip."""
    return pytest.mark.skipif(BACKEND != "tensorflow", reason=f"TensorFlow only: {reason}")
