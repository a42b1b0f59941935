"""4DRL scores what was rolled out: one log-prob at decoding and at scoring, and nothing from latent positions."""

import json
import math
from dataclasses import replace

import pyarrow.parquet
import pytest
import torch
import trl
from accelerate import Accelerator
from datasets import Dataset
from peft import LoraConfig
from PIL import Image
from transformers import TrainerCallback
from trl.trainer.utils import shuffle_sequence_dict

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_rules import LatentRules
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.grpo.head_tiles import narrow_head_tiles
from fourdthinker.trainers.grpo.logprobs import LatentScorer
from fourdthinker.trainers.grpo.metrics import GRPOMetrics
from fourdthinker.trainers.grpo.rollout import Rollout, group_prompts, truncate_at_eos
from fourdthinker.trainers.grpo.sampling import check_sampling

OPTIONS = ["Pan Left", "Pan Right", "Tilt Up", "Dolly In"]
LORA = r".*language_model.*\.(q_proj|v_proj|gate_proj)"


def make_rows(count, seed=0):
    """Rows whose clips differ in length, size and rate, so that no two prompts have one shape or one clock."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        frames, side, seconds = 2 + 2 * (number % 3), 56 + 28 * (number % 2), 0.25 * (1 + number % 4)
        pixels = torch.randint(0, 255, (frames, side, 56, 3), generator=generator, dtype=torch.uint8)
        rows.append(
            {
                "id": f"clip-{number}",
                "question": "Which way does the camera move?" + " Look well." * number,
                "options": OPTIONS,
                "answer": "ABCD"[number % 4],
                "frames": [Image.fromarray(frame.numpy()) for frame in pixels],
                "timestamps": [seconds * step for step in range(frames)],
            }
        )
    return rows


def repeated(rows, count):
    return [dict(row) for row in rows for _ in range(count)]


def varied_reward(completions, completion_ids, **columns):
    return [len(ids) % 5 / 4 for ids in completion_ids]


def constant_reward(completions, **columns):
    return [0.5] * len(completions)


def alternating_reward(completions, **columns):
    return [float(number % 2) for number in range(len(completions))]


class SpyingTrainer(LatentGRPOTrainer):
    """Keeps what decoding computed beside each batch, and what every scoring pass returned."""

    def _generate_and_score_completions(self, inputs):
        self.generation_config.output_logits = True
        model, outputs = self._base_model, []
        generate = model.generate
        model.generate = lambda **kwargs: outputs.append(generate(**kwargs)) or outputs[-1]
        try:
            batch = super()._generate_and_score_completions(inputs)
        finally:
            del model.generate
        ids = batch["completion_ids"]
        logits = torch.stack(outputs[0].logits, dim=1)[:, : ids.shape[1]].float() / self.temperature
        log_probs = logits.log_softmax(-1)
        batch["decoded"] = log_probs.gather(-1, ids[..., None])[..., 0]
        batch["decoded_entropy"] = -(log_probs.exp() * log_probs).sum(-1)
        return batch

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        scores = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        self.scored = scores
        return scores


@pytest.fixture
def parts(tiny_model_folder):
    model, processor = load_model(tiny_model_folder)
    # A random model hardly ever opens a block or ends its turn. A bias in the head makes it do both often, alike for
    # decoding and scoring.
    bias = torch.zeros(model.lm_head.out_features)
    bias[model.config.latent_start_token_id] = 4.0
    bias[processor.tokenizer.eos_token_id] = 3.0
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return model, processor


def make_trainer(parts, tmp_path, rewards=varied_reward, prompts=3, peft_config=None, **settings):
    model, processor = parts
    settings = {
        "per_device_train_batch_size": 12,
        "num_generations": 4,
        "max_completion_length": 24,
        "beta": 0.0,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "seed": 1,
        **settings,
    }
    trainer = SpyingTrainer(
        model,
        rewards,
        LatentGRPOConfig(str(tmp_path), **settings),
        Dataset.from_list(make_rows(1)),
        processing_class=processor,
        peft_config=peft_config,
    )
    if trainer.ref_model is not None:  # it was read from the folder, which knows no bias
        trainer.ref_model.lm_head.bias = torch.nn.Parameter(model.lm_head.bias.clone(), requires_grad=False)
    if trainer.args.gradient_checkpointing:  # as `train` does
        trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    return trainer


def roll_out(trainer, prompts=3):
    """All slices of one generation batch, shuffled and split as in training."""
    rows = repeated(make_rows(prompts), trainer.num_generations)
    trainer._step = 0
    trainer._prepare_inputs(rows)
    return trainer._buffered_inputs


def gradients_of(model):
    return [parameter.grad.abs().max().item() for parameter in model.parameters() if parameter.grad is not None]


def text_mask(batch):
    return (batch["completion_mask"] * batch["tool_mask"]).bool()


def blocks(trainer, batch):
    return (batch["completion_ids"] == trainer._base_model.config.latent_start_token_id).sum(-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3},
        {"per_device_train_batch_size": 6, "steps_per_generation": 2, "num_iterations": 2},
        {"gradient_checkpointing": True},
        {"freeze_vision": False},
        {"beta": 0.1},
        {"latent_mask": "all"},
        {"mask_truncated_completions": True},
        {"share_prompts": False},
        {"cache_implementation": "static"},
        {"generation_kwargs": {"cache_implementation": "static"}},
    ],
    ids=str,
)
def test_scoring_gives_the_log_probs_of_decoding(parts, tmp_path, settings):
    trainer = make_trainer(parts, tmp_path, **settings)
    counts = []
    for batch in roll_out(trainer):
        trainer._compute_loss(trainer.model, batch)
        text = text_mask(batch)
        assert text.any()
        torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
        if "old_per_token_logps" in batch:
            torch.testing.assert_close(batch["old_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)
        if "ref_per_token_logps" in batch:
            torch.testing.assert_close(batch["ref_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)
        counts += blocks(trainer, batch).tolist()
    assert 0 in counts and 1 in counts and max(counts) > 1


@pytest.mark.medium
def test_scoring_is_exact_with_lora_and_its_switched_off_reference(parts, tmp_path):
    lora = LoraConfig(target_modules=LORA, r=4)
    trainer = make_trainer(parts, tmp_path, peft_config=lora, beta=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    torch.testing.assert_close(batch["ref_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)


@pytest.mark.medium
def test_an_adapter_left_open_reaches_the_language_model_and_is_scored_exactly(parts, tmp_path, caplog):
    trainer = make_trainer(parts, tmp_path, peft_config=LoraConfig(r=4), beta=0.1)
    (warned,) = [entry.getMessage() for entry in caplog.records if "latent tokens as they are" in entry.getMessage()]
    assert "the head has a bias" in warned
    trained = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert any("down_proj" in name for name in trained)
    assert not [name for name in trained if "visual" in name or "embed_tokens" in name]
    with torch.no_grad():
        for weight in trained.values():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    assert (batch["ref_per_token_logps"] - batch["decoded"])[text].abs().max() > 1e-2, "the adapter is off in it"
    assert all(weight.grad.abs().max() > 0 for weight in trained.values())


@pytest.fixture(params=["tied", "untied"])
def plain_parts(tiny_model_folder, request):
    """A model that opens blocks and ends turns often without a bias: its states point where these tokens' rows do."""
    model, processor = load_model(tiny_model_folder)
    if request.param == "untied":
        model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 20.0
        model.lm_head.weight[:, 0] = 20.0
        model.lm_head.weight[model.config.latent_start_token_id, 0] += 1.2
        model.lm_head.weight[processor.tokenizer.eos_token_id, 0] += 0.9
    return model, processor


