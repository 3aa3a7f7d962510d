"""What would travel with the project that nobody means to send?"""

from __future__ import annotations

from collections.abc import Iterator

from drivetrain.dialects.cog.doctor.case import Case
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.model.finding import Severity

_MOST_NAMED = 5


def large_files(case: Case) -> Iterator[Diagnosis]:
    """Large files that an image build would copy."""
    files = sorted(case.large_files, key=lambda file: -file.size)
    if not files:
        return
    named = ", ".join(f"'{file.name}'" for file in files[:_MOST_NAMED])
    others = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    total = sum(file.size for file in files) / 1e9
    yield Diagnosis(
        severity=Severity.NOTE,
        problem=f"large files would go into an image, anew with every change of the code: {named}{others} ({total:.1f} GB)",
        remedy="if the model does without them, list them in '.dockerignore'; if not, have 'setup' fetch them, "
        "or build with Cog's '--separate-weights'",
    )
