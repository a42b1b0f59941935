"""Rows and trainers for the tests of DIFT."""

import pytest


@pytest.fixture
def make_trainer(make_dift_trainer):
    return make_dift_trainer


@pytest.fixture
def rows(make_dift_row):
    """Rows with two blocks each, of different lengths."""
    return [make_dift_row(number, 2) for number in range(3)]


@pytest.fixture
def uneven_rows(make_dift_row):
    """Eight rows of different lengths with none to three imagined frames."""
    return [make_dift_row(number, number % 4) for number in range(8)]