@pytest.mark.medium
def test_an_adapters_dropout_is_off(parts, tmp_path):
    """What is scored would be another network than the one that rolled out, and so would the reference."""
    lora = LoraConfig(target_modules=LORA, r=4, lora_dropout=0.5, init_lora_weights=False)
    trainer = make_trainer(parts, tmp_path, peft_config=lora)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)


@pytest.mark.medium
def test_an_adapter_trains_the_latent_tokens_and_scores_them_exactly(plain_parts, tmp_path):
    trainer = make_trainer(plain_parts, tmp_path, peft_config=LoraConfig(r=4), beta=0.1)
    rows = {name: weight for name, weight in trainer.model.named_parameters() if "trainable_tokens_delta" in name}
    assert len(rows) == (1 if trainer._base_model.config.tie_word_embeddings else 2)
    with torch.no_grad():
        for weight in rows.values():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    text = text_mask(batch)
    assert blocks(trainer, batch).max() > 0
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    assert (batch["ref_per_token_logps"] - batch["decoded"])[text].abs().max() > 1e-2, "they are off in it"
    config = trainer._base_model.config
    tokens = sorted([config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id])
    start = tokens.index(config.latent_start_token_id)
    for name, weight in rows.items():
        assert weight.grad.shape[0] == 3 and weight.grad[start].abs().max() > 0, name


def test_pad_embeddings_in_place_of_latents_score_another_context(parts, tmp_path):
    # The published trainer scored so; this is what the equality above has to be able to notice.
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    model = trainer._base_model
    pad = model.get_input_embeddings().weight[model.config.latent_token_id].detach()
    batch["latents"] = [pad.expand(len(latents), -1) for latents in batch["latents"]]
    trainer._compute_loss(trainer.model, batch)
    difference = (trainer.scored[0] - batch["decoded"]).abs() * text_mask(batch)
    after = (batch["completion_ids"] == model.config.latent_end_token_id).cumsum(-1) > 0
    assert difference[after].max() > 1e-3
    before = (batch["completion_ids"] == model.config.latent_token_id).cumsum(-1) == 0
    assert difference[before].max() < 1e-4


