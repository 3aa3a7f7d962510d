"""Replicate's Python client of the second generation (2.0.0b4) against a platform. It polls for everything, and repeats POSTs."""

import pytest

from .conftest import ClientError

pytestmark = pytest.mark.slow

NEVER = "/nonexistent/file"


def test_run_gives_the_output(python_2):
    assert python_2('return replicate.run("acme/hello", input={"text": "you"})') == "hello you"


def test_run_of_a_version_gives_the_output(python_2, platform):
    code = 'return replicate.run(f"acme/hello:{version}", input={"text": "you"})'
    assert python_2(code, version=platform.version("hello")) == "hello you"


def test_an_expired_wait_reads_starting_and_run_goes_on(python_2, platform, signal_file):
    """T1: any other status would be taken for the end."""
    code = """
        prediction = replicate.predictions.create(version=version, input={"text": "you", "wait_for": go}, prefer="wait=1")
        first = [prediction.status, prediction.output]
        open(go, "w").close()
        done = replicate.predictions.wait(prediction.id)
        return [*first, done.status, done.output]
    """
    answer = python_2(code, version=platform.version("hello"), go=str(signal_file))
    assert answer == ["starting", None, "succeeded", "hello you"]


def test_use_makes_a_function_of_a_model(python_2):
    assert python_2('return replicate.use("acme/hello")(text="you")') == "hello you"


def test_use_joins_the_pieces_of_a_text(python_2):
    assert python_2('return replicate.use("acme/stream")(text="one two")') == "one two"


def test_use_gives_pieces_as_they_come(python_2, signal_file):
    code = """
        pieces = iter(replicate.use("acme/stream", streaming=True)(text="one two three", wait_for=go))
        first = next(pieces)
        open(go, "w").close()
        return [first, *pieces]
    """
    assert python_2(code, go=str(signal_file)) == ["one", " two", " three"]


def test_use_downloads_output_files(python_2, tmp_path):
    code = """
        paths = replicate.use("acme/frames")(count=2)
        return [open(path).read() for path in paths]
    """
    assert python_2(code) == ["frame 0", "frame 1"]


def test_use_of_a_version_with_logs(python_2, platform):
    code = """
        run = replicate.use(f"acme/hello:{version}").create(text="you")
        return [run.output(), "100%" in run.logs()]
    """
    assert python_2(code, version=platform.version("hello")) == ["hello you", True]


def test_async_use(python_2):
    assert python_2('return await replicate.use("acme/hello", use_async=True)(text="you")') == "hello you"


def test_the_async_client(python_2):
    code = """
        async with replicate.AsyncReplicate() as client:
            output = await client.run("acme/hello", input={"text": "you"})
            return [output, (await client.account.get()).username]
    """
    assert python_2(code) == ["hello you", "acme"]


def test_stream_gives_text(python_2):
    assert python_2('return "".join(replicate.stream("acme/stream", input={"text": "one two"}))') == "one two"


def test_a_failure_raises_with_the_prediction(python_2):
    code = """
        from replicate.exceptions import ModelError
        try:
            replicate.run("acme/hello", input={"text": "you", "fail": True})
        except ModelError as error:
            return [error.prediction.status, error.prediction.error]
    """
    assert python_2(code) == ["failed", "it was told to"]


def test_a_file_goes_in_and_one_comes_out(python_2, tmp_path):
    """T12: the upload is without name and type, so its type is taken from its content."""
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100_000))
    code = """
        output = replicate.run("acme/image", input={"image": open(path, "rb")})
        types = [file.content_type for file in replicate.files.list().results if file.size == 100_008]
        return [type(output).__name__, output.read() == open(path, "rb").read(), types[0]]
    """
    assert python_2(code, path=str(image)) == ["FileOutput", True, "image/png"]


def test_files_are_kept_downloaded_and_deleted(python_2):
    code = """
        import base64, hashlib, hmac, time
        file = replicate.files.create(content=b"notes", filename="notes.txt", metadata={"project": "seven"})
        again = replicate.files.get(file_id=file.id)
        listed = [each.id for each in replicate.files.list().results]
        key = base64.b64decode(replicate.webhooks.default.secret.get().key.partition("_")[2])
        expiry = int(time.time()) + 60
        signature = base64.b64encode(hmac.digest(key, f"acme {file.id} {expiry}".encode(), hashlib.sha256)).decode()
        content = replicate.files.download(file_id=file.id, owner="acme", expiry=expiry, signature=signature).read().decode()
        replicate.files.delete(file_id=file.id)
        try:
            replicate.files.get(file_id=file.id)
        except replicate.NotFoundError:
            return [again.content_type, again.size, again.metadata, file.id in listed, content]
    """
    assert python_2(code) == ["text/plain", 5, {"project": "seven"}, True, "notes"]


def test_a_download_needs_the_right_signature(python_2):
    code = """
        file = replicate.files.create(content=b"notes")
        replicate.files.download(file_id=file.id, owner="acme", expiry=9999999999, signature="nonsense").read()
    """
    with pytest.raises(ClientError) as caught:
        python_2(code)
    assert caught.value.status == 403


def test_cancel_ends_a_prediction(python_2, platform):
    """T3: the client's loop knows no other word for it."""
    code = """
        prediction = replicate.predictions.create(version=version, input={"text": "you", "wait_for": never})
        replicate.predictions.cancel(prediction_id=prediction.id)
        return replicate.predictions.wait(prediction.id).status
    """
    assert python_2(code, version=platform.version("hello"), never=NEVER) == "canceled"


