"""Tickets taken and acknowledged in groups: one round trip for all that there is room for, instead of three for each.

A kombu channel of Redis pops a message, notes it among the unacknowledged ones in a second step, and strikes it off in
a third. While a worker has several to do, and a queue more, one script does all of it for as many as there is room for:
those that are done are struck off, further ones noted and taken off their lists. No message is between list and notes
then. The keys and what stands in them are kombu's, so that kombu's own workers run beside it, and return what a dead
one held. What comes to an idle worker, and what is no message, goes kombu's way.

All private parts were read in kombu 5.7.0. `tests/contract/test_groups.py` fails where one of them has changed, and
`fits` keeps away from channels that are not kombu's own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any

from celery.worker import state
from kombu.transport import virtual
from kombu.utils.json import loads
from redis.exceptions import NoScriptError, ResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger("sesmail")

MOST = 64
"""Messages in one round trip."""

_TAKE = """
-- KEYS: 1 the unacknowledged messages by their tags, 2 the tags by when they were taken, then the lists in their order.
-- ARGV: 1 how many to take, 2 now (epoch s), 3 how many tags to strike off, these, then for each list what kombu writes
--       behind a message of it: exchange and queue.
-- Answers the place of the list, the tag and the message, of each that is taken.
local left, answer, done = tonumber(ARGV[1]), {}, tonumber(ARGV[3])
if done > 0 then
  local tags = {unpack(ARGV, 4, 3 + done)}
  redis.call('ZREM', KEYS[2], unpack(tags))
  redis.call('HDEL', KEYS[1], unpack(tags))