@pytest.mark.medium
@pytest.mark.parametrize("steps", [1, 2])
def test_the_ratio_is_one_until_the_policy_moves(parts, tmp_path, steps):
    """With one step a rollout TRL keeps no old log-probs and takes the policy's own; with two, an old pass gives them.
    Both are those of decoding."""
    trainer = make_trainer(parts, tmp_path, per_device_train_batch_size=12 // steps, steps_per_generation=steps)
    batches = roll_out(trainer)
    descent = torch.optim.SGD([weight for weight in trainer.model.parameters() if weight.requires_grad], lr=0.1)
    ratios, losses = [], []
    for batch in batches:
        losses.append(trainer._compute_loss(trainer.model, batch))
        assert ("old_per_token_logps" in batch) == (steps > 1)
        text, sampled = text_mask(batch), batch["decoded"]
        old = batch.get("old_per_token_logps", trainer.scored[0].detach())
        torch.testing.assert_close(old[text], sampled[text], atol=1e-4, rtol=0)
        ratios.append((trainer.scored[0] - old)[text].exp())
        losses[-1].backward()
        descent.step()
    assert blocks(trainer, batches[0]).max() > 0
    assert (ratios[0] - 1).abs().max() < (1e-5 if steps > 1 else 1e-12)
    assert losses[0].item() == pytest.approx(-batches[0]["advantages"].mean().item(), abs=1e-5)
    if steps > 1:
        assert (ratios[1] - 1).abs().max() > 1e-2, "and no longer afterwards"
    assert trainer._metrics["train"]["clip_ratio/region_mean"][0] == 0


@pytest.mark.medium
@pytest.mark.parametrize(("latent_mask", "masked"), [("pads_and_end", 2), ("all", 3)])
def test_only_forced_tokens_are_masked(parts, tmp_path, latent_mask, masked):
    trainer = make_trainer(parts, tmp_path, latent_mask=latent_mask)
    (batch,) = roll_out(trainer)
    config = trainer._base_model.config
    names = [config.latent_token_id, config.latent_end_token_id, config.latent_start_token_id][:masked]
    latent = torch.isin(batch["completion_ids"], torch.tensor(names))
    assert latent.any()
    assert torch.equal(batch["tool_mask"].bool(), ~latent)
    assert batch["num_items_in_batch"] == text_mask(batch).sum()
    trainer._compute_loss(trainer.model, batch)
    log_probs, entropies, _ = trainer.scored
    assert (log_probs[latent] == 0).all() and (entropies[latent] == 0).all()


@pytest.mark.medium
@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_logits_at_latent_positions_do_not_matter(parts, tmp_path, loss_type):
    trainer = make_trainer(parts, tmp_path, loss_type=loss_type, beta=0.1, share_prompts=False)
    (batch,) = roll_out(trainer)
    loss = trainer._compute_loss(trainer.model, batch).item()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    where = torch.zeros_like(ids, dtype=torch.bool)
    where[:, batch["prompt_ids"].shape[1] :] = ~batch["tool_mask"].bool()
    predicting = where.roll(-1, dims=1)  # the hidden state one place earlier gives a token's logits

    def loss_with_noise_at(places):
        def disturb(module, inputs, output):
            return output + 10 * places[..., None]

        with_hook = trainer._base_model.model.language_model.norm.register_forward_hook(disturb)
        try:
            return trainer._compute_loss(trainer.model, batch).item()
        finally:
            with_hook.remove()

    assert predicting.any()
    assert loss_with_noise_at(predicting) == loss
    assert loss_with_noise_at(~predicting) != loss


@pytest.mark.medium
def test_kl_and_its_gradient_are_zero_at_the_reference(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, rewards=constant_reward, beta=1.0)
    (batch,) = roll_out(trainer)
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert 0 < len(gradients := gradients_of(trainer.model)) and max(gradients) < 1e-5
    with torch.no_grad():
        trainer._base_model.lm_head.bias[10:200] += 2.0
    trainer.model.zero_grad()
    away = trainer._compute_loss(trainer.model, batch)
    assert away.item() > 1e-3
    away.backward()
    assert max(gradients_of(trainer.model)) > 1e-4


@pytest.mark.medium
def test_the_kl_term_pulls_towards_the_reference(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, rewards=constant_reward, beta=1.0)
    (batch,) = roll_out(trainer)
    weights = list(trainer._base_model.model.language_model.parameters())
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in weights:
            weight.add_(0.02 * torch.randn_like(weight))
    descent, losses = torch.optim.SGD(weights, lr=1e-3), []
    for _ in range(4):
        descent.zero_grad()
        losses.append(trainer._compute_loss(trainer.model, batch))
        losses[-1].backward()
        descent.step()
    assert losses == sorted(losses, reverse=True) and losses[0] - losses[-1] > 1e-3


@pytest.mark.medium
@pytest.mark.parametrize("latent_mask", ["pads_and_end", "all"])
@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_completions_of_nothing_but_latents_have_a_finite_loss(parts, tmp_path, latent_mask, loss_type):
    model, _ = parts
    model.lm_head.bias[model.config.latent_start_token_id] = 50.0
    settings = {"latent_mask": latent_mask, "loss_type": loss_type, "max_completion_length": 4, "beta": 0.1}
    trainer = make_trainer(parts, tmp_path, rewards=alternating_reward, **settings)
    (batch,) = roll_out(trainer)
    assert batch["advantages"].abs().min() > 0.1
    assert text_mask(batch).sum() == (0 if latent_mask == "all" else 12)
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    assert torch.isfinite(loss) and all(map(math.isfinite, gradients_of(trainer.model)))
    if latent_mask == "all":
        assert loss == 0 and max(gradients_of(trainer.model)) == 0


def test_groups_without_difference_or_reward_move_nothing(parts, tmp_path):
    def mixed_reward(completions, answer, **columns):
        # The first prompt has no answer to compare with, the second is always right, the third sometimes.
        kinds = {"A": [None] * 4, "B": [1.0] * 4, "C": [0.0, 1.0, 0.0, 1.0]}
        return [reward for letter in answer[::4] for reward in kinds[letter]]

    trainer = make_trainer(parts, tmp_path, rewards=mixed_reward)
    (batch,) = roll_out(trainer)
    assert sorted(batch["advantages"].sign().tolist()) == [-1.0] * 2 + [0.0] * 8 + [1.0] * 2


@pytest.mark.medium
def test_gradient_reaches_the_text_through_latent_positions_but_not_the_tower(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    model = trainer._base_model
    assert all(parameter.grad is None for parameter in model.model.visual.parameters())
    assert model.model.language_model.layers[0].self_attn.k_proj.weight.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gradient_checkpointing": True},
        {"freeze_vision": False},
        {"mask_truncated_completions": True},
        {"temperature": 0.7},
    ],
    ids=str,
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_shared_prompt_changes_no_score_and_no_gradient(parts, tmp_path, settings, attention):
    parts[0].set_attn_implementation(attention)
    trainer = make_trainer(parts, tmp_path, beta=0.1, **settings)
    (batch,) = roll_out(trainer)
    batch = shuffle_sequence_dict(batch)  # the rows of a prompt need not stand together
    found = {}
    for share in (True, False):
        trainer.args.share_prompts = share
        trainer.model.zero_grad()
        trainer._compute_loss(trainer.model, batch).backward()
        gradients = {name: weight.grad for name, weight in trainer.model.named_parameters() if weight.grad is not None}
        found[share] = torch.stack(trainer.scored[:2]).detach(), gradients
    torch.testing.assert_close(found[True][0], found[False][0], atol=2e-5, rtol=0)
    assert found[True][1].keys() == found[False][1].keys()
    largest = max(gradient.abs().max() for gradient in found[False][1].values())
    for name, gradient in found[False][1].items():
        torch.testing.assert_close(found[True][1][name], gradient, atol=1e-5 * float(largest), rtol=1e-3, msg=name)


@pytest.mark.medium
def test_a_prompt_is_computed_once_for_its_completions(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=3)
    policy, seen = trainer._base_model, []
    policy.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    slices = roll_out(trainer)
    rows, length = seen[0]
    assert (rows, length) == (3, slices[0]["prompt_ids"].shape[1] - 1)  # the rollout, and each of its steps behind it
    assert set(seen[1:]) == {(12, 1)}
    for batch in slices:  # shuffled by TRL, and put together again
        seen.clear()
        trainer._compute_loss(trainer.model, batch)
        prompt = int(batch["prompt_mask"][0].sum())
        assert seen == [(1, prompt + int(batch["completion_mask"].sum()))]


@pytest.mark.medium
@pytest.mark.parametrize(("loss_type", "together"), [("dapo", True), ("bnpo", False)])
def test_slices_hold_one_prompt_each_unless_they_take_means_of_their_own(parts, tmp_path, loss_type, together):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3, "loss_type": loss_type}
    slices = roll_out(make_trainer(parts, tmp_path, **settings))
    prompts = [set(batch["prompt_numbers"]) for batch in slices]
    assert len(set.union(*prompts)) == 3 and all(len(some) == 1 for some in prompts) == together


