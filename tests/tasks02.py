"""Answers to the exercises of notebook 02; see test_workshop.py."""

RIGHT = {}
WRONG = {}
STUBS = {}
SLOW = set()
