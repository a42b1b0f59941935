"""Stock and published checkpoints are converted with every weight, and invalid ones are rejected."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from fourdthinker.cli.input_checks import check_model
from fourdthinker.modeling import from_backbone, load_model
from fourdthinker.modeling.configuration_latent import LATENT_FIELDS
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_config
from fourdthinker.modeling.tiny.qwen3_vl import build_qwen3_vl_processor, tiny_qwen3_vl_config
from fourdthinker.modeling.tokens import LATENT_TOKENS

TEXTS = ["The camera pans left.", "A red ball moves right."] * 3
OURS = {*LATENT_FIELDS, "model_type", "auto_map", "architectures"}


def without_latent_tokens(folder):
    """Take the three latent tokens, the last ones, out of a saved tokenizer: a stock one."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in LATENT_TOKENS]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert "added_tokens_decoder" not in (folder / "tokenizer_config.json").read_text(), "it would win over the file"


def build_stock_processor(tokenizer):
    return as_stock(build_processor(tokenizer), Qwen2_5_VLProcessor)


def build_stock_qwen3_vl_processor(tokenizer):
    return as_stock(build_qwen3_vl_processor(tokenizer), Qwen3VLProcessor)


def as_stock(ours, stock_class):
    """The processor of transformers with the same parts."""
    parts = (ours.image_processor, ours.tokenizer, ours.video_processor)
    return stock_class(*parts, chat_template=ours.chat_template)


# Stock configuration and model, our tiny configuration, and a stock processor.
QWEN2_5_VL = (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, tiny_config, build_stock_processor)
QWEN3_VL = (Qwen3VLConfig, Qwen3VLForConditionalGeneration, tiny_qwen3_vl_config, build_stock_qwen3_vl_processor)


@pytest.fixture(params=["qwen2.5-vl, old names", "qwen2.5-vl, new names", "qwen3-vl, tied", "qwen3-vl, untied"])
def stock(request, tmp_path):
    """A stock checkpoint with spare rows, and what its weights are."""
    tied = request.param.endswith((" old names", " tied"))
    stock_config, stock_model, make_config, make_processor = QWEN3_VL if "qwen3" in request.param else QWEN2_5_VL
    folder = tmp_path / "stock"
    tokenizer = build_tokenizer(TEXTS, 400)
    fields = make_config(tokenizer, tie_word_embeddings=tied).to_dict()
    config = stock_config(**{name: value for name, value in fields.items() if name not in OURS})
    config.text_config.vocab_size = len(tokenizer) + 13
    torch.manual_seed(0)
    model = stock_model(config)
    model.save_pretrained(folder, save_original_format=tied)
    make_processor(tokenizer).save_pretrained(folder)
    without_latent_tokens(folder)
    names = load_file(folder / "model.safetensors").keys()
    assert any(name.startswith("visual.") for name in names) == ("old names" in request.param)
    assert any(name.startswith("model.layers.") for name in names) == ("old names" in request.param)
    return folder, model


def test_stock_checkpoint_becomes_ours_with_every_weight(stock):
    folder, stock_model = stock
    known = len(AutoProcessor.from_pretrained(folder).tokenizer)
    model, processor = from_backbone(folder)
    ids = processor.tokenizer.convert_tokens_to_ids(list(LATENT_TOKENS))
    assert ids == [known, known + 1, known + 2]
    config = model.config
    assert [config.latent_token_id, config.latent_start_token_id, config.latent_end_token_id] == ids
    assert config.latent_size == 4
    ours, theirs = model.state_dict(), stock_model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        rows = [i for i in range(len(weight)) if i not in ids] if "embed_tokens" in name or "lm_head" in name else ...
        assert torch.equal(ours[name][rows], weight[rows]), name


def test_new_tokens_start_at_the_mean_and_nothing_is_resized(stock):
    folder, stock_model = stock
    model, processor = from_backbone(folder)
    ids = [model.config.latent_token_id, model.config.latent_start_token_id, model.config.latent_end_token_id]
    for ours, theirs in (
        (model.get_input_embeddings(), stock_model.get_input_embeddings()),
        (model.get_output_embeddings(), stock_model.get_output_embeddings()),
    ):
        assert ours.weight.shape == theirs.weight.shape
        mean = theirs.weight[: len(processor.tokenizer) - 3].mean(0)
        torch.testing.assert_close(ours.weight[ids], mean.expand(3, -1))


@pytest.mark.medium
def test_saved_backbone_opens_again_bit_for_bit(stock, tmp_path):
    model, processor = from_backbone(stock[0], latent_size=6, position_rule="transformers")
    model.save_pretrained(tmp_path / "ours")
    processor.save_pretrained(tmp_path / "ours")
    again, again_processor = load_model(tmp_path / "ours")
    assert not again.training
    assert (again.config.latent_size, again.config.position_rule) == (6, "transformers")
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    text = f"The camera {''.join(LATENT_TOKENS)} pans"
    assert again_processor.tokenizer(text).input_ids == processor.tokenizer(text).input_ids


