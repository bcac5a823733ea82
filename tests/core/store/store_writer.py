"""Processes that label as fast as they can, for tests that kill them: ``store_writer.py DATABASE``.

This process only forks others (importing everything anew for each life would take longer than the life), told so
by lines on its input: ``start ANNOTATOR NUMBER FILE`` answers the new process' id, ``wait ID`` its exit status.
A writer appends to FILE ``event id, image`` after each commit. NUMBER 0 means until it is killed.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from pathlib import Path

from store_values import decision, undo

from core.store import Store
from core.types import Outcome


def label(path: Path, annotator: str, number: int, acks: Path) -> None:
    chance = random.Random(os.getpid())
    with acks.open("ab", buffering=0) as told, Store(path) as store:
        images = [record.sha256 for record in store.images()]
        for n in itertools.count() if number == 0 else range(number):
            if n % 5 == 0:
                store.lease_next(annotator, limit=2, lease_seconds=1)
            first = decision(
                chance.choice(("accept", "correct")), chance.choice(images), annotator, chance.choice((1, 2))
            )
            for one in (first, undo(first)) if chance.random() < 0.3 else (first,):
                assert store.decide(one).outcome is not Outcome.DUPLICATE
                told.write(f"{one.id} {one.image}\n".encode())


def main(path: Path) -> None:
    for line in sys.stdin:
        command, *words = line.split()
        if command == "start":
            child = os.fork()
            if child == 0:
                label(path, words[0], int(words[1]), Path(words[2]))
                os._exit(0)
            print(child, flush=True)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(int(words[0]), 0)[1]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
