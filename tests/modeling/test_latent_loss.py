"""The DIFT loss equals its formula written out."""

import pytest
import torch

from fourdthinker.modeling import dift_loss, latent_loss
from fourdthinker.modeling.errors import InputError

PAD = 10
IDS = torch.tensor([[1, 2, 11, PAD, PAD, 12, 3, 4], [1, 11, PAD, PAD, 12, 11, PAD, PAD]])
LABELS = torch.tensor([[-100, -100, 11, -100, -100, 12, 3, 4], [-100, 11, -100, -100, 12, 11, -100, -100]])


@pytest.fixture
def states():
    torch.manual_seed(0)
    return torch.randn(2, 8, 6, requires_grad=True), torch.nn.Linear(6, 20, bias=False), torch.randn(3, 2, 6)


def by_hand(states, head, targets):
    """The loss of 4dthinker.md 1.5, position by position."""
    ce, count = 0.0, 0
    for row in range(2):
        for position in range(1, 8):
            label = int(LABELS[row, position])
            if label != -100:
                ce -= head(states[row, position - 1]).log_softmax(-1)[label]
                count += 1
    places = [(0, 3), (0, 4), (1, 2), (1, 3), (1, 6), (1, 7)]
    sim = 0.0
    for image in range(3):
        of_image = 0.0
        for k in range(2):
            row, position = places[2 * image + k]
            h, z = states[row, position - 1], targets[image, k]
            of_image += 1 - (h @ z) / (h.norm() * z.norm())
        sim += of_image / 2
    return ce / count, sim / 3


def test_equals_the_loss_written_out(states):
    hidden, head, targets = states
    loss = dift_loss(hidden, IDS, LABELS, targets, head, PAD)
    ce, sim = by_hand(hidden, head, targets)
    torch.testing.assert_close(loss.ce, ce)
    torch.testing.assert_close(loss.sim, sim)
    torch.testing.assert_close(loss.total, 0.1 * ce + 1.0 * sim)


def test_weights_and_token_count(states):
    hidden, head, targets = states
    plain = dift_loss(hidden, IDS, LABELS, targets, head, PAD)
    loss = dift_loss(hidden, IDS, LABELS, targets, head, PAD, ce_weight=2.0, sim_weight=0.5, num_items_in_batch=70)
    torch.testing.assert_close(loss.ce, plain.ce * 7 / 70)
    torch.testing.assert_close(loss.total, 2.0 * loss.ce + 0.5 * plain.sim)


def test_other_distances_written_out(states):
    hidden, head, targets = states
    predictions = hidden[:, :-1][(IDS == PAD)[:, 1:]].view(3, 2, 6)
    ratio = predictions.norm(dim=-1) / targets.norm(dim=-1)
    cosine = dift_loss(hidden, IDS, LABELS, targets, head, PAD).sim
    settings = {"num_images_in_batch": 5}
    both = dift_loss(hidden, IDS, LABELS, targets, head, PAD, latent_loss="cosine+norm", **settings).sim
    torch.testing.assert_close(both, (3 * cosine + ((ratio - 1) ** 2).mean(1).sum()) / 5)
    gap = (predictions - targets).abs()
    huber = torch.where(gap < 1, gap**2 / 2, gap - 0.5)
    smooth = dift_loss(hidden, IDS, LABELS, targets, head, PAD, latent_loss="smooth_l1", **settings).sim
    torch.testing.assert_close(smooth, huber.mean((1, 2)).sum() / 5)
    for distance in ("cosine+norm", "smooth_l1"):
        exact = torch.zeros_like(hidden).masked_scatter(
            torch.roll(IDS == PAD, -1, dims=1)[..., None].expand_as(hidden), targets
        )
        assert dift_loss(exact, IDS, None, targets, head, PAD, latent_loss=distance).sim.abs() < 1e-6
        longer = dift_loss(2 * exact, IDS, None, targets, head, PAD, latent_loss=distance).sim
        assert longer > 0.1, "length counts"


