"""Predictions of a platform that is lost on the way."""

import contextlib
import io
import itertools

import pytest

from drivetrain.cli.calling import Call, Wish
from drivetrain.cli.platform_client import PlatformFailed, ServerSentEvent
from drivetrain.cli.prediction import Inputs
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode

STARTED = ServerSentEvent(id="1.0", name="start", data={"at": "2026-01-01T00:00:00Z", "attempt": 1})
OUTPUT = ServerSentEvent(id="1.1", name="output", data={"value": "hello"})
COMPLETED = ServerSentEvent(
    id="1.2", name="completed", data={"status": "succeeded", "completed_at": "2026-01-01T00:00:01Z", "error": None}
)


def lost():
    error = PlatformFailed("the connection broke")
    error.is_lost = True
    return error


class Platform:
    """Plays each stream of events from a script of events, seconds that pass, and errors. Also the clock that they pass on."""

    url = "http://platform"

    def __init__(self, *streams):
        self.now = 0.0
        self.asked = []
        self._streams = itertools.chain(streams)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def get(self, _path):
        return {"latest": None}

    def post(self, _path, _body, *, headers):
        assert headers["Idempotency-Key"]
        urls = {"get": f"{self.url}/api/v1/predictions/p"}
        return {"id": "p", "created_at": "2026-01-01T00:00:00Z", "streams": False, "urls": urls}

    @contextlib.contextmanager
    def events(self, _path, *, after=None):
        self.asked.append(after)
        yield self._play(next(self._streams))

    def _play(self, steps):
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, ServerSentEvent):
                yield step
            else:
                self.now += step


@pytest.fixture
def call(monkeypatch):
    """Follows a prediction on a platform: ``call(platform)``."""

    def run(platform):
        monkeypatch.setattr("drivetrain.cli.calling.time", platform)
        wish = Wish(inputs=Inputs({}, {}), target=None, as_json=False, mode=Mode.PREDICT, revision=None, priority="normal")
        terminal = Terminal(io.StringIO(), has_color=False, is_interactive=False)
        return Call(platform, "me/app", wish, terminal).run()

    return run


@pytest.mark.parametrize("before", [[], [STARTED]], ids=["queued", "running"])
def test_however_long_it_took_a_platform_that_is_lost_is_asked_again(call, capsys, before):
    platform = Platform([*before, 1000.0, lost()], [lost()], [] if before else [STARTED], [OUTPUT, COMPLETED])
    assert call(platform) == 0
    assert capsys.readouterr().out == "hello\n"
    assert platform.asked == [None, *["1.0" if before else None] * 2, "1.0"]


def test_each_loss_has_the_whole_patience(call):
    events = [STARTED, *(ServerSentEvent(id=f"1.{n}", name="log", data={"source": "stdout", "data": "."}) for n in range(1, 9))]
    streams = [[event, lost()] for event in events]
    silences = [[40.0, lost()]] * len(streams)
    assert call(Platform(*itertools.chain(*zip(streams, silences, strict=True)), [COMPLETED])) == 0


@pytest.mark.parametrize("stream", [[], [lost()]], ids=["ended", "broken"])
def test_a_platform_that_stays_away_is_given_up_and_what_goes_on_is_named(call, stream):
    platform = Platform(*itertools.chain([[STARTED]], itertools.repeat(stream, 100)))
    with pytest.raises(PlatformFailed) as caught:
        call(platform)
    assert "'drivetrain predictions get p' shows it" in caught.value.hint
    assert 60 <= platform.now < 70


def test_an_answer_that_cannot_be_had_is_no_sign_of_life(call):
    """Such as a file of the output, at an address that only others reach."""
    again = ServerSentEvent(id=None, name="restarted", data={"attempt": 2})
    with pytest.raises(PlatformFailed):
        call(Platform([STARTED], *itertools.repeat([again, lost()], 100)))


def test_a_refusal_is_not_asked_again(call):
    platform = Platform([PlatformFailed("it is broken")])
    with pytest.raises(PlatformFailed, match="it is broken"):
        call(platform)
    assert len(platform.asked) == 1
