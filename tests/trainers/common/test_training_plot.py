"""The plot of a run: written if something was logged twice, with a panel for each kind of number."""

import numpy as np
import pytest
from PIL import Image

from fourdthinker.trainers.common.training_plot import write_training_plot

LOSS = [{"step": step, "loss": 2.0 / step, "sim_loss": 1.0 / step} for step in range(1, 30)]
COSINES = [{"step": step, "cosine_1": 0.1 * step, "cosine_4": 0.05 * step} for step in (1, 5, 9)]
ANSWERS = [{"step": step, "eval_accuracy": 0.25} for step in (4, 8)]


def coloured(path) -> int:
    """Pixels that are neither grey nor white: curves and their legends."""
    with Image.open(path) as plot:
        pixels = np.asarray(plot.convert("RGB")).astype(int)
    return int((pixels.max(-1) - pixels.min(-1) > 60).sum())


@pytest.mark.medium
@pytest.mark.parametrize("more", [[], COSINES, [*COSINES, *ANSWERS]], ids=len)
def test_every_kind_of_number_adds_to_the_plot(tmp_path, more):
    write_training_plot(LOSS, tmp_path / "less.png")
    write_training_plot([*LOSS, *more, {"step": 29, "train_runtime": 3.0}], tmp_path / "more.png")
    assert coloured(tmp_path / "less.png") > 300
    difference = coloured(tmp_path / "more.png") - coloured(tmp_path / "less.png")
    assert difference > 100 if more else difference == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["less.png", "more.png"], "nothing half-written"


@pytest.mark.parametrize("log", [[], [{"step": 3, "train_runtime": 1.0}], [{"step": 1, "loss": 2.0}]], ids=str)
def test_what_is_no_curve_is_no_plot(tmp_path, log):
    (tmp_path / "plot.png").write_bytes(b"of an earlier run")
    write_training_plot(log, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())
