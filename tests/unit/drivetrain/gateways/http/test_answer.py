"""Waiting for clients that may hang up, and streams."""

import asyncio
import gc

import pytest
from starlette.requests import ClientDisconnect, Request

from drivetrain.gateways.http.answer import server_sent_event, while_connected, with_signs_of_life


class Client:
    """Hangs up when it is told to."""

    def __init__(self):
        self.leaves = asyncio.Event()

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self):
        return Request({"type": "http", "headers": []}, self.receive)


def test_the_result_is_given_to_a_client_that_waits():
    async def use():
        assert await while_connected(Client().request, asyncio.sleep(0, "done")) == "done"

    asyncio.run(use())


@pytest.mark.parametrize("cancels", [True, False])
def test_work_whose_client_has_gone_is_broken_off_or_goes_on(cancels):
    async def use():
        client, may_go_on, ended = Client(), asyncio.Event(), asyncio.Queue()

        async def work():
            try:
                await may_go_on.wait()
                ended.put_nowait("done")
            except asyncio.CancelledError:
                ended.put_nowait("canceled")
                raise

        waiting = asyncio.ensure_future(while_connected(client.request, work(), cancels=cancels))
        await asyncio.sleep(0)
        client.leaves.set()
        with pytest.raises(ClientDisconnect):
            await waiting
        may_go_on.set()
        assert await ended.get() == ("canceled" if cancels else "done")

    asyncio.run(use())


def test_what_fails_unheard_harms_nobody():
    async def use():
        client, may_fail, complaints = Client(), asyncio.Event(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        client.leaves.set()

        async def fail():
            await may_fail.wait()
            raise ValueError("nobody hears this")

        with pytest.raises(ClientDisconnect):
            await while_connected(client.request, fail(), cancels=False)
        (unheard,) = asyncio.all_tasks() - {asyncio.current_task()}
        may_fail.set()
        await asyncio.wait((unheard,))
        del unheard
        await asyncio.sleep(0)
        gc.collect()  # what nobody has asked for its error complains when it goes
        assert complaints == []

    asyncio.run(use())


def test_a_stream_that_has_nothing_to_say_gives_signs_of_life_and_is_closed():
    async def use():
        go_on, closed = asyncio.Event(), []

        async def chunks():
            try:
                yield b"one"
                await go_on.wait()
                yield b"two"
            finally:
                closed.append(True)

        seen = []
        async for chunk in with_signs_of_life(chunks(), b"alive", seconds=0.01):
            seen.append(chunk)
            if seen.count(b"alive") == 2:
                go_on.set()
        assert seen[0] == b"one"
        assert seen[-1] == b"two"
        assert seen.count(b"alive") >= 2
        assert closed == [True]
        leaving = with_signs_of_life(chunks(), b"alive", seconds=10)
        assert await anext(leaving) == b"one"
        await leaving.aclose()
        assert closed == [True, True]

    asyncio.run(use())


def test_an_event_is_written_as_the_standard_has_it():
    assert server_sent_event("log", {"a": "b\n"}, event_id="1.2") == b'id: 1.2\nevent: log\ndata: {"a":"b\\n"}\n\n'
    assert server_sent_event("output", b"one\r\ntwo\rthree\n") == b"event: output\ndata: one\ndata: two\ndata: three\ndata: \n\n"
