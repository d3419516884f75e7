"""Serves the page to this computer only, and contacts no other."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is loaded, so that it does not look for newer versions

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import gradio as gr
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response

from page.desk import WRONG, Desks
from page.layout import HERE, LARGEST_FILE, make_page
from page.material import Material

HOST = "127.0.0.1"
# What the browser may load: only what this server sends. Gradio's own page asks for nothing else, and now it can't.
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'; form-action 'self'"
MOST_SAMPLES = 2**22  # bytes of one message: over ten seconds of sound, which only a computer that hung would send


class _Policy:
    """Adds ``POLICY`` to every answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable[[dict], Awaitable[None]]) -> None:
        async def with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy)


def make_app(material: Material, checkpoints: list[Path], lm: Path | None) -> FastAPI:
    """The program behind the page: Gradio's panels, and /recording for the microphone."""
    app, desks = FastAPI(docs_url=None, redoc_url=None, openapi_url=None), Desks(material)
    app.add_middleware(_Policy)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    @app.get("/samples.js")
    def worklet() -> FileResponse:
        return FileResponse(HERE / "samples.js", media_type="text/javascript")

    @app.post("/recording/{token}/{way}")
    async def recording(token: str, way: str, request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(_answer, desks, token, way, body, request.query_params.get("rate", ""))

    page = make_page(desks, material, checkpoints, lm)
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return gr.mount_gradio_app(
        app, page, "/", server_name=HOST, footer_links=[], run_history=False, show_error=True, ssr_mode=False,
        enable_monitoring=False, mcp_server=False, pwa=False, max_file_size=LARGEST_FILE, theme=theme,
        css_paths=HERE / "page.css",
    )  # fmt: skip


def _answer(desks: Desks, token: str, way: str, body: bytes, rate: str) -> JSONResponse:
    """The state of a recording, from ``Desk.listen``; 400 and a sentence if something is wrong."""
    try:
        desk = desks.of(token)
        if way == "begin":
            return JSONResponse(desk.begin(int(float(rate))))
        if way == "samples":
            if len(body) > MOST_SAMPLES or len(body) % 4:
                raise ValueError("these are not samples from the recorder: reload this page")
            return JSONResponse(desk.listen(np.frombuffer(body, "<f4")))
        desk.end()
        return JSONResponse({})
    except WRONG as error:
        return JSONResponse({"error": str(error)}, status_code=400)


def serve(material: Material, checkpoints: list[Path], lm: Path | None, port: int, opened: Callable[[str], None]) -> None:
    """Serves until Ctrl-C; ``opened`` gets the page's address once the page is there.

    Raises:
        OSError: if the port is taken; the message says how to take another one.
    """
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise OSError(
            f"port {port} is not free ({error.strerror}): the page may be open already; if not, use --port {port + 1}"
        ) from error
    app = make_app(material, checkpoints, lm)
    opened(f"http://{HOST}:{listening.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
