"""The published rules by which benchmarks read answers, quirks included, so that numbers compare with published ones.

Each takes the raw response and gives a letter, offered or not, or nothing.
"""

import re
from collections.abc import Callable
from typing import Literal, get_args

Rule = Literal["answer_block", "dsr_bench", "dsr_bench_cot", "dyn_bench", "sti_bench", "dsi_bench", "vlm4d"]
RULES: tuple[str, ...] = get_args(Rule)

_PLAIN_LETTER = re.compile(r"[(\[{]?([A-Za-z])[)\]}]?[.:,;。!]?")
# Two entries hold two prefixes each: the published list lacks commas there, so neither prefix of a pair is removed.
_VIDEO_MME_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
    "Answer:",
    "Option:",
)
# 4DThinker's list, which has those commas.
_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
    "Answer:",
    "Option:",
)
_ANSWER_BLOCK = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_VIDEO_MME_LETTER = re.compile("[ABCD]")
# Tried in this order, each on the whole text; case does not matter.
_STI_BENCH_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"\(([A-E])\)",
        r"Ans\s*=\s*['\"]?([A-E])['\"]?",
        r"Answer\s*[:=]\s*([A-E])",
        r"Option\s+([A-E])",
        r"\b([A-E])\s*(?:is|was)\s*correct",
        r"\b([A-E])[\.\)]\s*$",
    )
)
_DSI_BENCH_TAG = re.compile(r"<answer>\s*([A-D])\s*</answer>", re.IGNORECASE)
_VLM4D_ENDING = re.compile(r"final answer is:?\s{0,8}([A-J])(?![A-Za-z0-9])", re.IGNORECASE)


def read_by_rule(text: str, rule: Rule) -> str | None:
    """Read a response by the rule of a benchmark: a letter in upper case, or nothing."""
    return _READERS[rule](text)


def read_plain_letter(text: str) -> str | None:
    """The letter of a response that is nothing else: `B`, `b.`, `(B)`."""
    match = _PLAIN_LETTER.fullmatch(text.strip())
    return match and match[1].upper()


def _read_dsr_bench(text: str) -> str | None:
    """Video-MME's rule: the first capital A to D anywhere, once some prefixes are gone."""
    return _find_first_letter(text, _VIDEO_MME_PREFIXES)


def _read_dsr_bench_cot(text: str) -> str | None:
    """4DThinker's rule: the first capital A to D of the first answer block, else of the whole response."""
    block = _ANSWER_BLOCK.search(text)
    letter = _find_first_letter(block[1], _PREFIXES) if block else None
    return letter or _find_first_letter(text, _PREFIXES)


def _find_first_letter(text: str, prefixes: tuple[str, ...]) -> str | None:
    for prefix in prefixes:
        text = text.replace(prefix, "")
    match = _VIDEO_MME_LETTER.search(text)
    return match and match[0]


def _read_dyn_bench(text: str) -> str | None:
    """The first word, without punctuation at its end, must be the letter."""
    words = text.split(maxsplit=1)
    word = words[0].rstrip(".,;:!?").upper() if words else ""
    return word if len(word) == 1 and word.isascii() and word.isalpha() else None


def _read_sti_bench(text: str) -> str | None:
    """The first of six patterns that occurs, else the last character."""
    for pattern in _STI_BENCH_PATTERNS:
        if match := pattern.search(text):
            return match[1].upper()
    last = text.strip()[-1:]
    return last if last and last in "ABCDE" else None


def _read_dsi_bench(text: str) -> str | None:
    """The first answer block that holds one letter A to D and nothing else."""
    match = _DSI_BENCH_TAG.search(text)
    return match and match[1].upper()


def _read_vlm4d(text: str) -> str | None:
    """The format that the benchmark's prompts ask for; its published verdicts come from LLM judges and people.

    Either the plain letter ("answer directly with the option letter"), or the letter after the last "the final answer
    is:" ("Therefore, the final answer is: $LETTER"), with or without the dollar sign or bold type.
    """
    plain = text.replace("$", "").replace("*", "")
    endings = _VLM4D_ENDING.findall(plain)
    return endings[-1].upper() if endings else read_plain_letter(plain)


_READERS: dict[str, Callable[[str], str | None]] = {
    "dsr_bench": _read_dsr_bench,
    "dsr_bench_cot": _read_dsr_bench_cot,
    "dyn_bench": _read_dyn_bench,
    "sti_bench": _read_sti_bench,
    "dsi_bench": _read_dsi_bench,
    "vlm4d": _read_vlm4d,
}
