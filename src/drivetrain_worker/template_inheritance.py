"""What a forked worker has from its template, and what it does when that is not what the project wants."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Mapping, NoReturn, Optional

from drivetrain_worker import capture
from drivetrain_worker.channel import Channel
from drivetrain_worker.leaving import end_relatives
from drivetrain_worker.protocol import Frame, encode
from drivetrain_worker.template_record import Changes, difference


class Inheritance:
    """What a forked worker has from its template.

    Attributes:
        model: The model, set up, if the template has gone that far.

    Args:
        variables: The environment that a fresh worker would have been started with.
        changes: What the project is expected to change in the environment while it is loaded.
        load: What was loaded, if there is a model.
        model: The model.
    """

    def __init__(self, variables: Mapping[str, str], changes: Changes, load: Optional[Frame], model: Any) -> None:
        self.model = model
        self._variables = variables
        self._changes = changes
        self._load = load

    def is_for(self, frame: Frame) -> bool:
        """Whether the model is what the frame tells to load."""
        assert self._load is not None
        return all(frame[name] == value for name, value in self._load.items())

    def is_as_recorded(self, before: Mapping[str, str]) -> bool:
        """Whether the project has changed the variables as it did when it was recorded.

        Args:
            before: The variables before the project's code was loaded; they hold what libraries have changed themselves.
        """
        changed = difference(before, os.environ)
        return all(name in self._changes for name in changed) and all(
            os.environ.get(name) == value for name, value in self._changes.items()
        )

    def start_afresh(self, channel: Channel, frame: Frame) -> NoReturn:
        """Go on as a worker that was never forked: the same process, connection and output, another interpreter.

        Args:
            channel: The connection.
            frame: The order to load, which is to be obeyed again.
        """
        capture.flush()
        end_relatives()
        reader, writer = os.pipe()
        os.write(writer, encode(frame) + channel.unread())
        os.close(writer)
        for descriptor in (channel.descriptor, reader):
            os.set_inheritable(descriptor, True)
        arguments = [sys.executable, os.path.dirname(os.path.abspath(__file__)), str(channel.descriptor), str(reader)]
        variables: Dict[str, str] = dict(self._variables)
        os.execve(sys.executable, arguments, variables)  # noqa: S606 (there is no shell)
