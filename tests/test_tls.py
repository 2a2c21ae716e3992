"""What both sides' TLS has in common."""

from OpenSSL import SSL

from rfbproxy.tls import make_context


def test_idle_connections_keep_no_buffers():
    assert make_context(SSL.TLS_SERVER_METHOD).set_mode(0) & SSL.MODE_RELEASE_BUFFERS


def test_connections_take_all_at_once():
    context = make_context(SSL.TLS_SERVER_METHOD)
    assert hasattr(context, "clear_mode"), "this pyOpenSSL makes TLS dearer: each record is a call"
    assert not context.set_mode(0) & 1  # SSL_MODE_ENABLE_PARTIAL_WRITE
