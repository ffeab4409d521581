from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from midstream.core.errors import BadRequest
from midstream.delivery.signing import org_secret, secret_bytes, signed


def test_the_example_of_the_specification_is_signed_as_it_says():
    # From the Standard Webhooks specification's libraries: secret, id, timestamp and body give this signature.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = dict(signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'))
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"


def test_each_org_has_a_secret_of_its_own_that_outlives_a_restart():
    key = b"k" * 32
    assert org_secret(key, "org_a") == org_secret(key, "org_a")
    assert org_secret(key, "org_a") != org_secret(key, "org_b")
    mac = hmac.new(secret_bytes(org_secret(key, "org_a")), b"m.1.x", hashlib.sha256).digest()
    assert dict(signed(org_secret(key, "org_a"), "m", 1, b"x"))["webhook-signature"] == (
        "v1," + base64.b64encode(mac).decode()
    )


@pytest.mark.parametrize("wrong", ["", "whsec_", "whsec_!!", "whsec_" + base64.b64encode(b"short").decode(), "\ud800"])
def test_what_is_no_secret_is_refused(wrong: str):
    with pytest.raises(BadRequest):
        secret_bytes(wrong)
