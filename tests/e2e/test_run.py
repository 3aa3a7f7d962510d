"""`drivetrain run`, as it is typed."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


HELLO = """
    from cog import BasePredictor, Input

    class Predictor(BasePredictor):
        def setup(self):
            print("setting up")
            self.greeting = "Hello"

        def predict(self, name: str = Input(description="Whom to greet"), times: int = Input(default=1, ge=1, le=3)) -> str:
            print("greeting", name)
            return ", ".join([f"{self.greeting} {name}"] * times)
"""


def test_the_result_is_on_stdout_and_everything_else_on_stderr(project):
    done = project(HELLO).run("-i", "name=Ada", "-i", "times=2")
    assert (done.returncode, done.stdout) == (0, "Hello Ada, Hello Ada\n")
    assert "setting up\n" in done.stderr
    assert "greeting Ada\n" in done.stderr


def test_predict_is_another_name_for_run(project):
    assert project(HELLO).cli("predict", "-i", "name=Ada").stdout == "Hello Ada\n"


def test_a_project_is_found_from_a_directory_below_it(project):
    made = project(HELLO)
    below = made.root / "deep" / "below"
    below.mkdir(parents=True)
    assert made.run("-i", "name=Ada", cwd=below).stdout == "Hello Ada\n"


def test_json_gives_status_output_error_and_metrics(project):
    done = project(HELLO).run("-i", "name=Ada", "--json")
    result = json.loads(done.stdout)
    assert set(result) == {"status", "output", "error", "metrics"}
    assert (result["status"], result["output"], result["error"]) == ("succeeded", "Hello Ada", None)
    assert result["metrics"]["predict_time"] > 0


def test_json_also_takes_the_inputs_from_text_file_and_stdin(project):
    made = project(HELLO)
    made.write("in.json", '{"name": "file"}')
    outputs = [
        json.loads(made.run("--json", source, stdin='{"name": "stdin"}').stdout)["output"]
        for source in ('{"name": "text"}', "@in.json", "-")
    ]
    assert outputs == ["Hello text", "Hello file", "Hello stdin"]


def test_all_problems_of_the_inputs_come_at_once_before_anything_starts(project):
    done = project(HELLO).run("-i", "nam=Ada", "-i", "times=9")
    assert done.returncode == 2
    assert "'nam'" in done.stderr
    assert "'name'" in done.stderr
    assert "times" in done.stderr
    assert "setting up" not in done.stderr


def test_a_batch_is_set_up_once_and_gives_a_line_for_each(project):
    made = project(HELLO)
    made.write("in.jsonl", '{"name": "Ada"}\n\n{"name": "Bob", "times": 2}\n')
    done = made.run("--batch", "in.jsonl")
    assert [line["output"] for line in json_lines(done.stdout)] == ["Hello Ada", "Hello Bob, Hello Bob"]
    assert done.stderr.count("setting up") == 1


def test_a_batch_goes_on_after_a_failure_and_says_so_in_its_status(project):
    made = project("class Predictor:\n    def predict(self, n: int) -> float:\n        return 1 / n\n")
    made.write("in.jsonl", '{"n": 0}\n{"n": 2}\n')
    done = made.run("--batch", "in.jsonl")
    assert done.returncode == 1
    assert [line["status"] for line in json_lines(done.stdout)] == ["failed", "succeeded"]


IMAGE = """
    import shutil
    from cog import Path

    class Predictor:
        def predict(self, image: Path, copies: int = 1) -> list[Path]:
            paths = []
            for number in range(copies):
                path = Path(f"copy{number}{image.suffix}")
                shutil.copy(image, path)
                paths.append(path)
            return paths