def handed_to_the_model(trainer, batch):
    """What a scorer calls the policy with for a whole batch."""
    policy, width = trainer._base_model, batch["completion_ids"].shape[1]
    scorer = LatentScorer(dict, Rollout.from_batch(batch), policy, width, "pads_and_end")
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return scorer(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100))


@pytest.mark.medium
def test_prompts_are_distinguished_by_number_and_not_by_object(parts, tmp_path):
    """A copy of the batch, such as a new TRL may make, keeps prompts shared."""
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    batch["videos"] = [replace(video) for video in batch["videos"]]
    assert len(handed_to_the_model(trainer, batch)["input_ids"]) == 3


@pytest.mark.medium
@pytest.mark.parametrize(("attention", "rows"), [("sdpa", 3), ("flash_attention_2", 12)])
def test_prompts_are_shared_where_attention_takes_any_mask(parts, tmp_path, attention, rows):
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    trainer._base_model.config.get_text_config()._attn_implementation = attention
    assert len(handed_to_the_model(trainer, batch)["input_ids"]) == rows


@pytest.mark.medium
def test_prompts_are_not_shared_where_layers_look_back_a_stretch_alone(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    text = trainer._base_model.config.get_text_config()
    text.layer_types = ["full_attention", "sliding_attention"]
    assert len(handed_to_the_model(trainer, batch)["input_ids"]) == 12


@pytest.mark.parametrize(("length", "groups"), [(5, [[0], [1, 2]]), (50, [[0], [1], [2]])])
def test_prompts_are_not_shared_where_that_is_more_work(parts, length, groups):
    """One row is padded to the length of the two that could stand together."""
    scorer = LatentScorer(parts[0], Rollout(), parts[0], 50, "pads_and_end")
    mask = torch.ones(3, 100, dtype=torch.long)
    mask[:, 50 + length :] = 0
    assert scorer._groups(torch.zeros_like(mask), mask, [0, 1, 1]) == groups


def test_a_pass_without_latents_takes_the_same_way(parts, tmp_path):
    """Where processes hold a part of the weights each, one that looks up other embeddings would leave them waiting."""
    trainer = make_trainer(parts, tmp_path, latents=False)
    (batch,) = roll_out(trainer)
    assert handed_to_the_model(trainer, batch)["latent_embeds"].shape == (0, parts[0].config.text_config.hidden_size)


def test_the_head_works_in_narrow_tiles_on_a_cpu(parts, tmp_path):
    trainer, widths = make_trainer(parts, tmp_path), []
    (batch,) = roll_out(trainer)
    fused = trainer._base_model.forward

    def watched(*args, **kwargs):
        widths.append(trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE)
        return fused(*args, **kwargs)

    trainer._base_model.forward = watched
    trainer._compute_loss(trainer.model, batch)
    scored = int(text_mask(batch).sum())
    assert 4 * scored * widths[-1] <= 8 * 2**20 < 4 * scored * (widths[-1] + 1)
    assert trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768
    with narrow_head_tiles(torch.device("cuda"), scored):
        assert trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768


@pytest.mark.slow
def test_a_tied_tables_inputs_are_added_by_rows_while_training(parts, tmp_path):
    model, hooks = parts[0], []
    table = model.get_input_embeddings()
    model.lm_head.weight = table.weight
    trainer = training(parts, tmp_path, max_steps=1, gradient_checkpointing=False)
    before = len(table._forward_hooks)

    class Watching(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            hooks.append(len(table._forward_hooks))

    trainer.add_callback(Watching())
    trainer.train()
    assert hooks == [before + 1]
    assert len(table._forward_hooks) == before


@pytest.mark.medium
def test_a_training_tower_gets_a_gradient(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, freeze_vision=False)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer._base_model.model.visual.parameters())


@pytest.mark.medium
def test_the_tower_sees_each_prompt_once_a_step(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, beta=0.1, per_device_train_batch_size=6, steps_per_generation=2)
    videos = []
    for model in (trainer._base_model, trainer.ref_model):
        model.model.visual.register_forward_hook(
            lambda module, args, kwargs, output: videos.extend(kwargs["grid_thw"]), with_kwargs=True
        )
    for batch in roll_out(trainer, prompts=3):
        trainer._compute_loss(trainer.model, batch)
    assert len(videos) == 3


def test_sampling_is_what_the_settings_say(parts, tmp_path):
    model, _ = parts
    model.generation_config.temperature = 1e-6
    model.generation_config.top_k = 1
    model.generation_config.min_p = 0.99
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.no_repeat_ngram_size = 1
    own = model.generation_config.to_dict()
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer, prompts=3)
    assert len({tuple(ids) for ids in batch["completion_ids"].tolist()}) == 12
    repeats = [len(ids) - len(set(ids)) for ids in batch["completion_ids"].tolist()]
    assert max(repeats) > 1
    assert {**model.generation_config.to_dict(), "pad_token_id": None} == {**own, "pad_token_id": None}


