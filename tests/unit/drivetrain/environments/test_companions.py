"""What an environment holds beside what the project names."""

from drivetrain.environments.companions import COMPANIONS, installed_versions, missing_companions


def test_installed_packages_are_read_from_the_virtual_environment(tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("typing_extensions-4.1.dist-info", "torch-2.1.0+cpu.dist-info", "PyYAML-6.0.dist-info", "numpy", "six.py"):
        (packages / name).mkdir(parents=True)
    assert installed_versions(tmp_path) == {"typing-extensions": "4.1", "torch": "2.1.0+cpu", "pyyaml": "6.0"}


def test_only_what_is_not_there_is_missing():
    assert missing_companions([]) == COMPANIONS
    assert not {"PyYAML", "typing_extensions"} & set(missing_companions(["pyyaml", "typing-extensions"]))
