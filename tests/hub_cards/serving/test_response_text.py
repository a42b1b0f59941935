"""Responses taken apart token by token."""

import pytest

from fourdthinker.hub_cards.serving.events import ImageryBlock
from fourdthinker.hub_cards.serving.response_text import ResponseText
from fourdthinker.modeling.latent_rules import LatentRules

PAD, START, END = 1001, 1002, 1003


class Letters:
    """A tokenizer of one token a byte, so that tags and characters fall apart in every way."""

    def decode(self, ids, skip_special_tokens=False):
        return bytes(ids).decode("utf-8", errors="replace")


def read(response, stop=()):
    """What a client has in the end; `|` in the response is a latent block of two."""
    writer = ResponseText(Letters(), LatentRules(PAD, START, END, 2), stop)
    texts, places = {"reasoning_content": "", "content": ""}, []

    def take(events):
        for event in events:
            if isinstance(event, ImageryBlock):
                assert event.start == len(texts[event.field])
                places.append((event.field, event.start, event.latents))
                texts[event.field] += event.note
            else:
                assert event.text
                texts[event.field] += event.text

    first, *others = response.split("|")
    for part in (first, *others):
        for token in () if part is first else (START, PAD, PAD, END):
            if not writer.stopped:
                take(writer.add(token))
        for byte in part.encode():
            if not writer.stopped:
                take(writer.add(byte))
    take(writer.finish())
    return texts["reasoning_content"], texts["content"], places


@pytest.mark.parametrize(
    "response,reasoning,content",
    [
        ("<think> It goes left. </think>\n<answer>B. Left</answer>", "It goes left.", "B. Left"),
        ("<think>It goes", "It goes", ""),
        ("<answer>B</answer>", "", "B"),
        ("Just left.", "", "Just left."),
        ("  <think>a</think> so <answer>B</answer>\n", "a", "so\n\nB"),
        ("<think>a < b, x</thin", "a < b, x</thin", ""),
        ("<think>ä ü 漢字</think><answer>é</answer>", "ä ü 漢字", "é"),
        ("<think>a</think>b<think>c</think>d", "a\n\nc", "b\n\nd"),
        ("", "", ""),
    ],
)
def test_fields(response, reasoning, content):
    assert read(response)[:2] == (reasoning, content)


def test_blocks_have_their_place():
    reasoning, content, places = read("<think>At 0 s | and | .</think><answer>|B</answer>")
    assert reasoning == "At 0 s [imagery 1: 2 latents] and [imagery 2: 2 latents] ."
    assert content == "[imagery 3: 2 latents]B"
    assert places == [("reasoning_content", 7, 2), ("reasoning_content", 34, 2), ("content", 0, 2)]


def test_a_block_that_was_cut_off_counts_what_there_is():
    writer = ResponseText(Letters(), LatentRules(PAD, START, END, 4))
    events = [event for token in (START, PAD, PAD) for event in writer.add(token)]
    (block,) = [*events, *writer.finish()]
    assert (block.latents, block.start) == (2, 0)


@pytest.mark.parametrize(
    "stop,expected",
    [
        (("left",), ("It goes", "")),
        (("</think>",), ("It goes left.", "")),
        (("B.", "ft."), ("It goes le", "")),
        (("lefty",), ("It goes left.", "B")),
    ],
)
def test_stop_texts_are_not_given_away(stop, expected):
    assert read("<think>It goes left.</think><answer>B</answer>", stop)[:2] == expected
