"""Sampler whose order of prompts depends on seed and epoch alone."""

from collections.abc import Callable, Iterator

from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """TRL's sampler, whose generator is seeded for each epoch.

    TRL seeds it once, so that a run that goes on in its third epoch would see the order of the first. It receives the
    epoch when it is iterated, since what wraps it in a distributed run does not pass `set_epoch` on.

    Args:
        like (`RepeatSampler`): The sampler to be.
        epoch (`Callable[[], float | None]`): Gives the epochs done so far.
    """

    def __init__(self, like: RepeatSampler, epoch: Callable[[], float | None]):
        repeats = (like.mini_repeat_count, like.batch_size, like.repeat_count)
        super().__init__(like.data_source, *repeats, like.shuffle, like.seed)
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed + int(self.epoch() or 0))
        return super().__iter__()