@pytest.mark.parametrize("latent_loss", ["cosine", "cosine+norm", "smooth_l1"])
def test_distances_of_half_precision_states_are_taken_in_full_precision(states, latent_loss):
    hidden, head, targets = states
    half = hidden.detach().bfloat16()
    losses = [
        dift_loss(states, IDS, None, targets, head, PAD, latent_loss=latent_loss) for states in (half, half.float())
    ]
    assert losses[0].sim == losses[1].sim and losses[0].sim.dtype == torch.float32
    assert torch.equal(losses[0].norm_ratio, losses[1].norm_ratio)


def test_the_model_takes_the_distance_from_its_configuration(training_batch, tiny_model):
    losses = []
    for tiny_model.config.latent_loss in ("cosine", "cosine+norm", "smooth_l1"):
        losses.append(tiny_model(**training_batch).sim_loss.item())
    assert len({round(loss, 4) for loss in losses}) == 3


def test_pairs_are_the_state_before_each_pad_and_the_target_at_it(states):
    hidden, head, targets = states
    dift_loss(hidden, IDS, None, targets, head, PAD).sim.backward()
    touched = hidden.grad.abs().sum(-1) > 0
    assert touched.int().tolist() == [[0, 0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1, 1, 0]]


def test_the_published_distance_is_none_for_equals_of_any_length(states):
    hidden, head, targets = states
    before = torch.roll(IDS == PAD, -1, dims=1)[..., None].expand_as(hidden)
    for scale in (1.0, 7.0):
        exact = hidden.detach().masked_scatter(before, scale * targets)
        assert dift_loss(exact, IDS, None, targets, head, PAD).sim.abs() < 1e-6
    plain, longer = (dift_loss(scale * hidden, IDS, None, targets, head, PAD).sim for scale in (1.0, 7.0))
    torch.testing.assert_close(plain, longer)


def test_pads_are_never_words_to_predict(states):
    hidden, head, targets = states
    careless = torch.where(IDS == PAD, IDS, LABELS)
    assert (
        dift_loss(hidden, IDS, careless, targets, head, PAD).ce
        == dift_loss(hidden, IDS, LABELS, targets, head, PAD).ce
    )


def test_head_runs_on_supervised_positions_only(states):
    hidden, head, targets = states
    seen = []
    dift_loss(hidden, IDS, LABELS, targets, lambda kept: seen.append(kept.shape) or head(kept), PAD)
    assert seen == [(7, 6)]


def test_two_images_weigh_the_same_however_they_are_batched(states):
    hidden, head, targets = states
    whole = dift_loss(hidden, IDS, None, targets, head, PAD)
    parts = [
        dift_loss(hidden[row : row + 1], IDS[row : row + 1], None, images, head, PAD, num_images_in_batch=3)
        for row, images in enumerate(targets.split([1, 2]))
    ]
    torch.testing.assert_close(parts[0].sim + parts[1].sim, whole.sim)
    torch.testing.assert_close(torch.cat([part.cosine for part in parts]), whole.cosine)


@pytest.mark.parametrize("tile", [1, 3, 7])
def test_tiles_change_neither_loss_nor_gradients(states, monkeypatch, tile):
    hidden, head, targets = states

    def measured():
        loss = dift_loss(hidden, IDS, LABELS, targets, head, PAD)
        grads = torch.autograd.grad(loss.total, (hidden, head.weight))
        return (*loss[:5], *grads)

    whole = measured()
    monkeypatch.setattr(latent_loss, "TILE", tile)
    seen = []
    head.register_forward_hook(lambda module, settings, logits: seen.append(len(logits)))
    for tiled, expected in zip(measured(), whole, strict=True):
        torch.testing.assert_close(tiled, expected)
    assert max(seen) == tile


def test_untiled_the_head_runs_once(states, monkeypatch):
    """Where its weights are spread over processes, all must run it equally often, whatever their rows' lengths."""
    hidden, head, targets = states
    monkeypatch.setattr(latent_loss, "TILE", 1)
    seen = []
    head.register_forward_hook(lambda module, settings, logits: seen.append(len(logits)))
    loss = dift_loss(hidden, IDS, LABELS, targets, head, PAD, tiled=False)
    assert seen == [7]
    torch.testing.assert_close(loss.total, dift_loss(hidden, IDS, LABELS, targets, head, PAD).total)


