"""The page that `fourdthinker serve` shows, used in Chromium as a visitor would."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from ...chromium import Visitor, open_chromium, require_chromium

require_chromium()
for needed in ("gradio", "fastapi", "uvicorn"):
    pytest.importorskip(needed, reason="the page needs the serve extra")

from fourdthinker.hub_cards.page.shipped_examples import read_examples  # noqa: E402
from fourdthinker.modeling import load_model  # noqa: E402

pytestmark = pytest.mark.slow
TRAINED = Path(__file__).parents[3] / "modeling/tiny/trained"
SECONDS = 300  # on a machine that does much else
HOSTILE = "<img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def browser():
    with open_chromium() as chromium:
        yield chromium


@pytest.fixture(autouse=True)
def close_pages(browser):
    """A page that nobody looks at takes processor time too."""
    yield
    for context in browser.contexts:
        context.close()


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    """Where the server puts uploads."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def url(browser, temporary, tmp_path_factory):
    """A served page of the shipped model, in a process of its own, that ends while a page is open."""
    command = [sys.executable, "-m", "fourdthinker.cli", "serve", "--model", str(TRAINED), "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    errors = tmp_path_factory.mktemp("log") / "errors"
    with (
        errors.open("w") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment) as process,
    ):
        lines = iter(process.stdout.readline, "")
        address = next((line.split(" at ")[1].strip() for line in lines if line.startswith("page at ")), None)
        assert address, errors.read_text()
        yield address
        Visitor(browser, address)
        process.terminate()
        assert process.wait(SECONDS) == 0
    assert "Traceback" not in errors.read_text()


def take_example(visitor, number=0):
    visitor.page.locator("#examples button").nth(number).click()
    question = read_examples()[number].question
    visitor.page.wait_for_function(
        "wanted => document.querySelector('#question textarea').value === wanted", arg=question
    )
    visitor.page.wait_for_selector("#video video")
    wait_for_kept_video(visitor)


def give_video(visitor, path):
    visitor.page.locator("#video input[type=file]").first.set_input_files(str(path))
    visitor.page.wait_for_selector("#video video, #video .uploading", state="attached")
    wait_for_kept_video(visitor)


def wait_for_kept_video(visitor):
    visitor.page.wait_for_function("window.keptVideo && !window.keptVideo.sent")


def ask(visitor):
    visitor.page.get_by_role("button", name="Ask", exact=True).click()
    wait_for_the_answer_before_to_go(visitor)


def wait_for_the_answer_before_to_go(visitor):
    visitor.page.wait_for_function("!document.querySelector('#timings').textContent.includes('tokens')")


def watch(visitor, done="#timings:has-text('tokens'), #answer .error"):
    """The texts of the answer until it is complete."""
    texts, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended = visitor.page.locator(done).count()
        text = visitor.page.locator("#answer .answer").inner_text().strip()
        if not texts or texts[-1] != text:
            texts.append(text)
        if ended:
            return texts
        visitor.page.wait_for_timeout(20)
    raise AssertionError(f"no end after {SECONDS} s: {texts[-1]}")


def words(visitor):
    """What the model wrote, without headings and pictures."""
    return "".join(visitor.page.locator("#answer .text span:not(.map span)").all_inner_texts())


@pytest.fixture(scope="module")
def alone():
    """What each example is answered when nobody else asks, without a server."""
    from fourdthinker.hub_cards.page.single_answers import SingleAnswers
    from fourdthinker.hub_cards.serving.events import TextDelta
    from fourdthinker.modeling.video_decoding import read_frames

    answers = SingleAnswers(*load_model(TRAINED, dtype="float32"))  # as a server on a CPU
    texts = []
    for example in read_examples():
        events = answers.ask(read_frames(example.video, max_frames=8), example.question, example.options)
        texts.append("".join(one.text for one in events if isinstance(one, TextDelta)))
    return texts


def squeeze(text):
    return "".join(text.split())


@pytest.mark.parametrize("width,scheme", [(1280, "light"), (390, "dark")])
def test_an_example_is_answered_bit_by_bit_with_imagery(browser, url, alone, width, scheme):
    visitor = Visitor(browser, url, width, scheme)
    take_example(visitor)
    ask(visitor)
    texts = watch(visitor)
    assert len(set(texts[:-1])) >= 3
    assert squeeze(words(visitor)) == squeeze(alone[0])
    pictures = visitor.page.locator("#answer figure.imagery img")
    assert pictures.count() >= 4
    for picture in pictures.all():
        assert picture.get_attribute("alt").startswith("Heat map of latent")
        assert picture.evaluate("picture => picture.naturalWidth") > 0
    for other in (scheme, "light" if scheme == "dark" else "dark"):
        visitor.page.emulate_media(color_scheme=other)
        assert visitor.overflow() <= 0
    assert visitor.faults == []


