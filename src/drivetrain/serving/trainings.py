"""Trainings beside predictions, in a worker of their own."""

from __future__ import annotations

from drivetrain.model.signature import Signature
from drivetrain.serving.server import ModelServer


class TrainingServer:
    """A model server for trainings that is started by the first training: until then it costs nothing.

    Args:
        server: Not yet started.
        signature: What the training takes and gives, as it stands in the code.
    """

    def __init__(self, server: ModelServer, signature: Signature) -> None:
        self.server = server
        self._read = signature
        self._is_started = False

    @property
    def signature(self) -> Signature:
        """What the training takes and gives, as the worker says it once there is one."""
        return self.server.supervisor.signature or self._read

    async def started(self) -> None:
        """Start the server if it has not been started, and wait until it can run trainings or is known not to."""
        if not self._is_started:
            self._is_started = True
            self.server.start()
        await self.server.supervisor.ready()