def test_what_is_watched_is_what_it_says(states):
    hidden, head, targets = states
    loss = dift_loss(hidden, IDS, LABELS, targets, head, PAD)
    likeliest = head(hidden).argmax(-1)[:, :-1]
    supervised = LABELS[:, 1:] != -100
    assert loss.supervised_tokens == 7
    assert loss.correct_tokens == ((likeliest == LABELS[:, 1:]) & supervised).sum()
    h, z = hidden[1, 6], targets[2, 1]  # the last pad of the second row, where the third image's second latent stands
    torch.testing.assert_close(loss.cosine[2, 1], torch.cosine_similarity(h, z, dim=0).detach())
    torch.testing.assert_close(loss.norm_ratio[2, 1], (h.norm() / z.norm()).detach())
    assert not loss.cosine.requires_grad and not loss.norm_ratio.requires_grad


def test_targets_get_no_gradient(states):
    hidden, head, targets = states
    targets.requires_grad_()
    dift_loss(hidden, IDS, LABELS, targets, head, PAD).total.backward()
    assert targets.grad is None
    assert hidden.grad.abs().sum() > 0


def test_batches_without_latents_or_without_labels(states):
    hidden, head, targets = states
    text = dift_loss(hidden, torch.ones_like(IDS), LABELS, None, head, PAD)
    assert text.sim == 0
    torch.testing.assert_close(text.total, 0.1 * text.ce)
    silent = dift_loss(hidden, IDS, torch.full_like(IDS, -100), targets, head, PAD)
    assert silent.ce == 0
    assert silent.total.isfinite()
    silent.total.backward()


def test_other_number_of_images_than_blocks_is_rejected(states):
    hidden, head, targets = states
    with pytest.raises(InputError, match="imagery frame"):
        dift_loss(hidden, IDS, LABELS, targets[:2], head, PAD)


def test_forward_gives_the_loss_of_teacher_forcing(training_batch, tiny_model):
    output = tiny_model(**training_batch)
    targets = tiny_model.imagery_targets(
        training_batch["pixel_values_latent"], training_batch["image_grid_thw_latent"]
    )
    assert targets.shape == (3, 4, 32)
    inputs = {k: v for k, v in training_batch.items() if not k.endswith("_latent") and k != "labels"}
    states = tiny_model.model(**inputs, latent_embeds=targets.flatten(0, 1)).last_hidden_state
    expected = dift_loss(
        states,
        inputs["input_ids"],
        training_batch["labels"],
        targets,
        tiny_model.lm_head,
        tiny_model.config.latent_token_id,
    )
    torch.testing.assert_close(output.loss, expected.total)
    torch.testing.assert_close(output.ce_loss, expected.ce)
    torch.testing.assert_close(output.sim_loss, expected.sim)
    torch.testing.assert_close(output.last_hidden_state, states)
    torch.testing.assert_close(output.logits, tiny_model.lm_head(states))
    short = tiny_model(**training_batch, logits_to_keep=1)
    assert short.logits.shape[1] == 1
    torch.testing.assert_close(short.loss, output.loss)


def test_own_latents_can_be_fed_while_imagery_stays_the_target(training_batch, tiny_model):
    forced = tiny_model(**training_batch)
    fed = tiny_model(**training_batch, latent_embeds=torch.zeros(12, 32))
    assert fed.sim_loss != forced.sim_loss
    assert fed.ce_loss != forced.ce_loss


def test_neither_video_nor_imagery_gives_the_vision_tower_a_gradient(training_batch, tiny_model):
    tiny_model.train()
    assert tiny_model.training
    assert not tiny_model.model.visual.training
    assert tiny_model.model.language_model.training
    tiny_model(**training_batch).loss.backward()
    assert all(parameter.grad is None for parameter in tiny_model.model.visual.parameters())
    assert tiny_model.model.language_model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_imagery_without_enough_blocks_is_rejected(training_batch, tiny_model):
    batch = {**training_batch, "input_ids": training_batch["input_ids"][:, :-8]}
    batch["attention_mask"], batch["labels"] = batch["attention_mask"][:, :-8], batch["labels"][:, :-8]
    with pytest.raises(InputError):
        tiny_model(**batch)
