from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib

import pytest
import torch

from robo.errors import RoboError
from robo.rewards.grm.backbone import SLOTS, PairBatch
from robo.rewards.grm.http_backbone import HTTPBackbone, data_url
from robo.rewards.grm.http_config import HTTPConfig
from robo.web.grm_batching import ServiceConfig
from robo.web.grm_service import GRMService


class Knower:
    """A backbone whose hop is read off the pictures: brightness of AFTER minus that of BEFORE."""

    views, size, max_pairs = SLOTS, (8, 8), 64

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def hops(self, pairs):
        self.gate.wait(10)
        self.batches.append(len(pairs))
        bright = pairs.frames["front"].float().mean(dim=(1, 2, 3)) / 255
        hop = bright[pairs.after] - bright[pairs.before]
        return torch.where(bright[pairs.after] > 0.99, torch.nan, hop)


def grey(values, size=8):
    rows = torch.tensor(values, dtype=torch.uint8)[:, None, None, None]
    return {slot: rows.expand(-1, size, size, 3).contiguous() for slot in SLOTS}


def pairs_of(values):
    count = len(values) - 1
    return PairBatch(
        grey(values),
        torch.arange(count),
        torch.arange(count) + 1,
        torch.zeros(count, dtype=torch.int64),
        torch.full((count,), count),
        ("go",) * count,
    )


FREE = ServiceConfig(port=0)


def ask(service, body, path="/v1/chat/completions", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    address = service.url.removesuffix("/v1") + path
    request = urllib.request.Request(address, content, headers)
    return json.loads(urllib.request.urlopen(request, timeout=10).read())


def code_of(call):
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    return caught.value.code, json.loads(caught.value.read())["error"]["message"]


def test_hops_through_the_service_are_those_of_the_backbone():
    backbone, pairs = Knower(), pairs_of([0, 100, 30, 200, 255, 10])
    with GRMService(backbone, FREE) as service:
        client = HTTPBackbone(HTTPConfig(service.url))
        assert client.check() == ["grm"]
        hops = client.hops(pairs)
    torch.testing.assert_close(hops, Knower().hops(pairs), atol=1e-7, rtol=0, equal_nan=True)
    assert hops.isnan().tolist() == [False, False, False, True, False]
    assert client.counts == {"answers": 5, "invalid": 1, "invalid_unreadable": 1}


def test_questions_of_many_clients_share_batches():
    backbone = Knower()
    backbone.gate.clear()
    config = ServiceConfig(port=0, batch=16, gather=0.2)
    with GRMService(backbone, config) as service:
        client = HTTPBackbone(HTTPConfig(service.url, workers=16))
        found = []
        thread = threading.Thread(target=lambda: found.append(client.hops(pairs_of([0] * 17))))
        thread.start()
        backbone.gate.set()
        thread.join(20)
        assert found[0].tolist() == [0.0] * 16
    assert max(backbone.batches) >= 4 and sum(backbone.batches) == 16


def test_a_full_queue_refuses_and_a_patient_client_gets_through():
    backbone = Knower()
    backbone.gate.clear()
    with GRMService(backbone, ServiceConfig(port=0, queue=2, batch=1, gather=0.0)) as service:
        hasty = HTTPBackbone(HTTPConfig(service.url, workers=8, tries=1, timeout=20))
        found = []
        thread = threading.Thread(target=lambda: found.append(hasty.hops(pairs_of([0] * 9))))
        thread.start()
        until = time.monotonic() + 10
        while service.batcher.counts["refused"] < 5 and time.monotonic() < until:
            time.sleep(0.01)
        backbone.gate.set()
        thread.join(20)
        refused = service.batcher.counts["refused"]
        assert refused == 5 == int(found[0].isnan().sum())
        assert hasty.counts["invalid_http_503"] == 5
        patient = HTTPBackbone(HTTPConfig(service.url, workers=4, tries=5))
        assert bool(patient.hops(pairs_of([0] * 9)).isfinite().all())
        assert patient.counts["invalid"] == 0


def test_a_service_that_is_down_or_slow_gives_invalid_hops_and_no_crash():
    backbone = Knower()
    with GRMService(backbone, FREE) as service:
        client = HTTPBackbone(HTTPConfig(service.url, tries=1, timeout=0.3))
        backbone.gate.clear()
        assert client.hops(pairs_of([0, 50])).isnan().all()
        assert client.counts["invalid_timeout"] == 1
        backbone.gate.set()
    assert client.hops(pairs_of([0, 50, 60])).isnan().all()
    assert client.counts["invalid_unreachable"] == 2 and client.counts["answers"] == 3
    with pytest.raises(RoboError, match="no reward service answers"):
        client.check()


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"no protocol\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    ],
)
def test_a_connection_that_breaks_off_gives_invalid_hops_and_no_crash(reply):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(2**20)
                    connection.sendall(reply)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        client = HTTPBackbone(HTTPConfig(url, tries=2, timeout=5))
        assert client.hops(pairs_of([0, 50])).isnan().all()
        assert client.counts == {"answers": 1, "invalid": 1, "invalid_unreachable": 1}
        with pytest.raises(RoboError, match="no reward service answers"):
            client.check()


