"""All checks together."""

from drivetrain.dialects.cog.doctor.registry import CONFIG_CHECKS, PROJECT_CHECKS
from drivetrain.model.finding import Severity


def test_names_are_unique():
    names = [check.name for check in (*CONFIG_CHECKS, *PROJECT_CHECKS)]
    assert len(names) == len(set(names))


def test_nothing_is_found_in_a_good_project(patient):
    good = patient("class Runner:\n    def run(self, text: str) -> str: ...\n", "run: predict.py:Runner\n")
    assert [verdict for verdict in good.verdicts().values() if verdict.diagnoses or not verdict.was_made] == []


def test_a_config_that_is_no_yaml_leaves_one_check_to_be_made(patient):
    verdicts = patient(config="a: 'b\n").verdicts()
    assert [name for name, verdict in verdicts.items() if verdict.was_made] == ["config-parse"]
    assert verdicts["config-parse"].severity is Severity.ERROR


def test_a_config_with_errors_is_told_all_that_is_wrong_in_it(patient):
    verdicts = patient(config="predict: nothing\nbuild: {python_version: 3.1, fast: true}\n").verdicts()
    assert [name for name, verdict in verdicts.items() if verdict.was_made] == [
        "config-parse",
        "config-schema",
        "config-deprecated-fields",
    ]
    assert [diagnosis.code for diagnosis in verdicts["config-schema"].diagnoses] == ["reference", "python-version"]
    assert [diagnosis.code for diagnosis in verdicts["config-deprecated-fields"].diagnoses] == ["gone-key"]


def test_the_worst_finding_is_the_verdict(patient):
    verdict = patient("import sys\nsys.exit()\nif sys.argv: sys.exit()\nPredictor = print\n").verdicts()["python-exit-at-import"]
    assert {diagnosis.severity for diagnosis in verdict.diagnoses} == {Severity.ERROR, Severity.WARNING}
    assert verdict.severity is Severity.ERROR