def tab_to(visitor, selector):
    """Press Tab until something has the focus that the selector names, or that is in it."""
    visitor.page.locator(selector).first.wait_for()
    for _ in range(40):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("wanted => !!document.activeElement.closest(wanted)", selector):
            return
    raise AssertionError(f"Tab does not reach {selector}")


def test_the_keyboard_alone_suffices(browser, url):
    visitor = Visitor(browser, url)
    press = visitor.page.keyboard.press
    tab_to(visitor, "#examples button")
    press("Enter")
    visitor.page.wait_for_selector("#video video")
    wait_for_kept_video(visitor)
    tab_to(visitor, "#question textarea")
    press("Control+A")
    visitor.page.keyboard.type("What moves?")
    tab_to(visitor, "#options textarea")
    press("Control+A")
    press("Delete")
    tab_to(visitor, "#ask")
    press("Enter")
    assert "Reasoning" in watch(visitor)[-1] or "Answer" in watch(visitor)[-1]
    assert visitor.faults == []


def test_a_video_can_be_chosen_by_keyboard(browser, url):
    visitor = Visitor(browser, url)
    # Listen before the Tabs: Playwright does not wait until the browser hands choosers over, and Enter may be first.
    with visitor.page.expect_file_chooser():
        tab_to(visitor, "#video button[aria-label^=Drop]")
        visitor.page.keyboard.press("Enter")


def test_a_cut_video_gets_its_line_and_the_next_visitor_an_answer(browser, url, temporary, tmp_path):
    whole = read_examples()[1].video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    visitor = Visitor(browser, url)
    visitor.page.locator("#question textarea").fill("Which way?")
    give_video(visitor, tmp_path / "cut.mp4")
    ask(visitor)
    assert "The video is damaged" in watch(visitor)[-1]
    assert str(temporary) not in visitor.page.locator("#answer").inner_html()
    following = Visitor(browser, url)
    take_example(following)
    ask(following)
    assert "Answer" in watch(following)[-1]


def test_an_upload_is_deleted_after_the_answer_and_can_be_asked_about_again(browser, url, temporary, make_video):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(make_video(Path(folder) / "mine.mp4", 2, size=(96, 96)))
        visitor = Visitor(browser, url)
        visitor.page.locator("#question textarea").fill("Which way?")
        give_video(visitor, path)
        assert list(temporary.rglob("mine.mp4"))
        for _ in range(2):
            ask(visitor)
            assert "Reading" not in watch(visitor)[-1]
            assert not visitor.page.locator("#answer .error").count()
            assert list(temporary.rglob("mine.mp4")) == list(temporary.glob("fourdthinker-*")) == []
        assert visitor.faults == []


def test_two_visitors_at_once_get_their_own_answers(browser, url, alone):
    visitors = [Visitor(browser, url), Visitor(browser, url)]
    for number, visitor in enumerate(visitors):
        take_example(visitor, number)
    for visitor in visitors:
        ask(visitor)
    for number, visitor in enumerate(visitors):
        watch(visitor)
        assert squeeze(words(visitor)) == squeeze(alone[number])


@pytest.fixture(scope="module")
def hostile_url(tmp_path_factory):
    """A served page whose model always answers with HTML."""
    import uvicorn

    from fourdthinker.hub_cards.page.mount import mount_page
    from fourdthinker.hub_cards.serving.app import create_app
    from fourdthinker.hub_cards.serving.engine import Engine
    from fourdthinker.hub_cards.serving.server import listen
    from fourdthinker.modeling import from_backbone

    from ...served_model import write_parrot

    folder = tmp_path_factory.mktemp("parrot")
    write_parrot(folder, HOSTILE)
    engine = Engine(*from_backbone(folder))
    app = create_app(engine, "parrot", page=lambda app, engine: mount_page(app, engine, "parrot"))
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()
    engine.close()


def test_what_the_model_writes_is_text_and_no_html(browser, hostile_url):
    visitor = Visitor(browser, hostile_url)
    take_example(visitor)
    ask(visitor)
    assert HOSTILE in watch(visitor)[-1]
    assert visitor.page.locator("#answer img").count() == 0
    assert visitor.page.title() == "4DThinker"
    assert visitor.faults == []
