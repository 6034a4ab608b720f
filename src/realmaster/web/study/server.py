"""The site's HTTP side: one page, its state, its videos, its answers.

A person is known by the token in their link alone. It stands in the link's fragment, which browsers never send: the
page puts it into a header, so neither a proxy's log nor a referrer holds it. Nothing here knows methods: what leaves is
random names of trials and videos. Needs the extra `study`.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realmaster.errors import StudyError
from realmaster.web.study.store import Screen, StudyStore

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 16_384
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
_PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "study.css": ("study.css", "text/css; charset=utf-8"),
    "study.js": ("study.js", "text/javascript; charset=utf-8"),
    "player.js": ("player.js", "text/javascript; charset=utf-8"),
}


class Answer(BaseModel):
    """What a browser sends for one trial."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trial: str = Field(max_length=64)
    key: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$")
    choices: dict[Annotated[str, Field(max_length=64)], Literal["left", "right"]] = Field(max_length=16)
    seconds: float = Field(ge=0, le=1e7, allow_inf_nan=False)
    plays: int = Field(ge=0, le=100_000)


def _person(request: Request, authorization: Annotated[str, Header()] = "") -> int:
    """Find who asks, by their token."""
    store: StudyStore = request.app.state.store
    token = re.fullmatch(r"Bearer ([A-Za-z0-9_-]{16,64})", authorization)
    number = store.find(token[1]) if token else None
    if number is None:
        raise HTTPException(401, "This link is not known. Open the link exactly as you were given it.")
    return number


Person = Annotated[int, Depends(_person)]


def make_app(store: StudyStore) -> FastAPI:
    """Make the site of an open study.

    Routes: the page and its files; `api/me` (GET), `api/consent` and `api/answers` (POST), `api/videos/NAME` (GET), all
    of which want `Authorization: Bearer TOKEN` and answer 401 without one.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.store = store
    app.add_middleware(_Guard)

    @app.get("/api/me")
    def me(number: Person) -> dict[str, Any]:
        return _state(store, number)

    @app.post("/api/consent")
    def consent(number: Person) -> dict[str, Any]:
        store.consent(number)
        return _state(store, number)

    @app.post("/api/answers")
    def answers(number: Person, answer: Answer) -> dict[str, Any]:
        try:
            outcome = store.answer(
                number, answer.trial, answer.key, answer.choices, seconds=answer.seconds, plays=answer.plays
            )
        except StudyError as error:
            raise HTTPException(422, str(error)) from error
        if outcome == "not next":
            raise HTTPException(409, "This comparison is not the one you are at. Load the page again.")
        return _state(store, number) | {"outcome": outcome}

    @app.get("/api/videos/{name}")
    def video(number: Person, name: str) -> FileResponse:
        path = store.video(number, name)
        if path is None:
            raise HTTPException(404, "There is no such video now.")
        return FileResponse(path, media_type="video/mp4", headers={"Cache-Control": "private, max-age=3600"})

    @app.get("/{file}")
    def page(file: str) -> Response:
        if file not in _PAGE:
            raise HTTPException(404, "There is no such page.")
        name, kind = _PAGE[file]
        content = files("realmaster.web.study").joinpath("assets", name).read_bytes()
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    app.add_api_route("/", lambda: page(""), methods=["GET"], response_class=Response, response_model=None)

    @app.exception_handler(sqlite3.OperationalError)
    def busy(request: Request, error: sqlite3.OperationalError) -> JSONResponse:
        log.warning("the study's database could not be used: %s", error)
        return JSONResponse({"detail": "The study is busy for a moment."}, 503, headers={"Retry-After": "1"})

    @app.exception_handler(RequestValidationError)
    def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": "This is not an answer that the study can read."}, 422)  # and no echo of it

    @app.exception_handler(StudyError)
    def broken(request: Request, error: StudyError) -> JSONResponse:
        log.error("%s", error)  # it names files and perhaps methods: it stays here
        return JSONResponse({"detail": "The study is not whole. Please tell whoever invited you."}, 500)

    return app


def _state(store: StudyStore, number: int) -> dict[str, Any]:
    """Say what the page shows now; no name of a method, a clip or a file is in it."""
    settings, standing = store.settings, store.standing(number)
    screens = [_screen(screen) for screen in standing.screens]
    return {
        "title": settings.title,
        "consent": list(settings.consent),
        "contact": settings.contact,
        "questions": [{"name": question.name, "text": question.text} for question in settings.questions],
        "watch_fully": settings.watch_fully,
        "consented": standing.consented,
        "done": standing.num_done,
        "total": standing.num_trials,
        "trial": screens[0] if screens else None,
        "next": screens[1] if len(screens) > 1 else None,
        "thanks": settings.thanks if standing.consented and not screens else None,
    }


def _screen(screen: Screen) -> dict[str, str]:
    return {"id": screen.id, "left": screen.left, "original": screen.original, "right": screen.right}


class _Guard:
    """Put the protective headers on every response and refuse bodies beyond any answer's size."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        protective = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
        private = scope["path"].startswith("/api/") and not scope["path"].startswith("/api/videos/")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *protective]
                if private:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        body, more = b"", scope["method"] not in ("GET", "HEAD")
        while more:
            part = await receive()
            if part["type"] != "http.request":
                return
            body += part.get("body", b"")
            more = part.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                refusal = JSONResponse({"detail": "This is larger than any answer."}, 413)
                await refusal(scope, receive, send_guarded)
                return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send_guarded)
