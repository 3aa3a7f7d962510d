"""What a runner writes, on its way to the log."""

import asyncio
import os

from drivetrain.fleets.output import RunnerOutput


def written(*chunks):
    async def main():
        texts = []
        output = RunnerOutput(texts.append)
        for chunk in chunks:
            os.write(output.writer, chunk)
            await asyncio.sleep(0)
        output.close()
        output.close()
        return "".join(texts), output.tail

    return asyncio.run(main())


def test_text_is_told_to_its_last_byte():
    assert written("größe\n".encode()[:3], "größe\n".encode()[3:], b"end")[0] == "größe\nend"


def test_what_is_no_text_is_told_all_the_same():
    assert written(b"\xff\xfe", "ü".encode()[:1])[0] == "\ufffd\ufffd\ufffd"


def test_only_the_end_is_remembered():
    text, tail = written(b"a" * 30000, b"b" * 5000)
    assert len(text) == 35000
    assert len(tail) < 10000
    assert tail.endswith("b" * 5000)


def test_a_writer_that_got_away_is_not_listened_to_for_ever():
    async def main():
        output = RunnerOutput(lambda _: None)
        kept = os.dup(output.writer)  # as a process would that nobody could end
        output.close()
        os.close(kept)

    asyncio.run(main())
