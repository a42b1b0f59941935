"""Adapters as latents need them: what they leave open is filled in, what they say stays."""

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer, LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.common.adapters import complete_lora_config, find_fused_head_fault


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


@pytest.mark.medium
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


@pytest.fixture
def adapted(tmp_path):
    """Saves an adapter of random weights on the model in a folder, and gives its folder and what it says."""

    def adapt(folder, name):
        model, processor = load_model(folder)
        ids = torch.arange(20, 40)[None]
        torch.manual_seed(len(name))
        fitted = complete_lora_config(LoraConfig(r=2, init_lora_weights=False), model.config)
        adapter = get_peft_model(model, fitted).eval()
        with torch.no_grad():
            for weight in adapter.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight), alpha=0.1)
            logits = adapter(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        for part in (adapter, model.config, processor):
            part.save_pretrained(tmp_path / name)
        return tmp_path / name, ids, logits

    return adapt


@pytest.mark.medium
def test_an_adapter_that_was_trained_on_an_adapter_opens_with_both(tiny_model_folder, adapted):
    """As 4DRL's after DIFT's; and what TRL takes for a reference is not the model below them."""
    first, ids, before = adapted(tiny_model_folder, "first")
    second, _, logits = adapted(first, "the second")
    model, _ = load_model(second)
    with torch.no_grad():
        again = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(again, logits, atol=1e-4, rtol=1e-4)
    assert (logits - before).abs().max() > 1e-2
    assert model.config._name_or_path == model.name_or_path == str(second)


@pytest.mark.medium
def test_a_reference_is_not_looked_for_in_an_adapter(tiny_model_folder, adapted, tmp_path):
    folder, _, _ = adapted(tiny_model_folder, "first")
    model, processor = load_model(folder)
    args = LatentGRPOConfig(str(tmp_path / "out"), use_cpu=True, bf16=False, beta=0.1, report_to="none")
    with pytest.raises(InputError, match="the reference model cannot be read from .*first, which holds an adapter"):
        LatentGRPOTrainer(model, args=args, processing_class=processor)


def test_rows_of_tokens_are_scored_where_the_table_is_whole(tiny_model):
    assert find_fused_head_fault(tiny_model, sharded=False) is None
    assert "weights are sharded" in find_fused_head_fault(tiny_model, sharded=True)


def test_what_an_adapter_says_itself_stays(tiny_model):
    config = LoraConfig(target_modules=["q_proj"], exclude_modules=["v_proj"], modules_to_save=["lm_head"])
    fitted = complete_lora_config(config, tiny_model.config)
    assert fitted.target_modules == {"q_proj"} and set(fitted.exclude_modules) == {"v_proj"}
    assert fitted.modules_to_save == ["lm_head"] and fitted.trainable_token_indices is None
    other = IA3Config()
    assert (
        complete_lora_config(other, tiny_model.config) is other
        and complete_lora_config(None, tiny_model.config) is None
    )