@pytest.mark.medium
@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 0.5), ("max_new_tokens", 7), ("do_sample", False), ("top_k", 3)]
)
def test_sampling_that_the_settings_do_not_name_is_rejected(parts, tmp_path, field, value):
    with pytest.raises(InputError, match=f"would sample with {field} {value}, while the settings say"):
        make_trainer(parts, tmp_path, generation_kwargs={field: value})


def test_what_a_checkpoint_brings_along_is_noticed_where_it_is_not_put_by(parts, tmp_path):
    model, _ = parts
    model.generation_config.min_p = 0.99
    trainer = make_trainer(parts, tmp_path)
    with pytest.raises(InputError, match="would sample with min_p 0.99, while the settings say None"):
        check_sampling(model, trainer.generation_config, trainer.args)


def test_what_rollouts_sample_with_is_printed(parts, tmp_path, capsys):
    model, _ = parts
    model.generation_config.temperature = 1e-6
    model.generation_config.repetition_penalty = 1.05
    make_trainer(parts, tmp_path, temperature=0.9, generation_kwargs={"min_new_tokens": 2})
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rollouts sample with")]
    assert "temperature=0.9" in line and "repetition_penalty=1.0 " in line and "min_new_tokens=2" in line


@pytest.mark.medium
def test_a_placeholder_is_never_sampled(parts, tmp_path):
    model, _ = parts
    config = model.config
    with torch.no_grad():
        model.lm_head.bias[[config.video_token_id, config.image_token_id]] = 50.0
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    visual = torch.tensor([config.video_token_id, config.image_token_id])
    assert not torch.isin(batch["completion_ids"], visual).any()
    suppressing = make_trainer(parts, tmp_path, generation_kwargs={"suppress_tokens": [5]})
    assert {5, *visual.tolist()} == set(suppressing.generation_config.suppress_tokens), "beside what the settings ban"


