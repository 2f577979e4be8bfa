"""Keys are answered one after the other, however fast they come.

Textual hands a key to the focused widget's queue and takes the next one. What a key does, a moment later, may move the focus or
the selection; the keys behind it would still go where it was. On a slow line that makes ``/P`` promote a rollout instead of
looking for a P, and ``jR`` roll back the row above. So each key waits until the one before has come back through every queue, and
what it set off (a field that says that it was left with enter) behind it.

A burst that no hand types is not answered at all (:mod:`console.bursts`), unless a text field takes it. A key that may change a
cluster waits a moment for what comes behind it: a paste may begin with it.
"""

import asyncio
from collections import deque

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.widgets import Input

from console.bursts import Bursts

PATIENCE = 0.25
"""Seconds after which a key no longer waits: the widget that had the one before may be gone."""
ASSEMBLY = 3.0
"""…for a screen that is still being put together, on a machine that is very busy: it could not take the key yet."""

HEED = 0.01
"""Seconds that a key which may change a cluster waits for those behind it."""


class Answered(Message):
    """Follows a key on its way through the queues, from the focused widget up to the application; and ``again``, behind what the
    key made that widget say."""

    def __init__(self, key: events.Key, by: MessagePump, *, again: bool = False) -> None:
        super().__init__()
        self.key = key
        self.by = by
        self.again = again


class InOrder(App[int]):
    """An application whose keys are answered in order."""

    def __init__(self) -> None:
        super().__init__()
        self.touched = False
        """Whether the operator has pressed or clicked anything yet."""
        self.by_mouse = False
        """Whether what came last was a button of the mouse, and no key."""
        self.pressed = 0
        """How many keys came so far."""
        self._waiting: deque[events.Key] = deque()
        self._bursts = Bursts()
        self._heeded: events.Key | None = None
        self._heeding = False
        self._under_way: events.Key | None = None
        self._feeding = False
        self._done = False
        self._impatient: asyncio.TimerHandle | None = None

    def ready_for_keys(self) -> bool:
        """Whether the screen can take keys: one that is still being put together would lose them."""
        return True

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.MouseDown):
            self.touched, self.by_mouse = True, isinstance(event, events.MouseDown)
        if isinstance(event, events.Key) and not self.screen_stack:
            return  # it came while the console was being left: there is nobody to take it
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self.pressed += 1
        refused_before = self._bursts.under_way
        if not self._bursts.takes_in(event.time, isinstance(self.focused, Input)):
            self._waiting.clear()
            if not refused_before:
                self.keys_refused()
            return
        self._waiting.append(event)
        await self.feed_keys()

    def keys_refused(self) -> None:
        """A burst of keys that no hand types is not answered, from now on until it is over."""

    def may_change(self, key: events.Key) -> bool:
        """Whether a key may change a cluster."""
        return False

    async def feed_keys(self, *, ready: bool | None = None) -> None:
        """Hand out the keys that waited, as far as it goes."""
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._waiting and self._under_way is None and self.screen_stack:
                if not (self.ready_for_keys() if ready is None else ready):
                    self._wait(None)
                    return
                if self._heed(self._waiting[0]):
                    return
                key = self._under_way = self._waiting.popleft()
                self._wait(key)
                self._done = False
                target = self.focused or self.screen
                await super().on_event(key)
                if self._done or not target.post_message(Answered(key, target)):
                    self._under_way = None
        finally:
            self._feeding = False

    def _heed(self, key: events.Key) -> bool:
        """Whether ``key`` has to wait for what may come behind it. Without a terminal nothing is pasted."""
        if self.is_headless or isinstance(self.focused, Input) or not self.may_change(key):
            return False
        if self._heeded is not key:
            self._heeded, self._heeding = key, True
            asyncio.get_running_loop().call_later(HEED, self.call_later, self._heeded_enough, key)
        return self._heeding

    async def _heeded_enough(self, key: events.Key) -> None:
        if self._heeded is key:
            self._heeding = False
            await self.feed_keys()

    async def on_answered(self, message: Answered) -> None:
        if message.key is not self._under_way:
            return
        if not message.again and message.by.post_message(Answered(message.key, message.by, again=True)):
            return
        self._under_way = None
        await self.feed_keys()

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        # a key with a binding that goes first is done when this returns, and goes to no widget
        try:
            found = await super()._check_bindings(key, priority)
        except Exception as error:
            # here it would end the application, whatever key and screen it was
            self.key_failed(error)
            found = True
        if priority:
            self._done = found
        return found

    def key_failed(self, error: Exception) -> None:
        """A key's action, or the question whether it may be done, failed unexpectedly."""
        raise error

    def _wait(self, key: events.Key | None) -> None:
        if self._impatient is not None:
            self._impatient.cancel()
        seconds = PATIENCE if key is not None else ASSEMBLY
        self._impatient = asyncio.get_running_loop().call_later(seconds, self._lose_patience, key)

    def _lose_patience(self, key: events.Key | None) -> None:
        """Once more for a moment: where the console was held up, nothing could be answered in that time."""
        self._impatient = asyncio.get_running_loop().call_later(HEED, self.call_later, self._give_up, key)

    async def _give_up(self, key: events.Key | None) -> None:
        if self._under_way is key:
            self._under_way = None
            await self.feed_keys(ready=True)