end
for i = 3, #KEYS do
  if left <= 0 then
    break
  end
  local found, notes, index = redis.call('LRANGE', KEYS[i], -left, -1), {}, {}
  for place = #found, 1, -1 do -- the oldest is the last
    local is_json, message = pcall(cjson.decode, found[place])
    local properties = is_json and type(message) == 'table' and message.properties
    local tag = type(properties) == 'table' and properties.delivery_tag
    if type(tag) ~= 'string' then
      left = 0
      break
    end
    for _, value in ipairs({tag, '[' .. found[place] .. ARGV[1 + done + i]}) do
      notes[#notes + 1] = value
    end
    for _, value in ipairs({ARGV[2], tag}) do
      index[#index + 1] = value
    end
    for _, value in ipairs({i - 3, tag, found[place]}) do
      answer[#answer + 1] = value
    end
  end
  if #notes > 0 then -- noted first: what cannot be noted stays in its list
    redis.call('HSET', KEYS[1], unpack(notes))
    redis.call('ZADD', KEYS[2], unpack(index))
    redis.call('LTRIM', KEYS[i], 0, -(#notes / 2 + 1))
    left = left - #notes / 2
  end
end
return answer
"""


def fits(channel: Any, hub: Any) -> bool:
    """Whether a channel of a worker with this event loop is one of kombu's own for Redis, used in the usual way."""
    from kombu.transport import redis  # noqa: PLC0415  others need not have loaded it

    qos = getattr(channel, "qos", None)
    is_kombus = type(channel) is redis.Channel and type(qos) is redis.QoS
    is_usual = is_kombus and not channel.global_keyprefix and "can_consume" not in vars(qos)
    return is_usual and hub is not None


class Groups:
    """What one channel takes and acknowledges; for the thread of the event loop."""

    def __init__(self, channel: Any, hub: Any, mended: Callable[[str, bytes], bytes]) -> None:
        """`mended` looks at each message that is taken, and may replace it. The channel does as this says from now on.

        kombu/transport/redis.py: `Channel._brpop_start`, called whenever the event loop is about to wait, there is room
        and nothing is asked for; `QoS.append` and `QoS.ack`.
        """
        self._channel = channel
        self._qos = channel.qos
        self._hub = hub
        self._mended = mended
        self._append, self._ask, self._end = self._qos.append, channel._brpop_start, self._qos.restore_unacked_once  # noqa: SLF001
        self._may_have_more = False
        self._works = True
        self._noted: set[str] = set()
        self._done: list[str] = []
        self._qos.append, self._qos.ack, self._qos.restore_unacked_once = self.append, self.ack, self.end
        channel._brpop_start = self.ask  # noqa: SLF001
        hub.on_tick.add(self.tick)

    # -- what kombu calls -------------------------------------------------------------------------------------------

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message has come: those that are noted already are kept as every transport of kombu's keeps them."""
        if delivery_tag in self._noted:
            self._noted.discard(delivery_tag)
            virtual.QoS.append(self._qos, message, delivery_tag)  # type: ignore[no-untyped-call]  # kombu has no types
            return
        self._append(message, delivery_tag)
        self._may_have_more = len(self._qos._delivered) - len(self._qos._dirty) > 1  # noqa: SLF001  it has others to do

    def ack(self, delivery_tag: str) -> None:
        """It is done. There is room for another at once; it is struck off before the loop waits again."""
        virtual.QoS.ack(self._qos, delivery_tag)  # type: ignore[no-untyped-call]  # as above
        self._done.append(delivery_tag)
        if state.should_stop is not None or state.should_terminate is not None:
            self.strike_off()

    def ask(self, timeout: float | None = None) -> None:
        """There is room, and nothing is asked for: take what is there, or have kombu wait for the next."""
        if self._may_have_more and self._works:
            room = self._room()
            self._may_have_more = self._take(room) == room
            if not self._qos.can_consume():
                return  # this is called again as soon as one is done
        self.strike_off()
        self._ask(timeout)

    def end(self, *args: Any, **options: Any) -> Any:
        """The channel is closed, or this process ends: what it holds goes back to its queues."""
        self.strike_off()
        return self._end(*args, **options)

    def tick(self) -> None:
        """The loop is about to wait. Where nothing is asked for, that does it: see `ask`."""
        channel = self._channel
        if channel.closed:
            self._hub.on_tick.discard(self.tick)
        elif self._done and (channel._in_poll or not channel.active_queues or not self._qos.can_consume()):  # noqa: SLF001
            self.strike_off()

    # -- what it does -----------------------------------------------------------------------------------------------

    def strike_off(self) -> None:
        """Of the unacknowledged messages, those that are done. Where Redis is away they come again, and do nothing."""
        if not self._done:
            return
        tags, self._done = self._done, []
        try:
            with self._channel.conn_or_acquire() as redis, redis.pipeline() as pipe:
                pipe.zrem(self._qos.unacked_index_key, *tags).hdel(self._qos.unacked_key, *tags).execute()
        except (*self._channel.connection_errors, ResponseError) as error:
            log.warning(
                "%d tickets that are done could not be acknowledged (%s): the broker brings them again, and then they "
                "do nothing.",
                len(tags),
                type(error).__name__,
            )

    def _room(self) -> int:
        room = self._qos.can_consume_max_estimate()
        return MOST if room is None else min(room, MOST)

    def _take(self, room: int) -> int:
        """Strike off, take up to so many, and hand them over; how many there were. Raises errors of the connection."""
        channel = self._channel
        queues = channel._queue_cycle.consume(len(channel.active_queues))  # noqa: SLF001
        lists = [(channel._q_for_pri(queue, step), queue) for step in channel.priority_steps for queue in queues]  # noqa: SLF001
        tags = self._done
        arguments = (
            *(2 + len(lists), self._qos.unacked_key, self._qos.unacked_index_key, *(name for name, _ in lists)),
            *(room, time(), len(tags), *tags, *(f', "", {json.dumps(queue)}]' for _, queue in lists)),
        )
        try:
            answer = self._run(arguments)
        except ResponseError as refusal:
            self._works = False
            log.warning(
                "The broker's Redis takes no script (%s): from now on tickets are taken one by one. No email is lost "
                "by that. May the broker's user run EVALSHA?",
                str(refusal)[:100],
            )
            return 0
        self._done = []
        taken = [(lists[place][1], tag.decode(), item) for place, tag, item in _triples(answer)]
        self._hand_over(taken)
        return len(taken)

    def _run(self, arguments: Sequence[Any]) -> list[Any]:
        with self._channel.conn_or_acquire() as redis:
            try:
                found: list[Any] = redis.execute_command("EVALSHA", _DIGEST, *arguments)
            except NoScriptError:
                found = redis.execute_command("EVAL", _TAKE, *arguments)
        return found

    def _hand_over(self, taken: list[tuple[str, str, bytes]]) -> None:
        """As kombu would, one after the other. Where one cannot be, those behind it go back to their queues."""
        channel = self._channel
        waiting = iter(taken)
        read: Callable[[bytes], Any] = loads
        for queue, tag, item in waiting:
            self._noted.add(tag)
            try:
                channel._queue_cycle.rotate(queue)  # noqa: SLF001
                channel.connection._deliver(read(self._mended(queue, item)), queue)  # noqa: SLF001
            except BaseException:
                for _, other, _ in waiting:
                    with suppress(*channel.connection_errors):  # else they come again by themselves
                        self._qos.restore_by_tag(other)
                raise
            finally:
                self._noted.discard(tag)


def _triples(answer: Sequence[Any]) -> zip[tuple[Any, Any, Any]]:
    return zip(answer[::3], answer[1::3], answer[2::3], strict=True)


_DIGEST = hashlib.sha1(_TAKE.encode()).hexdigest()  # noqa: S324  as Redis does it
