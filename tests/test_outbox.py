"""streamd.outbox: what is written, and who waits when it can't be."""

import asyncio

from streamd.outbox import Outbox
from tests.parts import frame, turns


def outbox() -> tuple[Outbox, list[bytes]]:
    written: list[bytes] = []
    return Outbox(written.append, frame), written


async def test_frames_are_written_as_they_are_and_messages_framed() -> None:
    box, written = outbox()
    box.write(b"frames")
    box.send(b"message")
    assert written == [b"frames", b"message\n"]


async def test_after_close_nothing_is_written() -> None:
    box, written = outbox()
    box.close()
    box.close()
    box.write(b"frames")
    box.send(b"message")
    assert written == []


async def test_it_is_writable_at_once_unless_paused() -> None:
    box, _ = outbox()
    await asyncio.wait_for(box.writable(), 1)
    box.pause()
    waiting = [asyncio.create_task(box.writable()) for _ in range(3)]
    await turns()
    assert not any(task.done() for task in waiting)
    box.resume()
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_one_who_gives_up_waiting_leaves_the_others() -> None:
    box, _ = outbox()
    box.pause()
    one, other = (asyncio.create_task(box.writable()) for _ in range(2))
    await turns()
    one.cancel()
    await turns()
    box.resume()
    await asyncio.wait_for(other, 1)
    assert one.cancelled()


async def test_who_waits_goes_on_waiting_if_it_is_paused_again() -> None:
    box, _ = outbox()
    box.pause()
    waiting = asyncio.create_task(box.writable())
    await turns()
    box.resume()
    box.pause()
    await turns()
    assert not waiting.done()
    box.resume()
    await asyncio.wait_for(waiting, 1)


async def test_close_lets_go_of_those_who_wait() -> None:
    box, _ = outbox()
    box.pause()
    waiting = asyncio.create_task(box.writable())
    await turns()
    box.close()
    await asyncio.wait_for(waiting, 1)
    assert not box.paused


async def test_resume_tells_unless_it_is_closed() -> None:
    box, _ = outbox()
    told: list[bool] = []
    box.on_drained = lambda: told.append(box.paused)
    box.pause()
    box.resume()
    assert told == [False]
    box.close()
    box.resume()
    assert told == [False]
