"""Training data of the tiny backbone: captions match their clips, and options match their statements."""

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders.sources.world_descriptions import (
    CELLS,
    described_clips,
    make_option_text,
    make_scene_text,
    world_texts,
)
from fourdthinker.dataset_builders.sources.world_motion import SEED_RANGES
from fourdthinker.dataset_builders.world import World
from fourdthinker.dataset_builders.world.cells import cell_targets
from fourdthinker.dataset_builders.world.facts import clip_facts
from fourdthinker.modeling.tiny.qwen2_5_vl import TINY_VOCAB_SIZE, build_tokenizer


@pytest.fixture(scope="module")
def described():
    return described_clips(12, seed=0, workers=1)


@pytest.mark.slow
def test_captions_are_those_of_the_clips_and_every_clip_is_its_own(described):
    with World() as world:
        for number, description in enumerate(described):
            clip = world.clip(SEED_RANGES["pretrain"] + number)
            facts = clip_facts(clip)
            np.testing.assert_array_equal(description.rgb, clip.rgb)
            assert description.caption == facts.describe()
            for name, *sentences in description.objects:
                assert all(name in sentence and sentence in description.caption for sentence in sentences)
                places, motion = sentences
                assert description.scene(last=name).endswith(f"{places} {description.camera}")
                assert motion not in description.scene()
            np.testing.assert_array_equal(description.cells, cell_targets(clip, CELLS))


@pytest.mark.slow
def test_the_painted_object_is_the_one_that_is_named(described):
    for description in described:
        differs = (
            (description.painted != description.rgb[0]).any(-1),
            (description.painted != description.rgb[-1]).any(-1),
        )
        changed = min(differs, key=lambda where: where.sum())
        if description.painted_caption == "Nothing.":
            assert not changed.any()
            continue
        assert 0 < changed.sum() < changed.size / 2
        assert (description.painted[changed][:, 0] >= 100).mean() > 0.9
        assert description.painted_caption.startswith("The ") and " at " in description.painted_caption


def test_an_option_says_what_the_statement_says():
    for seed in range(100):
        prompt, answer = make_option_text(np.random.default_rng(seed))
        statement, options = prompt.split("\n\n")
        letter, option = answer.split(". ")
        assert f"\n{letter}. {option}\n" in f"\n{options}\n"
        assert statement.rstrip(".").endswith(option)
        assert sum(line.split(". ")[-1] in statement for line in options.splitlines()[:4]) == 1


def test_a_scene_described_in_words_holds_what_its_response_concludes():
    for seed in range(100):
        prompt, response = make_scene_text(np.random.default_rng(seed))
        scene = prompt.split("\n")[0]
        reasoning, answer = response.removeprefix("<think>").removesuffix("</answer>").split("</think><answer>")
        conclusion = reasoning.removesuffix(".").split(". ")[-1]
        assert conclusion in scene and conclusion.endswith(answer)
        assert sum(line.endswith(f". {answer}") for line in prompt.split("\n")) == 1


@pytest.mark.slow
def test_the_texts_hold_every_caption(described):
    texts = list(world_texts(described))
    assert all(description.caption in texts and description.painted_caption in texts for description in described)
    assert any("<output_image>" in text for text in texts) and any("<answer>" in text for text in texts)


@pytest.mark.slow
def test_a_letter_is_one_token_wherever_it_stands(described):
    tokenizer = build_tokenizer(world_texts(described), TINY_VOCAB_SIZE)
    for letter in "ABCD":
        listed, answered = (
            tokenizer.tokenize(text) for text in (f"\n{letter}. Pan Left", f"<answer>{letter}. Pan Left")
        )
        assert letter in listed and letter in answered
