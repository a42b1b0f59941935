"""The order of prompts follows from seed and epoch alone, so a resumed run has the order of an undisturbed one."""

import pytest
from trl.trainer.utils import RepeatSampler

from fourdthinker.trainers.grpo.epoch_sampler import EpochSampler


@pytest.fixture
def order():
    """The order that a run sees which asks for these epochs one after the other, as a list for each."""

    def run(*epochs, seed=3, shuffle=True):
        stock = RepeatSampler(range(16), mini_repeat_count=1, batch_size=1, shuffle=shuffle, seed=seed)
        coming = iter(epochs)
        sampler = EpochSampler(stock, lambda: next(coming))
        return [list(sampler) for _ in epochs]

    return run


def test_a_run_that_goes_on_in_a_later_epoch_has_its_order(order):
    undisturbed = order(0, 1.0, 2.0)
    assert order(2.4) == undisturbed[2:], "in the middle of the third epoch"
    assert order(None) == undisturbed[:1], "before the first step"
    assert all(sorted(one) == list(range(16)) for one in undisturbed)
    assert undisturbed[0] != undisturbed[1] != undisturbed[2] != undisturbed[0]


def test_another_seed_is_another_order_and_without_shuffling_rows_come_as_they_are(order):
    assert order(0) != order(0, seed=4)
    assert order(0, shuffle=False) == [list(range(16))]
