"""One unroll gives the loss and the gradient of as many parallel passes as there are latents."""

import pytest
import torch

from fourdthinker.modeling import load_model
from fourdthinker.modeling.answer_mask import token_roles
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_unroll import Stretches, can_unroll, packed_sequences
from fourdthinker.modeling.self_feeding import SelfFeeding, most_latents
from fourdthinker.trainers.dift.packing import pack_batch
from fourdthinker.trainers.grpo.prefix_sharing import SharedRows

MOST = 8  # two blocks of four
EXACT, PARALLEL = SelfFeeding(gradient=None), SelfFeeding(MOST, None)


@pytest.fixture
def make_model(tiny_model_folder):
    """A model in float64, so that two ways of one sum agree to more digits than are asked for.

    Eager attention takes its softmax in float32, where float64's least number, its mask, is infinite.
    """

    def make(attention="sdpa"):
        dtype = torch.float32 if attention == "eager" else torch.float64
        model, _ = load_model(tiny_model_folder, dtype=dtype, attn_implementation=attention)
        model.config.latent_norm, model.config.latent_target_norm = "match", 3.0
        return model.train()

    return make


def pad_on_the_right(batch):
    """The same rows with their padding moved from the left to the right."""
    shift = batch["attention_mask"].argmax(1)
    columns = (torch.arange(batch["input_ids"].shape[1]) + shift[:, None]) % batch["input_ids"].shape[1]
    moved = {name: batch[name].gather(1, columns) for name in ("input_ids", "attention_mask", "labels")}
    return {**batch, **moved}


def share_prompt(model, batch):
    """Two responses of different imagery behind one prompt, masked from each other."""
    first = {name: batch[name][:1] for name in ("input_ids", "attention_mask", "labels", "video_grid_thw")}
    ending = batch["input_ids"][2:, -20:]  # one block where the first has two
    prompt = first["input_ids"].shape[1] - 20
    ids = torch.cat([first["input_ids"], torch.cat([first["input_ids"][:, :prompt], ending], dim=1)])
    labels = torch.cat([first["labels"], torch.cat([first["labels"][:, :prompt], ending], dim=1)])
    mask = first["attention_mask"].repeat(2, 1)
    layout = SharedRows.lay_out(mask, prompt, [[0, 1]])
    seconds = {name: torch.as_tensor(batch[name])[[0, 0]] for name in ("second_per_grid_ts",) if name in batch}
    positions, _ = model.model.get_rope_index(
        ids, attention_mask=mask, video_grid_thw=first["video_grid_thw"].repeat(2, 1), **seconds
    )
    seen = layout.attention()
    if model.config.get_text_config()._attn_implementation == "eager":
        seen = torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)
    patches = int(first["video_grid_thw"].prod())
    imagery = {name: batch[name] for name in ("pixel_values_latent", "image_grid_thw_latent")}
    return {
        **imagery,
        "input_ids": layout.gather(ids),
        "labels": layout.gather(labels, padding=-100),
        "attention_mask": seen,
        "position_ids": layout.gather(positions),
        "pixel_values_videos": batch["pixel_values_videos"][:patches],
        "video_grid_thw": first["video_grid_thw"],
        **{name: values[:1] for name, values in seconds.items()},
    }


LAYOUTS = {
    "left": lambda model, batch: batch,
    "right": lambda model, batch: pad_on_the_right(batch),
    "packed": lambda model, batch: pack_batch(batch, model.model.get_rope_index),
    "shared": share_prompt,
}


def loss_and_gradient(model, batch, feeding):
    model.zero_grad()
    output = model(**batch, self_feeding=feeding, logits_to_keep=1)
    output.loss.backward()
    gradient = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return output, torch.cat(gradient)


