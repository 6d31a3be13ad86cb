"""Answers to the exercises of notebook 01; see test_workshop.py."""

RIGHT = {}
WRONG = {}
STUBS = {}
SLOW = set()
