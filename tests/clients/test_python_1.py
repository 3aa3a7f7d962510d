"""Replicate's Python client 1.0.7 against a platform. Its models are strict, and it keeps quiet about much that goes wrong."""

import pytest

from .conftest import ClientError

pytestmark = pytest.mark.slow

NEVER = "/nonexistent/file"


def test_run_gives_the_output(python_1):
    assert python_1('return replicate.run("acme/hello", input={"text": "you"})') == "hello you"


def test_run_of_a_version_gives_the_output(python_1, platform):
    code = 'return replicate.run(f"acme/hello:{version}", input={"text": "you"})'
    assert python_1(code, version=platform.version("hello")) == "hello you"


def test_run_without_blocking_polls(python_1):
    assert python_1('return replicate.run("acme/hello", input={"text": "you"}, wait=False)') == "hello you"


def test_an_expired_wait_reads_starting_and_run_goes_on(python_1, platform, signal_file):
    """T1, T9: any other status would be taken for the end, and an answer after the second would come too late."""
    code = """
        prediction = replicate.predictions.create(version=version, input={"text": "you", "wait_for": go}, wait=1)
        first = prediction.status, prediction.output
        open(go, "w").close()
        prediction.wait()
        return [*first, prediction.status, prediction.output]
    """
    answer = python_1(code, version=platform.version("hello"), go=str(signal_file))
    assert answer == ["starting", None, "succeeded", "hello you"]


def test_an_expired_wait_loses_no_items(python_1, platform, signal_file):
    """The client begins to give items after those that the first answer holds."""
    code = """
        items = replicate.run(f"acme/stream:{version}", input={"text": "one two three", "wait_for": go}, wait=1)
        open(go, "w").close()
        return list(items)
    """
    assert python_1(code, version=platform.version("stream"), go=str(signal_file)) == ["one", " two", " three"]


def test_run_of_an_iterator_gives_its_items(python_1, platform):
    code = 'return list(replicate.run(f"acme/stream:{version}", input={"text": "one two"}))'
    assert python_1(code, version=platform.version("stream")) == ["one", " two"]


def test_a_failure_raises_with_the_prediction(python_1):
    code = """
        try:
            replicate.run("acme/hello", input={"text": "you", "fail": True})
        except replicate.exceptions.ModelError as error:
            return [error.prediction.status, error.prediction.error, error.prediction.logs]
    """
    status, error, logs = python_1(code)
    assert (status, error) == ("failed", "it was told to")
    assert "ValueError" in logs


def test_progress_is_read_from_the_logs(python_1, platform, signal_file):
    code = """
        prediction = replicate.predictions.create(version=version, input={"text": "you", "wait_for": go})
        while prediction.progress is None:
            prediction.reload()
        first = prediction.progress.percentage
        open(go, "w").close()
        prediction.wait()
        return [first, prediction.progress.percentage, prediction.metrics["letters"], prediction.metrics["predict_time"] > 0]
    """
    assert python_1(code, version=platform.version("hello"), go=str(signal_file)) == [0.5, 1.0, 3, True]


def test_async_run(python_1):
    assert python_1('return await replicate.async_run("acme/hello", input={"text": "you"})') == "hello you"


def test_async_predictions_run_at_once(python_1, signal_file):
    code = """
        import asyncio
        runs = [replicate.async_run("acme/hello", input={"text": name, "wait_for": go}) for name in "ab"]
        tasks = [asyncio.ensure_future(run) for run in runs]
        while len([each for each in await processing()]) < 2:
            pass
        open(go, "w").close()
        return await asyncio.gather(*tasks)
    """
    setup = """
        async def processing():
            page = await replicate.predictions.async_list()
            return [each for each in page.results if each.status == "processing"]
    """
    assert python_1(setup + code, go=str(signal_file)) == ["hello a", "hello b"]


def test_stream_gives_text_as_it_comes(python_1):
    code = """
        events = list(replicate.stream("acme/stream", input={"text": "one two\\nthree"}))
        return ["".join(map(str, events)), [event.event.value for event in events], all(event.id for event in events)]
    """
    assert python_1(code) == ["one two\nthree", ["output", "output", "done"], True]


def test_stream_shows_the_first_piece_before_the_last_is_there(python_1, signal_file):
    code = """
        events = replicate.stream("acme/stream", input={"text": "one two", "wait_for": go})
        first = str(next(events))
        open(go, "w").close()
        return [first, *map(str, events)]
    """
    assert python_1(code, go=str(signal_file)) == ["one", " two", ""]


def test_a_stream_that_is_late_gives_everything(python_1, platform):
    code = """
        prediction = replicate.predictions.create(version=version, input={"text": "one two"})
        prediction.wait()
        return "".join(map(str, prediction.stream()))
    """
    assert python_1(code, version=platform.version("stream")) == "one two"


