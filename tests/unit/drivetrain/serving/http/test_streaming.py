"""Streams: what leaves when, also to clients that read slowly."""

import asyncio
import base64

from drivetrain.model.prediction import Output, OutputFile, OutputValue, Prediction, PredictionId, Started
from drivetrain.serving.event_stream import EventStream
from drivetrain.serving.http.rendering import large_files, render_at_once, render_value
from drivetrain.serving.http.streaming import StreamingAnswer
from drivetrain.serving.run import Run, now


class SlowReader:
    """An exchange whose client reads a piece when the test says so."""

    def __init__(self):
        self.is_writable = True
        self.sent = []
        self.tasks = []

    def on_client_gone(self, action):
        pass

    def begin_stream(self, _content_type, *, writable):
        self._writable = writable

    def send(self, piece):
        self.sent.append(piece)
        self.is_writable = False

    def spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))

    def read(self):
        self.is_writable = True
        self._writable()


def test_a_large_file_is_read_once_and_only_when_its_reader_has_read_what_came_before(tmp_path):
    async def test():
        path = tmp_path / "large.txt"
        path.write_bytes(content := b"x" * 100_000)
        run = Run(Prediction(id=PredictionId("a"), input={}, created_at=now(), streams=True), {}, str(tmp_path))
        run.apply(Started(at=now()))
        run.apply(Output(output=OutputValue(value="before" * 20_000)))
        run.apply(Output(output=OutputValue(value=None, files=(OutputFile(pointer=(), path=path, name="large.txt"),))))
        stream = EventStream(
            run, render=render_at_once, render_value=render_value, find_missing=large_files, repeats=True, is_late=False
        )
        reader = SlowReader()
        StreamingAnswer(run, reader, stream, ended=lambda _stayed: None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (len(reader.sent), len(reader.tasks)) == (1, 0)
        reader.read()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.gather(*reader.tasks)
        assert (len(reader.sent), len(reader.tasks)) == (2, 1)
        assert base64.b64encode(content) in reader.sent[1]

    asyncio.run(test())


def test_the_first_output_leaves_at_once_and_what_follows_in_the_same_turn_as_one_piece(tmp_path):
    async def test():
        run = Run(Prediction(id=PredictionId("a"), input={}, created_at=now(), streams=True), {}, str(tmp_path))
        stream = EventStream(
            run, render=render_at_once, render_value=render_value, find_missing=large_files, repeats=True, is_late=False
        )
        reader = SlowReader()
        StreamingAnswer(run, reader, stream, ended=lambda _stayed: None)
        run.apply(Started(at=now()))
        assert reader.sent == []
        run.apply(Output(output=OutputValue(value="one")))
        assert [b'"one"' in piece for piece in reader.sent] == [True]
        reader.read()
        run.apply(Output(output=OutputValue(value="two")))
        run.apply(Output(output=OutputValue(value="three")))
        assert len(reader.sent) == 1
        await asyncio.sleep(0)
        assert [(b'"two"' in piece, b'"three"' in piece) for piece in reader.sent[1:]] == [(True, True)]

    asyncio.run(test())
