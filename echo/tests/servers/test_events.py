"""The events that wait for an application: no `receive` misses one."""

import asyncio

from echo.servers.events import EventQueue
from echo.tests.live import PATIENCE_SECONDS


async def test_a_wait_that_was_cancelled_does_not_end_the_next_one_s() -> None:
    queue = EventQueue()
    cancelled = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    cancelled.cancel()  # it ends only when this task waits
    asyncio.get_running_loop().call_later(0.01, queue.put_nowait, {"number": 1})
    async with asyncio.timeout(PATIENCE_SECONDS):
        await queue.wait()
    assert cancelled.cancelled()
    assert queue.take() == {"number": 1}
    assert len(queue) == 0
