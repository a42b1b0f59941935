"""`push_to_hub` of our trainers publishes as the command does: checked, private, in one commit."""

import os
import subprocess
import sys

import pytest
from transformers import Trainer

SCRIPT = """
import json, sys

from datasets import load_from_disk

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer

model, rows, output = sys.argv[1:]
settings = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "push_to_hub": True}
args = DIFTConfig(output, max_steps=1, save_steps=1, per_device_train_batch_size=2, **settings)
trainer = DIFTTrainer(model, args=args, train_dataset=load_from_disk(rows))
assert trainer.hub_model_id == "me/out", trainer.hub_model_id
trainer.train()
try:
    trainer.push_to_hub(check=False)
except InputError as error:
    print(json.dumps(str(error)))
trainer.push_to_hub(check=False, tag="v1", allow=["README.md"])
"""


@pytest.mark.slow
def test_a_trained_model_is_published_once_it_may_be(hub, tiny_folders, dift_dataset, make_dift_row, tmp_path):
    """In one commit, after what stops it was let pass: this tiny model's card names no licence."""
    dift_dataset([make_dift_row(number, 1) for number in range(4)]).save_to_disk(tmp_path / "rows")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tiny_folders("qwen2_5_vl"), tmp_path / "rows", tmp_path / "out"],
        cwd=tmp_path,
        env={**os.environ, **hub.environment(tmp_path / "hf"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "there is no `license`" in done.stdout
    repo = hub.repo("model", "me/out")
    assert repo.private and len(repo.history()) == 2 and repo.refs["refs/tags/v1"] == repo.head()
    files = repo.files()
    assert {"README.md", "model.safetensors", "config.json", "training_args.json"} <= files.keys()
    assert not [name for name in files if name.endswith((".bin", ".pt")) or name.startswith("checkpoint-")]
    assert str(tmp_path).encode() not in b"".join(data for name, data in files.items() if name != "tokenizer.json")


def test_transformers_has_the_methods_that_are_replaced():
    for name in ("init_hf_repo", "push_to_hub", "_push_from_checkpoint"):
        assert callable(getattr(Trainer, name))
