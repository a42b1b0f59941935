"""The page's fields and what they do, by gradio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .answer_html import render_note
from .limits import PageLimits
from .shipped_examples import Example
from .visits import Ask, Visit, Visits

_FOLDER = Path(__file__).parent
_TITLE = "4DThinker"
_INTRODUCTION = (
    "Ask how things move in a short video. The model thinks in words and, between them, in latent imagery: "
    "each block is shown in its place, as heat maps over the frames that it points at."
)
_LEAST_FRAMES, _FRAMES = 2, 8


def build_page(ask: Ask, model: str, examples: Sequence[Example] = (), limits: PageLimits | None = None) -> Any:
    """The page as a `gradio.Blocks`.

    Args:
        ask (`Callable`): Answers a question, as [`Engine.ask`] does.
        model (`str`): What the page calls the model.
        examples (`Sequence[Example]`, *optional*): Offered below the fields.
        limits ([`PageLimits`], *optional*): What is taken at most.
    """
    import gradio

    limits = limits or PageLimits()
    fields = _build_fields(gradio, limits)
    uploads = Path(fields[0].GRADIO_CACHE)
    visits = Visits(ask, limits, uploads, [one.video for one in examples])

    def admit(video, question, options, frames, request: gradio.Request) -> tuple[str, str, Visit | None]:
        shown, visit = visits.admit(video, question, options, frames, request.session_hash or "")
        return shown, "", visit

    def leave(request: gradio.Request) -> None:
        visits.leave(request.session_hash or "")

    with gradio.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gradio.Markdown(f"# {_TITLE}\n{_INTRODUCTION}", elem_id="introduction")
        visit = gradio.State(None)
        if examples:
            _build_examples(gradio, fields[:3], examples)
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=300):
                for field in fields:
                    field.render()
                button = gradio.Button("Ask", variant="primary", elem_id="ask")
            with gradio.Column(min_width=300):
                answer = gradio.HTML(render_note("The answer comes here."), elem_id="answer", container=True)
                timings = gradio.Markdown(elem_id="timings")
                gradio.Markdown(_describe_model(model, limits), elem_id="about")
        fields[0].change(None, [fields[0]], None, js=_read("keep_video.js"), api_visibility="private")
        # At once, not in the queue: what is wrong is told before anybody waits for it.
        admitted = button.click(
            admit,
            fields,
            [answer, timings, visit],
            js=_read("send_video_again.js"),
            preprocess=False,
            queue=False,
            scroll_to_output=True,
            show_progress="hidden",
            api_visibility="private",
        )
        admitted.then(
            visits.answer,
            [visit],
            [answer, timings],
            show_progress="minimal",
            show_progress_on=[answer],
            concurrency_limit=limits.running,
            api_visibility="private",
        )
        page.unload(leave)
    return page.queue(max_size=limits.visitors + limits.running)


def page_settings(limits: PageLimits | None = None) -> dict[str, Any]:
    """How a page of [`build_page`] is mounted or launched: its style, and nothing from elsewhere."""
    import gradio

    # Fonts of the system: some of the themes' own come from elsewhere.
    fonts: Any = {"font": [gradio.themes.Font("sans-serif")], "font_mono": [gradio.themes.Font("monospace")]}
    return {
        "theme": gradio.themes.Default(**fonts),
        "css": _read("style.css"),
        "footer_links": [],
        "ssr_mode": False,
        "pwa": False,
        # Files a little larger reach the page's own line about it.
        "max_file_size": 2 * (limits or PageLimits()).bytes,
    }


def _build_fields(gradio: Any, limits: PageLimits) -> list[Any]:
    """Video, question, options and frames, not on the page yet."""
    video = gradio.Video(
        label=f"Video, up to {limits.seconds:.0f} s and {limits.megabytes} MB",
        sources=["upload", "webcam"],
        include_audio=False,
        webcam_options=gradio.WebcamOptions(mirror=False),
        buttons=[],
        elem_id="video",
        render=False,
    )
    question = gradio.Textbox(
        label="Question", placeholder="Which way does the camera move?", lines=2, elem_id="question", render=False
    )
    options = gradio.Textbox(
        label="Options, one a line (leave empty for an open question)",
        placeholder="left\nright",
        lines=4,
        max_lines=10,
        elem_id="options",
        render=False,
    )
    frames = gradio.Slider(
        _LEAST_FRAMES,
        limits.frames,
        value=min(_FRAMES, limits.frames),
        step=1,
        label="Frames to show, spread evenly over the video",
        elem_id="frames",
        render=False,
    )
    return [video, question, options, frames]


def _build_examples(gradio: Any, fields: list[Any], examples: Sequence[Example]) -> None:
    gradio.Examples(
        examples=[[str(one.video), one.question, "\n".join(one.options)] for one in examples],
        inputs=fields,
        example_labels=[one.question for one in examples],
        label="Examples",
        cache_examples=False,
        elem_id="examples",
    )


def _describe_model(model: str, limits: PageLimits) -> str:
    return (
        f"Model: `{model}`. Answers can be wrong, and heat maps show what a latent is similar to, not why an answer "
        "was given. Videos are deleted once they are answered about."
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
