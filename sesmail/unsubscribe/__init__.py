"""One-click unsubscribe (RFC 8058): signed links, the headers that carry them, and the page behind them."""

from sesmail.unsubscribe.door import Page, UnsubscribeDoor
from sesmail.unsubscribe.links import UnsubscribeLinks, Unsubscription
from sesmail.unsubscribe.page import Dress

__all__ = ["Dress", "Page", "UnsubscribeDoor", "UnsubscribeLinks", "Unsubscription"]
