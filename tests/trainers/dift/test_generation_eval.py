"""What is counted of answers that a model in training gives on its own."""

import pytest

from fourdthinker.modeling.tokens import LATENT_END, LATENT_PAD, LATENT_START
from fourdthinker.trainers.dift import generation_eval
from fourdthinker.trainers.dift.generation_eval import free_running_counts, free_running_shares

BLOCK = LATENT_START + LATENT_PAD * 4 + LATENT_END


def test_counts_and_shares(tiny_model, tiny_processor, make_dift_row, monkeypatch):
    responses = [
        f"<think>I see {BLOCK} and {BLOCK}.</think><answer>B. Pan Right</answer>",
        f"<think>I see {LATENT_START}{LATENT_PAD}{LATENT_END}",
        "<think>Nothing.</think><answer>A</answer>",
        "<answer>B</answer>",
        None,
    ]
    rows = [make_dift_row(number) for number in range(5)]
    # As the published rows are: options in the question, the key in the response.
    rows[3] |= {"options": [], "answer": ""}
    monkeypatch.setattr(generation_eval, "predict", lambda *args, **kwargs: responses)
    counts = free_running_counts(tiny_model, tiny_processor, rows, 2, 8)
    assert counts == {
        "rows": 5,
        "rows_with_blocks": 2,
        "blocks": 3,
        "whole_blocks": 2,
        "correct": 2,
        "chance": 1.25,
    }
    shares = free_running_shares(counts)
    assert (shares["accuracy"], shares["accuracy_chance"], shares["whole_blocks"]) == (0.4, 0.25, pytest.approx(2 / 3))
    assert shares["accuracy_low"] == pytest.approx(0.1176, abs=1e-3)  # Wilson, by hand


def test_no_rows_count_nothing(tiny_model, tiny_processor):
    assert set(free_running_counts(tiny_model, tiny_processor, [], 2, 8).values()) == {0.0}