def test_async_stream(python_1):
    code = """
        stream = await replicate.async_stream("acme/stream", input={"text": "one two"})
        return [str(event) async for event in stream]
    """
    assert python_1(code) == ["one", " two", ""]


def test_a_stream_of_a_failure_raises(python_1):
    with pytest.raises(ClientError, match="it was told to") as caught:
        python_1('return list(replicate.stream("acme/stream", input={"text": "one two", "fail": True}))')
    assert caught.value.type == "RuntimeError"


def test_a_model_that_gives_one_value_does_not_stream(python_1):
    with pytest.raises(ClientError, match="does not support streaming"):
        python_1('return list(replicate.stream("acme/hello", input={"text": "you"}))')


@pytest.mark.parametrize("strategy", ["url", "base64"])
def test_a_file_goes_in_and_one_comes_out(python_1, tmp_path, strategy):
    """T4, T12: the upload's URL is given as input, and the output is a file although there is no TLS."""
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100_000))
    code = """
        output = replicate.run("acme/image", input={"image": open(path, "rb")}, file_encoding_strategy=strategy)
        return [type(output).__name__, output.read() == open(path, "rb").read(), str(output)[:21]]
    """
    assert python_1(code, path=str(image), strategy=strategy) == ["FileOutput", True, "data:image/png;base64"]


