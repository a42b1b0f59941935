"""An adapter opens as the model that was trained, or is rejected in one line before training."""

import numpy as np
import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PromptTuningConfig, TrainableTokensConfig, get_peft_model
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer, LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.common.adapters import complete_lora_config, validate_adapters
from fourdthinker.trainers.grpo.rollout import encode_prompts

TOWER = r"(^|.*\.)visual\..*"
QV = ["q_proj", "v_proj"]
TABLES = ["embed_tokens", "lm_head"]

pytestmark = pytest.mark.slow


def lora(targets=QV, **options):
    return LoraConfig(r=4, target_modules=targets, exclude_modules=TOWER, **options)


ACCEPTED = {
    "left open": LoraConfig(r=4),
    "rsLoRA": lora(use_rslora=True),
    "DoRA": lora(use_dora=True),
    "all linear layers": lora("all-linear"),
    "patterns": lora(rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 32}, layers_to_transform=[0]),
    "gaussian start": lora(init_lora_weights="gaussian"),
    "orthogonal start": lora(init_lora_weights="orthogonal"),
    "one parameter": lora(None, target_parameters=["o_proj.weight"]),
    "tower": LoraConfig(r=4, target_modules=r".*visual.*\.(qkv|proj)|.*language_model.*\.q_proj"),
    "whole head": lora(modules_to_save=["lm_head"]),
    "whole embeddings": lora(modules_to_save=["embed_tokens"]),
    "both tables": lora(modules_to_save=TABLES),
    "both tables as one": lora(modules_to_save=TABLES, ensure_weight_tying=True),
    "whole tower": lora(modules_to_save=["visual"]),
    "norms": lora(modules_to_save=["input_layernorm"]),
    "rows": lora(trainable_token_indices=[5, 9]),
    "rows of each table": lora(trainable_token_indices=dict.fromkeys(TABLES, [5, 9])),
    "IA3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "IA3 and a whole head": IA3Config(target_modules=["k_proj"], feedforward_modules=[], modules_to_save=["lm_head"]),
}
# On one of two tied tables. LoRA and IA3 there are rejected at training, since losses would not see them in the head;
# those that others have trained open exactly.
ON_TABLES = {
    "LoRA on embeddings": lora(["q_proj", "embed_tokens"]),
    "LoRA on the head": lora(["q_proj", "lm_head"]),
    "LoRA on both tables": lora(TABLES),
    "LoRA on both tables as one": lora(["q_proj", "embed_tokens"], ensure_weight_tying=True),
    "DoRA on embeddings": lora(["q_proj", "embed_tokens"], use_dora=True),
    "LoRA on the embeddings' parameter": lora(None, target_parameters=["embed_tokens.weight"]),
    "IA3 on the head": IA3Config(target_modules=["lm_head"], feedforward_modules=[]),
    "rows of the head": lora(trainable_token_indices={"lm_head": [5, 9]}),
    "rows alone": TrainableTokensConfig(token_indices=[5, 9], target_modules=["embed_tokens"]),
    "rows of the head alone": TrainableTokensConfig(token_indices=[5, 9], target_modules=["lm_head"]),
}
REJECTED = [
    (LoHaConfig(target_modules=QV), "adapters of type LOHA are not supported: use LoRA, rsLoRA, DoRA or IA3"),
    (PromptTuningConfig(num_virtual_tokens=2), "adapters of type PROMPT_TUNING are not supported"),
    (
        lora(init_lora_weights="pissa"),
        "init_lora_weights 'pissa' is not supported: use one of True, False, 'gaussian'",
    ),
    (lora(bias="all"), "the adapter's bias 'all' is not supported: leave it at its default"),
    (lora(lora_bias=True), "lora_bias True is not supported"),
    (lora(layer_replication=[(0, 2), (1, 2)]), "layer_replication .* is not supported"),
    (lora(alora_invocation_tokens=[5]), r"alora_invocation_tokens \[5\] is not supported"),
    (lora(task_type="SEQ_CLS"), "task_type 'SEQ_CLS' is not supported"),
]


@pytest.fixture(scope="module")
def family():
    """Tables and adapters are the same in each; the tower's layers are tried in `test_mixed_precision`."""
    return "qwen2_5_vl"


@pytest.fixture
def untied_folder(tiny_model_folder, tmp_path):
    """The tiny model with a head of its own."""
    model, processor = load_model(tiny_model_folder)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    for part in (model, processor):
        part.save_pretrained(tmp_path / "untied")
    return tmp_path / "untied"


