"""An example of every answer, for people who read the API's description; a test holds them to their schemas."""

from __future__ import annotations

from typing import Any

from ragvision_app.responses import INVOCATIONS
from ragvision_app.schemas.common import EXAMPLE_ID, EXAMPLE_SHA, image_url

_SUPPORT = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_VERSION = "b94d27b9934d3e08"
_ENCODER = "efficientnet-lite0-0123456789ab-224p32"
_REASONER = "evidence (no vision-language model)"
_AT, _LATER = "2026-11-24T12:00:00.000Z", "2026-11-24T12:10:00.000Z"
_WHY = "dirty, 81 %: the lower left of the image is like E1, an example of dirty."

_CLASSES = [
    {"id": 1, "name": "clean", "key": "1", "colour": "#0072b2", "description": "", "position": 0},
    {"id": 2, "name": "dirty", "key": "2", "colour": "#d55e00", "description": "mud, dust or stains", "position": 1},
]
_EVIDENCE = {
    "number": 1,
    "class_id": 2,
    "similarity": 0.74,
    "contribution": 0.31,
    "query_box": [0, 183, 91, 274],
    "support_image": _SUPPORT,
    "support_name": "van.jpg",
    "support_url": image_url(_SUPPORT),
    "support_width": 800,
    "support_height": 600,
    "support_box": [114, 257, 228, 342],
}
_SCORES = [
    {"class_id": 1, "probability": 0.19, "logit": -1.66, "patch": -1.9, "whole": -1.4, "text": None},
    {"class_id": 2, "probability": 0.81, "logit": -0.21, "patch": -0.16, "whole": -0.28, "text": None},
]
_SUGGESTION = {
    "state": "shown",
    "reason": "",
    "prediction_id": 7,
    "run_id": 3,
    "stale": False,
    "flag": 2,
    "runner_up": 1,
    "margin": 0.62,
    "calibrated": "leave-one-out",
    "encoder": _ENCODER,
    "encoder_name": "efficientnet-lite0",
    "reasoner": _REASONER,
    "reasoning": "none",
    "reasoner_probabilities": None,
    "prompt": None,
    "prompt_title": None,
    "recipe": "ensemble",
    "support_version": _VERSION,
    "explanation": _WHY,
    "cited": [1],
    "scores": _SCORES,
    "heatmap": {"grid": [2, 2], "values": [0.1, -0.05, 1.2, 0.15], "scale": 1.2},
    "evidence": [_EVIDENCE],
}
_ITEM = {
    "id": EXAMPLE_SHA,
    "name": "lorry.jpg",
    "image_url": image_url(EXAMPLE_SHA),
    "width": 640,
    "height": 640,
    "version": 0,
    "lease": {"token": 12, "expires_at": _LATER},
    "suggestion": _SUGGESTION,
    "skipped": False,
    "note": None,
}
_PROGRESS = {
    "total": 300,
    "labelled": 120,
    "unsure": 2,
    "skipped": 1,
    "left": 177,
    "mine": 80,
    "labelled_last_minute": 31,
}
_RUN = {
    "state": "done",
    "done": 300,
    "total": 300,
    "sentence": "Suggestions for all 300 images are ready.",
    "encoder": "efficientnet-lite0",
    "reasoner": _REASONER,
    "recipe": "ensemble",
    "support_version": _VERSION,
    "stale": 0,
    "seconds_left": None,
    "reasoned": None,
}
_LABEL = {
    "image": EXAMPLE_SHA,
    "annotator": "ada",
    "state": "labelled",
    "class_id": 2,
    "event_id": EXAMPLE_ID,
    "decided_at": _AT,
    "note": None,
    "conflict": False,
}
_INVOCATION = {
    "success": True,
    "imageId": EXAMPLE_SHA,
    "elapsedTimeMs": 48,
    "flag": "dirty",
    "flagClassId": 2,
    "explanation": _WHY,
    "classScores": {"clean": 0.19, "dirty": 0.81},
    "rawResponse": "",
    "reasoning": "none",
    "evidence": [
        {
            "number": 1,
            "classId": 2,
            "className": "dirty",
            "cited": True,
            "similarity": 0.74,
            "contribution": 0.31,
            "queryBox": [0, 183, 91, 274],
            "supportImage": _SUPPORT,
            "supportName": "van.jpg",
            "supportUrl": image_url(_SUPPORT),
            "supportWidth": 800,
            "supportHeight": 600,
            "supportBox": [114, 257, 228, 342],
        }
    ],
    "encoder": _ENCODER,
    "reasoner": _REASONER,
    "recipe": "ensemble",
    "supportVersion": _VERSION,
    "promptVersion": None,
    "calibrated": "leave-one-out",
    "warnings": [],
    "error": None,
    "errorCode": None,
}
_IMAGE = {"id": EXAMPLE_SHA, "name": "lorry.jpg", "url": image_url(EXAMPLE_SHA), "duplicate": False}

