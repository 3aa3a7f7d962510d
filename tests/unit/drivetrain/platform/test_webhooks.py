"""Webhooks over a real store to real receivers: slow, dead, failing, redirecting ones."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import random
import secrets
import socket
import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from platform_bench import TurnedClock

from drivetrain.model.prediction import Completed, Log, Output, OutputValue, PredictionId, Source, Started, Status
from drivetrain.platform.app import App, AppName, RevisionId
from drivetrain.platform.delivery import DeliveryId, DeliveryState
from drivetrain.platform.hub import Hub
from drivetrain.platform.queue import Claimant, Outcome, Submission, WebhookOrder
from drivetrain.platform.webhooks import WebhookPorts, Webhooks
from drivetrain.serving.outgoing import Outgoing, Reach
from drivetrain.stores.sqlite import open_store
from drivetrain.stores.vault import open_vault

APP = AppName("acme", "echo")


class Receiver:
    """Takes webhooks; ``answers`` says what it answers: statuses, each once, the last for ever, or functions of the handler."""

    def __init__(self):
        self.answers = [200]
        self.got = []
        self.changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.changed:
                    receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, raw, self.path))
                    answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                    receiver.changed.notify_all()
                if callable(answer):
                    answer(self)
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=1"

    @property
    def bodies(self):
        return [json.loads(raw) for _, raw, _ in self.got]

    async def have(self, count):
        """Wait until so many have come."""

        def wait():
            with self.changed:
                assert self.changed.wait_for(lambda: len(self.got) >= count, timeout=20), f"only {len(self.got)} came"

        await asyncio.to_thread(wait)


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def black_hole():
    """A receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def render(view):
    return {"id": view.id, "status": view.status.value, "output": view.output, "logs": view.logs}


class Bench:
    """Webhooks, the store below them, and predictions to tell of."""

    def __init__(self, store, vault, clock, *, allow_private=True, renders=None):
        self.store, self.clock = store, clock
        self.outgoing = Outgoing(Reach(allow_private=allow_private))
        ports = WebhookPorts(
            store=store,
            vault=vault,
            clock=clock,
            outgoing=self.outgoing,
            renders={"plain": render} if renders is None else renders,
            random=random.Random(1),
            random_bytes=secrets.token_bytes,
        )
        self.webhooks = Webhooks(ports)

    def submission(self, name, url, events=("completed",)):
        order = WebhookOrder(url=url, events=frozenset(events), gateway="plain")
        revision = RevisionId("r" * 64)
        return Submission(
            id=PredictionId(name),
            app=APP,
            revision=revision,
            created_at=self.clock.now(),
            input={},
            webhook=order,
            trace="00-trace",
        )

    async def begin(self, submission):
        claimant = Claimant(runner="1", lease_until=self.clock.now() + timedelta(hours=1))
        submitted = await self.store.queue.submit(submission, queue_limit=10**6, claimant=claimant)
        return submitted.claim

    async def end(self, claim, events=()):
        completed = Completed(status=Status.SUCCEEDED, at=self.clock.now())
        events = (*(events or [Started(at=self.clock.now())]), completed)
        outcome = Outcome(status=completed.status, completed_at=completed.at, started_at=completed.at, events=events)
        assert await self.store.queue.complete(claim.token, outcome)
        self.webhooks.wake()
        return completed

    async def ended(self, name, url):
        """A prediction that has come to its end."""
        await self.end(await self.begin(self.submission(name, url)))

    async def delivery(self, name, predicate=lambda delivery: True):
        """A delivery, as soon as it is so."""
        while not predicate(  # noqa: ASYNC110 (the store gives no signal)
            found := await self.store.deliveries.get(DeliveryId(f"{name}.completed"))
        ):
            await asyncio.sleep(0.01)
        return found

    async def later(self, **duration):
        self.clock.ahead += timedelta(**duration)
        self.webhooks.wake()


@pytest.fixture
def bench(tmp_path):
    """Runs a coroutine function with webhooks that have been started."""

    @contextlib.asynccontextmanager
    async def opened(options):
        store = await open_store(tmp_path / "platform.db")
        clock = TurnedClock()
        await store.apps.put_app(App(name=APP, created_at=clock.now()))
        made = Bench(store, await open_vault(tmp_path / "secret.key", store.secrets), clock, **options)
        try:
            async with made.outgoing.open():
                made.webhooks.start()
                try:
                    yield made
                finally:
                    await made.webhooks.stop()
        finally:
            await store.close()

    def run(test, **options):
        async def main():
            async with opened(options) as made:
                return await asyncio.wait_for(test(made), 40)

        return asyncio.run(main())

    return run


