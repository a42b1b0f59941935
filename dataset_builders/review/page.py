"""The page of `fourdthinker review`, by gradio, served to this machine alone."""

import base64
import io
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from ...modeling.errors import InputError
from ...modeling.pages import PolicyMiddleware
from ...modeling.tokens import OPTION_LETTERS
from ..geometry.masks import decode_mask
from ..imagery import paint_object
from ..preview.build_output import clip_of_row, load_clip, right_option
from ..preview.pictures import open_picture, save_picture
from .items import Item
from .session import ReviewSession
from .subjects import track_subject
from .verdicts import Decision, Verdict

HOST = "127.0.0.1"
REASONS = ("wrong answer", "wrong mask", "cannot be told from the frames", "unclear question", "wrong reasoning")
_OVERLAY_FRAMES = 6
# Buttons by the keys that press them.
_KEYS = {
    "a": "accept",
    **{str(number): f"reason-{number}" for number in range(1, len(REASONS) + 1)},
    "ArrowLeft": "back",
    "ArrowRight": "forward",
    "j": "left",
    "u": "undo",
}
# The item on the page, not the one that the server thinks of: a key pressed twice judges one item twice, not two.
_SHOWN = "(shown, text) => [document.querySelector('.review-item')?.dataset.subject ?? '', text]"


class ReviewPage:
    """What the page shows of a session.

    Args:
        session ([`ReviewSession`]): Who judges what.
    """

    def __init__(self, session: ReviewSession):
        self.session = session
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @property
    def head(self) -> str:
        """Style and keys, for the page's head."""
        return self._templates.get_template("head.html.jinja").render(keys=list(_KEYS.items()))

    def first(self) -> tuple[str, str, str, str]:
        """What the page shows when it is opened: the first item that is left."""
        return self._show(self.session.next_left())

    def judge(self, decision: Decision, subject: str, text: str = "") -> tuple[str, str, str, str]:
        """Keep a verdict and go on to what is left; stay, with a message, where it cannot be kept."""
        if not subject:
            return self._show(None)
        try:
            self.session.judge(subject, decision, text)
        except InputError as error:
            return self._show(self.session.build.by_subject.get(subject), str(error), text)
        return self._show(self.session.item(subject) if decision == "undo" else self.session.next_left(subject))

    def go(self, subject: str, by: int | None) -> tuple[str, str, str, str]:
        """Another item: that many places further, or with `None` the next one that is left."""
        if not subject:
            return self._show(self.session.build.items[-1] if by == -1 else self.session.next_left())
        try:
            return self._show(self.session.next_left(subject) if by is None else self.session.step(subject, by))
        except InputError as error:
            return self._show(None, str(error))

    def _show(self, item: Item | None, message: str = "", text: str = "") -> tuple[str, str, str, str]:
        """Progress, item, message, and the text of the fields."""
        bar = self._templates.from_string('<div class="review-progress">{{ text }}</div>')
        line = self._templates.from_string('<div class="review-message" role="status">{{ text }}</div>')
        shown = bar.render(text=f"{self.session.reviewer}: {self.session.progress().describe()}")
        return shown, self._render(item), line.render(text=message), text

    def _render(self, item: Item | None) -> str:
        template = self._templates.get_template("item.html.jinja")
        if item is None:
            return template.render(item=None)
        row = self.session.build.read_row(item.row)
        verdict = self.session.verdicts().get(item.subject)
        right = right_option(row)
        return template.render(
            item=item,
            place=self.session.build.items.index(item) + 1,
            total=len(self.session.build.items),
            verdict=verdict,
            said=_describe(verdict) if verdict else "",
            row=row,
            options=[(OPTION_LETTERS[n], option, option == right) for n, option in enumerate(row["options"])],
            pictures=_row_pictures(row) if item.is_row else self._overlay_pictures(item, row),
        )

    def _overlay_pictures(self, item: Item, row: dict[str, Any]) -> list[tuple[str, str]]:
        """The row's frames with the object painted as its imagery is; frames that do not show it are left out."""
        record = load_clip(self.session.build.output, clip_of_row(item.row))
        assert record is not None
        tracks = [*(record.objects or ()), *(record.resting or ())]
        track = next(one for one in tracks if track_subject(record, one) == item.track)
        pictures = []
        for stored, second in zip(row["frames"], row["timestamps"], strict=True):
            mask = track.masks[int(np.abs(np.array(record.window.timestamps) - second).argmin())]
            if mask is not None:
                picture = open_picture(stored)
                small = Image.fromarray(decode_mask(mask).astype(np.uint8) * 255).resize(picture.size)
                painted = paint_object(np.asarray(picture), np.asarray(small) >= 128)
                pictures.append((_data_address(painted), f"{second:.2f} s"))
        wanted = np.unique(np.linspace(0, len(pictures) - 1, min(len(pictures), _OVERLAY_FRAMES)).round().astype(int))
        return [pictures[number] for number in wanted]


