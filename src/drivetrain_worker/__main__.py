"""Start a worker: ``python …/drivetrain_worker DESCRIPTOR``, in the project's interpreter, started by a model server.

The interpreter knows nothing of where drivetrain is installed and must not learn it: our site-packages would bring our pins to the
author's imports. So this file loads the package from its own directory by hand, and adds to ``sys.path`` only the directory that
holds the ``cog`` module.
"""

import sys


def load_package() -> None:
    """Make ``drivetrain_worker`` importable without making its siblings so."""
    import importlib.util
    import os

    directory = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        "drivetrain_worker", os.path.join(directory, "__init__.py"), submodule_search_locations=[directory]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["drivetrain_worker"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":  # multiprocessing's spawn runs this file again under another name
    del sys.path[0]  # the directory of this file, which Python put there
    load_package()
    from drivetrain_worker.main import main

    main(int(sys.argv[1]))
