"""Do options, words or one frame give answers about space away? The gates on rendered rows, for each kind by itself.

    python benchmarks/spatial_gates.py --clips 450 --rows 110

Kinds differ in how often a clip gives one, so that each is cut to `--rows`: the gates look at 2,000 rows in all, and
test a kind from 100 rows on. The rows are those of `fourdthinker build-data --source world --questions mllm4d,dsr`.
"""

import argparse
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.gates.check import check_dataset
from fourdthinker.dataset_builders.gates.report import Gate
from fourdthinker.dataset_builders.pipeline.derived_rows import MLLM4D, MOTION
from fourdthinker.dataset_builders.sources.world_space import space_rows

COLUMNS = ("options alone", "question, options", "first frame", "middle frame", "last frame", "balance of answers")


def draw_rows(rows: Iterable[dict], most: int) -> Iterator[dict]:
    """So many rows of each kind at most, each as likely (reservoir sampling, Vitter 1985)."""
    rng, kept, seen = random.Random(0), defaultdict[str, list[dict]](list), Counter[str]()
    for row in rows:
        found = kept[row["task"]]
        seen[row["task"]] += 1
        if len(found) < most:
            found.append(row)
        elif (place := rng.randrange(seen[row["task"]])) < most:
            found[place] = row
    return itertools.chain.from_iterable(kept.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=450)
    parser.add_argument("--rows", type=int, default=110, help="of each kind, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    made: dict[str, list[dict]] = {MOTION: [], MLLM4D: []}
    for row in draw_rows(space_rows("train", args.clips, ("mllm4d", "dsr"), args.seed, args.workers), args.rows):
        made[MLLM4D if "camera_centers" in row else MOTION].append(row)
    with TemporaryDirectory() as folder:
        write_dataset({name: {"train": rows} for name, rows in made.items()}, Path(folder))
        report = check_dataset(Path(folder))
    print(f"{report.verdict}\n")
    print(f"| kind | rows | chance | {' | '.join(COLUMNS)} |\n|{'---|' * (3 + len(COLUMNS))}")
    kinds = dict.fromkeys(gate.group for gate in report.gates if gate.name == COLUMNS[0])
    for kind in kinds:
        gates = {gate.name: gate for gate in report.gates if gate.group == kind}
        shown = " | ".join(_show(gates[name]) for name in COLUMNS)
        print(f"| {kind} | {gates[COLUMNS[0]].rows} | {100 * (gates[COLUMNS[0]].chance or 0):.1f} % | {shown} |")
    for gate in report.gates:
        if gate.group not in kinds or gate.outcome == "FAIL":
            print(f"\n{gate.group}, {gate.name}: {gate.outcome}. {gate.reason}")


def _show(gate: Gate) -> str:
    if gate.outcome == "not tested":
        return gate.outcome
    found = gate.interval if gate.name == COLUMNS[-1] else f"{100 * (gate.found or 0):.1f} %"
    return f"**{found}**" if gate.outcome == "FAIL" else found


if __name__ == "__main__":
    main()
