"""What both sides' TLS has in common."""

from OpenSSL import SSL

from rfbproxy.tls import make_context


def test_idle_connections_keep_no_buffers():
    assert make_context(SSL.TLS_SERVER_METHOD).set_mode(0) & SSL.MODE_RELEASE_BUFFERS
