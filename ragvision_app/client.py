"""A small client of the HTTP API. It needs httpx and nothing else of this project.

::

    from ragvision_app.client import Client

    with Client("http://127.0.0.1:8501", token="…") as workbench:
        workbench.upload_support_images({"clean": ["a.jpg", "b.jpg"], "dirty": ["c.jpg", "d.jpg"]})
        answer = workbench.run_rag_inference(encoded_image=encode_image("query.jpg"))
        print(answer["flag"], answer["classScores"], answer["explanation"])

What a server refuses is raised with the server's own sentence::

    ApiError            .status, .code, .body; str(error) is the sentence
    ├── Refused         the request cannot be answered as it is (4xx)
    │   └── TooBusy     as many wait as may, also after the retries (429); .retry_after in seconds
    ├── ReasonerFailed  the model gave no usable answer (502); .body has scores and evidence
    └── Unavailable     the server is not there, not ready or failed (other 5xx); .status is None without an answer
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8501"
TIMEOUT = 150.0  # seconds; the server itself gives up after 120
RETRIES = 8
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever Retry-After says
File = str | Path | tuple[str, bytes]
"""A path, or a name and the bytes."""


class ApiError(Exception):
    """What the server answered instead; ``body`` is its JSON where it was some."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "", body: Any = None) -> None:
        self.status, self.code, self.body = status, code, body
        super().__init__(message)


class Refused(ApiError):
    """The request cannot be answered as it is."""


class TooBusy(Refused):
    """As many wait already as may; ``retry_after`` is in seconds."""

    retry_after: float = 1.0


class ReasonerFailed(ApiError):
    """The model gave no usable answer; ``body`` has the scores and the evidence."""


class Unavailable(ApiError):
    """The server is not there, not ready, or failed."""


def encode_image(image: str | Path | bytes) -> str:
    """An image file as base64, as ``run_rag_inference`` takes it."""
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    return base64.b64encode(data).decode("ascii")


