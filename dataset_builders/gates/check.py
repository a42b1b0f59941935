"""Every gate of a dataset folder."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...modeling.errors import InputError, count_noun
from .balance import Balance, letter_names, measure_balance, never_right, option_names
from .guesses import Guess, make_guesses
from .report import Gate, GateReport
from .rows import FRAMES, SAMPLE, Row, read_rows
from .splits import near_duplicates, shared_clips, shared_sources

MIN_ROWS = 100  # fewer tell nothing about a task
MIN_CLIPS = 5  # one for each fold
MARGIN = 0.03  # by which a guess, or an answer's share, may exceed chance for certain
SURPRISE = 0.001  # of a chi-squared test, from which answers are unevenly right

_SEED = 0
_GUESSES = ("options alone", "question, options", *(f"{name} frame" for name in FRAMES))
_ALL, _SPLITS, _OTHERS = "all tasks", "splits", "other tasks"
_EXAMPLES = 3


def check_dataset(folder: Path) -> GateReport:
    """Test the rows of a dataset folder for give-aways, balance and what splits share.

    The same folder gives the same report: folds, trees and the sample of rows are seeded.

    Args:
        folder (`Path`): That `write_dataset` has written.

    Raises:
        InputError: If it holds no rows with options, or a wrong one.
    """
    rows, sample = read_rows(folder, _SEED)
    if not rows:
        raise InputError(f"{folder} has no rows with options: there is nothing to test")
    if len(rows) < MIN_ROWS:
        few = f"{count_noun(len(rows), 'row')} {'is' if len(rows) == 1 else 'are'} too few"
        why = f"{few} to be tested for give-aways and balance: it takes {MIN_ROWS}."
        gates = list(_untested(_ALL, len(rows), why))
    else:
        gates = [gate for task, few in _by_task(sample) for gate in _test_guesses(task, few)]
        gates += [_balance_gate(task, few, "balance of answers") for task, few in _by_task(rows)]
        gates.sort(key=lambda gate: gate.group)  # stable: the guesses of a task, then its balance
        gates += [_balance_gate(_ALL, rows, "balance of letters"), _never_right_gate(rows)]
    notes = [f"Guesses and near-duplicates are of a sample of {len(sample)} rows."] if len(rows) > SAMPLE else []
    return GateReport((*gates, *_test_splits(rows, sample)), tuple(notes))


def _by_task(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of each task; those of tasks with too few to be tested, together."""
    counts = Counter(row.task for row in rows)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.task if counts[row.task] >= MIN_ROWS else _OTHERS, []).append(row)
    return sorted(groups.items())


def _test_guesses(task: str, rows: Sequence[Row]) -> Iterator[Gate]:
    clips = len({row.clip for row in rows})
    why = ""
    if len(rows) < MIN_ROWS:
        why = f"Fewer than {MIN_ROWS} rows of a task are too few to be tested."
    elif clips < MIN_CLIPS:
        why = f"Rows of fewer than {MIN_CLIPS} sources are too few to be tested for give-aways."
    if why:
        yield from (Gate(task, name, "not tested", len(rows), reason=why) for name in _GUESSES)
        return
    for name, guess in make_guesses(rows, _SEED):
        yield _guess_gate(task, name, guess)


def _guess_gate(task: str, name: str, guess: Guess) -> Gate:
    low, high = guess.interval
    limit = guess.chance + MARGIN + (high - low) / 2
    reason = (
        f"from no more than this, a small classifier guesses {100 * guess.accuracy:.1f} % of the answers on clips "
        f"that it has not learned from. {100 * limit:.1f} % are allowed: chance, {100 * MARGIN:.0f} points and half "
        "the interval."
    )
    interval = f"{100 * low:.1f} to {100 * high:.1f}"
    outcome = "FAIL" if guess.accuracy > limit else "pass"
    return Gate(task, name, outcome, guess.n, guess.chance, guess.accuracy, interval, reason)


def _balance_gate(group: str, rows: Sequence[Row], name: str) -> Gate:
    found = measure_balance(rows, letter_names if group == _ALL else option_names)
    if found is None or len(rows) < MIN_ROWS:
        why = f"Fewer than {MIN_ROWS} rows of a task are too few to be tested."
        if found is None:
            why = "Answers that are offered a few times each cannot be tested for balance."
        return Gate(group, name, "not tested", len(rows), reason=why)
    return _judged_balance(group, name, len(rows), found)


def _judged_balance(group: str, name: str, rows: int, found: Balance) -> Gate:
    uneven = found.p < SURPRISE and abs(found.rate - found.chance) > MARGIN
    reason = (
        f"{found.worst} is right in {100 * found.rate:.1f} % of the questions that offer it, by chance it would be "
        f"in {100 * found.chance:.1f} % (chi-squared over {found.names}, p = {found.p:.1g})."
    )
    return Gate(
        group, name, "FAIL" if uneven else "pass", rows, found.chance, found.rate, f"p = {found.p:.2g}", reason
    )


def _never_right_gate(rows: Sequence[Row]) -> Gate:
    texts = never_right(rows)
    reason = f"offered again and again, and never the answer: {_some(map(repr, texts))}."
    return Gate(_ALL, "texts never right", "FAIL" if texts else "pass", len(rows), found=len(texts), reason=reason)


def _untested(group: str, rows: int, why: str) -> Iterator[Gate]:
    for name in (*_GUESSES, "balance of answers", "balance of letters", "texts never right"):
        yield Gate(group, name, "not tested", rows, reason=why)


def _test_splits(rows: Sequence[Row], sample: Sequence[Row]) -> Iterator[Gate]:
    if len({row.split for row in rows}) < 2:
        return
    sources = shared_sources(rows)
    yield _count_gate("sources in two splits", rows, sources, "rows of the same source are in two splits")
    clips = [f"{one} and {other}" for one, other in shared_clips(rows)]
    yield _count_gate("clips in two splits", rows, clips, "rows of two splits show the same frames")
    pairs = [f"{one} and {other}" for one, other in near_duplicates(sample)]
    yield _count_gate("near-duplicates", sample, pairs, "rows of two splits look the same")


def _count_gate(name: str, rows: Sequence[Row], faults: Sequence[str], what: str) -> Gate:
    reason = f"{what}: {_some(faults)}."
    return Gate(_SPLITS, name, "FAIL" if faults else "pass", len(rows), found=len(faults), reason=reason)


def _some(names: Sequence[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
    return ", ".join(names[:_EXAMPLES]) + rest
