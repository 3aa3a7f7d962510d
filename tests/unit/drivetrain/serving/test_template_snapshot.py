"""How far a template goes."""

import sys

import pytest

from drivetrain.model.errors import Misuse
from drivetrain.serving.template_snapshot import Snapshot, chosen_snapshot

BEST = Snapshot.IMPORTS if sys.platform == "linux" else Snapshot.OFF


@pytest.mark.parametrize(
    ("option", "variable", "pays", "expected"),
    [
        (None, None, False, Snapshot.OFF),
        (None, None, True, BEST),
        ("auto", "after-setup", True, BEST),
        ("off", "imports", True, Snapshot.OFF),
        ("imports", None, False, Snapshot.IMPORTS),
        (None, "after_setup", False, Snapshot.AFTER_SETUP),
        (None, "auto", True, BEST),
        (None, "", False, Snapshot.OFF),
    ],
)
def test_the_option_beats_the_variable_and_both_beat_what_suits(option, variable, pays, expected):
    environ = {} if variable is None else {"DRIVETRAIN_SNAPSHOT": variable}
    assert chosen_snapshot(option, environ, pays=pays) is expected


def test_another_word_is_a_misuse():
    with pytest.raises(Misuse, match="DRIVETRAIN_SNAPSHOT is 'all'"):
        chosen_snapshot(None, {"DRIVETRAIN_SNAPSHOT": "all"}, pays=True)