def test_same_logits_as_the_stock_model_on_text(stock):
    folder, stock_model = stock
    model, _ = from_backbone(folder)
    ids, new = torch.arange(5, 40)[None], model.config.latent_token_id
    with torch.no_grad():
        ours, theirs = model(input_ids=ids).logits, stock_model.eval()(input_ids=ids).logits
    torch.testing.assert_close(ours[..., :new], theirs[..., :new])
    torch.testing.assert_close(ours[..., new + 3 :], theirs[..., new + 3 :])


@pytest.fixture
def published(stock):
    """A checkpoint as the research code wrote it: latent tokens in the tokenizer, no spare rows, ids in the config."""
    folder, _ = stock
    tokenizer = build_tokenizer(TEXTS, 400)
    build_stock_processor(tokenizer).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "embed_tokens" in name or "lm_head" in name:
            weights[name] = weights[name][: len(tokenizer)].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = len(tokenizer)
    pad, start, end = tokenizer.convert_tokens_to_ids(list(LATENT_TOKENS))
    config |= {"latent_token_id": pad, "latent_start_id": start, "latent_end_id": end, "latent_size": 8}
    config |= {"compress_strategy": "average", "stage": "stage1", "ce_loss_weight": 0.2, "sim_loss_weight": 1.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder, weights


@pytest.mark.medium
def test_published_checkpoint_keeps_its_size_ids_and_rows(published):
    folder, weights = published
    model, processor = from_backbone(folder)
    config = model.config
    assert (config.latent_size, config.ce_loss_weight) == (8, 0.2)
    assert config.latent_start_token_id == processor.tokenizer.convert_tokens_to_ids(LATENT_TOKENS[1])
    (name,) = [name for name in weights if "embed_tokens" in name]
    assert torch.equal(model.get_input_embeddings().weight, weights[name])
    assert from_backbone(folder, latent_size=4)[0].config.latent_size == 4


def test_published_ids_that_the_tokenizer_denies_are_rejected(published):
    config = json.loads((published[0] / "config.json").read_text())
    config["latent_end_id"] = 3
    (published[0] / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="latent_end_id"):
        from_backbone(published[0])


def test_configuration_as_the_hub_has_it(tmp_path):
    """Qwen2.5-VL's own is older than a configuration for the text model alone, whose fields stand outside."""
    tokenizer = build_tokenizer(TEXTS, 400)
    config = tiny_config(tokenizer, tie_word_embeddings=False).to_dict()
    torch.manual_seed(0)
    stock_config = Qwen2_5_VLConfig(**{name: value for name, value in config.items() if name not in OURS})
    model = Qwen2_5_VLForConditionalGeneration(stock_config)
    model.save_pretrained(tmp_path, save_original_format=True)
    build_stock_processor(tokenizer).save_pretrained(tmp_path)
    text = config["text_config"]
    rope = text.pop("rope_parameters")
    flat = {name: value for name, value in text.items() if name not in ("model_type", "layer_types", "dtype")}
    flat |= {name: config[name] for name in ("image_token_id", "video_token_id", "vision_start_token_id")}
    flat |= {"model_type": "qwen2_5_vl", "tie_word_embeddings": False, "vision_config": config["vision_config"]}
    flat |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    (tmp_path / "config.json").write_text(json.dumps({**flat, "vision_end_token_id": config["vision_end_token_id"]}))
    ours, _ = from_backbone(tmp_path)
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    ids = torch.tensor([tokenizer("The camera pans left.")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(ours(input_ids=ids).logits, model.eval()(input_ids=ids).logits, atol=1e-6, rtol=0)


def test_a_revision_is_one_of_everything(tiny_model, tiny_processor, tmp_path):
    """The Hub's cache as it lies on disk, with two snapshots that differ in configuration, tokenizer and weights."""
    cached = tmp_path / "models--org--thinker"
    for revision, size in (("old", 2), ("main", 3)):
        folder = cached / "snapshots" / revision
        tiny_model.config.latent_size = size
        with torch.no_grad():
            tiny_model.lm_head.weight.fill_(float(size))
        tiny_processor.tokenizer.model_max_length = 100 * size
        tiny_model.save_pretrained(folder)
        tiny_processor.save_pretrained(folder)
        (cached / "refs").mkdir(exist_ok=True)
        (cached / "refs" / revision).write_text(revision)
    for revision, size in (("old", 2), ("main", 3)):
        model, processor = load_model("org/thinker", revision=revision, cache_dir=tmp_path, local_files_only=True)
        assert model.config.latent_size == size == model.lm_head.weight[0, 0]
        # transformers 5.2 finds no more than the tokenizer in a cache.
        assert getattr(processor, "tokenizer", processor).model_max_length == 100 * size


def test_a_saved_model_answers_as_before(tiny_model, tiny_processor, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    tiny_processor.save_pretrained(tmp_path)
    ids = torch.arange(5, 25)[None]
    latents = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    ids[0, 7:9] = tiny_model.config.latent_token_id
    with torch.no_grad():
        logits = [
            model(input_ids=ids, latent_embeds=latents).logits for model in (tiny_model, load_model(tmp_path)[0])
        ]
    assert torch.equal(*logits)


def test_missing_weight_is_an_error_not_a_warning(stock):
    folder, _ = stock
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "layers.1.mlp.up_proj" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="missing"):
        from_backbone(folder)


def test_left_over_weight_is_an_error(stock):
    folder, _ = stock
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.7.extra.weight"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="unexpected"):
        from_backbone(folder)


@pytest.mark.parametrize("opened", [from_backbone, load_model])
def test_folder_that_is_not_there_or_holds_nothing(opened, tmp_path):
    with pytest.raises(InputError, match="no model folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no config.json"):
        opened(tmp_path)
    (tmp_path / "config.json").write_text("{ half")
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_checkpoints_of_the_other_kind_name_the_remedy(stock, tiny_model_folder):
    with pytest.raises(InputError, match="fourdthinker init --backbone"):
        load_model(stock[0])
    with pytest.raises(InputError, match="load_model"):
        from_backbone(tiny_model_folder)


def test_folder_without_weights_or_processor(tiny_model_folder, tmp_path):
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="weights"):
        load_model(tmp_path / "model")
    for name in ("processor_config.json", "tokenizer_config.json", "tokenizer.json"):
        (tmp_path / "model" / name).unlink()
    with pytest.raises(InputError, match="processor"):
        load_model(tmp_path / "model")


def test_sharded_weights_open_bit_for_bit(tiny_model, tiny_processor, tmp_path):
    tiny_model.save_pretrained(tmp_path, max_shard_size="100KB")
    tiny_processor.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again, _ = load_model(tmp_path)
    for name, weight in tiny_model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert type(again) is type(tiny_model)


@pytest.mark.parametrize("stock", ["qwen3-vl, tied"], indirect=True)
def test_a_checkpoint_that_pads_on_the_right_is_saved_to_pad_on_the_left(stock, tmp_path):
    folder, _ = stock
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "right"}))
    from_backbone(folder)[1].save_pretrained(tmp_path / "ours")
    assert AutoProcessor.from_pretrained(tmp_path / "ours").tokenizer.padding_side == "left"


