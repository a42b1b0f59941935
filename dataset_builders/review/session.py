"""What a reviewer has judged and what is left, and what a key press does."""

from dataclasses import dataclass

from ...modeling.errors import InputError
from ..questions.object_questions import check_name
from .items import Item, Reviewed
from .verdicts import Decision, ReviewFile, Verdict, count_agreement, latest

_MAX_REASON = 500  # letters


@dataclass(frozen=True)
class Progress:
    """How far a review is.

    Attributes:
        judged, left (`int`): Items that this reviewer has judged, and has not.
        accepted (`int`): Judged ones that are right, or right but for a name.
        agreed, shared (`int`): Items on which all reviewers agree, and those that several have judged.
    """

    judged: int
    left: int
    accepted: int
    agreed: int
    shared: int

    def describe(self) -> str:
        """One line for the page."""
        parts = [f"{self.judged} judged", f"{self.left} left"]
        if self.judged:
            parts.append(f"you agree with {self.accepted} of {self.judged} ({self.accepted / self.judged:.0%})")
        if self.shared:
            parts.append(f"reviewers agree on {self.agreed} of {self.shared} ({self.agreed / self.shared:.0%})")
        return " · ".join(parts)


class ReviewSession:
    """One reviewer at one build. All that it knows is in the file, which others may write to as well.

    Args:
        build ([`Reviewed`]): What is judged.
        reviewer (`str`): Who.
    """

    def __init__(self, build: Reviewed, reviewer: str):
        self.build, self.reviewer = build, reviewer
        self._file, self._items = ReviewFile(build.output), build.by_subject

    def verdicts(self) -> dict[str, Verdict]:
        """This reviewer's verdicts on items of the build, by subject."""
        standing = latest(self._file.read())
        return {s: verdict for (s, who), verdict in standing.items() if who == self.reviewer and s in self._items}

    def progress(self) -> Progress:
        """How far the review is."""
        mine = self.verdicts()
        settled = [item for item in self.build.items if self._is_settled(item, mine)]
        judged = [verdict for item in settled if (verdict := mine.get(item.subject))]
        agreed, shared = count_agreement(latest(self._file.read()), self._items)
        accepted = sum(verdict.decision != "reject" for verdict in judged)
        return Progress(len(judged), len(self.build.items) - len(settled), accepted, agreed, shared)

    def judge(self, subject: str, decision: Decision, text: str = "") -> None:
        """Keep a verdict on an item.

        Args:
            subject (`str`): Of the item that the page shows.
            decision (`str`): One of `DECISIONS`.
            text (`str`, *optional*): The reason of a rejection, or the right name.

        Raises:
            InputError: If there is no such item, no reason is given, or the name is none.
        """
        item, text = self.item(subject), " ".join(text.split())
        reason = name = ""
        if decision == "reject":
            reason = text[:_MAX_REASON]
            if not reason:
                raise InputError("a rejection needs a reason: press 1 to 5, or r and write one")
        if decision == "rename":
            if not item.name:
                raise InputError("nothing here has a name to correct: only moving objects do")
            name = check_name(text)
        self._file.append(Verdict(subject, item.id, decision, self.reviewer, reason, name, item.track if name else ""))

    def item(self, subject: str) -> Item:
        """The item of a subject.

        Raises:
            InputError: If the build has none.
        """
        if subject not in self._items:
            raise InputError("this item is not in the build any more: load the page again")
        return self._items[subject]

    def step(self, subject: str, by: int) -> Item:
        """The item that many places further, or the last one in that direction."""
        place = self.build.items.index(self.item(subject)) + by
        return self.build.items[min(max(place, 0), len(self.build.items) - 1)]

    def next_left(self, subject: str = "") -> Item | None:
        """The next item after one that is left to judge, from the start again after the last; `None` if all are."""
        mine = self.verdicts()
        items = self.build.items
        start = items.index(self._items[subject]) + 1 if subject in self._items else 0
        return next((item for item in items[start:] + items[:start] if not self._is_settled(item, mine)), None)

    def _is_settled(self, item: Item, mine: dict[str, Verdict]) -> bool:
        """Whether an item is judged, or is a row about an object whose overlay was rejected."""
        overlay = mine.get(item.track)
        rejected = item.is_row and bool(item.name) and overlay is not None and overlay.decision == "reject"
        return item.subject in mine or rejected
