"""Trainings. What one gives becomes a new version of its destination: the code that was trained, with the trained weights."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from drivetrain.gateways.replicate.bodies import InvalidBody, TrainingBody, read_body
from drivetrain.gateways.replicate.models import Models
from drivetrain.gateways.replicate.predictions import Predictions
from drivetrain.gateways.replicate.site import Site, target_of
from drivetrain.gateways.replicate.table import Entry
from drivetrain.model.project import Mode
from drivetrain.platform.access import Caller, NotFound
from drivetrain.platform.app import AppName, BadName
from drivetrain.platform.key import Scope


class Trainings:
    """The routes of trainings; they are predictions of another mode."""

    def __init__(self, site: Site, models: Models, predictions: Predictions) -> None:
        self._site = site
        self._models = models
        self._predictions = predictions

    def entries(self) -> Sequence[Entry]:
        """The routes."""
        return [
            Entry("/models/{owner}/{name}/versions/{version}/trainings", self.create, "POST"),
            Entry("/trainings", self.list, "GET"),
            Entry("/trainings/{id}", self._predictions.get, "GET"),
            Entry("/trainings/{id}/cancel", self._predictions.cancel, "POST"),
        ]

    async def create(self, request: Request, caller: Caller) -> Response:
        """``POST /models/{owner}/{name}/versions/{id}/trainings``."""
        body = await read_body(request, TrainingBody)
        revision = self._models.find_version(request, caller)
        destination = self._destination(caller, body.destination)
        return await self._predictions.run(request, caller, target_of(revision), body, destination=destination)

    async def list(self, request: Request, caller: Caller) -> Response:
        """``GET /trainings``."""
        return await self._predictions.list_mode(request, caller, Mode.TRAIN, "/trainings")

    def _destination(self, caller: Caller, text: str) -> AppName:
        """The model that the new version will be one of: the caller's own, and there already."""
        try:
            name = AppName.parse(text)
            app = self._site.platform.app(caller, name)
        except (NotFound, BadName):
            raise InvalidBody("destination", f"there is no model '{text[:100]}'; create it first") from None
        caller.require(Scope.DEPLOY, app.name.owner)
        return name
