"""Numbers of SPICE, spelled as spice/protocol.h, enums.h and vd_agent.h spell them. Unknown values survive as `int`.

Everything on the wire is little-endian.
"""

from enum import IntEnum

MAGIC = b"REDQ"
VERSION_MAJOR, VERSION_MINOR = 2, 2


class ChannelType(IntEnum):
    """SPICE_CHANNEL_*: what one connection of a session carries."""

    MAIN = 1
    DISPLAY = 2
    INPUTS = 3
    CURSOR = 4
    PLAYBACK = 5
    RECORD = 6
    TUNNEL = 7  # obsolete, and never linked
    SMARTCARD = 8
    USBREDIR = 9
    PORT = 10
    WEBDAV = 11


LINKABLE = frozenset(ChannelType) - {ChannelType.TUNNEL}


def channel_name(channel_type: int) -> str:
    """A channel type's name in lower case, or its number where it has none here."""
    try:
        return ChannelType(channel_type).name.lower()
    except ValueError:
        return str(channel_type)


class LinkError(IntEnum):
    """SPICE_LINK_ERR_*: in a link reply, and as the result of a ticket."""

    OK = 0
    ERROR = 1
    INVALID_MAGIC = 2
    INVALID_DATA = 3
    VERSION_MISMATCH = 4
    NEED_SECURED = 5
    NEED_UNSECURED = 6
    PERMISSION_DENIED = 7
    BAD_CONNECTION_ID = 8
    CHANNEL_NOT_AVAILABLE = 9


def link_error_name(error: int) -> str:
    """An error's name and number, for a log line."""
    try:
        return f"{LinkError(error).name} ({error})"
    except ValueError:
        return str(error)


class AuthMechanism(IntEnum):
    """What a client chooses to log in by: the index of a common capability, not its bit."""

    SPICE = 1
    SASL = 2


class CommonCap(IntEnum):
    """SPICE_COMMON_CAP_*: bits of the common words."""

    PROTOCOL_AUTH_SELECTION = 0
    AUTH_SPICE = 1
    AUTH_SASL = 2
    MINI_HEADER = 3


class MainCap(IntEnum):
    """SPICE_MAIN_CAP_*."""

    SEMI_SEAMLESS_MIGRATE = 0
    NAME_AND_UUID = 1
    AGENT_CONNECTED_TOKENS = 2
    SEAMLESS_MIGRATE = 3


class DisplayCap(IntEnum):
    """SPICE_DISPLAY_CAP_*."""

    SIZED_STREAM = 0
    MONITORS_CONFIG = 1
    COMPOSITE = 2
    A8_SURFACE = 3
    STREAM_REPORT = 4
    LZ4_COMPRESSION = 5
    PREF_COMPRESSION = 6
    GL_SCANOUT = 7
    MULTI_CODEC = 8
    CODEC_MJPEG = 9
    CODEC_VP8 = 10
    CODEC_H264 = 11
    PREF_VIDEO_CODEC_TYPE = 12
    CODEC_VP9 = 13
    CODEC_H265 = 14


class InputsCap(IntEnum):
    """SPICE_INPUTS_CAP_*."""

    KEY_SCANCODE = 0


class PlaybackCap(IntEnum):
    """SPICE_PLAYBACK_CAP_*."""

    CELT_0_5_1 = 0
    VOLUME = 1
    LATENCY = 2
    OPUS = 3


class RecordCap(IntEnum):
    """SPICE_RECORD_CAP_*."""

    CELT_0_5_1 = 0
    VOLUME = 1
    OPUS = 2


class SpicevmcCap(IntEnum):
    """SPICE_SPICEVMC_CAP_*: of usbredir, port and webdav."""

    DATA_COMPRESS_LZ4 = 0


class Msg(IntEnum):
    """SPICE_MSG_*: server to client, on every channel."""

    MIGRATE = 1
    MIGRATE_DATA = 2
    SET_ACK = 3
    PING = 4
    WAIT_FOR_CHANNELS = 5
    DISCONNECTING = 6
    NOTIFY = 7
    LIST = 8


class Msgc(IntEnum):
    """SPICE_MSGC_*: client to server, on every channel."""

    ACK_SYNC = 1
    ACK = 2
    PONG = 3
    MIGRATE_FLUSH_MARK = 4
    MIGRATE_DATA = 5
    DISCONNECTING = 6


class MsgMain(IntEnum):
    """SPICE_MSG_MAIN_*: server to client."""

    MIGRATE_BEGIN = 101
    MIGRATE_CANCEL = 102
    INIT = 103
    CHANNELS_LIST = 104
    MOUSE_MODE = 105
    MULTI_MEDIA_TIME = 106
    AGENT_CONNECTED = 107
    AGENT_DISCONNECTED = 108
    AGENT_DATA = 109
    AGENT_TOKEN = 110
    MIGRATE_SWITCH_HOST = 111
    MIGRATE_END = 112
    NAME = 113
    UUID = 114
    AGENT_CONNECTED_TOKENS = 115
    MIGRATE_BEGIN_SEAMLESS = 116
    MIGRATE_DST_SEAMLESS_ACK = 117
    MIGRATE_DST_SEAMLESS_NACK = 118


class MsgcMain(IntEnum):
    """SPICE_MSGC_MAIN_*: client to server."""

    CLIENT_INFO = 101
    MIGRATE_CONNECTED = 102
    MIGRATE_CONNECT_ERROR = 103
    ATTACH_CHANNELS = 104
    MOUSE_MODE_REQUEST = 105
    AGENT_START = 106
    AGENT_DATA = 107
    AGENT_TOKEN = 108
    MIGRATE_END = 109
    MIGRATE_DST_DO_SEAMLESS = 110
    MIGRATE_CONNECTED_SEAMLESS = 111
    QUALITY_INDICATOR = 112


class MsgDisplay(IntEnum):
    """SPICE_MSG_DISPLAY_*: the one that no proxy can pass on."""

    GL_SCANOUT_UNIX = 316


class AgentMessage(IntEnum):
    """VD_AGENT_*: types of messages between a client and the agent in the guest."""

    MOUSE_STATE = 1
    MONITORS_CONFIG = 2
    REPLY = 3
    CLIPBOARD = 4
    DISPLAY_CONFIG = 5
    ANNOUNCE_CAPABILITIES = 6
    CLIPBOARD_GRAB = 7
    CLIPBOARD_REQUEST = 8
    CLIPBOARD_RELEASE = 9
    FILE_XFER_START = 10
    FILE_XFER_STATUS = 11
    FILE_XFER_DATA = 12


class AgentCap(IntEnum):
    """VD_AGENT_CAP_*: those that tell of the clipboard and of file transfer."""

    CLIPBOARD = 3
    CLIPBOARD_BY_DEMAND = 5
    CLIPBOARD_SELECTION = 6
    MAX_CLIPBOARD = 10
    FILE_XFER_DISABLED = 13
    CLIPBOARD_NO_RELEASE_ON_REGRAB = 16
    CLIPBOARD_GRAB_SERIAL = 17


LINK_LIMIT = 4096  # bytes of a link message or reply after its header (spice-server's own limit for a message)
CAPS_LIMIT = 1024  # words of one kind (spice-server)
TICKET_SIZE = 128  # bytes: RSA-1024
PUBLIC_KEY_SIZE = 162  # bytes: SPICE_TICKET_PUBKEY_BYTES, an RSA-1024 SubjectPublicKeyInfo in DER
AGENT_CHUNK_LIMIT = 2048  # bytes: VD_AGENT_MAX_DATA_SIZE
