"""Rows with responses of made-up models, of known accuracy."""

import random

OPTIONS = ["left", "right", "up", "down"]


def answer_rows(
    shares: dict[str, float], n: int = 100, seed: int = 0, videos: int = 40, unparsed: float = 0.05
) -> list:
    """`n` rows of each task in `shares`, of which that share is right and another share names no option."""
    draws = random.Random(seed)
    rows = []
    for task, share in shares.items():
        for number in range(n):
            key = "ABCD"[number % 4]
            wrong = draws.choice([letter for letter in "ABCD" if letter != key])
            letter = key if draws.random() < share else wrong
            said = f"It seems so. The answer is ({letter})." if draws.random() >= unparsed else "I cannot tell."
            rows.append(
                {
                    "id": f"{task}-{number}",
                    "task": task,
                    "question": f"Which way, {number}?",
                    "options": OPTIONS,
                    "answer": key,
                    "video_id": f"clip {number % videos}",
                    "response": said,
                }
            )
    return rows
