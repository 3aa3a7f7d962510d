"""The apps and revisions there are, in memory: every request asks for them, and they change seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drivetrain.model.inputs import InputChecker
from drivetrain.model.project import Mode
from drivetrain.platform.access import NotFound
from drivetrain.platform.app import App, AppName, AppStore, Revision, RevisionId


class Catalog:
    """Owns the platform's view of its apps; writes go through to the store first. An app is changed by one at a time."""

    def __init__(self, store: AppStore) -> None:
        self._store = store
        self._apps: dict[AppName, App] = {}
        self._turns: dict[AppName, asyncio.Lock] = {}
        self._revisions: dict[RevisionId, Revision] = {}
        self._checkers: dict[tuple[RevisionId, Mode], InputChecker] = {}

    async def load(self) -> None:
        """Read everything."""
        for app in await self._store.apps():
            self._apps[app.name] = app
            for revision in await self._store.revisions(app.name):
                self._revisions[revision.id] = revision

    def apps(self) -> list[App]:
        """All apps, by name."""
        return sorted(self._apps.values(), key=lambda app: app.name)

    def find_app(self, name: AppName) -> App | None:
        """An app, if there is one of that name."""
        return self._apps.get(name)

    def app(self, name: AppName) -> App:
        """An app.

        Raises:
            NotFound: There is none of that name.
        """
        try:
            return self._apps[name]
        except KeyError:
            raise NotFound("app", str(name)) from None

    def find_revision(self, revision_id: RevisionId) -> Revision | None:
        """A revision, if there is one."""
        return self._revisions.get(revision_id)

    def revision(self, revision_id: RevisionId) -> Revision:
        """A revision.

        Raises:
            NotFound: There is none of that id.
        """
        try:
            return self._revisions[revision_id]
        except KeyError:
            raise NotFound("revision", revision_id) from None

    def revisions(self, app: AppName) -> list[Revision]:
        """An app's revisions, newest first."""
        own = (revision for revision in self._revisions.values() if revision.app == app)
        return sorted(own, key=lambda revision: revision.number, reverse=True)

    def latest(self, app: App) -> Revision | None:
        """The revision that most of the app's requests go to."""
        return self._revisions.get(max(app.alias, key=lambda share: share.percent).revision) if app.alias else None

    def checker(self, revision: Revision, mode: Mode) -> InputChecker | None:
        """Checks inputs for a revision; ``None`` where its signature is not known."""
        key = (revision.id, mode)
        if key not in self._checkers:
            signature = revision.signature if mode is Mode.PREDICT else revision.train_signature
            if signature is None:
                return None
            self._checkers[key] = InputChecker(signature)
        return self._checkers[key]

    async def change_app(self, name: AppName, change: Callable[[App], App], *, new: App | None = None) -> App:
        """Keep what ``change`` makes of an app as it is then; the result.

        Args:
            change: Is called once, with the newest value. What it raises is raised, and nothing is changed.
            new: What to begin with where there is no app of that name.

        Raises:
            NotFound: There is none, and none to begin with.
        """
        async with self._turn(name):
            changed = change(self.app(name) if new is None else self._apps.get(name, new))
            await self._store.put_app(changed)
            self._apps[name] = changed
        return changed

    async def put_revision(self, revision: Revision) -> None:
        """Keep a new value of a revision."""
        await self._store.put_revision(revision)
        self._revisions[revision.id] = revision
        for mode in Mode:
            self._checkers.pop((revision.id, mode), None)

    async def next_number(self, app: AppName) -> int:
        """The number of an app's next revision."""
        return await self._store.next_revision_number(app)

    async def remove_app(self, name: AppName) -> None:
        """Forget an app and its revisions."""
        async with self._turn(name):
            await self._store.remove_app(name)
            self._apps.pop(name, None)
            for revision in self.revisions(name):
                self._revisions.pop(revision.id, None)

    async def remove_revision(self, revision_id: RevisionId) -> bool:
        """Forget a revision; whether it was forgotten. It is not if it answers requests, or if something of it waits or runs.

        Raises:
            NotFound: There is none of that id.
        """
        async with self._turn(self.revision(revision_id).app):
            revision = self.revision(revision_id)
            if revision_id in {share.revision for share in self.app(revision.app).alias}:
                return False
            del self._revisions[revision_id]  # first, so that nothing of it is accepted after the store has looked
            is_removed = False
            try:
                is_removed = await self._store.remove_revision(revision_id)
            finally:
                if not is_removed:
                    self._revisions[revision_id] = revision
        return is_removed

    def _turn(self, name: AppName) -> asyncio.Lock:
        return self._turns.setdefault(name, asyncio.Lock())
