"""A resumed DIFT run goes on with what its checkpoint's configuration says."""

from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
def test_the_targets_length_is_the_checkpoints_whatever_rows_come_first_now(make_dift_trainer, make_dift_row):
    first, second = ([make_dift_row(number, 1) for number in numbers] for numbers in ((0, 1), (2, 3)))
    settings = {"latent_norm": "match", "max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    trainer = make_dift_trainer(first, **settings)
    trainer.train()
    (checkpoint,) = Path(trainer.args.output_dir).glob("checkpoint-*")
    resumed = make_dift_trainer(second, **{**settings, "max_steps": 2})
    lengths = [one.model.config.latent_target_norm for one in (trainer, resumed)]
    assert lengths[0] != pytest.approx(lengths[1], rel=1e-4)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.model.config.latent_target_norm == lengths[0]