"""


def test_files_go_in_by_at_sign_and_come_out_numbered(project):
    made = project(IMAGE)
    made.write("photo.jpg", "pixels")
    done = made.run("-i", "image=@photo.jpg", "-i", "copies=2", "-o", "out.jpg")
    assert done.returncode == 0, done.stderr
    assert [(made.root / name).read_text() for name in ("out.0.jpg", "out.1.jpg")] == ["pixels", "pixels"]
    assert done.stdout == ""


def test_json_inputs_may_mark_files_as_cog_does(project):
    made = project(IMAGE)
    made.write("photo.jpg", "pixels")
    done = made.run("--json", '{"image": "@photo.jpg"}', "-o", "result.json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Written output to: result.json\n" in done.stderr
    assert json.loads((made.root / "result.json").read_text())["output"] == ["result.0.jpg"]
    assert (made.root / "result.0.jpg").read_text() == "pixels"


def test_the_json_object_of_a_failure_goes_to_the_file_that_was_named_for_it_too(project):
    made = project("class Predictor:\n    def predict(self) -> int:\n        raise ValueError('boom')\n")
    done = made.run("--json", "-o", "result.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads((made.root / "result.json").read_text())["error"] == "boom"


def test_a_file_that_is_not_there_is_named(project):
    done = project(IMAGE).run("-i", "image=@nothing.jpg")
    assert done.returncode == 2
    assert "nothing.jpg" in done.stderr


def test_a_single_file_is_written_beside_with_its_own_suffix(project):
    made = project(
        """
        from cog import Path

        class Predictor:
            def predict(self) -> Path:
                Path("/tmp").joinpath("made.txt")
                path = Path("made.txt")
                path.write_text("made")
                return path
        """
    )
    done = made.run()
    assert "Written output to: output.txt" in done.stderr
    assert (made.root / "output.txt").read_text() == "made"


def test_a_place_that_cannot_be_written_is_found_out_before_the_prediction(project):
    done = project(HELLO).run("-i", "name=Ada", "-o", "no/such/directory/out.txt")
    assert (done.returncode, "setting up" in done.stderr) == (2, False)
    assert "no/such/directory" in done.stderr


STREAM = """
    import sys
    from cog import ConcatenateIterator

    class Predictor:
        def predict(self, text: str) -> ConcatenateIterator[str]:
            for word in text.split():
                yield word + " "
                if sys.stdin is None:
                    return
