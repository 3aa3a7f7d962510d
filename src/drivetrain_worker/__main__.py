"""Start a worker: ``python .../drivetrain_worker DESCRIPTOR``, in the project's interpreter, started by a model server.

Or a template, from which workers are forked: ``python .../drivetrain_worker template DESCRIPTOR``.

The interpreter knows nothing of where drivetrain is installed and must not learn it: our site-packages would bring our pins to the
author's imports. So this file loads the package from its own directory by hand, and adds to ``sys.path`` only the directory that
holds the ``cog`` module.

Python 2 must be able to read this file, to be told that it is too old.
"""

import gc
import sys

if sys.version_info < (3, 8):
    sys.exit("Python %d.%d is too old: drivetrain runs models on Python 3.8 and later" % sys.version_info[:2])


def load_package():  # type: ignore[no-untyped-def] # noqa: ANN201 (annotations are no syntax of Python 2)
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
    gc.disable()  # what is imported stays; the collector is the author's again before the author's module is imported
    del sys.path[0]  # the directory of this file, which Python put there
    load_package()  # type: ignore[no-untyped-call] # as above
    from drivetrain_worker.main import main

    if sys.argv[1] == "template":
        from drivetrain_worker.template import main as be_template

        gc.enable()
        main(*be_template(int(sys.argv[2])))  # in each process that was forked from it
    else:
        main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
