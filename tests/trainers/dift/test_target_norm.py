"""The length of targets that a model with `latent_norm="match"` is trained and saved with."""

import json

import pytest

from fourdthinker.modeling import load_model
from fourdthinker.trainers import DIFTConfig, DIFTTrainer


@pytest.mark.medium
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
def test_rows_that_stream_are_measured_as_whole_ones_are(
    make_dift_trainer, make_dift_row, dift_dataset, tiny_model_folder, tmp_path
):
    rows = [make_dift_row(number, 1) for number in range(2)]
    settings = {"latent_norm": "match", "self_feeding": "parallel", "max_steps": 1}
    expected = make_dift_trainer(rows, **settings).model.config.latent_target_norm
    model, processor = load_model(tiny_model_folder)
    args = DIFTConfig(str(tmp_path / "stream"), use_cpu=True, bf16=False, report_to="none", **settings)
    stream = dift_dataset(rows).to_iterable_dataset()
    trainer = DIFTTrainer(model, args=args, train_dataset=stream, processing_class=processor)
    trainer.train()
    trainer.save_model()
    saved = json.loads((tmp_path / "stream" / "config.json").read_text(encoding="utf-8"))
    assert saved["latent_target_norm"] == expected > 0
