"""What is looked at on main: the session's id, its channels, where it moves to, and what is said to the agent.

    SpiceMsgMainInit           u32 session_id and seven more u32
    SpiceMsgChannels           u32 count, count * (u8 type | u8 id)

Migration is withheld from clients, by their capabilities and here: they would be told hosts inside. A target that is
told that its client knows nothing of migration says in the end where its machine has gone (SWITCH_HOST), which is made
to name this program.
"""

from collections.abc import Callable
from struct import Struct, iter_unpack

from rfbproxy.errors import RemoteProtocolError
from rfbproxy.spice.agent import AgentStream
from rfbproxy.spice.constants import AGENT_CHUNK_LIMIT, MsgcMain, MsgMain
from rfbproxy.spice.messages import Judge, Message, Rule, dropped
from rfbproxy.spice.migration import SWITCH_LIMIT, Destination
from rfbproxy.spice.policy import Policy

CHANNELS_LIMIT = 256

SessionBegun = Callable[[int], None]
HostSwitched = Callable[[Destination], Destination | None]

_INIT_SIZE = 32
_U32 = Struct("<I")
_CHANNEL_SIZE = 2

_MIGRATION_BY_CLIENT = (
    MsgcMain.MIGRATE_CONNECTED,
    MsgcMain.MIGRATE_CONNECT_ERROR,
    MsgcMain.MIGRATE_END,
    MsgcMain.MIGRATE_DST_DO_SEAMLESS,
    MsgcMain.MIGRATE_CONNECTED_SEAMLESS,
)
_MIGRATION_BY_TARGET = (
    MsgMain.MIGRATE_BEGIN,
    MsgMain.MIGRATE_CANCEL,
    MsgMain.MIGRATE_END,
    MsgMain.MIGRATE_BEGIN_SEAMLESS,
    MsgMain.MIGRATE_DST_SEAMLESS_ACK,
    MsgMain.MIGRATE_DST_SEAMLESS_NACK,
)


def main_rules_for_client(policy: Policy) -> dict[int, Rule]:
    """What is done with a client's messages on main."""
    agent = AgentStream("client", policy.denied_to_agent)
    return {
        **dict.fromkeys(_MIGRATION_BY_CLIENT, Rule(dropped)),
        MsgcMain.AGENT_START: Rule(_resetting(agent)),
        MsgcMain.AGENT_DATA: _agent_rule(agent),
    }


def main_rules_for_target(policy: Policy, session_begun: SessionBegun, host_switched: HostSwitched) -> dict[int, Rule]:
    """What is done with a target's messages on main.

    Args:
        policy: names the channels that the client hears of, and the rest.
        session_begun: told once of the session id, which other channels are to give.
        host_switched: told where the machine has gone; gives what the client is told instead, or None for nothing.
    """
    agent = AgentStream("target", policy.denied_to_agent, from_agent=True)
    reset = Rule(_resetting(agent))
    rules: dict[int, Rule] = {
        **dict.fromkeys(_MIGRATION_BY_TARGET, Rule(dropped)),
        MsgMain.INIT: Rule(_telling(session_begun), _INIT_SIZE, is_all=True),
        MsgMain.CHANNELS_LIST: Rule(_pruning(policy), 4 + _CHANNEL_SIZE * CHANNELS_LIMIT, is_all=True),
        MsgMain.MIGRATE_SWITCH_HOST: Rule(_switching(host_switched), SWITCH_LIMIT, is_all=True),
        MsgMain.AGENT_CONNECTED: reset,
        MsgMain.AGENT_CONNECTED_TOKENS: reset,
        MsgMain.AGENT_DISCONNECTED: reset,
        MsgMain.AGENT_DATA: _agent_rule(agent),
    }
    if not policy.name:
        rules |= {MsgMain.NAME: Rule(dropped), MsgMain.UUID: Rule(dropped)}
    return rules


def _telling(session_begun: SessionBegun) -> Judge:
    begun = False

    def judge(init: Message) -> Message:
        nonlocal begun
        session_id = int.from_bytes(init.start[:4], "little")
        if init.size != _INIT_SIZE or not session_id or begun:
            raise RemoteProtocolError(
                f"target begins {'a second' if begun else 'a'} session, {session_id}, in {init.size} bytes"
            )
        begun = True
        session_begun(session_id)
        return init

    return judge


def _pruning(policy: Policy) -> Judge:
    def judge(listed: Message) -> Message:
        count = _U32.unpack_from(listed.start)[0] if listed.size >= _U32.size else None
        if count is None or listed.size != _U32.size + _CHANNEL_SIZE * count:
            raise RemoteProtocolError(f"target lists {count} channels in {listed.size} bytes (spice.proto)")
        kept = [bytes(channel) for channel in iter_unpack("BB", listed.start[4:]) if policy.allows(channel[0])]
        return listed.with_start(_U32.pack(len(kept)) + b"".join(kept))

    return judge


def _switching(host_switched: HostSwitched) -> Judge:
    switched = False

    def judge(switch: Message) -> Message | None:
        nonlocal switched
        if switched:
            raise RemoteProtocolError("target switches hosts a second time, which ends with the first")
        switched = True
        told = host_switched(Destination.parse(switch.start))
        return None if told is None else switch.with_start(told.pack())

    return judge


def _resetting(agent: AgentStream) -> Judge:
    def judge(message: Message) -> Message:
        agent.reset()
        return message

    return judge


def _agent_rule(agent: AgentStream) -> Rule:
    return Rule(lambda data: data.with_start(agent.pass_chunk(data.start)), AGENT_CHUNK_LIMIT, is_all=True)
