"""What a 4DRL run logs of its groups."""

import pytest
import torch

from fourdthinker.trainers.grpo.metrics import share_of_equal_groups

NAN = float("nan")


@pytest.mark.parametrize(
    ("rewards", "equal"),
    [
        ([[1.0, 0.0], [1.0, 0.0]], 1.0),
        ([[1.0, 0.0], [0.0, 1.0]], 0.0),
        ([[0.6, 0.6], [0.9, 0.0]], 1.0),  # 0.6 + 0.5 * 0.6 is 0.9, though not to the last bit
        ([[NAN, 1.0], [NAN, 1.0]], 1.0),
        ([[NAN, 1.0], [0.0, 1.0]], 1.0),
        ([[NAN, 1.0], [1.0, 1.0]], 0.0),
    ],
)
def test_groups_whose_completions_earned_the_same(rewards, equal):
    weights = torch.tensor([1.0, 0.5])
    first, second = (torch.tensor(rewards) * weights).nansum(1)
    assert equal == 1.0 or first != second
    assert share_of_equal_groups(torch.tensor(rewards), weights, 2) == equal
