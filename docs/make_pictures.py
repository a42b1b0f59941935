"""Draw the figure of the README: the shipped clip, heat maps of the latents, and the answer.

fourdthinker init --trained --output models/trained
python docs/make_pictures.py models/trained docs/pictures
"""

import sys
from pathlib import Path

from PIL import Image

from fourdthinker.hub_cards.example_answer import ASSETS, PICTURE, answer_example


def main(folder: str, output: str) -> None:
    """Write `ask.jpg` and print its size."""
    path = Path(output) / "ask.jpg"
    answer_example(folder)
    Image.open(Path(folder) / ASSETS / PICTURE).save(path, quality=75, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
