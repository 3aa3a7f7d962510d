"""Finding models by words, and names of hardware."""

from datetime import datetime, timezone

import pytest

from drivetrain.gateways.replicate.bodies import InvalidBody
from drivetrain.gateways.replicate.hardware import offered, read_sku, sku_of
from drivetrain.gateways.replicate.search import find_models, read_query
from drivetrain.platform.app import App, AppName, Resources


def app(name, description="", **labels):
    created_at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return App(name=AppName.parse(name), created_at=created_at, description=description, labels={"replicate": labels})


APPS = [
    app("acme/super-resolution", "Makes images larger"),
    app("acme/hello-world", "Says hello", readme="For images there is another"),
    app("other/upscaler", "Super resolution of video"),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("resolution", ["acme/super-resolution", "other/upscaler"]),
        ("Super Resolution", ["acme/super-resolution", "other/upscaler"]),
        ("super images", ["acme/super-resolution"]),
        ("images", ["acme/super-resolution", "acme/hello-world"]),
        ("upsc", ["other/upscaler"]),
        ("acme", ["acme/hello-world", "acme/super-resolution"]),
        ("nothing", []),
        ("", []),
        ("!?", []),
    ],
)
def test_every_word_must_be_found(query, names):
    assert [str(app.name) for app, _ in find_models(APPS, query)] == names


def test_how_well_a_model_fits_is_between_0_and_1():
    assert all(0 < score <= 1 for _, score in find_models(APPS, "resolution"))


@pytest.mark.parametrize("body", [b"super resolution", b'"super resolution"', b' "super resolution" ', b"super resolution\n"])
def test_a_query_is_text_or_json(body):
    assert read_query(body) == "super resolution"


@pytest.mark.parametrize("body", [b'"open', b"\xff", b""])
def test_any_bytes_are_a_query(body):
    read_query(body)


@pytest.mark.parametrize(
    ("sku", "gpus"),
    [("cpu", 0), ("cpu-small", 0), ("gpu", 1), ("gpu-t4", 1), ("gpu-a40-large", 1), ("gpu-8x-a40-large", 8), ("gpu-2x", 2)],
)
def test_hardware_is_a_number_of_gpus(sku, gpus):
    assert read_sku(sku).gpus == gpus


@pytest.mark.parametrize("sku", ["", "tpu", "gpu t4", "GPU", "gpu-0x/…", "cpus"])
def test_unknown_hardware_is_refused(sku):
    with pytest.raises(InvalidBody, match="is no hardware"):
        read_sku(sku)


def test_what_is_offered_can_be_asked_for():
    assert [read_sku(each["sku"]).gpus for each in offered(3)] == [0, 1, 2, 3]
    assert sku_of(Resources(gpus=2)) == "gpu-2x"
