"""An answer as HTML: text, and between it the imagery in its place. What the model wrote is escaped."""

import base64
import html
import io

from ..serving.events import Field, Finish, ImageryBlock, TextDelta
from ..serving.heat_maps import LatentMap

_SIDE = 240  # pixels of a picture at most: four stand in a row
_QUALITY = 80
_STOPS = ".,;:!?"


class AnswerHtml:
    """Takes the events of an answer; gives what a page shows of it so far."""

    def __init__(self) -> None:
        # Of each field, by turns: text, a figure, text, a figure, ..., text.
        self._parts: dict[Field, list[str]] = {"reasoning_content": [""], "content": [""]}
        self._finish: Finish | None = None

    def add(self, event: TextDelta | ImageryBlock | Finish) -> None:
        """Take an event. Draws the maps of a block, which takes a moment."""
        if isinstance(event, Finish):
            self._finish = event
            return
        parts = self._parts[event.field]
        if isinstance(event, TextDelta):
            parts[-1] += event.text
        elif event.maps:
            parts += [_figure(event), ""]
        else:
            parts[-1] += event.note

    def render(self) -> str:
        """The answer so far, as one element."""
        reasoning, answer = (_join(self._parts[field]) for field in ("reasoning_content", "content"))
        parts = []
        if reasoning:
            parts.append(f'<div class="reasoning"><h3>Reasoning</h3><div class="text">{reasoning}</div></div>')
        if answer:
            parts.append(f'<div class="final"><h3>Answer</h3><div class="text">{answer}</div></div>')
        if self._finish is None:
            parts.append('<p class="note running">writing …</p>')
        elif not reasoning and not answer:
            parts.append('<p class="note">The model ended without a word.</p>')
        elif self._finish.reason == "length":
            parts.append('<p class="note">Cut off here: this is the longest answer that is written.</p>')
        return _wrap("".join(parts), busy=self._finish is None)


def render_note(text: str, busy: bool = False) -> str:
    """A line where the answer will be."""
    return _wrap(f'<p class="note">{html.escape(text)}</p>', busy)


def render_error(text: str) -> str:
    """What went wrong, where the answer would be."""
    return _wrap(f'<p class="error" role="alert">{html.escape(text)}</p>', busy=False)


def _wrap(content: str, busy: bool) -> str:
    state = f'aria-live="polite" aria-busy="{str(busy).lower()}"'
    return f'<div class="answer" role="region" aria-label="Answer" {state}>{content}</div>'


def _join(parts: list[str]) -> str:
    """Texts and figures as HTML. A figure stands on lines of its own, so a stop that follows ends the line before."""
    texts, figures = parts[::2], parts[1::2]
    for place in range(len(figures)):
        rest = texts[place + 1].lstrip(_STOPS)
        stop = texts[place + 1][: len(texts[place + 1]) - len(rest)]
        texts[place], texts[place + 1] = texts[place].rstrip() + stop, rest.lstrip()
    shown = [f"<span>{html.escape(text)}</span>" if text else "" for text in texts]
    return "".join(one + figure for one, figure in zip(shown, [*figures, ""], strict=True))


def _figure(block: ImageryBlock) -> str:
    """A block as a row of pictures that wraps on a narrow screen."""
    pictures = "".join(_picture(block.number, one) for one in block.maps)
    caption = f"Imagery {block.number}: where each of its {len(block.maps)} latents points, brightest where most"
    return f'<figure class="imagery"><div class="maps">{pictures}</div><figcaption>{caption}</figcaption></figure>'


def _picture(block: int, latent: LatentMap) -> str:
    file = io.BytesIO()
    latent.draw(_SIDE).save(file, "JPEG", quality=_QUALITY)
    source = base64.b64encode(file.getvalue()).decode("ascii")
    when = _describe_time(latent)
    alt = f"Heat map of latent {latent.latent} of imagery {block} over the frame at {when}"
    shown = f'<img src="data:image/jpeg;base64,{source}" alt="{html.escape(alt)}">'
    return f'<div class="map">{shown}<span>{html.escape(when)}</span></div>'


def _describe_time(latent: LatentMap) -> str:
    if latent.start is None or latent.end is None:
        return f"image {latent.medium}"
    if latent.start == latent.end:
        return f"{latent.start:.1f} s"
    return f"{latent.start:.1f}–{latent.end:.1f} s"
