"""Reality and dream under the same keys: what a person sees, in the terminal and over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from toy_world import EDGE, A, B, C

from reverie.contracts import ActionSpec
from reverie.dreaming import server as server_module
from reverie.dreaming.keys import controls_of
from reverie.dreaming.server import PlayServer
from reverie.dreaming.session import PlaySession
from reverie.dreaming.terminal import TerminalPlayer, blocks, screen
from reverie.errors import ReverieError, RunError

PUSH = np.array([0.5], np.float32)


def nudged(session: PlaySession, by: float) -> None:
    """Move the dream away from what is real."""
    session._dream = session._dream.map(lambda value: value + by)


def test_a_right_model_dreams_what_is_real(world: Any) -> None:
    session = PlaySession(world(), seed=3)
    x = session._obs["state"].astype(np.float64)
    total = 0.0
    for step in range(1, 5):
        moment = session.step(PUSH)
        x = A @ x + B @ PUSH
        total += C @ x
        np.testing.assert_allclose(session._dreamed["state"], x, rtol=1e-4, atol=1e-4)
        assert (moment.step, moment.parted) == (step, None)
        assert moment.errors[-1] < 1e-4
        assert moment.real.total == pytest.approx(total, rel=1e-4)
        assert moment.dreamed.total == pytest.approx(total, rel=1e-4)


def test_where_they_part_is_marked_and_waking_up_joins_them(world: Any) -> None:
    """The world has no running statistics, so errors are in its own units: the gap's root mean square."""
    session = PlaySession(world(), seed=3, threshold=0.4)
    session.step(PUSH)
    nudged(session, 0.5)
    gap = np.array([0.5, 0.5])
    for _ in (2, 3):
        moment = session.step(PUSH)
        gap = A @ gap
        assert moment.errors[-1] == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-3)
        assert moment.parted == 2
    session.adjust(horizon=3)
    moment = session.step(PUSH)
    assert (moment.woken, moment.parted) == ([4], None)
    assert moment.errors[-1] < 1e-4
    np.testing.assert_allclose(session._dreamed["state"], session._obs["state"], rtol=1e-4, atol=1e-4)


def test_the_horizon_counts_dreamed_steps(world: Any) -> None:
    session = PlaySession(world(), seed=3, horizon=3)
    for _ in range(9):
        moment = session.step(np.zeros(1, np.float32))
    assert moment.woken == [4, 7]


def test_an_end_stops_its_side_and_both_stop_the_session(world: Any) -> None:
    session = PlaySession(world(inside=1.0), seed=0)
    while not session.moment.over:
        moment = session.step(np.ones(1, np.float32))
    assert session._obs["state"][0] > EDGE
    assert (moment.real.over, moment.dreamed.over) == ("it ends", "it ends")
    step = moment.step
    assert session.step(PUSH).step == step, "nothing moves any more"
    assert session.reset().step == 0
    assert session.seed == 1
    early = PlaySession(world(inside=0.1), seed=3)
    moment = early.step(PUSH)
    assert (moment.dreamed.over, moment.real.over, moment.parted) == ("it ends", "", 1)
    shown = early._dreamed["state"].copy()
    early.step(PUSH)
    assert np.array_equal(early._dreamed["state"], shown)
    assert np.isnan(early.moment.errors[-1])


def test_the_agent_acts_on_what_is_real(world: Any) -> None:
    opened = world()
    session = PlaySession(opened, seed=3)
    nudged(session, 5.0)
    seen = session._obs["state"].astype(np.float64)
    weights, bias = (value.detach().numpy() for value in opened.agent.actor.linear.parameters())
    session.step()
    action = np.tanh(weights @ seen + bias)
    np.testing.assert_allclose(session._obs["state"], A @ seen + B @ action, rtol=1e-4, atol=1e-4)


def test_what_makes_no_sense_is_refused(world: Any, blind_run: Any) -> None:
    from reverie.evaluation.reopen import reopen

    for options in ({"temperature": 0.0}, {"horizon": -1}, {"threshold": 0.0}):
        with pytest.raises(ReverieError, match=r"above 0|number of steps"):
            PlaySession(world(), **options)
    with pytest.raises(RunError, match="no decoder"):
        PlaySession(reopen(blind_run))


# Keys.


def test_keys_of_choices() -> None:
    two, three, many = (controls_of(ActionSpec("discrete", size)) for size in (2, 3, 12))
    assert [int(two.held([key]).argmax()) for key in ("ArrowLeft", "ArrowRight", "1", "2")] == [0, 1, 0, 1]
    assert [int(three.held([key]).argmax()) for key in ("ArrowLeft", "ArrowDown", "ArrowRight")] == [0, 1, 2]
    assert set(many.keys) == set("123456789")
    assert int(two.held(["ArrowLeft", "ArrowRight"]).argmax()) == 1, "the last one counts"
    assert two.held([]) is None
    assert two.held(["x"]) is None
    assert two.described() == [("← 1", "action 0"), ("→ 2", "action 1")]


