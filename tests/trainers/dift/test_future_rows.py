"""DIFT on rows about the future: the trainer takes them as they are, and the prompt never sees their imagery."""

import pytest
import torch

for needed in ("pybullet", "pycocotools", "cv2"):
    pytest.importorskip(needed, reason="needs the extras `data` and `world`")
from fourdthinker.dataset_builders.sources.world_future import FutureWorld, future_questions  # noqa: E402
from fourdthinker.modeling.processing import decode_image  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    """A row of each kind."""
    found = {}
    with FutureWorld() as world:
        for seed in range(40):
            for task, _, row in future_questions(world.clip(seed), seed):
                row = {name: row[name] for name in row if name not in ("source", "facts", "imagery_timestamps")}
                for column in ("frames", "imagery", "imagery_masks"):
                    row[column] = [decode_image(picture) for picture in row[column]]
                found.setdefault(task, row)
            if len(found) == 4:
                return list(found.values())
    raise AssertionError(f"only {list(found)}")


def batch_of(trainer):
    batch = dict(trainer.data_collator(list(trainer.train_dataset)))
    batch.pop("ids")
    return batch


@pytest.mark.medium
def test_imagery_after_the_cut_is_a_target_and_no_part_of_the_prompt(make_dift_trainer, rows):
    trainer = make_dift_trainer(rows)
    batch = batch_of(trainer)
    loss, outputs = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)
    assert torch.isfinite(loss) and outputs.sim_loss > 0
    # Other imagery changes the targets and nothing that the prompt is made of.
    others = [{**row, "imagery": [image.rotate(90) for image in row["imagery"]]} for row in rows]
    changed = batch_of(make_dift_trainer(others))
    torch.testing.assert_close(changed["pixel_values_videos"], batch["pixel_values_videos"])
    torch.testing.assert_close(changed["input_ids"], batch["input_ids"])
    assert not torch.equal(changed["pixel_values_latent"], batch["pixel_values_latent"])
