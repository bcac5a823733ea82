"""The reasoner ``openai`` against servers that behave well, in lesser ways, and badly, over real HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
from fake_openai import EXPLANATION, KEY, MODEL, Fake, likings, names_of, pictures, running, text_of
from test_reasoning import named, request_of

from core.errors import ModelUnavailable
from core.reasoners import _streaming, create_reasoner, memory_note, missing, prompt_format
from core.reasoners.openai import OpenAIReasoner
from core.reasoning import ask
from core.settings import PipelineSettings
from core.types import Answer, Status

REQUEST = request_of()
NAMES = [c.name for c in REQUEST.classes]
_unique = count()
Make = Callable[..., OpenAIReasoner]


@pytest.fixture(scope="module")
def server() -> Iterator[Fake]:
    with running() as fake:
        yield fake


@pytest.fixture
def make(server: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A reasoner for a server that behaves so and that nobody has asked before."""
    made = []
    server.bodies.clear(), server.asked.clear(), server.keys.clear()

    def one(behaviour: str, *, timeout: float = 5.0, model: str | None = MODEL, **settings: object) -> OpenAIReasoner:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url(behaviour, str(next(_unique))))
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("RAGVISION_OPENAI_TIMEOUT", str(timeout))
        if model is not None:
            monkeypatch.setenv("RAGVISION_OPENAI_MODEL", model)
        reasoner = create_reasoner("openai", PipelineSettings(reasoner="openai", **settings))  # type: ignore[arg-type]
        assert isinstance(reasoner, OpenAIReasoner)
        made.append(reasoner)
        return reasoner

    yield one
    for reasoner in made:
        reasoner.close()


def why_not(answer: Answer) -> str:
    """The reason of a failure, which never has a flag."""
    assert (answer.status, answer.flag, answer.class_probabilities) == (Status.FAILED, None, None), answer
    assert answer.reason.endswith((".", "?")) and KEY not in repr(answer)
    return answer.reason


# --------------------------------------------------------------------------- a server that has everything
def test_flag_probabilities_and_explanation_of_a_server_that_has_everything(make: Make) -> None:
    reasoner = make("good", swap_options=False)
    answer = reasoner.reason(REQUEST)
    expected = dict(zip((c.id for c in REQUEST.classes), likings(NAMES), strict=True))
    assert answer.status is Status.OK and answer.class_probabilities == pytest.approx(expected)
    assert answer.flag == max(expected, key=lambda c: expected[c])
    assert (answer.explanation, answer.cited_evidence, answer.dropped_citations) == (EXPLANATION, (1,), 1)
    assert "Option letters: A 0." in answer.transcript and "(90.0% of all probability)" in answer.transcript
    assert "Asked for a letter by structured outputs." in answer.transcript and EXPLANATION in answer.transcript
    assert reasoner.note == "" and reasoner.slow is True and len(reasoner.prompt_version) == 12


def test_both_orders_of_the_classes_are_averaged(make: Make) -> None:
    request = request_of(named("b", "oak", "clean"))
    names = [c.name for c in request.classes]
    there, back = likings(names), likings(names[::-1])[::-1]
    assert there != pytest.approx(back), "the order must matter, or this proves nothing"
    answer = make("good").reason(request)
    mean = [(a + b) / 2 for a, b in zip(there, back, strict=True)]
    assert list((answer.class_probabilities or {}).values()) == pytest.approx(mean)


def test_the_pictures_are_sent_inline_in_their_places(make: Make, server: Fake) -> None:
    make("good", swap_options=False).reason(REQUEST)
    *probes, flag, explanation = server.bodies["good"]
    assert [len(pictures(p)) for p in probes] == [0, 1]
    shown = pictures(flag)
    assert [p.getpixel((5, 5))[0] > 150 for p in shown] == [True, False, False]  # red, blue, the grey query
    assert text_of(flag).index("E1: of") < text_of(flag).index("[picture]") < text_of(flag).index("E2: of")
    assert names_of(flag) == NAMES and flag["messages"] == explanation["messages"][:2]
    assert explanation["max_tokens"] == 128 and explanation["temperature"] == 0.2 and explanation["top_p"] == 0.9
    assert "logprobs" not in explanation and explanation["messages"][2]["role"] == "assistant"


