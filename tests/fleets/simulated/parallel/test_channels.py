"""Direct lines between the driver and its actors: order, breaks, strangers, what does not fit into a socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, wait

import numpy as np
import pytest

from rayopt.fleets.simulated.parallel import channels as lines
from rayopt.fleets.simulated.parallel.channels import Channel, ChannelListener, serve

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def exchange():
    opened = ChannelListener("127.0.0.1")
    yield opened
    opened.close()


def whole(question, before):
    return question


@contextlib.contextmanager
def served(exchange, answer, number=0):
    """Answers in a thread, which ends with the lines that are opened in the block."""
    thread = threading.Thread(target=serve, args=(exchange.place, number, answer))
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def next_call(exchange):
    while True:
        for _, connection in exchange.calls():
            return connection
        time.sleep(0.001)


def collect(line, answer):
    while not answer.is_here:
        for _ in wait([line.connection], 10):
            line.receive()
    return answer.get()


def test_answers_come_in_the_order_of_questions(exchange):
    line = Channel(whole)
    early = line.ask(1)
    with served(exchange, lambda question: question * 10):
        line.open(next_call(exchange))
        later = [line.ask(number) for number in (2, 3)]
        assert collect(line, later[1]) == 30
        assert (early.get(), later[0].get()) == (10, 20)
        assert not line.waiting
        line.close()


def test_what_is_packed_depends_on_the_question_before(exchange):
    line = Channel(lambda question, before: (question, before))
    with served(exchange, lambda packed: packed):
        line.open(next_call(exchange))
        assert [collect(line, line.ask(name)) for name in "ab"] == [("a", None), ("b", "a")]
        line.close()


def test_messages_larger_than_a_socket_holds_in_both_directions(exchange):
    line, large = Channel(whole), np.ones(2_000_000)
    with served(exchange, lambda question: question + 1):
        line.open(next_call(exchange))
        answers = [line.ask(large) for _ in range(5)]
        assert collect(line, answers[4]).sum() == 4_000_000
        # What was sent in one piece may be written to, as in one process.
        answers[0].get()[0] = 5
        line.close()


def test_a_line_that_breaks_asks_again_what_was_not_answered(exchange):
    line = Channel(lambda question, before: (question, before))
    broken = Client(exchange.place[0], authkey=exchange.place[1])
    broken.send(0)
    line.open(next_call(exchange))
    answers = [line.ask(name) for name in "ab"]
    broken.recv_bytes()
    broken.send_bytes(b"it is ready")
    line.receive()
    broken.close()
    line.receive()
    assert (line.connection, line.losses, line.early_losses) == (None, 1, 0)
    with served(exchange, lambda packed: packed):
        line.open(next_call(exchange))
        # The one that starts anew has not heard what came before.
        assert [collect(line, answer) for answer in answers] == [("a", None), ("b", "a")]
        assert line.losses == 0
        line.close()


def test_who_was_asked_nothing_did_not_die_of_it(exchange):
    seen = []
    line = Channel(whole, lambda: seen.append("lost"))
    for _ in range(3):
        idle = Client(exchange.place[0], authkey=exchange.place[1])
        idle.send(0)
        line.open(next_call(exchange))
        idle.close()
    line.receive()
    assert line.losses == 0
    assert seen == ["lost"] * 3


def test_a_machine_that_goes_without_a_word_is_noticed(exchange):
    """The kernel does it, where it can: an answer of which a half has come would else be waited for without an end."""
    with served(exchange, lambda question: question):
        line = Channel(whole)
        line.open(next_call(exchange))
        with socket.socket(fileno=os.dup(line.connection.fileno())) as twin:
            assert twin.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            probes = [socket.TCP_KEEPIDLE, socket.TCP_KEEPCNT, socket.TCP_KEEPINTVL]
            idle, count, interval = (twin.getsockopt(socket.IPPROTO_TCP, option) for option in probes)
            assert idle + count * interval == lines.SILENCE_SECONDS
            assert twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        line.close()


def test_an_actor_that_calls_in_again_takes_the_place_of_the_one_that_fell_silent(exchange):
    line = Channel(whole)
    silent = Client(exchange.place[0], authkey=exchange.place[1])
    silent.send(0)
    line.open(next_call(exchange))
    answer = line.ask(5)
    with served(exchange, lambda question: question + 1):
        line.open(next_call(exchange))
        # It fell silent before it was ready: the question is not to blame.
        assert (line.losses, line.early_losses) == (0, 1)
        assert collect(line, answer) == 6
        assert line.early_losses == 0
        line.close()


class NeedsTwo(Exception):
    """Cannot be unpickled, as its arguments are not what it was made of."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@pytest.mark.parametrize(
    ("error", "kind"), [(ZeroDivisionError("by design"), ZeroDivisionError), (NeedsTwo(1, 2), RuntimeError)]
)
def test_an_error_travels_with_its_traceback(exchange, error, kind):
    def fail(question):
        raise error

    line = Channel(whole)
    with served(exchange, fail):
        line.open(next_call(exchange))
        with pytest.raises(kind) as caught:
            collect(line, line.ask(0))
        told = "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert "In process" in told
        assert "in fail" in told
        # The actor is still there.
        with pytest.raises(kind):
            collect(line, line.ask(0))
        line.close()


def test_strangers_are_not_heard(exchange):
    address, _ = exchange.place
    with pytest.raises(AuthenticationError):
        Client(address, authkey=b"guessed")
    socket.create_connection(address).close()
    line = Channel(whole)
    # This one calls and says nothing: nobody waits for it.
    with socket.create_connection(address), served(exchange, lambda question: question):
        line.open(next_call(exchange))
        assert collect(line, line.ask(7)) == 7
        line.close()


def test_who_proves_nothing_in_time_is_sent_away(monkeypatch):
    monkeypatch.setattr(lines, "HANDSHAKE_SECONDS", 1)
    exchange = ChannelListener("127.0.0.1")
    with socket.create_connection(exchange.place[0]) as stranger:
        stranger.settimeout(10)
        # The challenge, and the end.
        while stranger.recv(1000):
            pass
    exchange.close()


def test_nobody_calls_in_after_the_end():
    exchange = ChannelListener("127.0.0.1")
    exchange.close()
    time.sleep(0.1)
    why_not = serve(exchange.place, 0, lambda question: question)
    assert f"does not reach the program that started it, at 127.0.0.1 port {exchange.place[0][1]} " in why_not
