"""Nothing of the loss comes from latent positions, and the gradient goes where it should."""

import math

import pytest
import torch

from .grpo_runs import alternating_reward, constant_reward, gradients_of, make_trainer, roll_out, text_mask


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


@pytest.mark.medium
def test_a_training_tower_gets_a_gradient(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, freeze_vision=False)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer._base_model.model.visual.parameters())
