"""streamd.collector: a process that serves looks through its garbage rarely; one that does other things too decides itself."""

import gc
import subprocess
import sys

from streamd.collector import has_grown, rare_collections
from streamd.server import run_server

SERVING = """
import gc, signal, streamd
before = gc.get_threshold()
def started(address):
    young, middle, old = gc.get_threshold()
    print(young > before[0], old > 1_000_000, gc.get_freeze_count() > 0)
    signal.raise_signal(signal.SIGTERM)
if __name__ == "__main__":
    streamd.serve(on_started=started, store="memory:", keys="user", port=0)
    print(gc.get_threshold() == before, gc.get_freeze_count())
"""


def test_serve_sets_the_collector_of_its_process_and_sets_it_back() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SERVING], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.split() == ["True", "True", "True", "True", "0"], ran.stderr


async def test_a_server_within_a_program_leaves_the_collector_alone() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    async with run_server(keys="user"):
        assert (gc.get_threshold(), gc.get_freeze_count()) == (before, frozen)


async def test_garbage_of_long_ago_is_collected_once_memory_has_doubled() -> None:
    blocks = 10_000_000
    grown = has_grown(lambda: blocks)
    blocks = 22_000_000
    assert not grown()
    blocks += 1
    assert grown()


async def test_no_full_collection_comes_by_itself() -> None:
    async with rare_collections():
        before = gc.get_stats()[2]["collections"]
        kept = [[n] for n in range(1_000_000)]
        assert gc.get_stats()[2]["collections"] == before
        del kept
