"""What is learnt from workers about a project's imports, kept up to date, and whether it still holds.

Each worker reports what it imported until it was ready; that is kept from one start to the next.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from drivetrain.environments.template import ImportRecord, TemplateNotes
from drivetrain.environments.template_sources import Sources
from drivetrain.serving.frames import Imported
from drivetrain.serving.launch import WorkerCommand
from drivetrain.serving.template_snapshot import Snapshot

#: The first time, the sources may have changed since they were recorded. The second time, they change something at each start.
_MOST_MISMATCHES = 2

_MISMATCH = "it sets other environment variables, or fails to load, where its libraries are already imported"


class Learner:
    """Owns the record of one project.

    Attributes:
        record: What is known; its ``refusal`` says why it is of no use, if it is of none.

    Args:
        command: How workers of the project are started.
        snapshot: What the record is for.
        directory: Where records are kept.
        name: What the project is known by, if not by its directory.
    """

    def __init__(self, command: WorkerCommand, snapshot: Snapshot, directory: Path, *, name: str | None = None) -> None:
        project = command.project
        self.record: ImportRecord | None = None
        self._snapshot = snapshot
        self._notes = TemplateNotes(directory, project, command.mode, command.environment, purpose=snapshot.value, name=name)
        self._sources = Sources(str(project.root), str(project.config_file), whole=snapshot is Snapshot.AFTER_SETUP)
        self._sources_seen = ""
        self._mismatches = 0

    def look(self) -> str:
        """The project's files are about to be loaded: what they say now, as one value."""
        self._sources_seen = self._sources.digest()
        return self._sources_seen

    def recall(self) -> ImportRecord | None:
        """The record as it was kept, if it is about the files as they were when they were last looked at."""
        record = self._notes.read()
        if record is None or record.digest != self._notes.digest(self._sources_seen, record.paths):
            if self._snapshot is Snapshot.IMPORTS:
                self.record = None
                return None
            record = ImportRecord(digest=self._notes.digest(self._sources_seen, ()), changes={})  # nothing need be known
        self.record = record
        return record

    def is_current(self) -> bool:
        """Whether nothing has changed that the record depends on, nor has anybody kept another."""
        record = self.record
        if record is None or record.digest != self._notes.digest(self._sources.digest(), record.paths):
            return False
        return self._snapshot is Snapshot.AFTER_SETUP or self._notes.is_unchanged()

    def learn(self, report: Imported) -> bool:
        """Take in what a worker has reported; whether it says anything new, which is then kept."""
        sources = self._sources.digest()
        if sources != self._sources_seen:  # they have changed since; whoever loads them next will tell
            self._sources_seen = sources
            return False
        digest = self._notes.digest(sources, report.paths)
        record = ImportRecord(digest=digest, journal=report.journal, changes=report.changes, paths=tuple(report.paths))
        known = self.record
        if known is not None and (report.origin == "forked" or (known.digest, known.changes) == (digest, record.changes)):
            extended = known.extended(report.journal)
            if extended is None and report.origin != "afresh":
                return False
            record = extended or known
        if report.origin == "afresh":
            self._mismatches += 1
            if self._mismatches >= _MOST_MISMATCHES:
                record = replace(record, refusal=_MISMATCH)
        self._keep(record)
        return True

    def refuse(self, reason: str) -> None:
        """Remember that there can be no template, and why."""
        if self.record is not None:
            self._keep(replace(self.record, refusal=reason))

    def _keep(self, record: ImportRecord) -> None:
        self.record = record
        self._notes.write(record)