def test_the_explanation_is_streamed_to_whoever_listens(
    make: Make, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_streaming, "_LEAST", 0.0)
    told: list[str] = []
    answer = make("good").reason(replace(REQUEST, on_text=told.append))
    assert server.bodies["good"][-1]["stream"] is True
    assert len(told) >= 5 and told[-1] == answer.explanation == EXPLANATION
    assert all(EXPLANATION.startswith(so_far) for so_far in told)

    def broken(text: str) -> None:
        raise RuntimeError("the page is gone")

    assert make("good").reason(replace(REQUEST, on_text=broken)).explanation == EXPLANATION
    assert make("unstreamed").reason(replace(REQUEST, on_text=told.append)).explanation == EXPLANATION


def test_a_batch_is_asked_several_at_a_time_and_never_more(
    make: Make, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGVISION_OPENAI_CONCURRENCY", "3")
    server.most_at_once = 0
    reasoner = make("good")
    requests = [request_of(named("b", chr(0x100 + 9 * i))) for i in range(12)]
    together = reasoner.reason_batch(requests)
    assert 2 <= server.most_at_once <= 3
    assert [a.flag for a in together] == [reasoner.reason(r).flag for r in requests]
    assert len({a.flag for a in together}) == 2


def test_classes_that_come_out_equal_are_an_abstention_and_nothing_is_explained(make: Make, server: Fake) -> None:
    answer = make("good").reason(request_of(named("ab", "ba")))  # the same liking, each first once
    assert (answer.flag, answer.status) == (None, Status.OK) and "not tell" in answer.explanation
    assert all(len(body["messages"]) < 4 for body in server.bodies["good"])


def test_more_classes_than_letters(make: Make) -> None:
    """Servers send twenty log-probabilities: letters beyond them count as nothing."""
    answer = make("good").reason(request_of(named(*(chr(0x100 + i) for i in range(30)))))
    assert answer.status is Status.OK and answer.flag in range(14, 40)
    assert len(answer.class_probabilities or {}) == 26 and "26 classes with the highest scores" in answer.explanation


def test_without_scores_nobody_is_asked(make: Make, server: Fake) -> None:
    assert make("good").reason(replace(REQUEST, scores=())).status is Status.NO_SUGGESTION
    assert not server.asked


# --------------------------------------------------------------------------- servers that lack something
@pytest.mark.parametrize(("behaviour", "words"), [("old-vllm", "guided choice"), ("letters", "Asked for a letter.")])
def test_a_server_without_structured_outputs_still_gives_probabilities(
    make: Make, server: Fake, behaviour: str, words: str
) -> None:
    reasoner = make(behaviour, swap_options=False)
    answer = reasoner.reason(REQUEST)
    assert list((answer.class_probabilities or {}).values()) == pytest.approx(likings(NAMES))
    assert words in answer.transcript and answer.explanation == EXPLANATION and reasoner.note == ""
    first = server.asked[behaviour]
    assert reasoner.reason(REQUEST) == answer
    assert server.asked[behaviour] == first + 2, "what it lacks is remembered: a flag and an explanation"


@pytest.mark.parametrize("behaviour", ["no-logprobs", "plain"])
def test_a_server_without_log_probabilities_is_asked_for_json_and_that_is_said(
    make: Make, server: Fake, behaviour: str
) -> None:
    reasoner = make(behaviour)
    answer = reasoner.reason(REQUEST)
    assert (answer.flag, answer.status, answer.class_probabilities) == (11, Status.OK, None)
    assert (answer.explanation, answer.cited_evidence, answer.dropped_citations) == (EXPLANATION, (2, 1), 1)
    assert "gives no probabilities for the classes" in reasoner.note and "flag is read from its text" in reasoner.note
    assert "Asked in vain: a letter by structured outputs (" in answer.transcript
    body = server.bodies[behaviour][-1]
    assert ("response_format" in body) is (behaviour == "no-logprobs")
    assert body["temperature"] == 0 and "JSON object" in text_of(body)
    first = server.asked[behaviour]
    again = reasoner.reason(REQUEST)
    assert server.asked[behaviour] == first + 1 and again.flag == 11 and reasoner.note in again.transcript


def test_log_probabilities_that_no_float_holds_are_none(make: Make) -> None:
    answer = make("huge-numbers").reason(REQUEST)
    assert (answer.flag, answer.status, answer.class_probabilities) == (11, Status.OK, None)


def test_the_explanation_inside_an_unfinished_object_is_streamed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_streaming, "_LEAST", 0.0)
    told: list[str] = []
    answer = make("no-logprobs").reason(replace(REQUEST, on_text=told.append))
    assert answer.flag == 11 and len(told) >= 3
    assert all(EXPLANATION.startswith(so_far) for so_far in told) and told[-1] == EXPLANATION


