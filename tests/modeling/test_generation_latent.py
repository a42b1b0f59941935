"""Decoding with latent blocks: batches, replay, and settings that are rejected."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    DynamicCache,
    GenerationMixin,
    LogitsProcessor,
    StoppingCriteria,
    TextIteratorStreamer,
    TextStreamer,
)

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.generation_latent import LatentFeedback
from fourdthinker.modeling.latent_rules import LatentRules

STEPS = ([2], [5], [3, 9])


def completion(output, inputs):
    return output.sequences[:, inputs["input_ids"].shape[1] :]


def alone(prompts, generate_at, row, **kwargs):
    inputs = prompts([row])
    output = generate_at(inputs, [STEPS[row]], **kwargs)
    return completion(output, inputs)[0], output.latent_embeds[0], output


def replay_inputs(inputs, sequences):
    """Model inputs for a whole generated sequence, its prompt's padding still masked."""
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(sequences[:, inputs["input_ids"].shape[1] :])], dim=1)
    names = ("pixel_values_videos", "video_grid_thw", "second_per_grid_ts")
    vision = {name: inputs[name] for name in names if name in inputs}
    return {"input_ids": sequences, "attention_mask": mask, **vision}


@pytest.mark.medium
def test_batch_of_rows_at_different_phases_equals_each_row_alone(prompts, generate_at):
    inputs = prompts()
    assert (inputs["attention_mask"][:, 0] == 0).any(), "some row is filled on the left"
    output = generate_at(inputs, STEPS)
    for row in range(3):
        tokens, latents, _ = alone(prompts, generate_at, row)
        assert torch.equal(completion(output, inputs)[row], tokens)
        torch.testing.assert_close(output.latent_embeds[row], latents, atol=1e-5, rtol=0)


def test_blocks_are_whole_and_latents_counted(prompts, generate_at, tiny_model):
    output = generate_at(prompts(), STEPS)
    config = tiny_model.config
    assert [len(latents) for latents in output.latent_embeds] == [4, 4, 8]
    block = [config.latent_start_token_id, *[config.latent_token_id] * 4, config.latent_end_token_id]
    for row, (tokens, steps) in enumerate(zip(completion(output, prompts()).tolist(), STEPS, strict=True)):
        for step in steps:
            assert tokens[step : step + 6] == block, row


def test_replay_with_recorded_latents_gives_the_logits_of_decoding(prompts, generate_at, tiny_model):
    inputs = prompts()
    output = generate_at(inputs, STEPS)
    decoded = torch.stack(output.logits, dim=1)
    replay = replay_inputs(inputs, output.sequences)
    length = inputs["input_ids"].shape[1]
    pads = output.sequences[output.sequences == tiny_model.config.latent_token_id]
    with torch.no_grad():
        logits = tiny_model(**replay, latent_embeds=torch.cat(output.latent_embeds)).logits[:, length - 1 : -1]
        own_embeddings = tiny_model.get_input_embeddings()(pads)
        without = tiny_model(**replay, latent_embeds=own_embeddings).logits[:, length - 1 : -1]
    torch.testing.assert_close(logits, decoded, atol=1e-4, rtol=0)
    # With the pad's own embedding the states after the block are others: what the research code scored.
    assert (without[0, 5:] - decoded[0, 5:]).abs().max() > 1e-2
    torch.testing.assert_close(without[0, :2], decoded[0, :2], atol=1e-4, rtol=0)


def test_latents_are_the_hidden_states_of_the_positions_before(prompts, generate_at, tiny_model):
    inputs = prompts([0])
    output = generate_at(inputs, STEPS[:1])
    with torch.no_grad():
        states = tiny_model.model(
            **replay_inputs(inputs, output.sequences), latent_embeds=output.latent_embeds[0]
        ).last_hidden_state
    first = inputs["input_ids"].shape[1] + STEPS[0][0]
    torch.testing.assert_close(states[0, first : first + 4], output.latent_embeds[0], atol=1e-5, rtol=0)


