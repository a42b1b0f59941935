"""4DRL scores what was rolled out: one log-prob at decoding and at scoring, and nothing from latent positions."""

import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.latent_scoring import LatentScorer
from fourdthinker.trainers.rollouts import group_prompts, until_end

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
        batch["decoded"] = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
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
        Dataset.from_list([{"id": "", "question": "", "options": [""], "answer": "", "frames": [], "timestamps": []}]),
        processing_class=processor,
        peft_config=peft_config,
    )
    if trainer.ref_model is not None:  # it was read from the folder, which knows no bias
        trainer.ref_model.lm_head.bias = torch.nn.Parameter(model.lm_head.bias.clone(), requires_grad=False)
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


def test_scoring_is_exact_with_lora_and_its_switched_off_reference(parts, tmp_path):
    lora = LoraConfig(target_modules=LORA, r=4)
    trainer = make_trainer(parts, tmp_path, peft_config=lora, beta=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    torch.testing.assert_close(batch["ref_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)


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


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_logits_at_latent_positions_do_not_matter(parts, tmp_path, loss_type):
    trainer = make_trainer(parts, tmp_path, loss_type=loss_type, beta=0.1)
    (batch,) = roll_out(trainer)
    loss = trainer._compute_loss(trainer.model, batch).item()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    where = torch.zeros_like(ids, dtype=torch.bool)
    where[:, batch["prompt_ids"].shape[1] :] = ~batch["tool_mask"].bool()
    predicting = where.roll(-1, dims=1)  # the hidden state one place earlier gives a token's logits

    def loss_with_noise_at(places):
        def disturb(module, inputs, output):
            output.last_hidden_state = output.last_hidden_state + 10 * places[..., None]

        with_hook = trainer._base_model.model.register_forward_hook(disturb)
        try:
            return trainer._compute_loss(trainer.model, batch).item()
        finally:
            with_hook.remove()

    assert predicting.any()
    assert loss_with_noise_at(predicting) == loss
    assert loss_with_noise_at(~predicting) != loss


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


def test_gradient_reaches_the_text_through_latent_positions_but_not_the_tower(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    model = trainer._base_model
    assert all(parameter.grad is None for parameter in model.model.visual.parameters())
    assert model.model.language_model.layers[0].self_attn.k_proj.weight.grad.abs().sum() > 0


def test_a_training_tower_gets_a_gradient(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, freeze_vision=False)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer._base_model.model.visual.parameters())


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


def test_a_placeholder_is_never_sampled(parts, tmp_path):
    model, _ = parts
    config = model.config
    with torch.no_grad():
        model.lm_head.bias[[config.video_token_id, config.image_token_id]] = 50.0
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    visual = torch.tensor([config.video_token_id, config.image_token_id])
    assert not torch.isin(batch["completion_ids"], visual).any()


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


def test_training_moves_the_policy_and_logs_its_blocks(parts, tmp_path):
    model, processor = parts
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    args = LatentGRPOConfig(
        str(tmp_path),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=24,
        max_steps=2,
        learning_rate=1e-2,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
    )
    trainer = LatentGRPOTrainer(
        model, varied_reward, args, Dataset.from_list(make_rows(4)), processing_class=processor
    )
    trainer.train()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert any("language_model" in name for name in moved)
    assert not any("visual" in name for name in moved)
    entries = [entry for entry in trainer.state.log_history if "latents/blocks_per_completion" in entry]
    assert len(entries) == 2
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in entries)
    assert entries[0]["latents/blocks_per_completion"] > 0


def test_rows_without_the_needed_columns_are_refused(parts, tmp_path):
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


def test_latents_of_other_rows_are_refused(parts):
    model, _ = parts
    ids = torch.tensor([[1, model.config.latent_token_id]])
    scorer = LatentScorer(model, [torch.zeros(2, 8)], [], model.config, "all")
    with pytest.raises(RuntimeError, match="not the ones that were carried"):
        scorer(input_ids=ids, labels=ids)


def test_equal_neighbours_are_one_prompt():
    first, second = make_rows(2)
    prompts, numbers = group_prompts([first, dict(first), second, second, first])
    assert [row["id"] for row in prompts] == ["clip-0", "clip-1", "clip-0"]
    assert numbers == [0, 0, 1, 1, 2]
    other_clip = {**first, "frames": second["frames"]}
    assert group_prompts([first, other_clip])[1] == [0, 1]


def test_a_completion_ends_with_its_turn():
    assert until_end([5, 6, 7, 8], [7, 9]) == [5, 6, 7]
    assert until_end([5, 9, 7, 8], [7, 9]) == [5, 9]
    assert until_end([5, 6], [7]) == [5, 6]