def test_a_service_that_gives_up_says_so():
    backbone = Knower()
    backbone.gate.clear()
    with GRMService(backbone, ServiceConfig(port=0, timeout=0.1)) as service:
        client = HTTPBackbone(HTTPConfig(service.url, tries=1))
        assert client.hops(pairs_of([0, 50])).isnan().all()
        assert client.counts["invalid_http_504"] == 1
        backbone.gate.set()


def test_a_token_is_asked_for_beyond_this_machine_and_checked(tmp_path):
    with pytest.raises(RoboError, match="token"):
        GRMService(Knower(), ServiceConfig("0.0.0.0", 0))
    path = tmp_path / "token"
    path.write_text("secret\n")
    with GRMService(Knower(), ServiceConfig("0.0.0.0", 0), token="secret") as service:
        assert HTTPBackbone(HTTPConfig(service.url, token_file=path)).check() == ["grm"]
        with pytest.raises(RoboError, match="401"):
            HTTPBackbone(HTTPConfig(service.url)).check()
        wrong = HTTPBackbone(HTTPConfig(service.url), token="other")
        assert wrong.hops(pairs_of([0, 1])).isnan().all()
        assert wrong.counts["invalid_http_401"] == 1


def test_web_pages_with_another_name_for_this_machine_are_refused():
    with GRMService(Knower(), FREE) as service:
        code, _ = code_of(lambda: ask(service, {}, Host="evil.example:80"))
        assert code == 403


def question(images, **extra):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    parts.insert(0, {"type": "text", "text": "how far?"})
    return {"model": "grm", "messages": [{"role": "user", "content": parts}], **extra}


def bomb():
    """The head of a PNG of 900 million pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    content = base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk).decode()
    return f"data:image/png;base64,{content}"


def test_bad_requests_get_a_sentence_and_the_service_lives_on():
    good = data_url(grey([7])["front"][0])
    broken = "data:image/png;base64," + base64.b64encode(b"\x89PNG no picture").decode()
    truncated = good[:-40]
    cases = [
        (b"{", "not valid JSON"),
        (b"[1]", "no JSON object"),
        ({"messages": "hi"}, "no list of messages"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "texts and 8 images"),
        (question([good] * 7), "7 images"),
        (question([good] * 7 + [broken]), "cannot be read"),
        (question([good] * 7 + [truncated]), "cannot be read"),
        (question([good] * 7 + [bomb()]), "cannot be read"),
        (question([good] * 7 + ["http://127.0.0.1/x.png"]), "data addresses"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "no text and no image"),
    ]
    with GRMService(Knower(), FREE) as service:
        for body, words in cases:
            code, sentence = code_of(lambda body=body: ask(service, body))
            assert code == 400 and words in sentence
        code, _ = code_of(lambda: ask(service, {}, "/v1/other"))
        assert code == 404
        reply = ask(service, question([good] * 8))
        assert reply["choices"][0]["message"]["content"] == "<score>0.000000%</score>"
        url = service.url.removesuffix("/v1") + "/health"
        health = json.loads(urllib.request.urlopen(url, timeout=5).read())
        assert health["ok"] and health["answers"] == 1


def test_a_port_in_use_is_one_sentence():
    with (
        GRMService(Knower(), FREE) as service,
        pytest.raises(RoboError, match="cannot bind"),
    ):
        GRMService(Knower(), ServiceConfig(port=service.port))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://x"}, "no address"),
        ({"url": "8008"}, "no address"),
        ({"timeout": 0.0}, "timeout"),
        ({"tries": 0}, "tries"),
    ],
)
def test_bad_client_options_are_refused(options, words):
    with pytest.raises(RoboError, match=words):
        HTTPConfig(**options)


def test_a_stranger_with_a_long_question_is_told_why():
    import http.client

    with GRMService(Knower(), ServiceConfig("127.0.0.1", 0), token="secret") as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        body = b"x" * 20_000_000
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer no"})
        reply = connection.getresponse()
        assert reply.status == 401 and b"bearer token" in reply.read()
        connection.close()