class Client:
    """One connection to a workbench. ``base_url`` with or without ``/api``; ``timeout`` in seconds.

    Only 429 is tried again, ``retries`` times at most, after the seconds that the server asks for. Every method
    raises an :class:`ApiError`.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        token: str | None = None,
        timeout: float = TIMEOUT,
        *,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base = base_url.rstrip("/")
        self._retries = retries
        self._http = httpx.Client(
            base_url=base if base.endswith("/api") else f"{base}/api",
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=timeout,
            transport=transport,
        )

    def close(self) -> None:
        """Closes the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the reference system's three
    def healthcheck(self) -> dict[str, Any]:
        """``{"status": "ok"}`` where the process answers."""
        return self._json("GET", "/ragvision/healthcheck")

    def upload_support_image(
        self, file: File, class_name: str, *, classes: Iterable[str] = (), index: int | None = None
    ) -> dict[str, Any]:
        """Makes an image an example of a class; classes that are missing are made, in their order."""
        name, data = _named(file)
        fields = {"className": class_name}
        if wanted := list(classes):
            fields["classes"] = json.dumps(wanted)
        if index is not None:
            fields["index"] = str(index)
        return self._json("POST", "/support/upload/image", data=fields, files={"file": (name, data)})

    def upload_support_images(self, by_class: Mapping[str, Iterable[File]]) -> list[dict[str, Any]]:
        """Class name → files; the classes are made in this order. Sent twice, nothing changes."""
        classes = list(by_class)
        files = [(name, file) for name, given in by_class.items() for file in given]
        return [
            self.upload_support_image(file, name, classes=classes, index=index)
            for index, (name, file) in enumerate(files)
        ]

    def run_rag_inference(
        self,
        system_prompt: str | None = None,
        user_prompt: str | None = None,
        encoded_image: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        k_retrieval: int | None = None,
        max_patches_per_class: int | None = None,
        max_new_tokens: int | None = None,
        input_resolution: int | None = None,
        support_res: int | None = None,
        support_patch_size: int | None = None,
    ) -> dict[str, Any]:
        """Classifies one image; what is None is as the project's settings have it.

        Returns ``flag`` (None: abstained), ``explanation``, ``classScores``, ``evidence`` and more; see
        ``/api/docs``. Raises ReasonerFailed where the model failed: a failure is never a flag.
        """
        given = {
            "encodedImage": encoded_image,
            "systemPrompt": system_prompt,
            "userPrompt": user_prompt,
            "temperature": temperature,
            "topP": top_p,
            "kRetrieval": k_retrieval,
            "maxPatchesPerClass": max_patches_per_class,
            "maxNewTokens": max_new_tokens,
            "inputResolution": input_resolution,
            "supportRes": support_res,
            "supportPatchSize": support_patch_size,
        }
        body = {name: value for name, value in given.items() if value is not None}
        return self._json("POST", "/ragvision/invocations", json=body)

    # ------------------------------------------------------------------ ours
    def readiness(self) -> dict[str, Any]:
        """Project, worker, encoder and reasoner."""
        return self._json("GET", "/readiness")

    def classes(self) -> list[dict[str, Any]]:
        """The classes in use, in their order."""
        return self._list("GET", "/classes", "classes")

    def add_class(self, name: str, description: str = "") -> dict[str, Any]:
        """Makes a class."""
        return self._json("POST", "/classes", json={"name": name, "description": description})

    def support(self) -> list[dict[str, Any]]:
        """The examples in force."""
        return self._list("GET", "/support", "support")

    def remove_support(self, support_id: int) -> dict[str, Any]:
        """Takes one example out of the support set."""
        return self._json("DELETE", f"/support/{support_id:d}")

    def upload_image(self, file: File) -> dict[str, Any]:
        """Brings one image into the queue."""
        return self._json("POST", "/images", files={"file": _named(file)})

    def queue(self, annotator: str, limit: int = 30, **more: Any) -> list[dict[str, Any]]:
        """The next images for this annotator, with their suggestions; ``order`` and ``have`` as the API has them."""
        return self._list("POST", "/queue", "items", json={"annotator": annotator, "limit": limit, **more})

    def decide(
        self, image: str, kind: str, annotator: str, *, id: str | None = None, made_at: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Stores one decision (accept, correct, skip, unsure, undo, note), once: the same ``id`` is one decision.

        ``more`` are the other fields of the API, ``class_id`` for one.
        """
        body = {
            "id": id or str(uuid.uuid4()),
            "kind": kind,
            "image": image,
            "annotator": annotator,
            "made_at": made_at or datetime.now(UTC).isoformat(),
            **more,
        }
        return self._json("POST", "/decisions", json=body)

    def labels(self, annotator: str | None = None) -> list[dict[str, Any]]:
        """The labels in force, of one annotator or of all."""
        return self._list("GET", "/labels", "labels", params={"annotator": annotator} if annotator else None)

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first."""
        return self._list("GET", "/runs", "runs")

    def export(self, format: str = "csv") -> bytes:
        """The labels with their provenance, ``csv`` or ``jsonl``."""
        return self._send("GET", "/export", params={"format": format}).content

    # ------------------------------------------------------------------ sending
    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        answer = self._send(method, path, **request)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Unavailable(f"{answer.url} answered something other than JSON.", status=answer.status_code)
        return body

    def _list(self, method: str, path: str, name: str, **request: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json(method, path, **request)[name]
        return found

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in range(self._retries + 1):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TimeoutException as error:
                raise Unavailable(f"The workbench at {self._http.base_url} did not answer in time.") from error
            except httpx.TransportError as error:
                raise Unavailable(f"There is no workbench at {self._http.base_url} ({error}).") from error
            if answer.status_code == 429 and attempt < self._retries:
                time.sleep(min(LONGEST_WAIT, _retry_after(answer)))
                continue
            break
        if answer.is_success:
            return answer
        raise _error(answer)


def run_rag_inference(
    system_prompt: str | None = None,
    user_prompt: str | None = None,
    encoded_image: str = "",
    temperature: float | None = None,
    top_p: float | None = None,
    k_retrieval: int | None = None,
    max_patches_per_class: int | None = None,
    max_new_tokens: int | None = None,
    input_resolution: int | None = None,
    support_res: int | None = None,
    support_patch_size: int | None = None,
    *,
    base_url: str = DEFAULT_URL,
    token: str | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """As :meth:`Client.run_rag_inference`, for code that calls the reference system's function of this name."""
    with Client(base_url, token, timeout) as client:
        return client.run_rag_inference(
            system_prompt=system_prompt,
            user_prompt=user_prompt,
            encoded_image=encoded_image,
            temperature=temperature,
            top_p=top_p,
            k_retrieval=k_retrieval,
            max_patches_per_class=max_patches_per_class,
            max_new_tokens=max_new_tokens,
            input_resolution=input_resolution,
            support_res=support_res,
            support_patch_size=support_patch_size,
        )


def _named(file: File) -> tuple[str, bytes]:
    if isinstance(file, tuple):
        return file
    path = Path(file)
    return path.name, path.read_bytes()


def _retry_after(answer: httpx.Response) -> float:
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0


def _error(answer: httpx.Response) -> ApiError:
    status = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        message, code = error.get("message"), error.get("code")
    else:
        message, code = error, body.get("errorCode") if isinstance(body, dict) else None
    if not isinstance(message, str) or not message:
        message = f"{answer.url} answered {status} without a reason that can be read."
    told = {"status": status, "code": code if isinstance(code, str) else "", "body": body}
    if status == 429:
        busy = TooBusy(message, **told)
        busy.retry_after = _retry_after(answer)
        return busy
    if status == 502:
        return ReasonerFailed(message, **told)
    return (Refused if status < 500 else Unavailable)(message, **told)
