"""What trainers cannot do is said in one line before the first step, and not found out by a traceback at the tenth."""

import json

import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from peft import LoraConfig, get_peft_model
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import LATENT_TOKENS
from fourdthinker.trainers import DIFTConfig, DIFTTrainer, LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.common.dataset_columns import adopt_trl_columns
from fourdthinker.trainers.common.row_validation import validate_rows

FIXED = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "max_steps": 1}
GROUPS = {"num_generations": 2, "per_device_train_batch_size": 2, "max_completion_length": 4}


@pytest.fixture(scope="module")
def family():
    """None of this depends on the family."""
    return "qwen2_5_vl"


@pytest.fixture
def rows(dift_dataset, make_dift_row):
    return dift_dataset([make_dift_row(number, 1) for number in range(2)])


@pytest.fixture(params=[(DIFTTrainer, DIFTConfig, {}), (LatentGRPOTrainer, LatentGRPOConfig, GROUPS)])
def make_trainer(request, rows, tmp_path):
    trainer_class, config_class, settings = request.param

    def make(model, processor, **changes):
        args = config_class(str(tmp_path), **FIXED, **{**settings, **changes})
        return trainer_class(model, args=args, train_dataset=rows, processing_class=processor)

    return make


@pytest.mark.medium
def test_a_processor_without_latent_tokens_is_rejected(make_trainer, tiny_model_folder):
    model, processor = load_model(tiny_model_folder)
    stock = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    stock["added_tokens"] = [token for token in stock["added_tokens"] if token["content"] not in LATENT_TOKENS]
    processor.tokenizer = type(processor.tokenizer)(
        tokenizer_object=type(processor.tokenizer.backend_tokenizer).from_str(json.dumps(stock))
    )
    with pytest.raises(
        InputError, match="the processor does not have the model's latent tokens: give as processing_cl"
    ):
        make_trainer(model, processor)


def test_a_reference_of_another_kind_is_rejected(tiny_model_folder, rows, tmp_path):
    """A model of `from_backbone` names the stock checkpoint that it was made of."""
    model, processor = load_model(tiny_model_folder)
    (tmp_path / "stock").mkdir()
    (tmp_path / "stock" / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    model.config._name_or_path = str(tmp_path / "stock")
    args = LatentGRPOConfig(str(tmp_path), **FIXED, **GROUPS, beta=0.1)
    with pytest.raises(
        InputError, match="beta is 0.1, and the reference model cannot be read from .*'qwen2_5_vl': sav"
    ):
        LatentGRPOTrainer(model, args=args, train_dataset=rows, processing_class=processor)


def test_dift_takes_no_model_with_an_adapter_and_no_other_loss(tiny_model_folder, rows, tmp_path):
    model, processor = load_model(tiny_model_folder)
    given = {"args": DIFTConfig(str(tmp_path), **FIXED), "train_dataset": rows, "processing_class": processor}
    with pytest.raises(InputError, match="compute_loss_func would take the place of DIFT's loss"):
        DIFTTrainer(model, **given, compute_loss_func=lambda *_, **__: 0)
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(
        InputError, match="the model has an adapter already: give the model without it, and peft_config"
    ):
        DIFTTrainer(adapted, **given)
    with pytest.raises(InputError, match="neftune_noise_alpha is 5, which DIFT cannot follow"):
        DIFTConfig(str(tmp_path), **FIXED, neftune_noise_alpha=5)


@pytest.mark.medium
def test_a_readout_of_an_earlier_training_is_gone(tiny_model_folder, rows, tmp_path):
    model, processor = load_model(tiny_model_folder)
    given = {"train_dataset": rows, "processing_class": processor}
    exact = {"self_feeding": "exact", "sim_loss_weight": 1.0, "target_readout": True}
    DIFTTrainer(model, args=DIFTConfig(str(tmp_path), **FIXED, **exact), **given)
    assert model.target_readout is not None
    DIFTTrainer(model, args=DIFTConfig(str(tmp_path), **FIXED), **given)
    assert not hasattr(model, "target_readout")


@pytest.mark.medium
def test_rows_without_answers_are_evaluated_all_the_same(tiny_model_folder, rows, tmp_path):
    """Their responses have them."""
    model, processor = load_model(tiny_model_folder)
    args = DIFTConfig(str(tmp_path), **FIXED, save_strategy="no")
    bare = rows.remove_columns("answer")
    trainer = DIFTTrainer(model, args=args, train_dataset=bare, eval_dataset=bare, processing_class=processor)
    assert trainer.evaluate()["eval_accuracy_rows"] == 2


def frames(*shades):
    return [Image.new("RGB", (56, 56), (shade, 0, 0)) for shade in shades]


def test_videos_may_be_lists_of_frames():
    features = Features({"prompt": Value("string"), "answer": Value("string"), "videos": List(List(ImageFeature()))})
    rows = [{"prompt": "Which?", "answer": "A", "videos": [frames(80, 160)]}]
    adopted = validate_rows(adopt_trl_columns(Dataset.from_list(rows, features=features), "grpo"), "grpo")
    assert [frame.getpixel((0, 0)) for frame in adopted[0]["frames"]] == [(80, 0, 0), (160, 0, 0)]
    assert adopted[0]["timestamps"] == [0.0, 1.0]


def test_rows_without_images_or_words_are_named():
    features = Features({"prompt": Value("string"), "answer": Value("string"), "images": List(ImageFeature())})
    rows = [{"prompt": "Which?", "answer": "A", "images": images} for images in (frames(80), None)]
    adopted = adopt_trl_columns(Dataset.from_list(rows, features=features), "grpo")
    with pytest.raises(InputError, match="1 of 2 rows cannot be trained on; the first is row-2: .*frames"):
        validate_rows(adopted, "grpo")
    assert validate_rows(adopted, "grpo", "skip")["id"] == ["row-1"]
    turns = [[{"role": "user", "content": content}] for content in ("Which?", None)]
    rows = Dataset.from_list([{"prompt": turn, "images": frames(80)} for turn in turns])
    with pytest.raises(InputError, match="row 2: the turn of prompt has no content: write its text"):
        adopt_trl_columns(rows, "grpo")
