"""A medium that takes nothing for a while: what waits in memory leaves once it is written, whatever writes it."""

import math
from pathlib import Path

from tests.sim.world import DEVICE, World


def test_what_waited_is_sent_also_when_the_first_transaction_that_works_is_the_clocks(tmp_path: Path) -> None:
    world = World(2, tmp_path)
    loop, store = world.loop, world.store
    while world.broker.queue or world.broker.open or store.waiting(0, 1):
        world.turn()
    store._connection.execute("PRAGMA query_only = ON")
    world._tell(f"sim/{DEVICE}/touch", b'{"id": "t-1", "user": "ann", "item": "a", "time": %d}' % world._wall_ms)
    while not store.degraded:
        world.turn()
    decided = len(world.broker.received)
    store._connection.execute("PRAGMA query_only = OFF")
    loop._due_tick_s, loop._due_sweep_s, loop._timeline._stored_ms = math.inf, 0.0, 0
    world.turn()
    assert not store.degraded, "the clock was written, and all that waited with it"
    world.turn()
    assert len(world.broker.received) + len(world.link._wire) > decided
    loop.close()
