"""Make the cluster's keys, certificates and kubeconfigs; all functions but `ensure` are pure."""

import base64
import datetime as dt
import ipaddress
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devcluster.cache import digest
from devcluster.layout import HOST_IP, KUBERNETES_SERVICE_IP, NODE, Ports

VALID: Final = dt.timedelta(days=3650)
SERVER: Final = f"https://127.0.0.1:{Ports.APISERVER}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate names, and the names and addresses at which it serves."""

    common_name: str
    organization: str | None = None
    names: tuple[str, ...] = ("localhost",)
    addresses: tuple[str, ...] = ("127.0.0.1",)


IDENTITIES: Final = {
    "apiserver": Identity(
        "kube-apiserver",
        names=(
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ),
        addresses=("127.0.0.1", KUBERNETES_SERVICE_IP, HOST_IP),
    ),
    "admin": Identity("admin", "system:masters"),
    "controller-manager": Identity("system:kube-controller-manager"),
    "scheduler": Identity("system:kube-scheduler"),
    "proxy": Identity("system:kube-proxy"),
    "kubelet": Identity(f"system:node:{NODE}", "system:nodes", names=(NODE,), addresses=("127.0.0.1", HOST_IP)),
}
WITH_KUBECONFIG: Final = ("admin", "controller-manager", "scheduler", "proxy", "kubelet")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as a file holds it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as a file holds it, not encrypted."""
        return _pem(self.key)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # An hour back: a clock that is set right after the start must not make them invalid.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + VALID)
    )


def authority() -> Pair:
    """Make a new certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("llama-devcluster")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def issue(ca: Pair, who: Identity) -> Pair:
    """Sign a certificate for who, good as client and as server."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in who.names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in who.addresses]
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = (
        _builder(_name(who.common_name, who.organization), ca.certificate.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()),
            critical=False,
        )
        .sign(ca.key, hashes.SHA256())
    )
    return Pair(certificate, key)


def kubeconfig(ca: Pair, client: Pair) -> str:
    """A kubeconfig that needs no file beside it."""

    def b64(data: bytes) -> str:
        return base64.b64encode(data).decode()

    cluster = {"server": SERVER, "certificate-authority-data": b64(ca.certificate_pem)}
    user = {"client-certificate-data": b64(client.certificate_pem), "client-key-data": b64(client.key_pem)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "llama-devcluster", "cluster": cluster}],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": "llama-devcluster", "context": {"cluster": "llama-devcluster", "user": "me"}}],
            "current-context": "llama-devcluster",
        },
        sort_keys=False,
    )


def service_account_keys() -> tuple[bytes, bytes]:
    """The pair that signs service account tokens, as PEM: private, public."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _pem(key), public


def make() -> dict[str, bytes]:
    """Make all of it: file name → content."""
    ca = authority()
    private, public = service_account_keys()
    files = {"ca.crt": ca.certificate_pem, "ca.key": ca.key_pem, "sa.key": private, "sa.pub": public}
    for name, who in IDENTITIES.items():
        pair = issue(ca, who)
        files[f"{name}.crt"] = pair.certificate_pem
        files[f"{name}.key"] = pair.key_pem
        if name in WITH_KUBECONFIG:
            files[f"{name}.kubeconfig"] = kubeconfig(ca, pair).encode()
    return files


def ensure(folder: Path) -> bool:
    """Fill folder, unless it holds keys for the present identities; returns whether it did."""
    wanted = digest(repr(IDENTITIES), SERVER)
    stamp = folder / "digest"
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    partial = folder.with_name(folder.name + ".partial")
    for old in (partial, folder):
        if old.exists():
            shutil.rmtree(old)
    partial.mkdir(parents=True, mode=0o700)
    _write(partial, {**make(), "digest": wanted.encode()})
    partial.rename(folder)
    return True


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