def test_rewards_see_the_rows_and_the_latent_tokens(parts, tmp_path):
    seen = {}

    def reward(completions, rollout_text, answer, options, frames, timestamps, **columns):
        seen.update(completions=completions, rollout_text=rollout_text, answer=answer)
        return [1.0] * len(completions)

    trainer = make_trainer(parts, tmp_path, rewards=reward)
    roll_out(trainer)
    assert seen["answer"] == ["A"] * 4 + ["B"] * 4 + ["C"] * 4
    assert any("<|latent_start|>" in text for text in seen["rollout_text"])
    assert not any("<|latent_start|>" in completion[0]["content"] for completion in seen["completions"])
    assert not any(text.endswith("<|im_end|>") for text in seen["rollout_text"])


def training(parts, tmp_path, **settings):
    """A trainer that can run from a dataset, for two steps."""

    def varied_reward(completions, completion_ids, log_extra, **columns):
        log_extra("shown", processor.batch_decode(completion_ids, skip_special_tokens=True))
        return [len(ids) % 5 / 4 for ids in completion_ids]

    model, processor = parts
    settings = {
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 24,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "beta": 0.0,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        **settings,
    }
    args = LatentGRPOConfig(str(tmp_path), **settings)
    rows = Dataset.from_list(make_rows(4))
    trainer = LatentGRPOTrainer(model, varied_reward, args, rows, processing_class=processor)
    if trainer.ref_model is not None:
        trainer.ref_model.lm_head.bias = torch.nn.Parameter(model.lm_head.bias.clone(), requires_grad=False)
    return trainer


@pytest.mark.slow
def test_training_moves_the_policy_and_logs_its_blocks(parts, tmp_path):
    model, _ = parts
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trainer = training(parts, tmp_path, beta=0.01)
    trainer.train()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert any("language_model" in name for name in moved)
    assert not any("visual" in name for name in moved)
    entries = [entry for entry in trainer.state.log_history if "latents/blocks_per_completion" in entry]
    assert len(entries) == 2
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in entries)
    assert entries[0]["latents/blocks_per_completion"] > 0


@pytest.mark.medium
def test_entropy_and_kl_are_means_over_the_text(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, beta=0.1)
    (batch,) = roll_out(trainer)
    with torch.no_grad():
        trainer._base_model.lm_head.bias[10:200] += 2.0  # away from the reference
    trainer._compute_loss(trainer.model, batch)
    text, (log_probs, entropies, _) = text_mask(batch), trainer.scored
    assert 0 < text.sum() < batch["completion_mask"].sum(), "some of them are latents"
    logged = trainer._metrics["train"]
    assert logged["entropy"] == [pytest.approx(entropies[text].mean().item(), rel=1e-5)]
    distance = batch["ref_per_token_logps"] - log_probs
    kl = (distance.exp() - distance - 1)[text].mean().item()
    assert kl > 1e-2 and logged["kl"] == [pytest.approx(kl, rel=1e-4)]


def test_the_entropy_is_that_of_what_was_sampled_from(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, temperature=0.7)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    expected = batch["decoded_entropy"][text_mask(batch)].mean().item()
    assert trainer._metrics["train"]["entropy"] == [pytest.approx(expected, rel=1e-4)]


def test_groups_that_all_earned_the_same_are_counted(parts, tmp_path):
    """Six times 1.2: the deviation that TRL computes of them is 1e-7 in fp32, and counts for one."""

    def mostly_equal(completions, **columns):
        return [1.0] * (len(completions) - 2) + [None, 0.5]

    def form(completions, **columns):
        return [1.0] * len(completions)

    settings = {"num_generations": 6, "reward_weights": [1.0, 0.2]}
    trainer = make_trainer(parts, tmp_path, rewards=[mostly_equal, form], **settings)
    roll_out(trainer, prompts=2)
    assert trainer._metrics["train"]["frac_reward_zero_std"] == [0.5]


@pytest.mark.medium
def test_an_evaluation_scores_its_own_rows(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    roll_out(trainer)  # whose batches wait for the steps of training
    trainer.model.eval()
    assert trainer._prepare_inputs(repeated(make_rows(1), 4))["ids"] == ["clip-0"] * 4


@pytest.mark.medium
def test_groups_of_an_evaluation_have_a_size_of_their_own(parts, tmp_path):
    def reward(completions, id, **columns):
        return [float(name == "clip-0") for name in id]

    model, processor = parts
    settings = {"per_device_eval_batch_size": 4, "num_generations_eval": 2, "use_cpu": True, "bf16": False}
    settings |= {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 4}
    args, rows = LatentGRPOConfig(str(tmp_path), report_to="none", **settings), Dataset.from_list(make_rows(2))
    trainer = LatentGRPOTrainer(model, reward, args, rows, rows, processing_class=processor)
    assert trainer.evaluate()["eval_frac_reward_zero_std"] == 1.0


@pytest.mark.slow
def test_a_step_tells_its_blocks_and_where_its_time_went(parts, tmp_path):
    trainer = training(parts, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2, beta=0.1)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["step"] for entry in entries] == [1, 2]
    for entry in entries:
        assert {"kl", "entropy", "clip_ratio/region_mean", "completions/clipped_ratio"} <= entry.keys()
        assert {"frac_reward_zero_std", "rewards/varied_reward/mean"} <= entry.keys()
        assert 0 < entry["latents/whole_blocks"] <= 1 and entry["latents/completions_with_blocks"] <= 1
        assert entry["rollout_seconds"] > 0 and entry["scoring_seconds"] > 0
        assert entry["rollout_seconds"] + entry["scoring_seconds"] < entry["step_time"]
        assert entry["tokens_per_second"] > 0


