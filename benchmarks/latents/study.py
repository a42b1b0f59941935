"""Do latents earn their place? Train every arm of a plan on the same rows, and read all of them like a sceptic.

A cell is one arm with one seed. It is trained by the DIFT trainer and read as `fourdthinker diagnose` reads: by
restricted choice after the model's own reasoning and latents, which are then replaced in turn. A finished cell is a
file; a run that was cut off goes on with the next one, and several at a time share the cells. `report.md` and
`curves.svg` are written again after each cell.
"""

import argparse
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from cells import run_cell
from plan import read_plan
from summary import write_summary

from fourdthinker.modeling.errors import InputError


def main() -> None:
    """Run the cells that are missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True, metavar="FILE.yaml", help="the study")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of its cells; finished ones are kept")
    parser.add_argument("--arms", metavar="NAMES", help="only these, comma-separated")
    parser.add_argument("--cells", type=int, metavar="N", help="end after N more cells of this process")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan, folder = read_plan(args.plan), Path(args.output)
    names = list(plan.arms) if args.arms is None else args.arms.split(",")
    if unknown := [name for name in names if name not in plan.arms]:
        raise InputError(f"the plan has no arm {unknown[0]!r}: it has {', '.join(plan.arms)}")
    cells = [(arm, seed) for arm, seed in plan.cells if arm.name in names]
    finished = [cell for cell in cells if (folder / "cells" / f"{cell[0].name}-{cell[1]}.json").exists()]
    for arm, seed in finished:  # an error if it is of another plan
        run_cell(plan, arm, seed, folder)
    made = 0
    for arm, seed in [cell for cell in cells if cell not in finished]:
        if made == args.cells:
            break
        with claim_cell(folder, f"{arm.name}-{seed}") as is_ours:
            if not is_ours or (folder / "cells" / f"{arm.name}-{seed}.json").exists():
                continue
            result = run_cell(plan, arm, seed, folder)
        made += 1
        own = result["right"][arm.read]
        print(f"{arm.name}, seed {seed}: {own.count('1') / len(own):.1%} of {len(own)}", flush=True)
        write_summary(plan, folder)
    print(write_summary(plan, folder))


@contextmanager
def claim_cell(folder: Path, name: str) -> Iterator[bool]:
    """Whether no other process is at a cell, which then is this one's until it ends, however it ends."""
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    with (folder / "locks" / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