@pytest.mark.parametrize("stock", ["qwen2.5-vl, old names"], indirect=True)
def test_a_checkpoint_of_pickled_weights_is_rejected_in_one_line(stock):
    folder, _ = stock
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    from_backbone(folder)  # a pickle beside safetensors is left alone
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickled weights \(pytorch_model.bin\).*`save_pretrained`") as caught:
        from_backbone(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.medium
def test_a_stock_processor_becomes_ours_and_stays_so(stock, tmp_path):
    """The one of a backbone, and the one that an earlier version saved beside a model of ours."""
    folder, _ = stock
    model, processor = from_backbone(folder)
    assert "FourDThinker" in type(processor).__name__
    model.save_pretrained(tmp_path / "ours")
    stock_class = next(kind for kind in type(processor).__mro__ if kind.__module__.startswith("transformers.models."))
    as_stock(processor, stock_class).save_pretrained(tmp_path / "ours")
    assert type(AutoProcessor.from_pretrained(tmp_path / "ours")) is stock_class
    again = load_model(tmp_path / "ours")[1]
    assert type(again) is type(processor)
    again.save_pretrained(tmp_path / "ours")
    assert type(AutoProcessor.from_pretrained(tmp_path / "ours")) is type(processor)


@pytest.mark.parametrize("attention", ["flex_attention", "foo"])
def test_an_attention_that_the_model_lacks_is_one_line(tiny_model_folder, attention):
    with pytest.raises(InputError, match=f"this model has no such attention: .*{attention}") as error:
        load_model(tiny_model_folder, attn_implementation=attention)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["a/b/c", "./model", "~/model", "/nowhere/model", "out/model/", "my model"])
def test_a_path_is_not_looked_for_on_the_hub(path):
    with pytest.raises(InputError, match="there is no model folder"):
        load_model(path)
    with pytest.raises(InputError, match="there is no model folder"):
        check_model(path)


@pytest.mark.parametrize("name", ["model", "someone/model", "some-one/model_1.5"])
def test_a_name_is_looked_for_on_the_hub(name):
    with pytest.raises(InputError, match=f"no model can be read from {name}"):
        load_model(name)
    with pytest.raises(InputError, match="not in the Hub's cache, and HF_HUB_OFFLINE is set"):
        check_model(name)
