"""What a page shows of an answer, from its events."""

import re

import numpy as np
from PIL import Image

from fourdthinker.hub_cards.page.answer_html import AnswerHtml, render_error
from fourdthinker.hub_cards.serving.events import Finish, ImageryBlock, TextDelta
from fourdthinker.hub_cards.serving.heat_maps import LatentMap

HOSTILE = "<img src=x onerror=\"alert('x')\">"


def make_block(number=1, field="reasoning_content", latents=2):
    frame = Image.new("RGB", (56, 56), "green")
    cells = np.arange(4.0).reshape(2, 2)
    maps = [LatentMap(n + 1, 1, "video", 0.5 * n, 0.5 * n + 0.5, 0.9, cells, frame) for n in range(latents)]
    return ImageryBlock(number, field, 3, latents, f"[imagery {number}: {latents} latents]", maps)


def finish(reason="stop"):
    return Finish(reason, 10, 5, {"queue": 0.0, "prefill": 0.1, "decode": 0.2, "first_token": 0.1})


def render(*events):
    answer = AnswerHtml()
    for event in events:
        answer.add(event)
    return answer.render()


def test_text_of_the_model_is_escaped():
    shown = render(TextDelta("reasoning_content", HOSTILE), TextDelta("content", HOSTILE), finish())
    assert "<img" not in shown and shown.count("&lt;img src=x onerror=") == 2
    assert "<script" not in render_error("<script>")


def test_imagery_stands_between_the_text_before_and_after_it():
    shown = render(
        TextDelta("reasoning_content", "before"), make_block(), TextDelta("reasoning_content", "after"), finish()
    )
    assert shown.index("before") < shown.index("<figure") < shown.index("</figure>") < shown.index("after")


def test_each_latent_is_a_picture_with_its_time_and_a_text_for_those_who_cannot_see_it():
    shown = render(make_block(number=3, latents=4), finish())
    alts = re.findall(r'<img src="data:image/jpeg;base64,[^"]+" alt="([^"]+)">', shown)
    assert len(alts) == 4
    assert alts[1] == "Heat map of latent 2 of imagery 3 over the frame at 0.5–1.0 s"
    assert "<span>0.5–1.0 s</span>" in shown


def test_a_block_that_was_cut_off_leaves_its_note():
    shown = render(make_block(latents=0), finish("length"))
    assert "[imagery 1: 0 latents]" in shown and "<figure" not in shown
    assert "longest answer" in shown


def test_an_answer_is_busy_until_it_ends():
    assert 'aria-busy="true"' in render(TextDelta("content", "Left"))
    assert 'aria-busy="false"' in render(TextDelta("content", "Left"), finish())
    assert "without a word" in render(finish())


def test_a_stop_after_imagery_ends_the_line_before_it():
    shown = render(TextDelta("content", "It is at 3.5 s "), make_block(field="content"), TextDelta("content", ". So"))
    assert shown.index("<span>It is at 3.5 s.</span>") < shown.index("<figure")
    assert "<span>So</span>" in shown[shown.index("</figure>") :]