def _row_pictures(row: dict[str, Any]) -> list[tuple[str, str]]:
    """All frames of a row, then its imagery."""
    frames = zip(row["frames"], row["timestamps"], strict=True)
    imagery = zip(row["imagery"], row["imagery_timestamps"], strict=True)
    return [(_data_address(open_picture(stored)), f"{second:.2f} s") for stored, second in frames] + [
        (_data_address(open_picture(stored)), f"imagery, {second:.2f} s") for stored, second in imagery
    ]


def _data_address(picture: Image.Image) -> str:
    file = io.BytesIO()
    save_picture(picture, file)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _describe(verdict: Verdict) -> str:
    return {
        "accept": "accepted",
        "reject": f"rejected: {verdict.reason}",
        "rename": f"accepted as: {verdict.name}",
    }[verdict.decision]


def build_page(page: ReviewPage) -> Any:
    """The gradio app of a page."""
    import gradio

    with gradio.Blocks(title="fourdthinker review", analytics_enabled=False) as app:
        progress = gradio.HTML()
        item = gradio.HTML()
        message = gradio.HTML()
        shown = gradio.Textbox(visible=False)
        with gradio.Row(elem_classes="review-keys"):
            accept = gradio.Button("✓ accept (a)", variant="primary", elem_id="accept", size="sm")
            back = gradio.Button("back (←)", elem_id="back", size="sm")
            forward = gradio.Button("on (→)", elem_id="forward", size="sm")
            left = gradio.Button("next left (j)", elem_id="left", size="sm")
            undo = gradio.Button("undo (u)", elem_id="undo", size="sm")
        with gradio.Row(elem_classes="review-keys"):
            reasons = [
                gradio.Button(f"✗ {reason} ({number})", elem_id=f"reason-{number}", size="sm", variant="stop")
                for number, reason in enumerate(REASONS, start=1)
            ]
        with gradio.Row():
            other = gradio.Textbox(label="Reject for another reason (r, then Enter)", elem_id="reason", max_lines=1)
            name = gradio.Textbox(label="Right but for the name (n, then Enter)", elem_id="name", max_lines=1)

        def on(event: Callable, act: Callable, field: Any = None, *, endpoint: str | None) -> None:
            """What an event does; a field is emptied when its text was taken."""
            event(
                act,
                [shown, field or shown],
                [progress, item, message, *([field] if field else [])],
                js=_SHOWN,
                api_name=endpoint,
                api_visibility="undocumented" if endpoint else "private",
                show_progress="hidden",
                trigger_mode="multiple",
                concurrency_limit=1,
                concurrency_id="review",
            )

        def without_field(act: Callable[[str], tuple[str, str, str, str]]) -> Callable:
            return lambda subject, _: act(subject)[:3]

        on(accept.click, without_field(lambda subject: page.judge("accept", subject)), endpoint="accept")
        on(undo.click, without_field(lambda subject: page.judge("undo", subject)), endpoint="undo")
        on(back.click, without_field(lambda subject: page.go(subject, -1)), endpoint="back")
        on(forward.click, without_field(lambda subject: page.go(subject, 1)), endpoint="forward")
        on(left.click, without_field(lambda subject: page.go(subject, None)), endpoint="left")
        for button, reason in zip(reasons, REASONS, strict=True):
            reject = without_field(lambda subject, reason=reason: page.judge("reject", subject, reason))
            on(button.click, reject, endpoint=None)
        on(other.submit, lambda subject, text: page.judge("reject", subject, text), other, endpoint="reject")
        on(name.submit, lambda subject, text: page.judge("rename", subject, text), name, endpoint="rename")
        app.load(lambda: page.first()[:3], None, [progress, item, message], api_name="first", show_progress="hidden")
    return app


def listen(port: int) -> socket.socket:
    """A socket on the loopback interface; browsers that connect wait until the page is served.

    Args:
        port (`int`): Port, or 0 for any.

    Raises:
        InputError: If the port is in use.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise InputError(f"port {port} cannot be used ({error.strerror}); name another with --port") from error
    return listening


def serve(page: ReviewPage, listening: socket.socket) -> None:
    """Serve the page until the process is interrupted.

    Not by gradio's `launch`, which gives a server five seconds to start, asks it through the user's proxy whether it
    has, and reads a dozen variables that could share the page with others.

    Args:
        page ([`ReviewPage`]): What is shown.
        listening (`socket.socket`): Of [`listen`].
    """
    import gradio
    import uvicorn
    from fastapi import FastAPI
    from fastapi.middleware import Middleware
    from fastapi.middleware.trustedhost import TrustedHostMiddleware

    # A page from elsewhere whose name leads here is refused.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app = FastAPI(middleware=[hosts, Middleware(PolicyMiddleware)], openapi_url=None)
    # Fonts of the system: some of the themes' own come from elsewhere.
    fonts = {"font": [gradio.themes.Font("sans-serif")], "font_mono": [gradio.themes.Font("monospace")]}
    gradio.mount_gradio_app(
        app,
        build_page(page),
        "/",
        server_name=HOST,
        server_port=listening.getsockname()[1],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        max_file_size=1,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        theme=gradio.themes.Base(**fonts),
        head=page.head,
    )
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])
