from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from server.domain.credentials import CredentialContent, CredentialType, InvalidCredentialContent
from server.providers.credentials.parsing import ParsedCredential, parse_credential
from server.providers.credentials.secret import ApnsCertificate, ApnsKey, ServiceAccount, unpack

FCM, APN, APN_SANDBOX = CredentialType
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def problems_of(credential_type: CredentialType, content: CredentialContent) -> list[tuple[str, str]]:
    with pytest.raises(InvalidCredentialContent) as caught:
        parse_credential(credential_type, content, NOW)
    return [tuple(problem) for problem in caught.value.problems]


def only_problem(credential_type: CredentialType, content: CredentialContent) -> tuple[str, str]:
    [problem] = problems_of(credential_type, content)
    return problem


@pytest.fixture
def key_content(samples: Any) -> Any:
    def make(**changes: str | None) -> CredentialContent:
        good = {
            "private_key": samples.b64(samples.pem_of(samples.p256)),
            "key_id": "ABC123DEFG",
            "team_id": "DEF123GHIJ",
            "topic": "com.example.app",
        }
        return CredentialContent(**(good | changes))

    return make


@pytest.fixture
def certificate_content(samples: Any) -> Any:
    def make(certificate: str | None = None, key: str | None = None, **dates: dt.datetime) -> CredentialContent:
        issued = samples.authority.issue(samples.rsa_key(), uid="com.example.app", **dates)
        return CredentialContent(
            certificate=samples.b64(certificate or issued),
            private_key=samples.b64(key or samples.pem_of(samples.rsa_key())),
        )

    return make


# FCM


def test_service_account_is_read(samples: Any) -> None:
    parsed = parse_credential(FCM, CredentialContent(private_key=samples.service_account_file()))
    secret = unpack(parsed.secret)
    assert isinstance(secret, ServiceAccount)
    assert (secret.project_id, secret.private_key_id) == ("demo-project", "0123456789abcdef")
    assert secret.client_email == "push@demo-project.iam.gserviceaccount.com"
    assert secret.private_key.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert parsed.not_after is None


def test_uploaded_token_uri_is_not_kept(samples: Any) -> None:
    parsed = parse_credential(FCM, CredentialContent(private_key=samples.service_account_file()))
    assert b"evil.example" not in parsed.secret


def test_base64_with_line_breaks_is_read(samples: Any) -> None:
    encoded = "\n".join(re.findall(".{1,76}", samples.service_account_file()))
    parse_credential(FCM, CredentialContent(private_key=encoded))


