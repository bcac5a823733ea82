"""What was acknowledged is there, whoever dies and however many write.

A kill shows that nothing depends on the process going on; it does not show what a power cut does, for which
``synchronous=FULL`` is the promise (see test_store_migrations).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from store_values import add_images, decision, sha

from core.store import Store, health

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Writers:
    """The processes of store_writer.py, each with a file of what it was acknowledged."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.nursery = subprocess.Popen(
            [sys.executable, str(HERE / "store_writer.py"), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"},
        )

    def _ask(self, line: str) -> int:
        assert self.nursery.stdin is not None and self.nursery.stdout is not None
        print(line, file=self.nursery.stdin, flush=True)
        return int(self.nursery.stdout.readline())

    def start(self, annotator: str, number: int = 0) -> int:
        return self._ask(f"start {annotator} {number} {self.folder / annotator}.acks")

    def wait(self, process: int) -> int:
        return self._ask(f"wait {process}")

    def acknowledged(self) -> list[tuple[str, str]]:
        lines = [line.split() for acks in self.folder.glob("*.acks") for line in acks.read_text().splitlines()]
        return [(event, image) for event, image in lines]

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self.nursery.communicate(timeout=60)


def prepared(path: Path, images: int) -> None:
    with Store.open(path) as store:
        store.add_class("a")
        store.add_class("b")
        add_images(store, images)


def check_all_there(path: Path, acks: list[tuple[str, str]]) -> None:
    with Store.open(path) as store:
        events = Counter((e["id"], record.sha256) for record in store.images() for e in store.history(record.sha256))
        assert [ack for ack in acks if events[ack] != 1] == []
        assert max(events.values()) == 1
        assert store.check_projection() == []
    assert [finding.ok for finding in health.integrity(path)] == [True]


def test_killed_fifty_times_while_decisions_pour_in_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    prepared(path, 20)
    chance = random.Random(20261124)
    with Writers(path) as writers:
        for life in range(50):
            process = writers.start(f"life{life}")
            time.sleep(chance.uniform(0.02, 0.15))
            os.kill(process, signal.SIGKILL)
            assert writers.wait(process) == -signal.SIGKILL
        acks = writers.acknowledged()
    assert len(acks) > 50
    check_all_there(path, acks)


def test_eight_processes_write_at_once_without_a_lock_error_or_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    prepared(path, 40)
    with Writers(path) as writers:
        processes = [writers.start(f"annotator{n}", 25) for n in range(8)]
        assert [writers.wait(process) for process in processes] == [0] * 8
        acks = writers.acknowledged()
    assert len(acks) >= 8 * 25
    check_all_there(path, acks)


def test_threads_share_one_store(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    prepared(path, 16)
    failures: list[BaseException] = []
    with Store.open(path) as store:

        def label(name: str) -> None:
            try:
                while leases := store.lease_next(name, limit=3):
                    for lease in leases:
                        store.decide(decision("accept", lease.image, name, 1, lease_token=lease.token))
                        store.counts(name)
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=label, args=(f"annotator {n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(found.image for found in store.labels()) == sorted(sha(n) for n in range(16))
        assert store.check_projection() == []