"""


def test_pieces_of_a_text_are_joined(project):
    assert project(STREAM).run("-i", "text=one two three").stdout == "one two three \n"


def test_output_comes_while_the_model_still_runs(project):
    made = project(
        """
        import os
        from cog import ConcatenateIterator

        class Predictor:
            def predict(self, gate: str) -> ConcatenateIterator[str]:
                yield "before"
                with open(gate) as file:  # a named pipe: waits until somebody opens the other end
                    yield file.read()
        """
    )
    gate = made.root / "gate"
    os.mkfifo(gate)
    with made.start("-i", f"gate={gate}", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.read(6) == "before"
        gate.write_text("after")
        assert process.stdout.read() == "after\n"


def test_a_failed_prediction_shows_the_authors_frames_and_no_others(project):
    done = project(
        "class Predictor:\n    def predict(self) -> int:\n        return helper()\n\ndef helper():\n    raise ValueError('boom')\n"
    ).run()
    assert done.returncode == 1
    assert 'predict.py", line 6, in helper' in done.stderr
    assert "error: the prediction failed: boom" in done.stderr
    assert "drivetrain_worker" not in done.stderr


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("class Predictor:\n    def predict(self) -> int\n        return 1\n", "predict.py:2"),
        (
            "import not_there_at_all\nclass Predictor:\n    def predict(self) -> int:\n        return 1\n",
            "No module named 'not_there_at_all'",
        ),
        ("class Other:\n    def predict(self) -> int:\n        return 1\n", "Predictor"),
        (
            "class Predictor:\n    def setup(self):\n        raise RuntimeError('no weights')\n    def predict(self) -> int:\n        return 1\n",
            "no weights",
        ),
        ("import os\nos._exit(7)\nclass Predictor:\n    def predict(self) -> int:\n        return 1\n", "exited with status 7"),
    ],
    ids=["syntax", "import", "missing", "setup", "exit"],
)
def test_a_project_that_cannot_start_fails_with_one_clear_message(project, source, told):
    done = project(source).run()
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("error: ") <= 1 + done.stderr.count("Error: ")
    assert "src/drivetrain" not in done.stderr


def test_a_set_up_that_takes_too_long_is_stopped(project):
    done = project(
        "import time\nclass Predictor:\n    def setup(self):\n        time.sleep(60)\n    def predict(self) -> int:\n        return 1\n"
    ).run("--setup-timeout", "0.5")
    assert done.returncode == 1
    assert "longer than 0.5 seconds" in done.stderr


def test_ctrl_c_cancels_the_prediction_so_that_the_model_can_clean_up(project):
    made = project(
        """
        import time

        class Predictor:
            def predict(self) -> int:
                try:
                    print("running", flush=True)
                    time.sleep(60)
                finally:
                    print("cleaned up")
                return 1
        """
    )
    with made.start(stderr=subprocess.PIPE) as process:
        assert "running\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert "cleaned up" in rest
    assert "was canceled" in rest
    assert process.returncode == 1


def test_a_second_ctrl_c_ends_a_model_that_does_not_obey(project):
    made = project(
        """
        import time

        class Predictor:
            def predict(self) -> None:
                while True:
                    try:
                        print("going on", flush=True)
                        time.sleep(60)
                    except BaseException:
                        pass
        """
    )
    with made.start(stderr=subprocess.PIPE) as process:
        assert "going on\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGINT)
        assert "going on\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=8) == 130  # the grace is 10


def test_variables_reach_the_model(project):
    made = project("import os\nclass Predictor:\n    def predict(self) -> str:\n        return os.environ['COLOUR']\n")
    assert made.run("-e", "COLOUR=red").stdout == "red\n"


def test_a_function_can_be_the_predictor(project):
    made = project("def shout(text: str) -> str:\n    return text.upper()\n", config="predict: predict.py:shout\n")
    assert made.run("-i", "text=hello").stdout == "HELLO\n"


def test_options_that_only_a_container_gives_meaning_say_so(project):
    done = project(HELLO).run("-i", "name=Ada", "--gpus", "all", "--use-cuda-base-image=false")
    assert done.stdout == "Hello Ada\n"
    assert "--gpus has no meaning without a container" in done.stderr


def test_a_word_that_run_does_not_take_leads_to_exec(project):
    done = project(HELLO).run("python", "train.py")
    assert done.returncode == 2
    assert "drivetrain exec python train.py" in done.stderr


def test_training_writes_its_weights(project):
    made = project(
        """
        from cog import BaseModel, Input, Path

        class TrainingOutput(BaseModel):
            weights: Path

        def train(steps: int = Input(ge=1)) -> TrainingOutput:
            path = Path("trained.bin")
            path.write_text("w" * steps)
            return TrainingOutput(weights=path)
        """,
        config="train: predict.py:train\n",
    )
    done = made.cli("train", "-i", "steps=3", "-o", "weights.bin")
    assert done.returncode == 0, done.stderr
    assert next(made.root.glob("weights*")).read_text() == "www"


def test_exec_runs_in_the_environment_and_hands_on_the_exit_status(project):
    made = project(HELLO)
    done = made.cli("exec", "python", "-c", "import cog, sys; print(cog.__name__); sys.exit(7)")
    assert (done.returncode, done.stdout) == (7, "cog\n")


def test_a_command_of_exec_heeds_the_signals_that_python_ignores(project):
    done = project(HELLO).cli("exec", "sh", "-c", "kill -PIPE $$; echo still here")
    assert (done.returncode, done.stdout) == (-signal.SIGPIPE, "")


def old_pythons():
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    return [path / "bin" / "python" for name in ("2.7", "3.6", "3.7") for path in versions.glob(f"{name}*")]


@pytest.mark.skipif(not old_pythons(), reason="no Python older than 3.8 is installed by pyenv")
def test_a_python_that_is_too_old_is_told_so(project):
    done = project(HELLO, python=old_pythons()[0]).run("-i", "name=Ada")
    assert done.returncode == 1
    assert "is too old: drivetrain runs models on Python 3.8 and later" in done.stderr
    assert "Traceback" not in done.stderr


def test_being_terminated_ends_the_worker_too(project):
    made = project(
        "import os, time\n\nclass Predictor:\n    def predict(self) -> int:\n        print(os.getpid(), flush=True)\n        time.sleep(60)\n        return 1\n"
    )
    with made.start(stderr=subprocess.PIPE) as process:
        worker = int(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
