"""Latents of a row's own, predicted in training: those that it would decode, with decoding's gradient."""

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.self_feeding import OwnLatents, SelfFeeding

MOST = 8  # two blocks of four
EXACT = SelfFeeding(gradient=None)
NO_IMAGERY = ("pixel_values_latent", "image_grid_thw_latent")


@pytest.fixture
def batch(training_batch):
    return {name: value for name, value in training_batch.items() if name not in NO_IMAGERY}


@pytest.fixture
def targets(tiny_model, imagery):
    return tiny_model.imagery_targets(**imagery)


@pytest.fixture
def fed(tiny_model, batch, targets, monkeypatch):
    """The latents that the rows feed on, the output, and the widths of all passes."""

    def run(feeding, **kwargs):
        seen, inner = [], tiny_model.model.forward

        def watched(*args, **settings):
            seen.append(settings["input_ids"].shape[1])
            return inner(*args, **settings)

        with monkeypatch.context() as patch:
            patch.setattr(tiny_model.model, "forward", watched)
            output = tiny_model(**batch, latent_targets=targets, self_feeding=feeding, **kwargs)
        return output.latent_embeds, output, seen

    return run


def decoded_alone(model, batch, row) -> torch.Tensor:
    """A row's latents one after the other: each is the last state of the words and latents before it."""
    pads = (batch["input_ids"][row] == model.config.latent_token_id).nonzero()[:, 0].tolist()
    patches = batch["video_grid_thw"].prod(1).tolist()
    vision = {
        "pixel_values_videos": batch["pixel_values_videos"].split(patches)[row],
        "video_grid_thw": batch["video_grid_thw"][row : row + 1],
    }
    if "second_per_grid_ts" in batch:
        vision["second_per_grid_ts"] = torch.as_tensor(batch["second_per_grid_ts"])[row : row + 1]
    latents: list[torch.Tensor] = []
    for position in pads:
        outputs = model.model(
            input_ids=batch["input_ids"][row : row + 1, :position],
            attention_mask=batch["attention_mask"][row : row + 1, :position],
            latent_embeds=torch.stack(latents) if latents else None,
            use_cache=False,
            **vision,
        )
        latents.append(model.to_feedback(outputs.last_hidden_state[0, -1]))
    return torch.stack(latents)


@torch.no_grad()
@pytest.mark.parametrize("latent_norm", ["none", "match"])
@pytest.mark.slow
def test_both_ways_give_the_latents_that_a_row_would_decode(tiny_model, batch, fed, latent_norm):
    tiny_model.config.latent_norm, tiny_model.config.latent_target_norm = latent_norm, 3.0
    alone = torch.cat([decoded_alone(tiny_model, batch, row) for row in (0, 2)])
    for feeding in (SelfFeeding(), EXACT, SelfFeeding(MOST), SelfFeeding(MOST + 3)):
        torch.testing.assert_close(fed(feeding)[0], alone, atol=1e-5, rtol=0, msg=str(feeding))
    # Pass n makes latent n right: one pass fewer leaves the last of eight wrong, and one pass gets only the first.
    right = (fed(SelfFeeding(MOST - 1))[0] - alone).abs().amax(-1) < 1e-5
    assert right.tolist() == [True] * 7 + [False] + [True] * 4
    right = (fed(SelfFeeding(1))[0] - alone).abs().amax(-1) < 1e-5
    assert right.nonzero()[:, 0].tolist() == [0, 8]


@torch.no_grad()
def test_the_first_pass_knows_nothing_of_the_imagery(tiny_model, batch, fed):
    pads = batch["input_ids"] == tiny_model.config.latent_token_id
    embedding = tiny_model.get_input_embeddings()(batch["input_ids"][pads])
    plain = tiny_model.model(
        **{name: value for name, value in batch.items() if name != "labels"}, latent_embeds=embedding
    )
    expected = plain.last_hidden_state[:, :-1][pads[:, 1:]]
    torch.testing.assert_close(fed(SelfFeeding(1))[0], expected, atol=1e-5, rtol=0)


