"""The page of checks lists the checks there are."""

from drivetrain.dialects.cog.doctor.registry import CONFIG_CHECKS, PROJECT_CHECKS


def test_every_check_is_documented_in_its_order_and_no_other(pages):
    documented = pages["docs/reference/checks.md"].first_column("Checks")
    assert documented == [check.name for check in (*CONFIG_CHECKS, *PROJECT_CHECKS)]
