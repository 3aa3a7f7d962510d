"""How a platform is run, where its owner may choose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class PlatformOptions:
    """Settings of a platform.

    Attributes:
        lease: For how long a claim holds unless it is extended.
        inline_bytes: A file that comes inside an input as a ``data:`` URL and is larger than this is stored as a file.
        file_bytes: How large one stored file may be.
        quota_bytes: How much room an owner's files may take; ``None`` is any.
        keep_files: How long uploads, inputs and outputs are kept.
        keep_data: How long inputs, outputs and logs of ended predictions are kept.
        keep_records: How long it stays known that a prediction was there.
        keep_deliveries: How long webhook deliveries stay listed.
        drain_grace: How long a prediction may go on in a runner that is to end.
        stop_grace: How long predictions may go on when the platform is stopped.
        cancel_grace: How long a prediction may take to obey its cancelation.
        archive_bytes: How large an uploaded project may be, packed, and ten times that unpacked.
        allow_private: Whether webhooks and inputs may lead to private addresses.
        prediction_bytes: How much one prediction may put out in outputs and logs, without files.
        runner_log_bytes: How much of each runner's log is kept.
    """

    lease: timedelta = timedelta(seconds=60)
    inline_bytes: int = 64 * 1024
    file_bytes: int = 10 * 1024**3
    quota_bytes: int | None = None
    keep_files: timedelta = timedelta(hours=24)
    keep_data: timedelta = timedelta(days=30)
    keep_records: timedelta = timedelta(days=90)
    keep_deliveries: timedelta = timedelta(days=7)
    drain_grace: timedelta = timedelta(minutes=10)
    stop_grace: timedelta = timedelta(seconds=30)
    cancel_grace: timedelta = timedelta(seconds=10)
    archive_bytes: int = 1024**3
    allow_private: bool = False
    prediction_bytes: int = 256 * 1024 * 1024
    runner_log_bytes: int = 1024 * 1024