@pytest.fixture(scope="module")
def say(tiny_processor):
    """The logits of a model after a video and some words."""
    noise = np.random.default_rng(0).integers(0, 255, (2, 56, 56, 3), dtype=np.uint8)
    row = {
        "question": "Which way does the camera move?",
        "options": ["Pan Left", "Pan Right"],
        "frames": [Image.fromarray(frame) for frame in noise],
        "timestamps": [0.0, 0.5],
    }
    encoded = encode_prompts(tiny_processor, [row])

    @torch.no_grad()
    def logits(model):
        return model.eval()(**encoded).logits

    return logits


@pytest.fixture
def adapt(tmp_path, say):
    """Puts an adapter on the model in a folder, changes its weights and saves it; gives its logits and its folder."""

    def adapt(folder, adapter, name="adapter"):
        model, processor = load_model(folder, dtype=torch.float32)
        before = say(model)
        adapted = get_peft_model(model, adapter)
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in adapted.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight), alpha=0.05)
        trained = say(adapted)
        assert (trained - before).abs().max() > 1e-2
        for part in (adapted, model.config, processor):
            part.save_pretrained(tmp_path / name)
        return trained, tmp_path / name

    return adapt


def assert_opens_as(trained, folder, say, tmp_path):
    """Opened, and saved and opened again."""
    model, processor = load_model(folder, dtype=torch.float32)
    torch.testing.assert_close(say(model), trained, atol=1e-5, rtol=0)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "again")
    torch.testing.assert_close(say(load_model(tmp_path / "again")[0]), trained, atol=1e-5, rtol=0)
    return model


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_accepted_adapter_opens_as_it_was_trained(tiny_model_folder, tmp_path, adapt, say, name):
    model, _ = load_model(tiny_model_folder)
    validate_adapters([ACCEPTED[name]], model)
    trained, folder = adapt(tiny_model_folder, complete_lora_config(ACCEPTED[name], model.config))
    assert_opens_as(trained, folder, say, tmp_path)


@pytest.mark.parametrize("name", ["left open", "whole head", "both tables as one", "rows of each table"])
def test_so_it_does_where_the_tables_are_two(untied_folder, tmp_path, adapt, say, name):
    trained, folder = adapt(untied_folder, complete_lora_config(ACCEPTED[name], load_model(untied_folder)[0].config))
    assert_opens_as(trained, folder, say, tmp_path)


@pytest.mark.parametrize("name", ON_TABLES)
def test_an_adapter_on_one_of_two_tied_tables_leaves_the_other(tiny_model_folder, tmp_path, adapt, say, name):
    trained, folder = adapt(tiny_model_folder, ON_TABLES[name])
    model = assert_opens_as(trained, folder, say, tmp_path)
    as_one = name in ("LoRA on both tables as one", "rows alone")
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == as_one
    assert model.config.tie_word_embeddings == as_one


def test_an_adapter_on_one_that_untied_the_tables_opens_with_both(tiny_model_folder, tmp_path, adapt, say):
    _, first = adapt(tiny_model_folder, lora(modules_to_save=["lm_head"]), "first")
    trained, second = adapt(first, lora(), "second")
    assert_opens_as(trained, second, say, tmp_path)


@pytest.mark.parametrize(("adapter", "words"), REJECTED, ids=[words[:30] for _, words in REJECTED])
def test_what_cannot_be_merged_exactly_is_rejected(tiny_model, adapter, words):
    with pytest.raises(InputError, match=words) as failure:
        validate_adapters([adapter], tiny_model)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (lora(["q_proj", "lm_head"]), "the adapter reaches lm_head: train all of it with modules_to_save"),
        (lora(r".*embed_tokens"), "the adapter reaches model.language_model.embed_tokens"),
        (lora(None, target_parameters=["embed_tokens.weight"]), "reaches model.language_model.embed_tokens"),
        (IA3Config(target_modules=["lm_head"], feedforward_modules=[]), "the adapter reaches lm_head"),
        (TrainableTokensConfig(token_indices=[5]), "the adapter has no target_modules"),
        (IA3Config(), "the adapter has no target_modules: name some"),
        (lora(["qproj"]), "is named qproj: correct the adapter's target_modules"),
    ],
)
def test_targets_that_cannot_be_trained_are_rejected(tiny_model, adapter, words):
    with pytest.raises(InputError, match=words):
        validate_adapters([adapter], tiny_model)


def test_an_adapter_from_elsewhere_is_rejected_at_opening(tiny_model_folder, tmp_path, adapt):
    _, folder = adapt(tiny_model_folder, lora(init_lora_weights="olora"))
    with pytest.raises(InputError, match="adapter cannot be opened: the adapter's init_lora_weights 'olora'"):
        load_model(folder)