def test_whole_blocks_are_counted_and_the_account_starts_anew():
    rules = LatentRules(pad=1, start=2, end=3, size=2)
    metrics = GRPOMetrics(Accelerator(cpu=True), rules)
    metrics.add([[7, 2, 1, 1, 3, 8, 2, 1, 1, 3, 9], [7, 2, 1], [7, 8, 9, 9]])
    with metrics.timed("rollout"):
        pass
    read = metrics.read([0.5, 1.0])
    assert read["latents/blocks_per_completion"] == 1.0
    assert read["latents/completions_with_blocks"] == pytest.approx(2 / 3)
    assert read["latents/whole_blocks"] == pytest.approx(2 / 3)
    assert read["tokens_per_second"] == pytest.approx(18 / 1.5)
    assert metrics.read([]) == {}
    metrics.add([[7, 9]])
    assert "latents/whole_blocks" not in metrics.read([])


@pytest.mark.slow
def test_logged_completions_show_their_blocks(parts, tmp_path):
    trainer = training(parts, tmp_path, log_completions=True, num_completions_to_print=1)
    trainer.train()
    table = pyarrow.parquet.read_table(tmp_path / "completions" / "completions_00001.parquet").to_pydict()
    assert len(table["completion"]) == 8 and table["step"] == [1] * 8
    texts = [message["content"] for (message,) in table["completion"]]
    assert any("[imagery 1: 4 latents]" in text for text in texts)
    assert not any("<|latent" in text for text in texts)
    assert [len(text) > 0 for text in texts] == [True] * 8
    assert table["shown"] == texts, "each beside its own rewards"


@pytest.mark.slow
def test_evaluation_logs_the_same_numbers(parts, tmp_path):
    trainer = training(parts, tmp_path, per_device_eval_batch_size=8, max_steps=1)
    trainer.eval_dataset = Dataset.from_list(make_rows(2))
    trainer.train()
    measured = trainer.evaluate()
    assert measured["eval_latents/blocks_per_completion"] > 0 and measured["eval_rollout_seconds"] > 0
    assert "eval_tokens_per_second" not in measured


@pytest.mark.medium
@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda completions, answer, **columns: [1 / (letter != "B") for letter in answer], "ZeroDivisionError"),
        (lambda completions, answer, **columns: [{"B": "2"}.get(letter, 0.0) for letter in answer], "it gave '2'"),
        (lambda completions, answer, **columns: [torch.inf if a == "B" else None for a in answer], "it gave inf"),
    ],
)
def test_a_reward_that_fails_names_the_completion_and_its_row(parts, tmp_path, reward, words):
    trainer = make_trainer(parts, tmp_path, rewards=reward)
    with pytest.raises(InputError, match=f"completion 5 of 12, of row clip-1, “.*”: .*{words}") as failure:
        roll_out(trainer)
    assert "\n" not in str(failure.value) and "<|latent" not in str(failure.value)
    assert str(failure.value).startswith("reward <lambda> failed on")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "Where is <|image_pad|>?"}, "question has the token <|image_pad|> in its words: take it out"),
        ({"options": [*OPTIONS, *"abcdefg"]}, "options has 11 entries: give 2 to 10, or none"),
        (
            {"timestamps": [0.0, 0.5, 0.5, 1.0]},
            "timestamps 3 is 0.5, not later than 0.5 before it: write rising seconds",
        ),
    ],
)
def test_a_row_that_makes_no_prompt_is_named(parts, tmp_path, change, words):
    trainer = make_trainer(parts, tmp_path)
    rows = repeated([{**row, **(change if row["id"] == "clip-1" else {})} for row in make_rows(3)], 4)
    with pytest.raises(InputError) as failure:
        trainer._generate_and_score_completions(rows)
    assert str(failure.value) == f"row clip-1: {words}"


