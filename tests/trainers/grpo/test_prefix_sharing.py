"""Completions behind a common prompt: each token keeps what it sees, and each row its step."""

import pytest
import torch

from fourdthinker.trainers import LatentGRPOConfig
from fourdthinker.trainers.grpo.prefix_sharing import (
    SharedRows,
    find_best_group_size,
    group_by_prompt,
    group_slices_by_prompt,
    is_order_free,
    row_cost,
)

FIRST, SECOND = 3, 8
# Two columns of prompt, padded on the left, and three of completions, padded on the right.
MASK = torch.tensor([[1, 1, 1, 1, 0], [0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
IDS = torch.tensor([[10, 11, 12, 13, 0], [0, 20, 21, 0, 0], [10, 11, 14, 15, 16], [10, 11, 0, 0, 0]])
GROUPS = [[0, 2, 3], [1]]


@pytest.fixture
def layout():
    return SharedRows.lay_out(MASK, 2, GROUPS)


def test_a_prompt_stands_once_before_its_completions(layout):
    assert layout.gather(IDS, padding=99).tolist() == [[10, 11, 12, 13, 14, 15, 16], [20, 21, 99, 99, 99, 99, 99]]
    positions = torch.stack([IDS, IDS + 100])
    assert layout.gather(positions)[1, 0].tolist() == [110, 111, 112, 113, 114, 115, 116]


def test_every_token_is_found_again_and_sees_what_it_saw_in_its_row(layout):
    seen, ids = layout.attention().flatten(0, 2), layout.gather(IDS)
    tokens = ids.shape[1]
    for row, column in MASK.nonzero().tolist():
        place = int(layout.places[row, column])
        group = ids[place // tokens]
        assert group[place % tokens] == IDS[row, column]
        assert group[seen[place]].tolist() == IDS[row, : column + 1][MASK[row, : column + 1].bool()].tolist()


def test_rows_of_a_prompt_are_found_wherever_they_stand():
    prompts = [FIRST, SECOND, FIRST, FIRST, FIRST, FIRST]
    assert group_by_prompt(prompts) == [[0, 2, 3, 4, 5], [1]]
    assert group_by_prompt(prompts, at_most=2) == [[0, 2], [3, 4], [5], [1]]
    assert group_by_prompt(prompts, at_most=4) == [[0, 2, 3], [4, 5], [1]]  # halves, not four and one


@pytest.mark.parametrize(("prompt", "completion", "hidden"), [(1200, 1024, 2048), (140, 1024, 128), (379, 64, 512)])
def test_as_many_stand_together_as_cost_the_least(prompt, completion, hidden):
    def cost(together):
        return row_cost(prompt + together * completion, hidden) / together

    best = min(range(1, 9), key=cost)
    found = min(find_best_group_size(prompt, completion, hidden), 8)
    assert cost(found) <= 1.02 * cost(best)
    assert (prompt < completion / 2) == (found == 1)


def test_rows_move_within_their_step_alone():
    numbers = [[FIRST, SECOND], [SECOND, FIRST], [SECOND, FIRST], [FIRST, SECOND]]
    slices = [
        {
            "ids": torch.tensor([2 * n, 2 * n + 1]),
            "prompt_numbers": pair,
            "names": [f"{2 * n}", f"{2 * n + 1}"],
            "none": None,
        }
        | {"tokens": torch.tensor(7)}
        for n, pair in enumerate(numbers)
    ]
    moved = group_slices_by_prompt(slices, window=2)
    assert [piece["ids"].tolist() for piece in moved] == [[0, 3], [1, 2], [4, 7], [5, 6]]
    assert [piece["names"] for piece in moved] == [["0", "3"], ["1", "2"], ["4", "7"], ["5", "6"]]
    assert all(len(set(piece["prompt_numbers"])) == 1 for piece in moved)
    assert all(piece["tokens"] == 7 and piece["none"] is None for piece in moved)
    part = group_slices_by_prompt(slices[:2], window=4)  # a step takes two generations of two slices
    assert [piece["ids"].tolist() for piece in part] == [[0, 3], [1, 2]]
    assert group_slices_by_prompt(slices[:3], window=2) == slices[:3]  # the second step would begin in the third slice


@pytest.mark.parametrize(
    ("settings", "free"),
    [
        ({}, True),
        ({"loss_type": "dapo"}, True),
        ({"loss_type": "bnpo"}, False),
        ({"top_entropy_quantile": 0.2}, False),
        ({"entropy_coef": 0.01}, False),
        ({"use_adaptive_entropy": True}, False),
    ],
    ids=str,
)
def test_rows_stay_where_a_pass_takes_a_mean_of_its_own(tmp_path, settings, free):
    assert is_order_free(LatentGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, **settings)) == free
