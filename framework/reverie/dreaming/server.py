"""`reverie play --browser`: one page on the loopback interface, for one person."""

from __future__ import annotations

import base64
import io
import json
import math
import secrets
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.dreaming.session import Moment, PlaySession, Side
from reverie.errors import ReverieError
from reverie.training.untrusted import parse_json

HOST = "127.0.0.1"
LARGEST_BODY = 4096
"""Bytes of a request."""
WIDEST = 480
"""Pixels of a picture; the page shows it no larger."""
PATIENCE = 60
"""Seconds for which a connection may say nothing."""

Array = NDArray[Any]


class PlayServer(ThreadingHTTPServer):
    """Serves one session. Only who knows the token in `url` is answered, and only under the name that stands in it.

    Args:
        session: what is played.
        title: of the page.
        port: 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, session: PlaySession, title: str, port: int = 0) -> None:
        self.session, self.title = session, title
        self.token = secrets.token_urlsafe(24)
        self.turn = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed in the middle of an answer is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def names(self) -> set[str]:
        """Hosts under which a browser may ask: what other pages make it ask comes under other names."""
        port = self.server_address[1]
        return {f"{HOST}:{port}", f"localhost:{port}"}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    """Answers three requests: the page, the state, and one that changes it."""

    server: PlayServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "reverie", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        place = self._place()
        if place == "":
            nonce = secrets.token_urlsafe(16)
            page = resources.files("reverie.dreaming").joinpath("page.html").read_text(encoding="utf-8")
            self._answer(HTTPStatus.OK, page.replace("NONCE", nonce), "text/html; charset=utf-8", nonce)
        elif place == "state":
            with self.server.turn:
                self._json({**described(self.server.session, self.server.title), **shown(self.server.session)})
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        place = self._place()
        if place not in ("step", "reset") or self.headers.get_content_type() != "application/json":
            return self._refuse(HTTPStatus.NOT_FOUND)
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 5 or int(length) > LARGEST_BODY:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            order = parse_json(self.rfile.read(int(length)).decode("utf-8"))
            with self.server.turn:
                obey(self.server.session, place, order)
                return self._json(shown(self.server.session))
        except (ReverieError, ValueError, TypeError) as error:
            return self._json({"error": str(error)[:500]}, HTTPStatus.BAD_REQUEST)

    def _place(self) -> str | None:
        """What is asked for, behind the token; None for who does not know it or comes from elsewhere."""
        origin = self.headers.get("Origin")
        stranger = origin is not None and origin.removeprefix("http://") not in self.server.names
        if self.headers.get("Host") not in self.server.names or stranger:
            return None
        token, _, rest = self.path.removeprefix("/").partition("/")
        return rest if secrets.compare_digest(token.encode(), self.server.token.encode()) else None

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # an unread body would be taken for the next request
        self._answer(status, status.phrase, "text/plain; charset=utf-8")

    def _json(self, data: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, json.dumps(data, allow_nan=False), "application/json")

    def _answer(self, status: HTTPStatus, text: str, kind: str, nonce: str = "") -> None:
        body = text.encode()
        own = f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; " if nonce else ""
        policy = f"default-src 'none'; {own}img-src data:; connect-src 'self'; "
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Security-Policy", policy + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the address holds the token."""


def obey(session: PlaySession, place: str, order: Any) -> None:
    """Do what a page asks for.

    Raises:
        ReverieError: for anything that the page does not send.
    """
    if not isinstance(order, Mapping):
        raise ReverieError("a request is a JSON object")
    session.adjust(_number(order, "temperature"), _whole(order, "horizon"))
    if place == "reset":
        session.reset(_whole(order, "seed"))
        return
    session.step(None if order.get("action") == "agent" else _action(session, order.get("action")))


def _action(session: PlaySession, given: Any) -> Array:
    size = session.agent.action.size
    numbers = isinstance(given, list) and len(given) == size and all(_is_number(value) for value in given)
    if not numbers:
        raise ReverieError(f"an action is a list of {size} numbers, or 'agent'")
    action = np.array(given, np.float32)
    if session.agent.action.is_discrete:
        one_hot: Array = np.eye(size, dtype=np.float32)[int(action.argmax())]
        return one_hot
    return action.clip(-1.0, 1.0)


def _number(order: Mapping[str, Any], name: str) -> float | None:
    value = order.get(name)
    if value is not None and not _is_number(value):
        raise ReverieError(f"{name} is a number")
    return None if value is None else float(value)


def _whole(order: Mapping[str, Any], name: str) -> int | None:
    value = order.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31):
        raise ReverieError(f"{name} is a whole number from 0")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def described(session: PlaySession, title: str) -> dict[str, Any]:
    """What the page needs to know once."""
    controls = session.controls
    return {
        "title": title,
        "keys": {key: action.tolist() for key, action in controls.keys.items()},
        "discrete": session.agent.action.is_discrete,
        "idle": None if controls.idle is None else controls.idle.tolist(),
        "help": controls.described(),
        "agent": session.agent_can_act,
        "threshold": session.threshold,
        "temperature": session.model.temperature,
        "horizon": session.horizon,
    }


def shown(session: PlaySession) -> dict[str, Any]:
    """What the page shows now."""
    moment: Moment = session.moment
    return {
        "step": moment.step,
        "seed": session.seed,
        "real": None if moment.real is None else _side(moment.real),
        "dreamed": _side(moment.dreamed),
        "errors": [round(error, 4) if math.isfinite(error) else None for error in moment.errors[-2000:]],
        "parted": moment.parted,
        "woken": moment.woken[-200:],
        "goes_on": round(moment.goes_on, 4),
        "over": moment.over,
    }


def _side(side: Side) -> dict[str, Any]:
    known = math.isfinite(side.reward)
    return {
        "picture": _data_url(side.picture),
        "reward": round(side.reward, 4) if known else None,
        "total": round(side.total, 3) if known else None,
        "over": side.over,
    }


def _data_url(picture: Array | None) -> str | None:
    if picture is None:
        return None
    image = Image.fromarray(picture)
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
