"""Certificates and keys of an API server that only this machine talks to."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make(folder: Path) -> None:
    """A CA of our own, the server's certificate for loopback, and the key that service accounts' tokens would be signed with."""
    folder.mkdir(mode=0o700)
    ca_key, server_key, accounts_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reconciler tests")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    loopback = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = _certificate(issuer, issuer, ca_key, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    server = _certificate(subject, issuer, server_key, ca_key).add_extension(loopback, critical=False)
    for name, builder in (("ca.crt", ca), ("server.crt", server)):
        signed = builder.sign(ca_key, hashes.SHA256())
        write(folder / name, signed.public_bytes(serialization.Encoding.PEM).decode())
    for name, key in (("server.key", server_key), ("accounts.key", accounts_key)):
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        write(folder / name, private.decode())


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    whose = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(whose, critical=False)
        .add_extension(signer, critical=False)
    )


def write(path: Path, text: str) -> None:
    """A file for this user alone."""
    path.touch(0o600)
    path.write_text(text, "utf-8")
