"""What only an image build does, and what had better not be in a config."""

import pytest


def config(*commands):
    items = "".join(f"    - {command}\n" for command in commands)
    return f"build:\n  run:\n{items}predict: predict.py:Predictor\n"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("apt-get update && apt-get install -y ffmpeg", "system_packages"),
        ("pip install flash-attn --no-build-isolation", "requirements"),
        ("--mount=type=cache,target=/root/.cache/pip pip install cog==0.10.0a11", "brings 'cog'"),
        ("git clone https://example.com/tool /opt/tool", "clone"),
        ("curl -o /usr/local/bin/pget -L https://example.com/pget && chmod +x /usr/local/bin/pget", "PATH"),
        ("make -C kernels", "drivetrain exec sh -c 'make -C kernels'"),
        ("mkdir /src; make -o /src/x /opt/src/y", "drivetrain exec sh -c 'mkdir .; make -o ./x /opt/src/y'"),
    ],
)
def test_a_command_is_told_with_what_to_do_by_hand(patient, command, word):
    made = patient(config=config(command))
    (diagnosis,) = made.found("config-build-commands")
    assert (diagnosis.file, diagnosis.line) == ("cog.yaml", 3)
    assert word in diagnosis.remedy
    assert made.found("config-build-weights") == ()


@pytest.mark.parametrize(
    "command",
    [
        "wget https://example.com/model.safetensors",
        "python script/download-weights",
        "huggingface-cli download owner/model",
        'python -c "from diffusers import X; X.from_pretrained()"',
        "pget https://example.com/weights.tar /src/weights",
    ],
)
def test_weights_that_a_build_fetches_are_told_once(patient, command):
    made = patient(config=config(command))
    assert made.places("config-build-weights") == [("cog.yaml", 3)]
    assert made.found("config-build-commands") == ()


def test_each_command_has_its_line_also_where_it_is_a_mapping(patient):
    made = patient(config="build:\n  run:\n    - one\n    - command: two\n    - >-\n      three\npredict: predict.py:Predictor\n")
    assert [line for _, line in made.places("config-build-commands")] == [3, 4, 5]


@pytest.mark.parametrize(
    ("requirement", "gpu", "count"),
    [
        ("torch", "true", 1),
        ("torch>=2", "true", 1),
        ("torch==2.5.1", "true", 0),
        ("torch @ https://example.com/torch-2.5.1-cp312-cp312-linux_x86_64.whl", "true", 0),
        ("torchvision", "true", 0),
        ("torch", "false", 0),
    ],
)
def test_pytorch_must_be_pinned_where_it_is_for_a_gpu(patient, requirement, gpu, count):
    made = patient(config=f"build:\n  gpu: {gpu}\n  python_packages: ['{requirement}']\n")
    assert len(made.found("config-torch-version")) == count


@pytest.mark.parametrize(
    ("item", "is_secret"),
    [
        ("HF_TOKEN=abcdefgh", True),
        ("OPENAI_API_KEY=abcdefgh", True),
        ("WHATEVER=hf_abcdefghijklmnopqrstuvwxyz", True),
        ("DATABASE=postgres://me:hidden@example.com/db", True),
        ("MAX_TOKEN_COUNT=77", False),
        ("TOKENIZERS_PARALLELISM=false", False),
        ("HF_TOKEN_PATH=/run/secrets/token", False),
        ("GITHUB_TOKEN=/run/secrets/token", False),
    ],
)
def test_secrets_are_recognised_and_not_repeated(patient, item, is_secret):
    made = patient(config=f"environment:\n  - A=1\n  - {item}\npredict: predict.py:Predictor\n")
    found = made.found("config-secrets")
    assert [diagnosis.line for diagnosis in found] == ([3] if is_secret else [])
    assert item.partition("=")[2] not in str(found)


@pytest.mark.parametrize(("password", "count"), [("hidden", 1), ("${PASSWORD}", 0)])
def test_a_password_in_an_address_is_a_secret(patient, password, count):
    made = patient(config=f"build:\n  python_packages: ['--extra-index-url https://me:{password}@example.com/simple']\n")
    found = made.found("config-secrets")
    assert len(found) == count
    assert password not in str(found)
