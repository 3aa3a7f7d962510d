"""What uv says when it fails, in our words. The samples are as uv 0.13 and 0.9 write them."""

import textwrap

import pytest

from drivetrain.environments.uv_failure import UvFailure
from drivetrain.model.errors import OutsideFailed, ProjectError


def explain(output):
    return UvFailure(textwrap.dedent(output).strip("\n")).explain("cannot install")


REFUSED = """
    Using Python 3.11.7 environment at: v
    error: Request failed after 3 retries in 6.7s
      cause: Failed to fetch: http://ada:****@127.0.0.1:9/simple/six/
      cause: error sending request for url (http://127.0.0.1:9/simple/six/)
      cause: client error (Connect)
      cause: tcp connect error
      cause: Connection refused (os error 111)
"""
REFUSED_BEFORE = """
    error: Failed to fetch: `http://127.0.0.1:9/simple/six/`
      Caused by: error sending request for url (http://127.0.0.1:9/simple/six/)
      Caused by: Connection refused (os error 111)
"""
NO_NAME = """
    error: Failed to fetch: https://no.example/simple/six/
      cause: error sending request for url (https://no.example/simple/six/)
      cause: dns error
      cause: failed to lookup address information: Name or service not known
"""
NO_NAME_FOR_GIT = """
       Updating https://****@git.example/x.git (main)
    error: Failed to download and build `six @ git+https://****@git.example/x.git@main`
      cause: Git operation failed
      cause: process didn't exit successfully: `/usr/bin/git fetch --force` (exit status: 128)
             --- stderr
             fatal: unable to access 'https://git.example/x.git/': Could not resolve host: git.example
"""
NO_NAME_FOR_GIT_BEFORE = """
      \N{MULTIPLICATION SIGN} Failed to download and build `six @
      │ git+https://****@git.example/x.git@main`
      ├─▶ Git operation failed
      ╰─▶ process didn't exit successfully: `/usr/bin/git fetch` (exit status: 128)
          --- stderr
          fatal: unable to access 'https://git.example/x.git/': Could
          not resolve host: git.example
"""


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (REFUSED, "cannot install: '127.0.0.1:9' cannot be reached (Connection refused)"),
        (REFUSED_BEFORE, "cannot install: '127.0.0.1:9' cannot be reached (Connection refused)"),
        (NO_NAME, "cannot install: 'no.example' cannot be reached (Name or service not known)"),
        (NO_NAME_FOR_GIT, "cannot install: 'git.example' cannot be reached (Could not resolve host: git.example)"),
        (NO_NAME_FOR_GIT_BEFORE, "cannot install: 'git.example' cannot be reached (Could not resolve host: git.example)"),
    ],
    ids=["refused", "refused-0.9", "name", "git", "git-0.9"],
)
def test_what_cannot_be_reached_is_named_without_the_chain_of_causes(output, message):
    error = explain(output)
    assert isinstance(error, OutsideFailed)
    assert (error.message, error.detail) == (message, None)
    assert "network" in error.hint


def test_the_index_of_pytorch_is_known_by_its_path():
    assert UvFailure(NO_NAME.replace("/simple/six", "/whl/cpu/torch")).is_torch_index
    assert not UvFailure(NO_NAME).is_torch_index


CONFLICT = """
    error: No solution found when resolving dependencies
      cause: Because requests==2.31.0 depends on urllib3>=1.21.1,<3 and you require requests==2.31.0, we can conclude that you require urllib3>=1.21.1,<3.
             And because you require urllib3==1.20, we can conclude that your requirements are unsatisfiable.
"""
CONFLICT_BEFORE = """
      \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:
      ╰─▶ Because requests==2.31.0 depends on urllib3>=1.21.1,<3 and you require
          requests==2.31.0, we can conclude that you require urllib3>=1.21.1,<3.
"""


@pytest.mark.parametrize("output", [CONFLICT, CONFLICT_BEFORE], ids=["0.13", "0.9"])
def test_a_conflict_is_explained_by_uv(output):
    error = explain(output)
    assert isinstance(error, ProjectError)
    assert error.detail.startswith("Because requests==2.31.0 depends on urllib3")
    assert not any(line.startswith(" ") for line in error.detail.splitlines())
    assert "named above" in error.hint


def missing(cause, hint=""):
    return explain(f"error: No solution found when resolving dependencies\n  cause: {cause}\n{hint}")


def test_a_package_that_is_not_there_is_told_in_a_line():
    error = missing(
        "Because sixx was not found in the package registry and you require sixx, we can conclude that your requirements are unsatisfiable."
    )
    assert (error.message, error.detail) == ("cannot install: there is no package 'sixx'", None)