@pytest.mark.parametrize("name", ["project_id", "client_email", "private_key", "private_key_id"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_service_account_lacks_a_value(samples: Any, name: str, value: object) -> None:
    content = CredentialContent(private_key=samples.service_account_file(**{name: value}))
    assert only_problem(FCM, content) == ("content.privateKey", f"lacks {name}")


def test_every_problem_is_reported(samples: Any) -> None:
    content = CredentialContent(
        private_key=samples.service_account_file(project_id="../../x", client_email=None, private_key="no key"),
        topic="com.example.app",
    )
    assert [field for field, _ in problems_of(FCM, content)] == [
        "content.topic",
        "content.privateKey",
        "content.privateKey",
        "content.privateKey",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not the JSON file"),
        ("[1]", "is not the JSON file"),
        ("[" * 9000, "is not the JSON file"),
        ('{"type": "authorized_user"}', "is not a service account"),
        (" " * 20_000, "is larger than"),
    ],
)
def test_not_a_service_account(samples: Any, text: str, message: str) -> None:
    field, found = only_problem(FCM, CredentialContent(private_key=samples.b64(text)))
    assert field == "content.privateKey"
    assert found.startswith(message)


@pytest.mark.parametrize("value", ["{}", "ä", "AAA", "/w=="])
def test_not_base64_of_text(value: str) -> None:
    problem = only_problem(FCM, CredentialContent(private_key=value))
    assert problem == ("content.privateKey", "is not the base64 of a text file")


@pytest.mark.parametrize("value", [None, ""])
def test_private_key_is_required(value: str | None) -> None:
    assert only_problem(FCM, CredentialContent(private_key=value)) == ("content.privateKey", "is required")


def test_service_account_with_a_key_of_another_kind(samples: Any) -> None:
    content = CredentialContent(private_key=samples.service_account_file(private_key=samples.pem_of(samples.p256)))
    assert "RSA" in only_problem(FCM, content)[1]


def test_service_account_with_a_weak_key(samples: Any) -> None:
    weak = samples.pem_of(samples.rsa_key(1024))
    content = CredentialContent(private_key=samples.service_account_file(private_key=weak))
    assert "2048" in only_problem(FCM, content)[1]


def test_messages_never_quote_the_key(samples: Any) -> None:
    broken = samples.pem_of(samples.rsa_key()).replace("MII", "XXX", 1)
    [problem] = problems_of(FCM, CredentialContent(private_key=samples.service_account_file(private_key=broken)))
    assert problem == ("content.privateKey", "holds a private key that can't be read")


# APNs with a .p8 key


@pytest.mark.parametrize("credential_type", [APN, APN_SANDBOX])
def test_key_is_read(key_content: Any, credential_type: CredentialType) -> None:
    secret = unpack(parse_credential(credential_type, key_content()).secret)
    assert isinstance(secret, ApnsKey)
    assert (secret.key_id, secret.team_id, secret.topic) == ("ABC123DEFG", "DEF123GHIJ", "com.example.app")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("content.keyId", {"key_id": "ABC123DEF"}),
        ("content.keyId", {"key_id": "abc123defg"}),
        ("content.keyId", {"key_id": None}),
        ("content.teamId", {"team_id": "DEF123GHIJ1"}),
        ("content.teamId", {"team_id": None}),
        ("content.topic", {"topic": None}),
        ("content.topic", {"topic": "com.example\r\nx-evil: 1"}),
        ("content.privateKey", {"private_key": None}),
        ("content.privateKey", {"private_key": "!"}),
    ],
)
def test_bad_key_content(key_content: Any, field: str, changes: dict[str, str | None]) -> None:
    assert only_problem(APN, key_content(**changes))[0] == field


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_key_on_another_curve(samples: Any, key_content: Any, curve: ec.EllipticCurve) -> None:
    other = samples.b64(samples.pem_of(ec.generate_private_key(curve)))
    assert "P-256" in only_problem(APN, key_content(private_key=other))[1]


def test_key_content_may_be_an_sec1_file_with_parameters(samples: Any, key_content: Any) -> None:
    """As `openssl ecparam -genkey` writes it."""
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key = samples.p256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    parse_credential(APN, key_content(private_key=samples.b64(parameters + key)))


# APNs with a certificate


def test_certificate_is_read_with_its_topic_and_end(certificate_content: Any) -> None:
    end = NOW.replace(microsecond=0) + DAY
    parsed = parse_credential(APN, certificate_content(not_after=end))
    secret = unpack(parsed.secret)
    assert isinstance(secret, ApnsCertificate)
    assert secret.topic == "com.example.app"
    assert parsed.not_after == end


def test_pem_without_line_breaks_is_read(samples: Any, certificate_content: Any) -> None:
    """The documented sample has the line breaks gone."""
    certificate = samples.authority.issue(samples.rsa_key(), uid="com.example.app").replace("\n", "")
    key = samples.pem_of(samples.rsa_key()).replace("\n", " ")
    flat = parse_credential(APN, certificate_content(certificate, key))
    whole = parse_credential(APN, certificate_content())
    assert unpack(flat.secret).private_key == unpack(whole.secret).private_key


def test_pem_with_escaped_line_breaks_and_text_around_is_read(samples: Any, certificate_content: Any) -> None:
    certificate = samples.authority.issue(samples.rsa_key(), uid="com.example.app")
    around = f"Bag Attributes\n    friendlyName: Apple Push\n{certificate}"
    parse_credential(APN, certificate_content(around, samples.pem_of(samples.rsa_key()).replace("\n", "\\n")))