def test_an_end_is_told_signed_and_with_its_trace(bench, receiver):
    async def test(bench):
        await bench.ended("p1", receiver.url)
        delivery = await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)
        assert (delivery.attempts, delivery.answer, delivery.next_at) == (1, "200", None)
        return await bench.webhooks.secrets()

    (secret,) = bench(test)
    ((headers, raw, path),) = receiver.got
    assert json.loads(raw) == {"id": "p1", "status": "succeeded", "output": None, "logs": ""}
    assert (headers["content-type"], headers["traceparent"], path) == ("application/json", "00-trace", "/hook?token=1")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    digest = hmac.new(base64.b64decode(secret.split("_")[1]), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_items_are_told_as_a_list_when_the_revision_is_gone(bench, receiver):
    async def test(bench):
        claim = await bench.begin(replace(bench.submission("p1", receiver.url), streams=True))
        outputs = [Output(output=OutputValue(value=value)) for value in ("a", "b")]
        await bench.end(claim, [Started(at=bench.clock.now()), *outputs])
        await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    bench(test)
    assert [body["output"] for body in receiver.bodies] == [["a", "b"]]


def test_a_failing_receiver_is_asked_again_with_the_same_id(bench, receiver):
    receiver.answers = [500, 503, 200]

    async def test(bench):
        await bench.ended("p1", receiver.url)
        await bench.delivery("p1", lambda delivery: delivery.attempts == 1)
        await bench.later(seconds=10)
        await bench.delivery("p1", lambda delivery: delivery.attempts == 2)
        await bench.later(minutes=1)
        await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    bench(test)
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got}) == 1
    assert len(receiver.got) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [(410, "410"), ((302, {"Location": "/elsewhere"}), "302: redirects are not followed")],
)
def test_what_is_gone_or_elsewhere_is_given_up(bench, receiver, answer, said):
    receiver.answers = [answer]

    async def test(bench):
        await bench.ended("p1", receiver.url)
        delivery = await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.FAILED)
        assert (delivery.attempts, delivery.answer) == (1, said)

    bench(test)
    assert len(receiver.got) == 1


def test_a_private_address_is_refused(bench, receiver):
    async def test(bench):
        await bench.ended("p1", receiver.url)
        delivery = await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.FAILED)
        assert "127.0.0.1" in delivery.answer

    bench(test, allow_private=False)
    assert receiver.got == []


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "ftp://example.com/", "nonsense", "http://\u2603..x/", "http://127.0.0.1:99999/"]
)
def test_a_url_that_cannot_be_called_is_given_up(bench, url):
    async def test(bench):
        await bench.ended("p1", url)
        return (await bench.delivery("p1", lambda delivery: delivery.attempts == 1)).state

    assert bench(test) is DeliveryState.FAILED


def test_nobody_at_home_is_tried_again(bench):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def test(bench):
        await bench.ended("p1", f"http://127.0.0.1:{port}/")
        return await bench.delivery("p1", lambda delivery: delivery.attempts == 1)

    delivery = bench(test)
    assert delivery.state is DeliveryState.PENDING
    assert delivery.next_at is not None


def test_a_receiver_that_hangs_holds_up_nobody_else(bench, receiver, black_hole):
    async def test(bench):
        await asyncio.gather(*(bench.ended(f"lost{number}", black_hole) for number in range(600)))
        await asyncio.gather(*(bench.ended(f"p{number}", receiver.url) for number in range(30)))
        await receiver.have(30)  # within much less than one of the others takes to be given up

    bench(test)
    assert {body["id"] for body in receiver.bodies} == {f"p{number}" for number in range(30)}


def test_an_answer_without_end_is_not_read(bench, receiver):
    over = threading.Event()

    def babble(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not over.is_set():
                handler.wfile.write(b"x" * 65536)
        handler.close_connection = True

    receiver.answers = [babble]

    async def test(bench):
        await bench.ended("p1", receiver.url)
        return await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    assert bench(test).answer == "200"
    over.set()


def test_what_was_not_delivered_is_delivered_after_a_restart(bench, receiver):
    receiver.answers = [500]

    async def fail(bench):
        await bench.ended("p1", receiver.url)
        await bench.delivery("p1", lambda delivery: delivery.attempts == 1)

    async def succeed(bench):
        await bench.later(seconds=10)
        return await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    bench(fail)
    receiver.answers = [200]
    assert bench(succeed).attempts == 2


def test_a_delivery_that_was_given_up_can_be_sent_again(bench, receiver):
    receiver.answers = [410, 204]

    async def test(bench):
        await bench.ended("p1", receiver.url)
        failed = await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.FAILED)
        assert (await bench.webhooks.resend(failed)).state is DeliveryState.PENDING
        return await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    assert bench(test).answer == "204"


def test_it_may_be_started_and_stopped_twice_and_again(bench, receiver):
    async def test(bench):
        bench.webhooks.start()
        await bench.webhooks.stop()
        await bench.webhooks.stop()
        await bench.ended("p1", receiver.url)
        bench.webhooks.start()
        await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    bench(test)
    assert len(receiver.got) == 1


def test_a_clock_that_is_set_back_delays_nothing_for_long_and_loses_nothing(bench, receiver):
    receiver.answers = [500, 200]

    async def test(bench):
        await bench.later(hours=5)
        await bench.ended("p1", receiver.url)
        await bench.delivery("p1", lambda delivery: delivery.attempts == 1)
        await bench.later(hours=-5)
        await bench.ended("p2", receiver.url)
        await bench.delivery("p2", lambda delivery: delivery.state is DeliveryState.DELIVERED)
        await bench.later(hours=6)
        await bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)

    bench(test)