def test_a_version_that_is_not_there_is_told_in_a_line():
    error = missing(
        "Because there is no version of six==99 and you require six==99, we can conclude that your requirements are unsatisfiable."
    )
    assert (error.message, error.detail) == ("cannot install: there is no version 'six==99'", None)


def test_what_was_not_fetched_before_is_no_fault_of_the_project():
    error = missing(
        "Because a was not found in the cache and you require a, we can conclude.",
        "\nhint: Packages were unavailable because the network was disabled.",
    )
    assert isinstance(error, OutsideFailed)
    assert error.hint == "unset UV_OFFLINE"


def test_uvs_hint_becomes_ours_without_its_options():
    error = missing("Because a and b.", "\nhint: Only found wheels for `cp38` (try: `--python 3.8`)")
    assert error.hint == "Only found wheels for 'cp38'"


BUILD = """
    Resolved 1 package in 671ms
       Building bad @ file:///tmp/bad-1.tar.gz
    error: Failed to build `bad @ file:///tmp/bad-1.tar.gz`
      cause: The build backend returned an error
      cause: Call to `setuptools.build_meta:__legacy__.build_wheel` failed (exit status: 1)

             [stdout]
             running build_ext

             [stderr]
             bad.c:1:10: fatal error: nope.h: No such file or directory
                 1 | #include <nope.h>
             compilation terminated.

    hint: This error likely indicates that you need to install a library that provides `nope.h`
"""


def test_a_failed_build_shows_the_end_of_its_log():
    error = explain(BUILD)
    assert isinstance(error, ProjectError)
    assert error.message == "cannot install: building 'bad' from source failed"
    assert error.detail.splitlines() == [
        "bad.c:1:10: fatal error: nope.h: No such file or directory",
        "    1 | #include <nope.h>",
        "compilation terminated.",
    ]
    assert error.hint.endswith("provides 'nope.h'")


def test_a_hint_of_uvs_that_says_nothing_gives_way_to_ours():
    error = explain(
        BUILD.replace("This error likely indicates that you need to install a library", "This usually indicates a problem")
    )
    assert error.hint.startswith("the log above says why")


def test_a_build_that_says_it_was_refused_something_failed_for_the_packages_reasons():
    error = explain(BUILD.replace("compilation terminated.", "Permission denied; Connection refused"))
    assert "building 'bad' from source failed" in error.message


@pytest.mark.parametrize(
    ("status", "hint"), [("404 Not Found", "address"), ("401 Unauthorized", "credentials"), ("503 Service Unavailable", None)]
)
def test_an_answer_other_than_the_file_is_told(status, hint):
    error = explain(
        f"error: Failed to download `a @ https://x.example/a.whl`\n  cause: HTTP status client error ({status}) for url (https://x.example/a.whl)"
    )
    assert error.message == f"cannot install: 'https://x.example/a.whl' answered {status}"
    assert (hint or "") in (error.hint or "")


def test_a_full_disk_has_one_line():
    error = explain("error: Failed to install: a.whl\n  cause: failed to copy file to /x: No space left on device (os error 28)")
    assert (error.message, error.detail) == ("cannot install: the disk is full", None)
    assert "DRIVETRAIN_CACHE_DIR" in error.hint


def test_a_directory_that_cannot_be_written_is_named():
    error = explain(
        "error: Failed to initialize cache at `/x`\n  cause: failed to create directory `/x/y`: Permission denied (os error 13)"
    )
    assert error.message == "cannot install: failed to create directory '/x/y': Permission denied"
    assert "UV_CACHE_DIR" in error.hint


def test_what_git_says_is_shown():
    error = explain(NO_NAME_FOR_GIT.replace("Could not resolve host: git.example", "The requested URL returned error: 403"))
    assert error.message == "cannot install: git could not fetch 'six'"
    assert error.detail == "fatal: unable to access 'https://git.example/x.git/': The requested URL returned error: 403"


def test_anything_else_is_passed_on():
    error = explain(
        "error: Failed to download `six==1.16.0`\n  cause: Hash mismatch for `six==1.16.0`\n\n         Expected:\n           sha256:00"
    )
    assert (error.message, error.detail) == (
        "cannot install",
        "Failed to download 'six==1.16.0'\nHash mismatch for 'six==1.16.0'\n\nExpected:\n  sha256:00",
    )
    assert explain("Segmentation fault").detail == "Segmentation fault"
    assert explain("").detail == ""
