"""The demo desktop on the network: an RFB server of our own (RFC 6143), for many viewers of one desktop."""

import typing

from twisted.internet import reactor as installed_reactor
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rfbproxy.demo.client_messages import (
    ClientCutText,
    ClientMessages,
    FramebufferUpdateRequest,
    KeyEvent,
    PointerEvent,
    SetDesktopSize,
    SetEncodings,
    SetPixelFormat,
)
from rfbproxy.demo.desktop import Desktop, Effect
from rfbproxy.demo.keysyms import MODIFIERS
from rfbproxy.demo.login import Login
from rfbproxy.demo.picture import Picture
from rfbproxy.demo.server_messages import BELL, ResizeReason, ResizeStatus, server_cut_text, server_init
from rfbproxy.errors import RemoteProtocolError, SecurityFailure
from rfbproxy.rfb import ClientInit, Credentials, CredentialsGiven, TlsDue

UPDATE_INTERVAL_S = 1 / 30  # at least this long between two updates of a viewer
_ABORT_AFTER_S = 5.0  # how long a viewer may take to read the last words


class _Wire(typing.Protocol):
    """What is asked of a transport."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def startTLS(self, tls: IOpenSSLServerConnectionCreator | None) -> None: ...


class DemoServer(Factory):
    """Serve one desktop to every viewer that connects; ClientInit's shared flag is not looked at.

    Args:
        login: how viewers log in; None: they need not.
        clock: time of day and delays; the reactor by default.
        name: of the desktop.
    """

    noisy = False

    def __init__(
        self,
        *,
        login: Login | None = None,
        clock: IReactorTime | None = None,
        name: str = "Demo desktop",
    ) -> None:
        self.clock = clock or typing.cast(IReactorTime, installed_reactor)
        self.desktop = Desktop(name)
        self.login = login or Login()
        self._viewers: list[Viewer] = []
        self._tick: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> "Viewer":
        """A connection for a new viewer."""
        viewer = Viewer(self)
        viewer.factory = self
        return viewer

    @property
    def viewers(self) -> "tuple[Viewer, ...]":
        """Those that are past the handshake."""
        return tuple(self._viewers)

    def add_viewer(self, viewer: "Viewer") -> None:
        """A viewer looks at the desktop from now on."""
        self._viewers.append(viewer)
        self.desktop.set_viewers(len(self._viewers))
        self.changed()

    def remove_viewer(self, viewer: "Viewer") -> None:
        """A viewer is gone; one that never looked does not matter."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            self.desktop.set_viewers(len(self._viewers))
            self.changed()

    def changed(self) -> None:
        """The desktop looks different now; those who wait for that are served, and it is seen to when it will again."""
        for viewer in self._viewers:
            viewer.notice()
        self._plan_tick()

    def paint(self) -> None:
        """Bring the pixels up to date, and let every viewer know which are new."""
        rects = self.desktop.paint(self.clock.seconds())
        for viewer in self._viewers:
            for rect in rects:
                viewer.picture.damage(rect)
            if rects:
                viewer.look()

    def resize(self, wanted: SetDesktopSize, by: "Viewer") -> None:
        """Give the desktop the size that a viewer wants, or the nearest one, and tell everybody."""
        if not (wanted.width and wanted.height and wanted.screens):
            by.picture.resized(ResizeReason.THIS_CLIENT, ResizeStatus.INVALID_LAYOUT)
        else:
            self.desktop.resize(wanted.width, wanted.height)
            for viewer in self._viewers:
                reason = ResizeReason.THIS_CLIENT if viewer is by else ResizeReason.OTHER_CLIENT
                viewer.picture.resized(reason, ResizeStatus.OK)
        self.changed()

    def spread(self, effect: Effect) -> None:
        """Let every viewer hear what a click asked for."""
        for viewer in self._viewers:
            viewer.hear(effect)

    def _plan_tick(self) -> None:
        """One timer for the clock and the fading trail, and none while nobody looks."""
        if not self._viewers:
            if self._tick is not None:
                self._tick.cancel()
                self._tick = None
            return
        now = self.clock.seconds()
        due = self.desktop.next_change(now)
        if self._tick is not None:
            if self._tick.getTime() <= due:
                return
            self._tick.cancel()
        self._tick = self.clock.callLater(max(0.0, due - now), self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        self.changed()


@implementer(IPushProducer)
class Viewer(Protocol):
    """One connection: the handshake, then messages both ways; made by `DemoServer`."""

    _log = Logger()

    def __init__(self, server: DemoServer) -> None:
        self._server = server
        self._handshake = server.login.handshake()
        self._messages: ClientMessages | None = None
        self.picture = Picture(server.desktop)
        self._held: set[int] = set()  # keysyms of modifiers that this viewer holds down
        self._effects: set[Effect] = set()  # not told yet
        self._unpainted = True  # the desktop changed since this viewer last looked
        self._paused = False
        self._ended = False
        self._last_update = float("-inf")
        self._next_look: IDelayedCall | None = None
        self._abort: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Greet."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._wire.registerProducer(self, True)
        self._handshake.offer()
        self._wire.write(self._handshake.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        """Take what the viewer says."""
        if self._ended:
            return
        try:
            if self._messages is None:
                data = self._shake_hands(data)
            if self._messages is not None:
                self._take_messages(self._messages, data)
        except RemoteProtocolError as error:
            self._end(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the viewer."""
        self._ended = True
        for delayed in (self._next_look, self._abort):
            if delayed is not None and delayed.active():
                delayed.cancel()
        for keysym in self._held:
            self._server.desktop.key(keysym, down=False)
        self._server.remove_viewer(self)

    def pauseProducing(self) -> None:
        """The transport's buffer is full: no update is built."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._paused = False
        self._tell_effects()
        self.look()

    def stopProducing(self) -> None:
        """The transport is closing."""
        self._ended = True

    def notice(self) -> None:
        """The desktop looks different, though that is not painted yet."""
        self._unpainted = True
        self.look()

    def look(self) -> None:
        """If the viewer waits and there is something to tell, send an update as soon as one is allowed."""
        if self._paused or self._ended or self._next_look is not None or not self.picture.requested:
            return
        if not (self._unpainted or self.picture.outdated):
            return
        clock = self._server.clock
        wait = max(0.0, self._last_update + UPDATE_INTERVAL_S - clock.seconds())
        self._next_look = clock.callLater(min(wait, UPDATE_INTERVAL_S), self._update)

    def hear(self, effect: Effect) -> None:
        """A click rang the bell, or put text on the clipboard; while the buffer is full, told once and later."""
        self._effects.add(effect)
        self._tell_effects()

    def _shake_hands(self, data: bytes) -> bytes:
        """Speak the handshake; returns what came after it."""
        handshake = self._handshake
        try:
            events = handshake.receive_data(data)
            while events:
                event = events.pop(0)
                if isinstance(event, ClientInit):
                    return self._begin()
                self._wire.write(handshake.data_to_send())
                if isinstance(event, TlsDue):
                    self._wire.startTLS(self._server.login.tls(event))
                    handshake.tls_started()
                elif isinstance(event, CredentialsGiven):
                    self._judge(event.credentials)
                events += handshake.events()
        finally:
            self._wire.write(handshake.data_to_send())
        return b""

    def _judge(self, given: Credentials) -> None:
        if self._server.login.accepts(given):
            self._handshake.accept()
        else:
            self._handshake.refuse("Authentication failed")
            self._wire.write(self._handshake.data_to_send())
            raise SecurityFailure("viewer gave wrong credentials")

    def _begin(self) -> bytes:
        """The viewer is in; returns what it has said already."""
        self._messages = ClientMessages()
        desktop = self._server.desktop
        self.picture = Picture(desktop)
        self._wire.write(self._handshake.data_to_send())
        self._wire.write(server_init(desktop.width, desktop.height, self.picture.pixel_format, desktop.name))
        self._server.add_viewer(self)
        return self._handshake.unread()

    def _take_messages(self, messages: ClientMessages, data: bytes) -> None:
        """Obey every message, also those that stand before one that is broken."""
        broken = None
        try:
            events = messages.receive_data(data)
        except RemoteProtocolError as error:
            events, broken = messages.events(), error
        for event in events:
            self._obey(event)
        if broken is not None:
            raise broken

    def _obey(self, message: object) -> None:
        server, desktop = self._server, self._server.desktop
        match message:
            case SetPixelFormat(pixel_format):
                self.picture.pixel_format = pixel_format
            case SetEncodings(encodings):
                self.picture.set_encodings(encodings)
            case FramebufferUpdateRequest(incremental, rect):
                self.picture.request(rect, incremental=incremental)
                self.look()
            case KeyEvent(down, keysym):
                if keysym in MODIFIERS:
                    (self._held.add if down else self._held.discard)(keysym)
                desktop.key(keysym, down=down)
                server.changed()
            case PointerEvent(buttons, x, y):
                effect = desktop.pointer(x, y, buttons, server.clock.seconds())
                if effect is not None:
                    server.spread(effect)
                server.changed()
            case ClientCutText(text):
                desktop.receive_cut_text(text)
                server.changed()
            case SetDesktopSize():
                server.resize(message, self)

    def _update(self) -> None:
        if self._paused or self._ended:
            self._next_look = None
            return
        self._server.paint()  # looks at every viewer again; this one is seen to here
        self._next_look = None
        self._unpainted = False
        update = self.picture.update()
        if update:
            self._last_update = self._server.clock.seconds()
            self._wire.write(update)

    def _tell_effects(self) -> None:
        if self._paused or self._ended:
            return
        if Effect.CUT_TEXT in self._effects:
            self._wire.write(server_cut_text(self._server.desktop.text))
        if Effect.BELL in self._effects:
            self._wire.write(BELL)
        self._effects.clear()

    def _end(self, why: str) -> None:
        self._ended = True
        self._log.info("viewer ended: {why}", why=why)
        self._wire.unregisterProducer()
        self._wire.loseConnection()
        self._abort = self._server.clock.callLater(_ABORT_AFTER_S, self._wire.abortConnection)

    @property
    def _wire(self) -> _Wire:
        return typing.cast(_Wire, self.transport)
