"""The body of ``GET /health-check``: always answered with 200, since load balancers for Cog images read the body."""

from __future__ import annotations

import asyncio
import platform
from datetime import timedelta
from typing import Any

from drivetrain import __version__
from drivetrain.serving.server import ModelServer
from drivetrain.serving.supervisor import ModelState, SetupRecord

#: Cog allows an author's check five seconds.
_USER_CHECK_LIMIT = timedelta(seconds=5)

_STATUS = {
    ModelState.STARTING: "STARTING",
    ModelState.SETUP_FAILED: "SETUP_FAILED",
    ModelState.DEFUNCT: "DEFUNCT",
    ModelState.STOPPED: "DEFUNCT",
}


async def describe_health(server: ModelServer) -> dict[str, Any]:
    """How the model is, in the form of both generations of Cog."""
    supervisor = server.supervisor
    body: dict[str, Any] = {
        "status": _STATUS.get(supervisor.state) or ("READY" if supervisor.free_slots else "BUSY"),
        "setup": describe_setup(supervisor.setup),
        "version": {"drivetrain": __version__, "python": platform.python_version()},
    }
    if supervisor.state is ModelState.READY and (complaint := await _complaint(server)):
        body["status"] = "UNHEALTHY"
        body["user_healthcheck_error"] = complaint
    return body


def describe_setup(setup: SetupRecord) -> dict[str, Any]:
    """When set-up began and ended, how, and what was written meanwhile."""
    status = "starting" if setup.completed_at is None else "failed" if setup.failure else "succeeded"
    body: dict[str, Any] = {"started_at": setup.started_at.isoformat(), "status": status, "logs": setup.logs}
    if setup.completed_at is not None:
        body["completed_at"] = setup.completed_at.isoformat()
    if setup.failure is not None:
        body["error"] = setup.failure.message
    return body


async def _complaint(server: ModelServer) -> str | None:
    try:
        report = await asyncio.wait_for(server.supervisor.check_health(), _USER_CHECK_LIMIT.total_seconds())
    except asyncio.TimeoutError:
        return f"the model's healthcheck did not answer within {_USER_CHECK_LIMIT.total_seconds():g} seconds"
    return None if report.healthy else report.message