def test_a_reward_that_fails_on_all_at_once_says_so(parts, tmp_path):
    def reward(completions, **columns):
        if len(completions) > 1:
            raise ValueError("one at a\ntime")
        return [0.0]

    trainer = make_trainer(parts, tmp_path, rewards=reward)
    with pytest.raises(InputError, match="failed on 12 completions at once, though on none alone: ValueError: one at"):
        roll_out(trainer)


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_before_its_step(parts, tmp_path):
    trainer = training(parts, tmp_path, max_steps=3, save_strategy="steps", save_steps=1)
    before = []

    def overflow(module, inputs, output):
        if torch.is_grad_enabled() and trainer.state.global_step == 1:
            before.append({name: weight.clone() for name, weight in trainer.model.named_parameters()})
            output.last_hidden_state.data.fill_(float("nan"))

    trainer._base_model.model.register_forward_hook(overflow)
    with pytest.raises(InputError, match="the loss of step 2 is nan: the ids of its rows are in .*loss-2-0.json"):
        trainer.train()
    record = json.loads((tmp_path / "loss-2-0.json").read_text())
    assert record["step"] == 2 and len(record["ids"]) == 8 and len(set(record["ids"])) == 2
    assert set(record["ids"]) < {f"clip-{number}" for number in range(4)}
    assert all(torch.equal(weight, before[0][name]) for name, weight in trainer.model.named_parameters())
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_rollout_of_a_broken_policy_ends_the_run_in_one_line(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    with torch.no_grad():
        trainer._base_model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(
        InputError, match="the policy's log-probs are NaN or infinite in the rollout of step 1: .*loss-1-0"
    ):
        roll_out(trainer)
    assert json.loads((tmp_path / "loss-1-0.json").read_text())["ids"][::4] == ["clip-0", "clip-1", "clip-2"]


@pytest.mark.medium
def test_fewer_rows_than_a_rollout_takes_are_rejected(parts, tmp_path):
    """TRL leaves them out: the run would end without a step and save the model that it began with."""
    trainer = make_trainer(parts, tmp_path)  # 12 completions at once, 4 of a prompt
    trainer.train_dataset = Dataset.from_list(make_rows(2))
    with pytest.raises(InputError, match="takes 3 prompts and there are 2 rows: .*lower"):
        trainer.train()


def test_rows_without_the_needed_columns_are_rejected(parts, tmp_path):
    model, processor = parts
    rows = Dataset.from_list([{"question": "q", "options": OPTIONS, "answer": "A"}])
    with pytest.raises(InputError, match="train_dataset has no column frames, timestamps"):
        LatentGRPOTrainer(
            model, args=LatentGRPOConfig(str(tmp_path), use_cpu=True), train_dataset=rows, processing_class=processor
        )


def test_default_rewards_and_their_weights(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, rewards=None)
    assert trainer.reward_func_names == ["accuracy_reward", "format_reward"]
    torch.testing.assert_close(trainer.reward_weights, torch.tensor([1.0, 0.2]))
    assert make_trainer(parts, tmp_path).reward_weights.tolist() == [1.0]


@pytest.mark.medium
def test_rewards_are_chosen_by_name(parts, tmp_path):
    model, processor = parts
    row = {**make_rows(1)[0], "camera_centers": None, "object_centers": None}
    columns = {"train_dataset": Dataset.from_list([row])}

    def trainer(**settings):
        args = LatentGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", **settings)
        return LatentGRPOTrainer(model, args=args, processing_class=processor, **columns)

    paid = trainer(reward_funcs=["spatiotemporal_reward"], center_scale="relative")
    assert paid.reward_func_names == ["spatiotemporal_reward"] and paid.reward_weights.tolist() == [1.0]
    assert paid.reward_funcs[0].__wrapped__.keywords == {"center_scale": "relative"}
    both = trainer(reward_funcs=["spatiotemporal_reward", "format_reward"], reward_weights=[0.5, 2.0])
    assert both.reward_weights.tolist() == [0.5, 2.0]
    assert trainer(reward_funcs=["spatiotemporal_reward", "format_reward"]).reward_weights.tolist() == [1.0, 1.0]
    # Named one by one they weigh as by default.
    torch.testing.assert_close(
        trainer(reward_funcs=["accuracy_reward", "format_reward"]).reward_weights, torch.tensor([1.0, 0.2])
    )
    columns["train_dataset"] = Dataset.from_list(make_rows(1))
    with pytest.raises(InputError, match="no column camera_centers, object_centers: give it .*--questions mllm4d"):
        trainer(reward_funcs=["spatiotemporal_reward"])


def test_weights_that_do_not_fit_are_rejected(parts, tmp_path):
    with pytest.raises(InputError, match=r"reward_weights \[1.0, 2.0\] do not fit the rewards varied_reward"):
        make_trainer(parts, tmp_path, reward_weights=[1.0, 2.0])


@pytest.mark.medium
def test_without_latents_completions_are_text_alone(parts, tmp_path):
    """The model's head is biased towards the start token, so that every second completion would hold a block."""
    start = parts[0].config.latent_start_token_id
    shares = []
    for latents in (True, False):
        trainer = make_trainer(parts, tmp_path, latents=latents)
        (batch,) = roll_out(trainer)
        assert (torch.cat(batch["latents"]).numel() > 0) == latents
        shares.append((batch["completion_ids"] == start).any(1).float().mean().item())
    assert shares[0] > 0.3 and shares[1] == 0


def test_latents_of_other_rows_are_rejected(parts):
    model, _ = parts
    ids = torch.tensor([[1, model.config.latent_token_id]])
    scorer = LatentScorer(model, Rollout(latents=[torch.zeros(2, 8)]), model, 3, "all")
    with pytest.raises(RuntimeError, match="not the ones that were carried"):
        scorer(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)


def test_equal_neighbours_are_one_prompt():
    first, second = make_rows(2)
    prompts, numbers = group_prompts([first, dict(first), second, second, first])
    assert [row["id"] for row in prompts] == ["clip-0", "clip-1", "clip-0"]
    assert numbers == [0, 0, 1, 1, 2]
    other_clip = {**first, "frames": second["frames"]}
    assert group_prompts([first, other_clip])[1] == [0, 1]


def test_a_completion_ends_with_its_turn():
    assert truncate_at_eos([5, 6, 7, 8], [7, 9]) == [5, 6, 7]
    assert truncate_at_eos([5, 9, 7, 8], [7, 9]) == [5, 9]
    assert truncate_at_eos([5, 6], [7]) == [5, 6]