def test_keys_that_push() -> None:
    controls = controls_of(ActionSpec("continuous", 3))
    np.testing.assert_array_equal(controls.held(["ArrowLeft", "ArrowUp", "w"]), [-1, 1, 1])
    np.testing.assert_array_equal(controls.held(["ArrowLeft", "ArrowRight"]), [0, 0, 0])
    np.testing.assert_array_equal(controls.held([]), [0, 0, 0])
    assert len(controls_of(ActionSpec("continuous", 9)).described()) == 4


# Terminal.


def plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)


def test_a_picture_becomes_half_blocks_of_its_own_colours() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[0, 0], picture[1, 0] = (255, 0, 0), (0, 0, 255)
    lines = blocks(picture, 6, 2)
    assert [plain(line) for line in lines] == ["▀" * 6] * 2
    assert lines[0].startswith("\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[38;2;0;0;0m")
    small = blocks(np.full((400, 600, 3), 200, np.uint8), 30, 40)
    assert [len(plain(line)) for line in small] == [30] * 10, "fitted to the width, two pixels per line"


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 12)])
def test_the_screen_fits_any_terminal_and_shows_the_marker(world: Any, size: tuple[int, int]) -> None:
    session = PlaySession(world(), seed=3, threshold=0.4)
    session.step(PUSH)
    nudged(session, 0.5)
    session.step(PUSH)
    lines = [plain(line) for line in screen(session, "title", *size)]
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    text = "\n".join(lines)
    assert "Real" in text
    assert "parted at step 2"[: max(4, size[0] // 2 - 20)] in text
    assert "step 2  seed 3" in text
    assert any("▀" in line for line in lines)


def test_keys_in_the_terminal(world: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    session = PlaySession(world(), seed=3)
    player = TerminalPlayer(session, "title")
    before = session._obs["state"].astype(np.float64)
    assert not player.press("ArrowRight", 10.0)
    player.turn(10.05)
    np.testing.assert_allclose(session._obs["state"], A @ before + B @ np.ones(1), rtol=1e-4, atol=1e-4)
    player.turn(11.0)
    assert session.moment.step == 1, "the key was let go and time stands still"
    player.press(" ", 11.0)
    player.turn(11.1)
    assert session.moment.step == 2, "time runs on"
    for key in "+]p":
        player.press(key, 11.0)
    assert (session.model.temperature, session.horizon, player.agent_plays) == (1.1, 5, True)
    player.press("r", 11.0)
    assert (session.moment.step, session.seed) == (0, 4)
    assert player.press("q", 11.0)
    with pytest.raises(ReverieError, match="--browser"):
        player.play()  # pytest is no terminal


# The browser's side, without one.


@pytest.fixture
def server(world: Any) -> Iterator[PlayServer]:
    made = PlayServer(PlaySession(world(), seed=3), "a <b>title</b>")
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def ask(server: PlayServer, method: str, place: str, body: Any = None, **headers: str) -> tuple[int, str, Any]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    sent = {"Host": f"127.0.0.1:{port}", **headers}
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    connection.request(method, place, text, sent)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.headers
    connection.close()
    return found


def test_the_page_is_whole_and_closed_to_everything_else(server: PlayServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    status, page, headers = ask(server, "GET", f"/{server.token}/")
    assert status == 200
    assert not re.findall(r"https?://", page), "nothing is fetched from elsewhere"
    assert "title</b>" not in page, "nothing of the run is in the page's own text"
    policy = headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r"nonce-([\w-]+)'", policy))
    assert page.count(f'nonce="{nonce}"') == 2
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = ask(server, "GET", f"/{server.token}/")[2]["Content-Security-Policy"]
    assert again != policy, "a nonce is used once"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in policy


def test_steps_and_resets_over_http(server: PlayServer) -> None:
    base = f"/{server.token}"
    state = json.loads(ask(server, "GET", f"{base}/state")[1])
    assert state["title"] == "a <b>title</b>"
    assert state["keys"]["ArrowRight"] == [1.0]
    assert state["real"]["picture"].startswith("data:image/png;base64,")
    order = {"action": [0.5], "temperature": 0.7, "horizon": 4}
    moved = json.loads(ask(server, "POST", f"{base}/step", order)[1])
    assert (moved["step"], len(moved["errors"])) == (1, 1)
    assert (server.session.model.temperature, server.session.horizon) == (0.7, 4)
    assert json.loads(ask(server, "POST", f"{base}/step", {"action": "agent"})[1])["step"] == 2
    assert json.loads(ask(server, "POST", f"{base}/reset", {"seed": 9})[1])["seed"] == 9


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"action": [0.5, 1]}, "list of 1 numbers"),
        ({"action": ["x"]}, "list of 1 numbers"),
        ({"action": None}, "list of 1 numbers"),
        ({"action": [0.5], "temperature": 0}, "above 0"),
        ({"action": [0.5], "temperature": "hot"}, "is a number"),
        ({"action": [0.5], "temperature": 10**400}, "is a number"),
        ({"action": [10**400]}, "list of 1 numbers"),
        ({"action": [0.5], "horizon": -1}, "whole number"),
        ({"action": [0.5], "horizon": 2.5}, "whole number"),
        ([1], "JSON object"),
        ('{"action": [NaN]}', "NaN"),
        ("no json", "Expecting value"),
        ("[" * 4000, "nested"),
    ],
)
def test_orders_that_the_page_never_sends(server: PlayServer, order: Any, told: str) -> None:
    status, text, _ = ask(server, "POST", f"/{server.token}/step", order)
    assert status == 400
    assert told in json.loads(text)["error"]
    assert server.session.moment.step == 0