def test_pictures_that_are_dropped_are_a_failure_and_are_looked_for_once(make: Make, server: Fake) -> None:
    reasoner = make("blind")
    assert "drops pictures" in why_not(reasoner.reason(REQUEST))
    assert server.asked["blind"] == 2
    assert "drops pictures" in why_not(reasoner.reason(REQUEST)) and server.asked["blind"] == 2


def test_a_server_that_counts_no_tokens_is_believed_and_that_is_said(make: Make) -> None:
    answer = make("uncounted").reason(REQUEST)
    assert answer.status is Status.OK and "could not be checked" in answer.transcript


# --------------------------------------------------------------------------- servers that behave badly
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("500", "failed (500): out of memory"),
        ("half-json", "damaged or cut off"),
        ("html", "a web page instead of JSON"),
        ("html-as-json", "damaged or cut off"),
        ("html-502", "failed (502)."),
        ("no-choices", "no completion"),
        ("a-list", "no completion"),
        ("odd-types", "no completion"),
        ("error-in-200", "the engine is dead"),
        ("deep", "damaged or cut off"),
        ("empty", "answered nothing"),
        ("wrong-class", "none of the classes"),
        ("refusal", "refused to answer: I cannot help"),
        ("tool-call", "called a tool"),
        ("huge", "far more than an answer has"),
        ("gzip-bomb", "compressed"),
        ("redirect", "sends elsewhere (307)"),
        ("wrong-key", "refused the key in OPENAI_API_KEY (401)"),
        ("no-such-model", "no such address or no model 'acme/tiny-vlm' (404)"),
    ],
)
def test_whatever_a_server_does_is_a_failure_with_its_reason(
    make: Make, server: Fake, monkeypatch: pytest.MonkeyPatch, behaviour: str, words: str
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    reasoner = make(behaviour)
    for request in (REQUEST, replace(REQUEST, on_text=lambda text: None)):
        assert words in why_not(reasoner.reason(request))
    assert server.asked["good"] == 0, "a redirection is not followed"


@pytest.mark.parametrize("behaviour", ["hang", "drip", "dripping-headers"])
def test_a_server_that_never_ends_is_left_at_the_deadline(make: Make, behaviour: str) -> None:
    reasoner, began = make(behaviour, timeout=0.4), time.monotonic()
    assert "did not answer within 0.4 s" in why_not(reasoner.reason(REQUEST))
    assert time.monotonic() - began < 5  # it would drip for 20


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("slow-stream", "did not answer within 1 s"),
        ("stalled-stream", "did not answer within 1 s"),
        ("dropped-stream", "cannot be reached"),
        ("unfinished-stream", "broke off in the middle"),
        ("stream-of-nonsense", "cannot be read"),
        ("error-in-stream", "the engine died"),
        ("explains-badly", "failed (500)"),
    ],
)
def test_a_flag_stands_where_its_explanation_fails(
    make: Make, monkeypatch: pytest.MonkeyPatch, behaviour: str, words: str
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    reasoner, began = make(behaviour, timeout=1.0, swap_options=False), time.monotonic()
    answer = reasoner.reason(replace(REQUEST, on_text=lambda text: None))
    assert answer.status is Status.OK and answer.flag is not None and answer.class_probabilities is not None
    assert answer.explanation.startswith("No explanation: ") and words in answer.explanation
    assert time.monotonic() - began < 10  # the stalled one would go on for 20


def test_a_server_that_nobody_runs_is_a_failing_answer_and_not_a_failing_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("good")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    reasoner = create_reasoner("openai", PipelineSettings())
    assert reasoner.id == f"openai {MODEL} at 127.0.0.1:9"
    assert "127.0.0.1:9 cannot be reached" in why_not(reasoner.reason(REQUEST))


def test_a_query_that_cannot_be_read_is_not_sent(make: Make, server: Fake) -> None:
    def gone() -> object:
        raise OSError("The file is gone.")

    bad = replace(REQUEST, query=replace(REQUEST.query, load=gone))  # type: ignore[arg-type]
    first, second = make("good").reason_batch([bad, REQUEST])
    assert why_not(first) == "The file is gone."
    assert second.status is Status.OK


# --------------------------------------------------------------------------- trying again, and leaving alone
def test_a_failure_that_passes_is_tried_again(make: Make, server: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    assert make("once-500").reason(REQUEST).status is Status.OK


def test_a_busy_server_is_asked_again_when_it_said(make: Make, server: Fake) -> None:
    began = time.monotonic()
    assert make("busy").reason(REQUEST).status is Status.OK
    assert time.monotonic() - began >= 0.3


def test_a_wait_beyond_the_deadline_is_not_waited_for(make: Make, server: Fake) -> None:
    assert "is busy (429, asks to wait 60 s): slow down" in why_not(make("busy-for-long", timeout=2).reason(REQUEST))
    assert server.asked["busy-for-long"] == 1


def test_a_server_that_fails_again_and_again_is_left_alone_and_comes_back(
    make: Make, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    server.well.clear()
    reasoner = make("recovering")
    clock = [100.0]
    monkeypatch.setattr(reasoner._server._breaker, "_clock", lambda: clock[0])
    for _ in range(5):
        assert "failed (500)" in why_not(reasoner.reason(REQUEST))
    asked = server.asked["recovering"]
    told = why_not(reasoner.reason(REQUEST))
    assert "failed 5 times in a row and is left alone for 10 s. " in told and "out of memory" in told
    server.well.set()
    clock[0] += 9.5
    assert "left alone" in why_not(reasoner.reason(REQUEST)) and server.asked["recovering"] == asked
    clock[0] += 1
    assert reasoner.reason(REQUEST).status is Status.OK


def test_what_is_known_of_a_server_is_shared_by_its_reasoners(make: Make, server: Fake) -> None:
    first = make("no-logprobs")
    first.reason(REQUEST)
    second = create_reasoner("openai", PipelineSettings(temperature=1.0))
    asked = server.asked["no-logprobs"]
    assert second.reason(REQUEST).flag == 11 and server.asked["no-logprobs"] == asked + 1
    assert getattr(second, "note", "") == first.note != ""


def test_a_closed_reasoner_opens_its_connections_again(make: Make) -> None:
    reasoner = make("good")
    assert [a.status for a in reasoner.reason_batch([REQUEST] * 2)] == [Status.OK] * 2
    reasoner.close(), reasoner.close()
    assert [a.status for a in reasoner.reason_batch([REQUEST] * 2)] == [Status.OK] * 2
    reasoner.close()


def test_closing_waits_for_no_answer_and_is_no_failure_of_the_server(make: Make, server: Fake) -> None:
    reasoner, began = make("hang", timeout=60.0), time.monotonic()
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.extend(reasoner.reason_batch([REQUEST] * 8)))
    thread.start()
    while server.asked["hang"] < 1:
        time.sleep(0.01)
    reasoner.close()
    thread.join(20)
    assert not thread.is_alive() and time.monotonic() - began < 20  # it would hang for 30
    assert [answer.status for answer in answers] == [Status.FAILED] * 8
    assert reasoner._server._breaker.failures == 0


def test_closing_one_reasoner_leaves_the_connections_of_another(make: Make) -> None:
    first = make("good")
    second = create_reasoner("openai", PipelineSettings(temperature=1.0))
    assert isinstance(second, OpenAIReasoner)
    assert first.reason(REQUEST).status is second.reason(REQUEST).status is Status.OK
    client = first._server._client
    first.close(), first.close()
    assert second._server._client is client is not None and not client.is_closed()
    second.close()
    assert client.is_closed()


# --------------------------------------------------------------------------- which server, which model
def test_the_only_model_of_the_server_is_taken(make: Make, server: Fake) -> None:
    reasoner = make("good", model=None)
    assert reasoner.id.startswith("openai at 127.0.0.1:")
    assert reasoner.reason(REQUEST).status is Status.OK
    assert reasoner.id == f"openai {MODEL} at 127.0.0.1:{server.server_address[1]}"


@pytest.mark.parametrize(
    ("behaviour", "words"), [("two-models", "It has: one/vlm, two/vlm."), ("no-models", "It lists none.")]
)
def test_of_several_models_one_has_to_be_chosen(make: Make, behaviour: str, words: str) -> None:
    reason = why_not(make(behaviour, model=None).reason(REQUEST))
    assert words in reason and "reasoner_model or RAGVISION_OPENAI_MODEL" in reason


def test_the_setting_goes_before_the_variable(make: Make, server: Fake) -> None:
    reasoner = make("two-models", model="one/vlm", reasoner_model=MODEL)
    assert reasoner.reason(REQUEST).status is Status.OK and reasoner.id.startswith(f"openai {MODEL} at ")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OPENAI_BASE_URL", "", "set OPENAI_BASE_URL, for example"),
        ("OPENAI_BASE_URL", "localhost:8000", "no address such as"),
        ("OPENAI_BASE_URL", "ftp://host/v1", "no address such as"),
        ("OPENAI_BASE_URL", "http://host:port/v1", "no address such as"),
        ("OPENAI_BASE_URL", f"http://me:{KEY}@host/v1", "Put the key into OPENAI_API_KEY"),
        ("OPENAI_BASE_URL", f"http://host/v1?key={KEY}", "after ? or #"),
        ("OPENAI_API_KEY", "two\nlines", "Copy the key again"),
        ("OPENAI_API_KEY", "schlüssel", "Copy the key again"),
        ("RAGVISION_OPENAI_TIMEOUT", "0", "between 0.1 and 3600"),
        ("RAGVISION_OPENAI_TIMEOUT", "nan", "number of seconds"),
        ("RAGVISION_OPENAI_CONCURRENCY", "2.5", "between 1 and 64"),
        ("RAGVISION_OPENAI_CONCURRENCY", "1000", "between 1 and 64"),
    ],
)
def test_a_variable_that_cannot_be_is_named_before_anything_is_asked(
    make: Make, server: Fake, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    make("good")
    monkeypatch.setenv(name, value)
    with pytest.raises(ModelUnavailable) as told:
        create_reasoner("openai", PipelineSettings())
    assert words in str(told.value) and KEY not in str(told.value)
    assert words in memory_note("openai", PipelineSettings()) and not server.asked


def test_where_the_pictures_go_is_said_before_one_is_sent(make: Make, server: Fake) -> None:
    make("good")
    said = memory_note("openai", PipelineSettings())
    assert said == f"{MODEL} at 127.0.0.1:{server.server_address[1]} is sent the pictures; nothing is loaded here."
    assert not server.asked


def test_a_preview_shows_the_form_that_the_server_is_asked_in(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    reasoner = make("no-logprobs")
    assert prompt_format("openai", PipelineSettings()).forms == ("letter", "json")
    reasoner.reason(REQUEST)
    reading = prompt_format("openai", PipelineSettings())
    assert reading.forms == ("json", "letter") and reading.note and not reading.visual_exact
    assert missing("openai", PipelineSettings()) == ""
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert prompt_format("openai", PipelineSettings()).forms == ("letter", "json")
    assert "set OPENAI_BASE_URL" in missing("openai", PipelineSettings())


def test_a_folder_is_shown_by_its_own_name(make: Make) -> None:
    assert make("good", reasoner_model="/secret/place/qwen2-vl/").id.startswith("openai qwen2-vl at ")


# --------------------------------------------------------------------------- the key
def test_the_key_is_sent_and_shown_nowhere(
    make: Make, server: Fake, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(_streaming, "_LEAST", 0.0)
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    shown: list[str] = []
    for behaviour in ("echo", "500", "wrong-key", "good", "error-in-stream", "half-json"):
        reasoner = make(behaviour)
        request = replace(REQUEST, on_text=told.append)
        answers = [reasoner.reason(request), *ask(reasoner, [request, REQUEST])]
        shown += [repr(answers), repr(reasoner), reasoner.id, reasoner.note, repr(reasoner._server.at)]
        shown.append(reasoner._server._last_failure)
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in "".join(shown) and KEY not in caplog.text
    assert "(key)" in "".join(shown), "the server echoed it, or this proves nothing"
    assert not any(KEY[:4] in text for text in told), "nor a part of it, while it is written"
    assert any(text.startswith("Mud. (key)") for text in told)
