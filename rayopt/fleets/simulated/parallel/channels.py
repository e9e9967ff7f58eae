"""Direct lines to actors: a call of Ray opens a socket, and what is asked and answered then travels there.

Between busy processors a call of Ray and its result take milliseconds, a message on a socket a tenth of that.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import secrets
import socket
import struct
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any

from ray import cloudpickle

KEY_BYTES = 32
BACKLOG = 128
PAUSE = 0.1
HANDSHAKE_SECONDS = 10.0
"""Real seconds within which a caller must prove that it knows the key."""

SILENCE_SECONDS = 20
"""Real seconds after which a machine that answers no probe is given up."""
_PROBES = 4

_OPTIONS = {
    # Small messages are not held back until the one before has been acknowledged.
    "TCP_NODELAY": 1,
    # A machine that goes without a word, also in the middle of a message; one that is only busy answers the probes.
    # Not every system has all of these.
    "TCP_KEEPIDLE": SILENCE_SECONDS // _PROBES,
    "TCP_KEEPINTVL": SILENCE_SECONDS // _PROBES,
    "TCP_KEEPCNT": _PROBES - 1,
}


class ChannelListener:
    """Where actors call in: a listening socket on which each proves that it knows the key, before anything is read.

    Args:
      host: the address to listen at.

    Attributes:
      place: host and port, and the key; it goes to the actors by Ray.
    """

    def __init__(self, host: str) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        self._listener = Listener((host, 0), backlog=BACKLOG)
        self.place: tuple[Any, bytes] = (self._listener.address, self._key)
        self._calls: queue.SimpleQueue[tuple[int, Connection]] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._listen, name="exchange", daemon=True).start()

    def calls(self) -> Iterator[tuple[int, Connection]]:
        """Yields the number of each actor that has called in since, and the connection to it."""
        while not self._calls.empty():
            yield self._calls.get()

    def close(self) -> None:
        """Lets nobody call in any more."""
        self._closed = True
        # The thread waits for a call: this is one.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.address).close()
        self._listener.close()

    def _listen(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except OSError:
                # It was closed, or this process has too many files open.
                time.sleep(PAUSE)
            else:
                # Each in a thread of its own: a silent caller delays no other.
                threading.Thread(target=self._greet, args=(connection,), name="call", daemon=True).start()

    def _greet(self, connection: Connection) -> None:
        try:
            prepare(connection, timeout=HANDSHAKE_SECONDS)
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            number = connection.recv()
            prepare(connection)
        except (AuthenticationError, EOFError, OSError):
            # A caller without the key, or one that has disconnected.
            connection.close()
        else:
            self._calls.put((number, connection))


class PendingReply:
    """What an actor will say.

    Attributes:
      question: what it was asked.
      is_here: whether it has answered.
    """

    __slots__ = ("_content", "_error", "is_here", "question")

    def __init__(self, question: Any) -> None:
        self.question = question
        self.is_here = False
        self._content: Any = None
        self._error: BaseException | None = None

    def fill(self, message: bytes) -> None:
        """Takes what the actor has sent."""
        # From a process that has proved that it knows the key.
        self._content, self._error = pickle.loads(message)
        self.is_here = True

    def get(self) -> Any:
        """Returns the actor's reply, or raises the exception raised there."""
        if self._error is not None:
            raise self._error
        return self._content


