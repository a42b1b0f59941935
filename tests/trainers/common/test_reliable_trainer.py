"""What trainers save: nothing pickled of their settings, no card but ours, and adapters with all that opens them."""

import json

import pytest
from peft import LoraConfig

from fourdthinker.hub_cards.own_text import is_generated
from fourdthinker.hub_cards.publishing.findings import find_file_faults
from fourdthinker.hub_cards.publishing.folder import find_files
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer, LatentGRPOConfig, LatentGRPOTrainer

SETTINGS = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "max_steps": 1, "save_steps": 1}
STAGES = {
    "dift": (DIFTTrainer, DIFTConfig, {"per_device_train_batch_size": 2}),
    "grpo": (
        LatentGRPOTrainer,
        LatentGRPOConfig,
        {"per_device_train_batch_size": 2, "num_generations": 2, "max_completion_length": 4},
    ),
}


@pytest.fixture(scope="module")
def family():
    """Saving is the same for both."""
    return "qwen2_5_vl"


@pytest.fixture(params=[(stage, whole) for stage in STAGES for whole in (True, False)], ids=str)
def make_trainer(request, tiny_model_folder, dift_dataset, make_dift_row, tmp_path):
    """Makes a trainer of either stage, of the whole model or an adapter."""
    stage, whole = request.param
    trainer_class, config_class, settings = STAGES[stage]
    rows = dift_dataset([make_dift_row(number, 1) for number in range(4)])

    def make():
        model, processor = load_model(tiny_model_folder)
        return trainer_class(
            model,
            args=config_class(str(tmp_path / "out"), **SETTINGS, **settings),
            train_dataset=rows,
            processing_class=processor,
            peft_config=None if whole else LoraConfig(r=2),
        )

    return make


@pytest.mark.slow
def test_a_checkpoint_holds_no_pickled_settings_and_no_card(make_trainer, tmp_path):
    make_trainer().train()
    folder = tmp_path / "out" / "checkpoint-1"
    (weights,) = folder.glob("*model.safetensors")
    assert weights.stat().st_mode == (folder / "config.json").stat().st_mode
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name in ("training_args.bin", "README.md")]
    noted = json.loads((folder / "training_args.json").read_text())
    assert (noted["max_steps"], noted["per_device_train_batch_size"]) == (1, 2)
    assert str(tmp_path) not in json.dumps(noted)
    assert load_model(folder)


@pytest.mark.medium
def test_a_saved_model_has_our_card_unless_somebody_elses_is_there(make_trainer, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    trainer = make_trainer()
    trainer.create_model_card()  # as TRL does with each checkpoint, where no model is
    trainer.save_model()
    trainer.create_model_card(model_name="theirs")
    assert (folder / "README.md").read_text() == "mine"
    (folder / "README.md").unlink()
    trainer.save_model()
    card = (folder / "README.md").read_text()
    assert is_generated(card) and "fine-tuned version of [None]" not in card and "time machine" not in card
    trainer.create_model_card(model_name="theirs", dataset_name="me/rows", tags="theirs")
    card = (folder / "README.md").read_text()
    assert is_generated(card) and "me/rows" in card and "theirs" not in card
    files = find_files(folder).files
    assert {"training_args.json", "lineage.json"} <= files.keys() and not (folder / "training_args.bin").exists()
    # An adapter names its base, and the card's snippet the model, until it is published.
    checked = files.keys() - {"adapter_config.json", "README.md"}
    assert [str(fault) for name in checked for fault in find_file_faults(name, files[name], folder)] == []
    auto_map = json.loads((folder / "config.json").read_text())["auto_map"]
    assert all((folder / f"{name.partition('.')[0]}.py").is_file() for name in auto_map.values())


@pytest.mark.medium
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr_scheduler_kwargs": {"foo": 1}}, "lr_scheduler_type, lr_scheduler_kwargs: linear cannot be made with"),
        ({"optim": "adamw_torch", "optim_args": "fast"}, "optim, optim_args: adamw_torch cannot be made with"),
    ],
)
def test_arguments_that_optimizer_or_schedule_reject_are_named(
    settings, words, tiny_model_folder, dift_dataset, make_dift_row, tmp_path
):
    rows = dift_dataset([make_dift_row(number, 1) for number in range(2)])
    args = DIFTConfig(str(tmp_path / "out"), **SETTINGS, **settings)
    with pytest.raises(InputError, match=words):
        DIFTTrainer(str(tiny_model_folder), args=args, train_dataset=rows).train()
