"""The Dockerfile of a plan, as text."""

from pathlib import Path

import pytest

from drivetrain.images.descriptor import platform_of
from drivetrain.images.dockerfile import Rendering, refers_to_files, render_dockerfile
from drivetrain.images.plan import Wishes, make_plan
from drivetrain.model.project import BuildCommand, EnvironmentSpec, Project


def render(rendering=None, wishes=None, **environment):
    spec = EnvironmentSpec(root=Path("/project"), python_version="3.11", **environment)
    project = Project(root=Path("/project"), dialect="cog", config_file=Path("/project/cog.yaml"), environment=spec)
    plan = make_plan(project, platform_of("amd64"), wishes or Wishes())
    return render_dockerfile(plan, rendering or Rendering(python="3.11"))


def instructions(text):
    return [line.split(" ")[0] for line in text.replace("\\\n", "").splitlines()]


def test_the_order_is_that_of_cog():
    text = render(system_packages=("ffmpeg",), requirements=("numpy",), commands=(BuildCommand(command="make all"),))
    assert instructions(text) == [
        *("FROM", "USER", "ENV", "ENV", "RUN", "RUN", "RUN", "COPY", "COPY", "RUN"),
        *("WORKDIR", "COPY", "COPY", "EXPOSE", "ENTRYPOINT", "CMD"),
    ]
    assert text.index("ffmpeg") < text.index("requirements.txt") < text.index("make all") < text.index("COPY project/")


def test_values_of_variables_stay_what_they_are():
    assert r'''ODD="a \"b\" \$HOME \\n"''' in render(variables={"ODD": 'a "b" $HOME \\n'})


def test_names_of_system_packages_are_words_of_no_shell():
    assert "'a; rm -rf /'" in render(system_packages=("a; rm -rf /",))


def test_a_secret_is_mounted_for_its_command_alone():
    command = BuildCommand(command="cat /run/secrets/t", secret_mounts=(("t", "/run/secrets/t"),))
    text = render(commands=(command, BuildCommand(command="true")))
    assert "RUN --mount=type=secret,id=t,target=/run/secrets/t cat /run/secrets/t\n" in text
    assert "RUN true\n" in text


def test_an_edit_of_the_project_leaves_the_packages_cached_unless_they_are_in_it():
    assert "source=project" not in render(requirements=("numpy",))
    assert "source=project" in render(requirements=("./wheels/a.whl",))


def test_packages_of_the_project_are_built_in_a_copy_that_is_gone_afterwards():
    text = render(requirements=("-e ./lib",))
    assert text.index("cp -r /mnt/drivetrain/project /tmp/drivetrain-project") < text.index("cd /tmp/drivetrain-project")
    assert "rm -r /tmp/pins /tmp/drivetrain-project\n" in text
    assert "/tmp/drivetrain-project" not in render(requirements=("numpy",))


def test_other_requirements_make_another_instruction():
    assert render(Rendering(python="3.11", model_key="1")) != render(Rendering(python="3.11", model_key="2"))


def test_beside_a_python_that_is_too_old_for_it_the_server_gets_one_of_its_own():
    assert "--allow-existing --python /opt/model/bin/python /opt/drivetrain" in render(Rendering(python="3.10"))
    text = render(Rendering(python="3.9"))
    assert "--allow-existing --managed-python --python 3.12 /opt/drivetrain" in text
    assert text.count("export UV_PYTHON_INSTALL_DIR=/opt/python") == 1


def test_addresses_of_indexes_are_a_secret_of_the_build():
    text = render(Rendering(python="3.11", has_index_secret=True))
    assert text.count("--mount=type=secret,id=drivetrain-indexes") == 2


def test_a_user_owns_the_project():
    text = render(wishes=Wishes(user=1000))
    assert "COPY --chown=1000:1000 project/ /src/" in text
    assert "USER 1000:1000" in text


@pytest.mark.parametrize(
    "line", ["./a.whl", "-e .", "-c constraints.txt", "a @ ./x", "--find-links wheels/", "a.tar.gz", "file:./a"]
)
def test_lines_that_name_files_are_known(line):
    assert refers_to_files([line]) is (line != "--find-links wheels/")


@pytest.mark.parametrize("line", ["numpy", "a @ https://x/y.whl", "--find-links https://x", "git+https://x/y.git", "zip-strict>1"])
def test_lines_that_name_none_are_known(line):
    assert not refers_to_files([line])