def test_num_return_sequences(prompts, generate_at):
    inputs = prompts([0, 1])
    both = generate_at(inputs, ([2], [2], [5], [5]), num_return_sequences=2, do_sample=True, top_k=1)
    single = generate_at(inputs, ([2], [5]))
    for row in range(4):
        assert torch.equal(completion(both, inputs)[row], completion(single, inputs)[row // 2])
        torch.testing.assert_close(both.latent_embeds[row], single.latent_embeds[row // 2], atol=1e-5, rtol=0)


def test_another_latent_size(prompts, generate_at, tiny_model):
    output = generate_at(prompts(), STEPS, latent_size=2)
    assert [len(latents) for latents in output.latent_embeds] == [2, 2, 4]
    assert tiny_model.config.latent_size == 4
    assert len(generate_at(prompts([0]), STEPS[:1]).latent_embeds[0]) == 4


def test_stop_inside_a_block_returns_the_latents_that_were_fed(prompts, generate_at, tiny_model):
    inputs = prompts([0])
    output = generate_at(inputs, ([2],), max_new_tokens=5)
    assert completion(output, inputs)[0, -2:].tolist() == [tiny_model.config.latent_token_id] * 2
    assert len(output.latent_embeds[0]) == 2


def test_rows_without_latents_return_empty_tensors(prompts, generate_at, tiny_model):
    output = generate_at(prompts([0, 1]), ([], [3]), suppress_tokens=[tiny_model.config.latent_start_token_id])
    assert output.latent_embeds[0].shape == (0, tiny_model.config.text_config.hidden_size)
    assert len(output.latent_embeds[1]) == 4


def test_prompt_that_ends_inside_a_block_goes_on_where_it_stopped(prompts, generate_at):
    inputs = prompts([0])
    whole = generate_at(inputs, STEPS[:1])
    for cut in (2, 5, 9):  # before, inside and after the block
        length = inputs["input_ids"].shape[1] + cut
        begun = replay_inputs(inputs, whole.sequences[:, :length])
        latents = whole.latent_embeds[0][: max(0, min(cut - 3, 4))]
        start = [] if cut > STEPS[0][0] else [0]
        rest = generate_at({**begun, "latent_embeds": latents}, [start], max_new_tokens=16 - cut)
        assert torch.equal(rest.sequences, whole.sequences)
        torch.testing.assert_close(rest.latent_embeds[0], whole.latent_embeds[0], atol=1e-5, rtol=0)


def test_prompts_with_blocks_in_a_batch_and_several_returned_sequences(prompts, generate_at):
    inputs = prompts([0, 1])
    whole = generate_at(inputs, ([2], [5]))
    length = inputs["input_ids"].shape[1] + 9
    begun = replay_inputs(inputs, whole.sequences[:, :length])
    packed = torch.cat([whole.latent_embeds[0], whole.latent_embeds[1][:3]])
    rest = generate_at(
        {**begun, "latent_embeds": packed}, [[]] * 4, max_new_tokens=7, num_return_sequences=2, do_sample=True, top_k=1
    )
    for row in range(4):
        assert torch.equal(rest.sequences[row], whole.sequences[row // 2])
        torch.testing.assert_close(rest.latent_embeds[row], whole.latent_embeds[row // 2], atol=1e-5, rtol=0)


def test_prompt_with_pads_needs_their_vectors(prompts, generate_at):
    inputs = prompts([0])
    whole = generate_at(inputs, STEPS[:1])
    with pytest.raises(InputError, match="latent_embeds"):
        generate_at(replay_inputs(inputs, whole.sequences), [[]])


@pytest.mark.medium
@pytest.mark.parametrize("passed", ["all ids", "new ids"])
def test_decoding_goes_on_behind_a_cache_that_holds_latents(prompts, generate_at, tiny_model, passed):
    prepare = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
    if passed == "new ids" and "next_sequence_length" not in prepare:
        pytest.skip("this transformers goes on from all ids only")
    config, inputs = tiny_model.config, prompts([0])
    begun = generate_at(inputs, STEPS[:1], max_new_tokens=9)
    new = torch.tensor([[20, config.latent_start_token_id, *[config.latent_token_id] * 2]])
    ids, latents = torch.cat([begun.sequences, new], 1), torch.ones(2, 32)
    whole = {**replay_inputs(inputs, ids), "latent_embeds": torch.cat([*begun.latent_embeds, latents])}
    expected = generate_at(whole, [[]], max_new_tokens=6)
    replay = replay_inputs(inputs, begun.sequences[:, :-1])
    cache = DynamicCache(config=config.get_text_config())
    with torch.no_grad():
        tiny_model(**replay, cache=cache, use_cache=True, latent_embeds=begun.latent_embeds[0])
    kept = ids if passed == "all ids" else ids[:, cache.get_seq_length() :]
    after = {"input_ids": kept, "attention_mask": whole["attention_mask"], "latent_embeds": latents, "cache": cache}
    rest = generate_at(after, [[]], max_new_tokens=6)
    assert torch.equal(rest.sequences[:, -6:], expected.sequences[:, -6:])
    assert rest.sequences[0, -6:-3].tolist() == [config.latent_token_id] * 2 + [config.latent_end_token_id]
    torch.testing.assert_close(rest.latent_embeds[0], expected.latent_embeds[0][4:], atol=1e-5, rtol=0)


def test_a_transform_that_changes_the_shape_is_rejected(prompts, generate_at):
    with pytest.raises(InputError, match=r"latent_transform turned \(1, 1, 32\) into \(1, 32\): it must keep"):
        generate_at(prompts([0]), STEPS[:1], latent_transform=lambda states: states[0])


def test_latent_transform_changes_what_is_fed_and_recorded(prompts, generate_at):
    inputs = prompts([0])
    plain = generate_at(inputs, STEPS[:1])
    same = generate_at(inputs, STEPS[:1], latent_transform=lambda states: states)
    zeroed = generate_at(inputs, STEPS[:1], latent_transform=torch.zeros_like)
    assert torch.equal(plain.sequences, same.sequences)
    assert zeroed.latent_embeds[0].eq(0).all()
    assert not torch.allclose(torch.stack(plain.logits)[8], torch.stack(zeroed.logits)[8], atol=1e-3)


def test_a_transform_that_works_in_place_changes_latents_alone(prompts, generate_at):
    inputs = prompts([0])
    plain, zeroed = (
        generate_at(inputs, STEPS[:1], latent_transform=transform, output_hidden_states=True)
        for transform in (lambda states: states * 0, lambda states: states.zero_())
    )
    assert torch.equal(plain.sequences, zeroed.sequences)
    for one, other in zip(plain.hidden_states, zeroed.hidden_states, strict=True):
        assert torch.equal(one[-1], other[-1]) and one[-1][0, -1].any()


def test_what_is_fed_back_outlives_the_models_output():
    """A compiled forward writes each step's output over that of the step before."""
    feedback = LatentFeedback(LatentRules(pad=1, start=2, end=3, size=1), prompt=[torch.empty(0, 2)])
    output = torch.ones(1, 3, 2)
    fed = feedback.feed(output[:, -1:])
    output.zero_()
    assert fed.eq(1).all()


def test_every_step_after_the_prompt_comes_with_latents(prompts, generate_at, tiny_model):
    """So that decoding steps are spared the look for pads without latents, for which a GPU would have to wait."""
    has_latents = []
    tiny_model.model.register_forward_pre_hook(
        lambda module, args, kwargs: has_latents.append(kwargs.get("latent_embeds") is not None), with_kwargs=True
    )
    generate_at(prompts(), STEPS)
    assert has_latents == [False] + [True] * 15


def test_calls_leave_nothing_behind(prompts, generate_at, tiny_model):
    before = set(vars(tiny_model)) | set(vars(tiny_model.model))
    first = generate_at(prompts(), STEPS)
    second = generate_at(prompts(), STEPS)
    assert set(vars(tiny_model)) | set(vars(tiny_model.model)) == before
    for one, other in zip(first.latent_embeds, second.latent_embeds, strict=True):
        assert torch.equal(one, other)


def test_embeddings_of_a_prompt_decode_as_its_ids(tiny_model, tiny_processor):
    ids = tiny_processor.tokenizer("Which way does it go?", return_tensors="pt").input_ids
    settings = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    by_ids = tiny_model.generate(ids, **settings)
    by_embeddings = tiny_model.generate(inputs_embeds=tiny_model.get_input_embeddings()(ids), **settings)
    assert torch.equal(by_embeddings, by_ids[:, ids.shape[1] :])


def test_plain_output_is_the_ids(prompts, tiny_model):
    inputs = prompts([0])
    ids = tiny_model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert isinstance(ids, torch.Tensor)
    assert torch.equal(ids[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])


def test_static_cache(prompts, generate_at):
    dynamic = generate_at(prompts(), STEPS)
    static = generate_at(prompts(), STEPS, cache_implementation="static")
    assert torch.equal(dynamic.sequences, static.sequences)
    for one, other in zip(dynamic.latent_embeds, static.latent_embeds, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_streamers_print_what_is_returned(prompts, generate_at, tiny_processor, capsys):
    tokenizer = tiny_processor.tokenizer
    inputs = prompts([0])
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=False)
    output = generate_at(inputs, [[2]], streamer=streamer)
    text = tokenizer.decode(completion(output, inputs)[0], skip_special_tokens=False)
    assert "<|latent_start|><|latent_pad|>" in text
    assert "".join(streamer) == text
    printer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    again = generate_at(inputs, [[2]], streamer=printer)
    assert torch.equal(again.sequences, output.sequences)
    assert capsys.readouterr().out == tokenizer.decode(completion(output, inputs)[0], skip_special_tokens=True) + "\n"


@pytest.mark.medium
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_beams": 2}, "num_beams"),
        ({"use_cache": False}, "use_cache"),
        ({"prompt_lookup_num_tokens": 3}, "assisted"),
        ({"guidance_scale": 1.5}, "guidance_scale"),
        ({"prefill_chunk_size": 16}, "prefill_chunk_size"),
    ],
)
def test_ways_of_decoding_that_would_be_wrong_are_rejected(prompts, generate_at, options, named):
    with pytest.raises(InputError, match=named):
        generate_at(prompts([0]), STEPS[:1], **options)


def test_continuous_batching_is_rejected(tiny_model):
    with pytest.raises(InputError, match="generate_batch"):
        tiny_model.generate_batch([[1, 2, 3]])


@pytest.mark.medium
def test_eight_latents_a_block_in_a_batch_and_alone(prompts, generate_at):
    together = generate_at(prompts(), STEPS, latent_size=8, max_new_tokens=24)
    assert [len(latents) for latents in together.latent_embeds] == [8, 8, 8]
    for row in range(3):
        tokens, latents, _ = alone(prompts, generate_at, row, latent_size=8, max_new_tokens=24)
        assert torch.equal(completion(together, prompts())[row], tokens)
        # Eight feedbacks in a row grow the rounding of fp32 more than four do: to 2.03e-5 on one CPU.
        torch.testing.assert_close(together.latent_embeds[row], latents, atol=4e-5, rtol=0)


class EndAt(LogitsProcessor):
    """Makes row 0 end its turn at a generated token, and nobody else ever."""

    def __init__(self, token, position):
        self.token, self.position = token, position

    def __call__(self, input_ids, scores):
        scores[:, self.token] = -torch.inf
        if input_ids.shape[1] == self.position:
            scores[0] = -torch.inf
            scores[0, self.token] = 0.0
        return scores


def test_a_row_that_ends_leaves_others_in_their_blocks(prompts, generate_at, tiny_model):
    inputs, steps = prompts(), [[], [3], [5, 11]]
    length, eos = inputs["input_ids"].shape[1], tiny_model.config.get_text_config().eos_token_id
    output = generate_at(inputs, steps, processors=[EndAt(eos, length + 5)], eos_token_id=eos, max_new_tokens=18)
    assert output.sequences[0, length + 5] == eos and (output.sequences[0, length + 6 :] != eos).all()
    assert [len(latents) for latents in output.latent_embeds] == [0, 4, 8]
    for row in (1, 2):
        single = generate_at(prompts([row]), [steps[row]], processors=[EndAt(eos, None)], max_new_tokens=18)
        assert torch.equal(completion(output, inputs)[row], completion(single, prompts([row]))[0])
        # As above: the second row feeds back eight latents.
        torch.testing.assert_close(output.latent_embeds[row], single.latent_embeds[0], atol=2e-5, rtol=0)


class StopInBlock(StoppingCriteria):
    """Ends a row's turn at the first token of a latent block."""

    def __init__(self, start_token):
        self.start_token = start_token

    def __call__(self, input_ids, scores, **kwargs):
        return input_ids[:, -1] == self.start_token


def test_a_row_that_is_stopped_where_a_block_begins_has_no_latents(prompts, generate_at, tiny_model):
    eos = tiny_model.config.get_text_config().eos_token_id
    options = {"stopping_criteria": [StopInBlock(tiny_model.config.latent_start_token_id)], "eos_token_id": eos}
    output = generate_at(prompts([0, 1]), ([2], []), processors=[EndAt(eos, None)], pad_token_id=eos, **options)
    stopped, other = completion(output, prompts([0, 1]))
    assert (stopped[3:] == eos).all() and len(stopped) == len(other) == 16
    assert len(output.latent_embeds[0]) == 0


@pytest.fixture
def image_prompts(tiny_processor):
    """Two questions about one and two images of different sizes, as a function of which to take."""
    draw = np.random.default_rng(4)
    sizes = [[(64, 96)], [(96, 96), (64, 64)]]
    images = [[Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in row] for row in sizes]
    texts = []
    for row in images:
        content = [*({"type": "image"} for _ in row), {"type": "text", "text": "Which ball is red?"}]
        turn = [{"role": "user", "content": content}]
        texts.append(tiny_processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))

    def make(rows=(0, 1)):
        return tiny_processor(
            text=[texts[row] for row in rows],
            images=[image for row in rows for image in images[row]],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )

    return make


@pytest.mark.medium
def test_image_prompts_decode_in_a_batch_as_alone_and_replay(image_prompts, generate_at, tiny_model):
    inputs, steps = image_prompts(), ([2], [4])
    assert (inputs["attention_mask"][:, 0] == 0).any(), "some row is filled on the left"
    together = generate_at(inputs, steps)
    for row in range(2):
        single = generate_at(image_prompts([row]), [steps[row]])
        assert torch.equal(completion(together, inputs)[row], completion(single, image_prompts([row]))[0])
        # CPUs round differently: 1.3e-5 was seen on one, for an element of 2.0.
        torch.testing.assert_close(together.latent_embeds[row], single.latent_embeds[0], atol=3e-5, rtol=0)
    static = generate_at(inputs, steps, cache_implementation="static")
    twice = generate_at(inputs, [steps[0]] * 2 + [steps[1]] * 2, num_return_sequences=2, do_sample=True, top_k=1)
    assert torch.equal(static.sequences, together.sequences)
    assert torch.equal(twice.sequences[::2], together.sequences)
    length = inputs["input_ids"].shape[1]
    mask = torch.cat([inputs["attention_mask"], torch.ones(2, 16, dtype=torch.long)], 1)
    images = {name: inputs[name] for name in ("pixel_values", "image_grid_thw")}
    with torch.no_grad():
        replayed = tiny_model(
            input_ids=together.sequences,
            attention_mask=mask,
            latent_embeds=torch.cat(together.latent_embeds),
            **images,
        )
    torch.testing.assert_close(replayed.logits[:, length - 1 : -1], torch.stack(together.logits, 1), atol=1e-4, rtol=0)


def test_words_alone_are_counted_from_zero_whatever_came_before(prompts, generate_at, tiny_model):
    ids = torch.arange(5, 25)[None]
    ids[0, 7:9] = tiny_model.config.latent_token_id
    latents = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = tiny_model(input_ids=ids, latent_embeds=latents).logits
        generate_at(prompts(), STEPS)
        assert torch.equal(tiny_model(input_ids=ids, latent_embeds=latents).logits, before)
        generate_at(prompts([0]), STEPS[:1])
        assert torch.equal(tiny_model(input_ids=ids, latent_embeds=latents).logits, before)


def test_gradient_checkpointing_in_training_mode_is_rejected(prompts, generate_at, tiny_model):
    tiny_model.gradient_checkpointing_enable()
    tiny_model.train()
    with pytest.raises(InputError, match="eval"):
        generate_at(prompts([0]), STEPS[:1])
