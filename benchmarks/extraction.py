"""How answers are read: answers a second, the slowest megabyte, and how often readers differ from people.

    python benchmarks/extraction.py                     # speed alone
    python benchmarks/extraction.py FILE.jsonl ...      # and a line a file and reader

Lines of a file hold `response`, `options` (texts) and `letter`: the option that people read in the response, or null.
"""

import argparse
import json
import time
from pathlib import Path

from fourdthinker.eval_tasks.answers import RULES, extract_answer
from fourdthinker.eval_tasks.scores import align_table

OPTIONS = ["moving to the left", "moving to the right", "not moving", "towards the camera"]
REASONING = """Let's go through the video step by step.

1. **First frames**: the car stands at the side of the road and faces away from us; its speed is $3\\,\\text{m/s}$.
2. **Later frames**: it advances, its wheels rotate, and the background shifts the other way.
3. **Comparison**:
   - A: moving to the left: its place in the image does not change so.
   - B: moving to the right: this fits what is seen.
   - C: not moving: it does move.
   - D: towards the camera: its size stays the same.

The camera is still throughout the clip, apart from minor jitter, so the change comes from the object itself.

"""
RESPONSES = {
    "letter": "B",
    "letter and text": "B. moving to the right",
    "reasoning, then a letter": REASONING + "Therefore, the final answer is: $B$",
    "reasoning, then the option's words": REASONING + "So, the car is moving to the right.",
    "reasoning, no answer": REASONING + "I am not able to tell.",
    "tags": f"<think>{REASONING}</think><answer>B. moving to the right</answer>",
}
UNITS = [
    "<answer>",
    "<|latent_pad",
    "A or ",
    "B\n",
    " ",
    "the answer is ",
    "\\boxed{",
    "<think>",
    "ﷺ",
    "选",
    "B is correct. ",
]
READERS = [("tolerant", None), ("reward", None), ("strict", None), *(("strict", rule) for rule in RULES)]


def answers_per_second(response: str, repeats: int = 2000) -> float:
    """Answers that the tolerant reader reads in a second of CPU time."""
    started = time.process_time()
    for _ in range(repeats):
        extract_answer(response, OPTIONS)
    return repeats / (time.process_time() - started)


def slowest_megabyte() -> tuple[float, str, str]:
    """Seconds, reader and repeated text of the slowest response of a megabyte."""
    found = []
    for policy, rule in READERS:
        for unit in UNITS:
            text = unit * (1_000_000 // len(unit))
            started = time.process_time()
            extract_answer(text, OPTIONS, policy, rule)
            found.append((time.process_time() - started, rule or policy, unit))
    return max(found)


def compare(path: Path) -> list[tuple[str, ...]]:
    """A line a reader: how its letters differ from those that people read."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    named, unnamed = sum(row["letter"] is not None for row in rows), sum(row["letter"] is None for row in rows)
    table = []
    for policy, rule in READERS:
        pairs = [(extract_answer(row["response"], row["options"], policy, rule), row["letter"]) for row in rows]
        missed = sum(read is None and letter is not None for read, letter in pairs)
        other = sum(None not in (read, letter) and read != letter for read, letter in pairs)
        invented = sum(read is not None and letter is None for read, letter in pairs)
        counts = (f"{missed} ({_share(missed, named)})", f"{other} ({_share(other, named)})")
        table.append(
            (f"{path.stem}: {rule or policy}", str(len(rows)), *counts, f"{invented} ({_share(invented, unnamed)})")
        )
    return table


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.jsonl", help="answers with people's readings")
    args = parser.parse_args()
    speeds = [(name, f"{len(text)}", f"{answers_per_second(text):,.0f}") for name, text in RESPONSES.items()]
    print("\n".join(align_table([("response", "characters", "answers a second"), *speeds])))
    seconds, reader, unit = slowest_megabyte()
    print(f"\nslowest megabyte: {seconds:.3f} s, {unit!r} repeated, read by {reader}")
    if args.files:
        header = ("file: reader", "n", "missed", "another letter", "invented")
        print("\n" + "\n".join(align_table([header, *(line for file in args.files for line in compare(file))])))


if __name__ == "__main__":
    main()
