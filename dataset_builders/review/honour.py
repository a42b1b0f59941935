"""What verdicts change in a build: rejected things are not asked about, and corrected names are used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..clip_record import ClipRecord
from ..questions.clip_questions import Candidate
from ..questions.spatial_facts import objects_of
from .subjects import camera_subject, find_fact, track_subject
from .verdicts import Verdict, latest


@dataclass
class Review:
    """The verdicts that hold for a build, and how often they applied.

    Attributes:
        rejected (`set[str]`): Subjects that somebody has rejected.
        names (`dict[str, str]`): Digest of an object's track to its corrected name, the last one given.
        rows (`int`): Questions that were left out.
        overlays (`int`): Objects and regions that were left out.
        renamed (`int`): Objects with a corrected name.
    """

    rejected: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    overlays: int = 0
    renamed: int = 0

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> "Review":
        """The review that verdicts amount to; one rejection outweighs what others say."""
        standing = list(latest(verdicts).values())
        return cls(
            {verdict.subject for verdict in standing if verdict.decision == "reject"},
            {verdict.track: verdict.name for verdict in standing if verdict.decision == "rename"},
        )

    def __bool__(self) -> bool:
        return bool(self.rejected or self.names)

    def keep(self, record: ClipRecord, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of a clip that nobody has rejected; what is left out is counted."""
        kept = []
        tracks = [track_subject(record, track) for track in record.objects or ()]
        used = {tracks[n] for n in asked_objects(record, candidates) if tracks[n] in self.rejected}
        used |= {subject for subject in self._regions(record) if subject in self.rejected}
        self.overlays += len(used)
        for candidate in candidates:
            if self._is_rejected(record, candidate, tracks):
                self.rows += 1
            else:
                kept.append(candidate)
        self.renamed += sum(tracks[number] in self.names for number in asked_objects(record, kept))
        return kept

    def correct(self, record: ClipRecord) -> tuple[ClipRecord, set[int]]:
        """The record with corrected names and without rejected regions, and the numbers of the renamed objects."""
        renamed, objects = set(), []
        for number, track in enumerate(record.objects or ()):
            name = self.names.get(track_subject(record, track))
            objects.append(track if name is None else replace(track, name=name))
            if name is not None:
                renamed.add(number)
        resting = [track for track in record.resting or () if track_subject(record, track) not in self.rejected]
        return replace(record, objects=objects, resting=resting), renamed

    def about(self, record: ClipRecord) -> list:
        """What of the review the questions about a clip depend on, as JSON values; empty if nothing."""
        tracks = [track_subject(record, track) for track in (*(record.objects or ()), *(record.resting or ()))]
        return [[n, self.names.get(t), t in self.rejected] for n, t in enumerate(tracks) if self._knows(t)]

    def _knows(self, track: str) -> bool:
        return track in self.names or track in self.rejected

    def _is_rejected(self, record: ClipRecord, candidate: Candidate, tracks: list[str]) -> bool:
        if candidate.kind.startswith("camera"):
            return camera_subject(record, record.facts["camera"][candidate.fact]) in self.rejected
        fact, subject = find_fact(record, candidate.kind, candidate.fact)
        return subject in self.rejected or any(tracks[number] in self.rejected for number in objects_of(fact))

    def _regions(self, record: ClipRecord) -> set[str]:
        return {track_subject(record, track) for track in record.resting or ()}


def asked_objects(record: ClipRecord, candidates: Sequence[Candidate]) -> set[int]:
    """Numbers of the objects that candidates are about."""
    others = (one for one in candidates if not one.kind.startswith("camera"))
    return {number for one in others for number in objects_of(find_fact(record, one.kind, one.fact)[0])}
