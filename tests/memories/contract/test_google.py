"""Google's API on the wire, spoken by both of its client libraries."""

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from memories import embeddings
from memories.embeddings import EmbeddingError, NotFiniteError, WrongCountError, WrongDimensionsError
from outbox.exceptions import Reject, Unavailable
from tests.support.free_port import free_port
from tests.support.google_api import GoogleAPI

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


@pytest.fixture(autouse=True, params=["google", "google-genai"])
def backend(request: pytest.FixtureRequest, google: GoogleAPI, settings: Settings) -> None:
    settings.EMBEDDING_BACKEND = request.param
    settings.EMBEDDING_MODEL = ""
    settings.EMBEDDING_DIMENSIONS = 96


def task_types(google: GoogleAPI) -> set[object]:
    """As names; google-generativeai sends the enumeration's numbers."""
    sent = {one["taskType"] for request in google.requests for one in request["requests"]}
    return {{1: "RETRIEVAL_QUERY", 2: "RETRIEVAL_DOCUMENT"}.get(task, task) for task in sent}


def test_texts_go_out_a_hundred_at_a_time_and_come_back_in_order(google: GoogleAPI) -> None:
    texts = [f"text {number}" for number in range(250)]
    vectors = embeddings.embed_documents(texts)
    assert [len(request["requests"]) for request in google.requests] == [100, 100, 50]
    google.requests.clear()
    assert np.allclose(vectors[[0, 137, 249]], embeddings.embed_documents([texts[0], texts[137], texts[249]]))


def test_a_request_carries_key_model_dimensions_and_task(google: GoogleAPI) -> None:
    embeddings.embed_documents(["one"])
    assert google.keys == ["a-key"]
    assert "/models/gemini-embedding-2:batchEmbedContents" in google.requests[0]["path"]
    assert google.requests[0]["requests"][0]["model"] == "models/gemini-embedding-2"
    assert google.requests[0]["requests"][0]["outputDimensionality"] == 96
    assert task_types(google) == {"RETRIEVAL_DOCUMENT"}


def test_a_query_goes_out_as_a_query(google: GoogleAPI) -> None:
    embeddings.embed_query("one")
    assert task_types(google) == {"RETRIEVAL_QUERY"}


def test_gemini_embedding_2_reads_its_task_from_the_text(google: GoogleAPI) -> None:
    embeddings.embed_documents(["with {braces}"])
    embeddings.embed_query("one")
    assert google.texts == ["title: none | text: with {braces}", "task: search result | query: one"]


def test_gemini_embedding_001_gets_the_text_as_it_is(google: GoogleAPI, settings: Settings) -> None:
    settings.EMBEDDING_MODEL = "models/gemini-embedding-001"
    embeddings.embed_documents(["one"])
    assert embeddings.get_backend().model == "gemini-embedding-001"
    assert google.texts == ["one"]
    assert google.requests[0]["requests"][0]["model"] == "models/gemini-embedding-001"


def test_a_used_up_quota_waits_as_long_as_google_says(google: GoogleAPI) -> None:
    google.fails_with(429, "Quota exceeded", details=[RETRY_INFO])
    with pytest.raises(
        Unavailable, match=r"embedder is unavailable: .*Quota exceeded \(HTTP 429\)"
    ) as caught:
        embeddings.embed_documents(["one", "two"])
    assert caught.value.dependency == "embedder"
    assert caught.value.retry_after == 34.07


