"""The model under what people run it with: adapters, half precision, recomputed activations, either attention."""

import pytest
import torch
from transformers import BitsAndBytesConfig

from fourdthinker.modeling import load_model
from fourdthinker.modeling.tiny.qwen2_5_vl import tiny_config
from fourdthinker.modeling.tiny.qwen3_vl import tiny_qwen3_vl_config

STEPS = ([2], [5], [3, 9])


def gradients(model, batch) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def adapted(tiny_model):
    """The model with adapters on its language model, already away from their start, at which they do nothing."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|v_proj)", init_lora_weights=False)
    torch.manual_seed(0)
    return peft.get_peft_model(tiny_model, config)


def test_adapters_learn_and_nothing_else_does(training_batch, adapted):
    learnt = gradients(adapted, training_batch)
    assert learnt and all("language_model" in name and "lora_" in name for name in learnt)
    assert all(gradient.abs().sum() > 0 for gradient in learnt.values())
    assert not adapted.base_model.model.model.visual.training


@pytest.mark.medium
def test_adapters_decode_what_the_merged_model_decodes(prompts, generate_at, adapted, tiny_model):
    before = generate_at(prompts(), STEPS)
    with adapted.disable_adapter():
        plain = generate_at(prompts(), STEPS)
    adapted.merge_adapter()
    merged = generate_at(prompts(), STEPS)
    assert torch.equal(before.sequences, merged.sequences)
    for one, other, without in zip(before.latent_embeds, merged.latent_embeds, plain.latent_embeds, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
        assert (one - without).abs().max() > 1e-2


def test_recomputed_activations_give_the_same_gradients(training_batch, tiny_model):
    plain = gradients(tiny_model, training_batch)
    tiny_model.gradient_checkpointing_enable({"use_reentrant": False})
    recomputed = gradients(tiny_model, training_batch)
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


def test_autocast_trains_and_decodes_in_half_precision(training_batch, prompts, generate_at, tiny_model):
    exact = tiny_model(**training_batch).loss
    with torch.autocast("cpu", torch.bfloat16):
        output = tiny_model(**training_batch)
        decoded = generate_at(prompts(), STEPS)
    # bfloat16 keeps eight bits: half a percent a product, and a few of them in a row.
    torch.testing.assert_close(output.loss.float(), exact, rtol=0.03, atol=0)
    assert output.loss != exact
    output.loss.backward()
    assert [len(latents) for latents in decoded.latent_embeds] == [4, 4, 8]
    assert all(latents.isfinite().all() for latents in decoded.latent_embeds)


def test_half_precision_weights_decode(prompts, generate_at, tiny_model):
    tiny_model.to(torch.bfloat16)
    inputs = prompts()
    together = generate_at(inputs, STEPS)
    assert [len(latents) for latents in together.latent_embeds] == [4, 4, 8]
    assert all(latents.dtype == torch.bfloat16 and latents.isfinite().all() for latents in together.latent_embeds)


def test_a_prompts_latents_of_another_precision_come_back_in_the_models(tiny_model, generate_at):
    tiny_model.to(torch.bfloat16)
    config = tiny_model.config
    ids = torch.tensor([[5, 6, config.latent_start_token_id, *[config.latent_token_id] * 2]])
    output = generate_at({"input_ids": ids, "latent_embeds": torch.ones(2, 32)}, [[]], max_new_tokens=4)
    assert output.latent_embeds[0].shape == (4, 32) and output.latent_embeds[0].dtype == torch.bfloat16


def test_either_attention_gives_the_same(training_batch, prompts, generate_at, tiny_model, tiny_model_folder):
    eager, _ = load_model(tiny_model_folder, attn_implementation="eager")
    assert eager.config._attn_implementation == "eager" != tiny_model.config._attn_implementation
    with torch.no_grad():
        torch.testing.assert_close(eager(**training_batch).loss, tiny_model(**training_batch).loss)
        ours, theirs = (model(**prompts([0])).logits for model in (tiny_model, eager))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.medium
def test_layers_on_another_device_decode_the_same(prompts, generate_at, tiny_model_folder, tmp_path):
    here = generate_at(prompts(), STEPS)
    parts = ("embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb")
    places = dict.fromkeys(["model.visual", "lm_head", *(f"model.language_model.{part}" for part in parts)], "cpu")
    places["model.language_model.layers.1"] = "disk"
    spread, _ = load_model(tiny_model_folder, device_map=places, offload_folder=tmp_path)
    assert spread.model.language_model.layers[1].mlp.up_proj.weight.device.type == "meta", "its weights are on disk"
    there = generate_at(prompts(), STEPS, model=spread)
    assert torch.equal(here.sequences, there.sequences)
    for one, other in zip(here.latent_embeds, there.latent_embeds, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_four_bit_weights_decode(prompts, generate_at, tiny_model, tiny_processor, tmp_path):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    # Its blocks are of 64 values, so the model is twice as wide as the others here.
    makers = {"fourdthinker": tiny_config, "fourdthinker_qwen3_vl": tiny_qwen3_vl_config}
    config = makers[tiny_model.config.model_type](tiny_processor.tokenizer, hidden_size=64, heads=2)
    torch.manual_seed(0)
    type(tiny_model)(config).save_pretrained(tmp_path)
    tiny_processor.save_pretrained(tmp_path)
    settings = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["visual", "lm_head"])
    model, _ = load_model(tmp_path, quantization_config=settings)
    assert isinstance(model.model.language_model.layers[0].mlp.up_proj, bitsandbytes.nn.Linear4bit)
    output = generate_at(prompts(), STEPS, model=model)
    assert [len(latents) for latents in output.latent_embeds] == [4, 4, 8]
    assert all(latents.isfinite().all() for latents in output.latent_embeds)