def test_a_file_comes_out_of_a_run_that_had_to_poll(python_1, platform, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n")
    code = """
        prediction = replicate.predictions.create(version=version, input={"image": open(path, "rb")}, wait=1)
        return replicate.predictions.get(prediction.id).output[:5]
    """
    assert python_1(code, version=platform.version("image"), path=str(image)) == "data:"


def test_a_large_file_stays_a_url(python_1, tmp_path):
    """T4: without TLS, this client leaves it a string; what it leads to needs no key."""
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n")
    code = """
        import httpx
        output = replicate.run("acme/image", input={"image": open(path, "rb"), "size": 5_000_000})
        return [output, len(httpx.get(output).content)]
    """
    url, size = python_1(code, path=str(image))
    assert url.startswith("http://")
    assert size == 5_000_008


def test_files_are_kept_and_deleted(python_1, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    code = """
        file = replicate.files.create(path, metadata={"project": 7})
        again = replicate.files.get(file.id)
        listed = [each.id for each in replicate.files.list()]
        deleted = replicate.files.delete(file.id)
        try:
            replicate.files.get(file.id)
        except replicate.exceptions.ReplicateError as error:
            status = error.status
        return [again.name, again.content_type, again.size, again.metadata, file.id in listed, bool(again.etag), deleted, status]
    """
    assert python_1(code, path=str(path)) == ["notes.txt", "text/plain", 5, {"project": 7}, True, True, True, 404]


def test_cancel_ends_a_prediction(python_1, platform):
    code = """
        prediction = replicate.predictions.create(version=version, input={"text": "you", "wait_for": never})
        while prediction.status == "starting":
            prediction.reload()
        prediction.cancel()
        return prediction.status
    """
    assert python_1(code, version=platform.version("hello"), never=NEVER) == "canceled"


def test_pages_lead_to_every_prediction_once(python_1, many_predictions):
    code = """
        pages = list(replicate.paginate(replicate.predictions.list))
        last = replicate.predictions.list(pages[1].previous)
        return [[each.id for each in page] for page in [*pages, last]]
    """
    *pages, back = python_1(code)
    ids = [each for page in pages for each in page]
    assert [each for each in ids if each in many_predictions] == many_predictions
    assert len(set(ids)) == len(ids)
    assert [len(page) for page in pages[:-1]] == [100] * (len(pages) - 1)
    assert back == pages[0]


def test_models_are_found(python_1):
    code = """
        model = replicate.models.get("acme/hello")
        listed = [each.id for each in replicate.models.list()]
        found = [each.id for each in replicate.models.search("hello")]
        return [model.id, model.visibility, model.run_count > 0, model.latest_version.openapi_schema["openapi"], sorted(listed), found]
    """
    python_1('return replicate.run("acme/hello", input={"text": "you"})')
    identifier, visibility, has_run, openapi, listed, found = python_1(code)
    assert (identifier, visibility, has_run, openapi, found) == ("acme/hello", "private", True, "3.0.2", ["acme/hello"])
    assert {"acme/hello", "acme/stream"} <= set(listed)


def test_versions_are_found(python_1, platform):
    code = """
        model = replicate.models.get("acme/hello")
        listed = model.versions.list()
        return [[each.id for each in listed], model.versions.get(listed[0].id).id, listed[0].cog_version]
    """
    versions, one, cog_version = python_1(code)
    assert versions[0] == one == platform.version("hello")
    assert cog_version == "0.22.0"


def test_a_model_is_made_and_deleted(python_1):
    code = """
        model = replicate.models.create(
            owner="acme", name="new", visibility="private", hardware="gpu-t4", description="A new one", github_url="https://example.com"
        )
        described = [model.id, model.description, model.github_url, model.latest_version]
        return [*described, replicate.models.delete("acme/new"), "acme/new" in [each.id for each in replicate.models.list()]]
    """
    assert python_1(code) == ["acme/new", "A new one", "https://example.com", None, True, False]


def test_a_deployment_runs_a_version_with_runners_of_its_own(python_1, platform):
    code = """
        made = replicate.deployments.create(
            name="py1", model="acme/hello", version=version, hardware="cpu", min_instances=0, max_instances=1
        )
        first = [made.owner, made.name, made.current_release.number, made.current_release.version]
        prediction = replicate.deployments.predictions.create("acme/py1", {"text": "you"})
        prediction.wait()
        ran = [prediction.output, prediction.model, prediction.version]
        updated = replicate.deployments.update(deployment_owner="acme", deployment_name="py1", max_instances=3)
        release = updated.current_release
        is_listed = "py1" in [each.name for each in replicate.deployments.list()]
        return [first, ran, release.number, release.configuration.max_instances, is_listed]
    """
    version = platform.version("hello")
    assert python_1(code, version=version) == [
        ["acme", "py1", 1, version],
        ["hello you", "acme/hello", version],
        2,
        3,
        True,
    ]


def test_a_training_makes_a_version(python_1, platform):
    """Its weights are what the new version's set-up is given."""
    code = """
        replicate.models.create(owner="acme", name="tuned", visibility="private", hardware="cpu")
        training = replicate.trainings.create(
            model="acme/hello", version=version, input={"greeting": "good day"}, destination="acme/tuned"
        )
        while training.status not in ("succeeded", "failed", "canceled"):
            training.reload()
        output = replicate.run(training.output["version"], input={"text": "you"})
        newest = replicate.models.get("acme/tuned").latest_version.id
        listed = [each.id for each in replicate.trainings.list()]
        return [training.status, output, training.output["version"] == f"acme/tuned:{newest}", training.id in listed, training.error]
    """
    assert python_1(code, version=platform.version("hello")) == ["succeeded", "good day you", True, True, None]


def test_webhooks_are_verified_by_the_client(python_1, platform, receiver):
    code = """
        prediction = replicate.predictions.create(
            version=version, input={"text": "you"}, webhook=url, webhook_events_filter=["start", "completed"]
        )
        return prediction.id
    """
    prediction_id = python_1(code, version=platform.version("hello"), url=receiver.url)
    messages = receiver.until("succeeded")
    assert {message["prediction"]["id"] for message in messages} == {prediction_id}
    assert messages[-1]["prediction"]["output"] == "hello you"
    assert messages[-1]["path"] == "/hook?for=me"
    verify = """
        secret = replicate.webhooks.default.secret()
        replicate.webhooks.validate(headers=headers, body=body, secret=secret, tolerance=60)
    """
    for message in messages:
        python_1(verify, headers=message["headers"], body=message["body"])
    with pytest.raises(ClientError, match="signature is invalid"):
        python_1(verify, headers=messages[0]["headers"], body=messages[0]["body"] + " ")


def test_account_hardware_and_collections(python_1):
    code = """
        collection = replicate.collections.get("acme")
        slugs = [each.slug for each in replicate.collections.list()]
        return [replicate.Client().accounts.current().username, [each.sku for each in replicate.hardware.list()][0], slugs, len(collection) > 3]
    """
    assert python_1(code) == ["acme", "cpu", ["acme"], True]


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ('replicate.Client(api_token="dt_wrong").models.list()', 401, "API key"),
        ('replicate.models.get("acme/nothing")', 404, "there is no model 'acme/nothing'"),
        ('replicate.predictions.get("nothing")', 404, "there is no prediction 'nothing'"),
        ('replicate.run("acme/hello", input={"text": ["a"], "more": 1})', 422, "input.text"),
        ('replicate.run("acme/hello", input={})', 422, "input.text"),
        ('replicate.predictions.create(version="0" * 64, input={})', 422, "does not exist, or this key may not run it"),
        ('replicate.predictions.list("/v1/predictions?cursor=nonsense")', 422, "is no cursor"),
        ('replicate.deployments.get("acme/nothing")', 404, "there is no deployment 'acme/nothing'"),
    ],
)
def test_errors_say_what_is_wrong(python_1, code, status, sentence):
    with pytest.raises(ClientError) as caught:
        python_1(f"return {code}")
    assert caught.value.type == "ReplicateError"
    assert caught.value.status == status
    assert sentence in caught.value.message


def test_a_base_url_with_the_version_in_it_works_too(python_1, platform):
    """The two Python clients read the same variable, and want different things in it."""
    code = 'return replicate.Client(base_url=url).run("acme/hello", input={"text": "you"})'
    assert python_1(code, url=f"{platform.url}/v1") == "hello you"