ANSWERS: dict[tuple[str, str], Any] = {
    ("get", "/ragvision/healthcheck"): {"status": "ok"},
    ("get", "/readiness"): {
        "status": "ready",
        "project": "vehicles",
        "worker": "done",
        "sentence": "Suggestions for all 300 images are ready.",
        "encoder": "efficientnet-lite0",
        "reasoner": _REASONER,
        "device": "cpu · onnxruntime",
    },
    ("post", "/queue"): {
        "items": [_ITEM],
        "progress": _PROGRESS,
        "run": _RUN,
        "undoable": [
            {"event_id": EXAMPLE_ID, "image": EXAMPLE_SHA, "kind": "correct", "class_id": 2, "group": None},
        ],
        "free_at": None,
    },
    ("post", "/queue/release"): {"released": 30},
    ("post", "/queue/look-alikes"): {"items": [_ITEM]},
    ("get", "/queue/items/{sha}"): _ITEM,
    ("get", "/queue/items/{sha}/explanation"): 'event: text\ndata: "dirty, because"\n\nevent: done\ndata: {}\n\n',
    ("get", "/items/{sha}/detail"): {
        "image": EXAMPLE_SHA,
        "name": "lorry.jpg",
        "width": 640,
        "height": 640,
        "suggestion": _SUGGESTION,
        "whole": 0.0,
        "constant": 0.05,
        "text": 0.0,
        "by_support": [{"image": _SUPPORT, "name": "van.jpg", "url": image_url(_SUPPORT), "contribution": 0.9}],
    },
    ("post", "/decisions"): {
        "id": EXAMPLE_ID,
        "outcome": "stored",
        "version": 1,
        "label": _LABEL,
        "message": None,
        "progress": _PROGRESS,
    },
    ("post", INVOCATIONS): _INVOCATION,
    ("post", "/support/upload/image"): {
        "success": True,
        "className": "dirty",
        "index": 0,
        "filename": "van.jpg",
        "classId": 2,
        "supportId": 5,
        "imageId": _SUPPORT,
        "duplicate": False,
    },
    ("get", "/support"): {
        "version": _VERSION,
        "support": [
            {
                "id": 5,
                "image": _SUPPORT,
                "name": "van.jpg",
                "url": image_url(_SUPPORT),
                "class_id": 2,
                "class_name": "dirty",
                "origin": "upload",
                "added_by": "ada",
                "added_at": _AT,
            }
        ],
    },
    ("delete", "/support/{support_id}"): {"removed": 5, "version": _VERSION},
    ("post", "/images"): _IMAGE,
    ("get", "/classes"): {"classes": _CLASSES},
    ("post", "/classes"): _CLASSES[1],
    ("get", "/labels"): {"labels": [_LABEL]},
    ("get", "/runs"): {
        "runs": [
            {
                "id": 3,
                "encoder": _ENCODER,
                "reasoner": _REASONER,
                "recipe": "ensemble",
                "settings_json": '{"k_retrieval": 3}',
                "support_version": _VERSION,
                "code_version": "0.1.0",
                "started_at": _AT,
                "resumed_at": _AT,
                "finished_at": _LATER,
            }
        ]
    },
    ("get", "/export"): "image,name,source,state,class_name,annotator,…\r\n",
}
FAILED_INVOCATION = _INVOCATION | {
    "success": False,
    "flag": None,
    "flagClassId": None,
    "explanation": "",
    "reasoning": "failed",
    "evidence": [],
    "error": "The model's server did not answer within 60 seconds.",
    "errorCode": "reasoning_failed",
}
BODIES: dict[tuple[str, str], Any] = {
    ("post", "/queue"): {"annotator": "ada", "limit": 30, "order": "uncertainty", "have": [EXAMPLE_SHA]},
    ("post", "/queue/release"): {"annotator": "ada", "images": [EXAMPLE_SHA]},
    ("post", "/queue/look-alikes"): {"annotator": "ada", "image": EXAMPLE_SHA, "limit": 24, "have": []},
    ("post", "/support/upload/image"): {
        "className": "dirty",
        "classes": '["clean", "dirty"]',
        "index": 0,
        "file": "(the file's bytes)",
    },
    ("post", "/images"): {"file": "(the file's bytes)"},
}


def described(spec: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with an example beside every body and answer, and with how a token is sent."""
    for path, methods in spec["paths"].items():
        for method, route in methods.items():
            key = (method, path)
            success = next(answer for status, answer in route["responses"].items() if status.startswith("2"))
            if key in ANSWERS:
                next(iter(success["content"].values()))["example"] = ANSWERS[key]
            for content in route.get("requestBody", {}).get("content", {}).values():
                if key in BODIES:
                    content["example"] = BODIES[key]
                else:
                    content["example"] = _of_the_model(spec, content["schema"])
    failure = spec["paths"][INVOCATIONS]["post"]["responses"]["502"]["content"]["application/json"]
    failure["example"] = FAILED_INVOCATION
    spec["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "asked for where the server listens beyond its own machine, or was started with a token",
        }
    }
    spec["security"] = [{}, {"token": []}]
    return spec


def _of_the_model(spec: dict[str, Any], schema: dict[str, Any]) -> Any:
    model = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return model["examples"][0]
