"""From a project to an image, or one for each of several platforms: what the command line and a platform call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from drivetrain import __version__
from drivetrain.dialects.cog.config_json import config_as_json
from drivetrain.environments.environment import Progress
from drivetrain.images.descriptor import Descriptor, Platform
from drivetrain.images.direct import Built, DirectBuild
from drivetrain.images.files import ProjectFiles, project_files
from drivetrain.images.labels import known_labels, schema_of
from drivetrain.images.layer_maker import DirectOptions
from drivetrain.images.plan import Plan, Way, Wishes, make_plan
from drivetrain.images.reference import parse_reference
from drivetrain.images.transfer import Transfers
from drivetrain.model.finding import Finding
from drivetrain.model.project import Project
from drivetrain.settings import Settings

if TYPE_CHECKING:
    from drivetrain.images.engine_build import BuildSecret


class BuildOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to build, and how.

    Attributes:
        project: From what.
        platforms: For what; more than one gives an index.
        wishes: What the user asks for.
        options: How layers are made.
        secrets: For commands of the build.
        schema: The OpenAPI document to take; ``None`` reads it from the source.
        revision: Labels that say which revision of the project it is.
    """

    project: Project
    platforms: Sequence[Platform]
    wishes: Wishes
    options: DirectOptions = msgspec.field(default_factory=DirectOptions)
    secrets: Sequence[BuildSecret] = ()
    schema: Mapping[str, Any] | None = None
    revision: Mapping[str, str] = {}


class Builder(msgspec.Struct, frozen=True, kw_only=True):
    """Builds images.

    Attributes:
        transfers: Where they are kept, and bases come from.
        settings: Where uv and the engines are.
        progress: Told each step.
    """

    transfers: Transfers
    settings: Settings
    progress: Progress

    def plans(self, order: BuildOrder) -> tuple[list[Plan], Mapping[str, Any]]:
        """What would be built, and the schema in it.

        Raises:
            ProjectError: The project asks for what there is not.
        """
        schema = order.schema if order.schema is not None else schema_of(order.project, version=__version__)
        labels = known_labels(config_as_json(order.project.config_file), schema, version=__version__)
        wishes = Wishes(
            base=order.wishes.base,
            cuda_base=order.wishes.cuda_base,
            engine=order.wishes.engine,
            user=order.wishes.user,
            has_certificates=order.options.certificates is not None,
            labels={**labels, **order.revision, **order.wishes.labels},
        )
        return [make_plan(order.project, platform, wishes) for platform in order.platforms], schema

    def files(self, order: BuildOrder) -> tuple[ProjectFiles, Sequence[Finding]]:
        """What of the project goes in, and what the user should be told of what does not."""
        files = project_files(order.project, owner=order.wishes.user or 0)
        return files, files.left_out

    def build(
        self, order: BuildOrder, planned: tuple[list[Plan], Mapping[str, Any]], files: ProjectFiles
    ) -> tuple[Descriptor, list[Built]]:
        """Build; the images are then in the store, without a name.

        Args:
            order: What to build.
            planned: What ``plans`` said of it.
            files: What ``files`` said of it.

        Returns:
            What to name: the image, or the index of several; and each image.

        Raises:
            ProjectError: The project asks for what cannot be had.
            OutsideFailed: A registry, the package index, an engine or the disk failed.
        """
        plans, schema = planned
        self.transfers.store.tidy()
        built = [self._build_one(order, plan, files, schema) for plan in plans]
        if len(built) == 1:
            return built[0].descriptor, built
        return self.transfers.store.add_index([one.descriptor for one in built]), built

    def _build_one(self, order: BuildOrder, plan: Plan, files: ProjectFiles, schema: Mapping[str, Any]) -> Built:
        self.progress.step(f"Building for {plan.platform}, {_way_of(plan)}: {plan.reason}")
        if plan.way is Way.DIRECT:
            build = DirectBuild(plan, order.options, self.transfers, self.settings, self.progress)
            return build.build(parse_reference(plan.base), files, schema)
        from drivetrain.images.engine_build import EngineBuild
        from drivetrain.images.engines import find_engine

        engine = find_engine(order.wishes.engine, self.settings, builds=True)
        return EngineBuild(plan, order.options, order.secrets, self.transfers, engine, self.settings, self.progress).build(
            files, schema
        )


def _way_of(plan: Plan) -> str:
    return "without a container engine" if plan.way is Way.DIRECT else "with a container engine"