def test_a_prediction_that_takes_too_long_is_canceled(python_2, platform):
    code = """
        headers = {"Cancel-After": "5s"}
        prediction = replicate.predictions.create(
            version=version, input={"text": "you", "wait_for": never}, extra_headers=headers
        )
        done = replicate.predictions.wait(prediction.id)
        return [done.status, (prediction.deadline - prediction.created_at).total_seconds()]
    """
    assert python_2(code, version=platform.version("hello"), never=NEVER) == ["canceled", 5.0]


def test_pages_lead_to_every_prediction_once(python_2, many_predictions):
    ids = python_2("return [each.id for each in replicate.predictions.list()]")
    assert set(many_predictions) <= set(ids)
    assert len(set(ids)) == len(ids)


def test_models_are_found(python_2):
    code = """
        model = replicate.models.get(model_owner="acme", model_name="hello")
        listed = [f"{each.owner}/{each.name}" for each in replicate.models.list()]
        found = [each.name for each in replicate.models.search(body="hello")]
        best = replicate.Replicate().search(query="hello")
        versions = [each.id for each in replicate.models.versions.list(model_owner="acme", model_name="hello")]
        return [model.name, "acme/stream" in listed, found, best.models[0].model.name, model.latest_version.id in versions]
    """
    assert python_2(code) == ["hello", True, ["hello"], "hello", True]


def test_a_model_is_made_changed_and_deleted(python_2):
    code = """
        names = {"model_owner": "acme", "model_name": "new2"}
        made = replicate.models.create(owner="acme", name="new2", visibility="private", hardware="cpu")
        changed = replicate.models.update(**names, description="Changed", readme="# Read me")
        readme = replicate.models.readme.get(**names)
        replicate.models.delete(**names)
        try:
            replicate.models.get(**names)
        except replicate.NotFoundError:
            return [made.description, changed.description, readme]
    """
    assert python_2(code) == [None, "Changed", "# Read me"]


def test_a_deployment_is_made_changed_and_listed(python_2, platform):
    code = """
        names = {"deployment_owner": "acme", "deployment_name": "py2"}
        made = replicate.deployments.create(
            name="py2", model="acme/hello", version=version, hardware="cpu", min_instances=0, max_instances=1
        )
        prediction = replicate.deployments.predictions.create(**names, input={"text": "you"}, prefer="wait")
        changed = replicate.deployments.update(**names, max_instances=2)
        listed = [each.name for each in replicate.deployments.list()]
        number = changed.current_release.number
        return [made.current_release.number, prediction.output, prediction.deployment, number, "py2" in listed]
    """
    assert python_2(code, version=platform.version("hello")) == [1, "hello you", "acme/py2", 2, True]


def test_a_training_is_made_and_listed(python_2, platform):
    code = """
        import time
        replicate.models.create(owner="acme", name="tuned2", visibility="private", hardware="cpu")
        training = replicate.trainings.create(
            model_owner="acme", model_name="hello", version_id=version, destination="acme/tuned2", input={"greeting": "hi"}
        )
        while training.status not in ("succeeded", "failed", "canceled"):
            training = replicate.trainings.get(training_id=training.id)
        listed = [each.id for each in replicate.trainings.list()]
        return [training.status, training.id in listed, replicate.use("acme/tuned2")(text="you")]
    """
    assert python_2(code, version=platform.version("hello")) == ["succeeded", True, "hi you"]


def test_account_hardware_and_collections(python_2):
    code = """
        skus = [each.sku for each in replicate.hardware.list()]
        slugs = [each.slug for each in replicate.collections.list()]
        return [replicate.account.get().username, skus[0], slugs, replicate.collections.get(collection_slug="acme").name]
    """
    assert python_2(code) == ["acme", "cpu", ["acme"], "acme"]


def test_webhooks_can_be_verified_with_the_secret(python_2, platform, receiver):
    code = """
        replicate.predictions.create(version=version, input={"text": "you"}, webhook=url)
        return replicate.webhooks.default.secret.get().key
    """
    key = python_2(code, version=platform.version("hello"), url=receiver.url)
    assert key.startswith("whsec_")
    assert receiver.until("succeeded")[-1]["prediction"]["output"] == "hello you"


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ('replicate.Replicate(bearer_token="dt_wrong").models.list()', "AuthenticationError", 401),
        ('replicate.models.get(model_owner="acme", model_name="nothing")', "NotFoundError", 404),
        ('replicate.run("acme/hello", input={"text": ["a"]})', "UnprocessableEntityError", 422),
        ('replicate.predictions.create(version="x", input={})', "UnprocessableEntityError", 422),
    ],
)
def test_errors_are_of_the_right_kind(python_2, code, kind, status):
    with pytest.raises(ClientError) as caught:
        python_2(f"return {code}")
    assert (caught.value.type, caught.value.status) == (kind, status)


def test_a_base_url_without_the_version_in_it_works_too(python_2, platform):
    """The two Python clients read the same variable, and want different things in it."""
    code = 'return replicate.Replicate(base_url=url).run("acme/hello", input={"text": "you"})'
    assert python_2(code, url=platform.url) == "hello you"