class Channel:
    """The driver's end of a line: questions are answered in order, and asked again where the actor had to start anew.

    Args:
      pack: called with a question and the one before it on the line (None at its beginning); returns what travels.
      on_loss: called whenever the line breaks.

    Attributes:
      connection: to the actor; None while it starts.
      waiting: what is not answered yet, the oldest first.
      losses: how often the line broke over the oldest question, which the actor had begun.
      early_losses: how often it broke since the last answer before the actor was ready: what kills a process from
        outside, on a busy machine, may come before any work.
    """

    def __init__(self, pack: Callable[[Any, Any], Any], on_loss: Callable[[], None] = lambda: None) -> None:
        self._pack = pack
        self._on_loss = on_loss
        self._before: Any = None
        self.connection: Connection | None = None
        self.waiting: deque[PendingReply] = deque()
        self.losses = self.early_losses = 0
        self._is_ready = False

    def ask(self, question: Any) -> PendingReply:
        """Returns the answer, which is still to come."""
        answer = PendingReply(question)
        self.waiting.append(answer)
        if self.connection is not None:
            self._send(question)
        return answer

    def open(self, connection: Connection) -> None:
        """Goes on with an actor that has called in."""
        if self.connection is not None:
            # Nobody has looked since, or its node went away without a word.
            self._lose()
        self.connection, self._before = connection, None
        self._is_ready = False
        # Its answer means that the actor has all that it needs, and that what comes next is the work itself.
        self._send(None)
        for answer in self.waiting:
            if self.connection is not None:
                self._send(answer.question)

    def receive(self) -> None:
        """Takes one answer, when there is one."""
        assert self.connection is not None
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            self._lose()
        else:
            if self._is_ready:
                self.losses = self.early_losses = 0
                self.waiting.popleft().fill(message)
            else:
                # If it could not be made ready, the first question says why.
                self._is_ready = True

    def close(self) -> None:
        """Ends the line; what is not answered will not be."""
        self.waiting.clear()
        if self.connection is not None:
            self.connection.close()

    def _send(self, question: Any) -> None:
        assert self.connection is not None
        content = cloudpickle.dumps(self._pack(question, self._before))
        self._before = question
        try:
            self.connection.send_bytes(content)
        except OSError:
            self._lose()

    def _lose(self) -> None:
        assert self.connection is not None
        self.connection.close()
        self.connection = None
        # An actor that was asked nothing died of something else.
        if self.waiting and self._is_ready:
            self.losses += 1
        elif self.waiting:
            self.early_losses += 1
        self._on_loss()


def serve(place: tuple[Any, bytes], number: int, answer: Callable[[Any], Any]) -> str:
    """Calls in from an actor and answers one question after the other, until the driver ends the line.

    Returns why the driver cannot be reached, or "" after the channel was closed.

    Args:
      place: of the exchange.
      number: of the actor.
      answer: what it raises is raised where the answer is asked for.
    """
    address, key = place
    try:
        connection = Client(address, authkey=key)
    except OSError as error:
        host, port = address
        return (
            f"a process on {socket.gethostname()} does not reach the program that started it, at {host} port {port} "
            f"({error}): nodes must reach all ports of one another, and one that joins a cluster of one machine during "
            "a run does not reach it"
        )
    with connection:
        prepare(connection)
        connection.send(number)
        questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # The driver may send a question while an answer waits to be read: without a thread both would wait for ever.
        threading.Thread(target=_read, args=(connection, questions), daemon=True).start()
        while (question := questions.get()) is not None:
            try:
                connection.send_bytes(_said(answer, question))
            except OSError:
                break
    return ""


def _read(connection: Connection, questions: queue.SimpleQueue[bytes | None]) -> None:
    try:
        while True:
            questions.put(connection.recv_bytes())
    except (EOFError, OSError):
        questions.put(None)


def _said(answer: Callable[[Any], Any], question: bytes) -> bytes:
    try:
        # From the driver, which has proved that it knows the key too.
        return cloudpickle.dumps((answer(pickle.loads(question)), None))
    except Exception as error:
        error.add_note(f"In process {os.getpid()} on {socket.gethostname()}:\n{traceback.format_exc()}")
        try:
            message = cloudpickle.dumps((None, error))
            pickle.loads(message)
        except Exception:
            return cloudpickle.dumps((None, RuntimeError(f"{error!r}\n{error.__notes__[-1]}")))
        return message


def prepare(connection: Connection, timeout: float = 0.0) -> None:
    """Sets how a connection behaves.

    Args:
      connection: over TCP.
      timeout: real seconds that a message may take; 0: for ever, as long as the other machine is there.
    """
    limit = struct.pack("ll", int(timeout), 0)
    with socket.socket(fileno=os.dup(connection.fileno())) as twin:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            twin.setsockopt(socket.SOL_SOCKET, option, limit)
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS.items():
            if hasattr(socket, name):
                twin.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
