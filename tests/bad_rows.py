"""Every fault of a row's values and images: the change to a valid row, and words of its error message."""

import io

from PIL import Image


def png(width=56):
    file = io.BytesIO()
    Image.effect_noise((width, 56), 50).save(file, "PNG")
    return file.getvalue()


PNG, WIDE_PNG = png(), png(84)
PICTURE, WIDE = ({"bytes": content, "path": None} for content in (PNG, WIDE_PNG))
# Sound rows have two frames and two imagery frames.
FILE = {"bytes": None, "path": "/nowhere/frame.png"}
OPTIONS = ["left", "right", "up", "down"]
ELEVEN = [f"{number} m" for number in range(11)]
OF_ANY_STAGE = {
    "no frames": ({"frames": []}, "no frames: give one image"),
    "null frames": ({"frames": None}, "no frames: give one image"),
    "frame gone": ({"frames": [FILE] * 2}, "frames 1 is not there: /nowhere/frame.png"),
    "null frame": ({"frames": [PICTURE, None]}, "frames 2 is not there"),
    "empty image": ({"frames": [PICTURE, {"bytes": b"", "path": None}]}, "frames 2 is no image, or damaged"),
    "header cut off": ({"frames": [{"bytes": PNG[:20], "path": None}] * 2}, "frames 1 is no image, or damaged"),
    "unequal frames": ({"frames": [PICTURE, WIDE]}, "frames 2 is 84 x 56 pixels, frames 1 56 x 56: make them of one"),
    "null question": ({"question": None}, "question is null: write a text"),
    "blank question": ({"question": " \n"}, "question is empty: write a text"),
    "video pad": ({"question": "What is <|video_pad|>?"}, "question has the token <|video_pad|> in its words: take"),
    "image pad": ({"options": ["<|image_pad|>", *OPTIONS[1:]]}, "options 1 has the token <|image_pad|>"),
    "end of turn": ({"options": [*OPTIONS[:3], "down<|im_end|>"]}, "options 4 has the token <|im_end|>"),
    "latent pad": ({"question": "Why <|latent_pad|>?"}, "question has the token <|latent_pad|>"),
    "mark": ({"question": "Why <output_image>?"}, "question has the token <output_image>"),
    "null options": ({"options": None}, "options is null: write a list of texts"),
    "null option": ({"options": ["left", None]}, "options 2 is null: write a text"),
    "empty option": ({"options": ["left", "right", ""]}, "options 3 is empty: write a text"),
    "one option": ({"options": ["left"], "answer": "A"}, "options has 1 entry: give 2 to 10, or none"),
    "eleven options": ({"options": ELEVEN}, "options has 11 entries: give 2 to 10, or none"),
    "option twice": (
        {"options": ["left", "Up", "right", " up. "]},
        "options 4 is ' up. ', the same as options 2: give",
    ),
    "answer of none": ({"answer": "E"}, "answer 'E' is not the letter of the 4 options: write one of A, B, C, D"),
    "answer of two": ({"options": ["yes", "no"], "answer": "C"}, "the 2 options: write one of A, B"),
    "answer in words": ({"answer": "right"}, "answer 'right' is not the letter"),
    "small letter": ({"answer": "b"}, "answer 'b' is not the letter"),
    "null answer": ({"answer": None}, "answer null is not the letter"),
    "empty answer": ({"answer": ""}, "answer '' is not the letter"),
    "null times": ({"timestamps": None}, "timestamps is null: write the seconds of each frame"),
    "null time": ({"timestamps": [0.0, None]}, "timestamps 2 is null, no finite number: write the seconds"),
    "NaN time": ({"timestamps": [float("nan"), 1.0]}, "timestamps 1 is nan, no finite number"),
    "infinite time": ({"timestamps": [0.0, float("inf")]}, "timestamps 2 is inf, no finite number"),
    "equal times": ({"timestamps": [0.5, 0.5]}, "timestamps 2 is 0.5, not later than 0.5 before it: write rising"),
    "falling times": ({"timestamps": [0.5, 0.25]}, "timestamps 2 is 0.25, not later than 0.5"),
    "a time too few": ({"timestamps": [0.5]}, "timestamps has 1 entry for 2 frames: write one a frame"),
    "a time too many": ({"timestamps": [0.0, 0.5, 1.0]}, "timestamps has 3 entries for 2 frames: write one a frame"),
    "no times": ({"timestamps": []}, "timestamps has 0 entries for 2 frames"),
    "no name": ({"id": None}, "id is missing: give each row a name"),
}
OF_DIFT = {
    "marks": ({"response": "<think><output_image></think><answer>B</answer>"}, "1 <output_image> marks for 2 imagery"),
    "no imagery": (
        {"imagery": [], "imagery_masks": []},
        "2 <output_image> marks for 0 imagery frames: write one mark",
    ),
    "null imagery": ({"imagery": None, "imagery_masks": None}, "imagery is null: write a list of images"),
    "null response": ({"response": None}, "response is null: write a text"),
    "empty response": ({"response": " "}, "response is empty: write a text"),
    "latent": (
        {"response": "<output_image><output_image><|latent_end|><answer>B</answer>"},
        "response has the token <|latent_end|>",
    ),
    "no answer": ({"response": "<output_image><output_image>B"}, "exactly one <answer>"),
    "two answers": (
        {"response": "<output_image><output_image><answer>B</answer><answer>C</answer>"},
        "exactly one <answer>",
    ),
    "empty tag": ({"response": "<output_image><output_image><answer> </answer>"}, "exactly one <answer>"),
    "more after it": ({"response": "<output_image><output_image><answer>B</answer> or so"}, "exactly one <answer>"),
    "another letter": (
        {"response": "<output_image><output_image><answer>A</answer>", "answer": "B"},
        "the response answers A, but `answer` is B: correct one of them",
    ),
    "another text": (
        {"response": "<output_image><output_image><answer>Right.</answer>", "options": OPTIONS, "answer": "A"},
        "the response answers B, but `answer` is A",
    ),
    "another paraphrase": (
        {"response": "<output_image><output_image><answer>A. somewhere else</answer>", "answer": "B"},
        "the response answers A, but `answer` is B",
    ),
    "no option named": (
        {"response": "<output_image><output_image><answer>It goes.</answer>", "answer": ""},
        "the response names none of the options: add `answer`",
    ),
    "imagery gone": ({"imagery": [PICTURE, FILE]}, "imagery 2 is not there: /nowhere/frame.png"),
    "no image": ({"imagery": [PICTURE, {"bytes": b"<html>", "path": None}]}, "imagery 2 is no image, or damaged"),
    "a mask too few": ({"imagery_masks": [PICTURE]}, "imagery_masks has 1, imagery 2: write one mask for each"),
}
