"""Weeks without a broker: nothing piles up that is not worth sending, and the way back is orderly."""

from pathlib import Path

from tests.sim.world import HOUR_MS, World

WEEKS_H = 3 * 7 * 24


def test_three_weeks_without_a_broker_leave_little_to_send_and_lose_nothing(tmp_path: Path) -> None:
    world = World(5, tmp_path)
    for _ in range(40):
        world.step()
    world.fuse.left, world.broker.reachable = -1, False
    for _ in range(WEEKS_H * 6):
        world._wall_ms += HOUR_MS // 6
        world._mono_s += 600.0
        world.loop.turn()
    waiting = world.store.waiting(0, 10_000)
    topics = [row[1] for row in waiting if row[4]]
    assert len(topics) == len(set(topics)), "a retained message waits only in its newest form"
    assert len(waiting) < 500
    world.heal()
    world.loop.close()