def test_the_sequential_way_runs_every_word_once(fed, batch, tiny_model):
    columns = [row.nonzero()[:, 0].tolist() for row in batch["input_ids"] == tiny_model.config.latent_token_id]
    longest = [max(row[0] for row in columns if row), 1, 1, 1]
    # From the last latent of a block to the first of the next one.
    longest += [columns[0][4] - columns[0][3], 1, 1, 1]
    assert fed(SelfFeeding())[2] == [*longest, batch["input_ids"].shape[1]]


@torch.no_grad()
def test_the_loss_is_that_of_one_more_pass_on_these_latents(tiny_model, batch, targets, fed):
    latents, output, _ = fed(SelfFeeding(2))
    expected = tiny_model(**batch, latent_targets=targets, latent_embeds=latents)
    torch.testing.assert_close(output.loss, expected.loss)
    assert (output.loss - tiny_model(**batch, latent_targets=targets).loss).abs() > 1e-3


def gradients(model, loss) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.slow
def test_with_gradient_through_all_passes_both_ways_have_decodings_gradient(tiny_model, batch, targets, fed):
    alone = torch.cat([decoded_alone(tiny_model, batch, row) for row in (0, 2)])
    expected = gradients(tiny_model, tiny_model(**batch, latent_targets=targets, latent_embeds=alone).loss)
    for feeding in (SelfFeeding(gradient=MOST), SelfFeeding(MOST, MOST), SelfFeeding(MOST, None), EXACT):
        got = gradients(tiny_model, fed(feeding)[1].loss)
        assert got.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(got[name], gradient, atol=1e-4, rtol=1e-4, msg=f"{feeding} {name}")


@pytest.mark.medium
@pytest.mark.parametrize("passes", [None, 2])
def test_gradient_goes_through_as_many_of_the_last_passes_as_asked(tiny_model, fed, passes):
    found = [gradients(tiny_model, fed(SelfFeeding(passes, gradient))[1].loss) for gradient in (0, 1, 2)]
    for one, other in ((0, 1), (1, 2)):
        name = "model.language_model.layers.0.self_attn.q_proj.weight"
        assert not torch.allclose(found[one][name], found[other][name], rtol=1e-3, atol=1e-6)


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize("passes", [None, 3])
def test_teacher_forced_blocks_feed_on_their_targets(fed, targets, passes):
    latents, *_ = fed(SelfFeeding(passes), teacher_forced=torch.tensor([True, False, True]))
    assert torch.equal(latents[:4], targets[0]) and torch.equal(latents[8:], targets[2])
    assert not torch.isclose(latents[4:8], targets[1]).all(1).any()
    latents, *_ = fed(SelfFeeding(passes), teacher_forced=torch.tensor([True] * 3))
    assert torch.equal(latents, targets.flatten(0, 1))


def test_the_tower_runs_once_for_all_passes(tiny_model, training_batch):
    calls = []
    tiny_model.model.visual.register_forward_hook(lambda *_: calls.append(1))
    tiny_model(**training_batch, self_feeding=SelfFeeding(3))
    assert len(calls) == 2, "the imagery and the videos"


def test_the_pads_own_embedding_is_not_trained_by_what_it_starts():
    pads, embedding = torch.tensor([[False, True, True]]), torch.ones(4, requires_grad=True)
    latents = OwnLatents(pads, torch.zeros(1, 2, 4), embedding)
    assert latents.fed.eq(1).all() and not latents.fed.requires_grad


def test_no_pass_feeds_every_latent_the_pads_embedding_and_keeps_the_imagery_loss(tiny_model, fed):
    latents, output, lengths = fed(SelfFeeding(0))
    pad = tiny_model.get_input_embeddings().weight[tiny_model.config.latent_token_id]
    assert len(lengths) == 1 and torch.equal(latents, pad.expand_as(latents))
    assert output.sim_loss > 0


@pytest.mark.parametrize("settings", [{"passes": -1}, {"gradient": -1}])
def test_passes_that_cannot_be_are_rejected(settings):
    with pytest.raises(InputError, match="self-feeding passes"):
        SelfFeeding(**settings)
