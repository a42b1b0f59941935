"""The reader of rewards: one anchored answer block, nothing to gain from anything else."""

import re
from itertools import islice

from ...modeling.offered_options import OfferedOptions

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_END_OF_TURN = re.compile(r"(?:<\|im_end\|>|<\|endoftext\|>|\s)*\Z")


def read_reward_answer(text: str, offer: OfferedOptions) -> str | None:
    """Read the letter of a response that ends in its only `<answer>…</answer>`, outside `<think>`."""
    tags = list(islice(_TAG.finditer(text), 3))
    if [tag.group() for tag in tags] != ["<answer>", "</answer>"]:
        return None
    opening, closing = tags
    if text.rfind("<think>", 0, opening.start()) > text.rfind("</think>", 0, opening.start()):
        return None
    # Matching at a fixed place: what follows the block may be an end-of-turn token and white space, nothing else.
    if not _END_OF_TURN.match(text, closing.end()):
        return None
    return offer.choice(text[opening.end() : closing.start()])
