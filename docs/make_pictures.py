"""Draw the figure of the README: the shipped clip, heat maps of the latents, and the answer.

fourdthinker init --trained --output models/trained
python docs/make_pictures.py models/trained docs/pictures
"""

import sys
import textwrap
from pathlib import Path

from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.eval_tasks.predict import decode_greedily
from fourdthinker.modeling import load_model
from fourdthinker.modeling.processing import conversation_text, encode
from fourdthinker.modeling.visualization.imagery_maps import imagery_maps

QUESTION = "Which way does the camera move between 0.0 s and 3.5 s?"
OPTIONS = ("Pedestal Up", "Truck Left", "Pedestal Down", "Truck Right")
FRAMES = 8
# Inches and points: at 400 pixels, the width of a phone, the smallest text is still 10 pixels high.
WIDTH, PANEL, GAP, TITLE, LINE = 6.0, 1.4, 0.08, 0.23, 0.23
BLOCK = PANEL + 2 * TITLE + 0.14
SMALL, LARGE, LETTERS = 11, 13, 60


def answer(folder: Path):
    """Return the frames shown, the response as a dictionary, and one heat map for each latent."""
    model, processor = load_model(folder)
    clip = read_frames(folder / "example.mp4", max_frames=FRAMES)
    inputs = encode(processor, [conversation_text(processor, QUESTION, OPTIONS)], [clip])
    output = decode_greedily(model, inputs, 512)
    response = processor.read_response(output.sequences[0, inputs["input_ids"].shape[1] :])
    return clip, response, imagery_maps(model, inputs, output.latent_embeds[0])


def draw(path: Path, clip, response: dict, maps) -> None:
    """Draw a row of frames, a row of heat maps for each latent block, and the text above and below.

    Each latent is drawn over the time where its strongest cell is. A temporal grid spans several frames, of which
    the first is shown.
    """
    from matplotlib.figure import Figure

    counts = [block["latents"] for block in response["blocks"]]
    columns = maps.shape[1]
    step = len(clip.frames) // columns
    lines = textwrap.wrap(response["reasoning"], LETTERS)
    height = (len(lines) + 2) * LINE + (1 + len(counts)) * BLOCK + 0.35
    figure = Figure(figsize=(WIDTH, height), dpi=150, facecolor="white")

    def write(top: float, words: str, left: float = GAP, size: int = SMALL, **style) -> None:
        figure.text(left / WIDTH, 1 - top / height, words, size=size, va="top", parse_math=False, **style)

    def panel(top: float, column: int, title: str, frame, heat=None) -> None:
        left = GAP + column * (PANEL + GAP)
        write(top, title, left)
        bottom = height - top - TITLE - PANEL
        axes = figure.add_axes((left / WIDTH, bottom / height, PANEL / WIDTH, PANEL / height))
        axes.set_axis_off()
        edges = (0, frame.width, frame.height, 0)
        axes.imshow(frame if heat is None else frame.convert("L"), cmap="gray", vmin=0, vmax=300, extent=edges)
        if heat is not None:
            axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.5 * heat, extent=edges)

    write(0.08, QUESTION, size=LARGE)
    top = 0.12 + LINE
    write(top, "The clip")
    for column in range(columns):
        panel(top + TITLE, column, f"{clip.timestamps[column * step]:.1f} s", clip.frames[column * step])
    top += BLOCK
    for number, block in enumerate(maps.split(counts), start=1):
        write(top, f"Imagery {number}: where its four latents point")
        for column, latent in enumerate(block):
            heat = (latent - latent.min()) / (latent.max() - latent.min())
            grid = int(heat.flatten(1).amax(1).argmax())
            title = f"{column + 1}: {clip.timestamps[grid * step]:.1f} s"
            panel(top + TITLE, column, title, clip.frames[grid * step], heat[grid])
        top += BLOCK
    write(top + 0.05, "\n".join(lines))
    write(top + 0.15 + len(lines) * LINE * 0.85, f"Answer: {response['answer']}", size=LARGE, weight="bold")
    figure.savefig(path, pil_kwargs={"quality": 88, "optimize": True})


def main(folder: str, output: str) -> None:
    """Write `ask.jpg` and print its size."""
    path = Path(output) / "ask.jpg"
    draw(path, *answer(Path(folder)))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
