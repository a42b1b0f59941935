"""Adapters as latents need them: what they leave open is filled in, what they say stays."""

import pytest
import torch
from peft import IA3Config, LoraConfig

from fourdthinker.modeling import load_model
from fourdthinker.trainers import DIFTConfig, DIFTTrainer
from fourdthinker.trainers.adapters import fitted_adapter


@pytest.fixture
def untied_folder(tiny_model_folder, tmp_path):
    """The tiny model with a head of its own, as Qwen2.5-VL-7B has."""
    model, processor = load_model(tiny_model_folder)
    head = model.lm_head.weight.detach().clone()
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(head)
    model.save_pretrained(tmp_path / "untied")
    processor.save_pretrained(tmp_path / "untied")
    return tmp_path / "untied"


def test_a_head_of_its_own_learns_the_latent_tokens_too(untied_folder, dift_dataset, make_dift_row, tmp_path):
    model, processor = load_model(untied_folder)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert before["lm_head.weight"].data_ptr() != before["model.language_model.embed_tokens.weight"].data_ptr()
    settings = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    args = DIFTConfig(str(tmp_path / "out"), max_steps=2, learning_rate=1e-2, warmup_steps=0, **settings)
    rows = dift_dataset([make_dift_row(number, 2) for number in range(2)])
    trainer = DIFTTrainer(
        model, args=args, train_dataset=rows, processing_class=processor, peft_config=LoraConfig(r=2, lora_alpha=4)
    )
    trainer.train()
    trainer.model.save_pretrained(tmp_path / "adapter")
    trainer.model.get_base_model().config.save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    merged = load_model(tmp_path / "adapter")[0].state_dict()
    config = model.config
    tokens = sorted([config.latent_token_id, config.latent_start_token_id, config.latent_end_token_id])
    for table in ("lm_head.weight", "model.language_model.embed_tokens.weight"):
        changed = (merged[table] != before[table]).any(1).nonzero()[:, 0].tolist()
        assert set(changed) <= set(tokens) and config.latent_start_token_id in changed, table


def test_what_an_adapter_says_itself_stays(tiny_model):
    said = LoraConfig(target_modules=["q_proj"], exclude_modules=["v_proj"], modules_to_save=["lm_head"])
    fitted = fitted_adapter(said, tiny_model.config)
    assert fitted.target_modules == {"q_proj"} and set(fitted.exclude_modules) == {"v_proj"}
    assert fitted.modules_to_save == ["lm_head"] and fitted.trainable_token_indices is None
    other = IA3Config()
    assert fitted_adapter(other, tiny_model.config) is other and fitted_adapter(None, tiny_model.config) is None
