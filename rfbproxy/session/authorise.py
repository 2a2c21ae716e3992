"""Whether a client may see the console that its token names: Origin's host, token, Origin's scheme, in this order."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from rfbproxy.client.origin import check_origin_host, check_origin_scheme
from rfbproxy.client.request import ConsoleRequest
from rfbproxy.consoleauth import ConsoleToken, TokenStore
from rfbproxy.errors import StoreError
from rfbproxy.reasons import CloseReason, Refused
from rfbproxy.session.limits import BadTokens


async def authorise(
    request: ConsoleRequest,
    store: TokenStore,
    bad_tokens: BadTokens,
    on_found: Callable[[ConsoleToken], None],
    *,
    console_types: Collection[str],
    allowed_origins: Collection[str],
    now: float,
    may_have_expired: bool = False,
    untold_type: str | None = None,
    untold_bases: Mapping[str, str] = MappingProxyType({}),
) -> ConsoleToken:
    """Look the token up, once nothing cheaper refuses the client.

    Args:
        on_found: told of the token that the store has, which may still be refused.
        console_types: what the listener is for.
        now: Unix seconds; a token is valid while `expires > now` (nova/objects/console_auth_token.py).
        may_have_expired: whether that is not asked, because a session that began in time must live besides.
        untold_type: console type of a token whose store does not tell it; None: that of one is not asked.
        untold_bases: what access URLs begin with, by console type, where the store does not tell it.

    Raises:
        Refused: origin-refused, token-unknown, token-expired, or internal where the store fails.
    """
    check_origin_host(request.origin, request.host, allowed_origins)
    if not request.token:
        raise Refused(CloseReason.TOKEN_UNKNOWN, "no token came with the request")
    bad_tokens.check(request.token, now)
    try:
        token = await store.find(request.token)
    except StoreError as error:
        raise Refused(CloseReason.INTERNAL, str(error)) from error
    if token is None:
        bad_tokens.deny(request.source, request.token, CloseReason.TOKEN_UNKNOWN, now)
        raise Refused(CloseReason.TOKEN_UNKNOWN, "the token is not in the store")
    if token.console_type is None and untold_type is not None:
        token = replace(token, console_type=untold_type)
    if token.access_url_base is None and (base := untold_bases.get(token.console_type or "")):
        token = replace(token, access_url_base=base)
    on_found(token)
    if token.console_type is not None and token.console_type not in console_types:
        raise Refused(
            CloseReason.TOKEN_UNKNOWN,
            f"the token {token.id} is for {token.console_type!r}, "
            f"this listener is for {', '.join(sorted(console_types))}",
        )
    if token.expires <= now and not may_have_expired:
        bad_tokens.deny(request.source, request.token, CloseReason.TOKEN_EXPIRED, now)
        raise Refused(CloseReason.TOKEN_EXPIRED, f"the token {token.id} expired {now - token.expires:.0f} s ago")
    check_origin_scheme(request.origin, request.forwarded_proto, token.access_url_base)
    return token


def check_origin(request: ConsoleRequest, token: ConsoleToken, allowed_origins: Collection[str]) -> None:
    """Judge the Origin of a client whose token is known to be good.

    Raises:
        Refused: origin-refused.
    """
    check_origin_host(request.origin, request.host, allowed_origins)
    check_origin_scheme(request.origin, request.forwarded_proto, token.access_url_base)
