"""TLS settings that contradict each other, and files that are not right, found at the start."""

from __future__ import annotations

import pytest

from munjang.errors import ConfigurationError
from munjang.settings import ServerSettings
from munjang_server.security.tls import credentials


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tls_cert": "a.pem"}, "go together"),
        ({"tls_key": "a.pem"}, "go together"),
        ({"tls_client_ca": "a.pem"}, "MUNJANG_TLS_CLIENT_CA needs"),
        ({"tls_cert": "/nicht/da.pem", "tls_key": "/nicht/da.pem"}, r"/nicht/da\.pem"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        credentials(ServerSettings(**settings))


def test_files_that_are_no_certificates_are_refused(tmp_path):
    for name in ("cert", "key"):
        (tmp_path / name).write_text("인증서가 아님")
    with pytest.raises(ConfigurationError, match="TLS files cannot be used"):
        credentials(ServerSettings(tls_cert=str(tmp_path / "cert"), tls_key=str(tmp_path / "key")))