@pytest.mark.parametrize(
    ("layout", "attention"), [*((layout, "sdpa") for layout in LAYOUTS), ("right", "eager"), ("packed", "eager")]
)
@pytest.mark.slow
def test_one_unroll_has_the_gradient_of_parallel_passes(make_model, training_batch, layout, attention):
    model = make_model(attention)
    batch = LAYOUTS[layout](model, training_batch)
    # Responses that share a prompt are one row, in which the second one's latents come after the first one's.
    parallel = SelfFeeding(MOST + 4, None) if layout == "shared" else PARALLEL
    expected, expected_gradient = loss_and_gradient(model, batch, parallel)
    for recomputed in (False, True):
        if recomputed:
            model.model.language_model.gradient_checkpointing_enable()
        output, gradient = loss_and_gradient(model, batch, EXACT)
        torch.testing.assert_close(output.latent_embeds, expected.latent_embeds, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(output.loss, expected.loss)
        # The rounding of twelve passes in float32 is some 1e-5 by itself.
        tolerance = 1e-6 if gradient.dtype == torch.float64 else 3e-5
        assert (gradient - expected_gradient).norm() < tolerance * expected_gradient.norm()


@pytest.mark.parametrize("question", [False, True])
@pytest.mark.parametrize(
    ("layout", "attention"), [(layout, attention) for layout in ("left", "packed") for attention in ("sdpa", "eager")]
)
@pytest.mark.slow
def test_one_unroll_hides_the_video_from_answers_as_parallel_passes_do(
    make_model, training_batch, tiny_processor, layout, attention, question
):
    model = make_model(attention)
    config = model.config
    _, all_seen = loss_and_gradient(model, LAYOUTS[layout](model, training_batch), EXACT)
    config.answer_sees, config.answer_sees_question = "latents", question
    config.turn_token_id = tiny_processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    roles = {"roles": token_roles(training_batch["input_ids"], config, training_batch["attention_mask"])}
    batch = LAYOUTS[layout](model, {**training_batch, **roles} if layout == "packed" else training_batch)
    expected, expected_gradient = loss_and_gradient(model, batch, PARALLEL)
    output, gradient = loss_and_gradient(model, batch, EXACT)
    torch.testing.assert_close(output.latent_embeds, expected.latent_embeds, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.loss, expected.loss)
    tolerance = 1e-6 if gradient.dtype == torch.float64 else 3e-5
    assert (gradient - expected_gradient).norm() < tolerance * expected_gradient.norm()
    assert (gradient - all_seen).norm() > 1e-2 * all_seen.norm()


@pytest.mark.slow
def test_layers_run_again_in_the_backward_pass_only_where_that_is_set(make_model, training_batch):
    model, counts = make_model(), {}
    mlp = model.model.language_model.layers[0].mlp
    mlp.register_forward_pre_hook(lambda *_: counts.update(runs=counts.get("runs", 0) + 1))
    for recomputed in (False, True):
        if recomputed:
            model.model.language_model.gradient_checkpointing_enable()
        counts.clear()
        loss = model(**training_batch, self_feeding=EXACT, logits_to_keep=1).loss
        forward = counts["runs"]
        loss.backward()
        # Nine stretches: single latents, and the words between blocks, always run again; first and last if asked.
        assert (forward, counts["runs"] - forward) == (9, 9 if recomputed else 7)


@pytest.mark.medium
def test_the_models_own_checkpointing_is_left_as_it_was(make_model, training_batch):
    model = make_model()
    model.model.language_model.gradient_checkpointing_enable()
    layer = model.model.language_model.layers[0]
    length, model.config.latent_target_norm = model.config.latent_target_norm, None
    with pytest.raises(InputError, match="no length of targets is known"):  # between two stretches
        model(**training_batch, self_feeding=EXACT)
    assert layer.gradient_checkpointing and "forward" not in vars(layer)
    model.config.latent_target_norm = length
    loss_and_gradient(model, training_batch, EXACT)
    assert layer.gradient_checkpointing and "forward" not in vars(layer)


def test_without_gradient_the_unroll_gives_the_same_loss(make_model, training_batch):
    model = make_model().eval()
    with torch.no_grad():
        expected = model(**training_batch, self_feeding=SelfFeeding()).loss
        torch.testing.assert_close(model(**training_batch, self_feeding=EXACT).loss, expected)


def test_packed_rows_take_parallel_passes_where_attention_takes_no_mask_of_any_pattern(make_model, training_batch):
    model = make_model()
    batch = pack_batch(training_batch, model.model.get_rope_index)
    assert can_unroll(model, batch) and can_unroll(model, training_batch)
    model.config.get_text_config()._attn_implementation = "flash_attention_2"
    assert can_unroll(model, training_batch) and not can_unroll(model, batch)
    assert most_latents(batch["input_ids"] == model.config.latent_token_id, packed_sequences(batch)) == MOST


def test_a_video_after_a_latent_is_rejected():
    pads = torch.tensor([[False, False, True, False]])
    Stretches.plan(pads, torch.zeros(1, 4, dtype=torch.long), torch.tensor([[True, True, False, False]]))
    with pytest.raises(InputError, match="a visual block follows a latent block"):
        Stretches.plan(pads, torch.zeros(1, 4, dtype=torch.long), torch.tensor([[False, False, False, True]]))
