"""Keys and certificates: a throw-away CA for the gateway, SSH keys derived from a VM's secret."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import ssl
import struct
import textwrap
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = datetime.timedelta(days=3650)


def private_key(seed: bytes) -> str:
    """The OpenSSH private key made of 32 secret bytes; the same bytes for the same seed, as a VM's key does not change.
    (Format: PROTOCOL.key of OpenSSH. Libraries put a random number where both check words are.)"""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = _string(b"ssh-ed25519") + _string(public)
    check = hashlib.sha256(b"check" + seed).digest()[:4]
    secret = check + check + blob + _string(seed + public) + _string(b"")
    secret += bytes(range(1, 1 + -len(secret) % 8))
    whole = (
        b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"") + struct.pack(">I", 1) + _string(blob) + _string(secret)
    )
    lines = textwrap.wrap(base64.b64encode(whole).decode(), 70)
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def public_key(seed: bytes) -> bytes:
    """Its public half as one line of authorized_keys."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def host_key_seed(seed: bytes) -> bytes:
    """A second secret for the guest's host key."""
    return hashlib.sha256(b"host key" + seed).digest()


def gateway_context(directory: Path, domain: str) -> tuple[ssl.SSLContext, Path]:
    """A server context for `*.domain`, loopback included, and the file with the CA to trust. Keys stay in `directory`, 0600."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simulated platform CA")])
    common = x509.CertificateBuilder().not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + _LIFE)
    ca = (
        common.subject_name(ca_name)
        .issuer_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [
        x509.DNSName(f"*.{domain}"),
        x509.DNSName(domain),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    leaf = (
        common.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"*.{domain}"[:64])]))
        .issuer_name(ca_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_file, chain_file = directory / "ca.pem", directory / "gateway.pem"
    ca_file.write_bytes(ca.public_bytes(Encoding.PEM))
    chain_file.touch(mode=0o600)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain_file.write_bytes(leaf.public_bytes(Encoding.PEM) + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(chain_file)
    return context, ca_file


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