@pytest.mark.parametrize("status", [429, 503])
def test_without_retry_info_the_header_counts(google: GoogleAPI, status: int) -> None:
    google.fails_with(status, "Later", headers={"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        embeddings.embed_query("one")
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_busy_google_is_asked_once_and_not_waited_for(google: GoogleAPI, status: int) -> None:
    google.fails_with(status, "The model is overloaded")
    with pytest.raises(Unavailable, match="The model is overloaded") as caught:
        embeddings.embed_documents(["one"])
    assert caught.value.retry_after is None
    assert len(google.requests) == 1


@pytest.mark.parametrize(
    ("status", "message", "setting"),
    [
        (400, "API key not valid. Please pass a valid API key.", "GOOGLE_API_KEY"),
        (400, "API key expired. Please renew the API key.", "GOOGLE_API_KEY"),
        (401, "Request had invalid authentication credentials.", "GOOGLE_API_KEY"),
        (403, "Generative Language API has not been used in project 1 before", "GOOGLE_API_KEY"),
        (404, "models/gemini-embedding-2 is not found for API version v1beta", "EMBEDDING_MODEL"),
        (400, "Output dimensionality must be between 1 and 3072.", "EMBEDDING_DIMENSIONS"),
        (400, "User location is not supported for the API use.", "GOOGLE_API_ENDPOINT"),
    ],
)
def test_what_a_person_must_mend_waits_and_names_the_setting(
    google: GoogleAPI, status: int, message: str, setting: str
) -> None:
    google.fails_with(status, message)
    with pytest.raises(Unavailable) as caught:
        embeddings.embed_documents(["one"])
    assert setting in caught.value.reason
    assert message in caught.value.reason


def test_a_bad_key_is_known_by_its_reason_too(google: GoogleAPI) -> None:
    google.fails_with(400, "Bad", details=[BAD_KEY])
    with pytest.raises(Unavailable, match="check GOOGLE_API_KEY"):
        embeddings.embed_documents(["one"])


def test_a_text_that_google_refuses_is_given_up(google: GoogleAPI) -> None:
    google.fails_with(400, "Unable to process the input")
    with pytest.raises(Reject, match="Google cannot embed this text: Unable to process the input"):
        embeddings.embed_documents(["one"])


def test_a_batch_that_google_refuses_is_an_error_so_that_each_text_gets_its_own_try(
    google: GoogleAPI,
) -> None:
    google.fails_with(400, "Unable to process the input")
    with pytest.raises(EmbeddingError, match="asked for 2 embeddings: Unable to process the input"):
        embeddings.embed_documents(["one", "two"])


def test_an_internal_error_of_google_is_an_error_that_counts(google: GoogleAPI) -> None:
    google.fails_with(500, "An internal error has occurred.")
    with pytest.raises(EmbeddingError, match="HTTP 500"):
        embeddings.embed_documents(["one"])


def test_a_google_that_refuses_connections_is_unavailable(settings: Settings) -> None:
    settings.GOOGLE_API_ENDPOINT = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=f"{settings.GOOGLE_API_ENDPOINT} does not answer"):
        embeddings.embed_documents(["one"])


def test_a_google_that_does_not_answer_in_time_is_unavailable(google: GoogleAPI, settings: Settings) -> None:
    settings.EMBEDDING_TIMEOUT_SECONDS = 0.2
    google.may_answer.clear()
    with pytest.raises(Unavailable, match=r"does not answer: .*[Tt]ime"):
        embeddings.embed_documents(["one"])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count_is_told(google: GoogleAPI, count: int) -> None:
    google.answers_with({"embeddings": [{"values": [0.5] * 96}] * count})
    with pytest.raises(WrongCountError, match=f"asked for 2 vectors, got {count}"):
        embeddings.embed_documents(["one", "two"])


def test_wrong_dimensions_are_told(google: GoogleAPI) -> None:
    google.answers_with({"embeddings": [{"values": [0.5] * 3072}]})
    with pytest.raises(WrongDimensionsError, match="vectors of 3072 dimensions instead of 96"):
        embeddings.embed_documents(["one"])


@pytest.mark.parametrize("value", ["NaN", "Infinity", 0])
def test_a_vector_without_direction_is_told(google: GoogleAPI, value: object) -> None:
    google.answers_with({"embeddings": [{"values": [value] * 96}]})
    with pytest.raises(NotFiniteError):
        embeddings.embed_documents(["one"])


def test_a_long_text_is_cut_to_what_the_model_reads_and_marked(google: GoogleAPI, settings: Settings) -> None:
    settings.EMBEDDING_MODEL = "gemini-embedding-001"
    text = "1234 " * 1000
    embeddings.embed_documents([text])
    assert google.texts == [("1234 " * 508).rstrip()]
    assert embeddings.is_truncated(text)
    assert not embeddings.is_truncated("1234 " * 500)


def test_without_a_key_the_embedder_waits_for_one(settings: Settings) -> None:
    settings.GOOGLE_API_KEY = ""
    settings.EMBEDDING_DIMENSIONS = 97  # a backend not made before
    with pytest.raises(ImproperlyConfigured, match="GOOGLE_API_KEY is empty: set it"):
        embeddings.get_backend()
    with pytest.raises(Unavailable, match="GOOGLE_API_KEY is empty: set it"):
        embeddings.embed_query("one")


def test_the_key_is_not_told_in_an_error(google: GoogleAPI, settings: Settings) -> None:
    settings.GOOGLE_API_KEY = "secret-key-4711"
    for status in (400, 403, 429, 500):
        google.fails_with(status, "Some words")
        with pytest.raises((Unavailable, Reject, EmbeddingError)) as caught:
            embeddings.embed_documents(["one"])
        assert "secret-key-4711" not in str(caught.value)