def test_chain_is_kept_leaf_first(samples: Any, certificate_content: Any) -> None:
    leaf = samples.authority.issue(samples.rsa_key(), uid="com.example.app")
    parsed = parse_credential(APN, certificate_content(leaf + samples.authority.certificate))
    secret = unpack(parsed.secret)
    assert isinstance(secret, ApnsCertificate)
    assert secret.certificate == leaf + samples.authority.certificate


def test_expired_certificate(certificate_content: Any) -> None:
    field, message = only_problem(APN, certificate_content(not_after=NOW - DAY))
    assert field == "content.certificate"
    assert message.startswith("expired at ")


def test_certificate_of_the_future(certificate_content: Any) -> None:
    assert only_problem(APN, certificate_content(not_before=NOW + DAY))[1].startswith("is not valid before ")


def test_key_of_another_certificate(samples: Any, certificate_content: Any) -> None:
    other = samples.pem_of(ec.generate_private_key(ec.SECP256R1()))
    assert only_problem(APN, certificate_content(key=other)) == (
        "content.privateKey",
        "does not belong to the certificate",
    )


def test_certificate_without_an_app(samples: Any, certificate_content: Any) -> None:
    nameless = samples.authority.issue(samples.rsa_key())
    field, message = only_problem(APN, certificate_content(nameless))
    assert field == "content.certificate"
    assert "UID" in message


def test_certificate_with_several_problems(samples: Any, certificate_content: Any) -> None:
    bad = samples.authority.issue(samples.rsa_key(), not_after=NOW - DAY)
    fields = [field for field, _ in problems_of(APN, certificate_content(bad, samples.pem_of(samples.p256)))]
    assert fields == ["content.certificate", "content.certificate", "content.privateKey"]


@pytest.mark.parametrize("text", ["no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_unreadable_certificate(certificate_content: Any, text: str) -> None:
    assert only_problem(APN, certificate_content(text))[0] == "content.certificate"


def test_unsupported_key(samples: Any, certificate_content: Any) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    content = certificate_content(key=samples.pem_of(key))
    assert only_problem(APN, content) == ("content.privateKey", "is neither an RSA nor an EC key")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_key_with_a_passphrase(samples: Any, certificate_content: Any, form: PrivateFormat) -> None:
    locked = samples.rsa_key().private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")).decode()
    field, message = only_problem(APN, certificate_content(key=locked))
    assert field == "content.privateKey"
    assert "passphrase" in message


# Which content goes with which type


@pytest.mark.parametrize("name", ["certificate", "key_id", "team_id", "topic"])
def test_fcm_takes_the_private_key_alone(samples: Any, name: str) -> None:
    content = CredentialContent(private_key=samples.service_account_file(), **{name: "x"})
    assert only_problem(FCM, content)[1] == "is not used by an FCM credential"


@pytest.mark.parametrize(("name", "field"), [("key_id", "keyId"), ("team_id", "teamId"), ("topic", "topic")])
def test_certificate_takes_nothing_of_a_key(certificate_content: Any, name: str, field: str) -> None:
    good = certificate_content()
    content = CredentialContent(good.private_key, good.certificate, **{name: "ABC123DEFG"})
    assert only_problem(APN, content)[0] == f"content.{field}"


def test_apns_needs_a_certificate_or_a_key(samples: Any) -> None:
    content = CredentialContent(private_key=samples.b64(samples.pem_of(samples.p256)))
    assert only_problem(APN, content) == ("content.certificate", "is required")


# Secrets stay secret


def test_no_repr_shows_a_secret(samples: Any) -> None:
    content = CredentialContent(private_key=samples.service_account_file())
    parsed = parse_credential(FCM, content)
    secret = unpack(parsed.secret)
    assert isinstance(parsed, ParsedCredential)
    shown = f"{content!r} {parsed!r} {secret!r} {secret.__rich_repr__()!r}"
    assert "BEGIN" not in shown
    assert content.private_key not in shown
    assert json.loads(parsed.secret)["private_key"] not in shown
