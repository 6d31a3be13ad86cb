"""Answers to the exercises of notebook 03; see test_workshop.py."""

RIGHT = {}
WRONG = {}
STUBS = {}
SLOW = set()
