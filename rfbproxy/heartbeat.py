"""Telling systemd, where it asks for that (`WatchdogSec=`), that this process has not come to a standstill."""

import faulthandler
import sys
from typing import Any

from twisted.internet.task import LoopingCall

from rfbproxy.systemd import notify, watchdog_s


def keep_beating(reactor: Any) -> None:
    """Tell it twice in the time after which it would act, for as long as the reactor turns."""
    interval_s = watchdog_s()
    if interval_s is not None:
        if sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)  # it acts by SIGABRT
        beating = LoopingCall(notify, "WATCHDOG=1")
        beating.clock = reactor
        beating.start(interval_s / 2)