def test_strangers_get_nothing(server: PlayServer) -> None:
    base, port = f"/{server.token}", server.server_address[1]
    step = {"action": [0.5]}
    refused = [
        ask(server, "GET", "/"),
        ask(server, "GET", "/state"),
        ask(server, "GET", f"{base[:-1]}/state"),
        ask(server, "GET", f"{base}/../state"),
        ask(server, "GET", f"{base}/state", Host="evil.example"),
        ask(server, "GET", f"{base}/state", Host=f"evil.example:{port}"),
        ask(server, "GET", f"{base}/state", Host="127.0.0.1"),
        ask(server, "POST", f"{base}/step", step, Origin="http://evil.example"),
        ask(server, "POST", f"{base}/step", step, Origin="null"),
        ask(server, "POST", f"{base}/step", step, Origin=f"https://127.0.0.1:{port}"),
        ask(server, "POST", f"{base}/step", json.dumps(step), **{"Content-Type": "text/plain"}),
        ask(server, "POST", f"{base}/step", " " * 5000),
        ask(server, "POST", f"{base}/other", step),
    ]
    assert {status for status, _, _ in refused} == {404, 413}
    assert all("state" not in text and server.token not in text for _, text, _ in refused)
    assert server.session.moment.step == 0
    mine = ask(server, "POST", f"{base}/step", step, Origin=f"http://localhost:{port}", Host=f"localhost:{port}")
    assert mine[0] == 200


def raw(server: PlayServer, text: str) -> socket.socket:
    """A connection that has sent this and waits."""
    connection = socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10)
    connection.sendall(text.encode())
    return connection


def head(server: PlayServer, length: str) -> str:
    port = server.server_address[1]
    kind = "Content-Type: application/json"
    return f"POST /{server.token}/step HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n"


def test_a_length_that_is_no_length_is_refused(server: PlayServer, capfd: pytest.CaptureFixture[str]) -> None:
    for length in ("9" * 5000, "-1", "1e3", "\u00b2"):
        with raw(server, head(server, length)) as connection:
            assert connection.recv(64).startswith(b"HTTP/1.1 413")
    assert capfd.readouterr() == ("", "")


def test_a_page_that_is_closed_in_the_middle_of_an_answer(
    server: PlayServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()
    ended = threading.Event()
    obeyed, closed = server_module.obey, server.shutdown_request

    def slowly(*order: Any) -> None:
        assert gone.wait(10)
        obeyed(*order)

    def end(request: Any) -> None:
        closed(request)
        ended.set()

    monkeypatch.setattr(server_module, "obey", slowly)
    monkeypatch.setattr(server, "shutdown_request", end)
    connection = raw(server, head(server, "17") + '{"action": [0.5]}')
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets at once
    connection.close()
    gone.set()
    assert ended.wait(10)
    assert capfd.readouterr() == ("", ""), "no traceback in the terminal of who plays"
    monkeypatch.undo()
    assert ask(server, "POST", f"/{server.token}/step", {"action": [0.5]})[0] == 200


def test_who_sends_half_a_request_is_let_go(
    server: PlayServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.RequestHandlerClass, "timeout", 0.2)
    with raw(server, head(server, "20") + "{") as connection:
        assert connection.recv(64) == b""
    assert capfd.readouterr() == ("", "")