def test_a_gateway_that_fails_to_render_is_written_down(bench, receiver, caplog):
    async def broken(view):
        raise RuntimeError("a bug")

    async def test(bench):
        await bench.ended("p1", receiver.url)
        return await bench.delivery("p1", lambda delivery: delivery.attempts == 1)

    assert bench(test, renders={"plain": broken}).answer == "an internal error, which is in the platform's log"
    assert "a bug" in caplog.text
    assert bench(lambda bench: bench.delivery("p1"), renders={}).state is DeliveryState.PENDING


def test_a_secret_can_be_replaced_and_the_old_one_still_signs(bench, receiver):
    async def test(bench):
        first = await bench.webhooks.secrets()
        both = await bench.webhooks.replace_secret()
        assert both[1:] == first
        await bench.ended("p1", receiver.url)
        await receiver.have(1)
        third = await bench.webhooks.replace_secret()
        assert third[1:] == both[:1]
        return third

    kept = bench(test)
    assert len(receiver.got[0][0]["webhook-signature"].split(" ")) == 2
    assert bench(lambda bench: bench.webhooks.secrets()) == kept


class Told:
    """A prediction that runs, and whose receiver hears of it."""

    def __init__(self, bench, receiver, events=("start", "output", "logs", "completed")):
        self.bench, self.receiver = bench, receiver
        self.submission = bench.submission("p1", receiver.url, events)
        self.hub = Hub()

    async def run(self, *steps):
        claim = await self.bench.begin(self.submission)
        with self.hub.using(self.submission, streams=True) as live:
            live.begin(1)
            self.bench.webhooks.follow(live)
            self.bench.webhooks.follow(live)
            for step in steps:
                if isinstance(step, int):
                    await self.receiver.have(step)
                else:
                    live.apply(step)
            live.apply(await self.bench.end(claim, live.events))
        if "completed" in self.submission.webhook.events:
            await self.bench.delivery("p1", lambda delivery: delivery.state is DeliveryState.DELIVERED)


def output(text):
    return Output(output=OutputValue(value=text))


def test_what_happens_is_told_in_order_and_the_end_comes_last(bench, receiver):
    async def test(bench):
        log = Log(source=Source.STDOUT, data="working\n")
        await Told(bench, receiver).run(Started(at=bench.clock.now()), 1, output("a"), output("b"), 2, log, 3)

    bench(test)
    assert [(body["status"], body["output"], body["logs"]) for body in receiver.bodies[:3]] == [
        ("processing", [], ""),
        ("processing", ["a", "b"], ""),
        ("processing", ["a", "b"], "working\n"),
    ]
    assert [body["status"] for body in receiver.bodies[3:]] == ["succeeded"]
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got}) == 4


def test_only_what_was_ordered_is_told(bench, receiver):
    async def test(bench):
        told = Told(bench, receiver, events=("logs",))
        await told.run(Started(at=bench.clock.now()), output("a"), Log(source=Source.STDOUT, data="x"), 1)

    bench(test)
    assert [body["logs"] for body in receiver.bodies] == ["x"]


def test_that_it_began_is_told_even_of_one_that_ends_at_once(bench, receiver):
    bench(lambda bench: Told(bench, receiver, events=("start", "completed")).run(Started(at=bench.clock.now())))
    assert [body["status"] for body in receiver.bodies] == ["processing", "succeeded"]


def test_the_end_waits_for_a_message_that_is_under_way(bench, receiver):
    has_ended = threading.Event()

    def slow(handler):
        has_ended.wait(20)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        receiver.got.append(({}, b'{"status": "answered"}', ""))

    receiver.answers = [slow, 200]

    async def test(bench):
        told = Told(bench, receiver, events=("output", "completed"))
        running = asyncio.ensure_future(told.run(Started(at=bench.clock.now()), output("a"), 1))
        await bench.delivery("p1", lambda delivery: delivery is not None)
        has_ended.set()
        await running

    bench(test)
    assert [body["status"] for body in receiver.bodies] == ["processing", "answered", "succeeded"]


def test_a_message_that_did_not_arrive_is_sent_again(bench, receiver):
    receiver.answers = [500, 200]

    async def test(bench):
        await Told(bench, receiver, events=("output",)).run(Started(at=bench.clock.now()), output("a"), 2)

    bench(test)
    assert [body["output"] for body in receiver.bodies] == [["a"], ["a"]]


def test_each_attempt_is_told_of(bench, receiver):
    async def test(bench):
        submission = bench.submission("p1", receiver.url, ["start"])
        for attempt in (1, 2):
            with Hub().using(submission, streams=False) as live:
                live.begin(attempt)
                bench.webhooks.follow(live)
                live.apply(Started(at=bench.clock.now()))
                await receiver.have(attempt)

    bench(test)
    assert [headers["webhook-id"] for headers, _, _ in receiver.got] == ["p1.1.1", "p1.2.1"]
