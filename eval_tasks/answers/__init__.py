"""Read the chosen option from a response: one reader for rewards, benchmarks' own rules and tolerant scoring.

Pure Python.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

from ...modeling.offered_options import OfferedOptions
from .benchmark_rules import RULES, Rule, read_by_rule, read_plain_letter
from .plain_options import PlainOptions
from .reward import read_reward_answer
from .tolerant import read_tolerantly

__all__ = ["POLICIES", "RULES", "Policy", "Rule", "extract_answer"]

Policy = Literal["reward", "strict", "tolerant"]
POLICIES: tuple[str, ...] = get_args(Policy)


def extract_answer(
    text: str | None,
    options: Sequence[str | float] | None = None,
    policy: Policy = "tolerant",
    rule: Rule | None = None,
) -> str | None:
    r"""Read the letter of the chosen option from a response.

    `"reward"` is for rewards: the response must end in its only `<answer>…</answer>`, outside the reasoning, and that
    block must hold one offered letter (`B`, `b.`, `(B)`), that letter with the text of its option (`B. left`), or
    the text alone. Everything else earns nothing, so there is nothing to gain from wordy, repeated or broken answers.

    `"strict"` is a benchmark's own published rule, named by `rule`, with all its quirks, for numbers that compare with
    published ones; without a rule the response must be the plain letter. `"answer_block"` is what `"reward"` reads,
    the form that our models learn: the rule of `fourd_world` and of own rows.

    `"tolerant"` is what a careful reader would take the answer to be: the last answer block after the reasoning, else
    the last statement of the answer ("the answer is (B)", "B is correct", `\boxed{B}`, 答案是：B), a line that is a
    choice, or the one option whose text stands in the last sentence. A letter is never taken from inside a word, and a
    response that names several answers with equal force, or a letter with the text of another option, names none.

    Args:
        text (`str`, *optional*): The response. Latent blocks in it are ignored, except by rules of benchmarks.
        options (`Sequence[str]`, *optional*): The option texts or numbers, without letters, in the order in which they
            were offered, two to ten. Without them the letters A to D count as offered, and an option's text cannot be
            recognised. Of options that are equal the first is read.
        policy (`str`, *optional*, defaults to `"tolerant"`): `"reward"`, `"strict"` or `"tolerant"`.
        rule (`str`, *optional*): The benchmark, one of `RULES`; only the policy `"strict"` reads it.

    Returns:
        `str` or `None`: An offered letter in upper case, or nothing.

    Raises:
        InputError: If there is one option only, or more than ten.
        ValueError: If policy or rule are unknown.
    """
    if isinstance(options, str):
        raise TypeError(f"options must be a sequence of texts, got the string {options[:80]!r}")
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}: choose one of {', '.join(POLICIES)}")
    if rule is not None and rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}: choose one of {', '.join(RULES)}")
    offer, plain = _read_options(None if options is None else tuple(map(str, options)))
    if not text:
        return None
    if policy == "reward" or (policy == "strict" and rule == "answer_block"):
        return read_reward_answer(text, offer)
    if policy == "tolerant":
        return read_tolerantly(text, plain)
    letter = read_by_rule(text, rule) if rule else read_plain_letter(text)
    return offer.letter(letter) if letter else None


# Several models answer each question, and a model answers it many times in a rollout.
@lru_cache(maxsize=4096)
def _read_options(options: tuple[str, ...] | None) -> tuple[OfferedOptions, PlainOptions]:
    offer = OfferedOptions(options)
    return offer, PlainOptions(offer)