@pytest.fixture
def trainers(tiny_model_folder, tmp_path, dift_dataset, make_dift_row):
    """Makes a trainer of either stage with an adapter."""
    settings = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "max_steps": 1}
    settings |= {"disable_tqdm": True, "learning_rate": 1e-2, "warmup_steps": 0}

    def make(stage, adapter, prepare=lambda model: model, **changes):
        model, processor = load_model(tiny_model_folder)
        rows = dift_dataset([make_dift_row(number, 2) for number in range(4)])
        if stage == "dift":
            args = DIFTConfig(str(tmp_path / "out"), per_device_train_batch_size=4, **settings, **changes)
            return DIFTTrainer(model, args=args, train_dataset=rows, processing_class=processor, peft_config=adapter)
        small = {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 8, "beta": 0.0}
        args = LatentGRPOConfig(str(tmp_path / "out"), **small, **settings, **changes)
        reward = lambda completions, **columns: [float(number) for number in range(len(completions))]  # noqa: E731
        return LatentGRPOTrainer(prepare(model), reward, args, rows, processing_class=processor, peft_config=adapter)

    return make


@pytest.mark.parametrize("stage", ["dift", "grpo"])
def test_both_stages_reject_before_they_train(trainers, stage):
    with pytest.raises(InputError, match="the adapter reaches lm_head"):
        trainers(stage, lora(["q_proj", "lm_head"]))
    with pytest.raises(InputError, match="the adapter reaches the vision tower, which is frozen"):
        trainers(stage, LoraConfig(target_modules=r".*visual.*\.qkv", exclude_modules=["merger"]))
    with pytest.raises(InputError, match="no module outside of .*visual.* is named .*qkv: correct"):
        trainers(stage, LoraConfig(target_modules=r".*visual.*\.qkv"))


def test_a_model_that_comes_with_an_adapter_is_looked_at_too(trainers):
    with pytest.raises(InputError, match="bias 'lora_only' is not supported"):
        trainers("grpo", None, prepare=lambda model: get_peft_model(model, lora(bias="lora_only")))


def test_a_tower_that_should_be_trained_must_be_reached(trainers):
    with pytest.raises(
        InputError, match="freeze_vision is false, but the adapter reaches no layer of the vision tower"
    ):
        trainers("grpo", lora(), freeze_vision=False)


def test_a_whole_tower_is_trained_and_opens_so(trainers, tiny_model, tmp_path, say):
    trainer = trainers("grpo", ACCEPTED["whole tower"], freeze_vision=False)
    trainer.train()
    for part in (trainer.model, trainer.model.get_base_model().config, trainer.processing_class):
        part.save_pretrained(tmp_path / "adapter")
    model = assert_opens_as(say(trainer.model), tmp_path / "adapter", say, tmp_path)
    assert (model.model.visual.patch_embed.proj.weight != tiny_model.model.visual.patch_embed.proj.weight).any()


def test_a_tower_is_trained_by_the_adapter_alone_and_opens_so(trainers, tiny_model_folder, tmp_path, say):
    """Its base weights are in no adapter's file, so they must stay."""
    trainer = trainers("grpo", LoraConfig(r=4), freeze_vision=False)
    trainer.train()
    adapted, start = trainer.model, load_model(tiny_model_folder)[0].state_dict()
    tower = {name: weight for name, weight in adapted.named_parameters() if "visual" in name and "lora_B" in name}
    assert tower and all(weight.any() for weight in tower.values())
    for name, weight in adapted.get_base_model().state_dict().items():
        if name.replace(".base_layer", "") in start and "visual" in name:
            assert torch.equal(weight, start[name.replace(".base_layer", "")]), name
    trained = say(adapted)
    for part in (adapted, adapted.get_base_model().config, trainer.processing_class):
        part.save_pretrained(tmp_path / "adapter")
    assert_opens_as(trained, tmp_path / "adapter", say, tmp_path)


@pytest.mark.parametrize("stage", ["dift", "grpo"])
@pytest.mark.parametrize("name", ["DoRA", "IA3", "both tables as one"])
def test_trained_adapters_open_as_they_were_trained(trainers, tmp_path, say, tiny_model, stage, name):
    adapter = ACCEPTED[name]
    if name == "IA3":
        adapter = IA3Config(target_modules=r".*language_model.*\.k_proj", feedforward_modules=[])
    trainer = trainers(stage, adapter)
    trainer.train()
    trained = say(trainer.model)
    assert (trained - say(tiny_model)).abs().max() > 1e-4
    for part in (trainer.model, trainer.model.get_base_model().config, trainer.processing_class):
        part.save_pretrained(tmp_path / "adapter")
    assert_opens_as(trained, tmp_path / "adapter", say, tmp_path)
